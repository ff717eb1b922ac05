"""Upgrades and starts: a backup first, all or nothing, a way back; and a database that is not well stops the start
with one line that says what to do."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from playhouse.migrations import Runner

import db
import db_sqlite
from config import Config
from db import MIGRATIONS, SchemaError, connection, database, run, schema
from db_sqlite import Sqlite, file_at, path_of
from media.storage import make_folders
from models import Channel, Session
from tests.box import PROJECT, free_ports
from tests.killing import killed
from tests.story import after
from tests.test_backup import ruin
from tests.test_db import shape
from tests.test_restore import flask, leave
from upkeep import archive, opening
from upkeep.archive import BackupError
from upkeep.opening import DatabaseError, opened

pytestmark = pytest.mark.sqlite

RELEASES = [path.stem for path in sorted(MIGRATIONS.glob("0*.py"))]
GOOD = """
def up(migrator, db):
    db.execute_sql("ALTER TABLE channel ADD COLUMN later TEXT")
    db.execute_sql("UPDATE channel SET name = 'changed by the upgrade'")
"""
BAD = GOOD + '    db.execute_sql("UPDATE no_such_table SET x = 1")\n'


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    yield
    leave()


@pytest.fixture
def used(config, client) -> Config:
    """An installation of this release, with a channel, that is not running."""
    client.post("/v1/live", json={"name": "Mine"})
    leave()
    return config


@pytest.fixture
def next_release(tmp_path, monkeypatch):
    """Installs a release that has one more migration: next_release("text of its migration")."""

    def install(text: str, name: str = "9999_later") -> None:
        folder = tmp_path / name
        shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(db, "MIGRATIONS", folder)

    return install


def start(config: Config, now) -> list[str]:
    """The names of the channels that a start finds."""
    leave()
    with opened(config, now), connection():
        return [channel.name for channel in Channel.select()]


def backups(config: Config) -> list[Path]:
    return sorted(config.backups_dir.iterdir())


# Upgrades.


def test_an_upgrade_takes_a_backup_first_which_is_as_it_was(used, now, next_release):
    next_release(GOOD)
    assert start(used, now) == ["changed by the upgrade"]
    [file] = backups(used)
    assert file.name == f"before-9999_later-{now:%Y%m%dT%H%M%SZ}.tar"
    assert archive.manifest_of(file)["schema"] == RELEASES
    assert stat.S_IMODE(used.backups_dir.stat().st_mode) == 0o700


def test_what_there_was_before_nodes_is_of_the_node_main_which_one_box_is(config, client, hooks, now):
    token = client.post("/v1/live", json={"name": "Mine"}).json["data"]["streamToken"]
    assert hooks.publish(token).status_code == 302
    run("INSERT INTO audience_state VALUES ('main', 'mark', 7, 'mark', 3, 99)")
    leave()
    before = file_at(path_of(config.database_url))
    with before.connection_context(), before.changing_schema():
        Runner(before, str(MIGRATIONS)).down("0008_nodes")
        assert "node" not in {column.name for column in before.get_columns("session")}
    assert start(config, now) == ["Mine"]
    with connection():
        assert [session.node for session in Session.all_open("main")] == ["main"]
        assert run("SELECT node FROM channel_node") == [("main",)]
        assert run("SELECT * FROM audience_state") == [("main", "mark", 7, "mark", 3, 99)]


def test_neither_a_first_start_nor_one_without_an_upgrade_takes_a_backup(config, now):
    assert start(config, now) == start(config, now) == []
    assert backups(config) == []


def test_the_last_three_backups_of_upgrades_are_kept(used, now, next_release):
    for number in range(5):
        name = f"999{number}_later"
        next_release(GOOD.replace("later TEXT", f"later_{number} TEXT"), name)
        if number:
            shutil.copy(
                db.MIGRATIONS.parent / f"999{number - 1}_later/999{number - 1}_later.py", db.MIGRATIONS
            )
            for earlier in range(number - 1):
                (db.MIGRATIONS / f"999{earlier}_later.py").write_text(GOOD)
        start(used, now + after(minutes=number))
    assert [file.name[:16] for file in backups(used)] == [
        f"before-999{number}_later"[:16] for number in (2, 3, 4)
    ]


def test_after_a_bad_upgrade_the_release_before_and_its_backup_bring_everything_back(
    used, now, next_release, monkeypatch
):
    """Step by step as docs/operations.md says it."""
    next_release(GOOD)
    assert start(used, now) == ["changed by the upgrade"]
    monkeypatch.setattr(db, "MIGRATIONS", MIGRATIONS)  # the release before
    with pytest.raises(SchemaError, match=r"newer release .*restore the backup"):
        start(used, now)
    [file] = backups(used)
    answer = flask(used, "restore", str(file))
    assert answer.exit_code == 0, answer.output
    assert start(used, now) == ["Mine"]


def test_an_upgrade_that_fails_changes_nothing_and_pushes_no_older_backup_out(used, now, next_release):
    next_release(BAD)
    for _ in range(5):
        with pytest.raises(
            SchemaError, match=r"upgrade to 9999_later failed: .*no_such_table.*Nothing was changed"
        ):
            start(used, now)
    assert backups(used) == []
    leave()
    sqlite = file_at(path_of(used.database_url))
    with sqlite.connection_context():
        assert sqlite.execute_sql("SELECT name FROM channel").fetchall() == [("Mine",)]
        assert "later" not in shape(sqlite)["channel"]["columns"]


def test_an_upgrade_without_room_for_its_backup_is_not_begun(used, now, next_release, monkeypatch):
    next_release(GOOD)
    monkeypatch.setattr("upkeep.backup.shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(BackupError, match=r"An upgrade takes a backup first, which failed.*Make room"):
        start(used, now)
    leave()
    assert schema(file_at(path_of(used.database_url))).pending == ["9999_later"]


def test_an_upgrade_is_refused_while_the_older_release_runs(used, now, next_release):
    leave()
    with opened(used, now):
        next_release(GOOD)
        with pytest.raises(opening.running.BusyError, match=r"has to be upgraded first\. A box is running"):
            start(used, now)


def test_a_migration_that_leaves_rows_pointing_to_nothing_is_undone(used, now, next_release):
    next_release("def up(migrator, db):\n    db.execute_sql('DELETE FROM channel')\n")
    with pytest.raises(SchemaError, match="point to nothing"):
        start(used, now)


@pytest.mark.parametrize("release", ["nothing", *RELEASES[:-1]])
def test_an_upgrade_killed_at_any_statement_leaves_the_old_schema_or_the_new(tmp_path, release, monkeypatch):
    monkeypatch.setitem(
        db_sqlite.PRAGMAS, "synchronous", 0
    )  # a killed process is no power cut; it takes half as long
    sqlite = file_at(tmp_path / "old.db")
    if release != "nothing":
        with sqlite.connection_context():
            Runner(sqlite, str(MIGRATIONS)).up(release)
    before = schema(sqlite).applied
    with sqlite.connection_context():
        sqlite.pragma("journal_mode", "delete")
        old = shape(sqlite)
    outcomes = []
    while True:
        path = tmp_path / f"{len(outcomes)}.db"
        shutil.copy(tmp_path / "old.db", path)
        upgrading = file_at(path)
        was_killed = killed(partial(db.migrate, upgrading), each_statement, len(outcomes) + 1)
        outcomes.append(schema(upgrading).applied)
        if outcomes[-1] == before:
            with upgrading.connection_context():
                assert shape(upgrading) == old
        if not was_killed:
            break
    assert outcomes == sorted(outcomes)
    assert [len(each) for each in outcomes if each not in (before, RELEASES)] == []
    assert outcomes.count(before) > 5
    upgrading = file_at(tmp_path / f"{outcomes.count(before) - 1}.db")
    with upgrading.connection_context():
        assert upgrading.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert db.migrate(upgrading) == RELEASES[len(before) :], "the next start goes on from there"


def each_statement(step) -> None:
    """Arms a child: every statement that is asked of SQLite is a step."""
    execute = Sqlite.execute_sql

    def counted(self, *given):
        step()
        return execute(self, *given)

    Sqlite.execute_sql = counted


# Starts.


def prepare(config: Config) -> subprocess.CompletedProcess[str]:
    """script/prepare, as script/server runs it."""
    return process(config, "script/prepare")


def process(config: Config, *command: str) -> subprocess.CompletedProcess[str]:
    leave()
    settings = {"DATA_DIR": str(config.data_dir), "DATABASE_URL": config.database_url, "MEDIA_SERVER": "none"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env=os.environ | settings | {"PORT": str(free_ports(1)[0])},
        capture_output=True,
        text=True,
        timeout=60,
    )


def flip(path: Path) -> None:
    ruin(path)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def rewrite(path: Path) -> None:
    path.write_text("these are my notes\n" * 1000)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (flip, "is damaged: .* Restore a backup"),
        (cut, "is damaged: .* Restore a backup"),
        (empty, "is empty, but .* has been in use.* Restore a backup"),
        (rewrite, "is not a SQLite database.* Restore a backup"),
        (remove, "is not there, but .* has been in use.* Restore a backup"),
    ],
)
def test_a_database_that_is_not_well_stops_the_start_and_is_left_as_it_is(config, client, hooks, harm, said):
    for _ in range(100):
        client.post("/v1/live", json={"name": "x", "description": "x" * 4000})
    with connection():
        database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    leave()
    path = path_of(config.database_url)
    for rest in path.parent.glob("*.db-*"):
        rest.unlink()
    harm(path)
    before = path.read_bytes() if path.exists() else None
    for answer in (prepare(config), process(config, "app.py")):
        assert answer.returncode != 0
        [line] = answer.stderr.splitlines()
        assert re.search(said, line), line
        assert "flask --app app restore FILE" in line
        assert answer.stdout == ""
    assert (path.read_bytes() if path.exists() else None) == before


def elsewhere(config: Config, path: Path) -> Config:
    return replace(config, database_url=f"sqlite:///{path}")


@pytest.mark.parametrize(
    ("path", "said"), [("folder", "names a folder"), ("none/x.db", "is no folder. Make it first")]
)
def test_a_place_that_cannot_hold_a_database_is_named_and_not_made(config, tmp_path, path, said):
    (tmp_path / "folder").mkdir()
    answer = prepare(elsewhere(config, tmp_path / path))
    assert answer.returncode == 2
    [line] = answer.stderr.splitlines()
    assert line.startswith("DATABASE_URL names")
    assert said in line
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_database_that_may_only_be_read_is_named(tmp_path, config, what):
    path = tmp_path / "place" / "x.db"
    path.parent.mkdir()
    there = elsewhere(config, path)
    make_folders(there)
    with file_at(path).connection_context():
        pass
    for parent in [tmp_path, *tmp_path.parents]:
        with suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o055)
    (path if what == "file" else path.parent).chmod(0o444 if what == "file" else 0o555)
    assert "cannot be written" in as_nobody(lambda: opening.check_file(there))


def as_nobody(work) -> str:
    """What `work` raises for a user who may only read; the tests may be root's, who may do anything."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            work()
        except DatabaseError as error:
            said = str(error)
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading) as said:
        return said.read()


def test_a_first_start_that_was_killed_is_no_reason_not_to_start(config, now):
    make_folders(config)
    path_of(config.database_url).touch(0o600)
    assert start(config, now) == []


def test_a_big_file_is_looked_through_for_a_bounded_time_only(used):
    """Without any time at all it says nothing, instead of what it would have found."""
    path = path_of(used.database_url)
    sqlite = file_at(path)
    with sqlite.connection_context():
        sqlite.execute_sql(
            "CREATE TABLE big AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            "LIMIT 300000) SELECT i, hex(randomblob(20)) AS text FROM n"
        )
    ruin(path)
    assert opening.quick_check(path, 60) != ""
    assert opening.quick_check(path, 0) == ""
