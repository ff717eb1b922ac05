"""Videos that move to a store of the test's own: keepers that are stepped by hand, and where files are."""

import urllib.request
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

import keeper as keeping
import mover as moving
from config import Config
from db import utcnow
from keeper import Keeper
from live.lifecycle import Lifecycle
from models import Channel
from tests.broadcasts import broadcast_over
from tests.object_store import ObjectStore


@dataclass
class World:
    """Nobody waits for anything."""

    config: Config
    lifecycle: Lifecycle
    monkeypatch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        for name in ("LIVE_STAYS_S", "PACKAGER_LATE_S"):
            self.monkeypatch.setattr(keeping, name, 0.0)
        for name in ("STAYS", "SOON"):
            self.monkeypatch.setattr(moving, name, timedelta(0))

    def keeper(self, **changed: Any) -> Keeper:
        """One that has just been started, with other settings perhaps."""
        return Keeper(replace(self.config, **changed), self.lifecycle.links, lambda: None)

    def ended(self, sessions: int = 1, **fields: Any) -> Channel:
        """A broadcast that is over."""
        channel = broadcast_over(self.config, self.lifecycle, sessions, **fields)
        self.lifecycle.stop(channel.id, utcnow())
        return channel

    def without(self) -> dict[str, Any]:
        """The settings of a box whose store is down."""
        self.monkeypatch.setattr("media.objects.TRIES", 1)
        return {"store": replace(self.config.store, endpoint="http://127.0.0.1:9")}


def work(keeper: Keeper, rounds: int = 6) -> None:
    for _ in range(rounds):
        keeper.do_chores()
        keeper.do_a_job()
        if keeper.mover.store:
            keeper.mover.step()


def objects(far: ObjectStore, channel: Channel) -> set[str]:
    return {name.partition("/")[2] for name in far.names() if name.startswith(channel.id)}


def here(config: Config, channel: Channel) -> set[str]:
    folder = config.media_dir / channel.id
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def segments(names: set[str]) -> int:
    return sum(name.endswith(".ts") for name in names)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return reply.read()
