"""nbgrader's `autograde` on a share of a class: `python -m grading.autograde SHARE OF`.

Run in the course folder, at the same time as the other shares. What is done is nbgrader's; here it
costs less: the gradebook stays open, what is the same for everybody is asked for once, and a
notebook is read and written once. No line of a student's code runs here.
"""

from __future__ import annotations

import gc
import json
import sys
from functools import cache
from types import SimpleNamespace
from typing import Any

from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from nbconvert.exporters import exporter
from nbformat.v4 import nbjson
from nbgrader import utils
from nbgrader.apps import autogradeapp
from nbgrader.converters import Autograde, BaseConverter
from nbgrader.nbgraderformat import common

from grading import connection, preprocessors
from grading.nbgrader_config import ASSIGNMENT


class Share(Autograde):
    """Converts every `of`-th submission, from number `share` on."""

    share, of = 0, 1

    def init_notebooks(self) -> None:
        super().init_notebooks()
        mine = sorted(self.assignments)[self.share :: self.of]
        self.assignments = {name: self.assignments[name] for name in mine}

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


def check_schema_once() -> None:
    """nbgrader validates the metadata of each cell, and its schema anew with each of them."""

    def validate(instance: Any, schema: Any) -> None:
        _validator(json.dumps(schema)).validate(instance)

    common.jsonschema = SimpleNamespace(validate=validate)


def without_copies() -> None:
    """A notebook is copied twice before it is changed, and once before it is written. Here each is
    read from a file, written once, and nobody else holds it."""
    exporter.copy = nbjson.copy = SimpleNamespace(deepcopy=lambda same: same)


def main(share: int, of: int) -> None:
    """Run nbgrader's command on the share."""
    Share.share, Share.of = share, of
    autogradeapp.Autograde = Share
    connection.keep_open()  # that of `preprocessors` too
    preprocessors.graded_cells = cache(preprocessors.graded_cells)
    check_schema_once()
    without_copies()
    gc.freeze()  # what was imported stays: no collection looks at it again
    autogradeapp.AutogradeApp.launch_instance([ASSIGNMENT])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
