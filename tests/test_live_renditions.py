"""What the timeline and the metadata say of a session's renditions: contract section 2, "More on a channel"."""

import pytest

from models import TimelineEntry
from tests.story import after, arrival, new

HD = {"name": "720p", "width": 1280, "height": 720, "fps": 25.0, "bitrate": 2500}
SMALL = {"name": "360p", "width": 640, "height": 360, "fps": 25.0, "bitrate": 700}
BOTH = {"rendered": [HD, SMALL], "leftOut": []}
ONE = {"rendered": [SMALL], "leftOut": [{"name": "720p", "reason": "overloaded"}]}
NONE = {"rendered": [], "leftOut": []}


@pytest.fixture
def session(lifecycle, now):
    return lifecycle.publish(new(lifecycle, now).stream_token, arrival(1), now)


def ladders() -> list[dict]:
    rows = TimelineEntry.select().where(TimelineEntry.kind == "ladder").order_by(TimelineEntry.pk)
    return [row.detail for row in rows]


def test_a_ladder_is_one_entry_however_often_it_is_told(lifecycle, session, now):
    assert lifecycle.laddered(session.id, BOTH, now) is True
    assert lifecycle.laddered(session.id, BOTH, now) is False
    assert ladders() == [{"sessionId": session.id} | BOTH]


def test_another_one_is_another_entry_and_so_is_one_that_has_become_empty(lifecycle, session, now):
    for told in (BOTH, ONE, NONE, NONE):
        lifecycle.laddered(session.id, told, now)
    assert ladders() == [{"sessionId": session.id} | told for told in (BOTH, ONE, NONE)]


def test_where_there_is_nothing_to_make_there_is_nothing_to_tell(lifecycle, session, now):
    assert lifecycle.laddered(session.id, NONE, now) is False
    assert ladders() == []


def test_each_session_has_its_own(client, lifecycle, session, now):
    lifecycle.laddered(session.id, BOTH, now)
    channel = session.channel
    lifecycle.unpublish(session.connection, "left", now + after(seconds=5))
    assert lifecycle.laddered(session.id, ONE, now + after(seconds=6)) is False, "it is over"
    lifecycle.publish(channel.stream_token, arrival(2), now + after(seconds=7))
    assert client.get(f"/v1/live/{channel.id}/metadata").json["data"]["renditions"] == []


def test_the_metadata_list_the_source_then_what_is_made_then_what_is_left_out(
    client, lifecycle, session, now
):
    session.video = {"codec": "H264", "width": 1920, "height": 1080, "fps": 25, "bitrate": 5000}
    session.keep()
    lifecycle.laddered(session.id, ONE, now)
    found = client.get(f"/v1/live/{session.channel.id}/metadata").json["data"]["renditions"]
    assert found == [
        {"name": "source", "width": 1920, "height": 1080, "fps": 25, "bitrate": 5000, "state": "source"},
        SMALL | {"state": "transcoded"},
        {
            "name": "720p",
            "width": None,
            "height": None,
            "fps": None,
            "bitrate": None,
            "reason": "overloaded",
            "state": "left_out",
        },
    ]
