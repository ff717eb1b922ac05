"""A channel as the wire shows it, at one moment: what GET answers and what events carry."""

from datetime import datetime
from typing import Any

from db import to_ms
from live.links import Links
from models import Channel, Session, Status
from schemas import ChannelOut


def channel_object(channel: Channel, session: Session | None, links: Links, now: datetime) -> dict[str, Any]:
    """The channel object of contract section 2; `session` is the open one, if there is one.

    Catch-up, recordings and pictures are not made yet, so theirs are null and empty.
    """
    live = channel.status == Status.LIVE
    return ChannelOut.show(
        channel.__data__
        | {
            "health": channel.health if live else None,
            "health_reasons": (channel.health_reasons or []) if live else [],
            "duration": on_air_ms(channel, session, now) // 1000,
            "publishing": session is not None,
            "livestream_url": links.livestream(channel),
            "video_url": None,
            "record_url": [],
            "thumbnail_url": None,
            "dvr_url": None,
        }
    )


def on_air_ms(channel: Channel, session: Session | None, now: datetime) -> int:
    """Milliseconds with a publisher connected and sending: all sessions, the running one included."""
    return channel.sent_ms + (session_ms(session, now) if session else 0)


def session_ms(session: Session, now: datetime) -> int:
    until = session.stop_time or session.silent_since or now
    return max(0, to_ms(until) - to_ms(session.start_time) - session.silent_ms)
