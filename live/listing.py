"""Lists of channels, videos, sessions and timeline entries: filters and pages (contract, sections 2 and 5)."""

from datetime import datetime
from typing import Any, NamedTuple

from peewee import ModelSelect

from db import to_ms
from errors import ForbiddenError, InvalidError
from live import fulltext
from live.selection import CHANNELS, Condition, Key, Kind, Selection, page
from live.text import folded
from models import Channel, Session, TimelineEntry
from wire import NOW


class Page(NamedTuple):
    rows: list[Any]
    total: int


def channels(asked: dict[str, Any], account_id: str | None, now: datetime) -> Page:
    """The channels that match ChannelQuery's fields, of one account where the token is bound to it."""
    wanted = selection(CHANNELS, asked, account_id, now)
    if asked.get("query"):
        part = folded(asked["query"])
        wanted.text = fulltext.containing(part)
        wanted.check = Condition("name_folded", "instr(name_folded, ?) > 0", [part])
    return Page(read(Channel.select(), page([wanted], asked)), wanted.total())


def selection(kind: Kind, asked: dict[str, Any], account_id: str | None, now: datetime) -> Selection:
    """What all lists of channels and videos filter by: account, status, tags, from and to."""
    if account_id and asked.get("account_id", account_id) != account_id:
        raise ForbiddenError("This token is for another account; leave accountId out.")
    wanted = Selection(kind, tags=asked.get("tags", []))
    wanted.where("account_id", "account_id = ?", account_id or asked.get("account_id"))
    if asked.get("status"):
        wanted.where("status", "status IN (?)", asked["status"])
    start, end = (_moment(asked.get(name), now) for name in ("from_", "to"))
    if start and end and start > end:
        raise InvalidError.field("from", "Must not be after `to`.")
    wanted.where(kind.time, f"{kind.time} >= ?", start and to_ms(start))
    wanted.where(kind.time, f"{kind.time} < ?", end and to_ms(end))
    return wanted


def read(rows: ModelSelect, keys: list[Key]) -> list[Any]:
    """Of these rows those of the keys, in their order."""
    if not keys:
        return []
    found = {row.pk: row for row in rows.where(rows.model.pk.in_([key.pk for key in keys]))}
    return [found[key.pk] for key in keys if key.pk in found]  # less what was deleted meanwhile


def sessions(channel: Channel, asked: dict[str, Any]) -> Page:
    return _page(Session.select().where(Session.channel == channel).order_by(Session.pk.desc()), asked)


def timeline(channel: Channel, asked: dict[str, Any]) -> Page:
    found = TimelineEntry.select().where(TimelineEntry.channel == channel)
    return _page(found.order_by(TimelineEntry.pk.desc()), asked)


def open_sessions(channels: list[Channel]) -> dict[int, Session]:
    """The open session of each of these channels, by the channel's key: one query for a whole list."""
    if not channels:
        return {}
    found = Session.select().where(Session.channel.in_(channels) & Session.stop_time.is_null())
    return {session.channel_id: session for session in found}


def _page(found: ModelSelect, asked: dict[str, Any]) -> Page:
    rows = list(found.limit(asked["length"]).offset(asked["page"] * asked["length"]))
    return Page(rows, found.count())


def _moment(value: datetime | str | None, now: datetime) -> datetime | None:
    return now if value == NOW else value
