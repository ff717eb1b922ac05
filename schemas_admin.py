"""What goes in and what comes out around the channels: tokens, users, audit, feed, statistics (contract 1, 4, 6)."""

from marshmallow import fields

from schemas import ChannelOut, Page, one_of
from schemas_webhook import EVENTS
from wire import AccountId, Choice, CommaList, Instant, Number, Text, Wire

ROLES = ("admin", "app", "read")
# What JSON readers everywhere hold exactly (RFC 8259, section 6).
LARGEST = 2**53 - 1


class TokenCreate(Wire):
    role = Choice(ROLES, required=True)
    account_id = AccountId(allow_none=True, load_default=None)
    expires_at = Instant(allow_none=True, load_default=None)
    name = Text(0, 255, trim=True, load_default="")


class TokenOut(Wire):
    """A token without its secret, which only the answer to create carries."""

    id = fields.String()
    role = one_of(ROLES)
    account_id = fields.String(allow_none=True)
    expires_at = Instant(allow_none=True)
    name = fields.String()
    created_at = Instant()
    last_used_at = Instant(allow_none=True)


class TokenSecretOut(Wire):
    id = fields.String()
    secret = fields.String()
    role = one_of(ROLES)
    account_id = fields.String(allow_none=True)
    expires_at = Instant(allow_none=True)
    name = fields.String()
    created_at = Instant()


class LimitsIn(Wire):
    """Any of them; null is no limit."""

    max_channels = Number(0, LARGEST, allow_none=True)
    max_live = Number(0, LARGEST, allow_none=True)
    max_duration = Number(0, LARGEST, allow_none=True)
    max_bitrate = Number(0, LARGEST, allow_none=True)
    max_height = Number(0, LARGEST, allow_none=True)
    max_storage = Number(0, LARGEST, allow_none=True)


class UserUpdate(Wire):
    name = Text(0, 255, trim=True)
    limits = fields.Nested(LimitsIn)


class UserCreate(UserUpdate):
    account_id = AccountId(required=True, data_key="id")


class UsageOut(Wire):
    channels = fields.Integer()
    live = fields.Integer()
    storage = fields.Integer()


class LimitsOut(Wire):
    max_channels = fields.Integer(allow_none=True)
    max_live = fields.Integer(allow_none=True)
    max_duration = fields.Integer(allow_none=True)
    max_bitrate = fields.Integer(allow_none=True)
    max_height = fields.Integer(allow_none=True)
    max_storage = fields.Integer(allow_none=True)


class UserOut(Wire):
    id = fields.String(attribute="account_id")
    name = fields.String()
    limits = fields.Nested(LimitsOut)
    usage = fields.Nested(UsageOut)
    created_at = Instant()
    updated_at = Instant()


class AuditQuery(Page):
    token_id = Text(0, 64)
    account_id = AccountId()
    action = Text(0, 64)
    kind = Text(0, 64)
    target = Text(0, 255)
    from_ = Instant(word=True, data_key="from")
    to = Instant(word=True)


class AuditOut(Wire):
    time = Instant()
    token_id = fields.String()
    account_id = fields.String(allow_none=True)
    action = fields.String()
    kind = fields.String()
    target = fields.String()
    client_ip = fields.String()
    request_id = fields.String()


class FeedQuery(Wire):
    after = Number(0, LARGEST, load_default=0)
    length = Number(1, 1000, load_default=100)
    channel_id = Text(0, 255)
    event = CommaList(10, 20, (*EVENTS, "all"))


class EventOut(ChannelOut):
    """The channel object as it was at that moment, with what makes it an event."""

    event = one_of(EVENTS)
    event_time = fields.Integer()
    event_id = fields.Integer()
    seq = fields.Integer()
    session_id = fields.String(allow_none=True)


class ChannelsByStatusOut(Wire):
    coming = fields.Integer()
    init = fields.Integer()
    live = fields.Integer()
    ended = fields.Integer()
    error = fields.Integer()


class DeliveriesOut(Wire):
    pending = fields.Integer()
    failed = fields.Integer()


class StorageOut(Wire):
    used = fields.Integer(allow_none=True)
    free = fields.Integer()


class MemoryOut(Wire):
    used = fields.Integer()
    total = fields.Integer()


class PartsOut(Wire):
    database = fields.String()
    worker = fields.String()
    media = fields.String()


class NodeOut(Wire):
    """A media node; `publishers` are those that it has now, `capacity` null where it has none set."""

    name = fields.String()
    status = one_of(("up", "draining", "lost"))
    region = fields.String()
    capacity = fields.Integer(allow_none=True)
    publishers = fields.Integer()
    public_url = fields.String()
    rtmp_url = fields.String()
    started_at = Instant()
    lost_at = Instant(allow_none=True)


class StatisticsOut(Wire):
    """Bytes, seconds, bit/s; cpu is the share of all cores in use, 0 to 1."""

    channels = fields.Nested(ChannelsByStatusOut)
    sessions = fields.Integer()
    viewers = fields.Integer(allow_none=True)
    bitrate_in = fields.Integer()
    bitrate_out = fields.Integer(allow_none=True)
    deliveries = fields.Nested(DeliveriesOut)
    storage = fields.Nested(StorageOut)
    cpu = fields.Float(allow_none=True)
    memory = fields.Nested(MemoryOut)
    uptime = fields.Integer()
    versions = fields.Dict(keys=fields.String(), values=fields.String())
    parts = fields.Nested(PartsOut)
    nodes = fields.List(fields.Nested(NodeOut))
