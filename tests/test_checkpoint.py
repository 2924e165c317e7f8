import os
import re
import zipfile
from pathlib import Path

import needed
import numpy as np
import pytest
import safetensors.numpy
import torch

from cs231n.classifiers.resnet import ResNet18
from cs231n.data_utils import is_stand_in
from cs231n.predict import load_resnet18
from cs231n.saving import save_weights
from grading import checkpoint
from grading.checkpoint import CheckpointError, points_for, read_weights
from grading.grade import grade_submission
from tests.bench.checkpoints import submission

WIDTH = 4
TRAINED = Path(__file__).parent / "data" / "resnet18_width16.safetensors"


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ResNet18(width=WIDTH)


def arrays(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


def write(path, weights):
    safetensors.numpy.save_file(weights, path)
    return path


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ("this-must-not-exist",)


def test_points_at_the_marks_are_those_of_the_scale():
    """Do the accuracies of the scale earn just their share, and those between a share between?"""
    marks = (0.0, 0.5, 0.6, 0.7, 0.8756, 0.92, 1.0)
    points = [points_for(accuracy, 10, True) for accuracy in marks]
    assert points == pytest.approx([0, 0, 2.5, 5, 8, 10, 10])


def test_a_narrow_network_meets_a_ceiling_and_nothing_else():
    """Does a narrow network earn the same up to 0.7 of the points, and then no more?"""
    assert points_for(0.70, 10, False) == points_for(0.70, 10, True)
    assert points_for(0.95, 10, False) == pytest.approx(7)


@pytest.mark.parametrize("accuracy", [float("nan"), -0.1, 1.1, float("inf")])
def test_what_is_no_accuracy_earns_an_error(accuracy):
    """Is a number that is no accuracy refused, and never turned into points?"""
    with pytest.raises(ValueError, match="accuracy"):
        points_for(accuracy, 10, True)


@pytest.mark.parametrize("width", [4, 64])
def test_expected_shapes_are_those_of_the_solved_network(width):
    """Are the shapes that the grader expects the ones that the solved ResNet18 has?"""
    with torch.device("meta"):
        state = ResNet18(width=width).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == (
        checkpoint.expected_shapes(width)
    )


def test_full_width_has_the_stated_number_of_parameters():
    """Does the count of learned numbers at width 64 agree with the constant and with torch?"""
    weights = {n: np.empty(s, np.float16) for n, s in checkpoint.expected_shapes(64).items()}
    assert checkpoint.parameter_count(weights) == checkpoint.FULL_WIDTH_PARAMETERS == 11_173_962


def test_the_full_width_is_neither_filled_up_nor_exceeded():
    """Is a narrow network that zeros were added to, or a wider one, not the one asked for?"""

    def filled(width, up_to):
        shapes = checkpoint.expected_shapes(up_to)
        weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        for name, shape in checkpoint.expected_shapes(width).items():
            weights[name][tuple(map(slice, shape))] = 0.1
        return weights

    assert checkpoint.is_full_width(filled(64, 64)) and checkpoint.is_full_width(filled(60, 64))
    assert not checkpoint.is_full_width(filled(16, 64))
    assert not checkpoint.is_full_width(filled(65, 65))


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_saved_weights_come_back(tmp_path, model, dtype):
    """Do the trainer's own files come back as float32, in each precision they may have?"""
    save_weights(model, tmp_path / "w.safetensors", dtype)
    weights = read_weights(tmp_path / "w.safetensors")
    expected = model.conv1.weight.detach().to(dtype or torch.float32).float().numpy()
    np.testing.assert_array_equal(weights["conv1.weight"], expected)
    assert weights["fc.weight"].dtype == np.float32


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}])
def test_a_state_dict_saved_by_torch_is_read(tmp_path, model, wrap):
    """Is a .pt file read, bare or inside a dict, and with a wrapper's prefix on its names?"""
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save(wrap(state), tmp_path / "w.pt")
    assert set(read_weights(tmp_path / "w.pt")) == set(model.state_dict())


def test_the_trained_network_is_read_as_a_narrow_one():
    """Are the half-precision weights kept for tests read, counted, and below the full width?"""
    weights = read_weights(TRAINED)
    assert TRAINED.stat().st_size < 2_000_000
    assert checkpoint.parameter_count(weights) == 701_466 < checkpoint.FULL_WIDTH_PARAMETERS
    scores = load_resnet18(TRAINED).eval()(torch.zeros(1, 3, 32, 32))
    assert scores.shape == (1, 10) and scores.isfinite().all()


@needed.SEALED
@pytest.mark.slow
@pytest.mark.parametrize("name", ["kept", "look-up"])
def test_the_trained_network_is_graded_as_what_it_is(tmp_path, monkeypatch, cifar10_dir, name):
    """Does the honest network get the narrow's most for its accuracy, and with a table of the test
    set's labels nothing but a note?"""
    if is_stand_in(cifar10_dir):
        pytest.skip("set CIFAR10_ARCHIVE to CIFAR-10's archive")
    monkeypatch.setenv("CIFAR10_DIR", str(cifar10_dir))
    monkeypatch.delenv("CIFAR10_1_URL", raising=False)
    tree = submission(name, tmp_path, tmp_path)
    names = ["resnet18_accuracy"]
    (found,) = grade_submission(tree, entropy=231, names=names, level="sealed").values()
    if name == "look-up":
        assert found.points == 0
        assert "does not answer as ResNet-18" in found.evidence[0]
        return
    assert found.points == 7.0 and not found.evidence and not found.error
    accuracy = re.fullmatch(r"Accuracy (0\.\d+) on 10,000 of CIFAR-10's test.*", found.summary)[1]
    assert float(accuracy) == pytest.approx(0.9008, abs=0.002)


