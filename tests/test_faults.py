"""Faults around a class run, in short: `make faults` tries 50 moments on a class of 20."""

import os
import sys
from functools import partial

import pytest

from tests import faults

pytestmark = pytest.mark.slow


def test_the_gradebook_is_the_same_after_every_fault():
    """Is a class graded as ever after kills, a full disk, a locked gradebook, a jumping clock?"""
    seed = int.from_bytes(os.urandom(3), "big")
    say = partial(print, file=sys.stderr, flush=True)  # shown with a failure, to try it again
    assert faults.all_faults(students=3, moments=3, seed=seed, say=say) == []
