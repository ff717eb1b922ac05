"""Lists: filters and pages (contract, sections 2, 3, 5 and 6)."""

from datetime import datetime
from typing import Any, NamedTuple

from peewee import Field, ModelSelect

from db import to_ms
from errors import InvalidError
from live import fulltext
from live.selection import CHANNELS, Condition, Key, Kind, Selection, page
from live.text import folded
from models import Channel, Event, Session, Status, TimelineEntry
from models_access import AuditEntry
from models_search import Video
from wire import NOW


class Page(NamedTuple):
    rows: list[Any]
    total: int


def channels(asked: dict[str, Any], now: datetime) -> Page:
    """The channels that match ChannelQuery's fields."""
    wanted = _channels(asked, now)
    return Page(read(Channel, page([wanted], asked)), wanted.total())


def channels_by_status(asked: dict[str, Any], now: datetime) -> dict[str, int]:
    """How many of them have each status, whichever is asked for."""
    return {status.value: _channels(asked | {"status": [status.value]}, now).total() for status in Status}


def _channels(asked: dict[str, Any], now: datetime) -> Selection:
    wanted = selection(CHANNELS, asked, now)
    if asked.get("query"):
        part = folded(asked["query"])
        wanted.text = fulltext.containing(part)
        wanted.check = Condition("name_folded", *fulltext.contains(part))
    return wanted


def selection(kind: Kind, asked: dict[str, Any], now: datetime) -> Selection:
    """What all lists of channels and videos filter by: account, status, tags, from and to."""
    wanted = Selection(kind, tags=asked.get("tags", []))
    wanted.where("account_id", "account_id = ?", asked.get("account_id"))
    if asked.get("status"):
        wanted.where("status", "status IN (?)", asked["status"])
    start, end = span(asked, now)
    wanted.where(kind.time, f"{kind.time} >= ?", start and to_ms(start))
    wanted.where(kind.time, f"{kind.time} < ?", end and to_ms(end))
    return wanted


def read(model: type[Channel] | type[Video], keys: list[Key]) -> list[Any]:
    """The rows of these keys, in their order, less what was deleted meanwhile."""
    found = {row.pk: row for row in model.among([key.pk for key in keys])} if keys else {}
    return [found[key.pk] for key in keys if key.pk in found]


def sessions(channel: Channel, asked: dict[str, Any]) -> Page:
    return paged(Session.select().where(Session.channel == channel).order_by(Session.pk.desc()), asked)


def timeline(channel: Channel, asked: dict[str, Any]) -> Page:
    found = TimelineEntry.select().where(TimelineEntry.channel == channel)
    return paged(found.order_by(TimelineEntry.pk.desc()), asked)


def open_sessions(channels: list[Channel]) -> dict[int, Session]:
    """The open session of each of these channels, by the channel's key: one query for a whole list."""
    if not channels:
        return {}
    found = Session.some("channel_id IN (?) AND stop_time IS NULL", [channel.pk for channel in channels])
    return {session.channel_id: session for session in found}


def feed(asked: dict[str, Any], account_id: str | None) -> Page:
    """The events after `asked["after"]`, in the order in which they were written."""
    # Without a channel: a restore's mark, which is nobody's event (upkeep/restore.py).
    found = Event.select().where((Event.id > asked["after"]) & (Event.channel_id != ""))
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
    start, end = span(asked, now)
    if start:
        found = found.where(time >= start)
    if end:
        found = found.where(time < end)
    return found


def span(asked: dict[str, Any], now: datetime) -> tuple[datetime | None, datetime | None]:
    """`from` (inclusive) and `to` (exclusive), either of which may be the word now."""
    start, end = (now if asked.get(name) == NOW else asked.get(name) for name in ("from_", "to"))
    if start and end and start > end:
        raise InvalidError.field("from", "Must not be after `to`.")
    return start, end


def paged(found: ModelSelect, asked: dict[str, Any]) -> Page:
    rows = list(found.limit(asked["length"]).offset(asked["page"] * asked["length"]))
    return Page(rows, found.count())
