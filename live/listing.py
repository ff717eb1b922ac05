"""Lists: filters and pages (contract, sections 2, 3 and 6)."""

from datetime import datetime
from typing import Any, NamedTuple

from peewee import Field, ModelSelect

from errors import InvalidError
from live.text import folded
from models import AuditEntry, Channel, ChannelTag, Event, Session, TimelineEntry
from wire import NOW


class Page(NamedTuple):
    rows: list[Any]
    total: int


def channels(asked: dict[str, Any], now: datetime) -> Page:
    """The channels that match ChannelQuery's fields."""
    found = Channel.select()
    if asked.get("account_id"):
        found = found.where(Channel.account_id == asked["account_id"])
    if asked.get("status"):
        found = found.where(Channel.status.in_(asked["status"]))
    if asked.get("query"):
        found = found.where(Channel.name_folded.contains(folded(asked["query"])))
    if asked.get("tags"):
        tagged = ChannelTag.select(ChannelTag.channel).where(ChannelTag.tag.in_(asked["tags"]))
        found = found.where(Channel.pk.in_(tagged))
    found = within(found, Channel.listed_at, asked, now)
    order = (Channel.listed_at, Channel.pk)
    if asked["order"] == "desc":
        order = tuple(column.desc() for column in order)
    return paged(found.order_by(*order), asked)


def sessions(channel: Channel, asked: dict[str, Any]) -> Page:
    return paged(Session.select().where(Session.channel == channel).order_by(Session.pk.desc()), asked)


def timeline(channel: Channel, asked: dict[str, Any]) -> Page:
    found = TimelineEntry.select().where(TimelineEntry.channel == channel)
    return paged(found.order_by(TimelineEntry.pk.desc()), asked)


def open_sessions(channels: list[Channel]) -> dict[int, Session]:
    """The open session of each of these channels, by the channel's key: one query for a whole list."""
    if not channels:
        return {}
    found = Session.select().where(Session.channel.in_(channels) & Session.stop_time.is_null())
    return {session.channel_id: session for session in found}


def feed(asked: dict[str, Any], account_id: str | None) -> Page:
    """The events after `asked["after"]`, in the order in which they were written."""
    found = Event.select().where(Event.id > asked["after"])
    if account_id:
        found = found.where(Event.account_id == account_id)
    if asked.get("channel_id"):
        found = found.where(Event.channel_id == asked["channel_id"])
    if asked.get("event") and "all" not in asked["event"]:
        found = found.where(Event.name.in_(asked["event"]))
    return Page(list(found.order_by(Event.id).limit(asked["length"])), found.count())


def audit(asked: dict[str, Any], now: datetime) -> Page:
    """What AuditQuery's fields ask for, newest first."""
    found = AuditEntry.select()
    for name in ("token_id", "account_id", "action", "kind", "target"):
        if asked.get(name):
            found = found.where(getattr(AuditEntry, name) == asked[name])
    return paged(within(found, AuditEntry.time, asked, now).order_by(AuditEntry.pk.desc()), asked)


def within(found: ModelSelect, time: Field, asked: dict[str, Any], now: datetime) -> ModelSelect:
    """Limit to `from` (inclusive) and `to` (exclusive)."""
    start, end = (now if asked.get(name) == NOW else asked.get(name) for name in ("from_", "to"))
    if start and end and start > end:
        raise InvalidError.field("from", "Must not be after `to`.")
    if start:
        found = found.where(time >= start)
    if end:
        found = found.where(time < end)
    return found


def paged(found: ModelSelect, asked: dict[str, Any]) -> Page:
    rows = list(found.limit(asked["length"]).offset(asked["page"] * asked["length"]))
    return Page(rows, found.count())
