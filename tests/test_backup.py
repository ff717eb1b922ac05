"""Backups: of a box that goes on, whole, checked, and for their owner only."""

import json
import os
import stat
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path

import peewee
import pytest

from db import connection, database, utcnow
from db_sqlite import path_of
from release import RELEASE
from tests.box import PROJECT, free_ports
from tests.conftest import ROOT_ID, ROOT_SECRET
from tests.killing import changes_below, killed
from tests.story import new
from tests.waiting import until
from upkeep import archive, backup
from upkeep.archive import BackupError
from upkeep.backup import back_up

pytestmark = pytest.mark.sqlite


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "box.tar"


def unpacked(file: Path, folder: Path) -> peewee.sqlite3.Connection:
    """The database of a backup, taken out by other means than ours."""
    with tarfile.open(file) as tar:
        tar.extractall(folder, filter="data")
    return peewee.sqlite3.connect(folder / archive.DATABASE)


def ruin(path: Path) -> None:
    """Flip what stands in the middle of a file, over more than a page."""
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(3 * 4096))


def test_a_backup_holds_the_database_and_the_keys_and_says_what_it_is(config, client, hooks, file, tmp_path):
    client.post("/v1/live", json={"name": "Mine"})
    client.post("/v1/webhook", json={"uri": "http://a.example/", "event": "all"})
    made = back_up(config, file, utcnow())
    with tarfile.open(file) as tar:
        names = tar.getnames()
        said = json.load(tar.extractfile("manifest.json"))
    assert names == ["manifest.json", "livestream.db", "keys/hook", "keys/webhook.key"]
    assert said == made
    assert (said["release"], said["counts"]["channel"], said["counts"]["webhook"]) == (RELEASE, 1, 1)
    assert said["schema"][0] == "0001_initial"
    assert unpacked(file, tmp_path / "x").execute("SELECT name FROM channel").fetchall() == [("Mine",)]
    for name in ("hook", "webhook.key"):
        assert (tmp_path / "x/keys" / name).read_bytes() == (config.keys_dir / name).read_bytes()


def test_a_backup_is_for_its_owner_only_and_leaves_nothing_else(config, app, file):
    back_up(config, file, utcnow())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]
    with tarfile.open(file) as tar:
        assert {(member.uid, member.uname, member.mode) for member in tar} == {(0, "", 0o600)}


def test_a_backup_overwrites_only_when_told_to(app, file):
    file.write_text("mine")
    run = app.test_cli_runner().invoke
    refused = run(args=["backup", str(file)])
    assert (refused.exit_code, file.read_text()) == (1, "mine")
    assert "exists already" in refused.output
    assert run(args=["backup", str(file), "--force"]).exit_code == 0
    assert archive.manifest_of(file)["counts"]["channel"] == 0


