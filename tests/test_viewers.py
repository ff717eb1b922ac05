"""Counting viewers from requests: presences, peaks, watch time, and the same again after a crash at any point."""

from dataclasses import replace
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from live.audience import UNWRITTEN_MS
from live.viewers import (
    AGAIN_MS,
    AWAY_MS,
    EVERYBODY,
    LONGEST_PAUSE_MS,
    MINUTE_MS,
    TOGETHER_MS,
    Audience,
    Scope,
    Sums,
)

A, B = "ch_a", "ch_b"
ACCOUNTS = {A: "1", B: "2"}
T0 = 1_764_000_000_000 // MINUTE_MS * MINUTE_MS


class Request(NamedTuple):
    began: int
    ended: int
    channel: str
    viewer: int
    bytes: int


def at(second: float, viewer: int = 1, channel: str = A, *, took: float = 0, sent: int = 100) -> Request:
    ended = T0 + round(second * 1000)
    return Request(ended - round(took * 1000), ended, channel, viewer, sent)


def counted(*requests: Request, until: float = 3600) -> dict:
    """Figures by scope and minute, when everybody has left."""
    audience = Audience()
    audience.take(sorted(requests, key=lambda request: request.ended))
    return audience.minutes(T0 + round(until * 1000), ACCOUNTS)


def minute(found: dict, number: int = 0, scope: Scope = EVERYBODY) -> Sums:
    return found.get((scope, T0 + number * MINUTE_MS), Sums())


def test_one_that_asks_again_and_again_is_one_view_and_watches_from_first_to_last():
    found = minute(counted(*[at(second) for second in range(0, 50, 5)]))
    assert found == Sums(peak=1, views=1, watch_ms=45_000, bytes=1000)


def test_more_than_30_seconds_away_is_a_new_view_and_no_watch_time_between():
    assert minute(counted(at(0), at(30))) == Sums(peak=1, views=1, watch_ms=30_000, bytes=200)
    assert minute(counted(at(0), at(30.001))) == Sums(peak=1, views=2, watch_ms=0, bytes=200)


def test_watch_time_is_of_the_minutes_in_which_it_was():
    found = counted(at(50), at(70), at(90), at(115), at(130))
    assert [minute(found, number).watch_ms for number in range(3)] == [10_000, 60_000, 10_000]
    assert [minute(found, number).views for number in range(3)] == [1, 0, 0]
    assert [minute(found, number).peak for number in range(3)] == [1, 1, 1], "who was there before counts on"


def test_the_peak_is_of_those_who_are_there_at_the_same_moment():
    found = counted(at(0, 1), at(10, 1), at(9, 2), at(20, 2), at(21, 3), at(25, 3))
    assert minute(found).peak == 2, "the third came when the first had left, though within 30 s"
    assert minute(found).views == 3


def test_a_viewer_leaves_in_the_middle_of_the_pause_that_it_makes_between_requests():
    stays = [at(second, 1) for second in (0, 4, 4.1, 8, 8.1)]
    assert minute(counted(*stays, at(10, 2))).peak == 2
    assert minute(counted(*stays, at(10.1, 2))).peak == 1
    assert minute(counted(*stays)).watch_ms == 8_100
    rarely = [at(second, 1) for second in (0, 25)]
    assert minute(counted(*rarely, at(30, 2))).peak == 2
    assert minute(counted(*rarely, at(30.1, 2))).peak == 1


def test_a_channel_its_account_and_everybody_have_each_their_own_peak():
    found = counted(at(0, 1, A), at(5, 1, A), at(4, 2, B), at(8, 2, B), at(20, 3, B))
    assert {scope: sums.peak for (scope, _), sums in found.items()} == {
        Scope(A, "1"): 1,
        Scope("", "1"): 1,
        Scope(B, "2"): 1,
        Scope("", "2"): 1,
        EVERYBODY: 2,
    }


def test_a_long_download_is_watched_while_it_lasts():
    found = counted(at(100, took=90))
    assert [minute(found, number).watch_ms for number in range(2)] == [50_000, 40_000]
    assert (minute(found, 0).views, minute(found, 1).bytes) == (1, 100)


def test_what_belongs_to_no_account_counts_for_nobody():
    assert counted(at(0, 1, "ch_gone")) == {}


