"""The worker's own manners: one at a time, woken at once, undisturbed by a part that fails."""

import resource
import threading
import time
from datetime import timedelta

import pytest

import worker
from db import utcnow
from media import index, storage, watch
from media.servers import Look, MediaServerError, Publisher
from models import Session
from tests.story import arrival, new
from tests.waiting import until
from wake import Bell, Doorman


class ScriptedMediaServer:
    """Answers looks as told: what a real nginx says when it is gone or frozen cannot be had at will."""

    name = "nginx"

    def __init__(self) -> None:
        self.answer: Look | MediaServerError = Look("nginx-rtmp/aa", [])
        self.dropped: list[str] = []

    def look(self) -> Look:
        if isinstance(self.answer, MediaServerError):
            raise self.answer
        return self.answer

    def drop(self, client_id: str) -> None:
        self.dropped.append(client_id)


@pytest.fixture
def media():
    return ScriptedMediaServer()


@pytest.fixture
def at_work(config, app, db, media):
    """A worker that is ticked by hand."""
    made = worker.build(config)
    made.media = media
    yield made
    made.dispatcher.stop()


def test_a_ring_wakes_the_worker_at_once_and_many_count_as_one(tmp_path):
    doorman, bell = Doorman(tmp_path / "bell"), Bell(tmp_path / "bell")
    for _ in range(50):
        bell.ring()
    began = time.monotonic()
    assert doorman.wait(10)
    assert time.monotonic() - began < 5
    assert not doorman.wait(0)
    doorman.close()


def test_ringing_where_no_worker_listens_is_no_error(tmp_path):
    Bell(tmp_path / "nobody").ring()


