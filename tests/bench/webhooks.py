"""`script/bench webhooks`: from commit to arrival, from one worker process to a receiver in a process of its own.

The peer, in the same run, is a bare pycurl CurlMulti loop that posts the same bodies to the same receiver: no
database, no order, no signature.
"""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pycurl

from config import Config
from db import connection, database, to_ms, utcnow
from delivery import webhooks
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import Links
from live.snapshot import channel_object
from models import Delivery, Event, new_id
from schemas import ChannelCreate
from tests.bench.table import Row
from tests.box import free_ports
from tests.conftest import installation, prepared_app
from tests.waiting import until
from wake import Bell
from wire import dump_json

ROOT = Path(__file__).resolve().parent.parent.parent
AT_ONCE = 48  # what three webhooks may have under way
PEER = "bare CurlMulti, no database"


class Extent(NamedTuple):
    """How many events of each case; without any `beside` the receiver that takes 5 s is left out."""

    idle: int
    many: int
    backlog: int
    beside: int


WHOLE = Extent(200, 3_000, 10_000, 100)
QUICK = Extent(10, 150, 300, 0)


def rows(folder: Path, rounds: int, extent: Extent = WHOLE) -> list[Row]:
    """Latencies in ms, each figure once a round; ours and the peer's take turns."""
    ours, peer = defaultdict(list), defaultdict(list)
    for number in range(rounds):
        for name, value in one_round(folder / str(number), extent):
            (peer if name.startswith("peer ") else ours)[name.removeprefix("peer ")].append(value)
    figures = [
        ("idle, commit to arrival: median", "idle median", "ms"),
        ("idle, commit to arrival: p99", "idle p99", "ms"),
        (f"{extent.many:,} deliveries to 3 webhooks of 50 channels each", "many", "/s"),
        (f"a backlog of {extent.backlog:,} drains, with new events arriving", "backlog", "/s"),
        ("those new events to another webhook: median", "fresh median", "ms"),
        ("those new events to another webhook: p99", "fresh p99", "ms"),
        ("beside a receiver that takes 5 s: median", "beside median", "ms"),
        ("beside a receiver that takes 5 s: p99", "beside p99", "ms"),
    ]
    like = {"backlog": "many", "fresh median": "idle median", "fresh p99": "idle p99"}
    like |= {"beside median": "idle median", "beside p99": "idle p99"}
    return [
        (words, ours[key], peer[like.get(key, key)], unit, PEER)
        for words, key, unit in figures
        if key in ours
    ]


def one_round(folder: Path, extent: Extent) -> Iterator[tuple[str, float]]:
    folder.mkdir(parents=True)
    config = installation(folder)
    prepared_app(config)
    with arrivals() as seen, worker(config), connection():
        bench = Bench(config, seen, extent)
        yield from named("idle", bench.idle())
        yield from named("peer idle", bench.peer_idle())
        yield "many", bench.many()
        yield "peer many", bench.peer_many()
        rate, fresh = bench.backlog()
        yield "backlog", rate
        yield from named("fresh", fresh)
        if extent.beside:
            yield from named("beside", bench.beside())


def named(what: str, seconds: list[float]) -> list[tuple[str, float]]:
    p99 = statistics.quantiles(seconds, n=100)[98]
    return [(f"{what} median", statistics.median(seconds) * 1000), (f"{what} p99", p99 * 1000)]


