import csv
import json
import math
import os
import re
import resource
import shutil
import signal
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from cs231n import (
    averaging,
    distributed,
    evaluation,
    hardware,
    predict,
    saving,
    training,
    winograd,
)
from cs231n.averaging import WeightAverage
from cs231n.classifiers.resnet import ResNet18
from cs231n.train import main


@pytest.fixture(autouse=True)
def on_one_thread_in_float32(monkeypatch):
    """Keep what differs between machines out of the comparison of runs; small nets need no more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for module in (training, evaluation):
        monkeypatch.setattr(module, "pick_precision", lambda device: torch.float32)
    monkeypatch.setattr(training, "pick_winograd", lambda device, precision: False)
    monkeypatch.setattr(training, "pick_device", lambda: torch.device("cpu"))
    yield
    torch.set_num_threads(threads)


def images(N, seed=0):
    """Two classes that brightness tells apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, N)
    X = rng.integers(0, 128, (N, 32, 32, 3)) + 127 * y[:, None, None, None]
    return X.astype(np.uint8), y


@pytest.fixture(scope="module")
def data():
    (X_train, y_train), (X_val, y_val) = images(64), images(32, 1)
    return {"X_train": X_train, "y_train": y_train, "X_val": X_val, "y_val": y_val}


def small_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(256, 2),
    )  # fmt: skip


def fit(model, data, **options):
    settings = {"epochs": 3, "batch_size": 16, "lr": 0.05, "progress": False}
    return training.train(model, data, **settings | options)


def test_training_learns(data):
    """Does the loss fall, and is validation accuracy that of a net which has understood?"""
    history = fit(small_net(), data)
    assert history["loss"][-1] < history["loss"][0]
    assert history["val_acc"][-1] > 0.9
    assert {len(values) for values in history.values()} == {3}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 4, 7])
@pytest.mark.parametrize("ema", [False, True])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, monkeypatch, data, number, step, ema):
    """Does a run that a signal stops in a step end, when resumed, just as an unbroken one does?"""
    monkeypatch.setattr(averaging, "MEMORY", 2.0)  # a short run needs a long memory to show one
    unbroken = small_net()
    expected = fit(unbroken, data, ema=ema)
    stopped, steps = small_net(), []

    def stop(module, _):
        if module.training:
            steps.append(1)
            if len(steps) == step:
                os.kill(os.getpid(), number)

    stopped.register_forward_pre_hook(stop)
    path = tmp_path / "w.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, data, checkpoint=path, ema=ema)
    assert len(steps) == step
    resumed = small_net(seed=5)
    history = fit(resumed, data, checkpoint=path, ema=ema)
    for name, value in unbroken.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    for key in ("loss", "train_acc", "val_acc", "lr", "steps"):
        assert history[key] == expected[key]
    assert (np.diff(history["elapsed"]) > 0).all() and (np.diff(history["cpu_seconds"]) > 0).all()
    assert json.loads((tmp_path / "w.history.json").read_text())["history"] == history
    torch.testing.assert_close(saving.read_weights(path), dict(resumed.state_dict()))


@pytest.mark.parametrize("first", [torch.float32, torch.bfloat16])
def test_a_resumed_run_keeps_its_first_precision(tmp_path, monkeypatch, data, first):
    """Is the precision that of the first session, where another would be picked on resuming?"""
    path, model, other = tmp_path / "w.safetensors", small_net(), small_net(seed=5)
    monkeypatch.setattr(training, "pick_precision", lambda device: first)

    def stop(*_):
        os.kill(os.getpid(), signal.SIGINT)

    model.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, checkpoint=path)
    second = torch.bfloat16 if first is torch.float32 else torch.float32
    monkeypatch.setattr(training, "pick_precision", lambda device: second)
    seen = set()
    other[0].register_forward_hook(lambda _, __, out: seen.add(out.dtype))
    fit(other, data, checkpoint=path)
    assert seen == {first}  # in training and validation
    assert json.loads((tmp_path / "w.history.json").read_text())["precision"] == str(first)


