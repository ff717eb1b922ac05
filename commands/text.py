"""What people read of a result: a table of many, a sheet of one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

NOTHING = "-"


def table(columns: Mapping[str, str], empty: str) -> Callable[[Sequence[Mapping[str, Any]]], str]:
    """Rows below headings, each as wide as it has to be: {"ID": "id", "STATE": "status"}."""

    def text(rows: Sequence[Mapping[str, Any]]) -> str:
        if not rows:
            return empty
        return aligned([list(columns), *([word(row[name]) for name in columns.values()] for row in rows)])

    return text


def sheet(shown: Mapping[str, Any]) -> str:
    """A name and its value on each line."""
    return aligned([[name, word(value)] for name, value in shown.items()])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def word(value: Any) -> str:
    """A JSON value as people write it; on one line, whatever a channel is called."""
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            text = ", ".join(map(word, value))
        case dict():
            text = ", ".join(f"{name} {word(each)}" for name, each in value.items() if each is not None)
        case _:
            text = "" if value is None else " ".join(str(value).split())
    return text or NOTHING
