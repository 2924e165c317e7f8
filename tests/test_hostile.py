"""The hostile submissions of tests/hostile: nothing gained, nobody harmed, everybody graded."""

import pytest
from needed import SEALED

from tests.hostile import suite

ATTACKS = suite.attacks()
pytestmark = [pytest.mark.slow, SEALED]


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_sealed_it_gains_and_harms_nothing_and_bare_it_succeeds(attack, solved, tmp_path):
    """Is the attack worth no point and no harm behind the wall, and one of them without it?"""
    behind = suite.sealed(attack, solved, tmp_path / "sealed")
    assert set(behind.points) == set(suite.NAMES)
    assert (behind.above, behind.harm) == ([], [])
    assert behind.points["sgd_momentum"] == 1.0 or attack.path.parent.name == "lie"
    cold = suite.cold(attack, solved, tmp_path / "cold")
    assert (cold.above, cold.harm) == ([], [])
    bare = suite.unsealed(attack, solved, tmp_path / "bare")
    assert bare.above or bare.harm, f"it does nothing as {attack.shown}: the test proves nothing"


def test_there_are_enough():
    """Are there 40 submissions at least, half of them aimed at this design, in all groups?"""
    assert len(ATTACKS) >= 40
    assert sum(attack.aimed == "design" for attack in ATTACKS) * 2 >= len(ATTACKS)
    groups = {attack.path.parent.name for attack in ATTACKS}
    assert groups == {"lie", "reach", "gradebook", "exhaust", "outlive", "escape", "report"}
