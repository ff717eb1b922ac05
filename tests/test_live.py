"""Creating and reading a channel: contract section 2."""

import re
import threading

import pytest

from models import Channel
from tests import postgres
from tests.envelope import refused, wrong
from tests.story import events, timeline

DEFAULTS = {
    "description": "",
    "accountId": "1",
    "tags": [],
    "mode": "normal",
    "catchup": True,
    "record": False,
    "dvr": False,
    "thumbnail": False,
    "thumbWidth": 400,
    "thumbHeight": 400,
    "thumbInterval": 10,
    "expire": 86400,
    "transcodeProfile": ["1080p", "720p", "480p", "360p"],
    "stopTimeout": 600,
    "startAt": None,
    "playback": "public",
    "metadata": {},
}
FRESH = {
    "status": "init",
    "health": None,
    "duration": 0,
    "startTime": None,
    "stopTime": None,
    "livestreamUrl": None,
    "videoUrl": None,
    "recordUrl": [],
    "thumbnailUrl": None,
    "dvrUrl": None,
    "publishing": False,
    "healthReasons": [],
    "endReason": None,
    "node": None
    if postgres.WANTED
    else "main",  # beside a shared database a box without a media server is none
    "region": "",
}


def create(client, **fields) -> dict:
    reply = client.post("/v1/live", json={"name": "x"} | fields)
    assert reply.status_code == 201, reply.text
    return reply.json["data"]


def shown(client, channel) -> dict:
    return client.get(f"/v1/live/{channel['id']}").json["data"]


# Create.


def test_a_channel_is_created_with_the_two_fields_for_an_encoder(client):
    reply = client.post("/v1/live", json={"name": "  Concert "})
    data = reply.json["data"]
    assert reply.status_code == 201
    assert reply.json["ec"] == 0
    assert reply.headers["Location"] == f"/v1/live/{data['id']}"
    assert set(data) == {
        "id",
        "streamId",
        "streamUrl",
        "streamToken",
        "createdAt",
        "ingest",
        "node",
        "region",
    }
    assert data["streamId"] == data["id"]
    assert data["streamUrl"] == "rtmp://live.example:1935/live"
    assert data["ingest"]["rtmp"] == data["streamUrl"]


def test_the_location_leads_to_the_channel(client):
    for base in ("/v1/live", "/livestream/live"):
        reply = client.post(base, json={"name": "x"})
        assert client.get(reply.headers["Location"]).json["data"]["id"] == reply.json["data"]["id"]


def test_a_name_is_all_it_takes(client):
    made = create(client)
    found = shown(client, made)
    given = {"id": made["id"], "name": "x", "createdAt": made["createdAt"], "updatedAt": made["createdAt"]}
    assert found == DEFAULTS | FRESH | given


def test_every_field_is_kept_as_sent(client):
    sent = {
        "name": "Đêm nhạc",
        "description": "Dòng 1\nDòng 2\t!",
        "accountId": "acc:1.x_-",
        "tags": ["nhạc", "live"],
        "mode": "ultra-low-latency",
        "catchup": False,
        "record": True,
        "dvr": True,
        "thumbnail": True,
        "thumbWidth": 320,
        "thumbHeight": 180,
        "thumbInterval": 30,
        "expire": 3600,
        "transcodeProfile": ["480p", "360p"],
        "stopTimeout": 0,
        "startAt": "2099-04-18T10:00:00.011Z",
        "playback": "signed",
        "metadata": {"order": [1, 2.5, None, {"é": True}]},
    }
    found = shown(client, create(client, **sent))
    assert {name: found[name] for name in sent} == sent
    assert found["status"] == "coming"


def test_creating_is_in_the_timeline_and_no_event(client, db):
    channel = Channel.named(create(client, startAt="2099-01-01T00:00:00Z")["id"])
    assert (timeline(channel), events(channel)) == (["created", "scheduled"], [])


