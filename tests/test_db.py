"""The database file: its schema, its settings, its mode, its time."""

import resource
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playhouse.migrations import Runner

from db import (
    EPOCH,
    MIGRATIONS,
    SchemaError,
    UtcField,
    after_commit,
    bind,
    connection,
    database,
    from_ms,
    migrate,
    part,
    to_ms,
    utcnow,
)
from db_sqlite import PRAGMAS, UnsafeSqliteError, wal_is_safe
from live.search import search
from models import Channel, Session
from schemas import ChannelCreate
from tests.invariants import miscounted
from tests.tables import MODELS

pytestmark = pytest.mark.sqlite

FIELD = UtcField()


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "data" / "x.db"


@pytest.fixture
def migrated(file) -> Path:
    bind(f"sqlite:///{file}")
    migrate()
    return file


def shape(connected: peewee.SqliteDatabase) -> dict:
    """Tables with their columns, foreign keys and indexes, as SQLite itself describes them."""

    def rows(pragma: str, name: str) -> list[tuple]:
        return connected.execute_sql(f'PRAGMA {pragma}("{name}")').fetchall()

    # Full-text tables are the migration's alone: no model could describe them.
    tables = connected.execute_sql("SELECT name FROM pragma_table_list WHERE type = 'table'").fetchall()
    names = [name for (name,) in tables if name != "schema_migration" and not name.startswith("sqlite_")]
    return {
        table: {
            # name, type, not null, default, part of the primary key
            "columns": {row[1]: row[2:6] for row in rows("table_info", table)},
            # table, from, to, on update, on delete
            "foreign keys": {row[2:7] for row in rows("foreign_key_list", table)},
            "indexes": {
                row[1]: (
                    row[2],
                    row[4],
                    tuple(key[2] for key in rows("index_info", row[1])),
                    condition(connected, row[1]),
                )
                for row in rows("index_list", table)
            },
        }
        for table in names
    }


def condition(connected: peewee.SqliteDatabase, index: str) -> str:
    """The WHERE of a partial index, without the quotes and brackets that only SQL writers differ in."""
    found = connected.execute_sql("SELECT sql FROM sqlite_master WHERE name = ?", (index,)).fetchone()[0]
    where = (found or "").partition(" WHERE ")[2]
    return "".join(char for char in where if char not in '"()')


def test_migrations_make_exactly_what_the_models_describe(migrated, tmp_path):
    with connection():
        by_migrations = shape(database.obj)
    bind(f"sqlite:///{tmp_path}/models.db")
    with connection():
        database.create_tables(MODELS)
        by_models = shape(database.obj)
    assert by_migrations.keys() == by_models.keys()
    for table, described in by_models.items():
        for kind, parts in described.items():
            assert by_migrations[table][kind] == parts, (table, kind)


def test_channels_of_an_older_release_are_counted_and_found_after_the_upgrade(file, now):
    old = Runner(bind(f"sqlite:///{file}"), str(MIGRATIONS))
    with connection():
        old.up("0001_initial")
        before = shape(database.obj)
        row = Channel(**channel_fields(), id="ch_old", name_folded="dem", status="ended")
        row.name, row.description, row.tags = "Đêm", "Nhạc", ["Huế"]
        row.stream_token, row.created_at, row.updated_at, row.listed_at = "t" * 8, now, now, now
        then = {column.name for column in database.get_columns("channel")} - {"pk"}
        old_fields = [each for each in Channel._meta.sorted_fields if each.column_name in then]
        database.execute_sql(
            f"INSERT INTO channel ({', '.join(each.column_name for each in old_fields)}) "
            f"VALUES ({', '.join('?' * len(old_fields))})",
            [each.db_value(row.__data__.get(each.name)) for each in old_fields],
        )
        database.execute_sql("INSERT INTO channel_tag (channel_id, tag) VALUES (1, 'Huế')")
    migrate()
    with connection():
        assert miscounted() == set()
        for query in ("dem", "nhac", "hue"):
            [found] = search({"query": query, "page": 0, "length": 10}, now).rows
            assert found.row.id == "ch_old"
        old.down("0002_users_and_audit")
        assert shape(database.obj) == before


def test_migrating_again_does_nothing(migrated):
    assert migrate() == []


def test_a_newer_schema_is_refused_with_what_to_do(migrated):
    with connection():
        database.execute_sql(
            "INSERT INTO schema_migration (name, applied) VALUES ('9999_later', '2026-01-01 00:00:00')"
        )
    with pytest.raises(SchemaError, match=r"newer release \(9999_later\).*restore the backup"):
        migrate()


