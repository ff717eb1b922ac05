"""script/demo: every leg of a broadcast is seen, and nothing of it is left."""

import re
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from config import from_env
from demo.place import settings_of_its_own
from demo.receiver import verified
from demo.telling import Leg, table
from tests.box import PROJECT, Box, free_ports
from tests.waiting import until

LEGS = [
    *(
        "channel created",
        "encoder let in",
        "webhook channel_connected",
        "live: playable",
        "webhook channel_live",
    ),
    *("first segment fetched", "encoder gone", "webhook channel_stop", "ended", "webhook channel_ended"),
]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROJECT / "script/demo", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(demo: subprocess.Popen[str]) -> tuple[int, str]:
    said = demo.communicate(timeout=120)[0]
    return demo.returncode, said


def seen(said: str) -> list[str]:
    """The legs in the table that took a time."""
    return [leg for leg in LEGS if re.search(rf"^{re.escape(leg)} +[\d.]+ m?s  from ", said, re.MULTILINE)]


def left(box: Box) -> dict[str, int]:
    return {
        "channels": box.call("GET", "/v1/live?accountId=demo")[1]["total"],
        "webhooks": box.call("GET", "/v1/webhook")[1]["total"],
        "tokens": box.call("GET", "/v1/token")[1]["total"],
    }


@pytest.mark.box
def test_on_a_box_that_runs_it_sees_every_leg_and_leaves_nothing(box):
    before = left(box)
    code, said = finished(start(box.environment, "--seconds", "1"))
    assert (code, seen(said)) == (0, LEGS), said
    assert re.search(rf"Watch: {box.url}/watch/ch_[0-9a-f]{{20}}\n", said)
    assert "its signature is right" in said
    assert left(box) == before


@pytest.mark.box
def test_where_no_token_is_given_it_makes_one_for_itself_and_revokes_it(box):
    before = left(box)
    bare = {name: value for name, value in box.environment.items() if not name.startswith("LIVE_TOKEN")}
    code, said = finished(start(bare, "--seconds", "0.5"))
    assert (code, seen(said)) == (0, LEGS), said
    assert left(box) == before


@pytest.mark.box
def test_kept_it_is_on_air_until_ctrl_c_and_then_finishes(box):
    before = left(box)
    demo = start(box.environment, "--keep")
    live = "/v1/live?accountId=demo&status=live"
    until(lambda: box.call("GET", live)[1]["total"], 30, "it is on air")
    until(lambda: box.read("/v1/live?accountId=demo")[0]["duration"] >= 3, 10, "it stays on air")
    assert demo.poll() is None
    demo.send_signal(signal.SIGINT)
    code, said = finished(demo)
    assert (code, seen(said)) == (0, LEGS), said
    assert left(box) == before


@pytest.mark.box
def test_interrupted_it_cleans_up(box):
    before = left(box)
    demo = start(box.environment, "--seconds", "60")
    until(lambda: box.call("GET", "/v1/live?accountId=demo")[1]["total"], 30, "it has begun")
    demo.send_signal(signal.SIGTERM)
    code, said = finished(demo)
    assert (code, "Interrupted; cleaned up." in said) == (1, True), said
    assert left(box) == before


@pytest.mark.box
def test_a_box_with_another_data_dir_is_not_taken_for_ours(box, tmp_path):
    bare = {name: value for name, value in box.environment.items() if not name.startswith("LIVE_TOKEN")}
    code, said = finished(start(bare | {"DATA_DIR": str(tmp_path / "x")}))
    assert (code, "has another DATA_DIR" in said) == (1, True), said
    assert not (tmp_path / "x").exists()


@pytest.mark.box
def test_where_no_box_runs_it_starts_one_and_takes_it_away_again(box):
    ports = dict(zip(("PORT", "HTTP_PORT", "RTMP_PORT"), map(str, free_ports(3)), strict=True))
    code, said = finished(
        start(box.environment | ports | {"PUBLIC_URL": "", "DATA_DIR": ""}, "--seconds", "0.5")
    )
    assert (code, seen(said)) == (0, LEGS), said
    folder = Path(re.search(r"starting one in (\S+) for", said)[1])
    assert folder.name.startswith("livestream-demo-")
    assert not folder.exists()


def test_the_box_that_it_starts_is_no_node_and_has_neither_the_database_nor_the_store_of_the_real_one(
    tmp_path,
):
    real = {"NODE": "paris-2", "DATABASE_URL": "postgresql://live@db/live", "DATABASE_PASSWORD": "secret"}
    real |= {"S3_BUCKET": "videos", "S3_PUBLIC_URL": "http://videos.example", "S3_SECRET_KEY_FILE": "/none"}
    kept = {"FFMPEG": "/bin/true", "MEDIA_SERVER": "none", "DATA_DIR": str(tmp_path)}
    assert settings_of_its_own(real | kept) == kept
    config = from_env(settings_of_its_own(real | kept))
    assert (config.node, config.shares_database, config.store) == ("main", False, None)


def test_its_receiver_takes_what_the_standard_library_signs_and_nothing_else():
    now, body = int(time.time()), b'{"event":"channel_live"}'
    signature = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(now, UTC), body.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": f"v1,x {signature}"}
    assert verified(headers, body, SECRET, now)
    assert not verified(headers, body + b" ", SECRET, now)
    assert not verified(headers, body, "whsec_AAAA", now)
    assert not verified(headers, body, SECRET, now + 301)
    assert not verified(headers | {"webhook-id": "msg_2"}, body, SECRET, now)
    assert not verified(headers | {"webhook-timestamp": "soon"}, body, SECRET, now)
    assert not verified(headers | {"webhook-signature": "v1,é"}, body, SECRET, now)
    assert not verified({}, body, SECRET, now)


def test_the_table_says_how_long_and_from_when():
    legs = [Leg("a leg", 0.0123, "from here"), Leg("long", 1.5, "from there"), Leg("none", None, "not made")]
    assert table(legs) == (
        "Leg      Took\na leg   12 ms  from here\nlong   1.50 s  from there\nnone        -  not made"
    )
