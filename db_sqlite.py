"""SQLite, the embedded database: how a file is made, opened and written to. What only SQLite can sits here."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

import peewee

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: an answered write survives a power cut
    "foreign_keys": 1,
    "busy_timeout": 5000,
    "trusted_schema": 0,
    "cache_size": -16000,
    "temp_store": 2,
    "wal_autocheckpoint": 1000,
    "journal_size_limit": 64 * 1024 * 1024,
}
PAGES_AT_ONCE = 250
PAGES_TO_SPARE = 4096  # 16 MiB that stay free in the file, for what is written next
LOOK_AGAIN_S = 0.002
SHRINKING = "PRAGMA auto_vacuum = 2"  # INCREMENTAL


class UnsafeSqliteError(Exception):
    """The SQLite library at hand can lose commits in WAL mode."""


class Wish:
    """What a thread wants written; whichever thread does that, it is done in the context of the one that asks."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act, self.context = act, copy_context()
        self.value, self.error = None, None
        self.over = False
        self.called = threading.Semaphore(0)  # it is over; or it is this thread's to lead

    def come_true(self) -> None:
        try:
            self.value = self.context.run(self.act)
        except Exception as error:
            self.error = error

    def outcome(self) -> Any:
        if self.error:
            raise self.error
        return self.value


class Sqlite(peewee.SqliteDatabase):
    """SQLite whose writers of one process take turns by a lock, which hands over at once.

    Between processes SQLite's own lock decides, and whoever waits for it sleeps and looks again, ever longer: 24
    threads that write at once took four times as long that way.
    """

    kind = "sqlite"
    merges = True  # of walks in the same order it makes one
    not_alone = ()  # whoever is within a transaction is alone
    hold = hold_free = ""  # whoever writes holds all there is
    version = peewee.sqlite3.sqlite_version

    def __init__(self, path: str, **settings: Any) -> None:
        super().__init__(path, **settings)
        self.turn = threading.Lock()
        self.wishes: deque[Wish] = deque()
        self.led = False  # somebody does what waits
        self.leading = threading.Lock()  # of these two

    def side_by_side(self) -> AbstractContextManager[Any]:
        """See db.side_by_side."""
        return self.atomic()

    def one_at_a_time(self, kind: str, key: str) -> None:
        """See db.one_at_a_time."""

    def complete_events(self) -> int | None:
        """See db.complete_events."""
        return None

    def fold_counters(self) -> None:
        """See db.fold_counters."""

    def begin(self, lock_type: str | None = None) -> None:
        """Waits for its turn and for SQLite's lock, for both together no longer than for one of them."""
        self._clear_commit_callbacks()  # of one whose rollback failed as well
        until = time.monotonic() + self._timeout
        if not self.turn.acquire(timeout=self._timeout):
            raise peewee.OperationalError("database is locked by another thread")
        try:
            with self.patience(0):
                while not self._begun(lock_type, until):
                    time.sleep(LOOK_AGAIN_S)
        except BaseException:
            self.turn.release()
            raise

    def _begun(self, lock_type: str | None, until: float) -> bool:
        """SQLite by itself would look again after ever longer pauses, up to 100 ms, and beside a busy process find
        the lock taken each time: one in a hundred writers waited for 200 to 300 ms."""
        try:
            super().begin(lock_type)
        except peewee.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
            return False
        return True

    def commit(self) -> None:
        super().commit()
        self.turn.release()

    def rollback(self) -> None:
        try:
            # A full disk makes SQLite roll back by itself; to fail at it again would hide why.
            if self.connection().in_transaction:
                super().rollback()
        finally:
            self.turn.release()

    def group_commit(self, act: Callable[[], Any]) -> Any:
        """See db.group_commit.

        Whoever finds that nobody leads does: waits for the database, does all that is wished for by then in one
        transaction, calls those who wished, and has the first of those who have come since lead on.
        """
        if self.in_transaction():
            return act()
        mine = Wish(act)
        with self.leading:
            self.wishes.append(mine)
            leads, self.led = not self.led, True
        if not leads:
            mine.called.acquire()
        if not mine.over:
            self._grant()
        return mine.outcome()

    def _grant(self) -> None:
        """All that is waiting once the database is ours; who comes later has a transaction with the next ones."""
        wishes: list[Wish] = []
        try:
            with self.atomic():
                wishes = self._waiting()
                for wish in wishes:
                    wish.come_true()
                    if not self.connection().in_transaction:  # a full disk makes SQLite roll back by itself
                        raise wish.error or peewee.OperationalError("the transaction was rolled back")
        except BaseException as error:
            wishes = wishes or self._waiting()
            for wish in wishes:
                wish.error = error  # nothing of it is written
        finally:
            self._call(wishes)

    def _call(self, done: list[Wish]) -> None:
        """Those whose wishes are over, all at once, and the one who goes on."""
        with self.leading:
            self.led = bool(self.wishes)
            following = [self.wishes[0]] if self.led else []
        for wish in done:
            wish.over = True
        for wish in done + following:
            wish.called.release()

    def _waiting(self) -> list[Wish]:
        with self.leading:
            return [self.wishes.popleft() for _ in range(len(self.wishes))]

    @contextmanager
    def patience(self, wait_ms: int) -> Iterator[None]:
        """Within this, this connection waits for SQLite's lock for so long and no longer."""
        self.execute_sql(f"PRAGMA busy_timeout = {max(0, wait_ms)}")
        try:
            yield
        finally:
            self.execute_sql(f"PRAGMA busy_timeout = {PRAGMAS['busy_timeout']}")

    def only_if_free(self, write: peewee.Query) -> None:
        """See db.only_if_free."""
        with suppress(peewee.OperationalError), self.patience(0):
            write.execute()

    def give_back(self) -> int:
        """Make the file a little smaller by pages that hold nothing any more; returns how many went, 0 when all is
        done. A file that cannot shrink in steps (docs/decisions/0006) stays as it is."""
        free = self._free_pages()
        wanted = min(free - PAGES_TO_SPARE, PAGES_AT_ONCE)
        if wanted <= 0:
            return 0
        with self.atomic():
            self.execute_sql(
                f"PRAGMA incremental_vacuum({wanted})"
            ).fetchall()  # a page goes with each row read
        return free - self._free_pages()

    def _free_pages(self) -> int:
        return self.execute_sql("PRAGMA freelist_count").fetchone()[0]

    @contextmanager
    def changing_schema(self) -> Iterator[None]:
        """One transaction for migrations, which replace tables that others point to; see broken_references."""
        self.pragma("foreign_keys", 0)  # within a transaction this cannot be turned off
        with self.atomic():
            yield

    def broken_references(self) -> list[tuple[Any, ...]]:
        """Some rows that point to nothing, if there are any."""
        return self.execute_sql("PRAGMA foreign_key_check").fetchmany(3)


