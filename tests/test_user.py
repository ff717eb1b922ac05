"""Users: limits of an account, what it uses, and that they hold however many come at once (contract, section 4)."""

import pytest

from app import create_app
from db import utcnow
from live.limits import MEASURED_MS
from live.reconcile import reconcile
from media.servers import Publisher
from models import Channel, Session
from tests.conftest import installation
from tests.envelope import refused, wrong
from tests.race import at_once, processes_at_once
from tests.story import after, again, arrival, events, new, payload, sessions, timeline

NONE = dict.fromkeys(["maxChannels", "maxLive", "maxDuration", "maxBitrate", "maxHeight", "maxStorage"])


@pytest.fixture
def limit(client):
    """Gives account "1" limits."""

    def limited(account: str = "1", **limits) -> None:
        assert client.put(f"/v1/user/{account}", json={"limits": limits}).status_code == 200

    return limited


def create(client, **fields):
    return client.post("/v1/live", json={"name": "x"} | fields)


def refusals(channel) -> list[str]:
    entries = again(channel).timeline
    return [entry.detail["reason"] for entry in entries if entry.kind == "refused"]


# The resource.


def test_a_user_is_made_with_the_limits_that_are_sent(client):
    reply = client.post("/v1/user", json={"id": "acme", "name": "Acme", "limits": {"maxLive": 2}})
    made = reply.json["data"]
    assert (reply.status_code, reply.headers["Location"]) == (201, "/v1/user/acme")
    assert list(made) == ["id", "name", "limits", "usage", "createdAt", "updatedAt"]
    assert made["limits"] == NONE | {"maxLive": 2}
    assert made["usage"] == {"channels": 0, "live": 0, "storage": 0}
    assert client.get("/v1/user/acme").json["data"] == made
    assert client.get("/v1/user").json["data"] == [made]


def test_a_user_that_is_there_is_not_made_again(client):
    client.post("/v1/user", json={"id": "acme"})
    assert wrong(client.post("/v1/user", json={"id": "acme"})) == {"id"}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_limits_are_merged_one_by_one(client, method):
    def put(**body) -> dict:
        reply = client.open("/v1/user/acme", method=method, json=body)
        assert reply.status_code == 200
        return reply.json["data"]

    assert put(name="Acme")["limits"] == NONE, "an account without a user gets one"
    assert put(limits={"maxLive": 2, "maxHeight": 720})["limits"] == NONE | {"maxLive": 2, "maxHeight": 720}
    merged = put(limits={"maxLive": None, "maxStorage": 5})
    assert (merged["limits"], merged["name"]) == (NONE | {"maxHeight": 720, "maxStorage": 5}, "Acme")
    assert put() == merged, "an empty update changes nothing"


def test_a_form_carries_limits_as_json(client):
    client.put("/v1/user/acme", data={"limits": '{"maxLive": 2}', "name": "Acme"})
    assert client.get("/v1/user/acme").json["data"]["limits"]["maxLive"] == 2


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"maxLive": -1}, "limits.maxLive"),
        ({"maxLive": "2"}, "limits.maxLive"),
        ({"maxLive": 1.5}, "limits.maxLive"),
        ({"maxLive": True}, "limits.maxLive"),
        ({"maxLive": 2**63}, "limits.maxLive"),
        ({"max_live": 2}, "limits.max_live"),
        ("2", "limits"),
        (None, "limits"),
        ([], "limits"),
    ],
)
def test_wrong_limits_are_named(client, limits, field):
    assert wrong(client.put("/v1/user/acme", json={"limits": limits})) == {field}
    refused(client.get("/v1/user/acme"), 404, 40400)


def test_an_account_that_cannot_be_is_not_found(client):
    for account in ("a b", "x" * 65, "é"):
        refused(client.put(f"/v1/user/{account}", json={}), 404, 40400)


def test_deleting_a_user_is_a_return_to_the_defaults_and_keeps_its_channels(client, limit):
    limit(maxChannels=1)
    create(client)
    assert client.delete("/v1/user/1").status_code == 204
    refused(client.delete("/v1/user/1"), 404, 40400)
    assert create(client).status_code == 201
    assert client.get("/v1/live").json["total"] == 2


