"""What lists and searches cost does not grow with the channels: counted in steps of SQLite, which are no times."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from db import bind, database, migrate
from live import listing
from live.search import search
from schemas import ChannelQuery
from schemas_search import SearchQuery
from tests.channels import write_channels
from tests.conftest import NOW
from tests.invariants import miscounted

pytestmark = pytest.mark.sqlite

FEW, MANY = 1_000, 20_000
Steps = Callable[[dict], tuple[int, int]]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[int, Path]:
    """Two databases with few and with many channels."""
    folder = tmp_path_factory.mktemp("scale")
    made = {size: folder / f"{size}.db" for size in (FEW, MANY)}
    for size, file in made.items():
        bind(f"sqlite:///{file}")
        migrate()
        with database.connection_context():
            write_channels(size, NOW)
    return made


@pytest.fixture
def many(files) -> None:
    bind(f"sqlite:///{files[MANY]}")
    with database.connection_context():
        yield


@pytest.fixture
def steps(files) -> Steps:
    """The steps of the virtual machine that a list takes with few channels and with many."""

    def counted(asked: dict) -> tuple[int, int]:
        return tuple(steps_in(file, asked) for file in files.values())

    return counted


def steps_in(file: Path, asked: dict) -> int:
    bind(f"sqlite:///{file}")
    taken = 0

    def one_more() -> None:
        nonlocal taken
        taken += 1

    with database.connection_context():
        database.connection().set_progress_handler(one_more, 1)
        page = listing.channels(ChannelQuery().load_text(asked), NOW)
        assert len(page.rows) == 10 <= page.total, "a full page, or the comparison would not be one"
    return taken


FLAT = [
    *({}, {"order": "asc"}, {"status": "ended"}, {"status": "ended,init"}, {"accountId": "1"}),
    *({"accountId": "1", "status": "ended"}, {"tags": "tag-1"}, {"tags": "tag-1", "status": "ended"}),
    *({"tags": "tag-1", "accountId": "1"}, {"tags": "tag-1", "accountId": "1", "status": "ended"}),
]


@pytest.mark.parametrize("asked", FLAT, ids=str)
def test_a_list_takes_as_many_steps_with_many_channels_as_with_few(steps, asked):
    few, many = steps(asked)
    assert many < few * 1.1 + 100


FILTERS = {
    "status": "ended,live",
    "accountId": "1",
    "tags": "tag-1,tag-2",
    "from": "2026-01-01T00:00:00Z",
    "to": "2026-02-01T00:00:00Z",
    "query": "abc",
}


def plans(act: Callable[[], object]) -> list[str]:
    """How SQLite goes about each query of this act."""
    asked = []
    database.connection().set_trace_callback(asked.append)
    act()
    database.connection().set_trace_callback(None)
    return [
        row[3]
        for sql in asked
        if sql.startswith("SELECT")
        for row in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}").fetchall()
    ]


@pytest.mark.parametrize("count", range(len(FILTERS) + 1))
def test_no_list_reads_the_whole_table_of_channels(many, count):
    for names in combinations(FILTERS, count):
        asked = ChannelQuery().load_text({name: FILTERS[name] for name in names})
        whole = [line for line in plans(lambda asked=asked: listing.channels(asked, NOW)) if is_whole(line)]
        assert whole == [], names


def test_no_search_reads_the_whole_table_of_channels(many):
    for extra in (
        {},
        {"query": "ba"},
        {"mode": "normal"},
        {"tags": "tag-1"},
        {"order": "asc", "query": "ba"},
    ):
        asked = SearchQuery().load_text(extra)
        assert [line for line in plans(lambda asked=asked: search(asked, NOW)) if is_whole(line)] == []


def is_whole(line: str) -> bool:
    return line.startswith(("SCAN channel", "SCAN video")) and "INDEX" not in line and "VIRTUAL" not in line


@pytest.mark.parametrize("asked", [*FLAT, {"tags": "tag-1,tag-2"}, {"from": "2026-01-01T00:00:00Z"}], ids=str)
def test_a_list_is_walked_in_its_order_and_not_sorted(many, asked):
    lines = plans(lambda: listing.channels(ChannelQuery().load_text(asked), NOW))
    assert [line for line in lines if "TEMP B-TREE FOR ORDER BY" in line] == []


def test_a_part_of_many_names_is_walked_and_one_of_few_is_found(many, monkeypatch):
    def pages(most: int) -> tuple:
        monkeypatch.setattr("live.selection.TOO_MANY_TO_SORT", most)
        page = listing.channels(ChannelQuery().load_text({"query": "ban"} | extra), NOW)
        return [row.pk for row in page.rows], page.total

    for extra in (
        {"query": "ban"},
        {"query": "ban", "accountId": "1"},
        {"query": "ban", "tags": "tag-1,tag-2"},
    ):
        assert pages(0) == pages(10**9), extra
        assert pages(0)[1] > 20


def test_what_the_counters_say_is_what_counting_finds(many):
    assert miscounted() == set()