class Seen:
    """What has arrived, by path and event."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.times: dict[str, dict[int, float]] = defaultdict(dict)

    def read(self, lines: Iterator[str]) -> None:
        for line in lines:
            path, event, moment = line.split(" ")
            self.times[path].setdefault(int(event), float(moment))

    def all_of(self, path: str, count: int, timeout_s: float = 120) -> dict[int, float]:
        until(lambda: len(self.times[path]) >= count, timeout_s, f"{count} have arrived at {path}")
        return self.times[path]


class Bench:
    """The cases, on one database with one worker beside it."""

    def __init__(self, config: Config, seen: Seen, extent: Extent) -> None:
        self.config, self.seen, self.extent = config, seen, extent
        self.bell = Bell(config.wake_socket)
        links = Links(config.public_url, config.rtmp_url)
        self.lifecycle = Lifecycle(links, Limits(config.user_limits), self.ring)
        self.committed = 0.0
        fields = ChannelCreate().load({"name": "A channel of the benchmark", "accountId": "1"})
        self.payload = channel_object(self.lifecycle.create(fields, utcnow()), None, links, utcnow())

    def ring(self) -> None:
        self.committed = time.monotonic()
        self.bell.ring()

    def hook(self, path: str, events: str = "channel_ended") -> str:
        uri = f"http://127.0.0.1:{self.seen.port}{path}"
        fields = {"uri": uri, "event": [events], "active": True, "description": ""}
        return webhooks.create(fields, None, self.config, utcnow())[0].id

    def write(self, hooks: list[str], count: int, channels: int) -> list[int]:
        """So many events in one commit, each with a delivery to one of these webhooks in turn; then the bell."""
        now, events = utcnow(), []
        with database.atomic():
            for number in range(count):
                channel = f"ch_{number // len(hooks) % channels}"
                fields = {
                    "name": "channel_live",
                    "time": now,
                    "channel_id": channel,
                    "account_id": "1",
                    "seq": number,
                }
                event = Event.create(**fields, payload="")
                event.payload = self.body(event.id)
                event.keep()
                Delivery.create(
                    id=new_id("dlv"),
                    event=event,
                    webhook_id=hooks[number % len(hooks)],
                    queue=channel,
                    created_at=now,
                    next_at=now,
                )
                events.append(event.id)
        self.ring()
        return events

    def body(self, event_id: int) -> str:
        about = {"event": "channel_live", "eventTime": to_ms(utcnow())}
        return dump_json(about | self.payload | {"eventId": event_id, "seq": 1, "sessionId": None})

    def idle(self) -> list[float]:
        """A channel is stopped as the API stops it, when nothing else is going on."""
        self.hook("/idle")
        took = []
        for number in range(self.extent.idle + 5):
            channel = self.lifecycle.create(
                ChannelCreate().load({"name": "A channel", "accountId": "1"}), utcnow()
            )
            self.lifecycle.stop(channel.id, utcnow())
            event = Event.one("channel_id = ?", channel.id).id
            arrived = self.seen.all_of("/idle", number + 1)[event]
            took.append(arrived - self.committed)
        return took[5:]

    def many(self) -> float:
        hooks = [self.hook(f"/many{number}", "video_ready") for number in range(3)]
        self.write(hooks, self.extent.many, 50)
        began = self.committed
        last = max(
            max(self.seen.all_of(f"/many{number}", self.extent.many // 3).values()) for number in range(3)
        )
        return self.extent.many / (last - began)

    def backlog(self) -> tuple[float, list[float]]:
        """The drain's rate, and how long new events to another webhook take meanwhile."""
        old, fresh = self.hook("/backlog", "video_ready"), self.hook("/fresh", "video_ready")
        self.write([old], self.extent.backlog, 50)
        began, took = self.committed, []
        while len(self.seen.times["/backlog"]) < self.extent.backlog * 0.95:
            [event] = self.write([fresh], 1, 1)
            took.append(self.seen.all_of("/fresh", len(took) + 1)[event] - self.committed)
            time.sleep(0.05)
        return self.extent.backlog / (
            max(self.seen.all_of("/backlog", self.extent.backlog).values()) - began
        ), took

    def beside(self) -> list[float]:
        """Two webhooks: 200 channels for a receiver that takes 5 s, one after the other for one that does not."""
        slow, fast = self.hook("/slow", "video_ready"), self.hook("/beside", "video_ready")
        self.write([slow], 200, 200)
        until(lambda: self.seen.times["/slow"], 20, "the slow receiver is busy")
        took = []
        for number in range(self.extent.beside):
            [event] = self.write([fast], 1, 1)
            took.append(self.seen.all_of("/beside", number + 1)[event] - self.committed)
        return took

    def peer_idle(self) -> list[float]:
        took, sender = [], Bare(self.seen.port, "/bare-idle", 1)
        for number in range(self.extent.idle + 5):
            began = time.monotonic()
            sender.post([self.body(number).encode()])
            took.append(self.seen.all_of("/bare-idle", number + 1)[number] - began)
        return took[5:]

    def peer_many(self) -> float:
        bodies = [self.body(number).encode() for number in range(self.extent.many)]
        sender, began = Bare(self.seen.port, "/bare", AT_ONCE), time.monotonic()
        sender.post(bodies)
        return self.extent.many / (max(self.seen.all_of("/bare", self.extent.many).values()) - began)


class Bare:
    """A CurlMulti loop and nothing else."""

    def __init__(self, port: int, path: str, at_once: int) -> None:
        self.multi = pycurl.CurlMulti()
        self.idle = [self.handle(f"http://127.0.0.1:{port}{path}") for _ in range(at_once)]

    def handle(self, url: str) -> pycurl.Curl:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.HTTPHEADER, ["Content-Type: application/json", "Expect:"])
        curl.setopt(pycurl.NOSIGNAL, 1)
        return curl

    def post(self, bodies: list[bytes]) -> None:
        waiting, running = bodies[::-1], 0
        while waiting or running:
            while waiting and self.idle:
                curl = self.idle.pop()
                curl.setopt(pycurl.POSTFIELDS, waiting.pop())
                self.multi.add_handle(curl)
                running += 1
            self.multi.select(0.1)
            self.multi.perform()
            _, done, failed = self.multi.info_read()
            assert not failed, failed
            for curl in done:
                self.multi.remove_handle(curl)
                self.idle.append(curl)
                running -= 1


@contextmanager
def arrivals() -> Iterator[Seen]:
    [port] = free_ports(1)
    with process([sys.executable, "-m", "tests.bench.sink", str(port)], os.environ, subprocess.PIPE) as sink:
        seen = Seen(port)
        reader = threading.Thread(target=seen.read, args=(sink.stdout,))
        reader.start()
        try:
            yield seen
        finally:
            sink.terminate()
            reader.join()
            sink.stdout.close()


@contextmanager
def worker(config: Config) -> Iterator[None]:
    own = {"DATA_DIR": str(config.data_dir), "DATABASE_URL": config.database_url, "MEDIA_SERVER": "none"}
    with process([sys.executable, "worker.py"], os.environ | own, subprocess.DEVNULL):
        until(config.pulse_file.exists, 20, "the worker is at work")
        yield


@contextmanager
def process(argv: list[str], environment: dict[str, str], out: int) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        argv, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield started
    finally:
        started.terminate()
        started.wait(30)
