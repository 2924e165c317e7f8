"""python -m cs231n.predict: Kaggle's file, in little memory, and what it says of bad input."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cs231n import predict, saving
from cs231n.classifiers.resnet import ResNet18

NAMES = [f"class {i}" for i in range(10)]


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "weights.safetensors"
    saving.save_weights(ResNet18(width=2), path)
    return path


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Draws n images as files, in a folder beside that of the names."""
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}))
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def draw(n):
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        for number in range(1, n + 1):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png", compress_level=0)
        return folder

    return draw


def labelled(checkpoint, folder, solved):
    """The rows that the command writes, and the most megabytes that it had."""
    code = (
        "import sys; from cs231n.predict import main; code = main(sys.argv[1:]); "
        "most = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0]; "
        "print(int(most.split()[1]) // 1024); sys.exit(code)"  # ru_maxrss would be the parent's
    )
    arguments = ["--checkpoint", checkpoint, "--images", folder]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(solved)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Path("submission.csv").read_text().splitlines(), int(done.stdout.splitlines()[-1])


def test_memory_does_not_grow_with_the_images(images, checkpoint, solved):
    """Does ten times as many images take the same memory, and is each labelled?"""
    megabytes = []
    for n in (500, 5000):
        rows, most = labelled(checkpoint, images(n), solved)
        assert rows[0] == "id,label" and len(rows) == n + 1
        assert [row.split(",")[0] for row in rows[1:]] == [str(i + 1) for i in range(n)]
        assert {row.split(",")[1] for row in rows[1:]} <= set(NAMES)
        megabytes.append(most)
    assert megabytes[1] - megabytes[0] < 40


def test_a_network_of_full_width_fits_into_a_gigabyte(images, solved, tmp_path):
    """Is it so with the network that all points are for?"""
    path = tmp_path / "full.safetensors"
    saving.save_weights(ResNet18(), path)
    _, most = labelled(path, images(300), solved)
    assert most < 1000


def spoil(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def as_torch(folder, content, size=None):
    """Another file of weights, cut to that many bytes."""
    path = folder.parent / "weights.pt"
    torch.save(content, path)
    path.write_bytes(path.read_bytes()[:size])
    return path


def large(folder):
    Image.new("RGB", (64, 32)).save(folder / "2.png")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda folder: (folder / "2.png").unlink(), "2.png is missing"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "has no 1.png, 2.png"),
        (spoil("2.png", b"\x89PNG\r\n\x1a\n" + bytes(50)), "2.png is damaged"),
        (spoil("2.png", b"text"), "2.png is damaged"),
        (large, "2.png has 64x32 pixels, not 32x32"),
        (spoil("../weights.safetensors", b"text"), "weights.safetensors is damaged, or holds no"),
        (lambda folder: (folder / "../weights.safetensors").unlink(), "No such file"),
        (lambda folder: as_torch(folder, {"x": torch.ones(9)}, 200), "weights.pt is damaged"),
        (lambda folder: as_torch(folder, 3.0), "holds no weights by name, but a float"),
        (spoil("../batches.meta", b"cos\nsystem\n(S'true'\ntR."), "it asks for os.system"),
    ],
)
def test_bad_input_is_told_in_a_line(images, checkpoint, tmp_path, capsys, change, said):
    """Does each fault end in one sentence, and leave an earlier file as it was?"""
    (tmp_path / "submission.csv").write_text("earlier")
    folder = images(3)
    other = change(folder)
    weights = other if isinstance(other, Path) else checkpoint
    assert predict.main(["--checkpoint", str(weights), "--images", str(folder)]) == 1
    assert said in capsys.readouterr().err
    assert (tmp_path / "submission.csv").read_text() == "earlier"
    assert not list(tmp_path.glob("*.part"))


def test_scores_that_are_no_numbers_label_nothing(tmp_path):
    """Does a diverged network write no file?"""
    model = ResNet18(width=2)
    torch.nn.init.constant_(model.fc.bias, float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        predict.write_submission(
            model, [np.zeros((2, 32, 32, 3), np.uint8)], tmp_path / "out.csv", NAMES
        )
    assert not list(tmp_path.iterdir())
