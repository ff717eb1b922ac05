"""The tables of videos and of what lists count by; the full-text tables are live/fulltext.py's."""

from enum import StrEnum
from typing import Any, Self

from peewee import (
    SQL,
    AutoField,
    BigIntegerField,
    CharField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    ModelSelect,
    TextField,
)

from db import JsonField, UtcField
from models import Channel
from row import Row


class ChannelCount(Row):
    """How many channels an account has with a tag in a status. '' stands for all: accounts, or channels whatever
    their tags. Triggers keep it."""

    account_id = CharField()
    tag = CharField()
    status = CharField()
    n = IntegerField()

    class Meta:
        table_name = "channel_count"
        primary_key = CompositeKey("account_id", "tag", "status")


class VideoType(StrEnum):
    CATCHUP = "catchup"
    RECORD = "record"


class Video(Row):
    """What is left of a broadcast. `path` and `thumbnail` are below DATA_DIR/media and, for viewers, /play.

    A catch-up is many files; the one to download is made when it is asked for, and goes again (`download`).
    """

    pk = AutoField()
    id = CharField(unique=True)
    channel = ForeignKeyField(Channel, backref="videos", on_delete="CASCADE", index=False)
    account_id = CharField()
    name = TextField()
    tags = JsonField()
    type = CharField()
    path = TextField()
    thumbnail = TextField(null=True)
    duration = IntegerField()  # seconds
    size = BigIntegerField()  # bytes
    created_at = UtcField()
    session_id = CharField(null=True)  # of a recording
    node = CharField(default="main", constraints=[SQL("DEFAULT 'main'")])  # which has its files
    asked_at = UtcField(null=True)  # when its download was last asked for
    download = CharField(null=True)  # "ready" or "failed", null until it has been made
    download_size = BigIntegerField(default=0, constraints=[SQL("DEFAULT 0")])
    moved_at = UtcField(null=True)  # to the store

    @classmethod
    def with_channel(cls) -> ModelSelect:
        return cls.select(cls, Channel.pk, Channel.id).join(Channel)

    @classmethod
    def among(cls, pks: list[int]) -> list[Self]:
        return list(cls.with_channel().where(cls.pk.in_(pks)))


class VideoTag(Row):
    """A video's tags once more, as ChannelTag has those of channels."""

    video = ForeignKeyField(Video, backref="tag_rows", on_delete="CASCADE")
    tag = CharField()
    account_id = CharField()
    created_at = UtcField()

    class Meta:
        table_name = "video_tag"


Video.add_index(Video.created_at, Video.pk, name="video_listed")
Video.add_index(Video.index(Video.asked_at, name="video_asked").where(Video.asked_at.is_null(False)))
Video.add_index(Video.account_id, Video.created_at, Video.pk, name="video_listed_by_account")
Video.add_index(Video.channel, Video.created_at, Video.pk, name="video_listed_by_channel")
Video.add_index(Video.type, Video.created_at, Video.pk, name="video_listed_by_type")
VideoTag.add_index(
    *(VideoTag.tag, VideoTag.created_at, VideoTag.video, VideoTag.account_id), name="video_tag_listed"
)

SEARCH_TABLES: list[type[Any]] = [ChannelCount, Video, VideoTag]