def wal_is_safe(version: tuple[int, int, int]) -> bool:
    """False for SQLite releases whose WAL-reset bug can lose commits (fixed in 3.51.3, 3.50.7, 3.44.6)."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


class NoFileError(Exception):
    """The database is on a server, and what was asked for is done with a file."""

    def __init__(self) -> None:
        super().__init__(
            "DATABASE_URL names a PostgreSQL database, which is no file: pg_dump and pg_restore keep and bring back "
            "what is in it, together with the keys folder of DATA_DIR (docs/operations.md)."
        )


def path_of(url: str) -> Path:
    """The file that a DATABASE_URL names."""
    if not url.startswith("sqlite:///"):
        raise NoFileError
    return Path(url.removeprefix("sqlite:///"))


def at(url: str, any_version: bool = False) -> Sqlite:
    """The database file that a DATABASE_URL names, made if it is missing and readable by its owner only."""
    version = peewee.sqlite3.sqlite_version_info
    if not wal_is_safe(version) and not any_version:
        raise UnsafeSqliteError(
            f"SQLite {peewee.sqlite3.sqlite_version} can lose commits in WAL mode. Install pysqlite3 "
            "(requirements.txt has it), or set SQLITE_ANY_VERSION=1 to run all the same."
        )
    return file_at(path_of(url))


def file_at(path: Path) -> Sqlite:
    """A database file by itself, with our settings, for those who look after files; the models go by `bind`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():  # to open and close one that is in use would let go of this process's locks on it
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives -wal and -shm the same mode
    if path.stat().st_size == 0:
        _begin(path)
    return Sqlite(str(path), pragmas=PRAGMAS, timeout=5, lock_type="IMMEDIATE", autoconnect=False)


def _begin(path: Path) -> None:
    """Make a file that can shrink in steps, which only one without content can become (docs/decisions/0006). Not
    among PRAGMAS: this one would write to the file at every connection."""
    new = peewee.sqlite3.connect(path, timeout=5)
    new.execute(SHRINKING)
    new.execute("PRAGMA journal_mode = wal")
    new.close()


def wal_bytes(path: Path) -> int:
    """What the file beside the database takes that new writes go to; it grows while an old reader stays."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0
