"""What time does to a channel: contract section 2, "Status" and "Corners, decided"."""

import pytest

from errors import InvalidError, NotFoundError, NotPossibleError
from live.arrival import RefusedError
from live.reconcile import reconcile
from live.snapshot import channel_object
from media.servers import Publisher
from models import Channel
from schemas import ChannelUpdate
from tests.story import after, again, arrival, events, new, payload, sessions, timeline

TICK = after(milliseconds=1)


def set_fields(lifecycle, channel, now, **fields):
    return lifecycle.update(channel.id, ChannelUpdate().load(fields), now)


def duration(lifecycle, channel, now) -> int:
    running = [session for session in sessions(channel) if session.stop_time is None]
    return channel_object(again(channel), running[0] if running else None, lifecycle.links, now)["duration"]


# expire


def test_a_channel_that_nobody_publishes_to_expires(lifecycle, now):
    channel = new(lifecycle, now, expire=60)
    ends = now + after(seconds=60)
    assert lifecycle.run_due(ends - TICK) == 0
    assert again(channel).status == "init"
    lifecycle.run_due(ends)
    found = again(channel)
    assert (found.status, found.end_reason, found.stop_time) == ("ended", "expired", ends)
    assert (events(channel), timeline(channel)) == (["channel_ended"], ["created", "ended"])
    assert payload(channel, "channel_ended")["endReason"] == "expired"


def test_expire_counts_from_the_start_of_a_scheduled_channel(lifecycle, now):
    start_at = now + after(hours=3)
    channel = new(lifecycle, now, expire=60, startAt=start_at.isoformat())
    lifecycle.run_due(start_at + after(seconds=60) - TICK)
    assert again(channel).status == "init"
    lifecycle.run_due(start_at + after(seconds=60))
    assert again(channel).end_reason == "expired"


def test_expire_never_applies_after_the_first_publish(lifecycle, now):
    channel = new(lifecycle, now, expire=60, stopTimeout=1800)
    lifecycle.publish(channel.stream_token, arrival(1), now + after(seconds=59))
    lifecycle.run_due(now + after(hours=24))
    assert again(channel).status == "init"
    lifecycle.unpublish(arrival(1).connection, "left", now + after(hours=24))
    lifecycle.run_due(now + after(hours=24, seconds=1799))
    assert again(channel).status == "init"


# stopTimeout


@pytest.mark.parametrize("seconds", [1, 600, 1800])
def test_a_channel_waits_for_its_publisher_and_then_ends(lifecycle, now, seconds):
    channel = new(lifecycle, now, stopTimeout=seconds)
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.playable(session.id, now)
    left = now + after(seconds=20)
    lifecycle.unpublish(arrival(1).connection, "left", left)
    assert again(channel).status == "init"
    lifecycle.run_due(left + after(seconds=seconds) - TICK)
    assert again(channel).status == "init"
    lifecycle.run_due(left + after(seconds=seconds))
    found = again(channel)
    assert (found.status, found.end_reason) == ("ended", "stop_timeout")
    assert found.stop_time == left, "when the last session ended, not when the wait did"
    assert events(channel) == ["channel_connected", "channel_live", "channel_stop", "channel_ended"]


def test_a_stop_timeout_of_zero_ends_at_once(lifecycle, now):
    channel = new(lifecycle, now, stopTimeout=0)
    lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.unpublish(arrival(1).connection, "left", now + after(seconds=5))
    assert again(channel).end_reason == "stop_timeout"
    assert events(channel) == ["channel_connected", "channel_stop", "channel_ended"]
    with pytest.raises(RefusedError, match="ended"):
        lifecycle.publish(channel.stream_token, arrival(2), now + after(seconds=5))


def test_stop_timeout_counts_from_each_departure(lifecycle, now):
    channel = new(lifecycle, now, stopTimeout=10)
    for turn in range(4):
        came = now + after(seconds=9 * turn)
        lifecycle.publish(channel.stream_token, arrival(turn), came)
        lifecycle.unpublish(arrival(turn).connection, "left", came)
        lifecycle.run_due(came + after(seconds=9))
    assert again(channel).status == "init"
    assert len(sessions(channel)) == 4


def test_a_new_stop_timeout_applies_to_a_wait_already_begun(lifecycle, now):
    longer, shorter, none = (new(lifecycle, now, stopTimeout=60) for _ in range(3))
    for number, channel in enumerate((longer, shorter, none)):
        lifecycle.publish(channel.stream_token, arrival(number), now)
        lifecycle.unpublish(arrival(number).connection, "left", now)
    later = now + after(seconds=30)
    set_fields(lifecycle, longer, later, stopTimeout=120)
    assert set_fields(lifecycle, shorter, later, stopTimeout=40).status == "init"
    assert set_fields(lifecycle, none, later, stopTimeout=0).end_reason == "stop_timeout"
    lifecycle.run_due(now + after(seconds=60))
    assert [again(each).status for each in (longer, shorter, none)] == ["init", "ended", "ended"]
    lifecycle.run_due(now + after(seconds=120))
    assert again(longer).end_reason == "stop_timeout"


