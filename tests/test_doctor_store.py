"""flask --app app doctor: the store takes what is sent and viewers get it, or it is said what is wrong."""

import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import doctor
from config import Config
from db import run, utcnow
from doctor.finding import Finding, Patient
from doctor.store import store
from tests.box import short_folder
from tests.broadcasts import broadcast_over
from tests.conftest import installation
from tests.object_store import ANYBODY_READS, BUCKET, ObjectStore


@pytest.fixture(scope="module")
def far():
    with ObjectStore() as running:
        yield running


@pytest.fixture
def config(far):
    with short_folder() as folder:
        yield installation(folder, **far.environment)


def found(config: Config) -> list[Finding]:
    return list(store(Patient(config, utcnow(), 1, database_is_well=True)))


def test_a_store_that_is_well_is_said_to_be_and_left_as_it_was(config, app, far):
    told = found(config)
    assert [each.state for each in told] == ["ok", "ok"]
    assert far.names() == set()


@pytest.mark.parametrize(
    ("changed", "words", "do"),
    [
        ({"bucket": "not-there"}, "PutObject with NoSuchBucket", "Make the bucket"),
        ({"endpoint": "http://127.0.0.1:9"}, "EndpointConnectionError", "store up"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(config, app, monkeypatch, changed, words, do):
    monkeypatch.setattr("media.objects.TRIES", 1)
    [told] = found(replace(config, store=replace(config.store, **changed)))
    assert (told.state, words in told.found, do in told.do) == ("failed", True, True)
    assert config.store.secret_key not in f"{told}"


def test_a_bucket_that_only_we_may_read_is_found(config, app, far):
    far.client.delete_bucket_policy(Bucket=BUCKET)
    try:
        assert [each.state for each in found(config)] == ["ok", "failed"]
    finally:
        far.client.put_bucket_policy(Bucket=BUCKET, Policy=ANYBODY_READS)


class Mute(BaseHTTPRequestHandler):
    """A CDN that hands objects out and no headers for browsers."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_an_address_that_browsers_may_not_play_from_is_found(config, app):
    with ThreadingHTTPServer(("127.0.0.1", 0), Mute) as cdn:
        threading.Thread(target=cdn.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{cdn.server_port}"
        last = found(replace(config, store=replace(config.store, public_url=url)))[-1]
        cdn.shutdown()
    assert (last.state, "Access-Control-Allow-Origin" in last.found) == ("failed", True)


def test_moved_videos_that_are_in_another_bucket_or_whose_settings_are_gone_are_found(config, lifecycle):
    channel = broadcast_over(config, lifecycle)
    run(
        """INSERT INTO video (id, channel_id, account_id, name, tags, type, path, duration, size, created_at, moved_at,
                              node)
           VALUES ('vid_1', ?, '1', '', '[]', 'catchup', ?, 1, 1, 1, 1, ?)""",
        *(channel.pk, f"{channel.id}/master_dvr.m3u8", config.node),
    )
    last = found(config)[-1]
    assert (last.state, "not there" in last.found) == ("failed", True), "nor are they in this bucket"
    [told] = found(replace(config, store=None))
    assert (told.state, told.found.startswith("videos of 1 channels")) == ("failed", True)


def test_it_is_one_of_the_doctors_checks_and_says_no_secret(config, app):
    assert doctor.CHECKS["store"] is store
    assert config.store.secret_key not in repr(config)
    assert config.store.secret_key not in repr(found(config))
