"""What goes in and what comes out, one schema each (contract, section 2); validated here only."""

from typing import Any

from marshmallow import fields, validate

from wire import (
    AccountId,
    Choice,
    CommaList,
    Instant,
    Metadata,
    Number,
    Region,
    StreamToken,
    Switch,
    Text,
    Wire,
)

MODES = ("normal", "low-latency", "ultra-low-latency")
PROFILES = ("1080p", "720p", "480p", "360p")
STATUSES = ("coming", "init", "live", "ended", "error")
PLAYBACKS = ("public", "signed")
HEALTHS = ("excellent", "acceptable", "unstable")
END_REASONS = ("stop_timeout", "expired", "stopped", "limit")


def one_of(options: tuple[str, ...], **kw: Any) -> fields.String:
    """A text that goes out and is one of these."""
    return fields.String(validate=validate.OneOf(options), **kw)


class ChannelUpdate(Wire):
    """What may be changed later; partial: only the fields sent are in the result."""

    name = Text(1, 255, trim=True)
    description = Text(0, 5000, lines=True)
    tags = CommaList(20, 50)
    catchup = Switch()
    record = Switch()
    dvr = Switch()
    thumbnail = Switch()
    thumb_width = Number(50, 1920)
    thumb_height = Number(50, 1080)
    thumb_interval = Number(5, 100)
    transcode_profile = CommaList(4, 5, PROFILES)
    mode = Choice(MODES)
    stop_timeout = Number(0, 1800)
    start_at = Instant(allow_none=True)
    playback = Choice(PLAYBACKS)
    metadata = Metadata()


class ChannelCreate(ChannelUpdate):
    """Every field of a new channel, with the defaults of the contract."""

    name = Text(1, 255, trim=True, required=True)
    description = Text(0, 5000, lines=True, load_default="")
    account_id = AccountId()
    tags = CommaList(20, 50, load_default=list)
    catchup = Switch(load_default=True)
    record = Switch(load_default=False)
    dvr = Switch(load_default=False)
    thumbnail = Switch(load_default=False)
    thumb_width = Number(50, 1920, load_default=400)
    thumb_height = Number(50, 1080, load_default=400)
    thumb_interval = Number(5, 100, load_default=10)
    expire = Number(60, 604800, load_default=86400)
    transcode_profile = CommaList(4, 5, PROFILES, load_default=lambda: list(PROFILES))
    mode = Choice(MODES, load_default="normal")
    stop_timeout = Number(0, 1800, load_default=600)
    stream_token = StreamToken(load_default=None, allow_none=False)
    start_at = Instant(allow_none=True, load_default=None)
    playback = Choice(PLAYBACKS, load_default="public")
    region = Region(load_default="")
    metadata = Metadata(load_default=dict)


class Page(Wire):
    page = Number(0, 1_000_000, load_default=0)
    length = Number(1, 100, load_default=10)


class ChannelQuery(Page):
    order = Choice(("desc", "asc"), load_default="desc")
    status = CommaList(5, 10, STATUSES)
    account_id = AccountId()
    query = Text(0, 255)
    tags = CommaList(20, 50)
    from_ = Instant(word=True, data_key="from")
    to = Instant(word=True)


class StopQuery(Wire):
    delete = Switch(load_default=False)


class TokenReset(Wire):
    disconnect = Switch(load_default=False)


class PlaybackCreate(Wire):
    expires_in = Number(1, 604800, load_default=3600)


class NoQuery(Wire):
    """For calls that take no query parameters: any is refused by name."""


class ChannelOut(Wire):
    """The channel object, in the contract's order. Dumped from live/snapshot.py."""

    id = fields.String()
    name = fields.String()
    description = fields.String()
    account_id = fields.String()
    tags = fields.List(fields.String())
    mode = one_of(MODES)
    catchup = fields.Boolean()
    record = fields.Boolean()
    dvr = fields.Boolean()
    thumbnail = fields.Boolean()
    thumb_width = fields.Integer()
    thumb_height = fields.Integer()
    thumb_interval = fields.Integer()
    expire = fields.Integer()
    transcode_profile = fields.List(fields.String())
    stop_timeout = fields.Integer()
    start_at = Instant(allow_none=True)
    playback = one_of(PLAYBACKS)
    metadata = fields.Dict()
    status = one_of(STATUSES)
    health = one_of(HEALTHS, allow_none=True)
    duration = fields.Integer()
    created_at = Instant()
    start_time = Instant(allow_none=True)
    stop_time = Instant(allow_none=True)
    livestream_url = fields.String(allow_none=True)
    video_url = fields.String(allow_none=True)
    record_url = fields.List(fields.String())
    thumbnail_url = fields.String(allow_none=True)
    dvr_url = fields.String(allow_none=True)
    updated_at = Instant()
    publishing = fields.Boolean()
    health_reasons = fields.List(fields.String())
    end_reason = one_of(END_REASONS, allow_none=True)
    node = fields.String(allow_none=True)
    region = fields.String()


class StreamOut(Wire):
    """The answer to `/rtmp`: the two fields for an encoder, and the node that they lead to, with its region."""

    id = fields.String()
    stream_id = fields.String()
    stream_url = fields.String()
    stream_token = fields.String()
    node = fields.String(allow_none=True)
    region = fields.String()


class CreatedOut(StreamOut):
    created_at = Instant()
    ingest = fields.Dict(values=fields.String())


class PlaybackOut(Wire):
    """Addresses for viewers; `expiresAt` is null where they do not expire. `livestreamUrl` and `dvrUrl` are null once
    it is over, `videoUrl` before."""

    livestream_url = fields.String(allow_none=True)
    dvr_url = fields.String(allow_none=True)
    video_url = fields.String(allow_none=True)
    record_url = fields.List(fields.String())
    thumbnail_url = fields.String(allow_none=True)
    storyboard_url = fields.String(allow_none=True)
    download_url = fields.String(allow_none=True)
    watch_url = fields.String()
    expires_at = Instant(allow_none=True)


class SessionOut(Wire):
    id = fields.String()
    start_time = Instant()
    stop_time = Instant(allow_none=True)
    duration = fields.Integer()
    client_ip = fields.String()
    encoder = fields.String()
    video = fields.Dict(allow_none=True)
    audio = fields.Dict(allow_none=True)
    bytes_in = fields.Integer()
    end_reason = fields.String(allow_none=True)
    node = fields.String()


class ReceivedOut(Wire):
    """What is coming in now; `bitrate` in kbit/s, over the last ten seconds.

    `renditions`: what viewers can choose from, each with `name, width, height, fps, bitrate, state`: `source` as it
    comes in, `transcoded`, or `left_out` for a `reason` (`no_room`, `overloaded`, `failed`, `switched_off`,
    `ultra_low_latency`, `media_server`).
    """

    session_id = fields.String(allow_none=True)
    encoder = fields.String(allow_none=True)
    start_time = Instant(allow_none=True)
    video = fields.Dict(allow_none=True)
    audio = fields.Dict(allow_none=True)
    bitrate = fields.Integer(allow_none=True)
    bytes_in = fields.Integer(allow_none=True)
    renditions = fields.List(fields.Dict(), allow_none=True)


class TimelineOut(Wire):
    event = fields.String(attribute="kind")
    time = Instant()
    detail = fields.Dict()


# The service itself (contract, sections 1 and 7).


class AboutOut(Wire):
    version = fields.String()
    status = fields.String()
    release = fields.String()


class AliveOut(Wire):
    alive = fields.Boolean()


class ReadyOut(Wire):
    database = fields.String()
    worker = fields.String()
    media = fields.String()
