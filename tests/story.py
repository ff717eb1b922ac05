"""What happens to a channel, told to a lifecycle in few words; and what is left of it afterwards."""

import json
from datetime import datetime, timedelta
from typing import Any

from live.arrival import Arrival
from live.lifecycle import Lifecycle
from models import Channel, Event, Session, TimelineEntry
from schemas import ChannelCreate


def new(lifecycle: Lifecycle, now: datetime, **fields: Any) -> Channel:
    """A channel of these wire fields."""
    return lifecycle.create(ChannelCreate().load({"name": "A channel", "accountId": "1"} | fields), now)


def arrival(client_id: int = 1, instance: str = "aa", address: str = "192.0.2.1") -> Arrival:
    return Arrival(f"nginx-rtmp/{instance}/{client_id}", address, "FMLE/3.0")


def again(row: Any) -> Any:
    """The channel or session as it is now."""
    return type(row).get_by_id(row.pk)


def after(**parts: float) -> timedelta:
    return timedelta(**parts)


def events(channel: Channel | str) -> list[str]:
    """The names of the channel's events, in the order of the feed."""
    found = Event.select().where(Event.channel_id == id_of(channel)).order_by(Event.id)
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    return [event.name for event in found]


def payload(channel: Channel | str, name: str) -> dict[str, Any]:
    """What the newest event of this name says."""
    found = Event.select().where((Event.channel_id == id_of(channel)) & (Event.name == name))
    return json.loads(found.order_by(Event.id.desc()).first().payload)


def timeline(channel: Channel) -> list[str]:
    found = TimelineEntry.select().where(TimelineEntry.channel == channel.pk).order_by(TimelineEntry.pk)
    return [entry.kind for entry in found]


def sessions(channel: Channel) -> list[Session]:
    return list(Session.select().where(Session.channel == channel.pk).order_by(Session.pk))


def id_of(channel: Channel | str) -> str:
    return channel if isinstance(channel, str) else channel.id