BOUNDS = {
    "name": (
        ["x", "x" * 255, " x ", "😀" * 255, " " + "x" * 255 + " "],
        ["", " ", "x" * 256, "\u00a0", "😀" * 256],
    ),
    "description": (["", "x" * 5000, "a\r\n\tb"], ["x" * 5001, "a\0b", "a\x0bb"]),
    "accountId": (
        ["1", "x" * 64, "A.b_c:d-9", 7, 0, -7, 10**20],
        ["", "x" * 65, "a b", "ü", "a/b", " 1", "1\n", 1.5, True, 10**64],
    ),
    "tags": (
        ["", "a", "a,b", [], ["a"], ["x" * 50], [str(n) for n in range(20)], ",,a,,", "a" * 50, "a,a," * 30],
        [
            [str(n) for n in range(21)],
            ["x" * 51],
            "x" * 51,
            [1],
            [["a"]],
            {"a": 1},
            5,
            [None],
            ",".join("abcdefghijklmnopqrstu"),
        ],
    ),
    "mode": (
        ["normal", "low-latency", "ultra-low-latency"],
        ["", "Normal", "fast", "low_latency", "normal "],
    ),
    "catchup": ([True, False], ["true", 1, 0, []]),
    "record": ([True, False], ["true", 1]),
    "dvr": ([True, False], ["false", 0]),
    "thumbnail": ([True, False], ["1"]),
    "thumbWidth": ([50, 1920], [49, 1921, 0, -50, 50.5]),
    "thumbHeight": ([50, 1080], [49, 1081]),
    "thumbInterval": ([5, 100], [4, 101]),
    "expire": ([60, 604800], [59, 604801]),
    "stopTimeout": ([0, 1800], [-1, 1801]),
    "transcodeProfile": (
        ["1080p", "720p,360p", ["480p"], "360p, 360p", " 1080p , 720p "],
        ["2160p", "1080", ["720P"], "1080p 720p", [1080], 1080],
    ),
    "streamToken": (
        ["x" * 8, "y" * 128, "Aa0_-Aa0"],
        ["x" * 7, "x" * 129, "a" * 7 + ".", "ä" * 8, "a b c d e", "", "x" * 8 + "\n"],
    ),
    "startAt": (["2099-01-01T00:00:00Z", None], ["2019-01-01T00:00:00Z", "now", "", 0]),
    "playback": (["public", "signed"], ["private", "", "Public"]),
    "region": (["", "eu-west-1", "x" * 32], ["EU", "x" * 33, "a b", "ü", 1]),
    "metadata": (
        [{}, {"a": "x" * 4088}, {"a": "é" * 2044}, {"": None}, {"a": {"b": [[]]}}],
        [{"a": "x" * 4089}, {"a": "é" * 2045}, [], "{}", 1, True],
    ),
}


@pytest.mark.parametrize("field", BOUNDS)
def test_a_field_is_taken_up_to_its_bounds_and_not_beyond(client, field):
    right, not_right = BOUNDS[field]
    for value in right:
        assert client.post("/v1/live", json={"name": "x"} | {field: value}).status_code == 201, value
    for value in not_right:
        assert wrong(client.post("/v1/live", json={"name": "x"} | {field: value})) == {field}, value


def test_every_field_has_its_bounds_tested():
    assert BOUNDS.keys() == {"name", "streamToken", "region", *DEFAULTS}


def test_names_and_tags_are_trimmed_and_tags_once_each(client):
    found = shown(client, create(client, name="\u3000 Tên  kênh ", tags=" a ,b,, a,B , "))
    assert found["name"] == "Tên  kênh"
    assert found["tags"] == ["a", "b", "B"]
    assert shown(client, create(client, tags=[" a ", "", "b", "a"]))["tags"] == ["a", "b"]


def test_profiles_are_kept_in_the_order_given_and_once(client):
    assert shown(client, create(client, transcodeProfile="360p,720p,360p"))["transcodeProfile"] == [
        "360p",
        "720p",
    ]


def test_an_account_given_as_a_number_is_kept_as_text(client):
    assert shown(client, create(client, accountId=42))["accountId"] == "42"


@pytest.mark.parametrize("body", [{}, {"description": "x"}, {"accountId": "2", "mode": "normal"}])
def test_without_a_name_it_is_400(client, body):
    assert wrong(client.post("/v1/live", json=body), 400, 40001) == {"name"}


def test_what_is_wrong_creates_nothing(client):
    client.post("/v1/live", json={"name": "x", "thumbWidth": 1})
    client.post("/v1/live", json={"name": "x", "startAt": "2019-01-01T00:00:00Z"})
    assert client.get("/v1/live").json["total"] == 0