@pytest.mark.parametrize(("pragma", "value"), {**PRAGMAS, "synchronous": 2, "foreign_keys": 1}.items())
def test_the_settings_are_on_every_connection(migrated, pragma, value):
    for _ in range(2):
        with connection():
            assert database.execute_sql(f"PRAGMA {pragma}").fetchone()[0] == value


def test_an_answered_write_survives_a_power_cut():
    assert (PRAGMAS["journal_mode"], PRAGMAS["synchronous"]) == ("wal", 2)


def test_writers_take_the_lock_when_they_begin(migrated):
    with connection(), database.atomic():
        other = peewee.sqlite3.connect(migrated, timeout=0, isolation_level=None)
        with pytest.raises(peewee.sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_who_waits_for_its_turn_and_for_the_lock_waits_no_longer_than_for_one_of_them(migrated):
    other = peewee.sqlite3.connect(migrated, timeout=0, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    took, turn = [], threading.Barrier(3)

    def write(late_s: float) -> None:
        turn.wait(10)
        with connection():
            time.sleep(late_s)  # one after the other, so that the second finds the first at its turn
            began = time.monotonic()
            with pytest.raises(peewee.OperationalError, match="locked"), database.atomic():
                pass
            took.append(time.monotonic() - began)
            assert database.execute_sql("PRAGMA busy_timeout").fetchone()[0] == PRAGMAS["busy_timeout"]

    threads = [threading.Thread(target=write, args=(late_s,)) for late_s in (0.0, 2.0)]
    for thread in threads:
        thread.start()
    turn.wait(10)
    for thread in threads:
        thread.join(20)
    other.close()
    assert [round(each) for each in took] == [5, 5]


def test_a_full_database_says_so_and_takes_the_next_write_when_there_is_room(client, channel, caplog):
    """Inside the transaction of an Idempotency-Key."""
    with connection():
        [[pages]] = database.execute_sql("PRAGMA page_count").fetchall()
        database.execute_sql(f"PRAGMA max_page_count = {pages}")
        body = {"name": "A channel", "description": "word " * 900}
        answers = [client.post("/v1/live", json=body, headers={"Idempotency-Key": f"{n}"}) for n in range(20)]
        full = [reply for reply in answers if reply.status_code == 503]
        assert full
        assert {reply.status_code for reply in answers} <= {201, 503}
        assert {record.getMessage() for record in caplog.records if record.levelname == "ERROR"} == {
            "database: database or disk is full"
        }
        assert client.get(f"/v1/live/{channel['id']}").status_code == 200
        database.execute_sql("PRAGMA max_page_count = 1000000")
        assert client.post("/v1/live", json=body).status_code == 201


def test_who_waits_for_another_process_goes_on_soon_after_it_has_finished(migrated):
    """SQLite by itself would look again only after up to 100 ms. These moments are soon after it has looked."""
    other = peewee.sqlite3.connect(migrated, timeout=0, isolation_level=None, check_same_thread=False)
    waited = []

    def let_go(after_s: float) -> None:
        time.sleep(after_s)
        waited.append(time.monotonic())
        other.execute("ROLLBACK")

    with connection():
        for after_s in (0.24, 0.34, 0.44):
            other.execute("BEGIN IMMEDIATE")
            holder = threading.Thread(target=let_go, args=(after_s,))
            holder.start()
            with database.atomic():
                waited[-1] = time.monotonic() - waited[-1]
            holder.join()
    other.close()
    assert min(waited) < 0.04


@pytest.fixture
def disk_full() -> Callable[[], AbstractContextManager[None]]:
    """Within it no file of this process can be written beyond its first 4 KiB. Unlike a number of pages that is
    reached, a write to the file that fails makes SQLite roll back by itself."""

    @contextmanager
    def full() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return full


def test_where_sqlite_rolls_back_by_itself_the_error_is_what_went_wrong(lifecycle, disk_full):
    """The worker logs it as it comes."""
    with disk_full(), pytest.raises(peewee.OperationalError, match="disk I/O error"):
        lifecycle.create(channel_fields(), utcnow())
    assert lifecycle.create(channel_fields(), utcnow())


def test_where_sqlite_rolls_back_by_itself_inside_a_savepoint_the_log_has_what_went_wrong_first(
    client, channel, disk_full, caplog
):
    with connection():
        database.execute_sql("PRAGMA cache_size = 1")  # writes to the file long before its commit
        with disk_full():
            reply = client.post("/v1/live", json={"name": "A channel"}, headers={"Idempotency-Key": "1"})
        assert reply.status_code == 503
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
            "database: disk I/O error"
        ]
        assert client.post("/v1/live", json={"name": "A channel"}).status_code == 201


def test_the_database_is_readable_by_its_owner_only(migrated):
    with connection():
        database.execute_sql(
            "INSERT INTO event (name, time, channel_id, account_id, seq, payload) "
            "VALUES ('x', 0, 'c', '1', 1, '')"
        )
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in migrated.parent.iterdir()}
    assert modes == {"x.db": 0o600, "x.db-wal": 0o600, "x.db-shm": 0o600}


