"""flask --app app doctor beside a box that runs: what is well, and what has failed of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import peewee
import pytest

from tests.box import PROJECT, Box, Encoder, short_folder
from tests.processes import Web, web
from tests.waiting import until

pytestmark = pytest.mark.sqlite

Checks = dict[str, list[dict]]


def doctor(environment: dict[str, str]) -> tuple[int, Checks]:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "doctor", "--json", "--min-free", "1"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    checks: Checks = {}
    for each in json.loads(done.stdout)["checks"]:
        checks.setdefault(each["check"], []).append(each)
    return done.returncode, checks


def failed(checks: Checks) -> dict[str, list[str]]:
    found = {
        name: [each["found"] for each in made if each["state"] == "failed"] for name, made in checks.items()
    }
    return {name: each for name, each in found.items() if each}


@pytest.fixture
def alone() -> tuple[Web, Callable[[], tuple[int, Checks]]]:
    """app.py without a worker, and a doctor for it."""
    with short_folder() as folder, web(folder) as running:
        until((running.data_dir / "run/hooks.sock").exists, 10, "hooks are listened for")
        own = {"DATA_DIR": str(running.data_dir), "PORT": str(running.port), "MEDIA_SERVER": "none"}
        yield running, lambda: doctor(os.environ | own)


def refused(running: Web) -> list[dict]:
    found = peewee.sqlite3.connect(running.database)
    rows = found.execute("SELECT detail FROM timeline WHERE kind = 'refused'").fetchall()
    found.close()
    return [json.loads(detail) for (detail,) in rows]


def test_a_box_without_a_worker_is_told_so_and_the_rest_is_well(alone):
    running, examined = alone
    code, checks = examined()
    assert code == 1
    assert failed(checks) == {"worker": ["gives no sign of life: no timers, no webhooks, no new pictures"]}
    assert checks["ports"][0]["found"].startswith(f"PORT {running.port} is ours: ")
    assert checks["hooks"][0]["found"].startswith("refuse what opens nothing in ")
    assert checks["web"][0]["state"] == "ok"


def test_however_often_it_is_asked_it_leaves_one_counted_entry(alone):
    running, examined = alone
    examined(), examined()
    [entry] = refused(running)
    assert (entry["reason"], entry["clientIp"], entry["count"]) == ("unknown_token", "127.0.0.1", 6)


def test_a_web_that_hangs_is_found(alone):
    running, examined = alone
    running.process.send_signal(signal.SIGSTOP)
    try:
        _, checks = examined()
    finally:
        running.process.send_signal(signal.SIGCONT)
    assert failed(checks).keys() == {"web", "hooks", "worker"}
    assert "so nobody can publish" in failed(checks)["hooks"][0]


def test_a_worker_whose_pulse_is_old_is_found(alone):
    running, examined = alone
    Path(running.data_dir / "run/worker.json").write_text(json.dumps({"at": time.time() - 60, "media": "ok"}))
    assert "sign of life is 6" in failed(examined()[1])["worker"][0]


@pytest.mark.box
def test_a_box_that_is_live_is_well_in_every_part(box: Box):
    for hook in box.read("/v1/webhook?length=100"):  # of other tests, whose receivers are no more
        box.call("DELETE", f"/v1/webhook/{hook['id']}")
    channel = box.create()
    with Encoder(box, channel["streamToken"]):
        box.await_status(channel["id"], "live")
        code, checks = doctor(box.environment)
        assert (code, failed(checks)) == (0, {})
        assert checks["picture"][0]["found"].startswith("live channels: ")
        assert {"ports", "web", "hooks", "worker", "media", "picture", "database"} <= {
            name for name, made in checks.items() if all(each["state"] == "ok" for each in made)
        }


@pytest.mark.box
def test_a_part_that_was_stopped_and_a_picture_that_is_gone_are_found(own_box: Box):
    channel = own_box.create()
    with Encoder(own_box, channel["streamToken"]):
        own_box.await_status(channel["id"], "live")
        ctl = [PROJECT / ".venv/bin/supervisorctl", "-c", own_box.data_dir / "run/supervisord.conf"]
        subprocess.run([*ctl, "stop", "worker"], check=True, capture_output=True)
        (own_box.data_dir / "media" / channel["id"] / "master.m3u8").unlink()
        until(lambda: "worker" in failed(doctor(own_box.environment)[1]), 20, "its pulse is old")
        found = failed(doctor(own_box.environment)[1])
    assert "worker does not run (STOPPED)" in found["box"]
    assert found["picture"] == [f"{channel['id']} is live, but its playlist is answered 404"]
