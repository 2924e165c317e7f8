"""What `make collect` makes of the files that lie in the archive's folder, and what it says."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import nbformat
import pytest
import small_course
from small_course import archive

from grading import archives, classroom, evidence, preprocessors
from grading.class_report import page, table
from grading.repair import files, recorded
from grading.zip_collect import (
    NEWEST,
    PASSED_OVER,
    UNSURE,
    CourseExtractor,
    by_student,
    student_id,
)

fast = pytest.mark.fast
SUBMITTED = "cs231n/layers.py"


def handed_in(path: Path, text: str = "x = 1", day: int = 1, when: float = 1e9) -> Path:
    """An archive with one task file of a day in 2026, itself of the time `when`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(zipfile.ZipInfo(SUBMITTED, (2026, 1, day, 0, 0, 0)), text)
    os.utime(path, (when, when))
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where archives go, in a course of one notebook."""
    (tmp_path / "release" / "assignment2").mkdir(parents=True)
    notebook = small_course.source_notebook("Dropout")
    nbformat.write(notebook, tmp_path / "release" / "assignment2" / "Dropout.ipynb")
    path = tmp_path / "downloaded" / "assignment2" / "archive"
    path.mkdir(parents=True)
    return path


def graded(place: Path, student: str) -> tuple[str, list[str]]:
    """The task file that was taken from a student, '' for none, and what was said."""
    out = place.with_name("extracted")
    shutil.rmtree(out, ignore_errors=True)  # as nbgrader does
    CourseExtractor().extract(str(place), str(out))
    path = out / f"{student}_hw" / SUBMITTED
    said = [str(r) for r in recorded(preprocessors.record(place.parents[2], student))]
    return path.read_text() if path.is_file() else "", said


@fast
@pytest.mark.parametrize("second", ["kim_hw (1).zip", "kim_hw-1.zip", "kim_hw - Copy.zip"])
def test_the_number_of_a_copy_says_which_is_newer(place, second):
    """Is the later upload graded, when the files' own times say nothing, or the reverse?"""
    handed_in(place / "kim_hw.zip", "old", day=9, when=2e9)
    handed_in(place / second, "new")
    text, said = graded(place, "kim")
    assert text == "new" and NEWEST in said
    handed_in(place / "kim_hw (10).zip", "newest")
    assert graded(place, "kim")[0] == "newest"


@fast
def test_dates_inside_say_which_is_newer(place):
    """Of two archives without a number, do the dates inside say it; and without these, nobody?"""
    handed_in(place / "kim_hw.zip", "new", day=2)
    handed_in(place / "kim_assignment2.zip", "old", day=1, when=2e9)
    text, said = graded(place, "kim")
    assert text == "new" and NEWEST in said
    handed_in(place / "kim_assignment2.zip", "the same day", day=2, when=2e9)
    text, said = graded(place, "kim")
    assert text == "the same day" and UNSURE in said and NEWEST not in said


@fast
def test_an_upload_that_does_not_open_does_not_replace_one_that_does(place):
    """Is the older archive graded when the newer one is cut short, and said so?"""
    handed_in(place / "zoe_hw.zip", "good")
    whole = handed_in(place / "zoe_hw (1).zip").read_bytes()
    (place / "zoe_hw (1).zip").write_bytes(whole[: len(whole) // 2])
    text, said = graded(place, "zoe")
    assert text == "good" and PASSED_OVER in said
    (place / "zoe_hw.zip").write_bytes(b"")
    text, said = graded(place, "zoe")
    assert text == "" and archives.NOTHING in said[0] and PASSED_OVER not in said


@fast
def test_who_marks_does_not_read_the_name_of_an_archive(place):
    """Is a student's name, which archives have, nowhere in what is said of them?"""
    handed_in(place / "bobby_hw.zip")
    handed_in(place / "bobby_hw (1).zip")
    (place / "bobby_hw (2).zip").write_bytes(b"")
    archive(place / "bobby2_hw.zip", {"bobby2_hw/cs231n/a.py": "x", "bobby2_hw/../b.py": "x"})
    inner = archive(place / "inner.zip", {SUBMITTED: "x"})
    archive(place / "bobby3_hw.zip", {"bobby3_hw.zip": inner.read_bytes()})
    (place / "bobby4_hw.rar").write_bytes(b"Rar!")
    inner.unlink()
    graded(place, "bobby")
    said = [path.read_text() for path in place.parents[2].glob("repairs/*.json")]
    assert len(said) == 4 and all("repairs" in text and "bobby" not in text for text in said)


@fast
def test_an_archive_in_an_archive(tmp_path, monkeypatch):
    """Is the one archive in an archive opened, no deeper, and within the same limits?"""
    inner = archive(tmp_path / "in.zip", {SUBMITTED: "x = 1"}).read_bytes()
    twice = archive(tmp_path / "twice.zip", {"my/in.zip": inner, "my/readme.txt": "x"})
    said = archives.unpack(twice, tmp_path / "a")
    assert [p.name for p in files(tmp_path / "a")] == ["layers.py"]
    assert "held another archive" in str(said[0])
    thrice = archive(tmp_path / "thrice.zip", {"twice.zip": twice.read_bytes()})
    assert archives.NOTHING in str(archives.unpack(thrice, tmp_path / "b")[-1])
    two = archive(tmp_path / "two.zip", {"1.zip": inner, "2.zip": inner})
    assert archives.NOTHING in str(archives.unpack(two, tmp_path / "c")[-1])
    beside = archive(tmp_path / "beside.zip", {"in.zip": inner, "cs231n/optim.py": "x = 1"})
    assert archives.unpack(beside, tmp_path / "d") == []
    assert [p.name for p in files(tmp_path / "d")] == ["optim.py"]
    monkeypatch.setattr("grading.archives.MAX_BYTES", 100)
    assert archives.NOTHING in str(archives.unpack(twice, tmp_path / "e")[-1])
    assert list(files(tmp_path / "e")) == []


@fast
@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("walter_hw.zip.zip", "walter"),
        ("kim_hw-1.zip", "kim"),
        ("o'brien-2_hw.zip", "o'brien-2"),
        ("kim_hw - Copy (2).zip", "kim"),
        ("trenttom_12345_67890_trent_hw.zip", "trenttom_12345"),
        ("trenttom_LATE_12345_67999_trent_hw-1.zip", "trenttom_12345"),
        ("Sybil Smith_12345_assignsubmission_file_", "Sybil Smith_12345"),
        ("Sybil Smith_12345_assignsubmission_file_sybil_hw.zip", "Sybil Smith_12345"),
        ("jane_20260101_12345_hw.zip", "jane_20260101_12345"),
        ("cs_2026_12345_ann_hw.zip", "cs_2026_12345_ann"),
        ("_hw.zip", "unnamed"),
    ],
)
def test_names_that_canvas_and_moodle_make(name, student):
    """Is it one student who hands in twice, by whatever name, and are two students two?"""
    assert student_id(name) == student


