"""Full text by FTS5. Triggers take out what a deleted row leaves (migration 0003), because rows also go by cascade."""

from db import Sql, run

SHORTEST_PART = 3


def put(table: str, pk: int, texts: list[str], name: str) -> None:
    run(
        f"INSERT OR REPLACE INTO {table}_text (rowid, name, tags, description) VALUES (?, ?, ?, ?)",
        pk,
        *texts,
    )
    if table == "channel":
        run("INSERT OR REPLACE INTO channel_name (rowid, name) VALUES (?, ?)", pk, name)


def matching(table: str, wanted: list[str], columns: tuple[str, ...]) -> Sql:
    """FTS5 could rank them with bm25, but that counts how many rows have each word: 12 ms among a million channels."""
    # Quoted, a word is never an operator of FTS5; words() leaves no quotes in it.
    match = " ".join(f'"{word}"' for word in wanted) + "*"
    if columns:
        match = f"{{{' '.join(columns)}}} : ({match})"
    return Sql(f"SELECT rowid AS pk FROM {table}_text WHERE {table}_text MATCH ?", [match])


def containing(part: str) -> Sql | None:
    if len(part) < SHORTEST_PART:
        return None
    phrase = '"' + part.replace('"', '""') + '"'
    return Sql("SELECT rowid AS pk FROM channel_name WHERE channel_name MATCH ?", [phrase])


def contains(part: str) -> Sql:
    return Sql("instr(name_folded, ?) > 0", [part])
