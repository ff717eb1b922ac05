"""Updating a channel: PUT and PATCH of contract section 2."""

import pytest

from models import Channel
from tests.envelope import refused, wrong
from tests.story import after, again, arrival, events, new, payload, timeline

BOTH = pytest.mark.parametrize("method", ["PUT", "PATCH"])
CHANGES = {
    "name": "Tên mới",
    "description": "a\nb",
    "tags": ["x", "y"],
    "catchup": False,
    "record": True,
    "dvr": True,
    "thumbnail": True,
    "thumbWidth": 640,
    "thumbHeight": 360,
    "thumbInterval": 20,
    "transcodeProfile": ["360p"],
    "mode": "low-latency",
    "stopTimeout": 60,
    "startAt": "2099-01-01T00:00:00.000Z",
    "playback": "signed",
    "metadata": {"a": [1]},
}
ALWAYS = {"name", "description", "tags", "metadata"}


@pytest.fixture
def path(channel) -> str:
    return f"/v1/live/{channel['id']}"


def stored(channel: dict) -> Channel:
    return Channel.named(channel["id"])


@BOTH
@pytest.mark.parametrize("base", ["/v1/live", "/livestream/live"])
def test_only_what_is_sent_changes(client, channel, method, base):
    before = client.get(f"/v1/live/{channel['id']}").json["data"]
    reply = client.open(f"{base}/{channel['id']}", method=method, json={"thumbWidth": 640})
    assert reply.status_code == 200
    assert reply.json["data"] == client.get(f"/v1/live/{channel['id']}").json["data"]
    after_it = reply.json["data"]
    assert after_it["updatedAt"] >= before["updatedAt"]
    assert after_it == before | {"thumbWidth": 640, "updatedAt": after_it["updatedAt"]}


def test_every_field_can_be_changed_alone_and_is_kept(client, path):
    for field, value in CHANGES.items():
        before = client.get(path).json["data"]
        changed = client.patch(path, json={field: value}).json["data"]
        assert before[field] != changed[field] == value
        assert client.get(path).json["data"] == changed


def test_all_fields_can_be_changed_at_once(client, path):
    changed = client.put(path, json=CHANGES).json["data"]
    assert {name: changed[name] for name in CHANGES} == CHANGES
    assert changed["status"] == "coming"


def test_what_cannot_be_changed_is_named(client, path):
    before = client.get(path).json
    for field in ("id", "status", "accountId", "expire", "streamToken", "createdAt", "endReason"):
        assert wrong(client.put(path, json={field: "1", "name": "y"})) == {field}
    assert client.get(path).json == before, "nothing of a wrong update is kept"


def test_null_is_wrong_but_for_start_at(client, path):
    nulls = dict.fromkeys(CHANGES.keys() - {"startAt"})
    assert wrong(client.patch(path, json=nulls | {"startAt": None})) == nulls.keys()


def test_a_field_that_is_required_to_create_is_not_to_update(client, path):
    assert client.put(path, json={"dvr": True}).json["data"]["name"] == "A channel"
    assert wrong(client.put(path, json={"name": " "})) == {"name"}


def test_a_form_updates_too(client, path):
    assert client.put(path, data={"name": "y", "dvr": "1"}).json["data"]["dvr"] is True


# An empty update.


@BOTH
@pytest.mark.parametrize(
    "body", [None, {}, {"name": "A channel"}, {"tags": "", "dvr": False, "metadata": {}}]
)
def test_what_changes_nothing_leaves_no_trace(client, path, channel, db, method, body):
    before = client.get(path).json
    reply = (
        client.open(path, method=method, json=body) if body is not None else client.open(path, method=method)
    )
    assert (reply.status_code, reply.json) == (200, before)
    assert timeline(stored(channel)) == ["created"]
    assert events(channel["id"]) == []


def test_an_empty_update_of_an_ended_channel_is_fine(client, path):
    client.delete(path)
    before = client.get(path).json
    assert client.patch(path, json={}).json == before


@pytest.mark.parametrize(
    ("old", "fresh"), [(1, True), (0, False), (1, 1.0), (True, 1), ({"b": [1]}, {"b": [True]}), ({}, [])]
)
def test_metadata_is_returned_as_it_came_last(client, path, old, fresh):
    """1, 1.0 and true are equal to Python, but not to an App Server."""
    client.put(path, json={"metadata": {"a": old}})
    shown = client.put(path, json={"metadata": {"a": fresh}}).json["data"]["metadata"]["a"]
    assert (shown, type(shown)) == (fresh, type(fresh))
    assert repr(client.get(path).json["data"]["metadata"]["a"]) == repr(fresh)


