"""Training ResNet-18: images a second of the trainer's step beside the plain float32 loop's.

The same network, batch and threads. What a process does with freed memory is settled once, so each
way runs in a process of its own, in turn, and the ratio is taken within a round: 2 steps to warm
up, then the median of the steps. Ways: `plain` is a loop as tutorials write it, in float32;
`memory` adds that freed memory is kept; `channels` adds channels-last, and is what the trainer does
on a processor without fast bfloat16; `bfloat16` adds mixed precision, and is left out on such a
processor; `compiled` adds `torch.compile`, and is left out where there is no C++ compiler;
`trainer` is the trainer's step, not compiled, with Winograd's convolutions where this machine gains
by them; `progressive` is the mean over a run of it that has smaller images first.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from functools import partial

from tests.bench import Figure

WAYS = ("plain", "memory", "channels", "bfloat16", "compiled", "trainer", "progressive")
WIDTH, BATCH = 64, 128


def figures(short):
    """Ratios of images a second to the plain loop's, and images a second as they are."""
    rounds = 1 if short else 3
    options = {"width": 16, "steps": 3} if short else {"width": WIDTH, "steps": 6}
    has_bfloat16 = _has_bfloat16()
    left_out = {"bfloat16": not has_bfloat16, "progressive": short}
    left_out["compiled"] = short or not _has_compiler()
    ways = [way for way in WAYS if not left_out.get(way)]
    found = [{way: _measure(way, **options) for way in ways} for _ in range(rounds)]
    wanted = {"trainer": 4.0 if has_bfloat16 and not short else None}
    text = f"batch {BATCH}, width {options['width']}, {rounds} rounds"
    text += "" if has_bfloat16 else ", no fast bfloat16 here"
    out = []
    for way in ways[1:]:
        ratios = [speeds[way] / speeds["plain"] for speeds in found]
        out.append(_figure(f"training step, {way}", ratios, "times the plain loop",
                           text, wanted.get(way)))  # fmt: skip
    if short:
        return out[-1:]
    for way in ways:
        speeds = [speeds[way] for speeds in found]
        out.append(_figure(f"training, {way}", speeds, "images a second", text))
    speeds = [_measure("evaluation", WIDTH, 1) for _ in range(rounds)]
    text = f"scores of 10,000 images in batches of 500, width {WIDTH}"
    out.append(_figure("evaluation", speeds, "images a second", text, 800))
    return out


def _has_bfloat16():
    import torch

    from cs231n.hardware import pick_precision

    return pick_precision(torch.device("cpu")) is torch.bfloat16


def _has_compiler():
    from cs231n.step import compile_model

    try:
        compile_model(lambda x: x)  # it is compiled where it is called, which it is not
    except OSError:
        return False
    return True


def _figure(name, values, unit, text, target=None):
    spread = min(values), max(values)
    return Figure(name, statistics.median(values), unit, target, spread, text, True)


def _measure(way, width, steps):
    """Images a second of one way, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.train", way, str(width), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    time.sleep(0.5)  # its threads, and the processor's clock, come to rest
    return json.loads(done.stdout.splitlines()[-1])


def _speed(way, width, steps):
    import torch
    import torch.nn.functional as F

    from cs231n import hardware, training
    from cs231n.classifiers.resnet import ResNet18
    from cs231n.images import GROWTH

    torch.manual_seed(0)
    model, device = ResNet18(width=width), torch.device("cpu")
    images = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 10, (BATCH,))
    if way not in ("plain", "evaluation"):
        hardware.keep_freed_memory()
    if way not in ("plain", "memory"):
        model.to(memory_format=torch.channels_last)
    optimizer = training.make_optimizer(model, 0.9, 5e-4)

    def plain():
        loss = F.cross_entropy(model(training.normalize(images).contiguous()), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def evaluate():
        training.predict_scores(model, many)

    def ours(part=1.0):
        x = training.shrink(training.normalize(training.augment(images)), round(32 * part))
        training.take_step(forward, optimizer, x, labels, 0.1, precision, winograd)

    forward = training.compile_model(model) if way == "compiled" else model
    many = images.permute(0, 2, 3, 1).repeat(79, 1, 1, 1)[:10_000].contiguous().numpy()
    precision = torch.float32 if way == "channels" else hardware.pick_precision(device)
    winograd = way in ("trainer", "progressive") and hardware.pick_winograd(device, precision)
    step = {"plain": plain, "memory": plain, "evaluation": evaluate}.get(way, ours)
    if way == "progressive":
        return BATCH / sum(share * _seconds(partial(ours, part), steps) for share, part in GROWTH)
    return (len(many) if way == "evaluation" else BATCH) / _seconds(step, steps)


def _seconds(step, steps):
    """The median seconds of a step, after two."""
    seconds = []
    for _ in range(2 + steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=(*WAYS, "evaluation"))
    parser.add_argument("width", type=int)
    parser.add_argument("steps", type=int)
    print(json.dumps(_speed(**vars(parser.parse_args()))))
