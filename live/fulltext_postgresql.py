"""Full text by PostgreSQL's tsvector. Words come folded and parted, so none of its parsers and dictionaries is asked.

Where a word stands is its weight: A in a name, B in a tag, D in a description.
"""

from typing import Any

from db import Sql, database, run

PLACES = ("1A", "2B", "3D")
WEIGHTS = {"name": "A", "tags": "B", "description": "D"}
LONGEST_WORD = 500  # characters; PostgreSQL takes up to 2046 bytes
SHORTEST_PART = 3


PUT = {
    "channel": """INSERT INTO channel_text (pk, name, words) VALUES (?, ?, ?::tsvector)
                  ON CONFLICT (pk) DO UPDATE SET name = excluded.name, words = excluded.words""",
    "video": """INSERT INTO video_text (pk, words) VALUES (?, ?::tsvector)
                ON CONFLICT (pk) DO UPDATE SET words = excluded.words""",
}


def put(table: str, pk: int, texts: list[str], name: str) -> None:
    run(PUT[table], *_values(table, pk, texts, name))


def put_all(table: str, rows: list[tuple[int, list[str], str]]) -> None:
    """Many at once, which wait for no answers in between: a tenth of the time."""
    values = [[database.without_nul(value) for value in _values(table, *row)] for row in rows]
    database.cursor().executemany(PUT[table].replace("?", database.param), values)


def _values(table: str, pk: int, texts: list[str], name: str) -> list[Any]:
    return [pk, name, placed(texts)] if table == "channel" else [pk, placed(texts)]


def placed(texts: list[str]) -> str:
    """The words of these texts, each with its place, as a tsvector is written."""
    return " ".join(
        f"{_quoted(word)}:{place}"
        for text, place in zip(texts, PLACES, strict=True)
        for word in dict.fromkeys(text.split())
    )


def matching(table: str, wanted: list[str], columns: tuple[str, ...]) -> Sql:
    where = "".join(WEIGHTS[column] for column in columns)
    *whole, last = [_quoted(word) for word in wanted]
    terms = [f"{word}:{where}" if where else word for word in whole] + [f"{last}:*{where}"]
    return Sql(f"SELECT pk FROM {table}_text WHERE words @@ ?::tsquery", [" & ".join(terms)])


def containing(part: str) -> Sql | None:
    if len(part) < SHORTEST_PART:
        return None
    return Sql("SELECT pk FROM channel_text WHERE name LIKE ?", [f"%{_literal(part)}%"])


def contains(part: str) -> Sql:
    return Sql("strpos(name_folded, ?) > 0", [part])


def _quoted(word: str) -> str:
    """No letter, number or mark means anything to PostgreSQL within quotes."""
    return f"'{word[:LONGEST_WORD]}'"


def _literal(part: str) -> str:
    r"""As LIKE finds it letter by letter: % and _ stand for any, \ for the next as it is."""
    return part.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
