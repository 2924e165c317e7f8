import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cs231n import budget, training
from cs231n.train import arguments_of, main
from grading.overlay import ROOT

RUNS = sorted((ROOT / "docs" / "training").glob("*.history.json"))


@pytest.fixture(scope="module")
def data():
    """Random images of ten classes, as many as CIFAR-10's thousandths would not be."""
    rng = np.random.default_rng(0)
    parts = {}
    for name, N in (("train", 5000), ("val", 100), ("test", 500)):
        parts[f"X_{name}"] = rng.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8)
        parts[f"y_{name}"] = rng.integers(0, 10, N)
    return parts


@pytest.mark.parametrize("text, seconds", [("90s", 90), ("5m", 300), ("2h", 7200), ("1.5h", 5400)])
def test_a_time_is_read(text, seconds):
    """Is a number with its unit so many seconds?"""
    assert budget.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["5", "m", "five m", "0m", "-5m", "5 d", ""])
def test_what_is_no_time_is_refused(text):
    """Is another text an error that shows how it is written?"""
    with pytest.raises(ValueError, match="such as 90s, 5m or 2h"):
        budget.seconds_of(text)


@pytest.mark.parametrize("width", budget.REACHED)
def test_expectations_are_those_of_the_runs_and_rise(width):
    """Is each measured run expected again, more never of fewer images, and chance of none?"""
    for images, accuracy in budget.REACHED[width]:
        assert budget.expected_accuracy(width, images) == pytest.approx(accuracy)
    curve = [budget.expected_accuracy(width, images) for images in np.geomspace(1, 1e8, 50)]
    assert curve[0] == pytest.approx(0.1) and (np.diff(curve) >= 0).all()
    assert curve[-1] == pytest.approx(budget.REACHED[width][-1][1])