def test_a_second_ctrl_c_acts_at_once():
    """Is the second Ctrl-C obeyed in the middle of a step, and the old handler put back?"""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        with saving.stop_requests() as requests:
            os.kill(os.getpid(), signal.SIGINT)
            assert requests == [signal.SIGINT]
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_finished_run_is_not_run_again(tmp_path, data):
    """Does the same call, after the end, load the result and take no step?"""
    path = tmp_path / "deep" / "w.safetensors"
    first, second = small_net(), small_net(seed=1)
    expected = fit(first, data, checkpoint=path)
    second.register_forward_pre_hook(lambda *_: pytest.fail("a step was taken"))
    assert fit(second, data, checkpoint=path) == expected
    assert torch.equal(second[0].weight, first[0].weight)


def test_the_average_is_what_is_validated_and_saved(tmp_path, monkeypatch, data):
    """Are val_acc, checkpoint and model the average, and not the weights of the last step?"""
    monkeypatch.setattr(averaging, "MEMORY", 2.0)
    plain, averaged = small_net(), small_net()
    fit(plain, data)
    history = fit(averaged, data, ema=True, checkpoint=tmp_path / "w.safetensors")
    assert not torch.equal(averaged[0].weight, plain[0].weight)
    assert history["val_acc"][-1] == training.accuracy(averaged, data["X_val"], data["y_val"])
    saved = saving.read_weights(tmp_path / "w.safetensors")
    torch.testing.assert_close(saved, dict(averaged.state_dict()), rtol=0, atol=0)


def test_the_average_of_weights_has_its_own_batch_norm_statistics(data):
    """Are the averaged running statistics near those that the averaged weights give rise to?"""
    model = small_net()
    fit(model, data, epochs=20, ema=True, augmented=False)
    x = training.normalize(training.to_tensor(data["X_train"]))
    seen = model[0](x).detach().transpose(0, 1).flatten(1)
    assert int(model[1].num_batches_tracked) == 80
    torch.testing.assert_close(model[1].running_mean, seen.mean(1), rtol=0.1, atol=0.1)
    torch.testing.assert_close(model[1].running_var, seen.var(1), rtol=0.25, atol=0.02)


def test_the_average_forgets_the_first_weights():
    """Is the average of a ramp near its end: neither the last value, nor drawn to the first?"""
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, steps=1000)
    for step in range(5, 1001, 5):
        nn.init.constant_(model.weight, step)
        average.update(model, step)
    assert 900 < average.model.weight.item() < 980  # it remembers 40 steps of 1000
    assert not average.model.weight.requires_grad
    nn.init.constant_(model.weight, 1.0)
    average = WeightAverage(model, steps=100_000)  # with a memory of 4,000 steps
    nn.init.constant_(model.weight, 0.0)
    for step in range(5, 501, 5):
        average.update(model, step)
    assert average.model.weight.item() < 1e-3


@pytest.mark.parametrize(
    "change", [{"lr": 0.1}, {"epochs": 4}, {"seed": 1}, {"ema": True}, {"augmented": False}]
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, data, change):
    """Does going on with another setting raise an error that names it?"""
    path = tmp_path / "w.safetensors"
    fit(small_net(), data, checkpoint=path)
    with pytest.raises(ValueError, match=next(iter(change))):
        fit(small_net(), data, checkpoint=path, **change)


def test_a_checkpoint_of_another_network_is_refused(tmp_path, data):
    """Does going on with another network raise an error that says so?"""
    fit(small_net(), data, checkpoint=tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="another network"):
        fit(ResNet18(2, width=1), data, checkpoint=tmp_path / "w.safetensors")


def test_divergence_stops_before_the_weights_are_spoilt(data):
    """Does a loss of NaN stop training with a message, with finite weights left?"""
    model = small_net()
    model.register_forward_hook(lambda *_: torch.full((16, 2), math.nan, requires_grad=True))
    with pytest.raises(FloatingPointError, match="smaller lr"):
        fit(model, data)
    assert all(p.isfinite().all() for p in model.parameters())


