"""`script/bench writers`: publishers and creates a second, on PostgreSQL and on SQLite in turns, both durable.

Asked of the lifecycle itself, as hooks and the API ask it. 8 threads are one process of web, 2 x 4 are two.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

from db import bind, database, migrate, utcnow
from live.arrival import Arrival
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import Links
from schemas import ChannelCreate
from tests import postgres
from tests.bench.table import Row

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 3.0
MOST_A_SECOND = 800  # channels are made before, that many for each second
WAYS = {"1 thread": (1, 1), "8 threads": (1, 8), "2 processes of 4 threads": (2, 4)}
LINKS = Links("http://live.example", "rtmp://live.example/live")


def rows(folder: Path, rounds: int) -> list[Row]:
    postgres.be_durable(folder)
    return [measured(folder, verb, way, rounds) for verb in ("publish", "create") for way in WAYS]


def measured(folder: Path, verb: str, way: str, rounds: int) -> Row:
    figures: dict[str, list[float]] = {"postgresql": [], "sqlite": []}
    for number in range(rounds):
        for kind, taken in figures.items():
            place = folder / f"{verb}-{way.replace(' ', '-')}-{kind}-{number}"
            place.mkdir()
            url = postgres.url_for(place) if kind == "postgresql" else f"sqlite:///{place}/live.db"
            taken.append(press(place, url, verb, *WAYS[way]))
    return f"{verb}, {way}", figures["postgresql"], figures["sqlite"], "/s", "SQLite"


def press(folder: Path, url: str, verb: str, processes: int, threads: int) -> float:
    bind(url)
    migrate()
    if verb == "publish":
        with database.connection_context():
            write_channels(int(MOST_A_SECOND * SECONDS))
    database.obj.close()
    arguments = [sys.executable, "-m", "tests.bench.writers", url, verb, str(threads), str(processes)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*arguments, str(each)], cwd=ROOT, **pipes) for each in range(processes)]
    assert [each.stdout.readline() for each in running] == ["ready\n"] * processes
    for each in running:
        each.stdin.write("go\n")
        each.stdin.flush()
    return sum(float(each.communicate(timeout=60)[0]) for each in running)


def write_channels(count: int) -> None:
    """Open channels with the tokens t0, t1 and so on, which have published before, in 100 accounts."""
    fields = ChannelCreate().load({"name": "A channel of the benchmark"})
    lifecycle, now = Lifecycle(LINKS, Limits({}), lambda: None), utcnow()
    with database.atomic():
        for number in range(count):
            own = {"stream_token": f"t{number:039}", "account_id": str(number % 100)}
            lifecycle.create(dict(fields) | own, now)


def main() -> None:
    """One process of those that press: prints how many it did in a second."""
    url, verb = sys.argv[1:3]
    threads, processes, mine = (int(each) for each in sys.argv[3:6])
    bind(url)
    lifecycle = Lifecycle(LINKS, Limits({}), lambda: None)
    fields = dict(ChannelCreate().load({"name": "A channel of the benchmark"}))
    counts, begin = [0] * threads, threading.Barrier(threads + 1)

    def work(number: int) -> None:
        step, at = processes * threads, mine * threads + number
        with database.connection_context():
            begin.wait()
            begin.wait()
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                if verb == "create":
                    lifecycle.create(fields | {"account_id": str(at % 100)}, utcnow())
                else:
                    arrival = Arrival(f"nginx-rtmp/bench/{at}", "127.0.0.1", "FMLE/3.0")
                    lifecycle.publish(f"t{at:039}", arrival, utcnow())
                at += step
                counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for each in workers:
        each.start()
    begin.wait()
    print("ready", flush=True)
    sys.stdin.readline()
    begin.wait()
    for each in workers:
        each.join()
    print(sum(counts) / SECONDS)


if __name__ == "__main__":
    main()
