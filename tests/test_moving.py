"""From a SQLite file to PostgreSQL: everything arrives as it was, or nothing does."""

from pathlib import Path

import pytest

from app import create_app
from commands.moving import index_texts
from config import Config, from_env
from db import bind, connection, database, migrate, run
from db_sqlite import file_at
from media.storage import make_folders
from tests import postgres
from tests.channels import write_channels
from tests.conftest import NOW, RootClient, installation, prepared_app
from tests.invariants import miscounted
from upkeep import moving
from upkeep.moving import MoveError, move

pytestmark = pytest.mark.skipif(not postgres.WANTED, reason="needs PostgreSQL")


@pytest.fixture
def used(tmp_path) -> Path:
    """A SQLite installation in which something has happened."""
    file = tmp_path / "old.db"
    before = prepared_app(installation(tmp_path / "old", DATABASE_URL=f"sqlite:///{file}"))
    before.test_client_class = RootClient
    client = before.test_client()
    client.post("/v1/webhook", json={"uri": "http://a.example/", "event": "all"})
    client.post("/v1/user", json={"id": "acme", "limits": {"maxLive": 3}})
    for name in ("Đêm nhạc Huế", "100% _real_", "O'Brien \\ 雪"):
        channel = client.post("/v1/live", json={"name": name, "tags": "Huế,b"}).json["data"]
        client.put(f"/v1/live/{channel['id']}", json={"metadata": {"a": [1, 1.0, None, "\n"]}})
    client.delete(f"/v1/live/{channel['id']}")
    database.close()
    return file


@pytest.fixture
def there(tmp_path) -> Config:
    """The same installation, with PostgreSQL from now on."""
    return installation(tmp_path / "old", DATABASE_URL=postgres.empty_url())


def listed(config: Config, path: str) -> dict:
    bind(config.database_url)
    app = create_app(config)
    app.test_client_class = RootClient
    return app.test_client().get(path).json


LISTS = (
    "/v1/live",
    "/v1/live?tags=b&status=ended",
    "/v1/search?query=nhac",
    "/v1/event",
    "/v1/user",
    "/v1/audit",
)


def test_what_was_in_the_file_is_in_the_database_and_goes_on(used, there):
    old = installation(there.data_dir.parent, DATABASE_URL=f"sqlite:///{used}")
    before = [listed(old, path) for path in LISTS]
    moved = move(there, used, index_texts)
    assert (moved["channel"], moved["channel_tag"], moved["user"]) == (3, 6, 1)
    assert [listed(there, path) for path in LISTS] == before
    with connection():
        assert miscounted() == set()
        newest = run("SELECT MAX(id) FROM event")[0][0]
    app = create_app(there)
    app.test_client_class = RootClient
    made = app.test_client().post("/v1/live", json={"name": "Next"}).json["data"]
    app.test_client().delete(f"/v1/live/{made['id']}")
    assert listed(there, f"/v1/event?after={newest}")["data"][0]["eventId"] == newest + 1


FILLING = (
    # An old text may have a NUL, which PostgreSQL keeps in no text.
    "UPDATE channel SET description = 'one' || char(0) || 'two' WHERE pk % 100 = 7",
    f"""WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {8_000})
        INSERT INTO event (name, time, channel_id, account_id, seq, payload)
        SELECT 'channel_live', n, 'ch_' || (n % 50), '1', n, '{{"Huế": ' || n || '}}' FROM number""",
    """INSERT INTO delivery (id, event_id, webhook_id, queue, status, attempts, created_at, next_at)
       SELECT 'dlv_' || id, id, 'wh_a', channel_id, 'delivered', 1, time, NULL FROM event""",
    """INSERT INTO attempt (delivery_id, number, time, status_code, latency_ms, answer, error)
       SELECT pk, 1, created_at, 200, 5, x'00ff', NULL FROM delivery WHERE pk % 3 = 0""",
    """INSERT INTO timeline (channel_id, time, kind, detail)
       SELECT CASE WHEN pk % 2 THEN pk END, listed_at, 'updated', '{"a": "\n"}' FROM channel""",
)


def test_a_filled_file_arrives_row_by_row(tmp_path, there):
    """Read back without the mover: each table of both, as a whole."""
    file = tmp_path / "filled.db"
    bind(f"sqlite:///{file}")
    migrate()
    with connection():
        write_channels(1500, NOW)
        for statement in FILLING:
            run(statement)
        tables = [name for name in database.get_tables() if not name.startswith(moving.OWN)]
        columns = {name: [column.name for column in database.get_columns(name)] for name in tables}
        before = {name: everything(name, columns[name]) for name in tables}
    database.close()
    make_folders(there)
    moved = move(there, file, index_texts)
    assert sum(moved.values()) > 20_000
    with connection():
        for name in tables:
            assert everything(name, columns[name]) == before[name], name
        assert run("SELECT COUNT(*) FROM channel WHERE description = ?", "one\ufffdtwo") == [(15,)]


def everything(table: str, columns: list[str]) -> list[tuple]:
    names = ", ".join(f'"{column}"' for column in columns)
    rows = database.execute_sql(f'SELECT {names} FROM "{table}"').fetchall()
    return sorted((tuple(plain(value) for value in row) for row in rows), key=repr)


def plain(value: object) -> object:
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def test_a_row_that_arrives_otherwise_stops_the_move_and_leaves_nothing(used, there, monkeypatch):
    copy = moving._copy

    def harmed(source, table):
        rows = copy(source, table)
        if table.name == "channel":
            run("UPDATE channel SET description = 'x' WHERE pk = 2")
        return rows

    monkeypatch.setattr(moving, "_copy", harmed)
    with pytest.raises(MoveError, match=r"A row of channel did not arrive as it was: \{'pk': 2\}"):
        move(there, used, index_texts)
    with connection():
        assert run("SELECT COUNT(*) FROM channel") == [(0,)]


def test_a_database_that_has_rows_is_left_alone(used, there):
    move(there, used, index_texts)
    with pytest.raises(MoveError, match="has rows already"):
        move(there, used, index_texts)


def test_what_is_no_database_of_this_release_is_refused(used, there, tmp_path):
    with pytest.raises(MoveError, match="is no file"):
        move(there, tmp_path / "none", index_texts)
    old = file_at(used)
    with old.connection_context():
        old.execute_sql("DELETE FROM schema_migration WHERE name = '0007_studio'")
    with pytest.raises(MoveError, match="older release"):
        move(there, used, index_texts)
    with pytest.raises(MoveError, match="Set DATABASE_URL"):
        move(from_env({"DATA_DIR": str(tmp_path)}), used, index_texts)
