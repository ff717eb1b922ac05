"""What is kept for a time only: each kind for its own, in small steps, and the file shrinks; the log beside it too."""

import re
import threading
from datetime import timedelta

import peewee
import pytest

import db_sqlite
import worker
from config import ConfigError, from_env
from db import connection, database, run, to_ms, utcnow
from db_sqlite import file_at, path_of, wal_bytes
from live.audience import STEPS, add
from live.retention import forget, give_back
from live.viewers import Scope, Sums
from models import Attempt, Channel, Delivery, Event, Session, TimelineEntry
from models_access import AuditEntry
from models_analytics import AudienceHour, AudienceMinute
from models_search import Video
from tests.story import after, again, arrival, new
from tests.test_upgrade import leave

DAY = timedelta(days=1)


def kept_for(**days: int | None) -> dict[str, timedelta | None]:
    """The settings, where nothing is removed but what is named."""
    settings = ("events", "audit", "sessions", "channels", "videos", "analytics", "analytics_hourly")
    return dict.fromkeys(settings) | {name: each and each * DAY for name, each in days.items()}


def forget_all(settings, now) -> int:
    gone = 0
    while step := forget(settings, now):
        gone += step
    return gone


@pytest.fixture
def broadcast(client, lifecycle, now):
    """A channel with one session, heard by a webhook, and ended."""
    client.post("/v1/webhook", json={"uri": "http://a.example/", "event": "all"})
    channel = new(lifecycle, now)
    lifecycle.publish(channel.stream_token, arrival(), now)
    lifecycle.stop(channel.id, now + after(hours=1))
    [delivery, *_] = Delivery.select()
    Attempt.create(delivery=delivery, number=1, time=now)
    return again(channel)


def test_an_event_goes_with_its_deliveries_and_their_tries_and_the_channel_stays(broadcast, lifecycle, now):
    lifecycle.publish(new(lifecycle, now + 20 * DAY).stream_token, arrival(2), now + 20 * DAY)
    events = Event.select().count()
    assert events == Delivery.select().count() > 2
    assert forget_all(kept_for(events=30), now + 30 * DAY) == 0
    assert forget_all(kept_for(events=30), now + 31 * DAY) == events - 1
    assert (Event.select().count(), Delivery.select().count(), Attempt.select().count()) == (1, 1, 0)
    assert again(broadcast).status == "ended"
    assert Session.select().count() == 2


def test_tests_of_webhooks_go_as_old_as_events(broadcast, client, now):
    webhook = client.get("/v1/webhook").json["data"][0]
    made = client.post(f"/v1/webhook/{webhook['id']}/test").json["data"]
    Delivery.update(created_at=now).where(Delivery.id == made["id"]).execute()
    events = Event.select().count()
    assert forget_all(kept_for(events=30), now + 31 * DAY) == events - 1 + 1
    assert Delivery.select().where(Delivery.event.is_null()).count() == 0


def test_the_audit_log_and_refusals_of_nobody_go_together(lifecycle, client, hooks, channel):
    hooks.publish("no-such-token")
    nobodys = TimelineEntry.select().where(TimelineEntry.channel.is_null())
    assert (nobodys.count(), AuditEntry.select().count()) == (1, 1)
    assert forget_all(kept_for(audit=90), utcnow() + 89 * DAY) == 0
    assert forget_all(kept_for(audit=90), utcnow() + 91 * DAY) == 2
    assert TimelineEntry.select().count() == 1, "what is a channel's stays"


def test_sessions_that_are_over_and_timelines_go_and_the_duration_stays(broadcast, lifecycle, client, now):
    running = new(lifecycle, now)
    lifecycle.publish(running.stream_token, arrival(2), now)
    duration = client.get(f"/v1/live/{broadcast.id}").json["data"]["duration"]
    assert duration > 0
    assert forget_all(kept_for(sessions=365), now + 365 * DAY) == 0
    assert forget_all(kept_for(sessions=365), now + 366 * DAY) > 1
    assert [session.channel_id for session in Session.select()] == [running.pk], "an open one stays"
    assert TimelineEntry.select().count() == 0
    assert client.get(f"/v1/live/{broadcast.id}").json["data"]["duration"] == duration


