"""Stopping and deleting a channel: DELETE of contract section 2."""

import pytest

from db import utcnow
from models import Channel, ChannelTag, Event, Session, TimelineEntry
from tests.envelope import refused, wrong
from tests.story import after, again, arrival, events, new, payload, sessions, timeline


@pytest.fixture
def now():
    """The real one: these tests act through the API, which has no other, and whose timers run."""
    return utcnow()


def coming(lifecycle, now) -> Channel:
    return new(lifecycle, now, startAt=(now + after(hours=1)).isoformat())


def connected(lifecycle, now) -> Channel:
    channel = new(lifecycle, now, tags="a,b")
    lifecycle.publish(channel.stream_token, arrival(1), now)
    return channel


def live(lifecycle, now) -> Channel:
    channel = connected(lifecycle, now)
    lifecycle.playable(sessions(channel)[0].id, now)
    return again(channel)


def broken(lifecycle, now) -> Channel:
    channel = connected(lifecycle, now)
    lifecycle.unplayable(sessions(channel)[0].id, "no video", now)
    return again(channel)


def waiting(lifecycle, now) -> Channel:
    channel = live(lifecycle, now)
    lifecycle.unpublish(arrival(1).connection, "left", now)
    return again(channel)


STATES = {
    "coming": (coming, []),
    "init": (new, []),
    "connected": (connected, ["channel_connected", "channel_stop"]),
    "live": (live, ["channel_connected", "channel_live", "channel_stop"]),
    "error": (broken, ["channel_connected", "channel_error", "channel_stop"]),
    "waiting": (waiting, ["channel_connected", "channel_live", "channel_stop"]),
}
IN_EVERY_STATE = pytest.mark.parametrize("state", STATES)


@IN_EVERY_STATE
def test_a_channel_is_stopped_in_any_state(client, lifecycle, now, state):
    begin, told = STATES[state]
    base = "/livestream/live" if state in ("live", "coming") else "/v1/live"
    channel = begin(lifecycle, now)
    reply = client.delete(f"{base}/{channel.id}")
    assert reply.status_code == 200
    found = reply.json["data"]
    assert (found["status"], found["endReason"], found["publishing"]) == ("ended", "stopped", False)
    assert found["livestreamUrl"] is None
    assert found["stopTime"] is not None
    assert events(channel) == [*told, "channel_ended"]
    assert timeline(channel)[-1] == "ended"
    assert found == client.get(f"{base}/{channel.id}").json["data"]


@IN_EVERY_STATE
def test_stopping_twice_changes_nothing(client, lifecycle, now, state):
    channel = STATES[state][0](lifecycle, now)
    first = client.delete(f"/v1/live/{channel.id}").json
    counted = [table.select().count() for table in (Event, TimelineEntry, Session)]
    second = client.delete(f"/v1/live/{channel.id}")
    assert (second.status_code, second.json) == (200, first)
    assert [table.select().count() for table in (Event, TimelineEntry, Session)] == counted


def test_a_publisher_is_cut_off_with_the_time_of_the_stop(lifecycle, now):
    channel = live(lifecycle, now)
    ends = now + after(seconds=90)
    lifecycle.stop(channel.id, ends)
    (session,) = sessions(channel)
    assert (session.stop_time, session.end_reason) == (ends, "stopped")
    found = again(channel)
    assert (found.stop_time, found.sent_ms) == (ends, 90_000)


def test_stop_and_ended_are_told_in_this_order_of_one_moment(lifecycle, now):
    channel = live(lifecycle, now)
    lifecycle.stop(channel.id, now + after(seconds=5))
    stop, ended = payload(channel, "channel_stop"), payload(channel, "channel_ended")
    assert stop["eventTime"] == ended["eventTime"]
    assert (stop["seq"], ended["seq"]) == (3, 4)
    assert (stop["status"], ended["status"]) == ("init", "ended")
    assert ended["endReason"] == "stopped"
    assert (stop["publishing"], ended["publishing"]) == (False, False)
    assert stop["sessionId"] == ended["sessionId"] == sessions(channel)[0].id


