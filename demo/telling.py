"""What the demo says: lines with the time since it began, and a table of legs at the end."""

import time
from collections.abc import Sequence
from typing import NamedTuple

BEGAN = time.monotonic()


class Leg(NamedTuple):
    """`seconds` is None where there was nothing to measure; `since` says why then."""

    what: str
    seconds: float | None
    since: str


def tell(text: str) -> None:
    print(text, flush=True)


def report(text: str) -> None:
    tell(f"{time.monotonic() - BEGAN:7.2f} s  {text}")


def table(legs: Sequence[Leg]) -> str:
    rows = [("Leg", "Took", ""), *((each.what, took(each.seconds), each.since) for each in legs)]
    what, long = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{row[0]:{what}}  {row[1]:>{long}}  {row[2]}".rstrip() for row in rows)


def took(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
