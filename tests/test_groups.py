"""Tests of the running box share one process: two boxes at once are too much for two cores."""

import os

import pytest


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" not in os.environ, reason="one process: nothing to be kept together"
)
@pytest.mark.xdist_group("box")
def test_the_groups_of_tests_are_heeded(request):
    """pytest 9.2 and pytest-xdist 3.8 together forget them without a word (pytest-xdist, issue 1386)."""
    assert request.node.nodeid.endswith("@box")
