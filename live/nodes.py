"""Media nodes: which one a channel is to be published to, where one is reached, who is lost (docs/nodes.md)."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from config import Config
from db import database, run, to_ms
from models import Session
from models_nodes import Node

log = logging.getLogger(__name__)

ADDRESSES = ("public_url", "rtmp_url", "rtmps_url", "srt_url", "whip_url")
KNOWN_FOR_S = 1.0
BEAT_EVERY_S = 1.0
# Without a beat for this long a node is lost: a worker that is killed is back within three.
SILENT_S = 6.0
# Of a look that came late no more than this counts: whoever was held up himself has seen nobody fall silent.
LOOK_COUNTS_S = 2.0
# A channel that was just made has its publisher soon: until then it counts as one, or all that are made at the same
# time would go to the same node.
AWAITED = timedelta(seconds=30)


class Candidate(Protocol):
    """A node that channels can be given to."""

    name: str
    region: str
    capacity: int | None
    draining: bool


def best(nodes: Iterable[Candidate], load: Mapping[str, int], region: str = "") -> Candidate | None:
    """The one to publish to, of nodes that are up; None where there is none. `load` is publishers by node.

    What cannot be had gives way: room first, then the region.
    """
    left = list(nodes)
    left = [each for each in left if has_room(each, load)] or left
    left = [each for each in left if each.region == region] or left if region else left
    shares = all(each.capacity for each in left)

    def fullness(node: Candidate) -> float:
        publishers = load.get(node.name, 0)
        return publishers / node.capacity if shares else publishers

    return min(left, key=lambda each: (each.draining, fullness(each), each.name), default=None)


def has_room(node: Candidate, load: Mapping[str, int]) -> bool:
    return not node.draining and (node.capacity is None or load.get(node.name, 0) < node.capacity)


def publishers() -> dict[str, int]:
    """How many each node has now."""
    return dict(run("SELECT node, COUNT(*) FROM session WHERE stop_time IS NULL GROUP BY node"))


def expected(now: datetime) -> dict[str, int]:
    """The same with those that are on their way."""
    load = publishers()
    for node, count in run(
        """SELECT node, COUNT(*) FROM channel
            WHERE status = 'init' AND listed_at > ? AND published_at IS NULL GROUP BY node""",
        to_ms(now - AWAITED),
    ):
        load[node] = load.get(node, 0) + count
    return load


class Directory:
    """The nodes as the database has them, read again after a second: each answer with addresses asks for some."""

    def __init__(self) -> None:
        self.read_at = float("-inf")
        self.nodes: dict[str, Node] = {}

    def all(self, *, fresh: bool = False) -> Collection[Node]:
        mono = time.monotonic()
        if fresh or mono - self.read_at >= KNOWN_FOR_S:
            self.nodes = {node.name: node for node in Node.everyone()}
            self.read_at = mono
        return self.nodes.values()

    def named(self, name: str) -> Node | None:
        self.all()
        return self.nodes.get(name)

    def choose(self, region: str, now: datetime) -> Node | None:
        """The best node of all that are up."""
        up = [each for each in self.all() if each.up]
        return best(up, expected(now), region) if len(up) > 1 else next(iter(up), None)


class RollCall:
    """Who has stopped beating, by this process's own clock: those of two machines differ."""

    def __init__(self) -> None:
        self.beats: dict[str, int] = {}
        self.silent_s: dict[str, float] = {}
        self.looked_at = float("-inf")

    def silent(self, beats: Mapping[str, int], mono: float) -> list[str]:
        """Told how often each node has beaten: those that have not for too long."""
        passed = min(mono - self.looked_at, LOOK_COUNTS_S)
        self.silent_s = {
            name: self.silent_s[name] + passed if self.beats.get(name) == count else 0.0
            for name, count in beats.items()
        }
        self.beats, self.looked_at = dict(beats), mono
        return [name for name, silence in self.silent_s.items() if silence >= SILENT_S]

    def step(
        self, own: str, unpublish: Any, now: datetime, mono: float, go_on: Callable[[], bool] = lambda: True
    ) -> None:
        """Say of others that they are lost, and end what they had. Whoever was killed half-way is followed by the
        next one, for the sessions are found by the node that is lost. `go_on`: see reconcile."""
        beats = dict(run("SELECT name, beats FROM node WHERE lost_at IS NULL AND name != ?", own))
        for name in self.silent(beats, mono):
            lose(name, beats[name], now)
        for session in left_behind():
            if not go_on():
                break
            unpublish(session.connection, "lost", now, session.silent_since or session.last_byte_at)