def test_an_infinite_gradient_of_a_finite_loss_stops_too(data):
    """Does a gradient that is not finite stop training with a message, with finite weights left?"""
    model = small_net()
    model.register_forward_hook(
        lambda _, __, scores: scores.register_hook(lambda dout: dout * math.inf) and None
    )
    with pytest.raises(FloatingPointError, match=r"loss \d.*gradient norm (inf|nan)"):
        fit(model, data)
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_label_smoothing_spreads_its_share_over_all_classes(data, share):
    """Is the loss of scores (2, 0) for the first class log(1 + e^-2) more by the share's half of
    2?"""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2))
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.tensor([2.0, 0.0])
    first = data | {"y_train": np.zeros_like(data["y_train"])}
    loss = fit(model, first, epochs=1, lr=0.0, label_smoothing=share)["loss"]
    assert loss == pytest.approx([math.log1p(math.exp(-2)) + share])


def test_a_full_disk_is_an_error_before_training(tmp_path, data, monkeypatch):
    """Is a disk without room noticed before the first step?"""
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda _: type("", (), {"free": 10}))
    model = small_net()
    model.register_forward_pre_hook(lambda *_: pytest.fail("a step was taken"))
    with pytest.raises(OSError, match="10 bytes left"):
        fit(model, data, checkpoint=tmp_path / "w.safetensors")


def test_a_sum_that_is_not_finite_is_noticed():
    """Is one bad step among many seen in their sum, which is all that a GPU is asked for?"""
    figures = torch.ones(3)
    training.require_finite(figures * 5, 0.1)
    for bad in (math.nan, math.inf):
        with pytest.raises(FloatingPointError, match="smaller lr"):
            training.require_finite(figures * 5 + torch.tensor([bad, 0.5, 1.0]), 0.1)


@pytest.mark.parametrize("part", ["weights", "state"])
def test_a_failed_write_leaves_the_old_file(tmp_path, data, part):
    """Where a file breaks off, as on a full disk, is it told, and is the old checkpoint whole?"""
    path, model = tmp_path / "w.safetensors", small_net()
    fit(model, data, checkpoint=path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    state = {"model": model.state_dict()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limit[1]))
    try:
        with pytest.raises(OSError, match="cannot be written .*What was there before is unchanged"):
            if part == "weights":
                saving.save_weights(model, path)
            else:
                saving.replace_file(path, lambda part: torch.save(state, part))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="there is no such folder to write to")
def test_a_folder_that_cannot_be_written_to_is_an_error_before_training(data):
    """Is it noticed before the first step?"""
    model = small_net()
    model.register_forward_pre_hook(lambda *_: pytest.fail("a step was taken"))
    with pytest.raises(OSError, match="/sys/kernel cannot be written to"):
        fit(model, data, checkpoint="/sys/kernel/w.safetensors")


def test_a_checkpoint_of_another_form_is_refused(tmp_path, data):
    """Is a name that readers would take for torch's own format told before training?"""
    with pytest.raises(ValueError, match=r"must be a \*.safetensors, but is .*w.pt"):
        fit(small_net(), data, checkpoint=tmp_path / "w.pt")


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_weights_come_back_as_they_were_saved(tmp_path, dtype):
    """Does load_weights give what save_weights wrote, rounded to the precision asked for?"""
    model, other = small_net(), small_net(seed=1)
    training.save_weights(model, tmp_path / "w.safetensors", dtype)
    assert training.load_weights(other, tmp_path / "w.safetensors") is other
    expected = model[0].weight.to(dtype or torch.float32).float()
    assert torch.equal(other[0].weight, expected)
    with pytest.raises(ValueError, match="another network"):
        training.load_weights(ResNet18(width=1), tmp_path / "w.safetensors")


def test_a_torch_file_of_weights_is_loaded(tmp_path):
    """Is a .pt file of a state dict as good as safetensors?"""
    model, other = small_net(), small_net(seed=1)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    training.load_weights(other, tmp_path / "w.pt")
    assert torch.equal(other[5].weight, model[5].weight)


def test_the_schedule_rises_then_falls_to_zero():
    """Is the highest rate the one asked for, at the end of the warm-up, and the last one 0?"""
    rates = [training.one_cycle(step, 100, 0.4) for step in range(100)]
    assert np.argmax(rates) == 24 and max(rates) == pytest.approx(0.4)
    assert (np.diff(rates[:25]) > 0).all() and (np.diff(rates[25:]) < 0).all()
    assert rates[-1] == pytest.approx(0)