def test_stop_and_ended_are_one_transaction(lifecycle, now, monkeypatch):
    channel = live(lifecycle, now)

    def cut(channel, kind, *_, **__):
        if kind == "ended":
            raise KeyboardInterrupt

    monkeypatch.setattr("live.lifecycle.note", cut)
    with pytest.raises(KeyboardInterrupt):
        lifecycle.stop(channel.id, now)
    assert events(channel) == ["channel_connected", "channel_live"]
    assert (again(channel).status, sessions(channel)[0].stop_time) == ("live", None)


def test_nobody_publishes_to_a_stopped_channel_again(client, hooks, channel):
    hooks.publish(channel["streamToken"], 1)
    client.delete(f"/v1/live/{channel['id']}")
    assert hooks.publish(channel["streamToken"], 2).status_code == 403
    assert hooks.publish(channel["streamToken"], 1).status_code == 403
    hooks.publish_done(channel["streamToken"], 1)
    assert client.get(f"/v1/live/{channel['id']}").json["data"]["publishing"] is False


def test_the_start_of_a_channel_that_never_had_one_stays_empty(client, channel):
    found = client.delete(f"/v1/live/{channel['id']}").json["data"]
    assert (found["startTime"], found["duration"]) == (None, 0)
    assert found["stopTime"] >= channel["createdAt"]


def test_delete_false_only_stops(client, channel):
    for flag in ("delete=false", "delete=0"):
        assert client.delete(f"/v1/live/{channel['id']}?{flag}").status_code == 200
        assert client.get(f"/v1/live/{channel['id']}").json["data"]["status"] == "ended"


def test_a_wrong_flag_stops_nothing(client, channel):
    for flag in ("delete=yes", "delete=", "delete=True", "Delete=true", "delete=true&x=1"):
        assert wrong(client.delete(f"/v1/live/{channel['id']}?{flag}"))
    assert client.get(f"/v1/live/{channel['id']}").json["data"]["status"] == "init"


# Deleting.


@IN_EVERY_STATE
def test_a_deleted_channel_is_gone_and_its_events_are_not(client, lifecycle, now, state):
    begin, told = STATES[state]
    flag = "delete=1" if state == "live" else "delete=true"
    channel = begin(lifecycle, now)
    reply = client.delete(f"/v1/live/{channel.id}?{flag}")
    assert (reply.status_code, reply.data) == (204, b"")
    assert events(channel) == [*told, "channel_ended"]
    assert payload(channel, "channel_ended")["name"] == "A channel"
    for table in (Channel, ChannelTag, Session, TimelineEntry):
        assert table.select().count() == 0, table


def test_a_deleted_channel_is_404_from_then_on(client, channel):
    client.delete(f"/v1/live/{channel['id']}?delete=true")
    calls = [("GET", ""), ("PUT", ""), ("DELETE", ""), ("DELETE", "?delete=true"), ("GET", "/rtmp")]
    for method, rest in [*calls, ("POST", "/token"), ("GET", "/session"), ("GET", "/event")]:
        refused(client.open(f"/v1/live/{channel['id']}{rest}", method=method), 404, 40400)


def test_an_ended_channel_is_deleted_without_another_event(client, channel, db):
    client.delete(f"/v1/live/{channel['id']}")
    assert client.delete(f"/v1/live/{channel['id']}?delete=true").status_code == 204
    assert events(channel["id"]) == ["channel_ended"]


def test_the_token_of_a_deleted_channel_is_free(client, channel, hooks):
    client.delete(f"/v1/live/{channel['id']}?delete=true")
    assert hooks.publish(channel["streamToken"]).status_code == 403
    again_ = client.post("/v1/live", json={"name": "x", "streamToken": channel["streamToken"]})
    assert again_.status_code == 201
    assert hooks.publish(channel["streamToken"]).status_code == 302


def test_the_last_event_of_a_deleted_channel_is_delivered(client, channel, db):
    webhook = client.post("/v1/webhook", json={"uri": "http://192.0.2.1/x", "event": "channel_ended"})
    assert webhook.status_code == 201, webhook.text
    client.delete(f"/v1/live/{channel['id']}?delete=true")
    deliveries = client.get(f"/v1/webhook/{webhook.json['data']['id']}/delivery").json["data"]
    assert [(each["event"], each["channelId"]) for each in deliveries] == [("channel_ended", channel["id"])]
