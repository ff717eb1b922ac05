"""What PostgreSQL has of its own: its schema, turns of writers, connections that are lost."""

import threading
from contextlib import suppress

import peewee
import pytest

from db import after_commit, bind, connection, database, migrate, run, side_by_side
from models import TimelineEntry
from models_search import ChannelCount
from tests import postgres
from tests.tables import MODELS

pytestmark = pytest.mark.skipif(not postgres.WANTED, reason="needs PostgreSQL")
# All but the counters, which are many rows each (migrations/0010_side_by_side.py).
ALIKE = [model for model in MODELS if model is not ChannelCount]


def shape(model: type[peewee.Model]) -> tuple[dict[str, bool], set[str]]:
    """Columns, each with whether it may be null; and the names of indexes, but for those of primary keys."""
    table = model._meta.table_name
    indexes = {index.name for index in database.get_indexes(table) if not index.name.endswith("_pkey")}
    return {column.name: column.null for column in database.get_columns(table)}, indexes


def test_the_schema_is_what_the_models_describe(app):
    with connection():
        migrated = [shape(model) for model in ALIKE]
    bind(postgres.empty_url())
    with connection():
        database.create_tables(ALIKE)
        described = [shape(model) for model in ALIKE]
    assert migrated == described


def test_migrating_again_does_nothing(app):
    assert migrate() == []


def test_writers_take_turns(app, now):
    begun, over = threading.Event(), []

    def write() -> None:
        with connection(), database.atomic():
            begun.set()
            over.append("other")

    with connection(), database.atomic():
        TimelineEntry.create(channel=None, kind="refused", time=now)
        other = threading.Thread(target=write)
        other.start()
        assert not begun.wait(0.5)
        over.append("one")
    other.join(10)
    assert over == ["one", "other"]


def test_a_connection_that_is_lost_is_made_anew_but_not_within_a_transaction(app):
    with connection():
        for _ in range(2):
            [[mine]] = run("SELECT pg_backend_pid()")
            _end(mine)
            with pytest.raises(peewee.OperationalError):
                run("SELECT 1")
            assert run("SELECT 1") == [(1,)]
        with pytest.raises(peewee.OperationalError):
            _lose_it_within_a_transaction()
        with database.atomic():
            assert run("SELECT 1") == [(1,)]


def _lose_it_within_a_transaction() -> None:
    with database.atomic():
        [[mine]] = run("SELECT pg_backend_pid()")
        _end(mine)
        run("SELECT 1")


def _end(backend: int) -> None:
    def ask() -> None:
        with connection():
            run("SELECT pg_terminate_backend(?, 5000)", backend)

    other = threading.Thread(target=ask)
    other.start()
    other.join(10)


def test_what_was_to_follow_a_commit_is_forgotten_with_a_transaction_whose_connection_is_lost(app):
    followed = []
    with connection():
        with suppress(peewee.OperationalError), side_by_side():
            after_commit(lambda: followed.append("of the lost one"))
            database.connection().close()
            run("SELECT 1")
        with side_by_side():
            after_commit(lambda: followed.append("of the next one"))
    assert followed == ["of the next one"]


def test_nobody_waits_for_long_for_a_server_whose_machine_is_gone(app, config):
    """The kernel finds out, which a test cannot wait for; both ends have asked it to."""
    from db_postgresql import at

    with connection():
        asked = database.connection().info.get_parameters()
        assert (asked["connect_timeout"], asked["keepalives_idle"], asked["tcp_user_timeout"]) == (
            *("5", "5", "10000"),
        )
    own = at(f"{config.database_url}{'&' if '?' in config.database_url else '?'}tcp_user_timeout=60000")
    with own.connection_context():
        assert own.connection().info.get_parameters()["tcp_user_timeout"] == "60000"


def test_an_address_with_an_option_that_nobody_knows_is_an_error_of_the_database():
    from db_postgresql import at

    with pytest.raises(peewee.DatabaseError, match="unheard_of"):
        at("postgresql://live@/live?unheard_of=1")
