"""What some tests need of the machine: without it they are skipped, but fail where CI is set."""

import os

import pytest

from grading.sealed import isolation

# A build server has it all: a test that is skipped there is one that nobody runs.
CI = bool(os.environ.get("CI"))
SEALS = CI or isolation.level().name == "sealed"
SEALED = pytest.mark.skipif(not SEALS, reason="this machine cannot seal")


def lacks(what):
    """Skip the test, or fail it where CI is set."""
    (pytest.fail if CI else pytest.skip)(what)
