"""nbgrader's `autograde` on a share of a class: `python -m grading.autograde SHARE OF`.

Run in the course folder, at the same time as the other shares. Everything in it is nbgrader's, but
that the gradebook stays open. No line of a student's code runs here.
"""

from __future__ import annotations

import sys

from nbgrader.apps import autogradeapp
from nbgrader.converters import Autograde

import grading.preprocessors  # noqa: F401  so that its gradebook stays open too
from grading import connection
from grading.nbgrader_config import ASSIGNMENT


class Share(Autograde):
    """Converts every `of`-th submission, from number `share` on."""

    share, of = 0, 1

    def init_notebooks(self) -> None:
        super().init_notebooks()
        mine = sorted(self.assignments)[self.share :: self.of]
        self.assignments = {name: self.assignments[name] for name in mine}


def main(share: int, of: int) -> None:
    """Run nbgrader's command on the share."""
    Share.share, Share.of = share, of
    autogradeapp.Autograde = Share
    connection.keep_open()
    autogradeapp.AutogradeApp.launch_instance([ASSIGNMENT])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
