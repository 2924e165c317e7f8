"""Broken submissions: mended where that is safe, reported in plain words, harmless always."""

from __future__ import annotations

import copy
import errno
import json
import os
import re
import stat
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from small_course import CHECKS, PNG, archive, source_notebook, student_notebook

from grading import evidence, outputs, preprocessors, repair, repair_notebook
from grading.archives import unpack
from grading.overlay import TASK_FILES

pytestmark = pytest.mark.fast
FCN = "FullyConnectedNets.ipynb"


@pytest.fixture
def released(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    for name in CHECKS:
        nbformat.write(source_notebook(name), folder / f"{name}.ipynb")
    return folder


@pytest.fixture
def handed_in(tmp_path: Path) -> Path:
    """A submission with nothing wrong."""
    folder = tmp_path / "submission"
    for name in TASK_FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x = 1\n")
    for name in CHECKS:
        put(folder / f"{name}.ipynb", student_notebook(name))
    return folder


def put(path: Path, notebook: dict) -> None:
    path.write_text(json.dumps(notebook))


def mend(handed_in: Path, released: Path) -> list[str]:
    """Repair; the result must be what nbgrader accepts, and a second run must find nothing."""
    originals = handed_in.parent / "originals"
    found = repair.repair(handed_in, released, originals)
    for name in CHECKS:
        notebook = nbformat.read(handed_in / f"{name}.ipynb", as_version=4)
        nbformat.validate(notebook)
        names = [c.metadata.nbgrader.grade_id for c in notebook.cells if "nbgrader" in c.metadata]
        ours = [c.metadata.nbgrader.grade_id for c in source_notebook(name).cells
                if "nbgrader" in c.metadata]
        assert sorted(names) == sorted(ours)
    again = repair.repair(handed_in, released, originals)
    assert [r for r in again if "not in the submission" not in r.text] == []
    return [str(r) for r in found]


def cell(notebook: dict, name: str) -> dict:
    return next(c for c in notebook["cells"] if repair_notebook.grade_id(c) == name)


def load(handed_in: Path, name: str = FCN) -> dict:
    return json.loads((handed_in / name).read_text())


def test_a_sound_submission_is_left_alone(handed_in, released):
    """Are the files of a submission with nothing wrong untouched, to the byte?"""
    before = {p: p.read_bytes() for p in repair.files(handed_in)}
    assert mend(handed_in, released) == []
    assert {p: p.read_bytes() for p in repair.files(handed_in)} == before


def test_missing_notebook(handed_in, released):
    """Does the released notebook stand in for one that was not handed in?"""
    (handed_in / FCN).unlink()
    assert any("not in the submission" in r for r in mend(handed_in, released))
    assert cell(load(handed_in), "fc_q1")["source"] == ["*Your answer here.*"]


@pytest.mark.parametrize(
    "name",
    [
        "FullyConnectedNets (1).ipynb",
        "FullyConnectedNets-Copy1.ipynb",
        "Copy of FullyConnectedNets.ipynb",
        "fullyconnectednets.IPYNB",
        "notebooks/FullyConnectedNets.ipynb",
        "Übung zwei – final.ipynb",
    ],
)
def test_renamed_notebook(handed_in, released, name):
    """Is a notebook recognised by its name with additions, or by what is in it?"""
    (handed_in / name).parent.mkdir(exist_ok=True)
    os.rename(handed_in / FCN, handed_in / name)
    assert any("was taken as FullyConnectedNets.ipynb" in r for r in mend(handed_in, released))
    assert cell(load(handed_in), "fc_q1")["source"] in ("Because.", ["Because."])
    assert (handed_in.parent / "originals" / name).is_file()


def test_a_readable_copy_beats_a_broken_original(handed_in, released):
    """Is a sound copy graded when the notebook itself is damaged?"""
    os.rename(handed_in / FCN, handed_in / "FullyConnectedNets (1).ipynb")
    (handed_in / FCN).write_text('{"cells": [')
    assert any("was taken as" in r for r in mend(handed_in, released))
    assert cell(load(handed_in), "fc_q1")["source"] in ("Because.", ["Because."])


def test_truncated_notebook(handed_in, released):
    """Are the whole cells of a notebook that was cut short saved?"""
    notebook = load(handed_in)
    notebook["cells"].append(nbformat.v4.new_code_cell("y" * 500))
    text = json.dumps(notebook)
    (handed_in / FCN).write_text(text[: text.index("yyyy") + 50])
    report = mend(handed_in, released)
    assert any("damaged or cut short" in r and "could be saved" in r for r in report)
    assert cell(load(handed_in), "fc_q1")["source"] == "Because."


@pytest.mark.parametrize(
    "content",
    [b"", b"not a notebook", b"[]", b'{"cells": 3}', b"\xff\xfe\x00", b"[" * 100_000, b"null",
     b'{"cells": [null, 1, {}, {"cell_type": []}], "metadata": 5, "nbformat": "x"}'],
)
def test_not_a_notebook(handed_in, released, content):
    """Does a file that is no notebook leave a gradable submission and a sentence?"""
    (handed_in / FCN).write_bytes(content)
    assert any(r.startswith(FCN) for r in mend(handed_in, released))


def test_duplicated_cells(handed_in, released):
    """Of a cell that is there twice, is one kept, and the answer that says something?"""
    notebook = load(handed_in)
    empty = copy.deepcopy(cell(notebook, "fc_q1"))
    empty["source"] = ""
    notebook["cells"].insert(0, empty)
    notebook["cells"].append(copy.deepcopy(cell(notebook, "relu_forward")))
    other = {**copy.deepcopy(empty), "source": "A second thought."}
    notebook["cells"].append(other)
    put(handed_in / FCN, notebook)
    report = mend(handed_in, released)
    assert sum("one is graded" in r for r in report) == 2
    mended = load(handed_in)
    assert cell(mended, "fc_q1")["source"] == "Because."
    assert "A second thought." in [c["source"] for c in mended["cells"]]
    assert sum('check("relu_forward")' in c["source"] for c in mended["cells"]) == 1


def test_deleted_cells(handed_in, released):
    """Do deleted check cells and questions come back in their places?"""
    notebook = load(handed_in)
    notebook["cells"] = [c for c in notebook["cells"] if "nbgrader" not in c["metadata"]]
    put(handed_in / FCN, notebook)
    assert sum("was put back" in r for r in mend(handed_in, released)) == 4
    order = [c["id"] for c in load(handed_in)["cells"]]
    assert order == [c.id for c in source_notebook("FullyConnectedNets").cells]


def test_edited_check_cell(handed_in, released):
    """Is the text of a check cell the released one again?"""
    notebook = load(handed_in)
    cell(notebook, "affine_forward")["source"] = "1.0"
    put(handed_in / FCN, notebook)
    assert any("may not be edited" in r for r in mend(handed_in, released))
    assert cell(load(handed_in), "affine_forward")["source"] == 'check("affine_forward")'


@pytest.mark.parametrize(
    "flag",
    [{"grade": False}, {"locked": False}, {"solution": True}, {"points": 100.0},
     {"schema_version": 1}, {"schema_version": 99}, {"task": True}, {"points": "many"}],
)
def test_flipped_flags(handed_in, released, flag):
    """Are the settings of a cell put back, whatever they were made to say?"""
    notebook = load(handed_in)
    cell(notebook, "affine_forward")["metadata"]["nbgrader"].update(flag)
    put(handed_in / FCN, notebook)
    assert any("settings of the cell `affine_forward`" in r for r in mend(handed_in, released))
    ours = cell(json.loads((released / FCN).read_text()), "affine_forward")
    assert cell(load(handed_in), "affine_forward")["metadata"] == ours["metadata"]


def test_lost_metadata(handed_in, released):
    """Are cells recognised whose metadata an editor has removed?"""
    notebook = load(handed_in)
    for entry in notebook["cells"]:
        entry["metadata"] = {}
    put(handed_in / FCN, notebook)
    assert sum("was recognised" in r for r in mend(handed_in, released)) == 4
    assert cell(load(handed_in), "fc_q1")["source"] in ("Because.", ["Because."])


def test_changed_cell_type(handed_in, released):
    """Is an answer that was turned into a code cell a markdown cell again, with its text?"""
    notebook = load(handed_in)
    answer = cell(notebook, "fc_q1")
    answer.update(cell_type="code", outputs=[], execution_count=None)
    put(handed_in / FCN, notebook)
    assert any("is of type markdown again" in r for r in mend(handed_in, released))
    assert cell(load(handed_in), "fc_q1")["source"] in ("Because.", ["Because."])


def test_unknown_and_forged_cells(handed_in, released):
    """Does a cell with a name of the student's own lose its claim to points?"""
    notebook = load(handed_in)
    forged = copy.deepcopy(cell(notebook, "affine_forward"))
    forged["metadata"]["nbgrader"].update(grade_id="bonus", points=50.0)
    forged["id"] = "forged"
    notebook["cells"].append(forged)
    notebook["cells"].append({**copy.deepcopy(forged), "metadata": {"nbgrader": {}}, "id": "e"})
    put(handed_in / FCN, notebook)
    assert any("`bonus` is not of this assignment" in r for r in mend(handed_in, released))


def test_bad_cell_ids(handed_in, released):
    """Do invalid, repeated and absent cell ids become valid ones?"""
    notebook = load(handed_in)
    notebook["cells"][0]["id"] = "no spaces allowed"
    notebook["cells"][1]["id"] = notebook["cells"][2]["id"]
    del notebook["cells"][3]["id"]
    put(handed_in / FCN, notebook)
    assert any("did not follow the notebook format" in r for r in mend(handed_in, released))


def test_format_3(handed_in, released):
    """Is a notebook of the old format converted, answers included?"""
    old = nbformat.convert(nbformat.read(handed_in / FCN, as_version=4), 3)
    (handed_in / FCN).write_text(json.dumps(old))
    mend(handed_in, released)
    assert load(handed_in)["nbformat"] == 4
    assert "Because." in json.dumps(load(handed_in))


def test_format_3_with_headings_and_lines(handed_in, released):
    """Is an old notebook converted as it lies on disk, its text in lists of lines?"""
    old = nbformat.convert(nbformat.read(handed_in / FCN, as_version=4), 3)
    head = {"cell_type": "heading", "level": 2, "metadata": {}, "source": ["My\n", "title"]}
    old.worksheets[0].cells.insert(0, nbformat.from_dict(head))
    text = nbformat.v3.nbjson.writes(old)  # which splits lines
    assert '"Because."\n' in text
    (handed_in / FCN).write_text(text)
    report = mend(handed_in, released)
    assert any("was converted" in r for r in report)
    assert not any("could not be read" in r for r in report)
    assert "## My title" in json.dumps(load(handed_in))
    assert "Because." in json.dumps(load(handed_in))


def test_an_old_notebook_that_cannot_be_converted(handed_in, released):
    """Is no word said of cells that were saved, where none were?"""
    (handed_in / FCN).write_text('{"worksheets": [3], "nbformat": 3}')
    report = "\n".join(mend(handed_in, released))
    assert "cannot be converted" in report and "lost to us" in report
    assert "0 cells" not in report


def test_a_file_that_is_too_large_is_told(handed_in, released):
    """Does a student read that a module of their own was too large to be used?"""
    (handed_in / "cs231n" / "big.py").write_text("#" * 2_000_000)
    found = repair.repair(handed_in, released, handed_in.parent / "originals")
    said = ["cs231n/big.py: it was not used: larger than 1 MB."]
    assert [str(r) for r in found] == said
    assert [entry.what for entry in evidence.of_files("ann", handed_in, found)] == said


def test_huge_output(handed_in, released):
    """Is an output of 50 MB cut, and are the plots kept?"""
    notebook = load(handed_in)
    text = {"output_type": "stream", "name": "stdout", "text": "spam\n" * 10_000_000}
    notebook["cells"][1]["outputs"].append(text)
    put(handed_in / FCN, notebook)
    assert any("Long outputs were shortened" in r for r in mend(handed_in, released))
    assert (handed_in / FCN).stat().st_size < 100_000
    assert PNG in (handed_in / FCN).read_text()


def test_links_are_not_followed(handed_in, released, tmp_path):
    """Do links and pipes go, with what they point at left alone?"""
    secret = tmp_path / "secret.py"
    secret.write_text("x = 'secret'")
    (handed_in / "cs231n/layers.py").unlink()
    (handed_in / "cs231n/layers.py").symlink_to(secret)
    (handed_in / "Dropout.ipynb").unlink()
    (handed_in / "Dropout.ipynb").symlink_to("/etc/passwd")
    (handed_in / "up").symlink_to("..")
    os.mkfifo(handed_in / "pipe.py")
    report = mend(handed_in, released)
    assert sum("never followed" in r for r in report) == 4
    assert secret.read_text() == "x = 'secret'"
    assert all(stat.S_ISREG(p.lstat().st_mode) for p in handed_in.rglob("*") if not p.is_dir())
    assert "secret" not in "".join(p.read_text() for p in repair.files(handed_in))


def test_missing_and_loose_task_files(handed_in, released):
    """Is a missing file named, and one that lies at the top put where it belongs?"""
    (handed_in / "cs231n/optim.py").unlink()
    assert any(r.startswith("cs231n/optim.py") for r in mend(handed_in, released))
    for name in ("layers.py", "classifiers/fc_net.py"):
        os.rename(handed_in / "cs231n" / name, handed_in / Path(name).name)
    os.rename(handed_in / "cs231n", handed_in / "old")
    report = mend(handed_in, released)
    assert "layers.py: it was taken as cs231n/layers.py." in report
    assert (handed_in / "cs231n/classifiers/fc_net.py").is_file()


def test_names_are_harmless(handed_in, released):
    """Is a file's name with control codes or markup shown without them?"""
    (handed_in / "\x1b[31m<script>`FullyConnectedNets`.ipynb").write_text("{}")
    report = "\n".join(mend(handed_in, released))
    assert "FullyConnectedNets" in report
    assert not any(c in report for c in "\x1b<>")


def test_settle_is_idempotent(handed_in, released, tmp_path):
    """Does the record stay as long as the submission does, and change when it does?"""
    record = tmp_path / "record.json"
    (handed_in / FCN).unlink()
    first = repair.settle(handed_in, released, tmp_path / "o", record)
    assert repair.settle(handed_in, released, tmp_path / "o", record) == first != []
    assert repair.recorded(record) == first
    put(handed_in / FCN, student_notebook("FullyConnectedNets"))
    assert repair.settle(handed_in, released, tmp_path / "o", record) == []


def test_an_interrupted_repair_keeps_the_original(handed_in, released, tmp_path, monkeypatch):
    """Is what a student handed in still there after a repair that was stopped, and another one?"""
    broken, record = '{"cells": [', tmp_path / "record.json"
    (handed_in / FCN).write_text(broken)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(repair, "fingerprint", stop)  # of the result, for the record
        with pytest.raises(KeyboardInterrupt):
            repair.settle(handed_in, released, tmp_path / "o", record)
    assert repair.settle(handed_in, released, tmp_path / "o", record) == []
    assert (tmp_path / "o" / FCN).read_text() == broken
    put(handed_in / FCN, student_notebook("FullyConnectedNets"))
    (handed_in / "Dropout.ipynb").write_text(broken)
    repair.settle(handed_in, released, tmp_path / "o", record)
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["Dropout.ipynb"]


def test_a_folder_with_the_name_of_a_notebook(handed_in, released):
    """Is a notebook that lies in a folder of its own name found, and the folder told?"""
    whole = (handed_in / FCN).read_text()
    (handed_in / FCN).unlink()
    (handed_in / FCN).mkdir()
    (handed_in / FCN / FCN).write_text(whole)
    report = mend(handed_in, released)
    assert any("was a folder" in r for r in report)
    assert (handed_in / FCN).read_text() == whole


@pytest.mark.parametrize("key", ["nbgrader", "scrolled"])
def test_deep_metadata(handed_in, released, key):
    """Does metadata nested as deep as JSON is read end nothing?"""
    notebook = load(handed_in)
    notebook["cells"][0]["metadata"][key] = "deep"
    deep = '{"a":' * 700 + "1" + "}" * 700
    (handed_in / FCN).write_text(json.dumps(notebook).replace('"deep"', deep))
    mend(handed_in, released)


@pytest.mark.parametrize(
    "source",
    [
        "[a](javascript:alert(1))", "[a]( &#106;avaScript:alert(1))", "[a](java\tscript:alert(1))",
        "[a][b]\n\n[b]: vbscript:x", "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "![a](javascript:x)", "![a](attachment:gone.png)",
    ],
)  # fmt: skip
def test_links_that_run_are_no_links(source):
    """Is a link that would run a script in the instructor's browser, or that would end the page,
    left as text, and any other one a link?"""
    shown = preprocessors.plain_markdown(source, {})
    page = MarkdownWithMath(renderer=IPythonRenderer(escape=False)).render(shown)
    assert "href" not in page and "<img" not in page
    for good in ("[a](https://example.org/x:y)", "[a](#part)", "![a](plot.png)", "a [b] c: d"):
        assert preprocessors.plain_markdown(good, {}) == good
    picture = {"p.png": {"image/png": "AAAA"}}
    assert "](" in preprocessors.plain_markdown("![a](attachment:p.png)", picture)


def test_scripts_are_not_kept():
    """Are HTML, SVG and scripts left out of what the instructor sees?"""
    data = {"text/html": "<script>", "image/svg+xml": "<svg/>", "application/javascript": "x"}
    hostile = [
        {"output_type": "display_data", "data": data, "metadata": {}},
        {"output_type": "execute_result", "data": {**data, "text/plain": "3.0"}},
        {"output_type": "stream", "name": 7, "text": ["a\x00b", 3]},
        {"output_type": "error", "ename": None, "traceback": "x"},
        "not an output", {"output_type": "update"},
    ]
    kept = outputs.clean_outputs(hostile, outputs.Budget())
    assert [o["output_type"] for o in kept] == ["execute_result", "stream", "error"]
    assert list(kept[0]["data"]) == ["text/plain"]
    assert kept[1]["text"] == "a\ufffdb"


def test_archive_paths_and_links(tmp_path):
    """Do paths that lead outside, links and doubles stay out, and the rest come in?"""
    path = archive(tmp_path / "ann_hw.zip", {
        "cs231n/layers.py": "x = 1", "../outside.py": "x", "/absolute.py": "x",
        "notes.txt": "x", "__MACOSX/cs231n/._layers.py": "x",
    })
    link = zipfile.ZipInfo("cs231n/optim.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as made:
        made.writestr(link, "/etc/passwd")
    report = [str(r) for r in unpack(path, tmp_path / "out" / "ann")]
    assert [p.relative_to(tmp_path / "out").as_posix() for p in repair.files(tmp_path / "out")] == [
        "ann/cs231n/layers.py"
    ]
    assert not (tmp_path / "outside.py").exists() and not (tmp_path / "out/outside.py").exists()
    assert len(report) == 3


def test_archive_in_a_folder(tmp_path):
    """Is the folder that somebody zipped around the submission taken off?"""
    files = {"my work/cs231n/layers.py": "x = 1", "my work/Dropout.ipynb": "{}"}
    unpack(archive(tmp_path / "a.zip", files), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["Dropout.ipynb", "cs231n"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip", b"\x1f\x8b"])
def test_broken_archive(tmp_path, content):
    """Is an archive that does not open reported, and nothing raised?"""
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    assert "could not be opened" in str(unpack(path, tmp_path / "out")[0])


def test_damage_inside_an_archive(tmp_path):
    """Are a member of damaged bytes, and one without a name, no end of the rest?"""
    files = {"cs231n/layers.py": "".join(map(str, range(5000))), "cs231n/optim.py": "x = 1"}
    path = archive(tmp_path / "a.zip", files)
    data = bytearray(path.read_bytes())
    start = 30 + len("cs231n/layers.py")
    data[start : start + 40] = bytes(range(215, 255))
    path.write_bytes(data)
    assert "is damaged in the archive" in str(unpack(path, tmp_path / "out")[0])
    assert [p.name for p in repair.files(tmp_path / "out")] == ["optim.py"]
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as made:
        made.writestr(zipfile.ZipInfo("?"), "x")
    named = (tmp_path / "b.zip").read_bytes().replace(b"?", b"\0")
    (tmp_path / "b.zip").write_bytes(named)
    assert "could not be opened" in str(unpack(tmp_path / "b.zip", tmp_path / "empty")[0])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE])
def test_what_is_not_the_students_fault_is_raised(tmp_path, monkeypatch, number):
    """Does a full disk end the unpacking, instead of a word about a damaged archive?"""
    def fail(*_):
        raise OSError(number, os.strerror(number))

    path = archive(tmp_path / "a.zip", {"cs231n/layers.py": "x = 1"})
    monkeypatch.setattr("grading.archives._write", fail)
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        unpack(path, tmp_path / "out")


def test_archive_bomb(tmp_path, monkeypatch):
    """Does unpacking stop at the limit, by what is written and not by what is said?"""
    monkeypatch.setattr("grading.archives.MAX_BYTES", 1_000)
    path = archive(tmp_path / "a.zip", {"cs231n/layers.py": "#" * 5_000, "cs231n/optim.py": "#"})
    assert "unpacks to more" in str(unpack(path, tmp_path / "out")[0])
    assert [p.name for p in repair.files(tmp_path / "out")] == ["optim.py"]
