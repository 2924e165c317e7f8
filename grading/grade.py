"""Grade one submission: a pure function of its content, the checks and the entropy."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from grading import judge
from grading.checks import ALL
from grading.checks.case import Case, Check
from grading.outcome import EXHAUSTED, Outcome
from grading.overlay import files_under_grading
from grading.sealed import isolation, sandbox
from grading.subject import Submission

SUBMISSION_SECONDS = 240.0  # for the checks of NumPy code, and again for those of torch code


def grade_submission(
    submission: Path,
    *,
    entropy: int,
    names: Sequence[str] | None = None,
    level: str | None = None,
    progress: Callable[[str], None] | None = None,
    limits: sandbox.Limits | None = None,
) -> dict[str, Outcome]:
    """The outcome of each check (or of those in `names`) on the student's files in `submission`.

    The student's task files are laid over the course's own, and run in a child at `level`
    ('sealed' if not given, 'process' only if said so). `progress` is told the name of each check
    before it runs. Raises ValueError for an unknown name, LevelError where this machine does not
    offer the level, OSError where it has no files, processes or disk left to grade anything.
    """
    limits = limits or sandbox.Limits()
    level = isolation.chosen(level)
    outcomes: dict[str, Outcome] = {}
    wanted = judge.by_name(names)
    groups = [[c for c in wanted if not c.torch], [c for c in wanted if c.torch]]
    files = files_under_grading(submission)
    for checks in groups:
        bound = sandbox.torch_limits(limits) if checks and checks[0].torch else limits
        deadline = time.monotonic() + SUBMISSION_SECONDS
        with Submission(files, bound, level, submission, deadline) as subject:
            for check in checks:
                if progress:
                    progress(check.name)
                if time.monotonic() > deadline:
                    outcomes[check.name] = out_of_time(check.name)
                else:
                    outcomes[check.name] = _run(check, subject, entropy, outcomes)
    return {check.name: outcomes[check.name] for check in wanted}


def _run(
    check: Check, subject: Submission, entropy: int, earlier: dict[str, Outcome]
) -> Outcome:
    """The outcome of a check with its evidence; an answer that no judge can read earns nothing."""
    drawn = cases(check.name, entropy)
    try:
        outcome = judge.run(check, subject, entropy, earlier, drawn)
    except OSError as problem:
        if problem.errno in EXHAUSTED:
            raise
        outcome = _unreadable(check, subject, entropy, problem)
    except Exception as problem:  # one answer must not cost the rest of the submission, or more
        outcome = _unreadable(check, subject, entropy, problem)
    return replace(outcome, evidence=tuple(subject.evidence.get(check.name, ())))


def _unreadable(check: Check, subject: Submission, entropy: int, problem: Exception) -> Outcome:
    subject.note(f"sent an answer that the judge could not read ({type(problem).__name__})")
    return replace(judge.failed_itself(check, problem, entropy), level=subject.level)


@lru_cache(maxsize=256)
def cases(name: str, entropy: int) -> list[Case]:
    """A check's cases, drawn once for a whole class."""
    return judge.draw(ALL[name], entropy)


def out_of_time(name: str) -> Outcome:
    """The outcome of a check that was not reached."""
    message = f"not reached: the {SUBMISSION_SECONDS:g} seconds for a submission were used up"
    return Outcome(name, 0.0, ALL[name].points, f"No answer: {message}.", error=message)
