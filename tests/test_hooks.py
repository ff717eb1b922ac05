"""What nginx-rtmp tells us and how it is answered: contract section 8, design decision 3."""

import threading
from collections.abc import Callable
from datetime import datetime

import pytest
from flask.testing import FlaskClient

from live.reconcile import reconcile
from media.servers import Publisher
from models import Event, TimelineEntry
from tests.conftest import NginxHooks
from tests.story import after, again, events, new, payload, sessions, timeline

FORM = "application/x-www-form-urlencoded"


class Clock:
    """The time at which hooks come in."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch, now) -> Clock:
    clock = Clock(now)
    monkeypatch.setattr("routes.hooks.utcnow", clock)
    return clock


@pytest.fixture
def live(lifecycle, clock):
    """A channel to publish to; with it, the database can be asked."""
    return new(lifecycle, clock.now)


def refused(reply) -> bool:
    """A refusal is the same for every reason: no body, no hint."""
    assert reply.status_code in (302, 403)
    assert reply.data == b""
    return reply.status_code == 403


def refusals() -> list[tuple[str, int]]:
    found = TimelineEntry.select().where(TimelineEntry.kind == "refused").order_by(TimelineEntry.pk)
    return [(entry.detail["reason"], entry.detail["count"]) for entry in found]


def at_once(hooks: NginxHooks, calls: list[Callable[[NginxHooks], object]]) -> list:
    """What calls from as many threads answer that all begin at the same moment."""
    barrier, answers = threading.Barrier(len(calls)), [None] * len(calls)

    def run(number: int) -> None:
        mine = NginxHooks(FlaskClient(hooks.client.application), hooks.path)
        barrier.wait(10)
        answers[number] = calls[number](mine)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


# Let in, and gone again.


def test_a_publisher_is_let_in_under_the_name_of_its_session(hooks, live):
    reply = hooks.publish(live.stream_token)
    (session,) = sessions(live)
    assert (reply.status_code, reply.headers["Location"]) == (302, session.id)
    assert (session.connection, session.client_ip) == ("nginx-rtmp/aa/1", "127.0.0.1")
    assert session.encoder == "FMLE/3.0 (compatible; Lavf59.27"
    assert events(live) == ["channel_connected"]
    assert payload(live, "channel_connected")["publishing"] is True


def test_a_publisher_that_left_makes_one_stop(hooks, live, clock):
    hooks.publish(live.stream_token)
    clock.now += after(seconds=7)
    assert hooks.publish_done(live.stream_token).status_code == 200
    (session,) = sessions(live)
    assert (session.stop_time, session.end_reason) == (clock.now, "left")
    assert events(live) == ["channel_connected", "channel_stop"]
    assert payload(live, "channel_stop")["duration"] == 7


def test_every_hook_told_again_changes_nothing(hooks, live):
    names = {hooks.publish(live.stream_token).headers["Location"] for _ in range(3)}
    assert len(names) == 1
    assert {hooks.publish_done(live.stream_token).status_code for _ in range(3)} == {200}
    assert len(sessions(live)) == 1
    assert events(live) == ["channel_connected", "channel_stop"]
    assert timeline(live) == ["created", "published", "unpublished"]


def test_the_same_hook_from_many_threads_is_one_session(hooks, live):
    answers = at_once(hooks, [lambda mine: mine.publish(live.stream_token)] * 8)
    (session,) = sessions(live)
    assert {reply.headers["Location"] for reply in answers} == {session.id}
    at_once(hooks, [lambda mine: mine.publish_done(live.stream_token)] * 8)
    assert events(live) == ["channel_connected", "channel_stop"]


def test_of_many_publishers_at_the_same_instant_one_wins(hooks, live):
    calls = [lambda mine, n=n: mine.publish(live.stream_token, n) for n in range(1, 25)]
    answers = at_once(hooks, calls)
    assert sorted(reply.status_code for reply in answers) == [302] + [403] * 23
    (session,) = sessions(live)
    winner = next(reply for reply in answers if reply.status_code == 302)
    assert winner.headers["Location"] == session.id
    assert events(live) == ["channel_connected"]
    assert refusals() == [("busy", 23)]


def test_publishers_of_different_channels_at_the_same_instant_are_all_let_in(hooks, live, lifecycle, clock):
    channels = [live, *(new(lifecycle, clock.now) for _ in range(11))]
    calls = [lambda mine, n=n, c=c: mine.publish(c.stream_token, n) for n, c in enumerate(channels, 1)]
    assert {reply.status_code for reply in at_once(hooks, calls)} == {302}
    assert [events(channel) for channel in channels] == [["channel_connected"]] * 12


# Hooks out of order.


def test_gone_before_it_came_is_ignored_and_found_out_by_the_reconciler(hooks, live, lifecycle, clock):
    assert hooks.publish_done(live.stream_token).status_code == 200
    assert (sessions(live), events(live)) == ([], [])
    assert not refused(hooks.publish(live.stream_token))
    reconcile(lifecycle, "nginx-rtmp/aa", [], clock.now + after(seconds=6))
    assert events(live) == ["channel_connected", "channel_stop"]
    assert payload(live, "channel_stop")["duration"] == 0


def test_a_late_gone_of_an_old_connection_does_not_end_the_new_one(hooks, live):
    hooks.publish(live.stream_token, 1)
    hooks.publish_done(live.stream_token, 1)
    hooks.publish(live.stream_token, 2)
    hooks.publish_done(live.stream_token, 1)
    assert [session.stop_time is None for session in sessions(live)] == [False, True]
    assert events(live) == ["channel_connected", "channel_stop", "channel_connected"]


def test_a_connection_that_is_over_is_not_let_in_again(hooks, live):
    hooks.publish(live.stream_token, 1)
    hooks.publish_done(live.stream_token, 1)
    assert refused(hooks.publish(live.stream_token, 1))
    assert refusals() == [("repeated", 1)]


def test_a_connection_that_publishes_opens_no_other_channel(hooks, live, lifecycle, clock):
    other = new(lifecycle, clock.now)
    hooks.publish(live.stream_token, 1)
    assert refused(hooks.publish(other.stream_token, 1))
    assert (len(sessions(live)), sessions(other)) == (1, [])


# A second publisher.


def test_a_second_publisher_is_refused_and_the_first_goes_on(hooks, live):
    first = hooks.publish(live.stream_token, 1).headers["Location"]
    assert refused(hooks.publish(live.stream_token, 2))
    hooks.publish_done(live.stream_token, 2)  # nginx tells of the refused one's end, by the same name
    (session,) = sessions(live)
    assert (session.id, session.stop_time) == (first, None)
    assert events(live) == ["channel_connected"]


def test_a_publisher_of_an_nginx_that_is_gone_gives_way(hooks, live, clock):
    hooks.publish(live.stream_token, 1, instance="aa")
    clock.now += after(seconds=20)
    assert not refused(hooks.publish(live.stream_token, 1, instance="bb"))
    hooks.publish_done(live.stream_token, 1, instance="aa")
    old, fresh = sessions(live)
    assert (old.end_reason, fresh.stop_time) == ("lost", None)
    assert old.stop_time == old.last_byte_at, "nobody saw it send any later"
    assert events(live) == ["channel_connected", "channel_stop", "channel_connected"]
    assert timeline(live)[-1] == "reconnected"


@pytest.mark.parametrize(
    ("silent_s", "gives_way"), [(0, False), (9.999, False), (10, True), (60, True)], ids=str
)
def test_a_publisher_that_is_silent_for_ten_seconds_gives_way(
    hooks, live, lifecycle, clock, silent_s, gives_way
):
    hooks.publish(live.stream_token, 1)
    seen = [Publisher("nginx-rtmp/aa/1", "1", sessions(live)[0].id, bytes_in=1000)]
    last_byte = clock.now + after(seconds=2)
    reconcile(lifecycle, "nginx-rtmp/aa", seen, last_byte)
    reconcile(lifecycle, "nginx-rtmp/aa", seen, last_byte + after(milliseconds=1))
    clock.now = last_byte + after(seconds=silent_s)
    assert refused(hooks.publish(live.stream_token, 2)) is not gives_way
    if gives_way:
        assert (sessions(live)[0].stop_time, sessions(live)[0].end_reason) == (last_byte, "lost")
        assert payload(live, "channel_stop")["duration"] == 2


def test_a_publisher_that_sends_never_gives_way(hooks, live, lifecycle, clock):
    hooks.publish(live.stream_token, 1)
    session_id = sessions(live)[0].id
    for second in range(2, 600, 30):
        clock.now += after(seconds=30)
        seen = [Publisher("nginx-rtmp/aa/1", "1", session_id, bytes_in=1000 * second)]
        reconcile(lifecycle, "nginx-rtmp/aa", seen, clock.now)
        assert refused(hooks.publish(live.stream_token, second))


# Who is refused.


def test_an_unknown_token_is_refused(hooks, live):
    for token in (
        "",
        "nobody",
        live.stream_token[:-1],
        live.stream_token.upper(),
        f"{live.stream_token}%00",
        "%",
    ):
        assert refused(hooks.publish(token))
    assert (sessions(live), timeline(live)) == ([], ["created"])


@pytest.mark.parametrize(
    ("minutes", "let_in"), [(15.02, False), (15, True), (1, True), (0, True)], ids=["early", "15", "1", "0"]
)
def test_a_scheduled_channel_takes_its_publisher_a_quarter_of_an_hour_before(
    hooks, lifecycle, clock, minutes, let_in
):
    start_at = clock.now + after(hours=2)
    channel = new(lifecycle, clock.now, startAt=start_at.isoformat())
    clock.now = start_at - after(minutes=minutes)
    assert refused(hooks.publish(channel.stream_token)) is not let_in
    assert again(channel).status == ("init" if let_in else "coming")
    assert refusals() == ([] if let_in else [("too_early", 1)])


def test_nobody_publishes_to_a_channel_that_has_ended(hooks, live, lifecycle, clock):
    lifecycle.stop(live.id, clock.now)
    assert refused(hooks.publish(live.stream_token))
    assert (timeline(live)[-1], refusals()) == ("refused", [("ended", 1)])


def test_a_channel_whose_time_is_over_is_ended_before_the_publisher_is_asked_in(hooks, lifecycle, clock):
    channel = new(lifecycle, clock.now, expire=60)
    clock.now += after(seconds=60)
    assert refused(hooks.publish(channel.stream_token))
    assert (again(channel).end_reason, events(channel)) == ("expired", ["channel_ended"])


def test_a_replaced_token_is_refused_and_the_new_one_taken(hooks, live, lifecycle, clock):
    fresh = lifecycle.reset_token(live.id, False, clock.now).stream_token
    assert refused(hooks.publish(live.stream_token))
    assert not refused(hooks.publish(fresh))


def test_the_token_of_a_deleted_channel_is_refused(hooks, live, lifecycle, clock):
    lifecycle.delete(live.id, clock.now)
    assert refused(hooks.publish(live.stream_token))


def test_a_reused_token_opens_the_new_channel(hooks, live, lifecycle, clock):
    lifecycle.stop(live.id, clock.now)
    fresh = new(lifecycle, clock.now, streamToken=live.stream_token)
    assert not refused(hooks.publish(live.stream_token))
    assert (len(sessions(fresh)), sessions(live)) == (1, [])


def test_an_encoder_that_keeps_trying_costs_one_entry(hooks, live, lifecycle, clock):
    lifecycle.stop(live.id, clock.now)
    for client_id in range(1, 41):
        clock.now += after(seconds=5)
        assert refused(hooks.publish(live.stream_token, client_id))
        assert refused(hooks.publish("nobody", client_id))
    assert sorted(refusals()) == [("ended", 40), ("unknown_token", 40)]


def test_many_encoders_that_keep_trying_cost_one_entry_each(hooks, live, lifecycle, clock):
    lifecycle.stop(live.id, clock.now)
    for client_id in range(1, 91):
        body = f"app=live&addr=192.0.2.{client_id % 30}&clientid={client_id}&call=publish&name={live.stream_token}"
        assert refused(hooks.client.post(f"{hooks.path}?instance=aa", data=body, content_type=FORM))
    assert refusals() == [("ended", 3)] * 30


def test_a_refusal_is_shown_in_the_timeline_with_its_reason(hooks, client, channel):
    hooks.publish(channel["streamToken"], 1)
    hooks.publish(channel["streamToken"], 2)
    entry = client.get(f"/v1/live/{channel['id']}/event").json["data"][0]
    assert entry["event"] == "refused"
    assert entry["detail"] == {
        "reason": "busy",
        "clientIp": "127.0.0.1",
        "count": 1,
        "lastTime": entry["time"],
    }


def test_every_event_of_many_threads_is_in_the_feed_once(hooks, live, lifecycle, clock):
    channels = [new(lifecycle, clock.now) for _ in range(6)]

    def broadcast(mine: NginxHooks, number: int) -> None:
        for turn in range(4):
            mine.publish(channels[number].stream_token, 10 * number + turn + 1)
            mine.publish_done(channels[number].stream_token, 10 * number + turn + 1)

    at_once(hooks, [lambda mine, n=n: broadcast(mine, n) for n in range(6)])
    assert all(events(channel) == ["channel_connected", "channel_stop"] * 4 for channel in channels)
    assert Event.select().count() == 48