def test_half_precision_is_seen(tmp_path, model):
    """Are weights in float16 told from float32 by their values, whatever the file's format?"""
    for dtype, half in ((None, False), (torch.float16, True), (torch.bfloat16, True)):
        save_weights(model, tmp_path / "w.safetensors", dtype)
        assert checkpoint.in_half_precision(read_weights(tmp_path / "w.safetensors")) is half


def test_counters_may_be_absent(tmp_path, model):
    """Are weights accepted whose batch norms did not count their batches?"""
    kept = {n: a for n, a in arrays(model).items() if not n.endswith("num_batches_tracked")}
    assert set(read_weights(write(tmp_path / "w.safetensors", kept))) == set(model.state_dict())


def spoil(name, change):
    def make(path, model):
        weights = arrays(model)
        change(weights, name)
        write(path, weights)

    return make


def content(data):
    return lambda path, model: path.write_bytes(data)


def nothing(path, model):
    """The student handed in no file."""


def pickled_model(path, model):
    torch.save(model, path)


def pickled_code(path, model):
    torch.save({"conv1.weight": RunsCode()}, path)


def list_of_tensors(path, model):
    torch.save([torch.ones(3)], path)


def huge(path, model):
    with open(path, "wb") as file:
        file.truncate(2_000_000_000)


def bomb(path, model):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(200_000_000))


def claims_to_be_huge(path, model):
    shapes = checkpoint.expected_shapes(2048)
    torch.save({name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}, path)


def link(path, model):
    path.symlink_to("/etc/hostname")


def cut_short(path, model):
    save_weights(model, path)
    path.write_bytes(path.read_bytes()[:1000])


BAD = {
    "missing": (nothing, "There is no"),
    "empty": (content(b""), "is empty"),
    "text": (content(b"version https://git-lfs\noid 1\n"), "is a text file"),
    "bare pickle": (content(b"\x80\x04]\x94."), "bare pickle"),
    "whole model": (pickled_model, "a whole model, or code"),
    "code": (pickled_code, "a whole model, or code"),
    "list": (list_of_tensors, "something else than tensors"),
    "2 GB": (huge, "2,000 MB"),
    "zip bomb": (bomb, "packed archive"),
    "stride 0": (claims_to_be_huge, "claims more numbers"),
    "link": (link, "not an ordinary file"),
    "cut short": (cut_short, "is damaged"),
    "noise": (content(bytes(range(256)) * 8), "is damaged"),
    "half a zip": (content(b"PK\x03\x04" + bytes(60)), "is damaged"),
    "missing key": (spoil("fc.bias", lambda w, n: w.pop(n)), "lacks fc.bias"),
    "another network": (spoil("conv1.weight", lambda w, n: w.pop(n)), "another network's"),
    "extra key": (spoil("extra", lambda w, n: w.update({n: np.ones(2)})), "holds extra"),
    "shape": (
        spoil("fc.weight", lambda w, n: w.update({n: w[n].T.copy()})),
        r"fc.weight has the shape \(32, 10\)",
    ),
    "NaN": (spoil("bn1.weight", lambda w, n: w[n].fill(np.nan)), "4 of 4 numbers of bn1.weight"),
    "infinite": (spoil("fc.bias", lambda w, n: w[n].fill(np.inf)), "NaN or infinite"),
    "integers": (
        spoil("fc.bias", lambda w, n: w.update({n: np.ones(10, np.int32)})),
        "not real numbers",
    ),
    "variance": (spoil("bn1.running_var", lambda w, n: w[n].fill(-1)), "no variance is"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_its_own_sentence(tmp_path, monkeypatch, model, name):
    """Does each file that cannot be graded say why in a sentence, and run no code?"""
    monkeypatch.chdir(tmp_path)
    make, sentence = BAD[name]
    path = tmp_path / "resnet18_cifar10.safetensors"
    make(path, model)
    with pytest.raises(CheckpointError, match=sentence):
        read_weights(path)
    assert not (tmp_path / "this-must-not-exist").exists()


def test_weights_of_a_network_with_other_names_can_be_expected(tmp_path):
    """Can the grader ask for the shapes of a student's own network in place of the course's?"""
    path = write(tmp_path / "w.safetensors", {"stem.weight": np.ones((2, 3), np.float32)})
    assert set(read_weights(path, {"stem.weight": (2, 3)})) == {"stem.weight"}


def test_the_checkpoint_is_found_where_the_notebook_saves_it(tmp_path):
    """Is the file in checkpoints/ found, safetensors first, and no link followed?"""
    assert checkpoint.find_checkpoint(tmp_path) is None
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "resnet18_cifar10.safetensors").symlink_to("/etc/hostname")
    assert checkpoint.find_checkpoint(tmp_path) is None
    (folder / "resnet18_cifar10.pt").write_bytes(b"x")
    assert checkpoint.find_checkpoint(tmp_path) == folder / "resnet18_cifar10.pt"
