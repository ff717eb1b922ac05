"""PostgreSQL, the database that several machines can share. What only it can sits here (docs/decisions/0020).

Whoever begins a transaction with `atomic` has the only one that writes, as on SQLite. The verbs that are many at once
begin it with `side_by_side`, hold the rows that they change, and say what else must be one at a time
(docs/decisions/0022).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from struct import unpack
from typing import Any

import peewee
import psycopg
from playhouse.migrations import Runner
from psycopg.adapt import Buffer, Loader

SCHEMA = Path(__file__).parent / "migrations" / "postgresql"
SCHEMA_IS_OF = "0007_studio"  # the last migration that the schema above has in it
WRITERS = 0x4C495645  # the lock of writers; any number, as long as nobody else takes locks in this database
# An event may be numbered now and be seen later: whoever may write some holds a shared lock whose key is the last
# number that was given before, behind this prefix of 16 bits.
OUTBOX = 0x4C56
OUTBOX_BITS = 48
ALONE, BESIDE = "alone", "beside"
BEGIN = {
    ALONE: f"BEGIN; SELECT pg_advisory_xact_lock({WRITERS})",
    BESIDE: f"""BEGIN; SELECT pg_advisory_xact_lock_shared({WRITERS});
        SELECT pg_advisory_xact_lock_shared(({OUTBOX}::bigint << {OUTBOX_BITS}) + last_value - (NOT is_called)::int)
          FROM event_id_seq""",  # noqa: S608 (numbers of ours)
}
COMPLETE = f"""
    SELECT LEAST((SELECT MAX(id) FROM event),
                 (SELECT MIN(((classid::bigint << 32) | objid::bigint) & ((1::bigint << {OUTBOX_BITS}) - 1))
                    FROM pg_locks
                   WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> {OUTBOX_BITS - 32} = {OUTBOX}
                     AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))
"""  # noqa: S608
FOLD = """
    WITH gone AS (
        DELETE FROM channel_count WHERE ctid IN (
            SELECT counted.ctid FROM channel_count AS counted
              JOIN (SELECT DISTINCT account_id, tag, status FROM channel_count WHERE fresh) AS changed
             USING (account_id, tag, status)
               FOR UPDATE OF counted SKIP LOCKED)
        RETURNING account_id, tag, status, n)
    INSERT INTO channel_count (account_id, tag, status, n, fresh)
    SELECT account_id, tag, status, SUM(n), false FROM gone
     GROUP BY account_id, tag, status HAVING SUM(n) != 0
"""
SETTINGS = {
    "lock_timeout": "5s",  # as long as a writer waits on SQLite
    "idle_in_transaction_session_timeout": "30s",  # of a machine that is gone with a writer's turn
    "client_min_messages": "warning",
    # A machine that is gone without a word has not its connections until the next day.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# Whoever waits for the answer of a server whose machine is gone, or whose network is, would wait for two hours: such a
# thread sends nothing, so nobody tells it. What DATABASE_URL says of these is what counts.
IMPATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class Whole(Loader):
    """PostgreSQL adds up bigints to numerics; all that is added up here are whole numbers."""

    def load(self, data: Buffer) -> int:
        return int(Decimal(bytes(data).decode()))


class NotAloneError(peewee.InternalError):
    """What has to be alone was begun within a transaction that others are beside."""


class Postgres(peewee.PostgresqlDatabase):
    """PostgreSQL whose writers take turns, but for those that say that they need not."""

    kind = "postgresql"
    merges = False  # it would sort all rows of a union, though an index has each part in order
    not_alone = NotAloneError
    hold = " FOR NO KEY UPDATE"
    hold_free = " FOR NO KEY UPDATE SKIP LOCKED"

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
        return super().execute_sql(sql, [self.without_nul(each) for each in params or ()])

    def atomic(self, how: str = ALONE) -> AbstractContextManager[Any]:
        if how == ALONE and self.in_transaction() and self._state.how != ALONE:
            raise NotAloneError("a transaction that has to be alone within one that is not")
        return super().atomic(how)

    def side_by_side(self) -> AbstractContextManager[Any]:
        """See db.side_by_side."""
        return self.atomic(BESIDE)

    @staticmethod
    def without_nul(value: Any) -> Any:
        """No text in PostgreSQL has a NUL: what is looked for with one is not there, and is kept with U+FFFD."""
        return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value

    def begin(self, how: str = ALONE) -> None:
        self._clear_commit_callbacks()  # of one that could not even be rolled back: its connection was gone
        self._renew()
        with peewee.__exception_wrapper__:
            try:
                self.connection().execute(BEGIN[how])
            except psycopg.Error:
                self.connection().rollback()
                raise
        self._state.how = how

    def one_at_a_time(self, kind: str, key: str) -> None:
        """See db.one_at_a_time."""
        self.execute_sql("SELECT pg_advisory_xact_lock(%s, %s)", unpack(">ii", _digest(kind, key)))

    def complete_events(self) -> int | None:
        """See db.complete_events. In this order: MAX(id) is of the moment at which the statement begins, the locks are
        looked at after it. Whoever has numbered an event up to there is among them, or can be seen from now on."""
        return self.execute_sql(COMPLETE).fetchone()[0] or 0

    def fold_counters(self) -> None:
        """See db.fold_counters."""
        self.execute_sql(FOLD)

    def only_if_free(self, write: peewee.Query) -> None:
        """See db.only_if_free: a single statement waits for nobody's turn."""
        write.execute()

    def group_commit(self, act: Callable[[], Any]) -> Any:
        """See db.group_commit: PostgreSQL by itself writes to the disk once for all who commit at the same moment."""
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


def _digest(kind: str, key: str) -> bytes:
    return blake2b(f"{kind} {key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def at(url: str) -> Postgres:
    """The database that a DATABASE_URL names."""
    with peewee.__exception_wrapper__:
        said = psycopg.conninfo.conninfo_to_dict(url)
    impatience = {name: value for name, value in IMPATIENCE.items() if name not in said}
    return Postgres(url, prefer_psycopg3=True, autoconnect=False, **impatience)