def test_what_is_in_the_file_is_kept_when_it_is_bound_again(migrated):
    with connection():
        database.execute_sql(
            "INSERT INTO event (name, time, channel_id, account_id, seq, payload) "
            "VALUES ('x', 0, 'c', '1', 1, '')"
        )
    bind(f"sqlite:///{migrated}")
    migrate()
    with connection():
        assert database.execute_sql("SELECT count(*) FROM event").fetchone()[0] == 1


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_sqlite_versions_that_can_lose_commits_are_known(version, safe):
    assert wal_is_safe(version) is safe


def test_an_unsafe_sqlite_is_refused_unless_told_otherwise(file, monkeypatch):
    monkeypatch.setattr(peewee.sqlite3, "sqlite_version_info", (3, 40, 1))
    with pytest.raises(UnsafeSqliteError, match="SQLITE_ANY_VERSION=1"):
        bind(f"sqlite:///{file}")
    assert not file.exists()
    bind(f"sqlite:///{file}", any_version=True)
    assert file.exists()


def test_the_sqlite_at_hand_is_a_safe_one():
    assert wal_is_safe(peewee.sqlite3.sqlite_version_info)


def test_what_follows_a_commit_and_fails_undoes_nothing_and_holds_up_nobody(migrated, caplog):
    followed = []
    with connection():
        with database.atomic():
            database.execute_sql("CREATE TABLE x (y)")
            after_commit(lambda: 1 / 0)
            after_commit(lambda: followed.append(1))
        with database.atomic():
            database.execute_sql("INSERT INTO x VALUES (1)")
        assert database.execute_sql("SELECT count(*) FROM x").fetchone() == (1,)
    assert followed == [1]
    assert "ZeroDivisionError" in caplog.text


def test_a_part_of_a_transaction_that_fails_takes_along_what_it_wanted_done_afterwards(migrated):
    followed = []
    with connection(), database.atomic():
        after_commit(lambda: followed.append("whole"))
        with suppress(ZeroDivisionError), part():
            after_commit(lambda: followed.append("part"))
            raise ZeroDivisionError
    assert followed == ["whole"]


@given(st.timedeltas(timedelta(0), timedelta(days=2_900_000)))
def test_a_time_comes_back_to_the_millisecond(since):
    moment = EPOCH + since
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert FIELD.python_value(FIELD.db_value(moment)) == whole
    assert FIELD.python_value(FIELD.db_value(whole)) == whole
    assert FIELD.db_value(whole + timedelta(milliseconds=1)) == FIELD.db_value(whole) + 1


@given(st.integers(-62135596800000, 253402300799999))
def test_a_number_of_milliseconds_is_one_time_and_back(value):
    assert to_ms(from_ms(value)) == value
    assert from_ms(value).tzinfo is UTC


def test_no_time_is_no_time():
    assert FIELD.db_value(None) is None
    assert FIELD.python_value(None) is None


def test_a_time_of_another_zone_is_the_same_instant():
    assert to_ms(datetime.fromisoformat("1970-01-01T07:00:00+07:00")) == 0


def test_two_open_sessions_of_one_channel_cannot_be_stored(migrated, lifecycle, now):
    channel = lifecycle.create(channel_fields(), now)
    facts = {"channel": channel, "client_ip": "", "encoder": "", "start_time": now, "last_byte_at": now}
    Session.create(id="a", connection="a", **facts)
    with pytest.raises(peewee.IntegrityError, match=r"session\.channel_id"):
        Session.create(id="b", connection="b", **facts)
    Session.create(id="c", connection="c", stop_time=now, **facts)


def test_two_open_channels_with_one_token_cannot_be_stored(lifecycle, now):
    channel = lifecycle.create(channel_fields(), now)
    row = dict(channel.__data__) | {"id": "ch_other"}
    del row["pk"]
    with pytest.raises(peewee.IntegrityError, match=r"channel\.stream_token"):
        Channel.insert(row).execute()
    Channel.insert(row | {"status": "ended"}).execute()


def test_a_status_that_does_not_exist_cannot_be_stored(lifecycle, now):
    channel = lifecycle.create(channel_fields(), now)
    with pytest.raises(peewee.IntegrityError, match="CHECK"):
        Channel.update({"status": "paused"}).where(Channel.pk == channel.pk).execute()


def channel_fields() -> dict:
    return ChannelCreate().load({"name": "A channel", "accountId": "1"})
