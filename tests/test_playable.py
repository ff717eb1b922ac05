"""What a packager shows of a session: live, error and back (contract section 2, "Status")."""

import pytest

from models import Channel, Session
from tests.story import after, again, arrival, events, new, payload, sessions, timeline


@pytest.fixture
def channel(lifecycle, now) -> Channel:
    return new(lifecycle, now)


@pytest.fixture
def session(lifecycle, channel, now) -> Session:
    return lifecycle.publish(channel.stream_token, arrival(1), now)


def test_the_first_playable_output_makes_it_live(lifecycle, channel, session, now):
    first = now + after(seconds=2)
    assert lifecycle.playable(session.id, first) is True
    found = again(channel)
    assert (found.status, found.start_time, sessions(channel)[0].live_at) == ("live", first, first)
    told = payload(channel, "channel_live")
    assert (told["status"], told["startTime"], told["duration"]) == ("live", "2026-11-23T10:00:02.000Z", 2)
    assert told["livestreamUrl"] == f"http://live.example/play/{channel.id}/master.m3u8"


def test_told_again_it_is_no_second_event(lifecycle, channel, session, now):
    lifecycle.playable(session.id, now)
    assert lifecycle.playable(session.id, now + after(seconds=1)) is False
    assert events(channel) == ["channel_connected", "channel_live"]
    assert again(channel).start_time == now


def test_a_signal_that_cannot_be_played_is_an_error_while_it_is_there(lifecycle, channel, session, now):
    assert lifecycle.unplayable(session.id, "no video", now) is True
    assert lifecycle.unplayable(session.id, "no video", now) is False
    assert again(channel).status == "error"
    assert events(channel) == ["channel_connected", "channel_error"]
    told = payload(channel, "channel_error")
    assert (told["status"], told["publishing"], told["livestreamUrl"]) == ("error", True, None)


def test_an_error_may_turn_into_live_and_back(lifecycle, channel, session, now):
    lifecycle.unplayable(session.id, "no video", now)
    assert lifecycle.playable(session.id, now) is True
    assert lifecycle.unplayable(session.id, "no video", now) is True
    assert lifecycle.playable(session.id, now + after(seconds=9)) is True
    assert events(channel) == ["channel_connected", *["channel_error", "channel_live"] * 2]
    assert (again(channel).status, again(channel).start_time) == ("live", now)
    assert sessions(channel)[0].live_at == now


def test_an_error_is_over_with_its_publisher_and_a_new_one_starts_over(lifecycle, channel, session, now):
    lifecycle.unplayable(session.id, "no video", now)
    lifecycle.unpublish(session.connection, "left", now)
    assert again(channel).status == "init"
    fresh = lifecycle.publish(channel.stream_token, arrival(2), now)
    assert again(channel).status == "init"
    assert lifecycle.playable(fresh.id, now) is True


def test_it_is_live_again_with_every_session_and_started_once(lifecycle, channel, session, now):
    lifecycle.playable(session.id, now)
    lifecycle.unpublish(session.connection, "left", now + after(seconds=5))
    fresh = lifecycle.publish(channel.stream_token, arrival(2), now + after(seconds=6))
    lifecycle.playable(fresh.id, now + after(seconds=8))
    on_air = ["channel_connected", "channel_live"]
    assert events(channel) == [*on_air, "channel_stop", *on_air]
    assert again(channel).start_time == now
    assert [each.live_at for each in sessions(channel)] == [now, now + after(seconds=8)]
    assert payload(channel, "channel_live")["duration"] == 7


@pytest.mark.parametrize("verb", ["playable", "unplayable"])
def test_what_is_shown_of_a_session_that_is_over_changes_nothing(lifecycle, channel, session, now, verb):
    lifecycle.unpublish(session.connection, "left", now)
    lifecycle.publish(channel.stream_token, arrival(2), now)
    told = (session.id, now) if verb == "playable" else (session.id, "no video", now)
    assert getattr(lifecycle, verb)(*told) is False
    assert getattr(lifecycle, verb)("ses_none", *told[1:]) is False
    assert again(channel).status == "init"
    assert timeline(channel)[-1] == "reconnected"
