"""Tests of the running box: those of a module stay together in one process."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="there is one process only")
@pytest.mark.box
def test_the_groups_of_tests_are_heeded(request):
    """pytest 9.2 and pytest-xdist 3.8 together forget them without a word (pytest-xdist, issue 1386)."""
    assert request.node.nodeid.endswith("@test_groups")
