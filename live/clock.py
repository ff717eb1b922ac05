"""When a channel's timers act: pure, so that every rule of contract section 2 stands in one place."""

from datetime import datetime, timedelta

from models import Channel, Status

EARLY_PUBLISH = timedelta(minutes=15)


def due_at(channel: Channel, publishing: bool) -> datetime | None:
    """The next moment at which this channel changes by itself; None if it does not.

    `expire` counts from creation or startAt and applies until the first publish; `stopTimeout` counts from the
    last departure, and does not run before startAt.
    """
    if channel.over or publishing:
        return None
    if channel.status == Status.COMING:
        return channel.start_at
    if channel.published_at is None:
        # A startAt moved to before the creation cannot make a channel expire before it could be used.
        return _later(max(channel.created_at, channel.start_at or channel.created_at), channel.expire)
    return _later(max(channel.left_at, channel.start_at or channel.left_at), channel.stop_timeout)


def too_early(channel: Channel, now: datetime) -> bool:
    """A scheduled channel takes its publisher from 15 minutes before startAt on."""
    return channel.status == Status.COMING and now < channel.start_at - EARLY_PUBLISH


def _later(moment: datetime, seconds: int) -> datetime | None:
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:  # a startAt in the last days of the year 9999: never
        return None
