"""Full text over names, tags and descriptions: what differs by database sits in a file for each of them.

`put` indexes a row, `matching` and `containing` find rows again: both are subqueries, so that filters, order and
pages stay with the database. Words are folded and parted in Python (live/text.py), the same for every database.
"""

from collections.abc import Iterable
from itertools import islice
from types import ModuleType

from db import Sql, database
from live import fulltext_postgresql, fulltext_sqlite
from live.text import folded, words

AT_ONCE = 1000
BY_KIND = {"sqlite": fulltext_sqlite, "postgresql": fulltext_postgresql}


def put(table: str, pk: int, name: str, tags: Iterable[str], description: str = "") -> None:
    """Index a row of `channel` or `video`, in place of what was indexed of it before."""
    _own().put(table, pk, _texts(name, tags, description), folded(name))


def put_all(table: str, rows: Iterable[tuple[int, str, Iterable[str], str]]) -> None:
    """Index very many rows; on PostgreSQL only, where an installation moves to it."""
    prepared = ((pk, _texts(name, tags, description), folded(name)) for pk, name, tags, description in rows)
    while some := list(islice(prepared, AT_ONCE)):
        fulltext_postgresql.put_all(table, some)


def _texts(name: str, tags: Iterable[str], description: str) -> list[str]:
    return [" ".join(words(text)) for text in (name, ", ".join(tags), description)]


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