def lose(name: str, beats: int, now: datetime) -> None:
    """Unless it has beaten after all, or somebody else has said so."""
    with database.atomic():
        rows = run(
            """UPDATE node SET lost_at = ?, lost_upto = (SELECT COALESCE(MAX(pk), 0) FROM session)
                WHERE name = ? AND beats = ? AND lost_at IS NULL RETURNING 1""",
            *(to_ms(now), name, beats),
        )
        if rows:
            run("DELETE FROM audience_now WHERE node = ?", name)
    if rows:
        log.error("node %s is lost: no sign of life for %d s", name, SILENT_S, extra=about("node_lost", name))


def left_behind() -> list[Session]:
    """What lost nodes had. Not what one has that is back, and takes publishers before it beats."""
    return Session.some(
        """stop_time IS NULL
           AND pk <= (SELECT lost_upto FROM node WHERE node.name = session.node AND lost_at IS NOT NULL)"""
    )


def about(event: str, node: str) -> dict[str, Any]:
    return {"event": event, "node": node}


class DisplacedError(Exception):
    """Another box has this node's name."""


class Member:
    """This box as a node."""

    def __init__(self, name: str, box: str, facts: Mapping[str, Any]) -> None:
        self.name = name
        self.box = box
        self.facts = dict(facts)
        self.entered = False
        self.started: int | None = None  # when it entered: with a copied DATA_DIR two boxes have one id

    def enter(self, now: datetime) -> None:
        """Be in the table, with what the settings say now; up with the beat that follows."""
        self.started = to_ms(now)
        values = {"name": self.name, "box": self.box, "started_at": self.started} | self.facts
        kept = {"beats": 0, "lost_at": to_ms(now), "lost_upto": 0, "draining": False}
        columns = ", ".join(values | kept)
        marks = ", ".join("?" * len(values | kept))
        changed = ", ".join(f"{name} = excluded.{name}" for name in values)
        run(
            f"""INSERT INTO node ({columns}) VALUES ({marks})
                ON CONFLICT (name) DO UPDATE SET {changed}""",  # noqa: S608 (names of ours)
            *(values | kept).values(),
        )
        self.entered = True

    def beat(self, now: datetime) -> None:
        """A sign of life; whoever was lost is back. Raises DisplacedError."""
        if not self.entered:
            self.enter(now)
        mine, who = "name = ? AND box = ? AND started_at = ?", (self.name, self.box, self.started)
        rows = run(f"UPDATE node SET beats = beats + 1 WHERE {mine} RETURNING lost_at", *who)  # noqa: S608
        if not rows:
            if run("SELECT 1 FROM node WHERE name = ?", self.name):
                raise DisplacedError(taken(self.name))
            self.entered = False  # somebody has removed it while it was away
        elif rows[0][0] is not None:
            run(f"UPDATE node SET lost_at = NULL WHERE {mine}", *who)  # noqa: S608
            log.info("node %s is up", self.name, extra=about("node_up", self.name))


def taken(name: str) -> str:
    return (
        f"Another box with this database is the node {name!r} now, or one with a copy of this DATA_DIR. Set NODE to a "
        "name of this one's own, or stop the other one."
    )


def of_box(config: Config, box: str) -> Member:
    facts = {name: getattr(config, name) for name in ("region", "capacity", *ADDRESSES)}
    return Member(config.node, box, facts)
