"""The tables of channels whose files, here or in the store, are to be looked after. Triggers write the first,
whoever changes a row (migration 5)."""

from datetime import datetime
from typing import Any, Self

from peewee import SQL, AutoField, BigIntegerField, CharField, IntegerField

from db import UtcField, run, to_ms
from row import Row


class Chore(Row):
    """Something happened to this channel that may leave work on disk; what it is, is seen there and in the rows.

    No foreign key: it outlives its channel, whose files go last.
    """

    pk = AutoField()
    channel_id = CharField()

    @classmethod
    def waiting(cls) -> dict[str, int]:
        """The channels in the order in which it happened, each with its newest chore."""
        return dict(run("SELECT channel_id, MAX(pk) FROM chore GROUP BY channel_id ORDER BY MIN(pk)"))

    @classmethod
    def done(cls, channel_id: str, newest: int) -> None:
        """What was seen is done; what has happened since stays."""
        run("DELETE FROM chore WHERE channel_id = ? AND pk <= ?", channel_id, newest)


class Stored(Row):
    """A channel that has objects in the store, or may have some: written before the first, gone after the last.

    No foreign key, for the same reason.
    """

    channel_id = CharField(primary_key=True)
    due_at = UtcField(null=True, index=True)  # when its objects are to be compared with what is wanted
    tries = IntegerField(default=0, constraints=[SQL("DEFAULT 0")])  # that failed, since one did not
    size = BigIntegerField(default=0, constraints=[SQL("DEFAULT 0")])  # bytes

    @classmethod
    def named(cls, channel_id: str) -> Self | None:
        return cls.one("channel_id = ?", channel_id)

    @classmethod
    def begin(cls, channel_id: str, now: datetime) -> None:
        """There are to be objects of it, or other ones."""
        run(
            """INSERT INTO stored (channel_id, due_at) VALUES (?, ?)
               ON CONFLICT (channel_id) DO UPDATE SET due_at = excluded.due_at, tries = 0""",
            *(channel_id, to_ms(now)),
        )

    @classmethod
    def look_again(cls, channel_id: str, now: datetime) -> None:
        """Something has changed for this channel's objects, if it has any."""
        run("UPDATE stored SET due_at = ?, tries = 0 WHERE channel_id = ?", to_ms(now), channel_id)

    @classmethod
    def next(cls, now: datetime) -> Self | None:
        return cls.one("due_at <= ? ORDER BY due_at", to_ms(now))

    def over(self, size: int) -> None:
        """What was wanted is so, unless something has changed meanwhile; without objects there is no row."""
        same = "channel_id = ? AND due_at = ?"
        seen = self.channel_id, to_ms(self.due_at)
        if size:
            run(f"UPDATE stored SET due_at = NULL, tries = 0, size = ? WHERE {same}", size, *seen)  # noqa: S608
        else:
            run(f"DELETE FROM stored WHERE {same}", *seen)  # noqa: S608

    def put_off(self, until: datetime) -> None:
        """It has failed, and is tried again then."""
        run(
            "UPDATE stored SET due_at = ?, tries = tries + 1 WHERE channel_id = ? AND due_at = ?",
            *(to_ms(until), self.channel_id, to_ms(self.due_at)),
        )

    @classmethod
    def count(cls) -> tuple[int, int]:
        """How many channels wait for the store, and how many bytes it has."""
        [(pending, size)] = run("SELECT COUNT(due_at), COALESCE(SUM(size), 0) FROM stored")
        return pending, int(size)


CHORE_TABLES: list[type[Any]] = [Chore, Stored]
