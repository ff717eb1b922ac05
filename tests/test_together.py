"""What web's processes share: each writes into its own part, and all of it is read by everyone."""

import os
from datetime import timedelta

import pytest

import metrics
import together
from auth import FailedLogins
from models_access import Token
from routes.console.session import Sessions
from together import Counts, Times

MOST = 3


@pytest.fixture
def part(monkeypatch):
    """part(1): from now on this process is that one."""

    def be(number: int) -> None:
        monkeypatch.setattr(together, "own", number)

    return be


def test_counts_of_all_parts_are_added_up_and_whoever_takes_a_part_goes_on(part):
    counts = Counts()
    counts.divide(2)
    counts.add("a", 1, 0.5)
    part(1)
    counts.take()
    counts.add("b")
    counts.add("a", 1, 0.25)
    assert {name: (numbers[0], numbers[1], numbers[-1]) for name, numbers in counts.total().items()} == {
        "a": (0, 2, 0.75),
        "b": (1, 0, 0),
    }
    counts.take()
    counts.add("a", 1)
    assert (counts.total()["a"][1], len(counts.rows)) == (3, 2)
    assert counts.pids() == [os.getpid()] * 2


def test_what_a_fork_counts_is_seen_by_who_has_forked_it(part):
    counts = Counts()
    counts.divide(2)
    if not (pid := os.fork()):
        together.own = 1
        counts.take()
        counts.add("a")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    counts.add("a")
    assert counts.total()["a"][0] == 2
    assert counts.pids() == [os.getpid(), pid]
    counts.died(1)
    assert (counts.pids(), counts.deaths(), counts.total()["a"][0]) == ([os.getpid()], 1, 2)


def test_there_is_room_for_the_name_of_every_count(app, hooks):
    routes = [rule for each in (app, hooks.client.application) for rule in each.url_map.iter_rules()]
    longest = max((rule.rule for rule in routes), key=len)
    counts = Counts()
    counts.add(f"{metrics.REQUESTS}\tOPTIONS\t{longest}\t500")
    # Each with its own methods, HEAD and OPTIONS, and with some ten statuses: half of the room.
    assert sum(len(rule.methods) * 10 + 1 for rule in routes) < together.ROWS / 2
    assert len(metrics.BUCKETS) < together.NUMBERS


def test_the_last_times_of_a_key_are_kept_whoever_added_them(part):
    times = Times(2, 100, MOST)
    for at in (1, 2, 3, 4):
        times.add("a", at)
    part(1)
    times.add("a", 2.5)
    times.add("b", 9)
    assert times.after("a", 0) == [2, 2.5, 3, 4]
    assert times.after("a", 3) == [4]
    assert times.after("nobody", 0) == []


def test_of_too_many_keys_those_that_were_quiet_for_longest_go():
    times = Times(1, together.WAYS, MOST)
    for number in range(1, 1001):
        times.add(f"key {number}", number)
        times.add("a", number)
    kept = [f"key {number}" for number in range(1000 - together.WAYS + 2, 1001)]
    assert [key for key in (f"key {number}" for number in range(1, 1001)) if times.after(key, 0)] == kept
    assert times.after("a", 0) == [998, 999, 1000]


def test_wrong_credentials_of_all_parts_count_together(part, now):
    failed = FailedLogins(3)
    for number in range(FailedLogins.MOST - 1):
        part(number % 3)
        assert failed.add("a", now + timedelta(milliseconds=number)) is None
    assert failed.add("a", now + timedelta(seconds=1)) == 59


def test_a_session_that_one_has_ended_is_over_for_all(app, db, part, now):
    token = Token.create(id="tok_1", secret_sha256="0", role="admin", name="A", created_at=now)
    sessions = Sessions(lambda: "key", 2)
    one, other = sessions.begin(token, now), sessions.begin(token, now)
    cookies = [sessions.cookie(one), sessions.cookie(other)]
    sessions.end(one, now)
    part(1)
    with app.app_context():
        assert sessions.read(cookies[0], now) is None
        assert sessions.read(cookies[1], now) == other
