"""The outbox and the timeline. Called by lifecycle and videos, inside the transaction of the change it tells of."""

from datetime import datetime, timedelta
from typing import Any

from db import to_ms
from live.links import Links
from live.snapshot import channel_object
from live.telling import tell_later
from models import Channel, Delivery, Event, EventName, Session, TimelineEntry, Webhook, new_id
from wire import dump_json, iso

# A refused encoder that keeps trying costs no rows: its tries within this time are one entry.
REFUSED_TOGETHER = timedelta(hours=1)


def emit(
    name: EventName,
    channel: Channel,
    session: Session | None,
    links: Links,
    now: datetime,
    *,
    publishing: bool,
    also: dict[str, Any] | None = None,
) -> Event:
    """Write an event with its deliveries. `session` is the one it is about, open or just over; `also` is shown too."""
    channel.seq += 1
    event = Event.create(
        name=name,
        time=now,
        channel_id=channel.id,
        account_id=channel.account_id,
        seq=channel.seq,
        session_id=session.id if session else None,
        payload="",
    )
    event.payload = dump_json(
        {"event": name, "eventTime": to_ms(now)}
        | channel_object(channel, session if publishing else None, links, now)
        | (also or {})
        | {"eventId": event.id, "seq": event.seq, "sessionId": event.session_id}
    )
    event.keep()
    for webhook in subscribed(event):
        Delivery.create(
            id=new_id("dlv"),
            event=event,
            webhook_id=webhook.id,
            queue=channel.id,
            created_at=now,
            next_at=now,
        )
    return event


def subscribed(event: Event) -> list[Webhook]:
    """Active webhooks that want this event and may hear of its account."""
    may_hear = Webhook.some("active AND (account_id IS NULL OR account_id = ?)", event.account_id)
    return [webhook for webhook in may_hear if event.name in webhook.events]


def note(channel: Channel, kind: str, now: datetime, **detail: Any) -> None:
    """A line of the channel's timeline."""
    TimelineEntry.create(channel=channel, kind=kind, time=now, detail=detail)
    tell_later(kind, channel.id, detail)


def note_refused(channel: Channel | None, reason: str, client_ip: str, now: datetime) -> None:
    """A refused publisher; repeats from the same address for the same reason are counted in one entry."""
    who = {"reason": reason, "clientIp": client_ip}
    begins = dump_json(who)[:-1] + ","
    where, whose = ("channel_id = ?", [channel.pk]) if channel else ("channel_id IS NULL", [])
    entry = TimelineEntry.one(
        f"{where} AND time > ? AND kind = 'refused' AND SUBSTR(detail, 1, ?) = ?",
        *(*whose, to_ms(now - REFUSED_TOGETHER), len(begins), begins),
    )
    count = entry.detail["count"] if entry else 0
    detail = who | {"count": count + 1, "lastTime": iso(now)}
    if entry is None:
        TimelineEntry.create(channel=channel, kind="refused", time=now, detail=detail)
    else:
        entry.detail = detail
        entry.keep()
    tell_later("refused", channel.id if channel else None, who | {"count": count + 1})
