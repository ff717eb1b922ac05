"""The worker's counting step: log and sessions into rows, once each, whatever happens in between."""

import peewee
import pytest

from db import database, from_ms, to_ms
from live.analytics import viewers_now
from live.audience import UNWRITTEN_MS, Count, read_state
from live.reconcile import reconcile
from media.playlog import Playlog, make_private
from media.servers import Publisher
from models import Session
from models_analytics import AudienceHour, AudienceMinute
from tests import postgres
from tests.story import after, arrival, new

SECOND = after(seconds=1)
NODE = (
    "" if postgres.WANTED else "main"
)  # without a media server a box is none, beside a database on a server


def counting(log: Playlog | None) -> Count:
    return Count(log, NODE)


@pytest.fixture
def log(config) -> Playlog:
    make_private(config.play_log)
    return Playlog(config.play_log, config.run_dir / "nginx.pid")


@pytest.fixture
def channel(db, lifecycle, now):
    return new(lifecycle, now, accountId="acme")


@pytest.fixture
def play(log):
    """Writes a line of a viewer who asks at this moment."""

    def play(channel, moment, viewer: int = 1, sent: int = 1000) -> None:
        ended = to_ms(moment)
        with open(log.path, "a") as file:
            file.write(
                f"{ended // 1000}.{ended % 1000:03d} 0.000 200 {sent} segment {channel.id} "
                f'192.0.2.{viewer} "VLC/3.0"\n'
            )

    return play


def rows(table=AudienceMinute, **fields) -> list[tuple]:
    found = table.select().order_by(table.time, table.channel_id, table.account_id)
    for name, value in fields.items():
        found = found.where(getattr(table, name) == value)
    return [(each.peak, each.views, each.watch_ms, each.bytes) for each in found]


def test_figures_are_of_the_channel_its_account_and_everybody_by_minute_and_by_hour(
    channel, lifecycle, log, play, now
):
    other = new(lifecycle, now, accountId="acme")
    for second in range(0, 70, 10):
        play(channel, now + second * SECOND)
        play(other, now + second * SECOND, viewer=2)
    counting(log).step(now + 75 * SECOND)
    assert rows(channel_id=channel.id) == [(1, 1, 60_000, 6000), (1, 0, 0, 1000)]
    assert rows(channel_id="", account_id="acme")[0][:2] == (2, 2)
    assert rows(channel_id="", account_id="") == rows(channel_id="", account_id="acme")
    assert rows(AudienceHour, channel_id=channel.id) == [(1, 1, 60_000, 7000)]


