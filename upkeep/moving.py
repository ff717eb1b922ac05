"""From a SQLite file to a PostgreSQL database: every row, compared one by one before any of it counts."""

from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from config import Config
from database_url import is_on_server
from db import database, run, schema
from db_sqlite import Sqlite, file_at
from upkeep import opening, running, server

LOOK_FOR_S = 3600.0
AT_ONCE = 1000
OWN = ("schema_migration", "channel_text", "video_text", "channel_name")  # each side makes these by itself


class MoveError(opening.DatabaseError):
    """Nothing was changed; the sentence says what to do."""


class Table(NamedTuple):
    """A table of the database that is moved to."""

    name: str
    columns: list[str]
    flags: list[bool]  # of each column: whether it is true or false, which SQLite keeps as numbers
    keys: list[str]


def move(config: Config, file: Path, index_texts: Callable[[], None]) -> dict[str, int]:
    """Copy all rows of this file into the empty database of DATABASE_URL; returns how many each table has.

    One transaction, which ends only when what is there is what was here. `index_texts` is for what is found by words.
    """
    if not is_on_server(config.database_url):
        raise MoveError("Set DATABASE_URL to the PostgreSQL database that is to have the rows.")
    source = _source(file)
    with running.alone(config):
        server.prepare(config)
        with source.connection_context(), database.connection_context(), source.atomic(), database.atomic():
            tables = _in_order(source)
            here = {name for name in source.get_tables() if not name.startswith(OWN)}
            if left := here - {table.name for table in tables}:
                raise MoveError(f"{file} has tables that PostgreSQL has none for: {', '.join(left)}.")
            if used := [table.name for table in tables if run(f'SELECT 1 FROM "{table.name}" LIMIT 1')]:
                raise MoveError(f"The database of DATABASE_URL has rows already, in {', '.join(used)}.")
            moved = {table.name: _copy(source, table) for table in tables}
            index_texts()
            for table in tables:
                _compare(source, table)
    return moved


def _source(file: Path) -> Sqlite:
    if not file.is_file():
        raise MoveError(f"{file} is no file.")
    if found := opening.quick_check(file, LOOK_FOR_S, "integrity_check"):
        raise MoveError(f"{file} is damaged: {found}. Restore a backup first.")
    source = file_at(file)
    if schema(source).pending:
        raise MoveError(f"{file} is of an older release: start the box with it once.")
    return source


def _in_order(source: Sqlite) -> list[Table]:
    """Every table, each after those that it points to."""
    left = {
        name: {key.dest_table for key in database.get_foreign_keys(name)}
        for name in database.get_tables()
        if not name.startswith(OWN)
    }
    order: list[str] = []
    while left:
        ready = sorted(name for name, wanted in left.items() if wanted <= {*order})
        order += ready
        left = {name: wanted for name, wanted in left.items() if name not in ready}
    return [_described(source, name) for name in order]


def _described(source: Sqlite, name: str) -> Table:
    """With the columns and keys of the file: PostgreSQL has counters in several rows, without a key."""
    there = {column.name for column in source.get_columns(name)}
    columns = [column for column in database.get_columns(name) if column.name in there]
    flags = [column.data_type == "boolean" for column in columns]
    return Table(name, [column.name for column in columns], flags, source.get_primary_keys(name))


def _copy(source: Sqlite, table: Table) -> int:
    rows = 0
    # Triggers would count and note once more what the rows of other tables have already.
    database.execute_sql(f'ALTER TABLE "{table.name}" DISABLE TRIGGER USER')
    into = f'COPY "{table.name}" ({_listed(table.columns)}) FROM STDIN'
    with database.connection().cursor().copy(into) as copy:
        for row in _rows(source, table):
            copy.write_row(row)
            rows += 1
    database.execute_sql(f'ALTER TABLE "{table.name}" ENABLE TRIGGER USER')
    _count_on(table)
    return rows


def _count_on(table: Table) -> None:
    """The next row gets the number after the last one."""
    for key in table.keys:
        [[counter]] = run("SELECT pg_get_serial_sequence(?, ?)", f'"{table.name}"', key)
        if counter:
            run(f'SELECT setval(?, MAX("{key}")) FROM "{table.name}"', counter)


def _compare(source: Sqlite, table: Table) -> None:
    for one, other in zip_longest(_rows(source, table), _rows(database, table)):
        if one != other:
            which = dict(zip(table.columns, one or other, strict=True))
            told = {key: which[key] for key in table.keys}
            raise MoveError(f"A row of {table.name} did not arrive as it was: {told}.")


def _rows(asked: Any, table: Table) -> Iterator[tuple[Any, ...]]:
    """All rows by their keys, as PostgreSQL has them."""
    order, last = _listed(table.keys), None
    while True:
        after = "" if last is None else f"WHERE ({order}) > ({', '.join([asked.param] * len(last))})"
        found = asked.execute_sql(
            f'SELECT {_listed(table.columns)} FROM "{table.name}" {after} ORDER BY {order} LIMIT {AT_ONCE}',
            last or (),
        ).fetchall()
        for row in found:
            yield tuple(
                bool(value) if flag else database.without_nul(value)
                for value, flag in zip(row, table.flags, strict=True)
            )
        if len(found) < AT_ONCE:
            return
        last = [found[-1][table.columns.index(key)] for key in table.keys]


def _listed(columns: list[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
