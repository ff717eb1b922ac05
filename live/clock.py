"""When a channel's timers act: pure, so that every rule of contract section 2 stands in one place."""

from datetime import datetime, timedelta

from models import Channel, Session, Status

EARLY_PUBLISH = timedelta(minutes=15)


def due_at(channel: Channel, session: Session | None) -> datetime | None:
    """The next moment at which this channel changes by itself; None if it does not. `session` is its open one.

    `expire` counts from creation or startAt and applies until the first publish; `stopTimeout` counts from the
    last departure, and does not run before startAt; a user's maxDuration counts the time on air.
    """
    if channel.over:
        return None
    if session:
        return _used_up_at(channel, session)
    if channel.status == Status.COMING:
        return channel.start_at
    if channel.published_at is None:
        # A startAt moved to before the creation cannot make a channel expire before it could be used.
        return _later(max(channel.created_at, channel.start_at or channel.created_at), channel.expire)
    return _later(max(channel.left_at, channel.start_at or channel.left_at), channel.stop_timeout)


def too_early(channel: Channel, now: datetime) -> bool:
    """A scheduled channel takes its publisher from 15 minutes before startAt on."""
    return channel.status == Status.COMING and now < channel.start_at - EARLY_PUBLISH


def _used_up_at(channel: Channel, session: Session) -> datetime | None:
    """When the duration will be the most that it may become: not while there is silence, which is no time on air."""
    if session.max_ms is None or session.silent_since:
        return None
    return _later(session.start_time, (session.max_ms - channel.sent_ms + session.silent_ms) / 1000)


def _later(moment: datetime, seconds: float) -> datetime | None:
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:  # a startAt in the last days of the year 9999, a limit of ages: never
        return None