def test_whoever_is_there_now_is_seen_at_once_and_leaves_after_30_seconds():
    audience = Audience()
    audience.take([at(0, 1), at(1, 2), at(2, 1)])
    assert minute(audience.minutes(T0 + 3_000, ACCOUNTS)).peak == 2
    audience.expire(T0 + 31_000)
    assert audience.present == {A: 2}
    audience.expire(T0 + 31_001)
    assert audience.present == {A: 1}
    audience.expire(T0 + 33_000)
    assert audience.present == {}


def test_a_clock_that_is_put_back_makes_no_time_and_keeps_nobody_for_ever():
    audience = Audience()
    audience.take([at(3600), at(0), at(5)])
    found = audience.minutes(T0 + 10_000, ACCOUNTS)
    assert sum(sums.watch_ms for (scope, _), sums in found.items() if scope == EVERYBODY) == 5_000
    audience.expire(T0 + 40_000)
    assert audience.present == {}


# Viewers that ask every few seconds and pause now and then for about as long as makes them gone.
gaps = st.lists(st.sampled_from([0.5, 2, 6, 6, 6, 29.9, 30, 30.1, 31, 80]), min_size=8, max_size=30)
viewers = st.tuples(st.integers(0, 200), gaps, st.sampled_from([0, 0, 0.2, 2]))


def log_of(several: list[tuple]) -> list[Request]:
    log = []
    for number, (second, pauses, took) in enumerate(several):
        for pause in pauses:
            log.append(at(second, number, A if number < 3 else B, took=took, sent=10))
            second += pause
    return sorted(log, key=lambda each: each.ended)


logs = st.lists(viewers, min_size=1, max_size=6).map(log_of)
moments = st.sets(st.integers(0, 150), max_size=12)


def by_definition(log: list[Request]) -> dict:
    """Presences written out, and the count at every moment at which one begins: slow, and plain to read."""
    presences: list[list] = []
    of: dict[int, list] = {}
    for each in log:
        mine = of.get(each.viewer)
        if mine is None or each.began - mine[1] > AWAY_MS:
            mine = of[each.viewer] = [each.began, each.began, 0]
            presences.append(mine)
        if each.began - mine[1] > TOGETHER_MS:
            mine[2] = min(each.began - mine[1], LONGEST_PAUSE_MS)
        mine[1] = max(mine[1], each.ended)
    starts = [start for start, _, _ in presences]
    peak = max(
        (sum(a <= moment <= b + pause // 2 for a, b, pause in presences) for moment in starts), default=0
    )
    watched = sum(b - a for a, b, _ in presences)
    return {"peak": peak, "views": len(presences), "watch_ms": watched, "bytes": 10 * len(log)}


def summed(minutes: dict) -> dict:
    mine = [sums for (scope, _), sums in minutes.items() if scope == EVERYBODY]
    return {
        "peak": max((sums.peak for sums in mine), default=0),
        **{name: sum(getattr(sums, name) for sums in mine) for name in ("views", "watch_ms", "bytes")},
    }


class Rows:
    """What a database makes of the figures: sums, and the highest peak."""

    def __init__(self) -> None:
        self.rows: dict = {}

    def add(self, minutes: dict) -> None:
        for key, sums in minutes.items():
            row = self.rows.setdefault(key, Sums())
            self.rows[key] = replace(
                sums,
                peak=max(row.peak, sums.peak),
                views=row.views + sums.views,
                watch_ms=row.watch_ms + sums.watch_ms,
                bytes=row.bytes + sums.bytes,
            )


@given(logs)
@settings(deadline=None)
def test_it_counts_what_the_definition_says(log):
    assert summed(counted(*log)) == by_definition(log)


@given(logs, moments, moments)
@settings(deadline=None)
def test_written_in_pieces_and_killed_between_any_two_lines_it_is_the_same(log, writes, kills):
    """A kill forgets all but the rows; the next one reads the last lines again, then goes on."""
    rows, audience, wrote = Rows(), Audience(), 0
    for number, each in enumerate(log):
        audience.take([each])
        if number in writes:
            rows.add(audience.minutes(each.ended - UNWRITTEN_MS, ACCOUNTS))
            audience.written()
            wrote = number + 1
        if number in kills:
            audience = Audience()
            since = log[wrote - 1].ended - AGAIN_MS if wrote else 0
            audience.take([line for line in log[:wrote] if line.ended > since], again=True)
            audience.take(log[wrote : number + 1])
    rows.add(audience.minutes(T0 + 3_600_000, ACCOUNTS))
    assert rows.rows == counted(*log)