def test_a_publisher_stops_the_wait(lifecycle, now):
    channel = new(lifecycle, now, stopTimeout=10)
    lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.unpublish(arrival(1).connection, "left", now)
    lifecycle.publish(channel.stream_token, arrival(2), now + after(seconds=10) - TICK)
    lifecycle.run_due(now + after(hours=10))
    assert (again(channel).status, again(channel).due_at) == ("init", None)


def test_stop_timeout_does_not_run_before_the_start(lifecycle, now):
    """A test broadcast ten minutes before the event does not end the event."""
    start_at = now + after(minutes=10)
    channel = new(lifecycle, now, stopTimeout=60, startAt=start_at.isoformat())
    lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.unpublish(arrival(1).connection, "left", now + after(seconds=30))
    lifecycle.run_due(start_at + after(seconds=60) - TICK)
    assert again(channel).status == "init"
    lifecycle.run_due(start_at + after(seconds=60))
    assert again(channel).end_reason == "stop_timeout"


def test_not_even_a_stop_timeout_of_zero(lifecycle, now):
    start_at = now + after(minutes=10)
    channel = new(lifecycle, now, stopTimeout=0, startAt=start_at.isoformat())
    lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.unpublish(arrival(1).connection, "left", now)
    assert again(channel).status == "init"
    lifecycle.run_due(start_at)
    assert again(channel).end_reason == "stop_timeout"


@pytest.mark.parametrize("far", ["9999-12-31T23:59:59.999Z", "9999-12-31T00:00:00Z"])
def test_a_start_at_the_end_of_all_calendars_overflows_nothing(lifecycle, now, far):
    scheduled = new(lifecycle, now, startAt=far)
    published = new(lifecycle, now)
    lifecycle.publish(published.stream_token, arrival(1), now)
    lifecycle.unpublish(arrival(1).connection, "left", now)
    set_fields(lifecycle, published, now, startAt=far)
    lifecycle.run_due(now + after(days=365))
    assert (again(scheduled).status, again(published).status) == ("coming", "init")


# coming


def test_a_scheduled_channel_is_coming_until_its_time(lifecycle, now):
    start_at = now + after(minutes=30)
    channel = new(lifecycle, now, startAt=start_at.isoformat())
    lifecycle.run_due(start_at - TICK)
    assert again(channel).status == "coming"
    lifecycle.run_due(start_at)
    assert again(channel).status == "init"
    assert (events(channel), timeline(channel)) == ([], ["created", "scheduled"])


@pytest.mark.parametrize("seconds", [0, -0.001, -3600])
def test_a_start_in_the_past_is_refused_at_create(lifecycle, now, seconds):
    with pytest.raises(InvalidError, match="startAt"):
        new(lifecycle, now, startAt=(now + after(seconds=seconds)).isoformat())
    assert Channel.select().count() == 0


def test_a_publisher_within_a_quarter_of_an_hour_begins_it(lifecycle, now):
    start_at = now + after(hours=1)
    channel = new(lifecycle, now, startAt=start_at.isoformat())
    opens = start_at - after(minutes=15)
    with pytest.raises(RefusedError, match="too_early"):
        lifecycle.publish(channel.stream_token, arrival(1), opens - TICK)
    assert again(channel).status == "coming"
    lifecycle.publish(channel.stream_token, arrival(2), opens)
    assert again(channel).status == "init"
    lifecycle.run_due(start_at)
    assert again(channel).status == "init"


# Late looks


def test_a_channel_looked_at_late_goes_through_all_it_missed(lifecycle, now):
    start_at = now + after(minutes=30)
    channel = new(lifecycle, now, expire=60, startAt=start_at.isoformat())
    lifecycle.run_due(start_at + after(days=3))
    found = again(channel)
    assert (found.status, found.end_reason) == ("ended", "expired")
    assert (events(channel), timeline(channel)) == (["channel_ended"], ["created", "scheduled", "ended"])


def test_a_late_worker_does_not_keep_a_publisher_out(lifecycle, now):
    start_at = now + after(minutes=30)
    channel = new(lifecycle, now, startAt=start_at.isoformat())
    lifecycle.publish(channel.stream_token, arrival(1), start_at + after(minutes=1))
    assert again(channel).status == "init"


def test_a_late_worker_does_not_let_a_channel_be_revived_by_an_update(lifecycle, now):
    channel = new(lifecycle, now, expire=60)
    late = now + after(seconds=61)
    with pytest.raises(NotPossibleError, match="has ended"):
        set_fields(lifecycle, channel, late, startAt=(now + after(hours=1)).isoformat())
    with pytest.raises(NotPossibleError, match="has ended"):
        lifecycle.reset_token(channel.id, False, late)
    assert set_fields(lifecycle, channel, late, name="Over").end_reason == "expired"
    assert events(channel) == ["channel_ended"]


