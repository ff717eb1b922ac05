"""PostgreSQL, the database that several machines can share. What only it can sits here (docs/decisions/0020).

Writers take turns, as they do on SQLite: whoever begins a transaction has the only one that writes. What the code
reads in it nobody changes meanwhile, events are numbered in the order in which they can be seen, and what is counted
stays counted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import peewee
import psycopg
from playhouse.migrations import Runner
from psycopg.adapt import Buffer, Loader

SCHEMA = Path(__file__).parent / "migrations" / "postgresql"
SCHEMA_IS_OF = "0007_studio"  # the last migration that the schema above has in it
WRITERS = 0x4C495645  # the lock of writers; any number, as long as nobody else takes locks in this database
SETTINGS = {
    "lock_timeout": "5s",  # as long as a writer waits on SQLite
    "idle_in_transaction_session_timeout": "30s",  # of a machine that is gone with a writer's turn
    "client_min_messages": "warning",
}


class Whole(Loader):
    """PostgreSQL adds up bigints to numerics; all that is added up here are whole numbers."""

    def load(self, data: Buffer) -> int:
        return int(Decimal(bytes(data).decode()))


class Postgres(peewee.PostgresqlDatabase):
    """PostgreSQL whose writers take turns."""

    kind = "postgresql"

    @property
    def version(self) -> str:
        return f"{self.server_version // 10000}.{self.server_version % 10000}"

    def _initialize_connection(self, conn: psycopg.Connection) -> None:
        conn.adapters.register_loader("numeric", Whole)
        conn.execute(
            "SELECT " + ", ".join("set_config(%s, %s, false)" for _ in SETTINGS),
            [each for setting in SETTINGS.items() for each in setting],
        )

    def connect(self, reuse_if_open: bool = False) -> bool:
        if reuse_if_open and not self.is_closed():
            self._renew()
            return False
        return super().connect(reuse_if_open)

    def _renew(self) -> None:
        """After a restart of the server the next statement has a new connection, unless it belongs to a transaction."""
        if not self.is_closed() and self._state.conn.closed and not self.in_transaction():
            with peewee.__exception_wrapper__:
                fresh = self._connect()
                self._initialize_connection(fresh)
            self._state.conn = fresh  # by close() whoever is within a connection_context would be forgotten

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        self._renew()
        return super().execute_sql(sql, [_without_nul(each) for each in params or ()])

    def begin(self, isolation_level: Any = None) -> None:
        self._renew()
        with peewee.__exception_wrapper__:
            try:
                self.connection().execute(f"BEGIN; SELECT pg_advisory_xact_lock({WRITERS})")
            except psycopg.Error:
                self.connection().rollback()
                raise

    def only_if_free(self, write: peewee.Query) -> None:
        """See db.only_if_free: a single statement waits for nobody's turn."""
        write.execute()

    def together(self, act: Callable[[], Any]) -> Any:
        """See db.together: PostgreSQL by itself writes to the disk once for all who commit at the same moment."""
        return act()

    def give_back(self) -> int:
        """PostgreSQL's own vacuum does that."""
        return 0

    @contextmanager
    def changing_schema(self) -> Iterator[None]:
        with self.atomic():
            if not self.table_exists("schema_migration"):
                self._begin_with_schema()
            yield

    def _begin_with_schema(self) -> None:
        for file in ("tables.sql", "triggers.sql"):
            with peewee.__exception_wrapper__:
                self.connection().execute((SCHEMA / file).read_text())
        Runner(self, str(SCHEMA.parent)).fake(SCHEMA_IS_OF)

    def broken_references(self) -> list[tuple[Any, ...]]:
        """PostgreSQL lets none be written."""
        return []


def _without_nul(value: Any) -> Any:
    """No text in PostgreSQL has a NUL: what is looked for with one is not there, and what has one is kept without."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def at(url: str) -> Postgres:
    """The database that a DATABASE_URL names."""
    return Postgres(url, prefer_psycopg3=True, autoconnect=False)
