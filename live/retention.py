"""What is kept for a time only: events 30 days, the audit log 90, answers to an Idempotency-Key one (contract)."""

from datetime import datetime, timedelta

from db import run, to_ms

KEPT = (
    # The newest event stays however old it is: SQLite would give its number, a cursor of the feed, out again.
    ("event", "time", timedelta(days=30), "id < (SELECT MAX(id) FROM event)"),
    ("audit", "time", timedelta(days=90), "TRUE"),
    ("kept_answer", "created_at", timedelta(hours=24), "TRUE"),
)
AT_ONCE = 500  # a short transaction each, so that nobody waits for a long one


def forget(now: datetime) -> int:
    """Remove what is too old; returns how many rows went."""
    return sum(_forget(*each, now) for each in KEPT)


def _forget(table: str, time: str, kept_for: timedelta, unless: str, now: datetime) -> int:
    oldest = to_ms(now - kept_for)
    gone = 0
    while True:
        rows = run(
            f"""DELETE FROM {table} WHERE rowid IN
                (SELECT rowid FROM {table} WHERE {time} < ? AND {unless} LIMIT {AT_ONCE}) RETURNING 1""",  # noqa: S608
            oldest,
        )
        gone += len(rows)
        if len(rows) < AT_ONCE:
            return gone
