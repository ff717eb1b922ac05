"""When a failed delivery is tried again (contract, section 3): pure."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

PAUSES = tuple(
    timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
)
TRIES = len(PAUSES) + 1
# Deliveries that failed together do not come back together.
JITTER = 0.1


def next_at(tries: int, now: datetime, retry_after: str | None, chance: float) -> datetime | None:
    """The time of the next try after so many, or None when that was the last. `chance` is in 0..1.

    Retry-After counts within one and two times the pause: a receiver may ask for peace, not for silence.
    """
    if tries >= TRIES:
        return None
    pause = PAUSES[tries - 1]
    asked = _asked(retry_after, now)
    if asked is None:
        return now + pause * (1 + JITTER * (2 * chance - 1))
    return now + min(max(asked, pause) * (1 + JITTER * chance), 2 * pause)


def _asked(retry_after: str | None, now: datetime) -> timedelta | None:
    """Seconds or an HTTP date; anything else, and what no calendar holds, is as if not sent."""
    text = (retry_after or "").strip()
    try:
        if re.fullmatch(r"[0-9]{1,9}", text):
            return timedelta(seconds=int(text))
        if re.fullmatch(r"[0-9]+", text):
            return max(PAUSES) * 2
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError, TypeError):
        return None