def test_an_account_without_a_user_has_the_limits_of_the_configuration(tmp_path, client, db):
    configured = create_app(installation(tmp_path, USER_MAX_CHANNELS="1", USER_MAX_HEIGHT="720"))
    limits = configured.extensions["livestream"].limits
    assert limits.of("1") == dict.fromkeys(limits.of("1")) | {"max_channels": 1, "max_height": 720}
    client.post("/v1/user", json={"id": "1"})
    assert limits.of("1") == dict.fromkeys(limits.of("1")), "a user has its own, whatever is configured"


# maxChannels.


def test_the_channel_beyond_the_limit_is_refused_until_one_has_ended(client, limit):
    limit(maxChannels=2)
    first, _ = create(client), create(client)
    body = refused(create(client), 403, 40301)
    assert "maxChannels" in body["msg"]
    assert create(client, accountId="other").status_code == 201, "each account has its own"
    client.delete(f"/v1/live/{first.json['data']['id']}")
    assert create(client).status_code == 201
    assert client.get("/v1/user/1").json["data"]["usage"]["channels"] == 2


def test_a_limit_lowered_below_what_there_is_cuts_nothing(client, limit):
    channels = [create(client).json["data"]["id"] for _ in range(3)]
    limit(maxChannels=1)
    assert {client.get(f"/v1/live/{each}").json["data"]["status"] for each in channels} == {"init"}
    refused(create(client), 403, 40301)


def test_24_creates_at_the_same_moment_make_exactly_as_many_as_the_limit(client, app, limit, races):
    for race in range(races):
        limit(account=f"race{race}", maxChannels=3)
        replies = at_once([lambda: create(app.test_client(), accountId=f"race{race}")] * 24)  # noqa: B023
        assert sorted(reply.status_code for reply in replies) == [201] * 3 + [403] * 21
        mine = client.get(f"/v1/live?accountId=race{race}").json
        assert mine["total"] == 3


def test_creates_in_several_processes_make_exactly_as_many_as_the_limit(client, config, limit):
    limit(maxChannels=3)
    answers = processes_at_once(config, 4, [{"json": {"name": "x"}}] * 24)
    assert sorted(status for status, _ in answers) == [201] * 3 + [403] * 21
    assert client.get("/v1/live").json["total"] == 3


# maxLive.


def test_24_publishers_at_the_same_moment_are_let_in_up_to_the_limit(lifecycle, hooks, limit, races):
    for race in range(races):
        limit(account=f"race{race}", maxLive=3)
        channels = [new(lifecycle, utcnow(), accountId=f"race{race}") for _ in range(24)]
        acts = [
            lambda n=n, each=each: hooks.publish(each.stream_token, race * 100 + n)  # noqa: B023
            for n, each in enumerate(channels)
        ]
        replies = at_once(acts)
        assert sorted(reply.status_code for reply in replies) == [302] * 3 + [403] * 21
        assert sum(len(sessions(each)) for each in channels) == 3
        assert sum(refusals(each) == ["limit_live"] for each in channels) == 21


def test_a_publisher_that_comes_back_takes_the_place_it_left(lifecycle, limit, hooks):
    limit(maxLive=1)
    first, second = new(lifecycle, utcnow()), new(lifecycle, utcnow())
    assert hooks.publish(first.stream_token, 1).status_code == 302
    assert hooks.publish(second.stream_token, 2).status_code == 403
    hooks.publish_done(first.stream_token, 1)
    assert hooks.publish(second.stream_token, 3).status_code == 302


# maxDuration.


def test_a_channel_ends_when_its_duration_reaches_the_limit(lifecycle, limit, now):
    limit(maxDuration=100)
    channel = new(lifecycle, now)
    lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.run_due(now + after(seconds=99))
    assert again(channel).status == "init"
    lifecycle.run_due(now + after(seconds=100))
    assert (again(channel).status, again(channel).end_reason) == ("ended", "limit")
    assert events(channel) == ["channel_connected", "channel_stop", "channel_ended"]
    assert payload(channel, "channel_ended")["duration"] == 100


