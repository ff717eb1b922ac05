"""What was counted, for those who ask: over time, in sum, by channel, and now (contract, section 6)."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from db import from_ms, run, to_ms
from errors import InvalidError
from live.listing import span
from live.snapshot import session_ms
from live.viewers import Scope
from models import Channel, Session

INTERVALS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
BY_DEFAULT_MS = INTERVALS["day"]
MOST_POINTS = 2000
TOP = 10
FIRST_MS = to_ms(datetime.min.replace(tzinfo=UTC))
# Of rows: the highest peak, sums, and the means of what was looked at.
FIGURES = """COALESCE(MAX(peak), 0), COALESCE(SUM(views), 0), COALESCE(SUM(watch_ms), 0), COALESCE(SUM(bytes), 0),
             COALESCE(SUM(broadcast_ms), 0), CAST(SUM(bitrate) / NULLIF(SUM(looks), 0) AS BIGINT),
             SUM(fps) / NULLIF(SUM(looks), 0)"""


class Span(NamedTuple):
    """A span of time in whole intervals: milliseconds since 1970, the end not included."""

    start: int
    end: int
    step: int

    @property
    def table(self) -> str:
        """The coarsest rows that this can be added up from."""
        return "audience_minute" if self.step < INTERVALS["hour"] else "audience_hour"

    @property
    def times(self) -> range:
        return range(self.start, self.end, self.step)


def report(asked: dict[str, Any], account_id: str | None, now: datetime) -> dict[str, Any]:
    """What AnalyticsQuery's fields ask for: AnalyticsOut's fields."""
    wanted = _span(asked, now)
    channel_id = asked.get("channel_id", "")
    found = series(channel_id, account_id, wanted)
    return {
        "from_": from_ms(wanted.start),
        "to": span(asked, now)[1] or now,
        "interval": asked["interval"],
        "channel_id": channel_id or None,
        "account_id": account_id,
        "totals": totals(channel_id, account_id, wanted),
        "series": found,
        "top_channels": top(channel_id, account_id, wanted),
    }


def of_channel(channel: Channel, minutes: int, now: datetime, *, counted: bool) -> dict[str, Any]:
    """ChannelStatisticsOut's fields. `counted`: somebody counts viewers at the moment."""
    end = to_ms(now) // INTERVALS["minute"] * INTERVALS["minute"] + INTERVALS["minute"]
    wanted = Span(end - minutes * INTERVALS["minute"], end, INTERVALS["minute"])
    ever = totals(channel.id, channel.account_id, Span(0, end, INTERVALS["day"]))
    session = Session.open_of(channel)
    present = viewers_now(channel.id) if counted else {"viewers": None, "bitrate_out": None}
    return present | {
        "bitrate_in": session.bitrate * 1000 if session and session.bitrate is not None else None,
        "fps": session.video.get("fps") if session else None,
        "uptime": session_ms(session, now) // 1000 if session else 0,
        "peak_viewers": ever["ccu"],
        "total_views": ever["views"],
        "watch_time": ever["watch_time"],
        "series": series(channel.id, channel.account_id, wanted),
    }


def series(channel_id: str, account_id: str | None, wanted: Span) -> list[dict[str, Any]]:
    """A point for each interval, also where nothing happened. Of a channel, of an account, or of all."""
    whose = _scope(channel_id, account_id)
    rows = run(
        f"""SELECT time / ? * ? AS begins, {FIGURES} FROM {wanted.table}
             WHERE channel_id = ? AND account_id = ? AND time >= ? AND time < ? GROUP BY begins""",
        *(wanted.step, wanted.step, *whose, wanted.start, wanted.end),
    )
    there = {begins: figures for begins, *figures in rows}
    return [
        {"time": from_ms(time)} | _named(there.get(time) or NOTHING, wanted.step) for time in wanted.times
    ]


def totals(channel_id: str, account_id: str | None, wanted: Span) -> dict[str, Any]:
    whose = _scope(channel_id, account_id)
    [figures] = run(
        f"""SELECT {FIGURES} FROM {wanted.table}
             WHERE channel_id = ? AND account_id = ? AND time >= ? AND time < ?""",
        *(*whose, wanted.start, wanted.end),
    )
    return _named(figures, wanted.end - wanted.start)


def top(channel_id: str, account_id: str | None, wanted: Span) -> list[dict[str, Any]]:
    """The channels that were watched for longest; those that are deleted have no name any more."""
    accounts = "account_id = ?" if account_id else "account_id > ?"
    channels = "channel_id = ?" if channel_id else "channel_id > ?"
    rows = run(
        f"""SELECT found.*, channel.name FROM (
                SELECT channel_id, account_id, {FIGURES} FROM {wanted.table}
                 WHERE {accounts} AND {channels} AND time >= ? AND time < ?
                 GROUP BY channel_id, account_id ORDER BY SUM(watch_ms) DESC, SUM(views) DESC, channel_id
                 LIMIT {TOP}) AS found LEFT JOIN channel ON channel.id = found.channel_id""",
        *(account_id or "", channel_id, wanted.start, wanted.end),
    )
    return [
        {"channel_id": channel, "account_id": account, "name": name}
        | _named(figures, wanted.end - wanted.start)
        for channel, account, *figures, name in rows
    ]


def viewers_now(channel_id: str = "", account_id: str | None = None) -> dict[str, int]:
    """Of a channel, of an account, or of all: viewers of the last 30 s, and bit/s sent to them in the last 10."""
    [(viewers, bits)] = run(
        """SELECT COALESCE(SUM(viewers), 0), COALESCE(SUM(bitrate_out), 0) FROM audience_now
            WHERE ? IN ('', channel_id) AND ? IN ('', account_id)""",
        *(channel_id, account_id or ""),
    )
    return {"viewers": viewers, "bitrate_out": bits}


NOTHING = (0, 0, 0, 0, 0, None, None)


def _named(figures: tuple[Any, ...], span_ms: int) -> dict[str, Any]:
    peak, views, watch_ms, sent, broadcast_ms, kbits, fps = figures
    return {
        "ccu": peak,
        "views": views,
        "watch_time": watch_ms // 1000,
        "broadcast_time": broadcast_ms // 1000,
        "bytes_out": sent,
        "bitrate_in": None if kbits is None else kbits * 1000,
        "bitrate_out": sent * 8000 // max(1, span_ms),
        "fps": None if fps is None else round(fps, 2),
    }


def _scope(channel_id: str, account_id: str | None) -> Scope:
    if channel_id and not account_id:
        found = run("SELECT account_id FROM audience_hour WHERE channel_id = ? LIMIT 1", channel_id)
        account_id = found[0][0] if found else None
    return Scope(channel_id, account_id or "")


def _span(asked: dict[str, Any], now: datetime) -> Span:
    """`from` and `to` in whole intervals of UTC, not too many of them."""
    step = INTERVALS[asked["interval"]]
    start, end = span(asked, now)
    end = end or (now if start is None or start <= now else start)
    start = to_ms(start) if start else max(to_ms(end) - BY_DEFAULT_MS, FIRST_MS)
    wanted = Span(start // step * step, to_ms(end), step)
    if (points := len(wanted.times)) > MOST_POINTS:
        raise InvalidError.field(
            "from",
            f"That is {points} points, more than {MOST_POINTS}; ask for a larger interval or a shorter time.",
        )
    return wanted