@fast
def test_what_is_no_submission(place):
    """Are a desktop's own files passed over, and Moodle's folders opened?"""
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (place / name).write_bytes(b"x")
    moodle = place / "Sybil Smith_12345_assignsubmission_file_"
    handed_in(moodle / "sybil_hw.zip", "Sybil's")
    (place / "ann_hw" / "cs231n").mkdir(parents=True)  # a folder that was unpacked already
    (place / "ann_hw" / SUBMITTED).write_text("Ann's")
    archive(place / "ann_hw" / "data.zip", {"x.py": "x"})
    assert sorted(by_student(place)) == ["Sybil Smith_12345", "ann"]
    assert graded(place, "Sybil Smith_12345")[0] == "Sybil's"
    assert graded(place, "ann")[0] == "Ann's"


@fast
def test_nothing_usable_is_called_so(place):
    """Do evidence and the report on a class say so of an empty archive, and not that it was
    repaired or may be tampering?"""
    archive(place / "ann_hw.zip", {"readme.txt": "x"})
    graded(place, "ann")
    course = place.parents[2]
    said = recorded(preprocessors.record(course, "ann"))
    assert any(archives.NOTHING in e.what for e in evidence.of_files("ann", place, said))
    (course / "submitted" / "ann" / "assignment2").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "scored", lambda _: {})
        (student,) = table.students(course)
    assert page._reasons(student) == ["not graded", "nothing usable was handed in"]


@pytest.mark.slow
def test_collect_says_what_is_wrong(tmp_path, capsys):
    """Does an instructor read where archives go, which lie elsewhere, and in which is nothing?"""
    course = small_course.write_course(tmp_path / "course")
    place = course / "downloaded" / "assignment2" / "archive"
    assert classroom.release(course) == 0 and place.is_dir()
    handed_in(course / "downloaded" / "ann_hw.zip")
    handed_in(course / "downloaded" / "assignment2" / "bob_hw.zip")
    assert classroom.collect(course) == 1
    said = capsys.readouterr().err
    assert f"put them into {place}" in said
    assert "downloaded/ann_hw.zip" in said and "downloaded/assignment2/bob_hw.zip" in said
    archive(place / "good_hw.zip", small_course.files())
    handed_in(place / "kim_hw.zip")
    handed_in(place / "kim_hw (1).zip")
    (place / "empty_hw.zip").write_bytes(b"")
    (place / "packed_hw.rar").write_bytes(b"Rar!")
    (place / "Thumbs.db").write_bytes(b"x")
    (place / "alone.ipynb").write_text(json.dumps(small_course.student_notebook("Dropout")))
    handed_in(place / "_hw.zip")
    assert classroom.collect(course) == 0
    said = capsys.readouterr().out
    assert "6 submissions collected" in said
    assert [line.split(":")[0].strip() for line in said.splitlines()[2:]] == [
        "unnamed (_hw.zip)", "alone.ipynb (alone.ipynb)", "empty (empty_hw.zip)",
        "packed_hw.rar (packed_hw.rar)",
    ]  # fmt: skip
    assert said.count(archives.NOTHING) == 3 and "it has 0 bytes" in said
