"""The tables of media nodes: which there are, and which has something of a channel on its disk (docs/nodes.md)."""

from collections.abc import Collection
from typing import Any, Self

from peewee import BigIntegerField, BooleanField, CharField, CompositeKey, IntegerField, TextField

from db import UtcField, run
from row import Row


class Node(Row):
    """A machine with a media server and a worker."""

    name = CharField(primary_key=True)
    box = CharField()  # whose DATA_DIR it is: two boxes of one name would undo each other's work
    region = CharField()  # "" is none
    capacity = IntegerField(null=True)  # publishers that it is to have at most
    public_url = TextField()
    rtmp_url = TextField()
    rtmps_url = TextField(null=True)
    srt_url = TextField(null=True)
    whip_url = TextField(null=True)
    started_at = UtcField()
    beats = (
        BigIntegerField()
    )  # counted up while it is well; whoever sees that it stops says that the node is lost
    lost_at = UtcField(null=True)
    lost_upto = (
        BigIntegerField()
    )  # the newest session when it was last lost: this one and older ones ended then
    draining = BooleanField()

    @classmethod
    def everyone(cls) -> list[Self]:
        return sorted(cls.some("1 = 1"), key=lambda each: each.name)

    @classmethod
    def is_lost(cls, name: str) -> bool:
        """Also one that is no more."""
        return not run("SELECT 1 FROM node WHERE name = ? AND lost_at IS NULL", name)

    @property
    def up(self) -> bool:
        return self.lost_at is None

    @property
    def status(self) -> str:
        return "lost" if not self.up else "draining" if self.draining else "up"


class Fact(Row):
    """What all boxes of an installation have to agree about."""

    name = CharField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "installation"


class ChannelNode(Row):
    """A node that has, or had, a folder of this channel. No foreign key: it outlives the channel, whose files go last.

    A trigger writes it with each session.
    """

    channel_id = CharField()
    node = CharField()

    class Meta:
        table_name = "channel_node"
        primary_key = CompositeKey("channel_id", "node")

    @classmethod
    def has(cls, channel_ids: Collection[str], node: str) -> set[str]:
        """Returns which were not known. Only those are written: thousands are asked about again and again."""
        known = run(
            "SELECT channel_id FROM channel_node WHERE node = ? AND channel_id IN (?)", node, [*channel_ids]
        )
        news = set(channel_ids) - {name for (name,) in known}
        for channel_id in news:
            run(
                """INSERT INTO channel_node (channel_id, node) VALUES (?, ?)
                   ON CONFLICT (channel_id, node) DO NOTHING""",
                *(channel_id, node),
            )
        return news

    @classmethod
    def gone(cls, channel_id: str, node: str) -> None:
        """The folder is removed, and there will be no other: the channel is over."""
        run("DELETE FROM channel_node WHERE channel_id = ? AND node = ?", channel_id, node)


NODE_TABLES: list[type[Any]] = [Node, Fact, ChannelNode]
