"""What analytics take and give (contract, section 6)."""

from typing import Any

from marshmallow import fields

from schemas import one_of
from wire import AccountId, Choice, Instant, Number, Text, Wire

INTERVALS = ("minute", "hour", "day")
MOST_MINUTES = 1440


def figure(words: str, **kw: Any) -> fields.Integer:
    return fields.Integer(metadata={"description": words}, **kw)


class AnalyticsQuery(Wire):
    from_ = Instant(word=True, data_key="from")
    to = Instant(word=True)
    interval = Choice(INTERVALS, load_default="hour")
    channel_id = Text(0, 255)
    account_id = AccountId()


class ChannelStatisticsQuery(Wire):
    minutes = Number(1, MOST_MINUTES, load_default=60)


class CountedOut(Wire):
    """What is counted of a span of time."""

    ccu = figure("Peak concurrent viewers: the most that were there at the same moment.")
    views = figure("Viewers who came, or came again after more than 30 s without a request.")
    watch_time = figure("Seconds between the first and the last request of each viewer, summed up.")
    broadcast_time = figure("Seconds during which a publisher was connected and sending.")
    bytes_out = figure("Bytes of playlists and segments sent to viewers.")


class TimedOut(Wire):
    time = Instant(metadata={"description": "When the interval begins."})


class ChannelNameOut(Wire):
    channel_id = fields.String()
    account_id = fields.String()
    name = fields.String(allow_none=True, metadata={"description": "null when the channel is deleted."})


# Of the bases the last one's fields come first.
class CountedPointOut(CountedOut, TimedOut):
    pass


class TopChannelOut(CountedOut, ChannelNameOut):
    pass


class AnalyticsOut(Wire):
    from_ = Instant(data_key="from")
    to = Instant()
    interval = one_of(INTERVALS)
    channel_id = fields.String(allow_none=True)
    account_id = fields.String(allow_none=True)
    totals = fields.Nested(CountedOut)
    series = fields.List(fields.Nested(CountedPointOut))
    top_channels = fields.List(fields.Nested(TopChannelOut))


class ChannelPointOut(CountedPointOut):
    """A minute of a channel. Bit/s and frames/s."""

    bitrate_in = fields.Integer(allow_none=True)
    bitrate_out = fields.Integer()
    fps = fields.Float(allow_none=True)


class ChannelStatisticsOut(Wire):
    bitrate_in = figure("Bit/s from the publisher, over its last 10 s.", allow_none=True)
    bitrate_out = figure("Bit/s to viewers, over the last 10 s.", allow_none=True)
    fps = fields.Float(allow_none=True)
    uptime = figure("Seconds that the running session has been sending; 0 where there is none.")
    viewers = figure("Who made a request within the last 30 s.", allow_none=True)
    peak_viewers = figure("The most that were there at the same moment, ever.")
    total_views = fields.Integer()
    watch_time = figure("Seconds, of all viewers, ever.")
    series = fields.List(fields.Nested(ChannelPointOut))
