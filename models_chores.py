"""The table of channels whose files are to be looked after. Triggers write it, whoever changes a row (migration 5)."""

from typing import Any

from peewee import AutoField, CharField

from db import run
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


CHORE_TABLES: list[type[Any]] = [Chore]
