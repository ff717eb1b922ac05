"""Restores: wholly or not at all, never over a running box, and only what is a backup of ours."""

import fcntl
import io
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import peewee
import pytest

from app import create_app
from config import Config
from db import connection, database, utcnow
from db_sqlite import path_of
from delivery.secretbox import SecretBox
from live.listing import feed
from models import Channel, Event, Webhook
from tests.conftest import RootClient, prepared_app
from tests.killing import changes_below, killed
from tests.test_backup import ruin, web
from upkeep import archive, running
from upkeep.archive import BackupError
from upkeep.backup import back_up
from upkeep.opening import opened
from upkeep.restore import LEAP, restore

pytestmark = pytest.mark.sqlite


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "box.tar"


@pytest.fixture
def saved(config, client, file) -> Path:
    """A backup of an installation with one channel, one webhook and its key; the channel "Later" came after it."""
    client.post("/v1/live", json={"name": "Kept"})
    client.post("/v1/webhook", json={"uri": "http://a.example/", "event": "all"})
    (config.keys_dir / "hook").write_text("the secret in a path")
    back_up(config, file, utcnow())
    client.post("/v1/live", json={"name": "Later"})
    (config.keys_dir / "hook").write_text("another secret")
    leave()
    return file


def leave() -> None:
    """As when the process ends: nobody has the database any more."""
    if database.obj:
        database.close()
    database.initialize(None)


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    yield
    leave()


def names(config: Config) -> list[str]:
    """What a start finds."""
    with opened(config, utcnow()), connection():
        found = [channel.name for channel in Channel.select().order_by(Channel.pk)]
    leave()
    return found


def elsewhere(config: Config, folder: Path) -> Config:
    """The same settings on another machine, which has nothing yet."""
    return replace(config, data_dir=folder / "new", database_url=f"sqlite:///{folder}/new/livestream.db")


def flask(config: Config, *arguments: str):
    """The command line of a box that is not running."""
    leave()
    return create_app(config).test_cli_runner().invoke(args=list(arguments))


def test_a_restore_brings_back_what_was_there_and_keeps_what_it_replaces(config, saved):
    assert names(config) == ["Kept", "Later"]
    answer = flask(config, "restore", str(saved))
    assert answer.exit_code == 0, answer.output
    assert "1 channel, 1 webhook" in answer.output
    assert names(config) == ["Kept"]
    assert (config.keys_dir / "hook").read_text() == "the secret in a path"
    [database_before] = config.data_dir.glob("livestream.db.replaced-*Z")
    [keys_before] = config.data_dir.glob("keys.replaced-*Z")
    assert database_before.name.rpartition("-")[2] in answer.output
    assert (keys_before / "hook").read_text() == "another secret"
    replaced = peewee.sqlite3.connect(database_before)
    assert replaced.execute("SELECT name FROM channel ORDER BY pk").fetchall() == [("Kept",), ("Later",)]
    replaced.close()


def test_writes_that_are_only_beside_the_old_database_are_kept_with_it(config, saved, now):
    with opened(config, now), connection():
        database.execute_sql("PRAGMA wal_autocheckpoint = 0")
        Channel.update(name="In the log").execute()
        log = config.data_dir / "livestream.db-wal"
        wal = log.read_bytes()
    leave()
    log.write_bytes(wal)  # as after a power cut
    restore(config, saved, now)
    assert names(config) == ["Kept"]
    [kept] = config.data_dir.glob("*.replaced-*-wal")
    assert kept.read_bytes() == wal


def test_a_new_machine_gets_everything_but_the_media(config, saved, tmp_path):
    there = elsewhere(config, tmp_path)
    assert flask(there, "restore", str(saved)).exit_code == 0
    assert names(there) == ["Kept"]
    with opened(there, utcnow()), connection():
        assert SecretBox(there.keys_dir).decrypt(Webhook.get().secret).startswith("whsec_")
    modes = {path.stat().st_mode & 0o777 for path in [path_of(there.database_url), *there.keys_dir.iterdir()]}
    assert modes == {0o600}
    assert not list(there.data_dir.glob("*restoring*"))


