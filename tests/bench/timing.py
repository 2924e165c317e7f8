"""Two things timed side by side, and the cores that they may use."""

import os
import statistics
import time

import torch
from threadpoolctl import threadpool_limits


def use_cores(count):
    """Let this process, NumPy's BLAS and torch use so many cores and threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])
    torch.set_num_threads(count)
    threadpool_limits(count, user_api="blas")


def seconds(work, clock=time.perf_counter, calls=3):
    """Median time of some calls of work().

    First a pause and a call that does not count: threads that wait for work in a library spin
    for tens of milliseconds, and would slow what is timed next.
    """
    time.sleep(0.1)
    work()
    times = []
    for _ in range(calls):
        start = clock()
        work()
        times.append(clock() - start)
    return statistics.median(times)


def ratio_of_means(rounds):
    """(ratio, lowest, highest) from rounds of [(ours, theirs) for each case].

    The ratio is the geometric mean over the cases of each one's median; lowest and highest are
    of the rounds' own geometric means.
    """
    ratios = [[ours / theirs for ours, theirs in cases] for cases in rounds]
    medians = [statistics.median(of_case) for of_case in zip(*ratios, strict=True)]
    means = [statistics.geometric_mean(of_round) for of_round in ratios]
    return statistics.geometric_mean(medians), (min(means), max(means))


class Others:
    """How much of the processor everybody else takes: what a time by the clock cannot be without.

    `share()` is the part of all cores' time, since this was made, that neither idled nor was ours;
    None where the system does not say.
    """

    def __init__(self):
        self.start = self._now()

    def share(self):
        if self.start is None:
            return None
        everything, idle, ours = (b - a for a, b in zip(self.start, self._now(), strict=True))
        return max(0.0, everything - idle - ours) / everything if everything else 0.0

    def text(self):
        """The share in words."""
        share = self.share()
        return "" if share is None else f", others took {share:.0%} of the cores"

    @staticmethod
    def _now():
        try:
            with open("/proc/stat") as file:
                fields = [int(field) for field in file.readline().split()[1:9]]
        except OSError:
            return None
        ticks = os.sysconf("SC_CLK_TCK")
        return sum(fields) / ticks, (fields[3] + fields[4]) / ticks, sum(os.times()[:4])
