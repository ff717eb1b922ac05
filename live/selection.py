"""Which rows a list is made of, in its order: SQL that stays as fast with a million rows as with a thousand.

A list is a walk along an index in the list's own order, or several that the database merges: one for each status
or tag that is asked for. Only the matches of a text are all found first, and then sorted. Totals come from counters
where those know; docs/decisions/0005 says what is left to be counted.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from db import Sql, database, run


class Kind(NamedTuple):
    """A table of things that are listed, and the column that lists sort and filter by."""

    table: str
    time: str


CHANNELS = Kind("channel", "listed_at")
VIDEOS = Kind("video", "created_at")
# What the tables of tags have of their own: all other columns are asked of the row itself.
BESIDE_TAGS = {"account_id", "status", "listed_at", "created_at"}
COUNTED = {"account_id", "status"}
# From so many matches of a text on, of a million rows, it is less work to walk the list and check each row.
TOO_MANY_TO_SORT = 3000


class Condition(NamedTuple):
    column: str
    test: str
    values: list[Any]  # one for each `?`; a list fills an IN (?)


@dataclass
class Selection:
    """What is wanted of one kind: conditions that all hold, any of these tags, any match of this text.

    `check` does what `text` does, row by row.
    """

    kind: Kind
    conditions: list[Condition] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    text: Sql | None = None
    check: Condition | None = None

    def where(self, column: str, test: str, value: Any) -> None:
        """Add a condition on a column; None asks for nothing."""
        if value is not None:
            self.conditions.append(Condition(column, test, [value]))

    @cached_property
    def matches(self) -> int:
        """How many rows the text alone matches."""
        return run(f"SELECT count(*) FROM ({self.text.text}) AS found", *self.text.values)[0][0]

    def newest(self) -> list[int]:
        """Every match of the text that the filters let through, the newest first."""
        rows = self._matching() if self.conditions or self.tags else self.text
        return [pk for (pk,) in run(f"SELECT pk FROM ({rows.text}) AS found ORDER BY pk DESC", *rows.values)]

    def parts(self) -> list[Sql]:
        """Queries of (kind, time, pk) that make up the list, each in its order without sorting."""
        if self.text and not (self.check and self.matches > TOO_MANY_TO_SORT):
            return [self._matching()]
        conditions = [*self.conditions, self.check] if self.check else self.conditions
        if self.tags:
            return [self._tagged(tag, conditions) for tag in self.tags]
        several = next((each for each in conditions if each.column == "status"), None)
        if several is None:
            return [self._walk(conditions)]
        rest = [each for each in conditions if each is not several]
        return [self._walk([*rest, Condition("status", "status = ?", [one])]) for one in several.values[0]]

    def total(self) -> int:
        """How many rows are wanted: from the counters where they know, else counted along the index."""
        if self.text and not (self.conditions or self.tags):
            return self.matches
        if self.text:
            rows = self._matching()
            return run(f"SELECT count(*) FROM ({rows.text}) AS found", *rows.values)[0][0]
        filtered = {each.column for each in self.conditions}
        if self.kind is CHANNELS and not self.check and filtered <= COUNTED and len(self.tags) < 2:
            tag = Condition("tag", "tag = ?", self.tags or [""])
            whose = [] if "account_id" in filtered else [Condition("account_id", "account_id = ''", [])]
            counters = _where(
                "SELECT coalesce(sum(n), 0) FROM channel_count", [tag, *whose, *self.conditions]
            )
            return run(counters.text, *counters.values)[0][0]
        rows = _joined(self.parts(), "UNION ALL")
        count = "count(DISTINCT pk)" if len(self.tags) > 1 else "count(*)"
        return run(f"SELECT {count} FROM ({rows.text}) AS found", *rows.values)[0][0]

    def _walk(self, conditions: list[Condition]) -> Sql:
        table, time = self.kind
        return _where(f"SELECT '{table}' AS kind, {time} AS time, pk FROM {table}", conditions)

    def _tagged(self, tag: str, conditions: list[Condition]) -> Sql:
        table, time = self.kind
        key = f"{table}_id"
        tests = [Condition("tag", "tag = ?", [tag])]
        for column, test, values in conditions:
            beside = column in BESIDE_TAGS
            of_row = f"EXISTS (SELECT 1 FROM {table} WHERE {table}.pk = {key} AND {test})"
            tests.append(Condition(column, test if beside else of_row, values))
        begin = f"SELECT '{table}' AS kind, {time} AS time, {key} AS pk FROM {table}_tag"
        return _where(begin, tests)

    def _matching(self) -> Sql:
        table, time = self.kind
        conditions = list(self.conditions)
        if self.tags:
            tagged = f"SELECT 1 FROM {table}_tag WHERE {table}_id = {table}.pk AND tag IN (?)"
            conditions.append(Condition("tag", f"EXISTS ({tagged})", [self.tags]))
        # CROSS JOIN: SQLite is to start from the matches, which it takes for many.
        rows = _where(
            f"SELECT '{table}' AS kind, {time} AS time, {table}.pk AS pk "
            f"FROM ({self.text.text}) AS found CROSS JOIN {table}",
            [Condition("pk", f"{table}.pk = found.pk", []), *conditions],
        )
        return Sql(rows.text, self.text.values + rows.values)


class Key(NamedTuple):
    """A row of a list, before it is read."""

    table: str
    time: int
    pk: int


def page(selections: list[Selection], asked: dict[str, Any]) -> list[Key]:
    """One page of all selections together, by `asked`'s page, length and order."""
    parts = [part for each in selections for part in each.parts()]
    order = {"desc": "time DESC, pk DESC", "asc": "time, pk"}[asked["order"]]
    if len({each.kind for each in selections}) > 1:
        order += ", kind"
    if len(parts) > 1 and not database.merges:
        most = asked["length"] * (asked["page"] + 1)
        parts = [
            Sql(f"SELECT * FROM ({text} ORDER BY {order} LIMIT ?) AS part", [*values, most])
            for text, values in parts
        ]
    # A row can be in two parts because it has two of the tags: UNION shows it once.
    rows = _joined(parts, "UNION" if any(len(each.tags) > 1 for each in selections) else "UNION ALL")
    limits = (asked["length"], asked["page"] * asked["length"])
    return [Key(*row) for row in run(f"{rows.text} ORDER BY {order} LIMIT ? OFFSET ?", *rows.values, *limits)]


def _joined(parts: list[Sql], union: str) -> Sql:
    return Sql(f" {union} ".join(part.text for part in parts), [one for part in parts for one in part.values])


def _where(begin: str, conditions: list[Condition]) -> Sql:
    tests = " AND ".join(each.test for each in conditions)
    return Sql(
        f"{begin} WHERE {tests}" if tests else begin, [one for each in conditions for one in each.values]
    )