def test_the_duration_goes_on_over_reconnections_and_not_between_them(lifecycle, limit, now):
    limit(maxDuration=100)
    channel = new(lifecycle, now)
    lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.unpublish(arrival(1).connection, "left", now + after(seconds=60))
    lifecycle.publish(channel.stream_token, arrival(2), now + after(seconds=300))
    lifecycle.run_due(now + after(seconds=339))
    assert again(channel).status == "init"
    lifecycle.run_due(now + after(seconds=340))
    assert again(channel).end_reason == "limit"


def test_silence_is_no_time_on_air(lifecycle, limit, now):
    limit(maxDuration=100)
    channel = new(lifecycle, now)
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    for second, sent in ((10, 1000), (20, 1000), (50, 2000)):  # silent from 10 to 50
        look(lifecycle, session, now + after(seconds=second), sent)
    lifecycle.run_due(now + after(seconds=139))
    assert again(channel).status == "init"
    lifecycle.run_due(now + after(seconds=140))
    assert again(channel).end_reason == "limit"
    assert again(channel).sent_ms == 100_000


def test_a_limit_that_is_raised_in_time_lets_the_broadcast_go_on(lifecycle, limit, now):
    limit(maxDuration=100)
    channel = new(lifecycle, now)
    lifecycle.publish(channel.stream_token, arrival(1), now)
    limit(maxDuration=200)
    lifecycle.run_due(now + after(seconds=199))
    assert again(channel).status == "init"
    lifecycle.run_due(now + after(seconds=200))
    assert again(channel).end_reason == "limit"


def test_a_limit_that_is_lowered_is_for_the_next_session(lifecycle, limit, now):
    channel = new(lifecycle, now)
    lifecycle.publish(channel.stream_token, arrival(1), now)
    limit(maxDuration=10)
    lifecycle.run_due(now + after(seconds=50))
    assert again(channel).status == "init"
    lifecycle.unpublish(arrival(1).connection, "left", now + after(seconds=60))
    with pytest.raises(Exception, match="limit_duration"):
        lifecycle.publish(channel.stream_token, arrival(2), now + after(seconds=61))
    assert refusals(channel) == ["limit_duration"]


# maxBitrate, maxHeight.


def look(lifecycle, session: Session, now, bytes_in: int, height: int = 720) -> list[str]:
    connection = session.connection
    seen = Publisher(connection, "1", session.id, bytes_in, {"height": height}, {"codec": "AAC"})
    return reconcile(lifecycle, "nginx-rtmp/aa", [seen], now)


@pytest.mark.parametrize(
    ("limits", "kbits", "height", "reason"),
    [
        ({"maxBitrate": 1000}, 1001, 720, "limit_bitrate"),
        ({"maxBitrate": 1000}, 1000, 720, None),
        ({"maxHeight": 720}, 1000, 1080, "limit_height"),
        ({"maxHeight": 720}, 1000, 720, None),
        ({}, 100_000, 2160, None),
    ],
)
def test_a_signal_beyond_a_limit_for_ten_seconds_is_dropped(
    lifecycle, limit, now, limits, kbits, height, reason
):
    limit(**limits)
    channel = new(lifecycle, now)
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    for ms in range(0, MEASURED_MS + 1, 2000):
        assert look(lifecycle, session, now + after(milliseconds=ms), ms * kbits // 8, height) == []
    assert again(session).end_reason == reason
    assert ("unpublished" in timeline(channel)) == bool(reason)
    drop = look(lifecycle, session, now + after(seconds=12), 10**9, height)
    assert drop == (["1"] if reason else []), "what is over is dropped"


def test_a_burst_within_ten_seconds_is_no_bitrate(lifecycle, limit, now):
    limit(maxBitrate=1000)
    channel = new(lifecycle, now)
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    for ms, sent in ((0, 0), (200, 1_000_000), (10_000, 1_250_000)):
        look(lifecycle, session, now + after(milliseconds=ms), sent)
    assert (again(session).bitrate, again(session).stop_time) == (1000, None)


def test_usage_counts_open_sessions_and_channels_not_ended(client, lifecycle, now, limit):
    limit()
    live, _, over = (new(lifecycle, now) for _ in range(3))
    lifecycle.publish(live.stream_token, arrival(1), now)
    lifecycle.stop(over.id, now)
    usage = client.get("/v1/user/1").json["data"]["usage"]
    assert (usage["channels"], usage["live"]) == (2, 1)
    assert Channel.select().count() == 3
