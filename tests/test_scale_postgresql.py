"""What the hot statements read on PostgreSQL: an index, however many channels and deliveries there are."""

from collections.abc import Callable, Iterator
from itertools import combinations

import pytest

from app import create_app
from config import Config
from db import bind, connection, database, fold_counters, migrate, run
from delivery import queue
from live import listing
from live.limits import channels_of, live_of
from live.search import search
from models import Channel, Event, Session
from schemas import ChannelQuery
from schemas_search import SearchQuery
from tests import postgres
from tests.channels import write_channels
from tests.conftest import NOW, installation
from tests.invariants import miscounted
from tests.outbox import T0, hook
from tests.test_scale import FILTERS, FLAT

pytestmark = pytest.mark.skipif(not postgres.WANTED, reason="needs PostgreSQL")

MANY = 1_000
EVENTS = """
    INSERT INTO event (name, time, channel_id, account_id, seq, payload)
    SELECT 'channel_live', number, 'ch_' || mod(number, 200), '1', 1, '{}' FROM generate_series(1, 2000) AS number
"""
DELIVERIES = """
    INSERT INTO delivery (id, event_id, webhook_id, queue, status, attempts, created_at, next_at)
    SELECT 'dlv_' || id, id, ?, channel_id, CASE WHEN mod(id, 10) = 0 THEN 'pending' ELSE 'delivered' END, 0, 1,
           CASE WHEN mod(id, 10) = 0 THEN 1 END FROM event
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Config:
    config = installation(tmp_path_factory.mktemp("scale"))
    bind(config.database_url)
    migrate()
    create_app(config)
    webhook = hook(config)
    with connection():
        write_channels(MANY, NOW)
        run(EVENTS)
        run(DELIVERIES, webhook.id)
        run(
            """INSERT INTO session (id, channel_id, connection, client_ip, encoder, start_time, stop_time, last_byte_at,
                                    silent_ms, bytes_in, video, audio)
               SELECT 'ses_' || pk, pk, pk, '', '', 1, CASE WHEN status = 'ended' THEN 2 END, 1, 0, 0, '{}', '{}'
                 FROM channel"""
        )
        fold_counters()
        run("ANALYZE")
    return config


@pytest.fixture
def many(filled) -> Iterator[None]:
    bind(filled.database_url)
    with connection():
        yield


Plans = list[tuple[str, set[str]]]


def plans(act: Callable[[], object], monkeypatch) -> Plans:
    """Each statement of this act, and what PostgreSQL cannot do without for it: "Sort", "Seq Scan channel" and so on.

    Where a table is small it would be right to read and to sort all of it; so that is made to look dear here.
    """
    asked = []
    ask = database.obj.execute_sql

    def noting(sql: str, params: object = None) -> object:
        asked.append((sql, params))
        return ask(sql, params)

    with monkeypatch.context() as patch:
        patch.setattr(database.obj, "execute_sql", noting)
        act()
    reads = [each for each in asked if each[0].lstrip().startswith(("SELECT", "UPDATE"))]
    with database.atomic():
        ask("SET LOCAL enable_seqscan = off")
        ask("SET LOCAL enable_sort = off")
        return [
            (sql, steps(ask(f"EXPLAIN (FORMAT JSON) {sql}", given).fetchone()[0])) for sql, given in reads
        ]


def steps(plan: object) -> set[str]:
    if isinstance(plan, list):
        return {step for each in plan for step in steps(each)}
    if "Plan" in plan:
        return steps(plan["Plan"])
    return {f"{plan['Node Type']} {plan.get('Relation Name', '')}".strip()} | steps(plan.get("Plans", []))


def whole(found: Plans) -> list[str]:
    """The statements that read a table of many rows from one end to the other."""
    many = ("channel", "channel_tag", "channel_text", "channel_count", "session", "event", "delivery")
    return [sql for sql, steps in found if steps & {f"Seq Scan {table}" for table in many}]


@pytest.mark.parametrize("asked", FLAT, ids=str)
def test_a_list_is_walked_in_its_order(many, monkeypatch, asked):
    found = plans(lambda: listing.channels(ChannelQuery().load_text(asked), NOW), monkeypatch)
    assert whole(found) == []
    parts = {"UNION"} if "," in asked.get("status", "") else set()  # sorted are a page of each part
    assert [
        sql for sql, steps in found if "LIMIT" in sql and "Sort" in steps and not parts & {*sql.split()}
    ] == []
    assert not parts or [sql for sql, _ in found if sql.count("LIMIT") == 3]


def test_no_list_reads_the_whole_table_of_channels(many, monkeypatch):
    for count in range(len(FILTERS) + 1):
        for names in combinations(FILTERS, count):
            asked = ChannelQuery().load_text({name: FILTERS[name] for name in names})
            assert whole(plans(lambda asked=asked: listing.channels(asked, NOW), monkeypatch)) == [], names


def test_no_search_reads_the_whole_table_of_channels(many, monkeypatch):
    for extra in ({"query": "ban"}, {"query": "ba", "tags": "tag-1"}, {"query": "ban", "order": "asc"}):
        asked = SearchQuery().load_text(extra)
        assert whole(plans(lambda asked=asked: search(asked, NOW), monkeypatch)) == [], extra


def test_a_claim_reads_an_index_and_not_the_backlog(many, monkeypatch):
    fronts = queue.fronts()
    assert len(fronts) == 1
    assert whole(plans(queue.fronts, monkeypatch)) == []
    with database.atomic() as undone:
        found = plans(lambda: queue.claim({fronts[0].webhook_id: 8}, T0), monkeypatch)
        undone.rollback()
    assert [sql for sql, _ in found if "FOR NO KEY UPDATE SKIP LOCKED" in sql]
    assert whole(found) == []


HOT = {
    "a publisher's channel": lambda: Channel.holding("nobody has it"),
    "its open session": lambda: Session.open_of(Channel(pk=17)),
    "a session by its connection": lambda: Session.of_connection("17"),
    "channels that are due": lambda: Channel.due(NOW),
    "live ones of an account": lambda: live_of("17"),
    "channels of an account": lambda: channels_of("17"),
    "the newest complete event": lambda: database.complete_events(),
    "the feed, from the end": lambda: list(
        Event.some("id > ? AND id <= ? ORDER BY id LIMIT 10", 1_900, 2_000)
    ),
}


@pytest.mark.parametrize("what", HOT)
def test_what_is_asked_all_the_time_reads_an_index(many, monkeypatch, what):
    assert whole(plans(HOT[what], monkeypatch)) == []


def test_what_the_counters_say_is_what_counting_finds(many):
    assert miscounted() == set()
