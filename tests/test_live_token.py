"""A channel's streamToken: resetting it, reading it, and where it never is (contract, section 2)."""

import re

import pytest

from models import Channel, Delivery, Event, TimelineEntry
from tests.envelope import refused, wrong
from tests.story import after, again, arrival, events, new, sessions, timeline


@pytest.fixture
def path(channel) -> str:
    return f"/v1/live/{channel['id']}"


@pytest.mark.parametrize("base", ["/v1/live", "/livestream/live"])
def test_a_reset_answers_with_the_new_token(client, channel, base):
    reply = client.post(f"{base}/{channel['id']}/token")
    assert reply.status_code == 200
    fresh = reply.json["data"]
    assert fresh == client.get(f"{base}/{channel['id']}/rtmp").json["data"]
    assert fresh["streamToken"] != channel["streamToken"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{32,128}", fresh["streamToken"])
    assert fresh | {"streamToken": ""} == {
        "id": channel["id"],
        "streamId": channel["id"],
        "streamUrl": channel["streamUrl"],
        "streamToken": "",
        "node": client.application.config["LIVESTREAM"].node or None,
        "region": "",
    }


@pytest.mark.parametrize("body", [None, {}, {"disconnect": False}])
def test_without_disconnect_the_publisher_goes_on(client, hooks, channel, path, body, db):
    hooks.publish(channel["streamToken"], 1)
    reply = client.post(f"{path}/token", json=body) if body is not None else client.post(f"{path}/token")
    assert reply.status_code == 200
    assert client.get(path).json["data"]["publishing"] is True
    assert hooks.publish(channel["streamToken"], 2).status_code == 403
    assert hooks.publish(reply.json["data"]["streamToken"], 2).status_code == 403, "the first is still in"
    hooks.publish_done(channel["streamToken"], 1)
    assert hooks.publish(channel["streamToken"], 3).status_code == 403, "the old one is refused from now on"
    assert hooks.publish(reply.json["data"]["streamToken"], 4).status_code == 302
    assert events(channel["id"]) == ["channel_connected", "channel_stop", "channel_connected"]


def test_with_disconnect_the_publisher_is_cut_off(client, hooks, channel, path, db):
    hooks.publish(channel["streamToken"], 1)
    fresh = client.post(f"{path}/token", json={"disconnect": True}).json["data"]["streamToken"]
    found = client.get(path).json["data"]
    assert (found["publishing"], found["status"]) == (False, "init")
    assert client.get(f"{path}/session").json["data"][0]["endReason"] == "token_reset"
    assert events(channel["id"]) == ["channel_connected", "channel_stop"]
    assert hooks.publish(channel["streamToken"], 1).status_code == 403
    assert hooks.publish(fresh, 2).status_code == 302


def test_disconnect_without_a_publisher_only_resets(client, path, channel, db):
    assert client.post(f"{path}/token", data={"disconnect": "1"}).status_code == 200
    assert events(channel["id"]) == []


def test_disconnect_of_a_channel_that_does_not_wait_ends_it(lifecycle, now):
    channel = new(lifecycle, now, stopTimeout=0)
    lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.reset_token(channel.id, True, now)
    assert again(channel).end_reason == "stop_timeout"
    assert events(channel) == ["channel_connected", "channel_stop", "channel_ended"]


def test_a_silent_publisher_is_cut_off_as_of_its_last_byte(lifecycle, now):
    channel = new(lifecycle, now)
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    session.silent_since = now + after(seconds=5)
    session.save()
    lifecycle.reset_token(channel.id, True, now + after(seconds=60))
    assert sessions(channel)[0].stop_time == now + after(seconds=5)


def test_a_reset_is_in_the_timeline_and_no_event(client, path, channel, db):
    client.post(f"{path}/token")
    assert timeline(Channel.named(channel["id"])) == ["created", "token_reset"]
    assert events(channel["id"]) == []
    assert client.get(path).json["data"]["updatedAt"] > channel["createdAt"]


@pytest.mark.parametrize("body", [{"disconnect": "yes"}, {"disconnect": None}, {"disconnect": 1}])
def test_a_wrong_body_resets_nothing(client, channel, path, body):
    assert wrong(client.post(f"{path}/token", json=body)) == {"disconnect"}
    assert client.get(f"{path}/rtmp").json["data"]["streamToken"] == channel["streamToken"]


def test_a_token_is_not_chosen_by_a_reset(client, path):
    assert wrong(client.post(f"{path}/token", json={"streamToken": "my-own-token"})) == {"streamToken"}


def test_an_ended_channel_keeps_its_token_which_can_still_be_read(client, channel, path):
    client.delete(path)
    refused(client.post(f"{path}/token"), 422, 42201)
    reply = client.get(f"{path}/rtmp")
    assert (reply.status_code, reply.json["data"]["streamToken"]) == (200, channel["streamToken"])


def test_the_old_token_is_free_for_another_channel(client, channel, path):
    client.post(f"{path}/token")
    assert (
        client.post("/v1/live", json={"name": "x", "streamToken": channel["streamToken"]}).status_code == 201
    )


def test_the_token_is_nowhere_but_in_three_answers(client, anonymous, hooks, lifecycle, now, caplog):
    """Create, reset and /rtmp have it; what else is answered, sent, stored for reading or logged has not."""
    caplog.set_level("INFO")
    secret = "the-secret-stream-token"
    made = client.post("/v1/live", json={"name": "x", "streamToken": secret, "dvr": True, "tags": "a"}).json[
        "data"
    ]
    webhook = client.post("/v1/webhook", json={"uri": "http://192.0.2.1/x", "event": "all"}).json["data"]
    mine = f"/v1/live/{made['id']}"
    answers = []

    def ask(method: str, url: str, **given) -> None:
        for one in (client, anonymous):
            answers.append(one.open(url, method=method, **given).text)

    for step in ("created", "connected", "live", "error", "left", "back", "stopped"):
        if step in ("connected", "back"):
            hooks.publish(secret, len(answers))
            hooks.publish(secret, len(answers) + 1)
        if step == "live":
            lifecycle.playable(sessions(Channel.named(made["id"]))[0].id, now)
        if step == "error":
            lifecycle.unplayable(sessions(Channel.named(made["id"]))[0].id, "no video", now)
        if step == "left":
            for session in sessions(Channel.named(made["id"])):
                lifecycle.unpublish(session.connection, "left", now)
        if step == "stopped":
            client.delete(mine)
        for rest in ("", "/session", "/event"):
            ask("GET", mine + rest)
        ask("GET", "/v1/live")
        ask("GET", f"/v1/live?query={secret}")
        ask("GET", f"/watch/{made['id']}")
        ask("GET", f"/watch/{made['id']}/state")
        ask("GET", f"/v1/webhook/{webhook['id']}/delivery")
        ask("PATCH", mine, json={"description": step})
        ask("POST", "/v1/live", json={"name": "x", "streamToken": secret, "accountId": "9"})
    hooks.publish(secret, 999)
    ask("POST", f"{mine}/token")
    kept = [event.payload for event in Event.select()] + [str(row.payload) for row in Delivery.select()]
    kept += [f"{row.kind} {row.detail}" for row in TimelineEntry.select()]
    assert len(kept) > 20
    assert "refused, busy" in caplog.text
    assert "refused, ended" in caplog.text
    lines = [record.getMessage() for record in caplog.records]
    assert [text for text in [*answers, *kept, *lines] if secret in text] == []