def test_numbers_that_were_given_out_after_the_backup_are_not_given_out_again(config, saved):
    with opened(config, utcnow()), connection():
        seen, seq = Event.select(Event.id).order_by(Event.id.desc()).scalar() or 0, Channel.get().seq
    flask(config, "restore", str(saved))
    client = prepared_client(config)
    channel = client.get("/v1/live").json["data"][0]
    client.delete(f"/v1/live/{channel['id']}")
    [event] = client.get("/v1/event").json["data"]
    assert event["eventId"] > seen + LEAP
    assert event["seq"] > seq + LEAP
    with connection():
        asked = {"after": 0, "length": 100, "page": 0}
        assert feed(asked, None).total == 1, "the mark of a restore is nobody's event"


def prepared_client(config: Config) -> RootClient:
    app = prepared_app(config)
    app.test_client_class = RootClient
    return app.test_client()


def test_a_restore_over_a_running_box_is_refused(config, saved, tmp_path):
    with web(config, tmp_path):
        answer = flask(config, "restore", str(saved))
        assert (answer.exit_code, "A box is running" in answer.output) == (1, True), answer.output
    assert names(config) == ["Kept", "Later"]
    assert flask(config, "restore", str(saved)).exit_code == 0


@pytest.mark.parametrize("name", ["running", "worker.lock"])
def test_each_process_of_a_box_is_enough_to_refuse(config, saved, name):
    with open(config.run_dir / name, "w") as held:
        fcntl.flock(held, fcntl.LOCK_SH if name == "running" else fcntl.LOCK_EX)
        assert "A box is running" in flask(config, "restore", str(saved)).output
    assert flask(config, "restore", str(saved)).exit_code == 0


def test_nobody_starts_while_files_are_exchanged(config, saved, now):
    with running.alone(config), pytest.raises(running.BusyError, match="being exchanged"), ExitStack() as box:
        box.enter_context(opened(config, now))


def test_killed_at_any_step_there_is_the_old_box_or_the_new_one(config, saved, now):
    with opened(config, now):
        pass
    leave()
    old, new = (["Kept", "Later"], "another secret"), (["Kept"], "the secret in a path")
    seen, steps = [], 0
    while True:
        steps += 1
        later = now + timedelta(seconds=steps)
        was_killed = killed(lambda: restore(config, saved, later), changes_below(config.data_dir), steps)  # noqa: B023
        found = (names(config), (config.keys_dir / "hook").read_text())
        assert found in (old, new), f"killed at step {steps}"
        assert not list(config.data_dir.glob("restoring.json"))
        seen.append(found == new)
        if not was_killed:
            break
        if found == new:
            put_back(config, later)
    assert steps > 15
    assert seen == sorted(seen), "once it is decided, it stays decided"
    assert seen.count(True) > 5


def put_back(config: Config, moment) -> None:
    """What a restore has replaced, in its place again."""
    stamp = f"{moment:%Y%m%dT%H%M%SZ}"
    (config.data_dir / f"livestream.db.replaced-{stamp}").rename(path_of(config.database_url))
    for path in config.keys_dir.iterdir():
        path.unlink()
    config.keys_dir.rmdir()
    (config.data_dir / f"keys.replaced-{stamp}").rename(config.keys_dir)


