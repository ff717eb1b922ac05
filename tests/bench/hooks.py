"""`script/bench hooks`: how long encoders wait for the decision whether they may publish, alone and 500 in a second.

web and worker are processes of their own, with a webhook for every publisher; 100,000 channels are in the table. The
peer, under the same load, is a bare Flask under waitress with a SQLite file of its own, which runs the same SQL, checks
next to nothing and makes no folders.
"""

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from auth import create_token
from config import Config, nginx_program
from db import bind, connection, utcnow
from db_sqlite import path_of
from delivery import webhooks
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import Links
from media.storage import hook_secret
from models import new_stream_token
from tests.bench import storm
from tests.bench.api import server
from tests.bench.data import fill_up
from tests.bench.golive import peer_nginx
from tests.bench.storm import Door, Publisher, Told
from tests.bench.table import Row
from tests.bench.webhooks import Seen, arrivals, worker
from tests.box import free_ports, running_box
from tests.conftest import basic, installation

PEER = "bare Flask + waitress, same SQL on SQLite"


class Extent(NamedTuple):
    channels: int
    publishers: int
    alone: int
    calls_a_second: int  # of the API beside the publishers


WHOLE = Extent(100_000, 500, 200, 100)
QUICK = Extent(500, 50, 10, 40)
SECONDS = 1.0


def rows(
    folder: Path, rounds: int, extent: Extent = WHOLE, database_url: str | None = None, processes: int = 1
) -> list[Row]:
    """Milliseconds, each figure once a round; ours and the peer's take turns. Raises at a decision that is wrong."""
    found = decisions(folder, rounds, extent, database_url, processes)
    return (
        found
        if extent == QUICK or nginx_program() is None
        else found + whole_way(folder, rounds, extent, processes)
    )


def decisions(
    folder: Path, rounds: int, extent: Extent, database_url: str | None, processes: int
) -> list[Row]:
    """From the call of the media server to the answer."""
    ours, peer = defaultdict(list), defaultdict(list)
    with ExitStack() as at_work:
        here = House(folder / "ours", extent.channels, database_url)
        there = House(folder / "bare", 0, f"sqlite:///{folder}/bare/bare.db")
        seen = at_work.enter_context(arrivals())
        with here.open():
            webhooks.create(webhook_at(seen), None, here.config, utcnow())
        at_work.enter_context(worker(here.config))
        at_work.enter_context(here.web(processes))
        at_work.enter_context(there.bare())
        for number in range(rounds):
            for name, value in one_round(here, extent, number, seen):
                ours[name].append(value)
            for name, value in one_round(there, extent, number):
                peer[name].append(value)
    many = f"{extent.publishers} publishers within a second, {extent.channels:,} channels"
    beside = f"the same beside {extent.calls_a_second} calls of the API a second"
    figures = {"alone": "a decision alone", "many": many, "beside": beside}
    return [
        (f"{words}: {value}", ours[f"{key} {value}"], peer[f"{key} {value}"], "ms", PEER)
        for key, words in figures.items()
        for value in ("median", "p99", "max")
    ]


def whole_way(folder: Path, rounds: int, extent: Extent, processes: int) -> list[Row]:
    """Through the real nginx, on SQLite: from the connection of each publisher to the answer."""
    ours, peer = defaultdict(list), defaultdict(list)
    house = House(folder / "box", extent.channels, None)
    settings = {"WEB_PROCESSES": str(processes)}
    with running_box(folder / "box", **settings) as box, peer_nginx(folder) as (_, port, _):
        door = house.door._replace(port=box.port)
        for _ in range(rounds):
            arriving = house.cast(extent.publishers)
            told = storm.connected(door, box.rtmp_port, arriving, SECONDS, extent.calls_a_second)
            assert not (found := storm.wrong(told)), found
            for name, value in figures("whole", told):
                ours[name].append(value)
            arriving = [storm.publisher("valid", new_stream_token()) for _ in arriving]
            for name, value in figures("whole", storm.connected(door, port, arriving, SECONDS)):
                peer[name].append(value)
    words = f"{extent.publishers} RTMP connections within a second, from connecting to the answer, API beside"
    return [
        (
            f"{words}: {value}",
            ours[f"whole {value}"],
            peer[f"whole {value}"],
            "ms",
            "nginx-rtmp that asks nobody",
        )
        for value in ("median", "p99", "max")
    ]


