"""Writes of many threads at one moment: one transaction on SQLite, and each with an outcome of its own."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import peewee
import pytest

from db import after_commit, connection, database, part, together
from logs import request_id
from models import TimelineEntry
from tests.waiting import until


@pytest.fixture
def table(app, db) -> None:
    """Bound, migrated, and open for the thread of the test."""


def write(now, word: str, *, then: Callable[[], Any] = lambda: None) -> Callable[[], str]:
    def act() -> str:
        with part():
            TimelineEntry.create(channel=None, time=now, kind=word)
            then()
        return word

    return act


def fails() -> None:
    raise ValueError("no")


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """What comes of these, each on a thread of its own, that all wait for the database when it becomes free."""
    came: list[Any] = [None] * len(acts)

    def run(number: int) -> None:
        request_id.set(f"request-{number}")
        with connection():
            try:
                came[number] = together(acts[number])
            except Exception as error:
                came[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    with database.atomic():
        for thread in threads:
            thread.start()
        if database.kind == "sqlite":
            until(lambda: len(database.wishes) == len(acts), 10, "all of them wait")
    for thread in threads:
        thread.join(30)
    return came


def kept() -> set[str]:
    return {entry.kind for entry in TimelineEntry.some("channel_id IS NULL")}


@pytest.fixture
def commits(table, monkeypatch) -> list[str]:
    """One for each commit; the next fails once `fail` is in it."""
    made, commit = [], database.obj.commit

    def counted() -> None:
        if "fail" in made:
            made.remove("fail")
            raise peewee.OperationalError("disk I/O error")
        made.append("commit")
        commit()

    monkeypatch.setattr(database.obj, "commit", counted)
    return made


@pytest.mark.sqlite
def test_who_waits_at_the_same_moment_is_written_with_one_commit(commits, now):
    words = [f"word {number}" for number in range(20)]
    assert at_once([write(now, word) for word in words]) == words
    assert kept() == set(words)
    assert commits == ["commit", "commit"]  # the first is of who held the database


def test_one_that_fails_fails_alone(table, now):
    first, failed, last = at_once([write(now, "a"), write(now, "b", then=fails), write(now, "c")])
    assert (first, str(failed), last) == ("a", "no", "c")
    assert kept() == {"a", "c"}


@pytest.mark.sqlite
def test_if_the_commit_fails_all_of_them_do(commits, now):
    acts = [write(now, "a"), write(now, "b", then=lambda: commits.append("fail"))]
    assert [str(each) for each in at_once(acts)] == ["disk I/O error"] * 2
    assert kept() == set()
    assert together(write(now, "c")) == "c"
    assert kept() == {"c"}


@pytest.mark.sqlite
def test_where_sqlite_rolls_back_by_itself_nobody_is_told_that_it_is_written(table, now):
    """As a disk does that is full; who comes after must not be written by itself, and told otherwise."""
    lost = write(now, "b", then=lambda: database.execute_sql("ROLLBACK"))
    came = at_once([write(now, "a"), lost, write(now, "c")])
    assert {type(each) for each in came} == {peewee.OperationalError}
    assert kept() == set()


@pytest.mark.sqlite
def test_a_database_that_is_locked_for_too_long_fails_all_who_wait_at_once(table, now, monkeypatch):
    monkeypatch.setattr(database.obj, "_timeout", 0.3)
    path = database.obj.database
    other = peewee.sqlite3.connect(path, timeout=0, isolation_level=None)
    with database.atomic():
        pass
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(peewee.OperationalError, match="locked"):
        together(write(now, "a"))
    other.close()
    assert together(write(now, "b")) == "b"
    assert kept() == {"b"}


def test_what_follows_the_commit_knows_whose_it_is(table, now):
    told = []

    def tells(word: str) -> Callable[[], str]:
        return write(now, word, then=lambda: after_commit(lambda: told.append((word, request_id.get()))))

    at_once([tells(f"word {number}") for number in range(4)])
    assert sorted(told) == [(f"word {number}", f"request-{number}") for number in range(4)]


def test_within_a_transaction_it_is_a_part_of_that(table, now):
    with suppress(ValueError), database.atomic():
        assert together(write(now, "a")) == "a"
        fails()
    assert kept() == set()