def test_the_cosine_falls_from_its_first_step():
    """Does the cosine begin at the rate asked for and fall to 0, and is that what training used?"""
    rates = [training.cosine(step, 100, 0.4) for step in range(100)]
    assert rates[0] == pytest.approx(0.4, rel=1e-3) and (np.diff(rates) < 0).all()
    assert rates[-1] == pytest.approx(0)


def test_a_schedule_is_chosen_by_name(data):
    """Do the rates of the history follow the schedule asked for, and is a wrong name refused?"""
    history = fit(small_net(), data, schedule="cosine")
    assert history["lr"] == [training.cosine(step, 12, 0.05) for step in (3, 7, 11)]
    with pytest.raises(ValueError, match="one_cycle, cosine"):
        fit(small_net(), data, schedule="step")


def test_a_part_of_an_epoch_is_an_entry_too(data):
    """Have two and a half epochs ten steps and three entries, the last at rate 0?"""
    history = fit(small_net(), data, epochs=2.5)
    assert len(history["loss"]) == 3 and history["lr"][-1] == pytest.approx(0)
    assert history["lr"][0] == training.one_cycle(3, 10, 0.05)


def test_a_run_without_enough_time_is_shorter_and_still_settles(data):
    """Does a run of far too many epochs end in time, with a rate that has fallen to 0?"""
    start = time.monotonic()
    history = fit(small_net(), data, epochs=10_000, seconds=1.0)
    assert time.monotonic() - start < 3
    assert history["elapsed"][-1] < 1.5
    assert 1 < len(history["loss"]) < 10_000 and history["lr"][-1] < 1e-3


def test_time_to_prepare_is_not_taken_for_the_pace(monkeypatch, data):
    """Has a run whose first step takes long, as if it compiled, all steps that fit?"""
    clock = [0.0]
    monkeypatch.setattr(
        training, "time", SimpleNamespace(monotonic=lambda: clock[0], process_time=lambda: 0.0)
    )

    def work(module, _):
        if module.training:
            clock[0] += 60.0 if clock[0] == 0 else 1.0

    monkeypatch.setattr(training, "compile_model", lambda model: model)
    model = small_net()
    model.register_forward_pre_hook(work)
    history = fit(model, data, epochs=100, seconds=300.0, compiled=True)
    assert history["steps"][-1] == 241 and history["elapsed"][-1] == 300.0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", {"run": {}}, [1.0]])
def test_a_damaged_state_is_told(tmp_path, data, content):
    """Is a state that cannot be read an error that says which file to delete?"""
    if isinstance(content, bytes):
        (tmp_path / "w.state.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "w.state.pt")
    (tmp_path / "w.safetensors").touch()
    with pytest.raises(ValueError, match=r"w\.state\.pt is damaged: delete it"):
        fit(small_net(), data, checkpoint=tmp_path / "w.safetensors")


def test_without_its_weights_a_run_begins_anew(tmp_path, data):
    """Does a run whose weights were deleted train, and write them again?"""
    path = tmp_path / "w.safetensors"
    fit(small_net(), data, checkpoint=path)
    path.unlink()
    model = small_net(seed=5)
    history = fit(model, data, epochs=2, checkpoint=path)
    assert len(history["loss"]) == 2
    torch.testing.assert_close(saving.read_weights(path), dict(model.state_dict()))


def test_a_signal_while_the_last_epoch_is_validated_is_heard(tmp_path, data):
    """Does a run that is stopped then say so, and the same call end it?"""
    model, path = small_net(), tmp_path / "w.safetensors"

    def stop(module, _):
        if not module.training:
            os.kill(os.getpid(), signal.SIGINT)

    hook = model.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt, match="step 4"):
        fit(model, data, epochs=1, checkpoint=path)
    hook.remove()
    assert len(fit(small_net(), data, epochs=1, checkpoint=path)["loss"]) == 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        ("--batch-size 0", "a whole number of at least 1, but is 0"),
        ("--epochs inf", "but is inf"),
        ("--epochs 0", "but is 0"),
        ("--width 1.5", "a whole number of at least 1, but is 1.5"),
        ("--label-smoothing 2", "a number from 0 to 1, but is 2"),
        ("--threads -1", "but is -1"),
        ("--lr nan", "but is nan"),
    ],
)
def test_a_number_out_of_range_is_told(capsys, arguments, said):
    """Does the command say what the number must be, and begin nothing?"""
    with pytest.raises(SystemExit) as left:
        main(arguments.split())
    assert left.value.code == 2 and said in capsys.readouterr().err