def webhook_at(seen: Seen) -> dict[str, object]:
    uri = f"http://127.0.0.1:{seen.port}/connected"
    return {"uri": uri, "event": ["channel_connected"], "active": True, "description": ""}


def one_round(
    house: "House", extent: Extent, number: int, seen: Seen | None = None
) -> Iterator[tuple[str, float]]:
    told = storm.one_by_one(house.door, house.valid(extent.alone))
    yield from figures("alone", told)
    for name, calls_a_second in (("many", 0), ("beside", extent.calls_a_second)):
        more = storm.storm(house.door, house.cast(extent.publishers), SECONDS, calls_a_second)
        yield from figures(name, more)
        if seen:  # the peer knows neither limits nor times
            assert not (found := storm.wrong(more)), found
            told += more
    if seen:
        seen.all_of("/connected", storm.let_in(told) + house.heard)
        house.heard += storm.let_in(told)


def figures(name: str, told: list[Told]) -> Iterator[tuple[str, float]]:
    took = [each.ms for each in told]
    yield f"{name} median", statistics.median(took)
    yield f"{name} p99", statistics.quantiles(took, n=100, method="inclusive")[98]
    yield f"{name} max", max(took)


class House:
    """An installation with so many channels and a token, and where the server that answers for it is asked."""

    def __init__(self, folder: Path, channels: int, database_url: str | None) -> None:
        self.config: Config = installation(folder, **({"DATABASE_URL": database_url} if database_url else {}))
        fill_up(self.config, channels)
        self.limits = Limits(self.config.user_limits)
        links = Links(self.config.public_url, self.config.rtmp_url)
        self.lifecycle = Lifecycle(links, self.limits, lambda: None)
        self.heard = 0  # at the webhook
        with self.open():
            asked = {"role": "admin", "account_id": None, "expires_at": None, "name": "bench"}
            token, secret = create_token(asked, utcnow())
            channel = storm.channel(self.lifecycle, utcnow())
        [port] = free_ports(1)
        path = f"/hooks/nginx-rtmp/{hook_secret(self.config)}?instance=aa"
        self.door = Door(self.config.hook_socket, path, port, basic(token.id, secret), channel.id)

    @contextmanager
    def open(self) -> Iterator[None]:
        bind(self.config.database_url)
        with connection():
            yield

    def cast(self, count: int) -> list[Publisher]:
        with self.open():
            return storm.cast(self.lifecycle, self.limits, count, utcnow())

    def valid(self, count: int) -> list[Publisher]:
        with self.open():
            keys = [storm.channel(self.lifecycle, utcnow()).stream_token for _ in range(count)]
        return [storm.publisher("valid", key) for key in keys]

    @contextmanager
    def web(self, processes: int) -> Iterator[None]:
        own = {"DATA_DIR": str(self.config.data_dir), "DATABASE_URL": self.config.database_url}
        own |= {"MEDIA_SERVER": "none", "WORKER": "apart", "PORT": str(self.door.port)}
        own |= {"WEB_PROCESSES": str(processes)}
        with server([sys.executable, "app.py"], self.door.port, own):
            yield

    @contextmanager
    def bare(self) -> Iterator[None]:
        file, socket = str(path_of(self.config.database_url)), str(self.door.socket)
        argv = [sys.executable, "-m", "tests.bench.bare", str(self.door.port), file, socket]
        with server(argv, self.door.port, {}):
            yield
