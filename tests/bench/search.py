"""`script/bench search`: words looked for among 100,000 channels, beside the same words in bare SQL on the same tables.

The peer counts the matches and reads ten channels: no token, no order by how well they match, no envelope.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from db import bind, connection, run, utcnow
from live import fulltext
from live.text import words
from tests.bench.data import client_of
from tests.bench.table import Row
from tests.channels import Maker
from tests.conftest import RootClient

PEER = "the matches counted and ten read, bare SQL"


class Extent(NamedTuple):
    channels: int
    requests: int


WHOLE = Extent(100_000, 100)
QUICK = Extent(500, 10)


def rows(folder: Path, rounds: int, extent: Extent = WHOLE) -> list[Row]:
    """Milliseconds: median and p95 of so many requests, once a round; both take turns, request by request."""
    client, url = client_of(folder / "search", extent.channels)
    bind(url)
    ours, peer = defaultdict(list), defaultdict(list)
    with connection():
        for _ in range(rounds):
            for name, queries in cases().items():
                pairs = [pair(client, next(queries)) for _ in range(extent.requests)]
                for kept, took in ((ours, [a for a, _ in pairs]), (peer, [b for _, b in pairs])):
                    kept[f"{name}: median"].append(statistics.median(took))
                    kept[f"{name}: p95"].append(statistics.quantiles(took, n=20, method="inclusive")[-1])
    among = f"among {extent.channels:,} channels"
    return [(f"{name}, {among}", ours[name], peer[name], "ms", PEER) for name in ours]


def pair(client: RootClient, query: str) -> tuple[float, float]:
    """How long each takes; both must have found as many."""
    reply, took = timed(lambda: client.get("/v1/search", query_string={"query": query, "type": "channel"}))
    total, bare_took = timed(lambda: bare(query))
    assert (reply.status_code, reply.json["total"]) == (200, total), query
    return took, bare_took


def bare(query: str) -> int:
    matching = fulltext.matching("channel", words(query))
    [[total]] = run(f"SELECT count(*) FROM ({matching.text}) AS found", *matching.values)
    newest = f"SELECT * FROM channel WHERE pk IN ({matching.text}) ORDER BY listed_at DESC, pk DESC LIMIT 10"
    run(newest, *matching.values)
    return total


def timed(act: Callable[[], object]) -> tuple[object, float]:
    began = time.perf_counter()
    found = act()
    return found, (time.perf_counter() - began) * 1000


def cases() -> dict[str, Iterator[str]]:
    maker = Maker(utcnow())

    def common() -> str:
        return maker.random.choices(maker.words, cum_weights=maker.word_weights)[0]

    def endless(made: Callable[[], str]) -> Iterator[str]:
        while True:
            yield made()

    def any_word() -> str:
        return maker.random.choice(maker.words)

    return {
        "one word": endless(any_word),
        "two words": endless(lambda: f"{any_word()} {any_word()}"),
        "two words, common ones more": endless(lambda: f"{common()} {common()}"),
    }
