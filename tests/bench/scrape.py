"""What a scrape of /metrics costs with very much in the database: script/bench scrape."""

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import worker
from app import create_app
from db import bind, database, migrate, run, to_ms, utcnow
from media.storage import make_folders
from tests.bench.table import Row
from tests.channels import write_channels
from tests.conftest import installation

WEBHOOKS = 20


class Extent(NamedTuple):
    channels: int
    deliveries: int


WHOLE = Extent(10_000, 100_000)
QUICK = Extent(100, 1_000)


def rows(folder: Path, rounds: int, extent: Extent = WHOLE) -> list[Row]:
    none = scrapes(folder / "none", rounds, Extent(0, 0), 1)
    full = f"a scrape with {extent.channels:,} channels and {extent.deliveries:,} deliveries"
    cases = {"1 % of them pending": 100, "all of them pending": 1}
    return [
        (
            f"{full}, {said}",
            scrapes(folder / str(every), rounds, extent, every),
            none,
            "ms",
            "nothing there",
        )
        for said, every in cases.items()
    ]


def scrapes(folder: Path, rounds: int, extent: Extent, every: int) -> list[float]:
    """Milliseconds of a scrape, the median of twenty, in each round; one in `every` delivery is pending."""
    config = installation(folder)
    make_folders(config)
    bind(config.database_url)
    migrate()
    with database.connection_context():
        if extent.deliveries:
            write_channels(extent.channels, utcnow())
            write_deliveries(extent.deliveries, every)
        worker.build(config)._pulse()
        client = create_app(config).test_client()
        return [statistics.median(timed(client) for _ in range(20)) for _ in range(rounds)]


def write_deliveries(count: int, every: int) -> None:
    now = to_ms(utcnow())
    with database.atomic():
        for number in range(WEBHOOKS):
            run(
                "INSERT INTO webhook (id, uri, events, description, secret, active, created_at) "
                "VALUES (?, 'http://a.example/', '[\"all\"]', '', 'x', ?, ?)",
                *(f"wh_{number}", True, now),
            )
        run(
            "INSERT INTO event (name, time, channel_id, account_id, seq, payload) "
            "VALUES ('channel_live', ?, 'ch_a', '1', 1, '{}')",
            now,
        )
        for number in range(count):
            status = "pending" if number % every == 0 else "failed" if number % 20 == 1 else "delivered"
            run(
                "INSERT INTO delivery (id, event_id, webhook_id, queue, status, attempts, created_at, next_at) "
                "VALUES (?, (SELECT MAX(id) FROM event), ?, ?, ?, 0, ?, ?)",
                *(f"dlv_{number:020d}", f"wh_{number % WEBHOOKS}", f"ch_{number % 5000}", status, now),
                now if status == "pending" and number % 50 == 0 else None,
            )


def timed(client: object) -> float:
    began = time.perf_counter()
    assert client.get("/metrics").status_code == 200
    return (time.perf_counter() - began) * 1000
