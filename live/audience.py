"""The worker's step that counts: the playback log and time on air, into rows.

Figures and the place up to which the log is counted are one transaction: killed at any instant, the next worker goes
on from there, after it has read again who is there (live/viewers.py).
"""

import json
from collections import Counter, deque
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, Protocol

from db import database, run, to_ms
from live.viewers import AGAIN_MS, MINUTE_MS, Audience, Minutes, Request, Scope, Sums, at, scopes, spread

# The media server writes a request within a second of its end; it began 2 s before that, or thereabouts.
UNWRITTEN_MS = 3_000
RECENT_MS = 10_000
# No worker is away for longer; a clock that jumps by years would make rows of as many minutes, in one transaction.
CREDITED_MS = 24 * 60 * MINUTE_MS
STEPS = {"audience_minute": MINUTE_MS, "audience_hour": 60 * MINUTE_MS}


Place = tuple[str, int]  # see media.playlog.Place
NOWHERE: Place = ("", 0)


class Log(Protocol):
    """See media.playlog.Playlog."""

    place: Place
    caught_up: bool

    def read(self) -> list[Request]: ...

    def read_again(self, since: Place, until: Place) -> list[Request]: ...

    def tend(self) -> None: ...


class OnAir(NamedTuple):
    """A session that is open, or was a moment ago."""

    channel_id: str
    account_id: str
    start: int
    stop: int | None
    bitrate: int | None
    fps: float


class Look(NamedTuple):
    """What is being received of a channel."""

    scope: Scope
    bitrate: int
    fps: float


class State(NamedTuple):
    """How far everything is counted, as it is written with the figures."""

    counted: Place
    again: Place  # from here on the log is read once more to know who is there
    broadcast_to: int


