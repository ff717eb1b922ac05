"""Lists of channels, sessions and timeline entries: filters and pages (contract, section 2)."""

from datetime import datetime
from typing import Any, NamedTuple

from peewee import ModelSelect

from errors import InvalidError
from live.text import folded
from models import Channel, ChannelTag, Session, TimelineEntry
from wire import NOW


class Page(NamedTuple):
    rows: list[Any]
    total: int


def channels(asked: dict[str, Any], account_id: str | None, now: datetime) -> Page:
    """The channels that match ChannelQuery's fields, of one account where the token is bound to it."""
    found = Channel.select()
    if account_id:
        found = found.where(Channel.account_id == account_id)
    if "account_id" in asked:
        found = found.where(Channel.account_id == asked["account_id"])
    if asked.get("status"):
        found = found.where(Channel.status.in_(asked["status"]))
    if asked.get("query"):
        found = found.where(Channel.name_folded.contains(folded(asked["query"])))
    if asked.get("tags"):
        tagged = ChannelTag.select(ChannelTag.channel).where(ChannelTag.tag.in_(asked["tags"]))
        found = found.where(Channel.pk.in_(tagged))
    start, end = (_moment(asked.get(name), now) for name in ("from_", "to"))
    if start and end and start > end:
        raise InvalidError.field("from", "Must not be after `to`.")
    if start:
        found = found.where(Channel.listed_at >= start)
    if end:
        found = found.where(Channel.listed_at < end)
    order = (Channel.listed_at, Channel.pk)
    if asked["order"] == "desc":
        order = tuple(column.desc() for column in order)
    return _page(found.order_by(*order), asked)


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
