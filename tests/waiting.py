"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """The condition's first true value; fails, saying what was waited for, when time is up.

    A connection that is refused or cut counts as not yet: the part that is asked may be starting again.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            value = condition()
        except OSError as error:
            value, seen = None, error
        else:
            seen = value
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s (last: {seen!r})"
        time.sleep(0.05)
