"""What is kept for a time only: by kind of row, for as long as the settings say (docs/settings.md, RETENTION_...).

Rows are numbered in the order of time, so that the oldest are the first of their table: nothing is searched for and
no index is needed. A clock that was wrong for a while may keep a row for longer, never for shorter.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from db import database, run, to_ms

# A transaction of some milliseconds. Several in a row would be worse than their sum: a publish hook that waits for
# SQLite's lock looks again now and then, and would find it taken by the next.
AT_ONCE = 100


class Kept(NamedTuple):
    """A table, the setting that says for how long, and which of its first rows are too old at `?`."""

    table: str
    setting: str
    old: str

    @property
    def key(self) -> str:
        return "id" if self.table == "event" else "pk"


KEPT = (
    # With an event go its deliveries and their tries. The newest event stays however old it is: SQLite would give
    # its number, a cursor of the feed, out again.
    Kept(
        "event",
        "events",
        f"""SELECT id FROM (SELECT id, time FROM event ORDER BY id LIMIT {AT_ONCE}) AS first
             WHERE time < ? AND id < (SELECT MAX(id) FROM event)""",  # noqa: S608
    ),
    # Tests, and what was delivered again of them.
    Kept(
        "delivery",
        "events",
        f"SELECT pk FROM delivery WHERE event_id IS NULL AND created_at < ? LIMIT {AT_ONCE}",  # noqa: S608
    ),
    Kept("audit", "audit", f"SELECT pk FROM audit WHERE time < ? LIMIT {AT_ONCE}"),  # noqa: S608
    # Who knocked with a token that opens nothing is a matter of the audit, too.
    Kept(
        "timeline",
        "audit",
        f"SELECT pk FROM timeline WHERE channel_id IS NULL AND time < ? LIMIT {AT_ONCE}",  # noqa: S608
    ),
    Kept(
        "timeline",
        "sessions",
        f"""SELECT pk FROM (SELECT pk, time FROM timeline WHERE channel_id IS NOT NULL
                             ORDER BY pk LIMIT {AT_ONCE}) AS first WHERE time < ?""",  # noqa: S608
    ),
    Kept(
        "session",
        "sessions",
        f"""SELECT pk FROM (SELECT pk, stop_time FROM session ORDER BY pk LIMIT {AT_ONCE}) AS first
             WHERE stop_time < ?""",  # noqa: S608
    ),
    # Triggers write down that their files are to go.
    Kept("video", "videos", f"SELECT pk FROM video WHERE created_at < ? ORDER BY created_at LIMIT {AT_ONCE}"),  # noqa: S608
    # Its sessions, timeline, tags and videos go with it; the sweep removes what it has on disk.
    Kept(
        "channel",
        "channels",
        f"""SELECT pk FROM channel WHERE status = 'ended' AND listed_at < ? AND stop_time < ?
             ORDER BY listed_at LIMIT {AT_ONCE}""",  # noqa: S608
    ),
    Kept(
        "audience_minute",
        "analytics",
        f"""SELECT pk FROM (SELECT pk, time FROM audience_minute ORDER BY pk LIMIT {AT_ONCE}) AS first
             WHERE time < ?""",  # noqa: S608
    ),
    Kept(
        "audience_hour",
        "analytics_hourly",
        f"""SELECT pk FROM (SELECT pk, time FROM audience_hour ORDER BY pk LIMIT {AT_ONCE}) AS first
             WHERE time < ?""",  # noqa: S608
    ),
    Kept("kept_answer", "answers", f"SELECT pk FROM kept_answer WHERE created_at < ? LIMIT {AT_ONCE}"),  # noqa: S608
)
FIXED = {"answers": timedelta(hours=24)}  # contract, section 2: as long as an Idempotency-Key counts


def forget(kept_for: Mapping[str, timedelta | None], now: datetime) -> int:
    """Remove some of what is too old, in one short transaction; returns how many rows went, 0 when all is done."""
    for kept in KEPT:
        age = (FIXED | dict(kept_for))[kept.setting]
        if age and (gone := _forget(kept, to_ms(now - age))):
            return gone
    return 0


def _forget(kept: Kept, oldest: int) -> int:
    with database.atomic():
        values = [oldest] * kept.old.count("?")
        return len(run(f"DELETE FROM {kept.table} WHERE {kept.key} IN ({kept.old}) RETURNING 1", *values))  # noqa: S608


def give_back() -> int:
    """Let the database return to the disk a little of what it does not need any more; returns how many pages went,
    0 when all is done."""
    return database.give_back()