def test_a_network_that_is_not_written_is_not_called_one_of_one_size():
    """Does the question for its sizes say that it is not written?"""
    model = nn.Sequential(nn.Linear(1, 1))
    model.forward = lambda x: (_ for _ in ()).throw(NotImplementedError)
    with pytest.raises(NotImplementedError):
        training.only_whole(model, 32)


def any_size_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip


def test_a_progressive_run_has_smaller_images_first(data):
    """Has a run of ten steps three with 16x16, three with 24x24 and four with the images' 32x32?"""
    model, sides = any_size_net(), []
    model.register_forward_pre_hook(
        lambda module, args: sides.append(args[0].shape[2:]) if module.training else None
    )
    history = fit(model, data, epochs=2.5, progressive=True)
    assert sides == [(16, 16)] * 3 + [(24, 24)] * 3 + [(32, 32)] * 4
    assert history["val_acc"][-1] > 0.9


def test_a_progressive_run_goes_on_to_the_same_weights(tmp_path, data):
    """Does a run that a signal stops while images are small end just as an unbroken one?"""
    unbroken, stopped = any_size_net(), any_size_net()
    fit(unbroken, data, progressive=True)

    def stop(module, args):
        if module.training and args[0].shape[2] == 24:
            os.kill(os.getpid(), signal.SIGTERM)

    hook = stopped.register_forward_pre_hook(stop)
    path = tmp_path / "w.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, data, checkpoint=path, progressive=True)
    hook.remove()
    resumed = any_size_net(seed=5)
    fit(resumed, data, checkpoint=path, progressive=True)
    for name, value in unbroken.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


@pytest.mark.parametrize("slower, sides", [(1, [12, 12, 10]), (4, [6, 2, 2])])
def test_a_progressive_run_without_enough_time_is_shorter(monkeypatch, data, slower, sides):
    """Is it cut to what fits, as soon as its own pace tells, and does it end with whole images?"""
    clock, taken = [0.0], []
    monkeypatch.setattr(
        training, "time", SimpleNamespace(monotonic=lambda: clock[0], process_time=lambda: 0.0)
    )

    def work(module, args):
        if module.training:
            taken.append(args[0].shape[2])
            clock[0] += slower * (taken[-1] / 32) ** 2

    model = any_size_net()
    model.register_forward_pre_hook(work)
    history = fit(model, data, epochs=10, progressive=True, seconds=20.0)
    assert [taken.count(side) for side in (16, 24, 32)] == sides
    assert history["elapsed"][-1] <= 20 + slower
    assert history["lr"][-1] == pytest.approx(0, abs=1e-4)


def test_a_network_of_one_size_cannot_be_progressive(data):
    """Is it said that the network must take small images, and how?"""
    with pytest.raises(ValueError, match="16x16.*average over all positions"):
        fit(small_net(), data, progressive=True)
    assert training.only_whole(any_size_net(), 32) == ""


def test_each_image_is_mirrored_in_every_second_epoch():
    """Is about half mirrored in one epoch, the others in the next, and by another seed others?"""
    first, second, third = (training.mirrored_in(epoch, 1000, seed=3) for epoch in range(3))
    assert 400 < first.sum() < 600
    assert torch.equal(second, ~first) and torch.equal(third, first)
    assert not torch.equal(training.mirrored_in(0, 1000, seed=4), first)


def test_a_shrunk_image_shows_the_same(data):
    """Have the images half the side, in the same memory order, with the means of 2x2 about kept?"""
    x = training.normalize(training.to_tensor(data["X_val"]))
    small = training.shrink(x, 16)
    assert small.shape == (32, 3, 16, 16)
    assert small.is_contiguous(memory_format=torch.channels_last)
    means = nn.functional.avg_pool2d(x, 2)
    assert torch.corrcoef(torch.stack((small.flatten(), means.flatten())))[0, 1] > 0.95
    assert training.shrink(x, 32) is x


