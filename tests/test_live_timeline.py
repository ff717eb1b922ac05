"""The sessions and the timeline of a channel: contract section 2, "More on a channel"."""

import pytest

from live.reconcile import reconcile
from media.servers import Publisher
from tests import postgres
from tests.envelope import refused
from tests.story import after, arrival, new

KINDS = {
    *("created", "scheduled", "published", "refused", "live", "unstable", "stable", "unpublished"),
    *("reconnected", "updated", "token_reset", "error", "ended"),
}


@pytest.fixture
def channel(lifecycle, now):
    return new(lifecycle, now)


def data(client, channel, rest: str, **query) -> list[dict]:
    return client.get(f"/v1/live/{channel.id}/{rest}", query_string=query).json["data"]


# Sessions.


def test_a_channel_without_a_publisher_has_no_sessions(client, channel):
    body = client.get(f"/v1/live/{channel.id}/session").json
    assert body == {"ec": 0, "data": [], "total": 0, "length": 0, "page": 0}


def test_a_session_tells_who_what_and_how_long(client, lifecycle, channel, now):
    session = lifecycle.publish(channel.stream_token, arrival(1, address="2001:db8::1"), now)
    video = {"codec": "H264", "profile": "High", "width": 640, "height": 360, "fps": 25.0}
    audio = {"codec": "AAC", "sampleRate": 44100, "channels": 1}
    seen = Publisher(session.connection, "1", session.id, 745042, video, audio)
    reconcile(lifecycle, "nginx-rtmp/aa", [seen], now + after(seconds=3))
    lifecycle.unpublish(session.connection, "left", now + after(seconds=7.9))
    assert data(client, channel, "session") == [
        {
            "id": session.id,
            "startTime": "2026-11-23T10:00:00.000Z",
            "stopTime": "2026-11-23T10:00:07.900Z",
            "duration": 7,
            "clientIp": "2001:db8::1",
            "encoder": "FMLE/3.0",
            "video": video | {"bitrate": None, "keyframeInterval": None},
            "audio": audio | {"bitrate": None},
            "bytesIn": 745042,
            "endReason": "left",
            "node": "" if postgres.WANTED else "main",
        }
    ]


def test_a_running_session_has_no_end(client, lifecycle, channel, now):
    lifecycle.publish(channel.stream_token, arrival(1), now)
    (session,) = data(client, channel, "session")
    assert (session["stopTime"], session["endReason"]) == (None, None)
    assert session["duration"] >= 0


@pytest.mark.parametrize("base", ["/v1/live", "/livestream/live"])
def test_sessions_come_newest_first_in_pages(client, lifecycle, channel, now, base):
    made = []
    for number in range(5):
        made.append(lifecycle.publish(channel.stream_token, arrival(number), now).id)
        lifecycle.unpublish(arrival(number).connection, "left", now)
    body = client.get(f"{base}/{channel.id}/session?length=2&page=1").json
    assert [session["id"] for session in body["data"]] == made[::-1][2:4]
    assert (body["total"], body["length"], body["page"]) == (5, 2, 1)


def test_sessions_of_other_channels_are_not_among_them(client, lifecycle, channel, now):
    lifecycle.publish(new(lifecycle, now).stream_token, arrival(1), now)
    assert data(client, channel, "session") == []
    assert [line["event"] for line in data(client, channel, "event")] == ["created"]


# The timeline.


def test_everything_that_happens_is_a_line_newest_first(client, lifecycle, now):
    start_at = now + after(hours=1)
    channel = new(lifecycle, now, startAt=start_at.isoformat(), stopTimeout=600)
    with pytest.raises(Exception, match="too_early"):
        lifecycle.publish(channel.stream_token, arrival(1), now)
    first = lifecycle.publish(channel.stream_token, arrival(2), start_at)
    lifecycle.playable(first.id, start_at)
    lifecycle.unpublish(first.connection, "left", start_at)
    second = lifecycle.publish(channel.stream_token, arrival(3), start_at)
    lifecycle.unplayable(second.id, "no video", start_at)
    lifecycle.update(channel.id, {"name": "y"}, start_at)
    lifecycle.reset_token(channel.id, True, start_at)
    lifecycle.stop(channel.id, start_at)
    lines = data(client, channel, "event", length=100)
    told = [line["event"] for line in reversed(lines)]
    assert told == [
        *("created", "scheduled", "refused", "published", "live", "unpublished", "reconnected", "error"),
        *("updated", "token_reset", "unpublished", "ended"),
    ]
    assert set(told) <= KINDS
    by_kind = {line["event"]: line["detail"] for line in lines}  # of several, the first
    assert by_kind["refused"]["reason"] == "too_early"
    assert by_kind["published"] == {"sessionId": first.id, "clientIp": "192.0.2.1", "encoder": "FMLE/3.0"}
    assert by_kind["error"] == {"sessionId": second.id, "reason": "no video"}
    assert by_kind["unpublished"] == {"sessionId": first.id, "reason": "left"}
    assert by_kind["ended"] == {"reason": "stopped"}


def test_a_line_is_its_event_time_and_detail(client, lifecycle, channel, now):
    lifecycle.stop(channel.id, now + after(seconds=1))
    assert data(client, channel, "event") == [
        {"event": "ended", "time": "2026-11-23T10:00:01.000Z", "detail": {"reason": "stopped"}},
        {"event": "created", "time": "2026-11-23T10:00:00.000Z", "detail": {}},
    ]


def test_the_timeline_comes_in_pages(client, lifecycle, channel, now):
    for number in range(1, 12):
        lifecycle.update(channel.id, {"name": str(number)}, now)
    body = client.get(f"/v1/live/{channel.id}/event?page=1").json
    assert (body["total"], body["length"], body["page"]) == (12, 2, 1)
    assert [line["event"] for line in body["data"]] == ["updated", "created"]


def test_names_in_details_are_the_wires(client, lifecycle, channel, now):
    lifecycle.update(
        channel.id, {"stop_timeout": 5, "thumb_width": 60, "start_at": now + after(days=99)}, now
    )
    assert "_" not in str([line["detail"] for line in data(client, channel, "event")])


@pytest.mark.parametrize("rest", ["session", "event"])
def test_of_a_channel_that_is_not_there_it_is_404(client, rest):
    refused(client.get(f"/v1/live/ch_none/{rest}"), 404, 40400)