# The stream token.


def test_generated_tokens_are_long_random_and_different(client):
    tokens = [create(client)["streamToken"] for _ in range(20)]
    assert len(set(tokens)) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32,128}", token) for token in tokens)


def test_ids_cannot_be_guessed(client):
    ids = [create(client)["id"] for _ in range(20)]
    assert len({channel_id[:8] for channel_id in ids}) == 20


def test_a_given_token_is_used(client):
    assert create(client, streamToken="my-own_token")["streamToken"] == "my-own_token"


def test_a_token_in_use_is_refused_until_its_channel_has_ended(client):
    first = create(client)
    again = {"name": "x", "streamToken": first["streamToken"]}
    refused(client.post("/v1/live", json=again), 422, 42202)
    refused(client.post("/v1/live", json=again | {"accountId": "2"}), 422, 42202)
    client.delete(f"/v1/live/{first['id']}")
    assert client.post("/v1/live", json=again).status_code == 201
    refused(client.post("/v1/live", json=again), 422, 42202)


def test_a_token_of_another_accounts_past_is_refused(client):
    first = create(client, accountId="a")
    client.delete(f"/v1/live/{first['id']}")
    again = {"name": "x", "streamToken": first["streamToken"]}
    refused(client.post("/v1/live", json=again | {"accountId": "b"}), 422, 42202)
    assert client.post("/v1/live", json=again | {"accountId": "a"}).status_code == 201


def test_a_refused_token_is_not_repeated_in_the_refusal(client):
    first = create(client)
    reply = client.post("/v1/live", json={"name": "x", "streamToken": first["streamToken"]})
    assert first["streamToken"] not in reply.text


def test_of_many_creates_with_one_token_at_once_one_wins(app, client):
    barrier, answers = threading.Barrier(8), []

    def one() -> None:
        mine = type(client)(app)
        barrier.wait(10)
        answers.append(mine.post("/v1/live", json={"name": "x", "streamToken": "the-same-token"}))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(reply.json["ec"] for reply in answers) == [0] + [42202] * 7
    assert client.get("/v1/live").json["total"] == 1


def test_tokens_differ_by_case(client):
    assert create(client, streamToken="abcdefgh")["id"] != create(client, streamToken="ABCDEFGH")["id"]


# Read.


@pytest.mark.parametrize("base", ["/v1/live", "/livestream/live"])
def test_a_channel_is_read_at_both_paths(client, channel, base):
    reply = client.get(f"{base}/{channel['id']}")
    assert reply.status_code == 200
    assert reply.json.keys() == {"ec", "data"}
    assert reply.json["data"]["id"] == channel["id"]


@pytest.mark.parametrize("rest", ["", "/rtmp", "/session", "/event"])
def test_a_channel_that_is_not_there_is_404(client, rest):
    refused(client.get(f"/v1/live/ch_0123456789abcdef0123{rest}"), 404, 40400)


def test_the_two_fields_for_an_encoder_can_be_read_again(client, channel):
    data = client.get(f"/v1/live/{channel['id']}/rtmp").json["data"]
    names = ("id", "streamId", "streamUrl", "streamToken", "node", "region")
    assert data == {name: channel[name] for name in names}


def test_a_publisher_makes_it_publishing_and_a_picture_live(client, hooks, channel, lifecycle, now):
    session_id = hooks.publish(channel["streamToken"]).headers["Location"]
    found = shown(client, channel)
    assert (found["status"], found["publishing"], found["livestreamUrl"]) == ("init", True, None)
    lifecycle.playable(session_id, now)
    found = shown(client, channel)
    assert (found["status"], found["publishing"], found["startTime"]) == (
        "live",
        True,
        "2026-11-23T10:00:00.000Z",
    )
    assert found["livestreamUrl"] == f"http://live.example/play/{channel['id']}/master.m3u8"
    lifecycle.unplayable(session_id, "no video", now)
    found = shown(client, channel)
    assert (found["status"], found["publishing"], found["livestreamUrl"]) == ("error", True, None)
    hooks.publish_done(channel["streamToken"])
    found = shown(client, channel)
    assert (found["status"], found["publishing"], found["stopTime"] is not None) == ("init", False, True)
