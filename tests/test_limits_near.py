"""Limits that hold while somebody publishes: a warning in the timeline, and then the cut (contract, section 4)."""

import pytest

from live.reconcile import reconcile
from media.servers import Publisher
from models import TimelineEntry
from routes.console.words import happened
from tests.story import after, again, arrival, new, timeline


@pytest.fixture
def limit(client):
    def limited(**limits) -> None:
        assert client.put("/v1/user/1", json={"limits": limits}).status_code == 200

    return limited


def publishing(lifecycle, now, **fields):
    channel = new(lifecycle, now, **fields)
    return channel, lifecycle.publish(channel.stream_token, arrival(1), now)


def look(lifecycle, session, now, second: float, kbits: int = 500, height: int = 360) -> None:
    video = {"codec": "H264", "width": 640, "height": height}
    seen = Publisher(session.connection, "1", session.id, round(second * kbits * 125), video)
    reconcile(lifecycle, "nginx-rtmp/aa", [seen], now + after(seconds=second))


def warnings(channel) -> list[dict]:
    entries = TimelineEntry.select().where(TimelineEntry.channel == channel.pk)
    return [entry.detail for entry in entries if entry.kind == "limit_near"]


@pytest.mark.parametrize(
    ("limits", "sent", "name", "warned_at"),
    [
        ({"maxBitrate": 1000}, {"kbits": 1200}, "limit_bitrate", 4),
        ({"maxHeight": 720}, {"height": 1080}, "limit_height", 0),
    ],
)
def test_a_signal_beyond_a_limit_is_warned_and_ten_seconds_later_cut(
    lifecycle, limit, now, limits, sent, name, warned_at
):
    limit(**limits)
    channel, session = publishing(lifecycle, now)
    for second in range(0, 10, 2):
        look(lifecycle, session, now, second, **sent)
        assert bool(warnings(channel)) == (second >= warned_at)
    assert warnings(channel) == [
        {"sessionId": session.id, "limit": name, "endsAt": "2026-11-23T10:00:10.000Z"}
    ]
    assert again(session).stop_time is None
    look(lifecycle, session, now, 10, **sent)
    assert again(session).end_reason == name
    assert timeline(channel)[-2:] == ["limit_near", "unpublished"]


def test_who_heeds_the_warning_goes_on_and_is_warned_once(lifecycle, limit, now):
    limit(maxHeight=720)
    channel, session = publishing(lifecycle, now)
    for second in range(0, 60, 2):
        look(lifecycle, session, now, second, height=1080 if second % 20 < 8 else 720)
    assert again(session).stop_time is None
    assert len(warnings(channel)) == 1


def test_a_signal_within_its_limits_hears_of_nothing(lifecycle, limit, now):
    limit(maxBitrate=1000, maxHeight=720, maxDuration=3600)
    channel, session = publishing(lifecycle, now)
    for second in range(0, 60, 2):
        look(lifecycle, session, now, second, kbits=1000, height=720)
    assert (again(session).stop_time, warnings(channel)) == (None, [])


def test_the_end_by_duration_is_told_five_minutes_ahead_and_once(lifecycle, limit, now):
    limit(maxDuration=3600)
    channel, session = publishing(lifecycle, now)
    look(lifecycle, session, now, 3298)
    assert warnings(channel) == []
    for second in (3300, 3302):
        look(lifecycle, session, now, second)
    assert warnings(channel) == [
        {"sessionId": session.id, "limit": "limit_duration", "endsAt": "2026-11-23T11:00:00.000Z"}
    ]
    lifecycle.run_due(now + after(seconds=3600))
    assert again(channel).end_reason == "limit"


def test_a_short_duration_is_told_at_once(lifecycle, limit, now):
    limit(maxDuration=60)
    channel, session = publishing(lifecycle, now)
    look(lifecycle, session, now, 2)
    assert [each["limit"] for each in warnings(channel)] == ["limit_duration"]


def test_a_duration_that_was_raised_meanwhile_is_not_told(lifecycle, limit, now):
    limit(maxDuration=60)
    channel, session = publishing(lifecycle, now)
    limit(maxDuration=7200)
    look(lifecycle, session, now, 2)
    assert warnings(channel) == []


def test_the_console_says_which_limit_is_near_and_when_it_cuts(lifecycle, limit, now):
    limit(maxHeight=240)
    _, session = publishing(lifecycle, now)
    look(lifecycle, session, now, 0)
    headline, known = happened(TimelineEntry.get(TimelineEntry.kind == "limit_near"))
    assert headline == "A limit is near"
    assert (
        known.striptags()
        == "the picture is larger than the account may send; cut off at 2026-11-23 10:00:10 UTC"
    )