def test_training_without_a_compiler_is_refused(monkeypatch, data):
    """Is the missing compiler named before the first step?"""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(OSError, match="C\\+\\+ compiler"):
        fit(small_net(), data, compiled=True)


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no C++ compiler")
@pytest.mark.slow
def test_a_compiled_step_is_the_same_step(data):
    """Is the network really compiled, and is its step that of the one that is not?"""
    losses = []
    for compiled in (False, True):
        model = any_size_net()
        one = data | {key: data[key][:16] for key in ("X_train", "y_train")}
        losses.append(fit(model, one, epochs=1, compiled=compiled)["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1


def test_the_bar_shows_images_a_second_and_the_time_that_is_left(data, capsys):
    """Does the bar count images, with their speed, time and time left, loss and accuracy?"""
    fit(small_net(), data, progress=True)
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.search(r"192/192 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+k? images/s, loss=\d", last)
    assert "val_acc=" in last


def test_training_goes_without_validation_images(data):
    """Is there then no validation accuracy, and a plot all the same?"""
    history = fit(small_net(), data | {key: data[key][:0] for key in ("X_val", "y_val")})
    assert history["val_acc"] == [] and len(history["loss"]) == 3
    training.plot_curves(history)


def test_flipped_scores_are_the_mean_over_both_sides(data):
    """Are scores with flip the same for mirror images, and the mean of both sides' scores?"""
    X, model = data["X_val"], small_net()
    both = training.predict_scores(model, X, flip=True)
    plain, mirrored = (training.predict_scores(model, x) for x in (X, X[:, :, ::-1].copy()))
    np.testing.assert_allclose(both, (plain + mirrored) / 2, atol=1e-6)
    assert not np.allclose(both, plain)


def test_a_tensorboard_log_goes_on(tmp_path, data):
    """Has the log each epoch's figures once, after a run that was resumed?"""
    options = {"checkpoint": tmp_path / "w.safetensors", "tensorboard": tmp_path / "log"}
    fit(small_net(), data, **options)
    history = fit(small_net(), data, **options)
    log = EventAccumulator(str(tmp_path / "log")).Reload()
    assert [event.step for event in log.Scalars("loss")] == [4, 8, 12]
    np.testing.assert_allclose([event.value for event in log.Scalars("loss")], history["loss"])


def test_a_log_without_tensorboard_is_refused(monkeypatch, data):
    """Is the missing package named before the first step?"""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        fit(small_net(), data, tensorboard="log")


def test_norms_and_biases_do_not_decay():
    """Is weight decay on matrices and kernels alone, and every parameter in one group?"""
    model = small_net()
    decayed, kept = training.make_optimizer(model, 0.9, 0.1).param_groups
    assert [p.dim() for p in decayed["params"]] == [4, 2] and decayed["weight_decay"] == 0.1
    assert [p.dim() for p in kept["params"]] == [1] * 4 and kept["weight_decay"] == 0


def test_the_momentum_looks_ahead():
    """Are two steps along a gradient of 1 those of Nesterov's: lr (g + m v) with v = m v + g?"""
    model = nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    optimizer = training.make_optimizer(model, 0.9, 0.0)
    for _ in range(2):
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
    assert before - model.weight.item() == pytest.approx(0.1 * (1.9 + 2.71), rel=1e-4)


def test_frozen_weights_stay(data):
    """Does training leave alone what does not require a gradient?"""
    model = small_net()
    model[0].requires_grad_(False)
    before = model[0].weight.clone(), model[5].weight.clone()
    fit(model, data, epochs=1)
    assert torch.equal(model[0].weight, before[0])
    assert not torch.equal(model[5].weight, before[1])


def test_augmentation_only_shifts_and_mirrors():
    """Is each augmented image one of the 81 shifts, or their mirrors, of its own image?"""
    X = torch.from_numpy(images(12)[0]).permute(0, 3, 1, 2)
    torch.manual_seed(0)
    found = set()
    for image, result in zip(X, training.augment(X), strict=True):
        padded = nn.functional.pad(image, (4,) * 4)
        matches = [
            (top, left, mirrored)
            for top in range(9)
            for left in range(9)
            for mirrored in (False, True)
            if torch.equal(
                padded[:, top : top + 32, left : left + 32].flip([2] if mirrored else []), result
            )
        ]
        assert len(matches) == 1
        found.add(matches[0])
    assert len(found) > 6 and {mirrored for *_, mirrored in found} == {False, True}


def test_normalized_pixels_are_centred():
    """Does a pixel of the mean colour become 0, and one of a standard deviation more become 1?"""
    mean, std = torch.tensor(training.MEAN), torch.tensor(training.STD)
    colours = torch.stack((mean, mean + std)) * 255
    X = colours.round().to(torch.uint8).view(2, 3, 1, 1)
    torch.testing.assert_close(
        training.normalize(X).flatten(1), torch.tensor([[0.0] * 3, [1.0] * 3]), atol=0.01, rtol=0
    )


@pytest.mark.parametrize("X", [np.zeros((2, 32, 32, 3)), np.zeros((2, 3, 32, 32), np.uint8)])
def test_images_of_another_form_are_refused(X):
    """Do float images, or channels in the wrong place, raise an error that says what is wanted?"""
    with pytest.raises(ValueError, match="uint8"):
        training.to_tensor(X)


@pytest.mark.parametrize("channels", [4, 7, 8, 16])
def test_a_strided_pointwise_convolution_has_right_gradients(channels):
    """Is the layout one in which few channels are safe, and channels-last where many are?"""
    model = nn.Conv2d(channels, 2 * channels, 1, stride=2, bias=False)
    layout = hardware.pick_layout(model, torch.device("cpu"))
    assert (layout is torch.channels_last) == (channels >= hardware.BLOCK)
    x = torch.randn(64, channels, 32, 32)
    dout = torch.randn(64, 2 * channels, 16, 16)
    expected = torch.einsum("nkhw,nchw->kc", dout, x[..., ::2, ::2])
    model.to(memory_format=layout)(x.contiguous(memory_format=layout)).backward(dout)
    torch.testing.assert_close(model.weight.grad[..., 0, 0], expected, rtol=1e-4, atol=2e-2)
    assert hardware.pick_layout(model, torch.device("cuda")) is torch.channels_last
    assert hardware.pick_layout(model, torch.device("mps")) is torch.contiguous_format


def test_the_device_is_the_fastest_that_all_processes_can_use(monkeypatch):
    """Is it a card by its number; Apple's for one process; else the processor?"""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert hardware.pick_device() == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for processes, device in ((1, "mps"), (2, "cpu")):
        monkeypatch.setattr(hardware, "size", lambda processes=processes: processes)
        assert hardware.pick_device() == torch.device(device)


def test_no_more_processes_than_cards(monkeypatch):
    """Is it said how many processes there may be?"""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="--nproc-per-node 2"), distributed.processes():
        pass


def test_the_precision_is_one_that_the_cpu_runs():
    """Is the measured answer one of the two precisions, and the same when asked again?"""
    device = torch.device("cpu")
    answer = hardware.pick_precision(device)
    assert answer in (torch.float32, torch.bfloat16)
    assert hardware.pick_precision(device) is answer
    x = torch.ones(2, 2)
    with hardware.autocast(device, answer):
        assert (x @ x).dtype == answer


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_precision_is_measured_whatever_mode_is_on(monkeypatch, mode):
    """Is a backward measured also where gradients are off when it is asked for?"""
    monkeypatch.setattr(hardware, "time_in_turn", lambda work, ways: {
        way: work(way) or seconds for way, seconds in zip(ways, (1.2, 0.9), strict=True)
    })  # fmt: skip
    hardware.pick_precision.cache_clear()
    try:
        with mode():
            assert hardware.pick_precision(torch.device("cpu")) is torch.bfloat16
    finally:
        hardware.pick_precision.cache_clear()


@pytest.mark.parametrize("by_tiles", [False, True])
def test_large_convolutions_are_made_by_tiles_where_that_is_picked(monkeypatch, data, by_tiles):
    """Are they in a step, and in what is said of images, and only then?"""
    taken = []
    apply = winograd.Convolution.apply
    monkeypatch.setattr(winograd, "CHANNELS", 1)
    monkeypatch.setattr(winograd.Convolution, "apply", lambda *a: taken.append(1) or apply(*a))
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4096, 2))
    optimizer = training.make_optimizer(model, 0.9, 0.0)
    x, y = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    training.take_step(model, optimizer, x, y, 0.0, torch.float32, by_tiles)
    assert len(taken) == by_tiles
    monkeypatch.setattr(evaluation, "pick_winograd", lambda *_, **__: by_tiles)
    training.predict_scores(model, data["X_val"][:4])
    assert len(taken) == 2 * by_tiles


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Is what was written sent to the disk before it takes the old file's place?"""
    done = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(
            saving.os, name, lambda *a, name=name, call=call: done.append(name) or call(*a)
        )
    saving.replace_file(tmp_path / "w", lambda part: part.write_bytes(b"weights"))
    assert done == ["fsync", "replace"]