# What an update is seen by.


def test_an_update_is_one_line_of_the_timeline_in_the_words_of_the_wire(client, path):
    client.put(path, json={"stopTimeout": 5, "thumbWidth": 60, "name": "A channel"})
    line = client.get(f"{path}/event").json["data"][0]
    assert (line["event"], sorted(line["detail"]["fields"])) == ("updated", ["stopTimeout", "thumbWidth"])


def test_an_update_is_no_event(client, path, channel, db):
    client.put(path, json={"name": "y"})
    assert events(channel["id"]) == []


def test_a_change_while_publishing_disturbs_nothing(lifecycle, now):
    channel = new(lifecycle, now)
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.playable(session.id, now)
    lifecycle.update(channel.id, {"mode": "low-latency", "catchup": False, "stop_timeout": 0}, now)
    found = again(channel)
    assert (found.status, found.mode, found.due_at) == ("live", "low-latency", None)
    lifecycle.stop(channel.id, now)
    assert payload(channel, "channel_ended")["catchup"] is False, "as it stands at the end"


# startAt.


def start(client, path, value) -> str:
    reply = client.patch(path, json={"startAt": value})
    assert reply.status_code == 200
    assert reply.json["data"]["startAt"] == value
    return reply.json["data"]["status"]


def test_a_future_start_before_the_first_publish_makes_it_coming(client, path):
    assert start(client, path, "2099-01-01T00:00:00.000Z") == "coming"
    assert start(client, path, "2098-01-01T00:00:00.000Z") == "coming"
    assert start(client, path, None) == "init"


def test_a_past_start_makes_it_init(client, path, channel):
    start(client, path, "2099-01-01T00:00:00.000Z")
    just_past = channel["createdAt"]
    assert start(client, path, just_past) == "init"


def test_a_start_long_ago_opens_the_channel_and_does_not_expire_it(client, path):
    assert start(client, path, "2019-01-01T00:00:00.000Z") == "init"


def test_a_start_after_the_first_publish_changes_no_status(lifecycle, now):
    channel = new(lifecycle, now, stopTimeout=60)
    lifecycle.publish(channel.stream_token, arrival(1), now)
    later = now + after(hours=1)
    assert lifecycle.update(channel.id, {"start_at": later}, now).status == "init"
    lifecycle.unpublish(arrival(1).connection, "left", now)
    assert lifecycle.update(channel.id, {"start_at": later + after(hours=1)}, now).status == "init"
    lifecycle.run_due(now + after(hours=2, seconds=59))
    assert again(channel).status == "init", "stopTimeout does not run before startAt"
    lifecycle.run_due(now + after(hours=2, seconds=60))
    assert again(channel).status == "ended"


def test_a_new_start_is_told_in_the_timeline(client, path):
    start(client, path, "2099-01-01T00:00:00.000Z")
    lines = client.get(f"{path}/event").json["data"]
    assert [line["event"] for line in lines] == ["scheduled", "updated", "created"]
    assert lines[0]["detail"] == {"startAt": "2099-01-01T00:00:00.000Z"}


# An ended channel.


def test_an_ended_channel_takes_nothing_that_shapes_a_broadcast(client, path):
    client.delete(path)
    before = client.get(path).json
    for field in CHANGES.keys() - ALWAYS:
        refused(client.put(path, json={field: CHANGES[field], "name": "y"}), 422, 42201)
    assert client.get(path).json == before


def test_an_ended_channel_still_takes_its_words(client, path):
    client.delete(path)
    for field in ALWAYS:
        changed = client.put(path, json={field: CHANGES[field]}).json["data"]
        assert (changed[field], changed["status"]) == (CHANGES[field], "ended")


def test_wrong_comes_before_not_possible(client, path):
    client.delete(path)
    assert wrong(client.put(path, json={"thumbWidth": 1})) == {"thumbWidth"}


def test_a_channel_that_is_not_there_is_404(client):
    refused(client.put("/v1/live/ch_none", json={"name": "y"}), 404, 40400)