def test_ringing_without_open_files_left_is_no_error(tmp_path):
    """What rang is done and written: an error would say that it is not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    bell = Bell(tmp_path / "nobody")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        bell.ring()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_second_worker_waits_until_the_first_has_ended(config, app):
    first, second = worker.build(config), worker.build(config)
    threads = []
    for each in (first, second):
        threads.append(threading.Thread(target=each.run))
        threads[-1].start()
        until(lambda: config.pulse_file.exists(), 10, "a worker is at work")
    assert not second.last, "it has not ticked"
    second.stop()
    threads[1].join(10)
    assert not threads[1].is_alive()
    first.stop()
    threads[0].join(15)
    assert not threads[0].is_alive()


def test_a_publisher_that_may_not_publish_is_dropped_by_its_number(at_work, media):
    media.answer = Look("nginx-rtmp/aa", [Publisher("nginx-rtmp/aa/7", "7", "ses_unknown", 100)])
    at_work.tick(utcnow(), 0.0, rung=True)
    assert media.dropped == ["7"]


def publishing(hooks, channel, connection: str = "1") -> None:
    assert hooks.publish(channel["streamToken"], int(connection)).status_code == 302


def test_a_media_server_that_is_gone_takes_its_publishers_along_at_once(at_work, media, hooks, channel):
    publishing(hooks, channel)
    media.answer = MediaServerError("nothing listens", gone=True)
    at_work.tick(utcnow(), 0.0, rung=True)
    assert Session.all_open() == []


def test_a_media_server_that_only_hesitates_is_given_time(at_work, media, hooks, channel):
    at_work.tick(utcnow(), 0.0, rung=True)
    publishing(hooks, channel)
    media.answer = MediaServerError("no answer", gone=False)
    at_work.tick(utcnow(), 3.0, rung=True)
    assert len(Session.all_open()) == 1
    at_work.tick(utcnow() + timedelta(seconds=9), 9.0, rung=True)
    assert Session.all_open() == []


def test_a_part_that_fails_does_not_stop_the_others(at_work, media, client, monkeypatch):
    def broken(now) -> None:
        raise OSError("disk on fire")

    monkeypatch.setattr(at_work.lifecycle, "run_due", broken)
    media.answer = Look("nginx-rtmp/aa", [Publisher("nginx-rtmp/aa/8", "8", "ses_unknown", 100)])
    at_work.tick(utcnow(), 0.0, rung=True)
    assert media.dropped == ["8"]


def test_readyz_says_which_part_is_not_well(config, client, at_work, media):
    assert client.get("/readyz").status_code == 503
    at_work.tick(utcnow(), 0.0, rung=True)
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json["data"]["worker"]) == (200, "ok")
    media.answer = MediaServerError("nothing listens", gone=True)
    at_work.tick(utcnow(), 5.0, rung=True)
    failing = client.get("/readyz")
    assert failing.status_code == 503
    assert "nothing listens" in failing.json["data"]["media"]


def test_a_worker_that_has_just_started_waits_before_it_takes_silence_for_the_end(
    at_work, media, hooks, channel
):
    publishing(hooks, channel)
    media.answer = MediaServerError("no answer", gone=False)
    at_work.tick(utcnow(), 100.0, rung=True)
    assert len(Session.all_open()) == 1


def test_a_bug_in_one_step_does_not_end_the_worker(at_work, media, monkeypatch):
    monkeypatch.setattr(at_work.lifecycle, "run_due", lambda now: {}["no such key"])
    media.answer = Look("nginx-rtmp/aa", [Publisher("nginx-rtmp/aa/9", "9", "ses_unknown", 100)])
    at_work.tick(utcnow(), 0.0, rung=True)
    assert media.dropped == ["9"]


def test_a_worker_without_a_media_server_looks_twice_a_second_and_not_more_often(at_work):
    at_work.media = None
    assert at_work.tick(utcnow(), 0.0, rung=True) == 0.5


def test_a_signal_out_of_which_nothing_comes_is_an_error_with_a_reason_and_may_still_become_live(
    at_work, media, hooks, channel, client, config
):
    publishing(hooks, channel)
    session = Session.all_open()[0]
    for second in range(1, 30):
        media.answer = Look("nginx-rtmp/aa", [Publisher(session.connection, "1", session.id, second * 500)])
        at_work.tick(utcnow(), float(second), rung=True)
    [error] = [entry for entry in timeline(client, channel) if entry["event"] == "error"]
    assert error["detail"]["reason"] == watch.NOTHING
    folder = config.media_dir / channel["id"] / session.id
    index.write_signal(folder, {"lastNumber": 0, "playable": True, "video": {}})
    at_work.tick(utcnow(), 31.0, rung=True)
    assert client.get(f"/v1/live/{channel['id']}").json["data"]["status"] == "live"


@pytest.mark.parametrize("named", [True, False], ids=["named by us", "named by the encoder"])
def test_an_ingest_link_goes_with_its_session(at_work, media, hooks, channel, config, named):
    publishing(hooks, channel)
    session = Session.all_open()[0]
    name = session.id if named else None
    media.answer = Look("nginx-rtmp/aa", [Publisher(session.connection, "1", name, 500)])
    at_work.tick(utcnow(), 0.0, rung=True)
    assert storage.taken_in(config.ingest_dir).keys() == {session.id}
    hooks.publish_done(channel["streamToken"])
    at_work.tick(utcnow(), 1.0, rung=True)
    assert storage.taken_in(config.ingest_dir).keys() == {session.id}, "it still writes the last segment"
    media.answer = Look("nginx-rtmp/aa", [])
    at_work.tick(utcnow(), 1.3, rung=False)
    assert storage.taken_in(config.ingest_dir) == {}
    assert (config.media_dir / channel["id"] / session.id).is_dir()


def timeline(client, channel) -> list[dict]:
    return client.get(f"/v1/live/{channel['id']}/event?length=100").json["data"]


def test_a_look_at_very_many_files_is_not_begun_again_before_it_is_over(at_work, monkeypatch):
    begun, over = [], threading.Event()
    monkeypatch.setattr(
        "worker.storage.bytes_below", lambda folder: (begun.append(folder), over.wait(10))[1] * 7
    )
    for minute in range(3):
        at_work.tick(utcnow(), minute * 61.0, rung=False)
    assert len(begun) == 1
    over.set()
    until(lambda: not at_work.measuring.is_alive(), 10, "it is over")
    assert at_work.stored_bytes == 7
    at_work.tick(utcnow(), 3 * 61.0, rung=False)
    until(lambda: len(begun) == 2, 10, "it is looked again")


@pytest.mark.parametrize("gone", [False, True], ids=["another media server", "no media server"])
def test_with_many_sessions_to_end_it_gives_a_sign_of_life_and_stops_when_it_is_asked_to(
    at_work, media, config, gone, monkeypatch
):
    """Thousands, of a copied database, took half a minute in which it neither was ready nor ended."""
    for number in range(3):
        fresh = new(at_work.lifecycle, utcnow())
        at_work.lifecycle.publish(fresh.stream_token, arrival(number), utcnow())
    unpublish, alive = at_work.lifecycle.unpublish, []

    def asked_to_stop_meanwhile(*told) -> None:
        alive.append(config.pulse_file.exists())
        unpublish(*told)
        at_work.stop()

    monkeypatch.setattr(at_work.lifecycle, "unpublish", asked_to_stop_meanwhile)
    media.answer = MediaServerError("nothing listens", gone=True) if gone else Look("nginx-rtmp/bb", [])
    at_work.tick(utcnow(), 0.0, rung=True)
    assert (alive, len(Session.all_open())) == ([True], 2)
    assert not at_work.count.state, "what is not ended yet counts as no time on air"
