"""The media server is the truth: open sessions against what /stat really shows."""

from pathlib import Path

import pytest

from live.reconcile import lost_all, reconcile
from media.servers import MediaServerError, Publisher
from media.servers.nginx_rtmp import parse_stat
from tests.story import after, again, arrival, events, new, payload, sessions, timeline

RECORDINGS = Path(__file__).parent / "fixtures" / "nginx-rtmp"
MINE = "nginx-rtmp/aa"


@pytest.fixture
def live(lifecycle, now):
    return new(lifecycle, now)


@pytest.fixture
def session(lifecycle, live, now):
    return lifecycle.publish(live.stream_token, arrival(1), now)


def sending(session, bytes_in: int, **media) -> Publisher:
    number = session.connection.rpartition("/")[2]
    return Publisher(session.connection, number, session.id, bytes_in, **media)


def stat(name: str, instance: str = "aa", **renamed: str):
    xml = (RECORDINGS / f"{name}.stat.xml").read_text()
    for old, fresh in renamed.items():
        xml = xml.replace(f"<name>{old}</name>", f"<name>{fresh}</name>")
    return parse_stat(xml.encode(), instance)


# What /stat says.


def test_nobody_publishes_to_an_idle_nginx():
    look = stat("n01_normal.idle")
    assert (look.instance, look.publishers) == (MINE, [])


def test_a_publisher_is_told_from_its_players():
    assert stat("n01_normal.publishing+1player").publishers == [
        Publisher(
            connection="nginx-rtmp/aa/4",
            client_id="4",
            stream="KEY",
            bytes_in=745042,
            video={"codec": "H264", "profile": "High", "width": 640, "height": 360, "fps": 25.0},
            audio={"codec": "AAC", "sampleRate": 44100, "channels": 1},
        )
    ]


def test_a_renamed_stream_goes_by_its_new_name():
    assert [each.stream for each in stat("n05_on_publish_answers.302_name").publishers] == ["RENAMED"]


def test_every_publisher_of_many_is_seen_once():
    publishers = stat("n21_many.twelve").publishers
    assert [each.stream for each in publishers] == [f"M{number:02d}" for number in range(12)]
    assert len({each.connection for each in publishers}) == 12


A_PUBLISHER = (
    b"<rtmp><server><application><live><stream><name>s</name><bytes_in>%s</bytes_in><client><publishing/>"
)
ITS_END = b"</client></stream></live></application></server></rtmp>"


@pytest.mark.parametrize(
    "xml",
    [
        *(b"", b"<rtmp>", b"\xff", b"<html><body>502</body>", b"not xml"),
        *(b"<rtmp/>", b"<rtmp><server/></rtmp>", A_PUBLISHER % b"many" + ITS_END),
    ],
)
def test_an_answer_that_is_no_stat_is_not_nobody(xml):
    with pytest.raises(MediaServerError) as caught:
        parse_stat(xml, "aa")
    assert caught.value.gone is False


def test_xml_that_is_no_stat_is_not_nobody():
    with pytest.raises(MediaServerError):
        parse_stat(b"<html><body>Bad gateway</body></html>", "aa")


# What follows from it.


def test_a_publisher_that_is_there_stays_and_its_media_is_noted(lifecycle, live, session, now):
    look = stat("n01_normal.publishing+1player", KEY=session.id)
    there = [
        Publisher(session.connection, "4", session.id, each.bytes_in, each.video, each.audio)
        for each in look.publishers
    ]
    assert reconcile(lifecycle, MINE, there, now + after(seconds=60)) == []
    found = again(session)
    assert (found.bytes_in, found.last_byte_at, found.silent_since) == (745042, now + after(seconds=60), None)
    assert (found.video["height"], found.audio["codec"]) == (360, "AAC")
    assert events(live) == ["channel_connected"]


def test_a_publisher_that_is_gone_is_closed_with_the_time_of_its_last_byte(lifecycle, live, session, now):
    reconcile(lifecycle, MINE, [sending(session, 1000)], now + after(seconds=8))
    assert reconcile(lifecycle, MINE, [], now + after(seconds=10)) == []
    found = again(session)
    assert (found.stop_time, found.end_reason) == (now + after(seconds=8), "lost")
    assert events(live) == ["channel_connected", "channel_stop"]
    assert payload(live, "channel_stop")["duration"] == 8
    assert timeline(live)[-1] == "unpublished"


def test_the_wait_for_its_return_begins_when_the_loss_is_noticed(lifecycle, live, session, now):
    """After a crash of ours an encoder gets its whole stopTimeout to come back."""
    noticed = now + after(hours=1)
    reconcile(lifecycle, MINE, [], noticed)
    assert again(live).due_at == noticed + after(seconds=600)


@pytest.mark.parametrize(("seconds", "closed"), [(0, False), (4.999, False), (5, True), (6, True)])
def test_a_new_session_need_not_be_listed_for_five_seconds(lifecycle, session, now, seconds, closed):
    reconcile(lifecycle, MINE, [], now + after(seconds=seconds))
    assert (again(session).stop_time is not None) is closed


def test_a_publisher_that_nobody_let_in_is_dropped(lifecycle, session, now):
    stranger = Publisher("nginx-rtmp/aa/77", "77", "elsewhere", 1)
    assert reconcile(lifecycle, MINE, [sending(session, 5), stranger], now) == ["77"]
    assert again(session).stop_time is None


def test_a_publisher_whose_session_is_over_is_dropped(lifecycle, live, session, now):
    lifecycle.stop(live.id, now)
    assert reconcile(lifecycle, MINE, [sending(session, 5)], now) == ["1"]
    assert events(live) == ["channel_connected", "channel_stop", "channel_ended"]


