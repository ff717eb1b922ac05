"""kill -9 before every single SQL statement of what writes: all of it is there afterwards, or nothing (F1, F3, F36).

BEGIN and COMMIT count; inside a statement, in its triggers, the processes of test_faults.py die as well.
"""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from peewee import sqlite3

from config import Config
from db import bind, connection, database, migrate
from tests.conftest import installation
from tests.faults import deaths
from tests.faults.deaths import Call
from tests.faults.nginx import form
from tests.test_db import shape

pytestmark = pytest.mark.sqlite  # a copy of the file for every death


@dataclass
class Ground:
    """An installation with a live channel and a webhook, of which every death gets a copy."""

    config: Config
    channel: str
    idle_token: str
    live_token: str

    @property
    def file(self) -> Path:
        return self.config.data_dir / "livestream.db"

    def dump(self, file: Path) -> dict[str, list]:
        """What is in every table, without what is made anew each time: ids, tokens, times."""
        copy = sqlite3.connect(file)
        tables = [name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = {name: copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}
        counts["state"] = copy.execute(
            "SELECT name, status, seq, end_reason FROM channel ORDER BY pk"
        ).fetchall()
        counts["open"] = copy.execute("SELECT count(*) FROM session WHERE stop_time IS NULL").fetchone()
        counts["integrity"] = copy.execute("PRAGMA integrity_check").fetchall()
        counts["foreign"] = copy.execute("PRAGMA foreign_key_check").fetchall()
        copy.close()
        return counts


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Ground:
    config = installation(tmp_path_factory.mktemp("s"))
    deaths.make_folders(config)
    bind(config.database_url)
    migrate()
    with connection():
        Call("POST", "/v1/webhook", {"uri": "http://127.0.0.1:9/", "event": "all"})(config)
        made = Call("POST", "/v1/live", {"name": "A channel", "tags": "a,b"})(config).json["data"]
        idle = Call("POST", "/v1/live", {"name": "An idle one"})(config).json["data"]
        assert deaths.hook(config, form("publish", 1, made["streamToken"])).status_code == 302
    return Ground(config, made["id"], idle["streamToken"], made["streamToken"])


def acts(ground: Ground) -> dict[str, Any]:
    live = f"/v1/live/{ground.channel}"
    return {
        "create": Call("POST", "/v1/live", {"name": "Another", "tags": "b,c"}, key="k"),
        "update": Call("PATCH", live, {"name": "Renamed", "tags": ["c"]}),
        "reset": Call("POST", f"{live}/token", {"disconnect": True}),
        "stop": Call("DELETE", live),
        "delete": Call("DELETE", f"{live}?delete=true"),
        "publish": partial(deaths.hook, body=form("publish", 2, ground.idle_token)),
        "unpublish": partial(deaths.hook, body=form("publish_done", 1, ground.live_token)),
        "user": Call("PUT", "/v1/user/1", {"limits": {"maxLive": 1}}),
        "webhook": Call("POST", "/v1/webhook", {"uri": "http://127.0.0.1:9/b", "event": "all"}),
    }


@pytest.mark.parametrize(
    "name", ["create", "update", "reset", "stop", "delete", "publish", "unpublish", "user", "webhook"]
)
def test_killed_before_any_statement_it_was_done_wholly_or_not_at_all(ground, name):
    act, kept = acts(ground)[name], ground.file.with_suffix(".kept")
    shutil.copy(ground.file, kept)
    before, seen, statement = ground.dump(kept), [], 0
    try:
        dies = True
        while dies:
            statement += 1
            restore(ground, kept)
            dies = deaths.die_at(statement, act, ground.config)
            seen.append(ground.dump(ground.file))
    finally:
        restore(ground, kept)
    done = seen[-1]
    assert statement > 10, "there is something to be killed in"
    assert done != before
    assert {str(each) for each in seen} == {str(before), str(done)}
    assert (done["integrity"], done["foreign"]) == ([("ok",)], [])
    turns = [seen[n] != seen[n - 1] for n in range(1, len(seen))].count(True)
    assert turns == 1, "it is done at one moment: its commit"


def restore(ground: Ground, kept: Path) -> None:
    for suffix in ("-wal", "-shm"):
        ground.file.with_name(ground.file.name + suffix).unlink(missing_ok=True)
    shutil.copy(kept, ground.file)


def test_killed_in_the_middle_of_any_migration_the_next_start_finishes_it(tmp_path):
    """Before every third statement: each table of a migration is there with its mark, or neither is."""
    whole = installation(tmp_path / "w")
    assert not deaths.die_at(100_000, deaths.upgrade, whole)
    bind(whole.database_url)
    with connection():
        expected = shape(database.obj)
    statement, deaths_died = 0, True
    while deaths_died:
        statement += 3
        config = installation(tmp_path / f"{statement}")
        deaths_died = deaths.die_at(statement, deaths.upgrade, config)
        assert not deaths.die_at(100_000, deaths.upgrade, config), "the next start comes to its end"
        sqlite = bind(config.database_url)
        with connection():
            assert shape(sqlite) == expected
            assert sqlite.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
        shutil.rmtree(tmp_path / f"{statement}")
    assert statement > 40
