"""One round of every fault; script/faults plays as many as one likes, with other seeds."""

import pytest

from tests.faults.all import FAULTS
from tests.faults.rounds import play

pytestmark = pytest.mark.sqlite


@pytest.mark.parametrize("each", FAULTS, ids=lambda each: each.name)
def test_after_this_fault_everything_that_is_promised_holds(each, tmp_path):
    assert play(each, seed=1) == []