def test_ended_channels_are_kept_unless_told_otherwise_and_then_go_with_all_they_have(
    broadcast, config, lifecycle, client, now
):
    waiting = new(lifecycle, now, name="Waiting", tags="a")
    Video.create(
        id="vid_1",
        channel=broadcast,
        account_id="1",
        name="x",
        tags=[],
        type="record",
        path="x",
        duration=1,
        size=1,
        created_at=now,
    )
    forget_all(config.kept_for, now + 9000 * DAY)
    assert Channel.select().count() == 2
    assert forget_all(kept_for(channels=10), now + 10 * DAY) == 0, "its end counts, not its beginning"
    events = Event.select().count()
    assert forget_all(kept_for(channels=10), now + 11 * DAY) == 1
    assert [channel.pk for channel in Channel.select()] == [waiting.pk]
    assert (Video.select().count(), Session.select().count()) == (0, 0)
    assert Event.select().count() == events, "events go by their own time"
    assert client.get("/v1/live").json["total"] == 1
    assert client.get("/v1/search?query=channel").json["total"] == 0


def test_never_is_never(broadcast, now):
    assert forget_all(kept_for(), now + 90_000 * DAY) == 0


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "soon", "100000"])
def test_a_wrong_number_of_days_is_named(tmp_path, value):
    with pytest.raises(
        ConfigError, match="RETENTION_AUDIT_DAYS must be a number of days, 1 to 99999, or never"
    ):
        from_env({"DATA_DIR": str(tmp_path), "RETENTION_AUDIT_DAYS": value})


def test_figures_by_minute_go_before_those_by_hour(db, now):
    for days in (0, 1):
        for table in STEPS:
            add(table, Scope("ch_1", "1"), to_ms(now + days * DAY), Sums(views=1))
    assert forget_all(kept_for(analytics=90, analytics_hourly=100), now + 90.5 * DAY) == 1
    assert (AudienceMinute.select().count(), AudienceHour.select().count()) == (1, 2)
    assert forget_all(kept_for(analytics=90, analytics_hourly=100), now + 102 * DAY) == 3


def test_the_settings_are_days_with_the_contracts_defaults(tmp_path):
    by_default = from_env({"DATA_DIR": str(tmp_path)}).kept_for
    assert by_default == kept_for(events=30, audit=90, sessions=365, analytics=90, analytics_hourly=1095)
    told = {"RETENTION_EVENTS_DAYS": "never", "RETENTION_CHANNELS_DAYS": "7"}
    assert from_env({"DATA_DIR": str(tmp_path)} | told).kept_for == kept_for(
        audit=90, sessions=365, channels=7, analytics=90, analytics_hourly=1095
    )


# In small steps.


def old_events(count: int, now) -> None:
    """Old events, each with a delivery and a try of it."""
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    with database.atomic():
        [[last]] = run("SELECT COALESCE(MAX(id), 0) FROM event")
        run(
            f"INSERT INTO event (id, name, time, channel_id, account_id, seq, payload) {rows} "
            "SELECT ? + i, 'channel_live', ?, 'ch', '1', i, ? FROM n",
            *(count, last, to_ms(now), "0" * 1000),
        )
        run(
            f"INSERT INTO delivery (id, event_id, webhook_id, queue, status, attempts, created_at) {rows} "
            "SELECT 'dlv_' || (CAST(? AS BIGINT) + i), ? + i, 'wh', 'ch', 'delivered', 1, ? FROM n",
            *(count, last, last, to_ms(now)),
        )
        run(
            "INSERT INTO attempt (delivery_id, number, time, status_code) SELECT pk, 1, ?, 200 FROM delivery "
            "WHERE event_id > ?",
            *(to_ms(now), last),
        )
        if database.kind == "postgresql":  # which counts only the numbers that it has given
            run("SELECT setval('event_id_seq', MAX(id)) FROM event")