def test_a_publisher_under_another_name_than_its_sessions_is_not_it(lifecycle, session, now):
    other = Publisher(session.connection, "1", "other", 5)
    reconcile(lifecycle, MINE, [other], now + after(seconds=6))
    assert again(session).end_reason == "lost"
    assert reconcile(lifecycle, MINE, [other], now + after(seconds=8)) == ["1"]


def test_a_restarted_nginx_has_none_of_the_old_publishers(lifecycle, live, session, now):
    other = new(lifecycle, now)
    lifecycle.publish(other.stream_token, arrival(1, "bb"), now + after(seconds=1))
    there = Publisher("nginx-rtmp/bb/1", "1", sessions(other)[0].id, 9)
    assert reconcile(lifecycle, "nginx-rtmp/bb", [there], now + after(seconds=1)) == []
    assert again(session).end_reason == "lost", "at once: its nginx is no more"
    assert sessions(other)[0].stop_time is None
    assert events(live) == ["channel_connected", "channel_stop"]


def test_the_same_number_in_another_nginx_is_somebody_else(lifecycle, session, now):
    stranger = Publisher("nginx-rtmp/bb/1", "1", session.id, 9)
    assert reconcile(lifecycle, "nginx-rtmp/bb", [stranger], now) == ["1"]
    assert again(session).end_reason == "lost"


def test_silence_is_noted_from_the_last_byte_on_and_ends_with_the_next(lifecycle, live, session, now):
    reconcile(lifecycle, MINE, [sending(session, 100)], now + after(seconds=2))
    for seconds in (4, 6, 8):
        reconcile(lifecycle, MINE, [sending(session, 100)], now + after(seconds=seconds))
        assert again(session).silent_since == now + after(seconds=2)
    reconcile(lifecycle, MINE, [sending(session, 101)], now + after(seconds=10))
    assert (again(session).silent_since, again(session).last_byte_at) == (None, now + after(seconds=10))
    assert events(live) == ["channel_connected"], "silence alone is no event"


def test_a_publisher_that_never_sends_is_silent_from_its_start(lifecycle, session, now):
    reconcile(lifecycle, MINE, [sending(session, 0)], now + after(seconds=6))
    assert again(session).silent_since == now


def test_the_recording_of_a_frozen_publisher_reads_as_silence(lifecycle, live, now):
    session = lifecycle.publish(live.stream_token, arrival(41), now)
    look = stat("n03_sigstop_drop_idle.frozen", STP=session.id)
    for seconds in (2, 4):
        assert reconcile(lifecycle, look.instance, look.publishers, now + after(seconds=seconds)) == []
    assert again(session).silent_since == now + after(seconds=2)


def test_twelve_recorded_publishers_are_twelve_sessions(lifecycle, now):
    look = stat("n21_many.twelve")
    channels = [new(lifecycle, now) for _ in look.publishers]
    named = {}
    for channel, publisher in zip(channels, look.publishers, strict=True):
        session = lifecycle.publish(channel.stream_token, arrival(int(publisher.client_id)), now)
        named[publisher.stream] = session.id
    look = stat("n21_many.twelve", **named)
    assert reconcile(lifecycle, look.instance, look.publishers, now + after(seconds=60)) == []
    assert all(sessions(channel)[0].bytes_in > 400_000 for channel in channels)


def test_a_media_server_that_is_gone_has_lost_every_publisher(lifecycle, live, session, now):
    other = new(lifecycle, now)
    lifecycle.publish(other.stream_token, arrival(2), now)
    reconcile(lifecycle, MINE, [sending(session, 5)], now + after(seconds=3))
    assert lost_all(lifecycle, now + after(seconds=4)) == 2
    assert again(session).stop_time == now + after(seconds=3)
    assert events(other) == ["channel_connected", "channel_stop"]
    assert lost_all(lifecycle, now + after(seconds=5)) == 0


def test_looking_again_changes_nothing(lifecycle, live, session, now):
    for _ in range(3):
        assert reconcile(lifecycle, MINE, [], now + after(seconds=10)) == []
    assert events(live) == ["channel_connected", "channel_stop"]
    assert timeline(live) == ["created", "published", "unpublished"]


def test_a_channel_that_does_not_wait_ends_with_the_loss(lifecycle, now):
    channel = new(lifecycle, now, stopTimeout=0)
    lifecycle.publish(channel.stream_token, arrival(1), now)
    reconcile(lifecycle, MINE, [], now + after(seconds=6))
    assert events(channel) == ["channel_connected", "channel_stop", "channel_ended"]
    assert again(channel).end_reason == "stop_timeout"


def test_a_session_that_closes_meanwhile_is_left_as_it_was_closed(lifecycle, live, session, now, monkeypatch):
    """The hook comes in between the look at the sessions and the writing of what they sent."""
    real = lifecycle.unpublish
    gone = lifecycle.publish(new(lifecycle, now).stream_token, arrival(2), now)

    def and_the_other_leaves(connection, *told):
        real(session.connection, "left", now + after(seconds=6))
        return real(connection, *told)

    monkeypatch.setattr(lifecycle, "unpublish", and_the_other_leaves)
    reconcile(lifecycle, MINE, [sending(session, 500)], now + after(seconds=7))
    assert again(gone).end_reason == "lost"
    assert (again(session).stop_time, again(session).end_reason) == (now + after(seconds=6), "left")
    assert events(live) == ["channel_connected", "channel_stop"]
