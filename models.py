"""The tables, their constraints, and queries that touch one table only."""

import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from peewee import (
    SQL,
    AutoField,
    BigIntegerField,
    BlobField,
    BooleanField,
    CharField,
    ForeignKeyField,
    IntegerField,
    TextField,
)

from db import JsonField, UtcField, to_ms
from row import Row


class Status(StrEnum):
    COMING = "coming"
    INIT = "init"
    LIVE = "live"
    ENDED = "ended"
    ERROR = "error"


class EndReason(StrEnum):
    """Why a channel ended (contract, section 2)."""

    STOP_TIMEOUT = "stop_timeout"
    EXPIRED = "expired"
    STOPPED = "stopped"
    LIMIT = "limit"


class Role(StrEnum):
    """What an API token may do (contract, section 1)."""

    ADMIN = "admin"
    APP = "app"
    READ = "read"


class EventName(StrEnum):
    """What a webhook can ask for and the feed shows (contract, section 3)."""

    CONNECTED = "channel_connected"
    LIVE = "channel_live"
    STOP = "channel_stop"
    ENDED = "channel_ended"
    ERROR = "channel_error"
    VIDEO_READY = "video_ready"
    TEST = "test"


def new_id(prefix: str) -> str:
    """An id that cannot be guessed: 80 random bits."""
    return f"{prefix}_{secrets.token_hex(10)}"


def new_stream_token() -> str:
    """A stream key of 160 random bits, in characters that need no care in a URL, a shell or a form."""
    return secrets.token_hex(20)


class Channel(Row):
    """One live event. `live/lifecycle.py` is the only place that assigns `status`."""

    pk = AutoField()
    id = CharField(unique=True)
    name = TextField()
    name_folded = TextField()
    description = TextField()
    account_id = CharField()
    tags = JsonField()
    mode = CharField()
    catchup = BooleanField()
    record = BooleanField()
    dvr = BooleanField()
    thumbnail = BooleanField()
    thumb_width = IntegerField()
    thumb_height = IntegerField()
    thumb_interval = IntegerField()
    expire = IntegerField()
    transcode_profile = JsonField()
    stop_timeout = IntegerField()
    stream_token = CharField(index=True)
    start_at = UtcField(null=True)
    playback = CharField()
    metadata = JsonField()
    status = CharField()
    end_reason = CharField(null=True)
    created_at = UtcField()
    updated_at = UtcField()
    start_time = UtcField(null=True)  # first time live
    stop_time = UtcField(null=True)  # when the last session ended
    published_at = UtcField(null=True)  # first publish: `expire` no longer applies
    left_at = UtcField(null=True)  # the publisher's last departure: `stopTimeout` counts from it
    listed_at = UtcField()  # startTime, or createdAt before there is one: what lists sort and filter by
    due_at = UtcField(null=True, index=True)  # the next moment at which a timer of this channel may act
    sent_ms = BigIntegerField(default=0)  # time on air of the sessions that are over
    seq = IntegerField(default=0)  # of its last event
    health = CharField(null=True)  # as it was last while live, with its reasons (live/health.py)
    health_reasons = JsonField(null=True)
    kept = JsonField(default=dict, constraints=[SQL("DEFAULT '{}'")])  # see live/videos.py
    node = CharField(
        default="main", constraints=[SQL("DEFAULT 'main'")]
    )  # of its last session, or of the next
    region = CharField(default="", constraints=[SQL("DEFAULT ''")])  # as asked for when it was made

    @classmethod
    def named(cls, channel_id: str) -> Self | None:
        return cls.one("id = ?", channel_id)

    @classmethod
    def among(cls, pks: list[int]) -> list[Self]:
        return cls.some("pk IN (?)", pks)

    @classmethod
    def holding(cls, stream_token: str) -> Self | None:
        """The channel that this token opens, or else the newest ended one that had it."""
        return cls.one("stream_token = ? ORDER BY status = 'ended', pk DESC", stream_token)

    @classmethod
    def due(cls, now: datetime) -> list[Self]:
        return cls.some("due_at <= ? ORDER BY due_at LIMIT 200", to_ms(now))

    @property
    def over(self) -> bool:
        return self.status == Status.ENDED


