"""Submissions as files: whatever is in an archive, nothing leaves its folder or shadows ours."""

import io
import pickle
import stat
import zipfile
from pathlib import Path

import pytest
from small_course import archive

from grading import checkpoint, evidence, overlay, preprocessors
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
        "`checkpoints/resnet18_cifar10.safetensors`: it was left out: it has 2,000 MB, and all "
        "files together may unpack to 500 MB."
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


def test_an_exercise_that_calls_the_given_layers_is_told(solved, tmp_path):
    """Is an instructor told of a convolution that calls the given fast one, and of no other?"""
    layers = tmp_path / "cs231n" / "layers.py"
    layers.parent.mkdir()
    text = (solved / "cs231n" / "layers.py").read_text()
    fast = "\nfrom cs231n.fast_layers import conv_forward_fast\n"
    numeric = "\ndef eval_numerical_gradient_of_mine(f, x): ...\n"
    for code, words in (("", []), (fast, ["fast layers"]), (numeric, ["gradient check"])):
        layers.write_text(text + code)
        told = [entry.what for entry in evidence.of_files("ann", tmp_path, [])]
        assert [what for what in told if "names the" in what] == [
            what for word in words for what in told if word in what
        ]
        assert len([what for what in told if "names the" in what]) == len(words)