def test_a_late_worker_does_not_change_why_a_channel_ended(lifecycle, now):
    channel = new(lifecycle, now, expire=60)
    lifecycle.stop(channel.id, now + after(seconds=61))
    assert again(channel).end_reason == "expired"


def test_every_channel_that_is_due_is_looked_at(lifecycle, now):
    channels = [new(lifecycle, now, expire=60 + number) for number in range(20)]
    assert lifecycle.run_due(now + after(seconds=69)) == 10
    assert [again(each).status for each in channels] == ["ended"] * 10 + ["init"] * 10
    assert lifecycle.run_due(now + after(seconds=69)) == 0


def test_a_channel_deleted_meanwhile_does_not_stop_the_others(lifecycle, now, monkeypatch):
    gone, there = new(lifecycle, now, expire=60), new(lifecycle, now, expire=61)
    later = now + after(seconds=90)
    due = Channel.due(later)
    lifecycle.delete(gone.id, now)
    monkeypatch.setattr(Channel, "due", lambda _: due)
    lifecycle.run_due(later)
    assert again(there).end_reason == "expired"
    with pytest.raises(NotFoundError):
        lifecycle.stop(gone.id, later)


# duration


def test_duration_sums_the_sessions_and_the_running_one(lifecycle, now):
    channel = new(lifecycle, now)
    began = now
    for turn, seconds in enumerate((10.4, 20.3, 30.2)):
        lifecycle.publish(channel.stream_token, arrival(turn), began)
        began += after(seconds=seconds)
        lifecycle.unpublish(arrival(turn).connection, "left", began)
        began += after(seconds=5)
    assert duration(lifecycle, channel, began) == 60, "60.9 s, in whole seconds"
    lifecycle.publish(channel.stream_token, arrival(9), began)
    assert duration(lifecycle, channel, began + after(seconds=1)) == 61
    assert duration(lifecycle, channel, began + after(seconds=100)) == 160


def test_the_silence_before_a_departure_does_not_count(lifecycle, now):
    channel = new(lifecycle, now)
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    look(lifecycle, session, 10, now + after(seconds=30))
    look(lifecycle, session, 10, now + after(seconds=32))
    assert duration(lifecycle, channel, now + after(seconds=90)) == 30
    lifecycle.unpublish(arrival(1).connection, "left", now + after(seconds=100))
    assert duration(lifecycle, channel, now + after(seconds=200)) == 30
    assert payload(channel, "channel_stop")["duration"] == 30


def test_a_silence_in_the_middle_does_not_count(lifecycle, now):
    channel = new(lifecycle, now)
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    for bytes_in, seconds in ((10, 10), (10, 12), (20, 60)):
        look(lifecycle, session, bytes_in, now + after(seconds=seconds))
    assert duration(lifecycle, channel, now + after(seconds=70)) == 20


def look(lifecycle, session, bytes_in, now):
    """The reconciler sees that so many bytes have come."""
    seen = Publisher(session.connection, "1", session.id, bytes_in)
    assert reconcile(lifecycle, "nginx-rtmp/aa", [seen], now) == []


def test_a_clock_that_jumps_back_makes_no_negative_time(lifecycle, now):
    channel = new(lifecycle, now, stopTimeout=30)
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.playable(session.id, now)
    earlier = now - after(hours=1)
    assert duration(lifecycle, channel, earlier) == 0
    lifecycle.unpublish(arrival(1).connection, "left", earlier)
    assert duration(lifecycle, channel, earlier) == 0
    assert sessions(channel)[0].stop_time == now
    lifecycle.run_due(earlier + after(seconds=29))
    assert again(channel).status == "init"
    lifecycle.run_due(earlier + after(seconds=30))
    assert again(channel).status == "ended"


def test_a_clock_that_jumps_ahead_ends_waits_but_no_broadcast(lifecycle, now):
    waiting, running = new(lifecycle, now), new(lifecycle, now)
    lifecycle.publish(running.stream_token, arrival(1), now)
    lifecycle.run_due(now + after(days=3650))
    assert (again(waiting).status, again(running).status) == ("ended", "init")


def test_a_start_moved_to_long_ago_makes_it_open_and_not_expired(lifecycle, now):
    channel = new(lifecycle, now, expire=3600)
    lifecycle.update(channel.id, {"start_at": now - after(days=9)}, now + after(seconds=1))
    assert again(channel).status == "init"
    lifecycle.run_due(now + after(seconds=3599))
    assert again(channel).status == "init"
    lifecycle.run_due(now + after(seconds=3600))
    assert again(channel).end_reason == "expired"
