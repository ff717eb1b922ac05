"""docs/promises.md names tests that exist, and at least one for every promise."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROWS = re.findall(r"^\| (.+\.) \| (.+) \|$", (ROOT / "docs/promises.md").read_text(), re.MULTILINE)


def test_there_are_promises():
    assert len(ROWS) > 30


@pytest.mark.parametrize(("promise", "held_by"), ROWS, ids=[promise for promise, _ in ROWS])
def test_every_promise_is_held_by_tests_that_exist(promise, held_by):
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", held_by)
    assert len(named) == held_by.count("`") // 2 > 0
    missing = [
        name
        for file, name in named
        if not re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []
