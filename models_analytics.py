"""The tables of analytics: figures by minute and by hour, who is there now, how far the playback log was counted.

No foreign keys: figures outlive the channels and accounts that they are of. No addresses and no user agents.
"""

from typing import Any

from peewee import AutoField, BigIntegerField, CharField, CompositeKey, FloatField, IntegerField

from db import UtcField
from models import Session
from row import Row


class _Figures(Row):
    """Of one channel; of an account where channel_id is ''; of everybody where account_id is '' too."""

    pk = AutoField()
    channel_id = CharField()
    account_id = CharField()
    time = UtcField()  # when the minute or hour begins
    peak = IntegerField(default=0)  # viewers at the same moment
    views = IntegerField(default=0)
    watch_ms = BigIntegerField(default=0)
    bytes = BigIntegerField(default=0)
    broadcast_ms = BigIntegerField(default=0)
    # Looked at now and then while a publisher sends: sums, and how many they are of.
    looks = IntegerField(default=0)
    bitrate = BigIntegerField(default=0)  # kbit/s
    fps = FloatField(default=0)


class AudienceMinute(_Figures):
    pass


class AudienceHour(_Figures):
    pass


class AudienceNow(Row):
    """The channels that have viewers on a node or are sent from it."""

    channel_id = CharField()
    node = CharField()
    account_id = CharField()
    viewers = IntegerField()
    bitrate_out = BigIntegerField()  # bit/s, over the last 10 s

    class Meta:
        primary_key = CompositeKey("channel_id", "node")


class AudienceState(Row):
    """A row for each node: written with the figures, so that nothing counts twice or never."""

    node = CharField(primary_key=True)
    counted_mark = (
        CharField()
    )  # a place in the playback log (media/playlog.py): everything before it is counted
    counted_offset = BigIntegerField()
    again_mark = CharField()  # from here on it is read again to know who is there
    again_offset = BigIntegerField()
    broadcast_to = UtcField()  # time on air is counted up to this moment


for _figures, _name in ((AudienceMinute, "audience_minute"), (AudienceHour, "audience_hour")):
    _figures.add_index(
        _figures.channel_id, _figures.account_id, _figures.time, unique=True, name=f"{_name}_of"
    )
    _figures.add_index(_figures.time, _figures.account_id, name=f"{_name}_at")
Session.add_index(Session.stop_time, name="session_stopped")  # who was on air since a moment

ANALYTICS_TABLES: list[type[Any]] = [AudienceMinute, AudienceHour, AudienceNow, AudienceState]