class ChannelTag(Row):
    """A channel's tags once more, one row each, with what lists filter and sort by: one index has it all.

    A trigger keeps account, status and time as the channel has them.
    """

    channel = ForeignKeyField(Channel, backref="tag_rows", on_delete="CASCADE")
    tag = CharField()
    account_id = CharField()
    status = CharField()
    listed_at = UtcField()

    class Meta:
        table_name = "channel_tag"


class Session(Row):
    """One connection of a publisher, from its accepted publish to its departure."""

    pk = AutoField()
    id = CharField(unique=True)
    channel = ForeignKeyField(Channel, backref="sessions", on_delete="CASCADE")
    # Media server kind, instance and the connection's number in it: a name would not tell a late "gone" of an
    # old connection from one of the new.
    connection = CharField(unique=True)
    client_ip = CharField()
    encoder = TextField()
    start_time = UtcField()
    stop_time = UtcField(null=True)
    live_at = UtcField(null=True)  # first playable output
    last_byte_at = UtcField()  # as the reconciler saw it, within its interval
    silent_since = UtcField(null=True)  # set while the reconciler sees no bytes arrive
    silent_ms = BigIntegerField(default=0)  # the silences that are over: no time on air
    bytes_in = BigIntegerField(default=0)
    bitrate = IntegerField(null=True)  # kbit/s over the last span that was measured
    measured_at = UtcField(null=True)  # where the present span began, and with how many bytes
    measured_bytes = BigIntegerField(null=True)
    max_ms = BigIntegerField(null=True)  # the most that the channel's duration may become, as of its arrival
    video = JsonField(default=dict)
    audio = JsonField(default=dict)
    end_reason = CharField(null=True)
    node = CharField(
        default="main", constraints=[SQL("DEFAULT 'main'")]
    )  # where it is, and what is left of it
    beyond_since = UtcField(null=True)  # set while it sends more than its account may
    warned = JsonField(
        null=True
    )  # by limit: when the timeline was last told that it is near, in milliseconds

    @classmethod
    def open_of(cls, channel: Channel) -> Self | None:
        return cls.one("channel_id = ? AND stop_time IS NULL", channel.pk)

    @classmethod
    def of_connection(cls, connection: str) -> Self | None:
        return cls.one("connection = ?", connection)

    @classmethod
    def all_open(cls, node: str | None = None) -> list[Self]:
        """Every open session with its channel, in one query; only those of a node if one is named."""
        found = cls.select(cls, Channel).join(Channel).where(cls.stop_time.is_null()).order_by(cls.pk)
        return list(found if node is None else found.where(cls.node == node))

    def starts(self) -> list[datetime]:
        """When the last sessions of the channel began, this one included, newest first."""
        last = Session.some("channel_id = ? ORDER BY pk DESC LIMIT 10", self.channel_id)
        return [session.start_time for session in last]


class TimelineEntry(Row):
    """What happened to a channel, for people to read; refused publishers of no channel have none."""

    pk = AutoField()
    channel = ForeignKeyField(Channel, backref="timeline", on_delete="CASCADE", null=True)
    time = UtcField()
    kind = CharField()
    detail = JsonField(default=dict)

    class Meta:
        table_name = "timeline"


class Event(Row):
    """The outbox and the feed: written with the change it tells of; outlives its channel."""

    id = AutoField()
    name = CharField()
    time = UtcField()
    channel_id = CharField(index=True)
    account_id = CharField()
    seq = IntegerField()
    session_id = CharField(null=True)
    payload = TextField()  # the bytes that are sent and signed


