import os
import sys
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision.models import resnet
from torchvision.models.resnet import BasicBlock, ResNet

from cs231n import training, transfer


@pytest.fixture(autouse=True)
def on_one_thread():
    """Two threads only wait for each other in nets so small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 48)
    X = (rng.integers(0, 128, (48, 32, 32, 3)) + 127 * y[:, None, None, None]).astype(np.uint8)
    return {"X_train": X[:32], "y_train": y[:32], "X_val": X[32:], "y_val": y[32:]}


def small_body(seed=0):
    """A residual network of torchvision's own class, of ten layers, with random weights."""
    torch.manual_seed(seed)
    return ResNet(BasicBlock, [1, 1, 1, 1])


def test_a_frozen_body_stays_as_it_came(data):
    """Does the frozen part change the last layer alone: no weight and no statistic of the body?"""
    model = transfer.Transfer(small_body(), 2, size=32)
    model.freeze()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training.train(model, data, epochs=1, batch_size=16, lr=0.01, progress=False)
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {"body.fc.weight", "body.fc.bias"}


def test_fine_tuning_has_two_parts(tmp_path, data):
    """Does the second part change the body, and does each part keep a checkpoint of its own?"""
    model = transfer.Transfer(small_body(), 2, size=32)
    before = model.body.conv1.weight.clone()
    path = tmp_path / "net.safetensors"
    frozen, free = transfer.fine_tune(
        model, data, epochs=(1, 2), batch_size=16, checkpoint=str(path), progress=False
    )
    assert (len(frozen["loss"]), len(free["loss"])) == (1, 2)
    assert not torch.equal(model.body.conv1.weight, before)
    assert path.exists() and (tmp_path / "net_frozen.safetensors").exists()


COPY = 19e6  # bytes of that network's weights; the allocator moves by those of a layer, 9 MB


@pytest.fixture
def resident(monkeypatch):
    """The bytes of the process's memory at each pass through a network of `Transfer`."""
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    found, forward = [], transfer.Transfer.forward

    def noted(self, x):
        pages = int(open("/proc/self/statm").read().split()[1])
        found.append(pages * os.sysconf("SC_PAGE_SIZE"))
        return forward(self, x)

    monkeypatch.setattr(transfer.Transfer, "forward", noted)
    return found


@pytest.mark.slow
def test_memory_stays_flat_over_30_epochs(data, resident):
    """Do 25 epochs add less to the process than one copy of the weights, which are 20 MB?"""
    model = transfer.Transfer(small_body(), 2, size=32)
    training.train(model, data, epochs=30, batch_size=16, lr=0.01, progress=False)
    assert len(resident) == 30 * 3  # two steps and a batch to validate
    assert max(resident[15:]) - min(resident[12:15]) < COPY


@pytest.mark.slow
def test_memory_stays_flat_in_both_parts_of_fine_tuning(tmp_path, data, resident):
    """Do ten epochs with their checkpoints add less to the process than one copy of the weights?"""
    model = transfer.Transfer(small_body(), 2, size=32)
    transfer.fine_tune(
        model, data, epochs=(15, 15), batch_size=16, checkpoint=tmp_path / "net.safetensors",
        progress=False,
    )  # fmt: skip
    assert len(resident) == 30 * 3
    for part in (resident[:45], resident[45:]):  # the second one has gradients of the whole body
        assert max(part[15:]) - min(part[12:15]) < COPY


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder without weights, on a machine without a network."""

    def fail(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    return tmp_path


def test_missing_weights_are_a_clear_message(cache):
    """Is it said why there are none, and where the file may be put by hand?"""
    with pytest.raises(OSError, match=r"no route to host.*checkpoints/resnet34-\w+\.pth"):
        transfer.pretrained_resnet34(cache)


def test_damaged_weights_are_a_clear_message(cache):
    """Is a file that holds no weights an error that names it?"""
    file = cache / "checkpoints" / resnet.ResNet34_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    file.parent.mkdir()
    file.write_bytes(b"<html>Not here</html>")
    with pytest.raises(OSError, match=file.name):
        transfer.pretrained_resnet34(cache)


@pytest.mark.slow
def test_weights_come_from_the_cache_folder(cache):
    """Are weights that lie in the folder loaded without a network?"""
    url = resnet.ResNet34_Weights.IMAGENET1K_V1.url
    (cache / "checkpoints").mkdir()
    there = resnet.resnet34()
    torch.save(there.state_dict(), cache / "checkpoints" / url.rpartition("/")[2])
    before = torch.hub.get_dir()
    found = transfer.pretrained_resnet34(cache)
    assert torch.hub.get_dir() == before
    assert torch.equal(found.layer4[2].conv2.weight, there.layer4[2].conv2.weight)
