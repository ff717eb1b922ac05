"""What is left of broadcasts: /v1/video of contract section 5."""

from collections.abc import Callable

import pytest

from auth import digest
from db import utcnow
from live.videos import keep, pictured
from models_access import Token
from models_chores import Chore
from tests.envelope import refused, wrong
from tests.story import after, events, new, payload

BOUND = {"Authorization": "Basic dG9rX2E6c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M="}


@pytest.fixture
def make(lifecycle, now) -> Callable:
    """Makes a video of a new channel, some seconds after the first."""

    def made(name: str = "A channel", seconds: float = 0, type_: str = "record", **fields):
        channel = new(lifecycle, now, name=name, **fields)
        pictured(channel.id, f"{channel.id}/thumbnail.jpg", lifecycle.links.name)
        facts = {"duration": 61, "size": 1234, "session_id": "ses_1" if type_ == "record" else None}
        when = now + after(seconds=seconds)
        return keep(channel.id, type_, f"{channel.id}/a.mp4", lifecycle.links, when, **facts)

    return made


@pytest.fixture
def names(client) -> Callable[..., list[str]]:
    def read(**query) -> list[str]:
        body = client.get("/v1/video", query_string=query).json
        assert body["total"] == body["length"] == len(body["data"])
        return [item["name"] for item in body["data"]]

    return read


def test_a_video_shows_what_it_is_and_where_it_plays(client, make):
    video = make("Đêm nhạc", tags="a,b", accountId="7")
    folder = f"http://live.example/play/{video.channel.id}"
    shown = {
        "id": video.id,
        "channelId": video.channel.id,
        "accountId": "7",
        "name": "Đêm nhạc",
        "tags": ["a", "b"],
        "type": "record",
        "url": f"{folder}/a.mp4",
        "thumbnailUrl": f"{folder}/thumbnail.jpg",
        "duration": 61,
        "size": 1234,
        "createdAt": "2026-11-23T10:00:00.000Z",
    }
    assert client.get(f"/v1/video/{video.id}").json == {"ec": 0, "data": shown}
    assert client.get("/v1/video").json == {"ec": 0, "data": [shown], "total": 1, "length": 1, "page": 0}


def test_a_video_without_a_picture_has_no_address_of_one(client, lifecycle, now):
    channel = new(lifecycle, now)
    video = keep(
        channel.id, "catchup", "x/master_dvr.m3u8", lifecycle.links, now, duration=1, size=1, session_id=None
    )
    assert client.get(f"/v1/video/{video.id}").json["data"]["thumbnailUrl"] is None


def test_a_video_that_is_ready_is_told_of_once_with_its_channel_and_in_the_timeline(
    client, lifecycle, make, now
):
    video = make(tags="a")
    channel_id = video.channel.id
    told = payload(channel_id, "video_ready")
    shown = client.get(f"/v1/video/{video.id}").json["data"]
    channel = client.get(f"/v1/live/{channel_id}").json["data"]
    assert told["video"] == shown
    assert told | channel == told, "the channel object as it is"
    assert channel["recordUrl"] == [shown["url"]]
    assert told["sessionId"] is None, "there is no such session in this test"
    again = keep(*(channel_id, "record", "x", lifecycle.links, now), duration=1, size=1, session_id="ses_1")
    assert (again, events(channel_id)) == (None, ["video_ready"])
    [entry, *_] = client.get(f"/v1/live/{channel_id}/event").json["data"]
    assert (entry["event"], entry["detail"]["videoId"]) == ("video_ready", video.id)


def test_the_newest_comes_first_unless_asked_otherwise(make, names, client):
    for number in range(3):
        make(str(number), number)
    assert names() == names(order="desc") == ["2", "1", "0"]
    assert names(order="asc") == ["0", "1", "2"]
    body = client.get("/v1/video?page=1&length=2").json
    assert ([item["name"] for item in body["data"]], body["total"], body["page"]) == (["0"], 3, 1)


def test_filters_by_account_channel_type_and_tags_add_up(make, names):
    one = make("one", 0, tags="a,b", accountId="1")
    make("two", 1, "catchup", tags="b,c", accountId="2")
    assert names(accountId="1") == names(channelId=one.channel.id) == names(type="record") == ["one"]
    assert (names(type="catchup"), names(tags="c"), names(tags="a,b,c")) == (["two"], ["two"], ["two", "one"])
    assert names(tags="b", type="record", channelId=one.channel.id, accountId="1") == ["one"]
    assert (
        names(tags="b", type="record", accountId="2") == names(channelId="ch_none") == names(tags="q") == []
    )


def test_deleting_a_video_removes_its_row_and_leaves_the_files_to_the_worker(client, make, names):
    gone = make("gone")
    make("stays", 1)
    assert client.get(f"/v1/live/{gone.channel.id}").json["data"]["recordUrl"] != []
    assert client.delete(f"/v1/video/{gone.id}").status_code == 204
    assert Chore.waiting("main").keys() == {gone.channel.id}
    assert client.get(f"/v1/live/{gone.channel.id}").json["data"]["recordUrl"] == []
    refused(client.get(f"/v1/video/{gone.id}"), 404, 40400)
    refused(client.delete(f"/v1/video/{gone.id}"), 404, 40400)
    assert names() == ["stays"]
    assert client.get(f"/v1/live/{gone.channel.id}").status_code == 200


def test_a_deleted_channel_takes_its_videos_along(client, make, names):
    video = make(tags="a")
    client.delete(f"/v1/live/{video.channel.id}?delete=true")
    refused(client.get(f"/v1/video/{video.id}"), 404, 40400)
    assert (names(), names(tags="a")) == ([], [])
    assert video.channel.id in Chore.waiting("main")


def test_a_bound_token_knows_the_videos_of_its_account_only(client, make):
    mine, theirs = make("mine", accountId="acme"), make("theirs", accountId="other")
    Token.create(
        id="tok_a", secret_sha256=digest("s" * 20), role="app", account_id="acme", created_at=utcnow()
    )
    body = client.get("/v1/video", headers=BOUND).json
    assert ([item["id"] for item in body["data"]], body["total"]) == ([mine.id], 1)
    refused(client.get(f"/v1/video/{theirs.id}", headers=BOUND), 404, 40400)
    refused(client.delete(f"/v1/video/{theirs.id}", headers=BOUND), 404, 40400)
    refused(client.get("/v1/video?accountId=other", headers=BOUND), 403, 40300)
    assert client.delete(f"/v1/video/{mine.id}", headers=BOUND).status_code == 204


def test_a_wrong_filter_is_422_by_its_name(client):
    for query in ("type=live", "order=relevance", "accountId=a b", "length=0", "query=x", "channelId=%00"):
        assert wrong(client.get(f"/v1/video?{query}")) == {query.partition("=")[0]}
    assert wrong(client.get("/v1/video?type=record&type=record")) == {"type"}
