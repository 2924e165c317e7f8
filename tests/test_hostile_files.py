"""Submissions as files: whatever is in an archive, nothing leaves its folder or shadows ours."""

import io
import pickle
import shutil
import stat
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from small_course import archive

from grading import checkpoint, evidence, overlay, preprocessors, repair_notebook
from grading.archives import unpack
from grading.grade import grade_submission
from grading.repair import Repair, recorded
from grading.sealed import isolation
from grading.zip_collect import CourseExtractor

GOOD = "cs231n/optim.py"


def unpacked(tmp_path, files):
    """The files that came out of an archive, and what was said."""
    folder = tmp_path / "out" / "ann"
    said = unpack(archive(tmp_path / "ann_hw.zip", files), folder)
    every = [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".zip"]
    assert all(p.is_relative_to(folder) for p in every)
    return {p.relative_to(folder).as_posix() for p in every}, "\n".join(map(str, said))


@pytest.mark.parametrize(
    "name",
    ["../../slip.py", "/dev/shm/slip.py", "a/../../../slip.py", "..\\..\\slip.py", "C:/slip.py"],
)
def test_zip_slip(tmp_path, name):
    """Is a path that leads outside left out, by whatever spelling, and said so?"""
    files, said = unpacked(tmp_path, {GOOD: "x = 1", name: "slipped = True"})
    assert files == {GOOD}
    assert "leads out" in said
    assert not list(tmp_path.parent.glob("slip.py")) and not Path("/dev/shm/slip.py").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_links_and_devices_in_an_archive(tmp_path, kind):
    """Is a member that says it is a link or a device no file?"""
    member = zipfile.ZipInfo("cs231n/layers.py")
    member.external_attr = (kind | 0o777) << 16
    files, said = unpacked(tmp_path, {GOOD: "x = 1", member: "/etc/passwd"})
    assert files == {GOOD} and "link or a device" in said


def test_ten_thousand_files(tmp_path):
    """Does an archive of 10,000 files stop at a limit, with the rest of it graded?"""
    many = {f"cs231n/helper{i}.py": "" for i in range(10_000)}
    files, said = unpacked(tmp_path, {GOOD: "x = 1", **many})
    assert GOOD in files and len(files) <= 2_000 and "more than 2000 files" in said
    found = overlay.collect(tmp_path / "out" / "ann")
    assert GOOD in found.taken and len(found.helpers) <= overlay.MAX_FILES


def test_a_file_where_a_folder_must_be(tmp_path):
    """Do members of which one is the other's folder, or its double, disturb no other?"""
    names = ["cs231n/a.py", "cs231n/a.py/b.py", "cs231n/a.py/c/d.py", "cs231n/A.py", GOOD]
    files, _ = unpacked(tmp_path, dict.fromkeys(names, "x = 1"))
    assert {GOOD, "cs231n/a.py"} <= files
    assert overlay.collect(tmp_path / "out" / "ann").helpers in (
        ("cs231n/A.py",), ("cs231n/a.py",)
    )  # fmt: skip


def test_a_bomb(tmp_path):
    """Does a file of 600 MB in an archive of less than one stay packed?"""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(GOOD, "x = 1")
        with made.open("cs231n/bomb.py", "w", force_zip64=True) as member:
            for _ in range(600):
                member.write(bytes(1_000_000))
    path = tmp_path / "ann_hw.zip"
    path.write_bytes(data.getvalue())
    said = unpack(path, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").rglob("*.py")] == ["optim.py"]
    assert "500 MB" in str(said[0])


def test_a_checkpoint_of_2_gb_is_named_with_its_size(tmp_path):
    """Do student and instructor read, once it was collected, that the checkpoint was too large?"""
    course = tmp_path / "course"
    (course / "release" / "assignment2").mkdir(parents=True)
    path = course / "downloaded" / "assignment2" / "archive" / "ann_hw.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(GOOD, "x = 1")
        made.writestr("checkpoints/resnet18_cifar10.safetensors", bytes(1_000_000))
        made.filelist[-1].file_size = 2_000_000_000  # what the archive says of it
    CourseExtractor().extract(str(path.parent), str(tmp_path / "collected"))
    assert not list((tmp_path / "collected").rglob("*.safetensors"))
    assert (tmp_path / "collected" / "ann_hw" / GOOD).is_file()
    said = [preprocessors.line(r) for r in recorded(preprocessors.record(course, "ann"))]
    assert (
        "`checkpoints/resnet18_cifar10.safetensors`: it was left out: it has 2,000.0 MB, and "
        "with it the archive unpacks to more than 500 MB."
    ) in said


def test_files_that_would_shadow_ours(solved, tmp_path):
    """Does a numpy.py, a grading/ or a sitecustomize.py of a student's change nothing?"""
    harm = "raise SystemExit('shadowed')"
    shadows = ["numpy.py", "sitecustomize.py", "usercustomize.py", "conftest.py"]
    shadows += ["cs231n/numpy.py", "cs231n/solver.py", "json.py", "grading/judge.py"]
    files = {p.relative_to(solved).as_posix(): p.read_text() for p in solved.rglob("*.py")}
    files |= dict.fromkeys(shadows, harm) | {"evil.pth": f"import os; {harm}"}
    folder = tmp_path / "handed-in"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    level = isolation.level().name
    outcomes = grade_submission(folder, entropy=3, names=["relu_forward"], level=level)
    assert outcomes["relu_forward"].passed
    told = "\n".join(entry.what for entry in evidence.of_files("ann", folder, []))
    assert "grading/: the course's own copy is used" in told
    assert "cs231n/solver.py: a given module" in told and "numpy.py: outside cs231n/" in told


def test_a_pickle_that_runs(tmp_path):
    """Is a checkpoint that would run code refused, and nothing of it run?"""

    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "resnet18_cifar10.pt"
    path.write_bytes(pickle.dumps({"conv1.weight": Evil()}))
    with pytest.raises(checkpoint.CheckpointError):
        checkpoint.read_weights(path)
    assert not (tmp_path / "ran").exists()


def torch_file(path, pickled):
    """A file as torch.save writes it, with another pickle in it."""
    torch.save({"conv1.weight": torch.zeros(2)}, path)
    with zipfile.ZipFile(path) as archive:
        content = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, pickled if name.endswith(".pkl") else data)
    return path


