"""Which rows a list is made of, in its order: SQL that stays as fast with a million rows as with a thousand.

Each list is a walk along an index in the list's own order, or several that the database merges: one for each
status or tag that is asked for. Only a text has its matches found first and sorted then.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from db import Sql, run


class Kind(NamedTuple):
    """A table of things that are listed, and the column that lists sort and filter by."""

    table: str
    time: str


CHANNELS = Kind("channel", "listed_at")
VIDEOS = Kind("video", "created_at")
# What the tables of tags have of their own: all other columns are asked of the row itself.
BESIDE_TAGS = {"account_id", "status", "listed_at", "created_at"}
COUNTED = {"account_id", "status"}


class Condition(NamedTuple):
    column: str
    test: str
    values: list[Any]  # one for each `?`; a list fills an IN (?)


@dataclass
class Selection:
    """What is wanted of one kind: conditions that all hold, any of these tags, any match of this text."""

    kind: Kind
    conditions: list[Condition] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    text: Sql | None = None

    def where(self, column: str, test: str, value: Any) -> None:
        """Add a condition on a column; None asks for nothing."""
        if value is not None:
            self.conditions.append(Condition(column, test, [value]))

    def parts(self) -> list[Sql]:
        """Queries of (kind, time, pk, score), each along an index if there is no text."""
        if self.text:
            return [self._matches()]
        if self.tags:
            return [self._tagged(tag) for tag in self.tags]
        several = next((each for each in self.conditions if each.column == "status"), None)
        if several is None:
            return [self._walk(self.conditions)]
        rest = [each for each in self.conditions if each is not several]
        return [self._walk([*rest, Condition("status", "status = ?", [one])]) for one in several.values[0]]

    def _walk(self, conditions: list[Condition]) -> Sql:
        table, time = self.kind
        return _where(f"SELECT '{table}', {time}, pk, NULL FROM {table}", conditions)

    def _tagged(self, tag: str) -> Sql:
        table, time = self.kind
        key = f"{table}_id"
        conditions = [Condition("tag", "tag = ?", [tag])]
        for each in self.conditions:
            if each.column not in BESIDE_TAGS:
                test = f"EXISTS (SELECT 1 FROM {table} WHERE {table}.pk = {key} AND {each.test})"
                each = Condition(each.column, test, each.values)
            conditions.append(each)
        return _where(f"SELECT '{table}', {time}, {key}, NULL FROM {table}_tag", conditions)

    def _matches(self) -> Sql:
        table, time = self.kind
        conditions = list(self.conditions)
        if self.tags:
            tagged = f"SELECT 1 FROM {table}_tag WHERE {table}_id = {table}.pk AND tag IN (?)"
            conditions.append(Condition("tag", f"EXISTS ({tagged})", [self.tags]))
        # CROSS JOIN: SQLite is to start from the matches, which it takes for many.
        begin = (
            f"SELECT '{table}', {time}, {table}.pk, score "
            f"FROM ({self.text.text}) AS found CROSS JOIN {table} ON {table}.pk = found.pk"
        )
        sql = _where(begin, conditions)
        return Sql(sql.text, self.text.values + sql.values)

    def total(self) -> int:
        """How many rows are wanted: from the counters where they know, else counted along the index."""
        filtered = {each.column for each in self.conditions}
        if self.kind is CHANNELS and not (self.text or self.tags or filtered - COUNTED):
            whose = [] if "account_id" in filtered else [Condition("", "account_id = ''", [])]
            counters = _where("SELECT coalesce(sum(n), 0) FROM channel_count", whose + self.conditions)
            return run(counters.text, *counters.values)[0][0]
        rows = _merged([self])
        return run(f"SELECT count(*) FROM ({rows.text})", *rows.values)[0][0]


class Key(NamedTuple):
    """A row of a list, before it is read."""

    table: str
    time: int
    pk: int
    score: float | None


def page(selections: list[Selection], asked: dict[str, Any]) -> list[Key]:
    """One page of all selections together, by `asked`'s page, length and order."""
    rows = _merged(selections)
    direction = "ASC" if asked["order"] == "asc" else "DESC"
    order = f"2 {direction}, 3 {direction}"
    if asked["order"] == "relevance":
        order = f"4 DESC, {order}"
    limits = (asked["length"], asked["page"] * asked["length"])
    return [Key(*row) for row in run(f"{rows.text} ORDER BY {order} LIMIT ? OFFSET ?", *rows.values, *limits)]


def _merged(selections: list[Selection]) -> Sql:
    """All parts as one query; where a row can be in two of them, because it has two of the tags, it comes once."""
    parts = [part for each in selections for part in each.parts()]
    union = " UNION " if any(len(each.tags) > 1 for each in selections) else " UNION ALL "
    return Sql(union.join(part.text for part in parts), [value for part in parts for value in part.values])


def _where(begin: str, conditions: list[Condition]) -> Sql:
    tests = " AND ".join(each.test for each in conditions)
    return Sql(
        f"{begin} WHERE {tests}" if tests else begin, [one for each in conditions for one in each.values]
    )