class Count:
    """Counts on from where the last one wrote. Without a log there is time on air to count, and no viewer."""

    def __init__(self, log: Log | None, node: str = "main") -> None:
        self.log = log
        self.node = node  # whose log it is; its sessions are the ones whose time on air is counted here
        self.audience = Audience()
        self.accounts: dict[str, str] = {}
        self.state: State | None = None
        self.seen = 0  # when the last request that was read ended
        self.ends: deque[tuple[int, Place]] = deque()  # where the log was read to, and `seen` there
        self.recent: deque[tuple[int, Counter[str]]] = deque()  # bytes by channel
        self.shown: dict[str, tuple[int, int]] | None = None

    @property
    def behind(self) -> bool:
        """There is more to count at once."""
        return self.log is not None and self.state is not None and not self.log.caught_up

    def step(self, now: datetime) -> None:
        if self.state is None:
            self._resume(now)
        clock = to_ms(now) - UNWRITTEN_MS
        if self.log:
            self._take(self.log.read(), to_ms(now))
            clock = clock if self.log.caught_up else min(clock, self.seen - UNWRITTEN_MS)
        self._write(clock, to_ms(now))
        if self.log:
            self.log.tend()

    def _resume(self, now: datetime) -> None:
        state = read_state(self.node) or State(NOWHERE, NOWHERE, to_ms(now))
        if self.log:
            self.audience.take(self.log.read_again(state.again, state.counted), again=True)
        self.ends.append((0, state.again))
        self.state = state

    def _take(self, requests: list[Request], now: int) -> None:
        self.audience.take(requests)
        if requests:
            self.seen = requests[-1].ended
            self.ends.append((self.seen, self.log.place))
            sent: Counter[str] = Counter()
            for request in requests:
                sent[request.channel] += request.bytes
            self.recent.append((now, sent))
        while self.recent and self.recent[0][0] <= now - RECENT_MS:
            self.recent.popleft()
        while len(self.ends) > 1 and self.ends[1][0] <= self.seen - AGAIN_MS:
            self.ends.popleft()

    def _write(self, clock: int, now: int) -> None:
        self._know_accounts()
        minutes = self.audience.minutes(clock, self.accounts)
        on_air = sessions_since(self.state.broadcast_to, self.node)
        looks = credit(minutes, on_air, self.state.broadcast_to, now)
        shown = self._now()
        if not minutes and not on_air and shown == self.shown:
            return
        state = State(self.log.place if self.log else NOWHERE, self.ends[0][1], now)
        with database.atomic():
            for table, step in STEPS.items():
                for (scope, time), sums in minutes.items():
                    add(table, scope, time - time % step, sums)
                for look in looks:
                    note(table, now - now % step, look)
            self._show(shown)
            keep_state(state, self.node)
        self.state, self.shown = state, shown
        self.audience.written()

    def _know_accounts(self) -> None:
        """The accounts of the channels that are counted; of one that is deleted by now as its figures have it."""
        wanted = self.audience.channels()
        self.accounts = {channel: self.accounts[channel] for channel in wanted & self.accounts.keys()}
        if unknown := list(wanted - self.accounts.keys()):
            older = "SELECT DISTINCT channel_id, account_id FROM audience_hour WHERE channel_id IN (?)"
            for known in (older, "SELECT id, account_id FROM channel WHERE id IN (?)"):
                self.accounts |= dict(run(known, unknown))

    def _now(self) -> dict[str, tuple[int, int]]:
        """Viewers and bit/s of each channel that has any."""
        sent: Counter[str] = Counter()
        for _, one in self.recent:
            sent += one
        there = self.audience.present
        return {
            channel: (there[channel], sent[channel] * 8000 // RECENT_MS)
            for channel in self.accounts
            if there[channel] or sent[channel]
        }

    def _show(self, shown: dict[str, tuple[int, int]]) -> None:
        if self.shown is None:  # what a worker before this one has left
            run("DELETE FROM audience_now WHERE node = ?", self.node)
        before = self.shown or {}
        for channel in before.keys() - shown.keys():
            run("DELETE FROM audience_now WHERE channel_id = ? AND node = ?", channel, self.node)
        for channel, figures in shown.items():
            if before.get(channel) != figures:
                run(
                    """INSERT INTO audience_now (channel_id, node, account_id, viewers, bitrate_out)
                       VALUES (?, ?, ?, ?, ?) ON CONFLICT (channel_id, node) DO UPDATE SET
                           account_id = excluded.account_id, viewers = excluded.viewers,
                           bitrate_out = excluded.bitrate_out""",
                    *(channel, self.node, self.accounts[channel], *figures),
                )


def read_state(node: str) -> State | None:
    rows = run(
        """SELECT counted_mark, counted_offset, again_mark, again_offset, broadcast_to FROM audience_state
            WHERE node = ?""",
        node,
    )
    return State(rows[0][:2], rows[0][2:4], rows[0][4]) if rows else None


def keep_state(state: State, node: str) -> None:
    run(
        """INSERT INTO audience_state (node, counted_mark, counted_offset, again_mark, again_offset, broadcast_to)
           VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (node) DO UPDATE SET counted_mark = excluded.counted_mark,
               counted_offset = excluded.counted_offset, again_mark = excluded.again_mark,
               again_offset = excluded.again_offset, broadcast_to = excluded.broadcast_to""",
        *(node, *state.counted, *state.again, state.broadcast_to),
    )


def add(table: str, scope: Scope, time: int, sums: Sums) -> None:
    """To the row of this minute or hour. The peak of an hour is the highest of its minutes."""
    run(
        f"""INSERT INTO {table} (channel_id, account_id, time, peak, views, watch_ms, bytes, broadcast_ms,
                                 looks, bitrate, fps) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)
            ON CONFLICT (channel_id, account_id, time) DO UPDATE SET
                peak = CASE WHEN excluded.peak > {table}.peak THEN excluded.peak ELSE {table}.peak END,
                views = {table}.views + excluded.views, watch_ms = {table}.watch_ms + excluded.watch_ms,
                bytes = {table}.bytes + excluded.bytes,
                broadcast_ms = {table}.broadcast_ms + excluded.broadcast_ms""",
        *(*scope, time, sums.peak, sums.views, sums.watch_ms, sums.bytes, sums.broadcast_ms),
    )


def note(table: str, time: int, look: Look) -> None:
    """What is being received, beside the other figures of that minute or hour."""
    run(
        f"""UPDATE {table} SET looks = looks + 1, bitrate = bitrate + ?, fps = fps + ?
             WHERE channel_id = ? AND account_id = ? AND time = ?""",
        *(look.bitrate, look.fps, *look.scope, time),
    )


def sessions_since(moment: int, node: str) -> list[OnAir]:
    """Every session of a node that is open, or stopped after this moment. Silence is no time on air."""
    rows = run(
        """SELECT channel.id, account_id, session.start_time,
                  COALESCE(session.stop_time, silent_since), bitrate, video
             FROM session JOIN channel ON channel.pk = channel_id
            WHERE session.node = ? AND (session.stop_time IS NULL OR session.stop_time > ?)""",
        *(node, moment),
    )
    return [OnAir(*row, json.loads(video).get("fps") or 0.0) for *row, video in rows]


def credit(minutes: Minutes, on_air: Iterable[OnAir], since: int, until: int) -> list[Look]:
    """Add the time on air between two moments, its last day where it is longer; returns what is to be seen of those
    that send."""
    since, looks = max(since, until - CREDITED_MS), []
    for one in on_air:
        for minute, spent in spread(max(since, one.start), min(until, one.stop or until)):
            for scope in scopes(one.channel_id, one.account_id):
                at(minutes, scope, minute).broadcast_ms += spent
        if one.stop is None and one.bitrate is not None:
            looks.append(Look(Scope(one.channel_id, one.account_id), one.bitrate, float(one.fps)))
    return looks