def test_who_is_there_now_is_told_and_goes_after_30_seconds(channel, log, play, now):
    count = counting(log)
    play(channel, now, 1)
    play(channel, now, 2)
    count.step(now)
    assert viewers_now(channel.id) == viewers_now("", "acme") == viewers_now()
    assert viewers_now(channel.id) == {"viewers": 2, "bitrate_out": 2000 * 8 // 10}
    play(channel, now + 25 * SECOND, 2)
    count.step(now + 29 * SECOND)
    assert viewers_now(channel.id)["viewers"] == 2
    count.step(now + after(milliseconds=30_001 + UNWRITTEN_MS))
    assert viewers_now(channel.id)["viewers"] == 1
    count.step(now + 120 * SECOND)
    assert viewers_now() == {"viewers": 0, "bitrate_out": 0}


def test_who_was_there_when_a_worker_was_killed_is_gone_for_the_next_if_they_left(channel, log, play, now):
    play(channel, now)
    counting(log).step(now)
    counting(log).step(now + 3600 * SECOND)
    assert viewers_now()["viewers"] == 0


def test_a_worker_that_starts_counts_on_where_the_last_one_wrote(channel, log, play, now):
    for second in range(0, 120, 5):
        play(channel, now + second * SECOND)
        if second % 20 == 0:
            counting(log).step(now + second * SECOND)  # each is the first step of a new worker
    counting(log).step(now + 300 * SECOND)
    assert rows(AudienceHour, channel_id=channel.id) == [(1, 1, 115_000, 24_000)]
    assert [row[0] for row in rows(channel_id=channel.id)] == [1, 1]


@pytest.fixture
def failing(monkeypatch):
    """Makes the next commit fail, as on a full disk."""

    def arm() -> None:
        commit = database.obj.commit

        def fail() -> None:
            monkeypatch.setattr(database.obj, "commit", commit)
            raise peewee.OperationalError("database or disk is full")

        monkeypatch.setattr(database.obj, "commit", fail)

    return arm


def test_a_step_that_cannot_be_written_is_written_with_the_next(channel, lifecycle, log, play, now, failing):
    session = lifecycle.publish(channel.stream_token, arrival(), now)
    count = counting(log)
    play(channel, now)
    count.step(now)
    for second, fails in ((10, True), (20, False), (30, True), (95, True), (100, False)):
        play(channel, now + second * SECOND)
        if fails:
            failing()
            with pytest.raises(peewee.OperationalError):
                count.step(now + second * SECOND)
        else:
            count.step(now + second * SECOND)
    counting(log).step(now + 100 * SECOND)
    [(peak, views, watched, sent)] = rows(AudienceHour, channel_id=channel.id)
    assert (peak, views, watched, sent) == (1, 2, 35_000, 6000)
    assert broadcast_seconds(channel) == 100
    assert session.stop_time is None


def broadcast_seconds(channel) -> float:
    found = AudienceMinute.select().where(AudienceMinute.channel_id == channel.id)
    return sum(each.broadcast_ms for each in found) / 1000


def seen(session: Session, sent: int) -> Publisher:
    return Publisher(session.connection, "1", session.id, sent, {"codec": "H264", "fps": 25.0}, {})


def test_time_on_air_is_what_the_duration_is(channel, lifecycle, log, now):
    count = counting(log)
    count.step(now)
    session = lifecycle.publish(channel.stream_token, arrival(), now + 10 * SECOND)
    for second in range(10, 100, 2):
        sent = 38_000 if 40 <= second <= 60 else second * 1000
        reconcile(lifecycle, "nginx-rtmp/aa", [seen(session, sent)], now + second * SECOND)
        count.step(now + second * SECOND)
    lifecycle.unpublish(session.connection, "left", now + 99 * SECOND)
    count.step(now + 200 * SECOND)
    session = Session.get_by_id(session.pk)
    duration = (to_ms(session.stop_time) - to_ms(session.start_time) - session.silent_ms) / 1000
    assert broadcast_seconds(channel) == pytest.approx(duration, abs=4)
    assert {each.time for each in AudienceMinute.select()} == {now, now + 60 * SECOND}


def test_a_session_that_came_and_went_while_no_worker_was_there_was_on_air(channel, lifecycle, log, now):
    counting(log).step(now)
    session = lifecycle.publish(channel.stream_token, arrival(), now + 10 * SECOND)
    lifecycle.unpublish(session.connection, "left", now + 40 * SECOND)
    counting(log).step(now + 3000 * SECOND)
    assert broadcast_seconds(channel) == 30


def test_a_clock_that_jumps_ahead_by_years_is_a_day_on_air_at_most(channel, lifecycle, log, now):
    """A row for each minute of ten years would hold the database and the worker for as long as it takes."""
    count = counting(log)
    count.step(now)
    lifecycle.publish(channel.stream_token, arrival(), now)
    count.step(now + after(days=3650))
    assert broadcast_seconds(channel) == 86_400
    count.step(now + after(days=3650, seconds=2))
    assert broadcast_seconds(channel) == 86_402


def test_what_is_received_is_looked_at_while_it_is(channel, lifecycle, log, now):
    session = lifecycle.publish(channel.stream_token, arrival(), now)
    count = counting(log)
    for second in range(0, 30, 2):
        reconcile(lifecycle, "nginx-rtmp/aa", [seen(session, second * 125_000)], now + second * SECOND)
        count.step(now + second * SECOND)
    row = AudienceMinute.get(AudienceMinute.channel_id == channel.id)
    assert row.bitrate / row.looks == pytest.approx(1000, rel=0.01)
    assert row.fps / row.looks == 25.0


def test_figures_of_a_channel_that_is_deleted_go_on_to_its_end(channel, lifecycle, log, play, now):
    count = counting(log)
    play(channel, now)
    count.step(now)
    lifecycle.delete(channel.id, now + SECOND)
    play(channel, now + 2 * SECOND)
    counting(log).step(now + 3 * SECOND)
    assert rows(channel_id=channel.id) == [(1, 1, 2000, 2000)]


def test_an_idle_box_writes_nothing(channel, log, now):
    count = counting(log)
    for second in range(0, 100, 2):
        count.step(now + second * SECOND)
    assert AudienceMinute.select().count() == 0
    assert read_state(NODE).broadcast_to == to_ms(now), "the first step, and no other"


def test_without_a_media_server_there_is_time_on_air_and_no_viewer(channel, lifecycle, now):
    count = counting(None)
    count.step(now)
    lifecycle.publish(channel.stream_token, arrival(), now)
    count.step(now + 5 * SECOND)
    assert broadcast_seconds(channel) == 5
    assert not count.behind


@pytest.mark.sqlite
def test_no_address_and_no_player_is_in_the_database(channel, config, log, play, now):
    play(channel, now)
    counting(log).step(now)
    database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = (config.data_dir / "livestream.db").read_bytes()
    assert channel.id.encode() in whole
    assert b"192.0.2.1" not in whole
    assert b"VLC" not in whole


def test_a_state_reads_as_it_was_written(channel, log, play, now):
    play(channel, now)
    counting(log).step(now)
    state = read_state(NODE)
    assert state.counted == log.place
    assert from_ms(state.broadcast_to) == now
