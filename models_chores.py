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

    @classmethod
    def waiting(cls) -> dict[str, int]:
        """The channels in the order in which it happened, each with its newest chore."""
        return dict(run("SELECT channel_id, MAX(pk) FROM chore GROUP BY channel_id ORDER BY MIN(pk)"))

    @classmethod
    def done(cls, channel_id: str, newest: int) -> None:
        """What was seen is done; what has happened since stays."""
        run("DELETE FROM chore WHERE channel_id = ? AND pk <= ?", channel_id, newest)


CHORE_TABLES: list[type[Any]] = [Chore]
