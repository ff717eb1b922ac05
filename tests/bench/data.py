"""Lists and searches with a thousand channels and with a million: script/bench data."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from app import create_app
from config import Config
from db import bind, database, migrate, run, utcnow
from media.storage import make_folders
from tests.channels import Maker, write_channels
from tests.conftest import RootClient, installation

SIZES = (1_000, 1_000_000)
REQUESTS = 100
Ask = Callable[[RootClient], object]


def print_table(folder: Path) -> None:
    """Both sizes take turns, case by case, so that what else the machine does falls on both."""
    clients = {size: client_of(folder / str(size), size) for size in SIZES}
    print("| request | " + " | ".join(f"{size:,} channels: p50, p95" for size in SIZES) + " | p95 ratio |")
    print("| --- |" + " ---: |" * (len(SIZES) + 1))
    for name, requests in cases().items():
        times = [measured(*clients[size], requests) for size in SIZES]
        few, many = times
        shown = " | ".join(f"{p50:.1f} ms, {p95:.1f} ms" for p50, p95 in times)
        print(f"| {name} | {shown} | {many[1] / few[1]:.1f} |", flush=True)


def client_of(folder: Path, size: int) -> tuple[RootClient, str]:
    """An app on a database of this many channels, filled if it is new."""
    config = installation(folder)
    fill_up(config, size)
    app = create_app(config)
    app.test_client_class = RootClient
    return app.test_client(), config.database_url


def fill_up(config: Config, size: int) -> None:
    """A database of at least this many channels."""
    make_folders(config)
    bind(config.database_url)
    migrate()
    with database.connection_context():
        [[there]] = run("SELECT coalesce(sum(n), 0) FROM channel_count WHERE account_id = '' AND tag = ''")
        if there < size:
            write_channels(size - there, utcnow())


def measured(client: RootClient, url: str, requests: Callable[[], Iterator[Ask]]) -> tuple[float, float]:
    """p50 and p95 in ms, of the whole request through the app: token, query, envelope."""
    bind(url)
    times = []
    for number, ask in zip(range(REQUESTS + 20), requests(), strict=False):
        began = time.perf_counter()
        reply = ask(client)
        took = (time.perf_counter() - began) * 1000
        assert reply.status_code in (200, 201), reply.text
        if number >= 20:
            times.append(took)
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def cases() -> dict[str, Callable[[], Iterator[Ask]]]:
    maker, today = Maker(utcnow()), utcnow().replace(hour=0, minute=0, second=0, microsecond=0)

    def chosen(weights: list[float]) -> str:
        return str(maker.random.choices(range(1, len(weights) + 1), cum_weights=weights)[0])

    def account() -> str:
        return chosen(maker.account_weights)

    def tag() -> str:
        return f"tag-{chosen(maker.tag_weights)}"

    def any_word() -> str:
        return random.choice(maker.words)

    def common_word(shortest: int = 1) -> str:
        """As often as the texts have it."""
        word = maker.random.choices(maker.words, cum_weights=maker.word_weights)[0]
        return word if len(word) >= shortest else common_word(shortest)

    def days(count: int) -> dict[str, str]:
        begin = today - timedelta(days=random.randrange(count, 1000))
        return {"from": iso(begin), "to": iso(begin + timedelta(days=count))}

    live, search = "/v1/live", "/v1/search"
    return {
        "list": gets(live, dict),
        "list, `status=live`": gets(live, lambda: {"status": "live"}),
        "list, `status=ended,live`": gets(live, lambda: {"status": "ended,live"}),
        "list, `accountId`": gets(live, lambda: {"accountId": account()}),
        "list, `accountId`, `status=ended`": gets(live, lambda: {"accountId": account(), "status": "ended"}),
        "list, one of the tags": gets(live, lambda: {"tags": tag()}),
        "list, any of two tags": gets(live, lambda: {"tags": f"{tag()},{tag()}"}),
        "list, a tag, `accountId`, `status=ended`": gets(
            live, lambda: {"tags": tag(), "accountId": account(), "status": "ended"}
        ),
        "list, `from` and `to` a day apart": gets(live, lambda: days(1)),
        "list, `from` and `to` a year apart": gets(live, lambda: days(365)),
        "list, `query` a word": gets(live, lambda: {"query": any_word() + any_word()[:2]}),
        "list, `query` a common word of 3 letters or more": gets(live, lambda: {"query": common_word(3)}),
        "list, `query` of two letters": gets(live, lambda: {"query": any_word()[:2]}),
        "search, two words, any": gets(search, lambda: {"query": f"{any_word()} {any_word()}"}),
        "search, two words, common ones more": gets(
            search, lambda: {"query": f"{common_word()} {common_word()}"}
        ),
        "the same, `order=desc`": gets(
            search, lambda: {"query": f"{common_word()} {common_word()}", "order": "desc"}
        ),
        "the same, `accountId`": gets(
            search, lambda: {"query": f"{common_word()} {common_word()}", "accountId": account()}
        ),
        "search, the two commonest words": gets(search, lambda: {"query": " ".join(maker.words[:2])}),
        "search, one word, any": gets(search, lambda: {"query": any_word()}),
        "search, a word and a letter": gets(search, lambda: {"query": f"{any_word()} {any_word()[0]}"}),
        "create": creates(maker),
    }


def gets(path: str, query: Callable[[], dict[str, str]]) -> Callable[[], Iterator[Ask]]:
    def requests() -> Iterator[Ask]:
        while True:
            asked = query()
            yield lambda client, asked=asked: client.get(path, query_string=asked)

    return requests


def creates(maker: Maker) -> Callable[[], Iterator[Ask]]:
    def requests() -> Iterator[Ask]:
        while True:
            body = {"name": maker.text(), "description": maker.text(), "tags": maker.tags(), "accountId": "1"}
            yield lambda client, body=body: client.post("/v1/live", json=body)

    return requests


def iso(moment: object) -> str:
    return moment.isoformat().replace("+00:00", "Z")
