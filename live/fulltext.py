"""Full text over names, tags and descriptions: what differs by database sits in a file for each of them.

`put` indexes a row, `matching` and `containing` find rows again: both are subqueries, so that filters, order and
pages stay with the database. Words are folded and parted in Python (live/text.py), the same for every database.
"""

from collections.abc import Iterable
from types import ModuleType

from db import Sql, database
from live import fulltext_postgresql, fulltext_sqlite
from live.text import folded, words

BY_KIND = {"sqlite": fulltext_sqlite, "postgresql": fulltext_postgresql}


def put(table: str, pk: int, name: str, tags: Iterable[str], description: str = "") -> None:
    """Index a row of `channel` or `video`, in place of what was indexed of it before."""
    texts = [" ".join(words(text)) for text in (name, ", ".join(tags), description)]
    _own().put(table, pk, texts, folded(name))


def matching(table: str, wanted: list[str], columns: tuple[str, ...] = ()) -> Sql:
    """`pk` of the rows that have all of these words, the last one also as a beginning; anywhere or in columns."""
    return _own().matching(table, wanted, columns)


def containing(part: str) -> Sql | None:
    """`pk` of the channels whose folded name contains this; None if it is too short for the index."""
    return _own().containing(part)


def contains(part: str) -> Sql:
    """The same as a condition on a row of channel."""
    return _own().contains(part)


def _own() -> ModuleType:
    return BY_KIND[database.kind]