@pytest.mark.parametrize("size", [1_900_000_000, 10])
def test_a_pickle_that_asks_for_memory(tmp_path, size):
    """Is a torch file refused that has its reader make bytes, of any size, and nothing made?"""
    pickled = b"\x80\x02cbuiltins\nbytearray\nJ" + struct.pack("<i", size) + b"\x85R."
    path = torch_file(tmp_path / "resnet18_cifar10.pt", pickled)
    tracemalloc.start()
    with pytest.raises(checkpoint.CheckpointError, match="more than tensors"):
        checkpoint.read_weights(path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_a_safetensors_shape_that_no_number_holds(tmp_path):
    """Is a shape of 2**63 told as damage, and not an error of ours?"""
    head = b'{"conv1.weight":{"dtype":"F32","shape":[0,9223372036854775808],"data_offsets":[0,0]}}'
    path = tmp_path / "resnet18_cifar10.safetensors"
    path.write_bytes(struct.pack("<Q", len(head)) + head)
    with pytest.raises(checkpoint.CheckpointError, match="damaged"):
        checkpoint.read_weights(path)


def test_a_notebook_of_brackets(tmp_path):
    """Is a notebook refused whose lists would take gigabytes, before it is parsed?"""
    path = tmp_path / "n.ipynb"
    path.write_text('{"cells": [], "metadata": {"x": [' + "{}," * 600_000 + "{}]}}")
    with pytest.raises(repair_notebook.BrokenNotebook, match="more than 500,000 brackets"):
        repair_notebook.read(path)
    path.write_text('{"cells": [], "metadata": {"printed": "' + "[1 \\n2] " * 600_000 + '"}}')
    assert repair_notebook.read(path)["cells"] == []  # in a text they are no parts


def test_much_markdown_is_shown_as_text():
    """Is text that takes its renderer the square of its length kept, and rendered in no time?"""
    source = "[x](y)" + " " * 100_000 + "``` `````a"
    shown = preprocessors.plain_markdown(source, {}, much=True)
    assert shown == f"``````\n{source}\n``````"
    start = time.monotonic()
    page = MarkdownWithMath(renderer=IPythonRenderer(escape=False, attachments={})).render(shown)
    assert "<a" not in page and time.monotonic() - start < 5


def test_what_a_table_of_evidence_says(tmp_path):
    """Are edited cells and doubtful files told, and mended outputs and formulas not?"""
    repairs = [
        Repair("BatchNorm.ipynb", "The cell `x` may not be edited; it was put back."),
        Repair("Dropout.ipynb", "it was taken as Dropout.ipynb."),
        Repair("layers.py", "this was a link, which is never followed; it was removed."),
    ]
    told = [entry.what for entry in evidence.of_files("ann", tmp_path, repairs)]
    assert len(told) == 2 and "may not be edited" in told[0] and "a link" in told[1]
    assert evidence.one_line("a\nb\x1b[2J\u202e") == "a?b?[2J?"


@pytest.mark.parametrize("file", ["layers.py", "optim.py", "mine.py"])
def test_an_exercise_that_calls_the_given_layers_is_told(solved, tmp_path, file):
    """Is an instructor told of a convolution that calls the given fast one, and of no other?"""
    path = tmp_path / "cs231n" / file
    path.parent.mkdir()
    solution = solved / "cs231n" / file
    text = solution.read_text() if solution.exists() else ""
    fast = "\nfrom cs231n.fast_layers import conv_forward_fast\n"
    numeric = "\ndef eval_numerical_gradient_of_mine(f, x): ...\n"
    for code, words in (("", []), (fast, ["fast layers"]), (numeric, ["gradient check"])):
        path.write_text(text + code)
        told = [entry.what for entry in evidence.of_files("ann", tmp_path, [])]
        assert [what for what in told if "names the" in what] == [
            what for word in words for what in told if word in what
        ]
        assert len([what for what in told if "names the" in what]) == len(words)


def test_a_backward_by_differences_is_told(solved, tmp_path):
    """Is an instructor told of gradients that are as exact as differences, and of no formula?"""
    tree = tmp_path / "tree"
    shutil.copytree(solved / "cs231n", tree / "cs231n")
    layers = tree / "cs231n" / "layers.py"
    text = layers.read_text()
    cheat = """

def relu_backward(dout, x):
    dx = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = [x.copy(), x.copy()]
        for sign, at in zip((1, -1), moved):
            at[place] += sign * 1e-5
        outs = [relu_forward(at)[0] for at in moved]
        dx[place] = ((outs[0] - outs[1]) / 2e-5 * dout).sum()
    return dx
"""
    for code, notes in (("", 0), (cheat, 1)):
        layers.write_text(text + code)
        level = isolation.level().name
        found = grade_submission(tree, entropy=3, names=["relu_backward"], level=level)
        told = [what for what in found["relu_backward"].evidence if "differences" in what]
        assert found["relu_backward"].points > 0 and len(told) == notes
