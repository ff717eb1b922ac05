"""A round: an installation, a fault, its end, quiet, and the judgement."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from media import storage
from tests.box import short_folder
from tests.faults.checker import violations
from tests.faults.witness import Witness
from tests.faults.world import HEALED_WITHIN_S, World

QUIET_WITHIN_S = 90.0

Act = Callable[[World, Random], None]


@dataclass(frozen=True)
class Fault:
    """`number` is of the fault matrix that this project was given; `settings` are of the installation."""

    number: str
    act: Act
    settings: dict[str, str]

    @property
    def name(self) -> str:
        return self.act.__name__


FAULTS: list[Fault] = []


def fault(number: str, **settings: str) -> Callable[[Act], Act]:
    """The function injects one fault, and heals it."""

    def register(act: Act) -> Act:
        FAULTS.append(Fault(number, act, settings))
        return act

    return register


def some_time(chance: Random, least: float, most: float) -> None:
    """Lets things go on for a random time, so that a fault comes at any moment; nothing is waited for."""
    time.sleep(chance.uniform(least, most))


def play(each: Fault, seed: int, keep: Path | None = None) -> list[str]:
    """One round; returns what was violated. `keep`: where the history goes if anything was."""
    with short_folder() as folder:
        world = World(folder, **each.settings)
        found: list[str] = []
        try:
            with world:
                prepare(world)
                each.act(world, Random(seed))
                found += settle(world)
                found += stop(world)
                found += violations(world)
        except Exception as error:
            steps = traceback.extract_tb(error.__traceback__)
            where = next((step for step in steps if step.name == each.name), steps[-1])
            found.append(f"the round itself failed at {where.line!r}: {type(error).__name__}: {error}")
        if found and keep:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{each.name}-{seed}.log").write_text(world.log())
            (keep / f"{each.name}-{seed}.jsonl").write_text((folder / "history.jsonl").read_text())
        return found


def prepare(world: Witness) -> None:
    for path, events in (("all", "all"), ("some", "channel_live,channel_ended")):
        made = world.insist("POST", "/v1/webhook", {"uri": f"{world.receiver.url}/{path}", "event": events})
        assert made.status == 201, made


def settle(world: World) -> list[str]:
    """I10, and then quiet: the fault is over, so within 10 s the API tells what the media server really has."""
    began = time.monotonic()
    while differences := disagreements(world):
        if time.monotonic() - began > HEALED_WITHIN_S:
            return [f"i10_the_api_tells_the_truth: {each}" for each in differences]
        time.sleep(0.05)
    world.history.write("agreed", took=round(time.monotonic() - began, 2))
    while pending := world.rows(
        "SELECT webhook_id, event_id, attempts FROM delivery WHERE status = 'pending'"
    ):
        if time.monotonic() - began > QUIET_WITHIN_S:
            return [f"i5: never over: {pending[:3]} and {len(pending) - 1} more"]
        time.sleep(0.05)
    return []


def disagreements(world: World) -> list[str]:
    """Where the API, the media server and what is taken in differ on who is on air."""
    streams = world.nginx.publishing()
    live = {}
    for page in range(1000):
        reply = world.call("GET", f"/v1/live?length=100&page={page}")
        if reply is None or reply.status != 200:
            return [f"the list was answered {reply and reply.status}"]
        live |= {each["id"]: each for each in reply.data["data"]}
        if reply.data["total"] <= (page + 1) * 100:
            break
    sessions = dict(
        world.rows(
            "SELECT session.id, channel.id FROM session JOIN channel ON channel.pk = channel_id "
            "WHERE session.stop_time IS NULL"
        )
    )
    wrong = [f"{stream} publishes and has no session" for stream in streams - sessions.keys()]
    wrong += [f"{session} has no publisher" for session in sessions.keys() - streams]
    wrong += [
        f"{channel_id} says publishing: {shown['publishing']}"
        for channel_id, shown in live.items()
        if shown["publishing"] != (channel_id in sessions.values())
    ]
    wrong += [f"{each} is not live" for each in sessions.values() if live[each]["status"] != "live"]
    taken_in = storage.taken_in(world.config.ingest_dir).keys()
    wrong += [f"{each} is still taken in" for each in taken_in - streams]
    return wrong + [f"{each} is not taken in" for each in streams - taken_in]


def stop(world: World) -> list[str]:
    """I8: everything ends when asked, and nothing is left running."""
    codes: dict[str, Any] = {part.name: part.end() for part in (world.worker, world.packager, world.web)}
    return [f"i8_nothing_is_left_behind: {part} ended with {code}" for part, code in codes.items() if code]
