"""Faults of the database: full, locked by somebody else (F5, F7)."""

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import psutil
from peewee import sqlite3

from tests.faults.rounds import fault, some_time
from tests.faults.traffic import Channel, Traffic
from tests.faults.world import World
from tests.race import at_once
from tests.waiting import until

BUSY_TIMEOUT_S = 5.0


@contextmanager
def full(world: World) -> Iterator[None]:
    """No process of ours can write a file beyond its first 4 KiB: what a full disk is to SQLite."""
    pids = [part.process.pid for part in (world.web, world.worker)]
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    world.fault("full")
    yield
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    world.fault("freed")


@contextmanager
def locked(world: World) -> Iterator[None]:
    """Somebody else writes, and does not come to an end."""
    other = sqlite3.connect(
        world.config.database_url.removeprefix("sqlite:///"), timeout=10, isolation_level=None
    )
    other.execute("BEGIN EXCLUSIVE")
    world.fault("locked")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()
        world.fault("unlocked")


@fault("F5")
def database_full(world: World, chance: Random) -> None:
    """Writes are 503, publishers are refused, reads and broadcasts go on; it recovers by itself."""
    running = Channel(world).make().go_live()
    idle, unmade = Channel(world).make(), Channel(world)
    with full(world):
        refused = world.call("POST", "/v1/live", unmade.body, key=unmade.key)
        assert refused.status == 503, refused
        assert idle.publish() is None
        for _ in range(chance.randint(1, 5)):
            changed = world.call("PUT", running.path, {"name": "Changed on a full disk"})
            assert changed.status == 503, changed
        assert running.shown()["status"] == "live"
    assert "disk I/O error" in world.log(), "what went wrong, and not what went wrong because of it"
    assert "cannot rollback" not in world.log()
    unmade.make()
    idle.go_live()


@fault("F5")
def database_full_at_a_random_moment(world: World, chance: Random) -> None:
    with Traffic(world, chance):
        some_time(chance, 0.1, 0.8)
        with full(world):
            some_time(chance, 0.2, 1.0)


@fault("F7")
def database_locked_for_longer_than_anybody_waits(world: World, chance: Random) -> None:
    """503 and a refusal in time, also where many wait; no process spins meanwhile."""
    running = Channel(world).make().go_live()
    waiting = [Channel(world).make() for _ in range(4)]
    unmade = [Channel(world) for _ in range(6)]
    with locked(world):
        began, spent = time.monotonic(), cpu_s(world)
        acts = [channel.publish for channel in waiting]
        acts += [lambda each=each: world.call("POST", "/v1/live", each.body, key=each.key) for each in unmade]
        late = chance.uniform(0.5, BUSY_TIMEOUT_S - 0.5)  # these find others waiting
        acts += [lambda: (time.sleep(late), world.call("PUT", running.path, {"name": "Late"}))[1]]
        *_, changed = answers = at_once([*acts, running.shown])[:-1]
        assert answers[:4] == [None] * 4, "publishers are refused"
        assert {reply.status for reply in answers[4:]} == {503}
        assert changed.status == 503
        assert cpu_s(world) - spent < 0.5 * (time.monotonic() - began)
    for channel in unmade:
        channel.make()
    for channel in waiting:
        channel.go_live()


@fault("F7")
def database_locked_for_a_moment(world: World, chance: Random) -> None:
    """Everybody waits, nobody is refused."""
    channels = [Channel(world).make() for _ in range(4)]
    with locked(world):
        threads = [threading.Thread(target=channel.publish) for channel in channels]
        for thread in threads:
            thread.start()
        some_time(chance, 0.2, 2.0)
    for thread in threads:
        thread.join(20)
    assert all(channel.encoder for channel in channels)
    until(lambda: all(channel.shown()["status"] == "live" for channel in channels), 10, "all are live")


def cpu_s(world: World) -> float:
    times = [psutil.Process(part.process.pid).cpu_times() for part in (world.web, world.worker)]
    return sum(each.user + each.system for each in times)
