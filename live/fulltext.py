"""Full text over names, tags and descriptions: what only SQLite's FTS5 can sits here.

`put` indexes a row, `matching` and `containing` find rows again: both are subqueries, so that filters, order and
pages stay with the database. What a deleted row leaves in the indexes is taken out by triggers (migration 0003),
because rows also go by cascade. Another database is another implementation of this file.
"""

from collections.abc import Iterable

from db import Sql, run
from live.text import folded, words

SHORTEST_PART = 3


def put(table: str, pk: int, name: str, tags: Iterable[str], description: str = "") -> None:
    """Index a row of `channel` or `video`, in place of what was indexed of it before."""
    texts = [" ".join(words(text)) for text in (name, ", ".join(tags), description)]
    run(
        f"INSERT OR REPLACE INTO {table}_text (rowid, name, tags, description) VALUES (?, ?, ?, ?)",
        pk,
        *texts,
    )
    if table == "channel":
        run("INSERT OR REPLACE INTO channel_name (rowid, name) VALUES (?, ?)", pk, folded(name))


def matching(table: str, wanted: list[str], column: str | None = None) -> Sql:
    """`pk` of the rows that have all of these words, the last one also as a beginning; anywhere or in a column.

    FTS5 could rank them with bm25, but that counts how many rows have each word: 12 ms among a million channels.
    """
    # Quoted, a word is never an operator of FTS5; words() leaves no quotes in it.
    match = " ".join(f'"{word}"' for word in wanted) + "*"
    if column:
        match = f"{column} : ({match})"
    return Sql(f"SELECT rowid AS pk FROM {table}_text WHERE {table}_text MATCH ?", [match])


def containing(part: str) -> Sql | None:
    """`pk` of the channels whose folded name contains this; None if it is too short for the index."""
    if len(part) < SHORTEST_PART:
        return None
    phrase = '"' + part.replace('"', '""') + '"'
    return Sql("SELECT rowid AS pk FROM channel_name WHERE channel_name MATCH ?", [phrase])
