"""The tables of channels whose files, here or in the store, are to be looked after. Triggers write the first,
whoever changes a row (migration 5)."""

from datetime import datetime
from typing import Any, Self

from peewee import SQL, AutoField, BigIntegerField, CharField, CompositeKey, IntegerField

from db import UtcField, run, to_ms
from row import Row


class Chore(Row):
    """Something happened to this channel that may leave work on disk; what it is, is seen there and in the rows.

    No foreign key: it outlives its channel, whose files go last.
    """

    pk = AutoField()
    channel_id = CharField()
    node = CharField(null=True)  # whose disk it is about; null where no node has anything of the channel

    @classmethod
    def waiting(cls, node: str) -> dict[str, int]:
        """The channels of which this node has something to do, in the order in which it happened, each with its
        newest chore."""
        mine = "node = ? OR node IS NULL"
        sql = f"SELECT channel_id, MAX(pk) FROM chore WHERE {mine} GROUP BY channel_id ORDER BY MIN(pk)"  # noqa: S608
        return dict(run(sql, node))

    @classmethod
    def done(cls, channel_id: str, newest: int, node: str) -> None:
        """What was seen is done; what has happened since stays, and what others have to do."""
        mine = "channel_id = ? AND pk <= ? AND (node = ? OR node IS NULL)"
        run(f"DELETE FROM chore WHERE {mine}", channel_id, newest, node)  # noqa: S608


class Stored(Row):
    """A channel of which a node has put something into the store, or may have: written before the first object, gone
    after the last.

    No foreign key, for the same reason.
    """

    channel_id = CharField()
    node = CharField()
    due_at = UtcField(null=True, index=True)  # when its objects are to be compared with what is wanted
    tries = IntegerField(default=0, constraints=[SQL("DEFAULT 0")])  # that failed, since one did not
    size = BigIntegerField(default=0, constraints=[SQL("DEFAULT 0")])  # bytes of what this node put there

    class Meta:
        primary_key = CompositeKey("channel_id", "node")

    @classmethod
    def named(cls, channel_id: str) -> Self | None:
        return cls.one("channel_id = ?", channel_id)

    @classmethod
    def begin(cls, channel_id: str, node: str, now: datetime) -> None:
        """There are to be objects of it."""
        run(
            """INSERT INTO stored (channel_id, node, due_at) VALUES (?, ?, ?)
               ON CONFLICT (channel_id, node) DO UPDATE SET due_at = excluded.due_at, tries = 0""",
            *(channel_id, node, to_ms(now)),
        )

    @classmethod
    def look_again(cls, channel_id: str, now: datetime) -> None:
        """Something has changed for this channel's objects, if it has any."""
        run("UPDATE stored SET due_at = ?, tries = 0 WHERE channel_id = ?", to_ms(now), channel_id)

    @classmethod
    def next(cls, node: str, now: datetime) -> Self | None:
        """Of this node; and what a node that is lost has left of a channel that is no more."""
        return cls.one(
            """due_at <= ? AND (node = ? OR NOT EXISTS (SELECT 1 FROM channel WHERE id = stored.channel_id)
                 AND NOT EXISTS (SELECT 1 FROM node WHERE name = stored.node AND lost_at IS NULL))
               ORDER BY due_at""",
            *(to_ms(now), node),
        )

    def over(self, size: int) -> None:
        """What was wanted is so, unless something has changed meanwhile; without objects there is no row."""
        if size:
            self._unless_changed("UPDATE stored SET due_at = NULL, tries = 0, size = ?", size)
        else:
            self._unless_changed("DELETE FROM stored")

    def put_off(self, until: datetime) -> None:
        """It has failed, and is tried again then."""
        self._unless_changed("UPDATE stored SET tries = tries + 1, due_at = ?", to_ms(until))

    def _unless_changed(self, act: str, *values: int) -> None:
        seen = self.channel_id, self.node, to_ms(self.due_at)
        run(f"{act} WHERE channel_id = ? AND node = ? AND due_at = ?", *values, *seen)

    @classmethod
    def count(cls) -> tuple[int, int]:
        """How many channels wait for the store, and how many bytes it has."""
        [(pending, size)] = run("SELECT COUNT(due_at), COALESCE(SUM(size), 0) FROM stored")
        return pending, int(size)


CHORE_TABLES: list[type[Any]] = [Chore, Stored]
