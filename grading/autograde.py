"""nbgrader's `autograde` on a share of a class: `python -m grading.autograde SHARE OF`.

Run in the course folder, at the same time as the other shares. What is done is nbgrader's; here it
costs less: the gradebook stays open, what is the same for everybody is asked for once, and a
notebook is read, validated and written once. No line of a student's code runs here.
"""

from __future__ import annotations

import gc
import json
import sys
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any, TextIO

import nbformat
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from nbconvert.exporters import Exporter, NotebookExporter
from nbformat.v4 import rwbase
from nbgrader import utils
from nbgrader.apps import autogradeapp
from nbgrader.converters import Autograde, BaseConverter
from nbgrader.nbgraderformat import common
from traitlets import Type

from grading import connection, preprocessors
from grading.nbgrader_config import ASSIGNMENT

_encoder = json.JSONEncoder(ensure_ascii=False, sort_keys=True)


class Once(NotebookExporter):
    """Applies the preprocessors to a notebook and validates what they made of it.

    nbconvert's own validates it when it is read and when it is written, too, and copies it three
    times. Here nobody else holds it, and what `repair` has written is a notebook.
    """

    def from_file(
        self, file_stream: TextIO, resources: dict | None = None, **_: Any
    ) -> tuple[str, dict]:
        notebook = nbformat.convert(nbformat.reader.reads(file_stream.read()), 4)
        resources = self._init_resources(resources)
        for preprocessor in self._preprocessors:
            notebook, resources = preprocessor(notebook, resources)
        nbformat.validate(notebook, relax_add_props=True)
        resources["output_suffix"] = ".nbconvert"
        return in_lines(notebook), resources


def in_lines(notebook: nbformat.NotebookNode) -> str:
    """The text of a notebook's file, a cell a line. Its strings are split in place."""
    notebook = rwbase.strip_transient(rwbase.split_lines(notebook))
    cells = ",\n".join(map(_encoder.encode, notebook.pop("cells")))
    rest = _encoder.encode(notebook)
    return f'{{"cells": [\n{cells}\n],\n{rest[1:]}\n'


class Share(Autograde):
    """Converts every `of`-th submission, from number `share` on."""

    share, of = 0, 1
    exporter_class = Type(Once, klass=Exporter)

    def init_notebooks(self) -> None:
        super().init_notebooks()
        mine = sorted(self.assignments)[self.share :: self.of]
        self.assignments = {name: self.assignments[name] for name in mine}
        # It copies a submission along; what is graded is the checkpoint in `submitted`.
        self.coursedir.ignore = [*self.coursedir.ignore, "*.safetensors", "*.pt", "*.pth"]

    def _init_preprocessors(self) -> None:
        if self.exporter._preprocessors:
            return
        for each in (*self.sanitize_preprocessors, *self.autograde_preprocessors):
            self.exporter.register_preprocessor(each)

    def convert_single_notebook(self, notebook_filename: str) -> None:
        """Sanitize and grade in one go, where nbgrader writes the notebook and reads it again."""
        self.log.info("Sanitizing and autograding %s", notebook_filename)
        self._init_preprocessors()
        with utils.setenv(NBGRADER_EXECUTION="autograde"):
            BaseConverter.convert_single_notebook(self, notebook_filename)


@cache
def _validator(schema: str) -> Validator:
    loaded = json.loads(schema)
    kind = validator_for(loaded)
    kind.check_schema(loaded)
    return kind(loaded)


@lru_cache(maxsize=10_000)
def _validate(marks: str, schema: str) -> None:
    _validator(schema).validate(json.loads(marks))


def check_marks_once() -> None:
    """nbgrader validates the marks of each cell, and its schema anew with each of them. Most cells
    have the marks that everybody's have."""

    def validate(marks: Any, schema: Any) -> None:
        _validate(json.dumps(marks), json.dumps(schema))

    common.jsonschema = SimpleNamespace(validate=validate)


def main(share: int, of: int) -> None:
    """Run nbgrader's command on the share."""
    Share.share, Share.of = share, of
    autogradeapp.Autograde = Share
    connection.keep_open()  # that of `preprocessors` too
    preprocessors.graded_cells = cache(preprocessors.graded_cells)
    check_marks_once()
    gc.freeze()  # what was imported stays: no collection looks at it again
    autogradeapp.AutogradeApp.launch_instance([ASSIGNMENT])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