def test_a_tick_removes_a_little_and_the_next_ones_go_on(config, app, db, now):
    old_events(450, now)
    at_work = worker.build(config)
    left = []
    for tick in range(6):
        at_work.tick(now + 40 * DAY, tick * 0.5, rung=False)
        left.append(Event.select().count())
    assert left == [350, 250, 150, 50, 1, 1]
    old_events(1, now)
    at_work.tick(now + 40 * DAY, 3.0, rung=False)
    assert Event.select().count() == 2, "the next look is ten minutes later"
    at_work.tick(now + 40 * DAY, 601.0, rung=False)
    assert Event.select().count() == 1
    at_work.dispatcher.stop()


def test_a_publisher_is_let_in_at_once_while_very_much_is_removed(config, client, hooks, channel, db, now):
    """As the worker does it beside web: on a connection of its own."""
    old_events(20_000, now)
    later, done, steps = now + 40 * DAY, threading.Event(), []

    def remove() -> None:
        with connection():
            while not done.is_set() and (gone := forget(kept_for(events=30), later)):
                steps.append(gone)
        done.set()

    removing = threading.Thread(target=remove)
    removing.start()
    waits = []
    while not done.is_set() and len(waits) < 200:
        began = utcnow()
        assert hooks.publish(channel["streamToken"], len(waits)).status_code in (302, 403)
        waits.append((utcnow() - began).total_seconds())
    done.set()
    removing.join()
    assert sum(steps) > 1000
    assert len(waits) > 10
    assert sorted(waits)[len(waits) // 2] < 0.15


@pytest.mark.sqlite
def test_the_file_gets_smaller_by_itself(config, client, db, now, monkeypatch):
    monkeypatch.setattr(db_sqlite, "PAGES_TO_SPARE", 100)
    old_events(20_000, now)
    path = path_of(config.database_url)
    run("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.stat().st_size
    forget_all(kept_for(events=30), now + 40 * DAY)
    pages = 0
    while step := give_back():
        assert step <= db_sqlite.PAGES_AT_ONCE
        pages += step
    run("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size <= before / 4
    assert pages * 4096 >= before / 2
    assert run("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.sqlite
def test_a_new_file_can_shrink_in_steps_and_to_open_it_writes_nothing(config, app):
    path = path_of(config.database_url)
    leave()
    before = path.read_bytes()
    for _ in range(3):
        sqlite = file_at(path)
        with sqlite.connection_context():
            assert sqlite.pragma("auto_vacuum") == 2
    assert path.read_bytes() == before


@pytest.mark.sqlite
def test_a_file_of_an_older_release_shrinks_by_itself_after_a_vacuum(config, app, now):
    path = path_of(config.database_url)
    leave()
    for rest in path.parent.glob("livestream.db*"):
        rest.unlink()
    old = peewee.sqlite3.connect(path)
    old.execute("CREATE TABLE x (y)")
    old.execute("INSERT INTO x VALUES (zeroblob(1000000))")
    old.execute("DELETE FROM x")
    old.commit()
    old.close()
    before = path.stat().st_size
    answer = app.test_cli_runner().invoke(args=["vacuum"])
    assert answer.exit_code == 0, answer.output
    assert path.stat().st_size < before / 10
    again = peewee.sqlite3.connect(path)
    assert again.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    again.close()


# The log beside the file.


@pytest.mark.sqlite
def test_a_long_reader_fails_no_write_and_the_growing_log_is_seen(config, client, lifecycle, now):
    path = path_of(config.database_url)
    run("PRAGMA wal_checkpoint(TRUNCATE)")
    reader = peewee.sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    before = reader.execute("SELECT COUNT(*) FROM channel").fetchone()
    for _ in range(300):
        new(lifecycle, now, description="x" * 4000)
    grown = wal_bytes(path)
    assert grown > 2 * 1000 * 4096, "beyond where it would have begun anew"
    [shown] = re.findall(r"^livestream_wal_bytes (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert float(shown) == grown
    assert reader.execute("SELECT COUNT(*) FROM channel").fetchone() == before, "it sees what it began with"
    reader.execute("COMMIT")
    reader.close()
    run("PRAGMA journal_size_limit = 1000000")
    run("PRAGMA wal_checkpoint(RESTART)")
    new(lifecycle, now)
    assert wal_bytes(path) <= 1_000_000, "and it is cut to its limit when the reader has gone"
