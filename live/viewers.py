"""Who watches what, counted from playback requests: any player, no cookies.

One viewer is one address, user agent and channel, for as long as no 30 s pass between two requests: a presence. Its
watch time is from the first request to the last. It leaves somewhere between that and the request that did not come:
in the middle, as far as the number of viewers at a moment goes, or many that leave at once would be missed.

What this makes of a log depends on the log alone, so that a worker that was killed can read some of it again and go on.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

AWAY_MS = 30_000
MINUTE_MS = 60_000
# A player asks for a playlist and a segment together, then pauses.
TOGETHER_MS = 250
LONGEST_PAUSE_MS = 10_000
# Whoever was there for the last so many milliseconds of the log is known from these alone.
AGAIN_MS = 75_000
ARRIVED, LEFT = 0, 1  # in this order at the same moment: a presence of one request has been there


class Request(Protocol):
    """See media.playlog.Request; times in milliseconds since 1970."""

    began: int
    ended: int
    channel: str
    viewer: int
    bytes: int


class Scope(NamedTuple):
    """Whose figure it is: a channel's, an account's (no channel) or everybody's (neither)."""

    channel_id: str
    account_id: str


EVERYBODY = Scope("", "")


def scopes(channel_id: str, account_id: str) -> tuple[Scope, ...]:
    """All that a channel's figures belong to."""
    return Scope(channel_id, account_id), Scope("", account_id), EVERYBODY


@dataclass(slots=True)
class Viewer:
    channel: str
    last: int
    pause: int = 0  # the last one between requests

    @property
    def left(self) -> "Change":
        """As it is, if nothing more comes."""
        return Change(self.last + self.pause // 2, LEFT, self.channel)


@dataclass(slots=True)
class Sums:
    """A minute's figures."""

    peak: int = 0
    views: int = 0
    watch_ms: int = 0
    bytes: int = 0
    broadcast_ms: int = 0


class Change(NamedTuple):
    time: int
    kind: int
    channel: str


Minute = tuple[Scope, int]  # and when it begins
Minutes = dict[Minute, Sums]


@dataclass
class Audience:
    """The viewers that are there, and what was counted of them and not yet written."""

    viewers: dict[int, Viewer] = field(default_factory=dict)  # by last request, the oldest first
    present: Counter[str] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)  # since `settled`
    settled: int = 0  # nothing can happen any more before this moment
    there: Counter[str] = field(default_factory=Counter)  # who was there at that moment
    settling: int = 0
    sums: dict[tuple[str, int], Sums] = field(default_factory=dict)

    def take(self, requests: Iterable[Request], *, again: bool = False) -> None:
        """Requests in the order of the log. `again`: they were counted before, only who is there has to be known."""
        for request in requests:
            viewer = self.viewers.pop(request.viewer, None)
            if viewer and request.began - viewer.last > AWAY_MS:
                self._leave(viewer)
                viewer = None
            if new := viewer is None:
                viewer = Viewer(request.channel, request.began)
                self.present[viewer.channel] += 1
                self.changes.append(Change(request.began, ARRIVED, viewer.channel))
            if not again:
                self._credit(request, viewer.last, new)
            if (pause := request.began - viewer.last) > TOGETHER_MS:
                viewer.pause = min(pause, LONGEST_PAUSE_MS)
            clock_put_back = request.ended < viewer.last - AWAY_MS
            viewer.last = request.ended if clock_put_back else max(viewer.last, request.ended)
            self.viewers[request.viewer] = viewer  # at the end again

    def _credit(self, request: Request, since: int, new: bool) -> None:
        here = self._minute(request.channel, request.ended)
        here.bytes += request.bytes
        if new:
            self._minute(request.channel, request.began).views += 1
        for minute, spent in spread(since, request.ended):
            self._minute(request.channel, minute).watch_ms += spent

    def _minute(self, channel: str, moment: int) -> Sums:
        key = channel, moment - moment % MINUTE_MS
        if (found := self.sums.get(key)) is None:
            found = self.sums[key] = Sums()
        return found

    def expire(self, clock: int) -> None:
        """Let go of who has been away for too long at this moment: all that began before it is known."""
        while self.viewers:
            key, viewer = next(iter(self.viewers.items()))
            if clock - viewer.last <= AWAY_MS:
                return
            del self.viewers[key]
            self._leave(viewer)

    def _leave(self, viewer: Viewer) -> None:
        self.changes.append(viewer.left)
        self.present[viewer.channel] -= 1
        if not self.present[viewer.channel]:
            del self.present[viewer.channel]

    def channels(self) -> set[str]:
        """Those that `minutes` will have figures of."""
        counted = {channel for channel, _ in self.sums} | {change.channel for change in self.changes}
        return counted | set(self.present) | set(self.there)

    def minutes(self, clock: int, accounts: Mapping[str, str]) -> Minutes:
        """What was counted since `written`, with the peaks of every minute that is not over for good.

        Who is there now counts as if nothing more came: a peak may still rise when it is told again, and never falls.
        What belongs to a channel of no known account counts for nobody.
        """
        self.expire(clock)
        told: Minutes = {}
        for (channel, minute), sums in self.sums.items():
            if account := accounts.get(channel):
                for scope in scopes(channel, account):
                    total = at(told, scope, minute)
                    total.views += sums.views
                    total.watch_ms += sums.watch_ms
                    total.bytes += sums.bytes
        self.settling = clock - AWAY_MS - 1  # who left before that is known to have
        self._peaks(told, accounts)
        return told

    def written(self) -> None:
        """What `minutes` told is in the database."""
        self.sums.clear()
        for change in self.changes:
            if change.time <= self.settling:
                self.there[change.channel] += 1 if change.kind == ARRIVED else -1
        self.there = +self.there
        self.changes = [change for change in self.changes if change.time > self.settling]
        self.settled = max(self.settled, self.settling)

    def _peaks(self, told: Minutes, accounts: Mapping[str, str]) -> None:
        so_far = [viewer.left for viewer in self.viewers.values()]
        whose = {channel: scopes(channel, account) for channel, account in accounts.items()}
        count: Counter[Scope] = Counter()
        for channel, viewers in self.there.items():
            for scope in whose.get(channel, ()):
                count[scope] += viewers
        minute = self.settled - self.settled % MINUTE_MS
        _peak(told, count, minute)
        for change in sorted(self.changes + so_far):
            begins = change.time - change.time % MINUTE_MS
            while minute < begins:
                minute = minute + MINUTE_MS if count else begins
                _peak(told, count, minute)
            for scope in whose.get(change.channel, ()):
                if change.kind == ARRIVED:
                    count[scope] += 1
                    _peak(told, {scope: count[scope]}, minute)
                elif count[scope] > 1:
                    count[scope] -= 1
                else:
                    del count[scope]


def _peak(told: Minutes, count: Mapping[Scope, int], minute: int) -> None:
    for scope, viewers in count.items():
        sums = at(told, scope, minute)
        sums.peak = max(sums.peak, viewers)


def at(told: Minutes, scope: Scope, minute: int) -> Sums:
    if (found := told.get((scope, minute))) is None:
        found = told[scope, minute] = Sums()
    return found


def spread(since: int, until: int) -> Iterator[tuple[int, int]]:
    """A span of time by minutes: when each begins, and how much of the span is in it."""
    while since < until:
        minute = since - since % MINUTE_MS
        end = min(until, minute + MINUTE_MS)
        yield minute, end - since
        since = end