class Webhook(Row):
    """Where an App Server wants to hear of events."""

    pk = AutoField()
    id = CharField(unique=True)
    uri = TextField()
    events = JsonField()
    account_id = CharField(null=True)
    description = TextField(default="")
    secret = TextField()  # encrypted with the key file
    old_secret = TextField(null=True)  # one or more; they sign beside the new one until old_secret_until
    old_secret_until = UtcField(null=True)
    active = BooleanField(default=True)
    disabled_reason = TextField(null=True)
    failing_since = UtcField(null=True)
    created_at = UtcField()

    @classmethod
    def named(cls, webhook_id: str) -> Self | None:
        return cls.one("id = ?", webhook_id)


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Delivery(Row):
    """One event on its way to one webhook. No foreign key to the webhook: the row outlives it."""

    pk = AutoField()
    id = CharField(unique=True)
    event = ForeignKeyField(Event, backref="deliveries", on_delete="CASCADE", null=True)
    payload = TextField(null=True)  # of a test, which is no event: the feed never shows it
    webhook_id = CharField()
    # The channel's id: deliveries of one webhook and one queue go out in order. A redelivery or a test has a
    # queue of its own, so that it neither waits for nor holds up anything.
    queue = CharField()
    status = CharField(default=DeliveryStatus.PENDING)
    attempts = IntegerField(default=0)
    created_at = UtcField()
    # When it may be claimed; null behind an older one of its queue, or when over.
    next_at = UtcField(null=True)
    lease_until = UtcField(null=True)  # a worker has it until then; next_at is the same moment meanwhile


class Attempt(Row):
    """One try of a delivery, and what came of it."""

    pk = AutoField()
    delivery = ForeignKeyField(Delivery, backref="tries", on_delete="CASCADE")
    number = IntegerField()
    time = UtcField()
    status_code = IntegerField(null=True)
    latency_ms = IntegerField(null=True)
    answer = BlobField(null=True)  # its first 1 KiB
    error = TextField(null=True)


# Uniqueness that a check in Python could only promise: the database holds it, whoever races.
Channel.add_index(
    Channel.index(Channel.stream_token, unique=True, name="one_open_channel_per_token").where(
        Channel.status != SQL("'ended'")
    )
)
Session.add_index(
    Session.index(Session.channel, unique=True, name="one_open_session_per_channel").where(
        Session.stop_time.is_null()
    )
)

TimelineEntry.add_index(
    TimelineEntry.index(TimelineEntry.time, name="timeline_of_nobody").where(TimelineEntry.channel.is_null())
)
# What lists and the worker ask for again and again.
Session.add_index(Session.index(Session.node, name="session_open_at").where(Session.stop_time.is_null()))
Channel.add_index(Channel.listed_at, Channel.pk, name="channel_listed")
Channel.add_index(Channel.status, Channel.listed_at, Channel.pk, name="channel_listed_by_status")
Channel.add_index(Channel.account_id, Channel.listed_at, Channel.pk, name="channel_listed_by_account")
Channel.add_index(
    *(Channel.account_id, Channel.status, Channel.listed_at, Channel.pk),
    name="channel_listed_by_account_status",
)
Channel.add_index(Channel.mode, Channel.listed_at, Channel.pk, name="channel_listed_by_mode")
ChannelTag.add_index(
    *(ChannelTag.tag, ChannelTag.listed_at, ChannelTag.channel, ChannelTag.status), name="channel_tag_listed"
)
ChannelTag.add_index(
    *(ChannelTag.tag, ChannelTag.account_id, ChannelTag.listed_at, ChannelTag.channel, ChannelTag.status),
    name="channel_tag_listed_by_account",
)
Delivery.add_index(
    Delivery.index(Delivery.webhook_id, Delivery.queue, Delivery.pk, name="delivery_pending").where(
        Delivery.status == SQL("'pending'")
    )
)
Delivery.add_index(
    Delivery.index(Delivery.webhook_id, Delivery.next_at, Delivery.pk, name="delivery_due").where(
        SQL("status = 'pending' AND next_at IS NOT NULL")
    )
)
Delivery.add_index(Delivery.webhook_id, Delivery.pk, name="delivery_log")
Event.add_index(Event.account_id, Event.id, name="event_of_account")

TABLES: list[type[Any]] = [
    *(Channel, ChannelTag, Session, TimelineEntry, Event, Webhook, Delivery, Attempt),
]
