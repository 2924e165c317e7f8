"""The course's nbgrader settings. A course folder's own `nbgrader_config.py` calls `configure`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from grading import gradebook
from grading.overlay import TASK_FILES
from grading.repair import COLLECTED

ASSIGNMENT = "assignment2"
COURSE_ID = "cs231n"
EXPORT = "nbgrader_export.csv"  # of the command `nbgrader export`, in the course folder
# The texts of grading/release/notebooks.py. Its import would load torch in each nbgrader command.
CODE_STUB = 'raise NotImplementedError("Not written yet. Write it in this cell.")'
TEXT_STUB = "*Your answer here.*"
MAX_FILE_KB = 200_000  # a checkpoint of ResNet-18 in float32 has 45,000


def configure(c: Any, root: Path | str) -> None:
    """Put the settings into the traitlets configuration `c`.

    `root` is the course folder (the one with `source/`), or the repository, whose course
    folder is `build/course`; a command that runs inside a course folder means that one.
    """
    course = _course_folder(Path(root))
    _find_programs()
    c.CourseDirectory.course_id = COURSE_ID
    c.CourseDirectory.root = str(course)
    c.CourseDirectory.db_url = gradebook.url(course)
    c.CourseDirectory.max_file_size = MAX_FILE_KB

    c.ClearSolutions.code_stub = {"python": CODE_STUB}
    c.ClearSolutions.text_stub = TEXT_STUB
    c.ClearSolutions.enforce_metadata = False

    # Archives are opened by us: one broken archive must not end the collection, and a link or
    # a path that leads outside is not for a plain `unzip`.
    c.ZipCollectApp.extractor_plugin = "grading.zip_collect.CourseExtractor"
    # From the course folder on: a student's archive may hold folders of these names too.
    c.FileNameCollectorPlugin.named_regexp = (
        re.escape(str(course)) + r"/downloaded/[^/]+/extracted/"
        r"(?P<student_id>[^/]+)_hw/(?P<file_id>.+)"
    )
    c.FileNameCollectorPlugin.valid_ext = list(COLLECTED)

    c.Autograde.pre_convert_hook = "grading.preprocessors.repair_submission"
    c.Autograde.post_convert_hook = "grading.preprocessors.mark_graded"
    c.Autograde.exclude_overwriting = {ASSIGNMENT: list(TASK_FILES)}
    # Ours first: it stands for ClearOutput, keeps the plots, and leaves nothing that the
    # others trip over.
    c.Autograde.sanitize_preprocessors = [
        "grading.preprocessors.CleanNotebook",
        "nbgrader.preprocessors.DeduplicateIds",
        "nbgrader.preprocessors.OverwriteKernelspec",
        "nbgrader.preprocessors.OverwriteCells",
        "nbgrader.preprocessors.CheckCellMetadata",
    ]
    # GradeChecks stands for Execute, SaveGrades for SaveAutoGrades, LatePenalties for
    # AssignLatePenalties. The list of repairs goes in last, when every cell that is looked up
    # by its place has been.
    c.Autograde.autograde_preprocessors = [
        "grading.preprocessors.GradeChecks",
        "nbgrader.preprocessors.LimitOutput",
        "grading.scores.SaveGrades",
        "grading.scores.LatePenalties",
        "grading.preprocessors.ShowRepairs",
    ]
    # nbgrader copies a submission's other files along; a student's feedback is pages.
    c.GenerateFeedbackApp.CourseDirectory.ignore.extend([f"*{ending}" for ending in COLLECTED])
    c.NotebookExporter.optimistic_validation = True  # once a notebook, not after each of these
    c.ExchangeFactory.list = "grading.exchange.CourseExchangeList"
    c.GenerateFeedback.exporter_class = "grading.feedback.FeedbackExporter"
    c.GenerateFeedback.preprocessors = ["grading.feedback.Marks"]
    c.CsvExportPlugin.to = str(course / EXPORT)  # grades.csv is the table of `make grades`
    c.OverwriteCells.add_missing_cells = True
    c.LimitOutput.max_lines = 400
    c.LimitOutput.max_traceback = 60


def _course_folder(root: Path) -> Path:
    for folder in (Path.cwd(), root):
        if (folder / "source" / ASSIGNMENT).is_dir():
            return folder.resolve()
    return (root / "build" / "course").resolve()


def _find_programs() -> None:
    """nbgrader starts `alembic` by name, which lies beside the interpreter."""
    beside = str(Path(sys.executable).parent)
    folders = os.environ.get("PATH", "").split(os.pathsep)
    if beside not in folders:
        os.environ["PATH"] = os.pathsep.join([beside, *folders])