@pytest.mark.parametrize("run", RUNS, ids=lambda path: path.name.split(".")[0])
def test_every_recorded_run_is_expected(run):
    """Is the test accuracy of each run in docs/training expected of the images that it saw?"""
    record = json.loads(run.read_text())
    steps, seconds = record["history"].get("steps"), record["history"]["seconds"]
    if not steps:  # of older runs the clock says how much of its last epoch was done
        whole = len(seconds) - 1 + min(1.0, seconds[-1] / seconds[-2])
        steps = [whole * (record["num_training"] // record["batch_size"])]
    found = budget.expected_accuracy(record["width"], steps[-1] * record["batch_size"])
    assert found == pytest.approx(record["test_acc"], abs=0.005)


def test_every_expectation_is_of_a_recorded_run():
    """Is each accuracy of the table one that a file beside it says was reached?"""
    kept = (ROOT / "tests" / "data" / "README.md").read_text()
    recorded = {str(json.loads(run.read_text())["test_acc"]) for run in RUNS}
    assert len(recorded) == len(RUNS) >= 6
    for accuracy in (accuracy for runs in budget.REACHED.values() for _, accuracy in runs):
        assert str(accuracy) in recorded or f"| {accuracy} in float32" in kept


@pytest.mark.parametrize(
    "minutes, speeds, width",
    [
        (120, {16: 2000, 32: 700, 64: 200}, 64),
        (5, {16: 2000, 32: 700, 64: 200}, 16),
        (5, {16: 20_000, 32: 20_000, 64: 20_000}, 64),
    ],
)
def test_the_width_fits_the_time(monkeypatch, data, minutes, speeds, width):
    """Is it the full width where there is time or speed, and the narrow one where there is not?"""
    reached = {16: ((1e5, 0.7), (1e6, 0.9)), 32: ((1e5, 0.75),), 64: ((1e5, 0.75), (1e6, 0.93))}
    monkeypatch.setattr(budget, "REACHED", reached)
    monkeypatch.setattr(
        budget, "images_per_second", lambda width, *_: (speeds[width], 4 * speeds[width])
    )
    plan = budget.make_plan(data, time.monotonic() + 60 * minutes)
    assert plan.width == width
    assert 0.9 * 60 * minutes < plan.seconds < 60 * minutes
    seen = plan.epochs * len(data["X_train"])
    assert seen == pytest.approx(plan.seconds * speeds[width], rel=0.01)
    assert f"{plan.expected:.2f}" in str(plan)


def test_the_time_that_validation_takes_is_not_trained_in(monkeypatch, data):
    """Does a plan with as many validation images as others train for as much less?"""
    monkeypatch.setattr(budget, "images_per_second", lambda *_: (200, 200))
    even = data | {f"{kind}_val": data[f"{kind}_train"] for kind in "Xy"}
    alone, both = (
        budget.make_plan(d, time.monotonic() + 600, widths=[64]) for d in (data, even)
    )
    assert both.epochs == pytest.approx(alone.epochs / 2, rel=0.05)


def test_a_width_that_takes_too_long_is_not_even_measured(monkeypatch, data):
    """Does a slow machine spend its time on the narrow network, unless the width is insisted on?"""
    measured = []

    def speeds(width, *_):
        measured.append(width)
        return 130, 400

    monkeypatch.setattr(budget, "images_per_second", speeds)
    budget.make_plan(data, time.monotonic() + 30)
    assert measured == [16]
    budget.make_plan(data, time.monotonic() + 300)
    assert measured == [16, 16, 64]
    budget.make_plan(data, time.monotonic() + 30, widths=[64])
    assert measured == [16, 16, 64, 64]


def test_no_time_is_not_a_plan(monkeypatch, data):
    """Is a time that the evaluation alone would take refused?"""
    monkeypatch.setattr(budget, "images_per_second", lambda *_: (10, 20))
    with pytest.raises(ValueError, match="too short"):
        budget.make_plan(data, time.monotonic() + 20)


def test_a_width_that_was_never_measured_is_refused(data):
    """Is it said which widths have runs to expect something from?"""
    with pytest.raises(ValueError, match="16"):
        budget.make_plan(data, time.monotonic() + 20, widths=(17,))


@pytest.fixture
def timed(monkeypatch):
    """A clock that measuring a speed moves, by a second for a step; and the images' sizes."""
    clock, sides = [0.0], set()
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def work(side):
        clock[0] += (side / 32) ** 2
        sides.add(side)
        return torch.zeros(3)

    monkeypatch.setattr(budget, "take_step", lambda model, optimizer, x, *_: work(x.shape[2]))
    monkeypatch.setattr(budget, "predict_scores", lambda model, batch: work(32))
    return clock, sides


@pytest.mark.parametrize("progressive", [False, True])
def test_a_speed_is_measured_in_the_time_that_is_given(timed, data, progressive):
    """Do training and evaluation take the seconds together, and not each?"""
    clock, _ = timed
    budget.images_per_second(4, data, 16, 30.0, progressive)
    assert 30 <= clock[0] <= 38  # up to four steps to warm up, and four that are under way


def test_a_long_budget_is_not_spent_on_measuring(monkeypatch, data):
    """Is a part of a short time measured, and of a long time no more than a minute?"""
    given = []

    def speeds(width, data, batch_size, seconds, progressive):
        given.append(seconds)
        return 200, 800

    monkeypatch.setattr(budget, "images_per_second", speeds)
    for minutes in (10, 600):
        budget.make_plan(data, time.monotonic() + 60 * minutes, widths=[64])
    assert given == [pytest.approx(0.06 * 600, rel=0.01), 60]


def test_a_progressive_run_is_measured_at_all_its_sizes(timed, data):
    """Are steps timed with images of 16, 24 and 32, and is the speed their mean over the run?"""
    _, sides = timed
    assert budget.images_per_second(4, data, 16, 2.5) == (16, 16)
    assert sides == {32}
    mean, _ = budget.images_per_second(4, data, 16, 2.5, progressive=True)
    assert sides == {16, 24, 32}
    assert mean == pytest.approx(16 / (0.3 / 4 + 0.3 * 9 / 16 + 0.4))


def test_an_interrupted_run_keeps_its_plan(tmp_path):
    """Is the plan made anew only where there is no run to go on with, or for another budget?"""
    path, made = tmp_path / "w.safetensors", []

    def make():
        made.append(budget.Plan(16, 2.5, 100.0, 1000.0, 0.5))
        return made[-1]

    budget.kept_plan(path, "2m", make)
    budget.kept_plan(path, "2m", make)
    path.with_suffix(".state.pt").touch()
    path.touch()
    assert budget.kept_plan(path, "2m", make) == made[0]
    assert len(made) == 2
    budget.kept_plan(path, "3m", make)
    assert len(made) == 3
    assert budget.kept_plan(path, "3m", make, width=16) == made[2] and len(made) == 3
    with pytest.raises(ValueError, match="chose width 16: go on without --width"):
        budget.kept_plan(path, "3m", make, width=64)
    assert budget.kept_plan(path, "3m", make) == made[2] and len(made) == 3
    for damaged in ("", "{}", '{"budget": "3m", "plan": {"width": 16}}'):
        path.with_suffix(".budget.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"budget.json is damaged: delete it"):
            budget.kept_plan(path, "3m", make)


@pytest.mark.slow
def test_a_budget_of_30_seconds_is_kept(tmp_path, monkeypatch, data, capsys):
    """Does the command measure, train, settle and test within the time, and say what it expects?"""
    monkeypatch.setattr(training, "load_images", lambda *_: data)
    monkeypatch.setattr("cs231n.train.cifar10_folder", lambda: tmp_path)
    path = tmp_path / "w.safetensors"
    start = time.monotonic()
    assert main(["--budget", "30s", "--checkpoint", str(path)]) == 0
    assert 15 < time.monotonic() - start < 33
    assert "expect a test accuracy of about" in capsys.readouterr().out
    record = json.loads(path.with_suffix(".history.json").read_text())
    assert record["width"] in budget.REACHED and record["history"]["lr"][-1] < 0.01


@pytest.mark.parametrize(
    "given, lr, ema",
    [
        (["--budget", "5m"], 0.2, True),
        ([], 0.1, False),
        (["--budget", "5m", "--lr", "0.05", "--no-ema"], 0.05, False),
        (["--lr", "0.3", "--ema"], 0.3, True),
    ],
)
def test_a_budget_trains_as_the_runs_that_it_expects(given, lr, ema):
    """Has a budget their learning rate and their average of the weights, unless it is told?"""
    args = arguments_of(given)
    assert (args.lr, args.ema) == (lr, ema)


def test_a_budget_with_epochs_is_refused(capsys):
    """Is a budget with epochs of one's own, or for several processes, an error at once?"""
    with pytest.raises(SystemExit):
        main(["--budget", "5m", "--epochs", "3"])
    assert "one of the two" in capsys.readouterr().err


def test_speed_is_measured_in_both_directions(data):
    """Is evaluation, which is a third of the work, the faster of the two?"""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trained, evaluated = budget.images_per_second(4, data, 64, 0.1)
    torch.set_num_threads(threads)
    assert evaluated > trained > 0
