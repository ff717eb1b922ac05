"""What PostgreSQL has of its own: its schema, turns of writers, connections that are lost."""

import threading

import peewee
import pytest

from db import bind, connection, database, migrate, run
from models import TimelineEntry
from tests import postgres
from tests.tables import MODELS

pytestmark = pytest.mark.skipif(not postgres.WANTED, reason="needs PostgreSQL")


def shape(model: type[peewee.Model]) -> tuple[dict[str, bool], set[str]]:
    """Columns, each with whether it may be null; and the names of indexes, but for those of primary keys."""
    table = model._meta.table_name
    indexes = {index.name for index in database.get_indexes(table) if not index.name.endswith("_pkey")}
    return {column.name: column.null for column in database.get_columns(table)}, indexes


def test_the_schema_is_what_the_models_describe(app):
    with connection():
        migrated = [shape(model) for model in MODELS]
    bind(postgres.empty_url())
    with connection():
        database.create_tables(MODELS)
        described = [shape(model) for model in MODELS]
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