def rewritten(file: Path, change) -> None:
    """The same tar with other members: `change` gets a list of (name, content) and may do what it likes."""
    with tarfile.open(file) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    change(members)
    with tarfile.open(file, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def with_manifest(change):
    def rewrite(members: list) -> None:
        manifest = json.loads(members[0][1])
        change(manifest)
        members[0] = ("manifest.json", json.dumps(manifest).encode())

    return rewrite


def outside(manifest: dict) -> None:
    manifest["parts"]["../../escaped"] = manifest["parts"].pop("keys/hook")


WRONG_PARTS = {
    "a key that is another": (
        lambda members: members.__setitem__(2, ("keys/hook", b"x" * 20)),
        "checksum of keys/hook",
    ),
    "a key that is longer": (
        lambda members: members.__setitem__(2, ("keys/hook", b"x")),
        "keys/hook is not where",
    ),
    "a part too few": (lambda members: members.pop(), "webhook.key is not where"),
    "a part too many": (lambda members: members.append(("keys/other", b"x")), "more than its manifest"),
    "a name that leads out": (
        lambda members: members.__setitem__(2, ("../escaped", b"x")),
        "keys/hook is not where",
    ),
    "a manifest that leads out": (with_manifest(outside), "not a backup"),
    "an absolute name": (with_manifest(lambda said: said["parts"].update({"/etc/x": {}})), "not a backup"),
    "no manifest": (lambda members: members.pop(0), "not a backup"),
    "an empty manifest": (with_manifest(dict.clear), "not a backup"),
    "no database": (with_manifest(lambda said: said["parts"].pop("livestream.db")), "not a backup"),
    "a later format": (with_manifest(lambda said: said.update(format=2)), "format 2"),
}


@pytest.mark.parametrize(("change", "said"), WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_a_backup_whose_parts_are_wrong_is_refused_and_changes_nothing(config, saved, change, said):
    rewritten(saved, change)
    refused(config, saved, said)


def test_a_link_in_a_tar_is_not_followed(config, saved, tmp_path):
    def link(members: list) -> None:
        del members[2:]

    rewritten(saved, link)
    with tarfile.open(saved, "a") as tar:
        member = tarfile.TarInfo("keys/hook")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    refused(config, saved, "keys/hook is not where")


@pytest.mark.parametrize(
    ("share", "said"), [(0.0, "not a backup"), (0.5, "cut short"), (0.97, "damaged")], ids=str
)
def test_a_backup_that_is_cut_short_is_refused(config, saved, share, said):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(len(whole) * share)])
    refused(config, saved, said)


def test_a_backup_with_flipped_bytes_is_refused(config, saved):
    ruin(saved)
    refused(config, saved, "damaged")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"SQLite format 3\0" + bytes(5000), b"\x1f\x8b" + bytes(600)]
)
def test_another_file_is_said_to_be_no_backup(config, saved, content):
    saved.write_bytes(content)
    refused(config, saved, "not a backup")


def test_a_folder_or_nothing_is_said_to_be_no_file(config, saved, tmp_path):
    refused(config, tmp_path, "cannot be read")
    refused(config, tmp_path / "none.tar", "cannot be read")


def test_a_backup_of_a_newer_release_is_refused(config, saved, tmp_path):
    def newer(members: list) -> None:
        path = tmp_path / "newer.db"
        path.write_bytes(members[1][1])
        changed = peewee.sqlite3.connect(path)
        changed.execute("INSERT INTO schema_migration (name, applied) VALUES ('9999_later', '2030-01-01')")
        changed.commit()
        changed.close()
        members[1] = ("livestream.db", path.read_bytes())
        said = json.loads(members[0][1])
        said["parts"]["livestream.db"] = {"size": path.stat().st_size, "sha256": archive.sha256(path)}
        members[0] = ("manifest.json", json.dumps(said).encode())

    rewritten(saved, newer)
    refused(config, saved, r"newer release \(9999_later\)")


def test_a_disk_that_is_too_full_changes_nothing(config, saved, monkeypatch):
    used = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("upkeep.backup.shutil.disk_usage", lambda folder: used)
    with pytest.raises(BackupError, match="Restoring takes"):
        restore(config, saved, utcnow())
    assert names(config) == ["Kept", "Later"]


def contents(config: Config) -> dict[Path, bytes]:
    """Every file of the installation; locks are none."""
    files = [
        path for path in config.data_dir.rglob("*") if path.is_file() and config.run_dir not in path.parents
    ]
    return {path: path.read_bytes() for path in files}


def refused(config: Config, file: Path, said: str) -> None:
    """In one sentence, with everything as it was and nothing left lying about."""
    before = contents(config)
    answer = flask(config, "restore", str(file))
    assert answer.exit_code == 1
    assert re.search(said, answer.output), answer.output
    assert len(answer.output.splitlines()) == 1
    assert contents(config) == before
    assert names(config) == ["Kept", "Later"]
    assert not (config.data_dir.parent / "escaped").exists()