def test_a_relative_name_is_a_file_in_the_working_folder(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = app.test_cli_runner().invoke(args=["backup", "box.tar"])
    assert (answer.exit_code, (tmp_path / "box.tar").exists()) == (0, True), answer.output
    assert "0 channels" in answer.output
    assert "media" in answer.output


@pytest.mark.parametrize(("name", "said"), [("none/x.tar", "There is no folder"), (".", "is a folder")])
def test_a_place_that_cannot_be_is_named(config, app, tmp_path, name, said):
    with pytest.raises(BackupError, match=said):
        back_up(config, tmp_path / name, utcnow())


def test_a_disk_that_is_too_full_is_said_to_be_before_anything_is_written(config, app, file, monkeypatch):
    used = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("upkeep.backup.shutil.disk_usage", lambda folder: used)
    with pytest.raises(BackupError, match=r"A backup takes .* MiB in .*, where 0 MiB are free\. Make room"):
        back_up(config, file, utcnow())
    assert list(file.parent.iterdir()) == []


def test_a_damaged_database_is_never_called_a_backup(config, lifecycle, file, now):
    for _ in range(100):
        new(lifecycle, now, description="x" * 4000)
    database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    file.write_text("an earlier one")
    ruin(path_of(config.database_url))
    with pytest.raises(BackupError, match="damaged"):
        back_up(config, file, utcnow(), force=True)
    assert file.read_text() == "an earlier one"
    assert list(file.parent.iterdir()) == [file]


def test_what_a_killed_backup_leaves_is_removed_by_the_next_whatever_its_name(config, app, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    steps, left, was_killed = 0, [], True
    while was_killed:
        steps += 1
        was_killed = killed(
            lambda: back_up(config, folder / "a.tar", utcnow(), force=True), changes_below(folder), steps
        )
        left += [each for each in folder.iterdir() if each.name.startswith(".")]
        back_up(config, folder / "b.tar", utcnow(), force=True)
        assert {each.name for each in folder.iterdir()} <= {"a.tar", "b.tar"}, f"killed at step {steps}"
    assert len(left) >= 3, "there was something to remove"


def test_a_backup_leaves_the_drafts_of_one_that_is_at_work(config, app, tmp_path):
    with backup.drafts_beside(tmp_path / "a.tar") as drafts:
        (drafts / "whole").write_text("not yet")
        back_up(config, tmp_path / "b.tar", utcnow())
        assert (drafts / "whole").read_text() == "not yet"
    assert [each.name for each in tmp_path.iterdir()] == ["b.tar"]


def test_who_writes_does_not_wait_for_a_backup(config, lifecycle, file, now):
    """30 MB: long enough that a lock for the whole time would show."""
    blob = "x" * 4000
    with database.atomic():
        for number in range(7500):
            database.execute_sql(
                "INSERT INTO event (name, time, channel_id, account_id, seq, payload) VALUES ('x', 0, ?, '1', 1, ?)",
                (str(number), blob),
            )
    waits, done = [], threading.Event()

    def write() -> None:
        with connection():
            while not done.is_set():
                began = time.monotonic()
                new(lifecycle, now)
                waits.append(time.monotonic() - began)

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: len(waits) > 5, 10, "writes before the backup")
    before = len(waits)
    began = time.monotonic()
    back_up(config, file, utcnow())
    took = time.monotonic() - began
    during = waits[before:]
    done.set()
    writer.join()
    assert len(during) > 10
    assert max(during) < max(0.5, took / 2), f"the backup took {took:.2f} s"


@contextmanager
def web(config, folder: Path):
    """The real process, with the worker inside."""
    [port] = free_ports(1)
    environment = os.environ | {
        "DATA_DIR": str(config.data_dir),
        "PORT": str(port),
        "MEDIA_SERVER": "none",
        "LIVE_TOKEN_ID": ROOT_ID,
        "LIVE_TOKEN_SECRET": ROOT_SECRET,
    }
    with open(folder / "web.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=PROJECT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        until(lambda: answers(port), 30, f"web answers; its log is {folder}/web.log")
        yield port, environment
    finally:
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as reply:
        return reply.status == 200


def create(port: int, name: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/live", json.dumps({"name": name}).encode())
    request.add_header("Content-Type", "application/json")
    credentials = b64encode(f"{ROOT_ID}:{ROOT_SECRET}".encode()).decode()
    request.add_header("Authorization", f"Basic {credentials}")
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.status == 201


def test_a_backup_of_a_running_box_has_every_write_that_was_answered_before_it(config, file, tmp_path):
    answered, done = [], threading.Event()

    def write(port: int) -> None:
        for number in range(100_000):
            create(port, str(number))
            answered.append(number)
            if done.is_set():
                return

    with web(config, tmp_path) as (port, environment):
        writer = threading.Thread(target=write, args=(port,))
        writer.start()
        until(lambda: len(answered) >= 20, 20, "writes before the backup")
        before = len(answered)
        made = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", "backup", str(file)],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
        )
        after = len(answered)
        done.set()
        writer.join()
    assert made.returncode == 0, made.stderr
    kept = [
        int(name)
        for (name,) in unpacked(file, tmp_path / "x").execute("SELECT name FROM channel ORDER BY pk")
    ]
    assert kept == list(range(len(kept))), "a prefix of what was written"
    assert before <= len(kept) <= after + 1
    assert after > before, "the box went on meanwhile"
