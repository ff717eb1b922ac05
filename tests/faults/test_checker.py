"""The judge sees what it is there to see: a quiet round, falsified in one place at a time, is condemned for that."""

import json
import shutil

import pytest
from peewee import sqlite3

from db import bind
from tests.box import short_folder
from tests.faults.checker import violations
from tests.faults.rounds import prepare, settle, stop
from tests.faults.traffic import Channel
from tests.faults.world import World

pytestmark = pytest.mark.sqlite


@pytest.fixture(scope="module")
def quiet():
    """A round without a fault, over and stopped."""
    with short_folder() as folder:
        world = World(folder)
        with world:
            prepare(world)
            world.insist("PUT", "/v1/user/1", {"limits": {"maxLive": 2}})
            for _ in range(2):
                channel = Channel(world).make().go_live()
            world.insist("PUT", channel.path, {"name": "Renamed"})
            channel.leave()
            channel.go_live()
            world.insist("DELETE", channel.path)
            assert settle(world) == []
            assert stop(world) == []
            yield world


@pytest.fixture
def falsify(quiet):
    """Changes the database, the history or the rest; all is as it was afterwards."""
    file = quiet.config.data_dir / "livestream.db"
    kept = quiet.folder / "kept"
    bind(quiet.config.database_url).connect()
    with sqlite3.connect(file) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole.close()
    shutil.copy(file, kept)
    records, requests = json.dumps(quiet.history.records), list(quiet.receiver.requests)

    def sql(*statements: str) -> list[str]:
        connection = sqlite3.connect(file, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()
        return violations(quiet)

    yield sql
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    shutil.copy(kept, file)
    quiet.history.records, quiet.receiver.requests = json.loads(records), requests


def rules(found: list[str]) -> set[str]:
    return {sentence.partition("_")[0] for sentence in found}


def test_a_quiet_round_is_without_fault(falsify):
    assert falsify() == []


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("i1", "UPDATE channel SET name = 'Channel 0' WHERE pk = 2"),
        ("i1", "UPDATE channel SET stream_token = 'another-token' WHERE pk = 1"),
        ("i1", "DELETE FROM channel WHERE pk = 1"),
        ("i1", "DELETE FROM webhook WHERE pk = 1"),
        (
            "i2",
            "UPDATE event SET name = 'channel_connected' "
            "WHERE id = (SELECT min(id) FROM event WHERE name = 'channel_stop')",
        ),
        ("i3", "UPDATE user SET limits = json_set(limits, '$.max_live', 1)"),
        ("i4", "DELETE FROM event WHERE name = 'channel_ended'"),
        ("i4", "UPDATE session SET stop_time = NULL WHERE pk = 2"),
        ("i5", "DELETE FROM delivery WHERE pk = 1"),
        ("i5", "UPDATE delivery SET status = 'failed' WHERE pk = 1"),
        ("i5", "UPDATE event SET payload = '{}' WHERE id = 1"),
        ("i6", "UPDATE event SET seq = seq + 1 WHERE id > 3"),
        ("i7", "UPDATE channel_count SET n = n + 1"),
        ("i7", "INSERT INTO attempt (delivery_id, number, time) VALUES (999, 1, 0)"),
    ],
)
def test_a_falsified_database_is_condemned(falsify, rule, statement):
    assert rule in rules(falsify("PRAGMA foreign_keys = 0", statement))


def test_a_webhook_that_never_arrived_or_came_out_of_order_is_condemned(quiet, falsify):
    told = quiet.receiver.requests
    quiet.receiver.requests = told[:-1]
    assert rules(falsify()) == {"i5"}
    quiet.receiver.requests = told[::-1]
    assert "i5" in rules(falsify())


@pytest.mark.parametrize(
    "said", [{"status": 500}, {"status": 503, "headers": {}}, {"took": 7.0}, {"data": {"ec": 1, "msg": ""}}]
)
def test_an_answer_that_no_page_describes_is_condemned(quiet, falsify, said):
    quiet.history.of("reply")[-1].update(said)
    assert "i9" in rules(falsify())


def test_a_file_beside_data_dir_is_condemned(quiet, falsify):
    (quiet.folder / "tmp/left").touch()
    assert rules(falsify()) == {"i8"}
    (quiet.folder / "tmp/left").unlink()


def test_a_traceback_and_a_token_in_a_log_are_condemned(quiet, falsify):
    lines, token = quiet.parts[0].lines, quiet.history.of("hook")[0]["token"]
    lines += ["Traceback (most recent call last)\n", f"{token}\n"]
    assert rules(falsify()) == {"i9", "i11"}
    del lines[-2:]


def test_a_publisher_without_a_session_and_a_session_without_one_are_seen(quiet):
    """I10 is judged while everything runs: in settle()."""
    with short_folder() as folder, World(folder) as world:
        channel = Channel(world).make().go_live()
        world.worker.end()
        world.nginx.die()
        [found, *_] = settle(world)
        assert found == f"i10_the_api_tells_the_truth: {channel.encoder.stream} has no publisher"