def test_curves_are_saved(tmp_path, data):
    """Is there a picture of the curves after training?"""
    history = {key: [0.5, 0.4] for key in ("loss", "train_acc", "val_acc")}
    training.plot_curves(history, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


class Brightness(nn.Module):
    """Scores the second class for bright images."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        mean = x.mean((1, 2, 3)) * self.scale
        return torch.stack((-mean, mean), 1)


def test_a_submission_has_kaggles_form(tmp_path):
    """Are ids counted from 1 over batches, and the labels names?"""
    X, y = images(7)
    path = tmp_path / "submission.csv"
    batches = (batch for batch in np.array_split(X, 3))
    assert predict.write_submission(Brightness(), batches, path, ["dark", "bright"]) == 7
    rows = list(csv.reader(path.read_text().splitlines()))
    assert rows[0] == ["id", "label"]
    assert rows[1:] == [[str(i + 1), ("dark", "bright")[y[i]]] for i in range(7)]
    with pytest.raises(ValueError, match="names"):
        predict.write_submission(Brightness(), [X], path, ["dark"])


def test_image_files_are_read_in_the_order_of_their_numbers(tmp_path):
    """Does 10.png come after 9.png, and is a gap noticed?"""
    from PIL import Image

    for number in range(1, 12):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"{number}.png")
    batches = list(predict.png_batches(tmp_path, batch_size=4))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert np.concatenate(batches)[:, 0, 0, 0].tolist() == list(range(1, 12))
    (tmp_path / "5.png").unlink()
    with pytest.raises(ValueError, match="missing"):
        list(predict.png_batches(tmp_path))


def test_the_commands_train_and_predict(tmp_path, monkeypatch, data):
    """Do the two commands, one after the other, leave weights, curves and a submission?"""
    monkeypatch.chdir(tmp_path)
    for key in ("X_test", "y_test"):
        monkeypatch.setitem(data, key, data[key.replace("test", "val")])
    monkeypatch.setattr(training, "load_images", lambda *numbers: data)
    monkeypatch.setattr("cs231n.train.cifar10_folder", lambda: tmp_path)
    monkeypatch.setattr(predict, "class_names", lambda: [str(i) for i in range(10)])
    monkeypatch.setattr(predict, "cifar10_folder", lambda: tmp_path)
    monkeypatch.setattr(predict, "load_CIFAR_batch", lambda _: (data["X_test"], data["y_test"]))
    assert main(["--width", "2", "--epochs", "1", "--batch-size", "16", "--flip"]) == 0
    record = json.loads((tmp_path / "checkpoints" / "resnet18_cifar10.history.json").read_text())
    assert record["width"] == 2 and len(record["history"]["loss"]) == 1
    assert 0 <= record["test_acc_flip"] <= 1
    assert predict.main([]) == 0
    assert (tmp_path / "checkpoints" / "resnet18_cifar10.png").exists()
    assert len((tmp_path / "submission.csv").read_text().splitlines()) == 33
    assert main(["--width", "2", "--epochs", "2", "--batch-size", "16"]) == 1
