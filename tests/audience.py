"""A simulated audience: viewers that fetch playlist and segments like a player, and what is true of them."""

import asyncio
import random
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

Stint = tuple[float, float]  # from when to when somebody watches, in seconds from the start
POLL_S = 1.0


@dataclass
class Truth:
    """When each viewer was there, in seconds since 1970, as it saw it itself."""

    presences: list[Stint] = field(default_factory=list)
    requests: int = 0
    bytes: int = 0

    @property
    def watched(self) -> float:
        return sum(end - start for start, end in self.presences)

    def peak(self, since: float = 0, until: float = float("inf")) -> int:
        """The most that were there at the same moment of this span."""
        changes = sorted(
            change for start, end in self.presences for change in ((start, 0), (end, 1)) if start < until
        )
        count = most = 0
        for moment, left in changes:
            if moment >= since:
                most = max(most, count)
            if moment >= until:
                break
            count += -1 if left else 1
        return max(most, count) if changes and changes[-1][0] < until and not count else most


def crowd(size: int, seconds: float, seed: int) -> list[list[Stint]]:
    """Some stay, some leave, some pause for less than 30 s, some return after more."""
    dice, plans = random.Random(seed), []
    for number in range(size):
        begin = dice.uniform(0, seconds / 4)
        end = dice.uniform(seconds * 0.6, seconds)
        if number % 4 == 1:
            end = begin + dice.uniform(8, seconds / 3)
        plan = [(begin, end)]
        if number % 4 == 2 and seconds > 55:  # away for longer
            gone = dice.uniform(6, 10)
            plan = [(begin, begin + gone), (begin + gone + 33, seconds)]
        plans.append(plan)
    return plans


def play(port: int, channel_id: str, plans: Iterable[list[Stint]]) -> Truth:
    """Everybody watches as planned; returns when the last has left."""
    truth = Truth()

    async def everybody() -> None:
        began = time.time()
        await asyncio.gather(
            *(_watch(port, channel_id, number, plan, began, truth) for number, plan in enumerate(plans))
        )

    asyncio.run(everybody())
    return truth


async def _watch(
    port: int, channel_id: str, number: int, plan: list[Stint], began: float, truth: Truth
) -> None:
    for begin, end in plan:
        await asyncio.sleep(max(0.0, began + begin - time.time()))
        viewer = _Viewer(port, f"player/{number}", truth)
        joined, seen = None, ""
        while time.time() < began + end:
            asked = time.time()
            with suppress(OSError, asyncio.IncompleteReadError):  # nginx may be restarting
                playlist = await viewer.get(f"/play/{channel_id}/source.m3u8")
                joined = joined or (asked if playlist else None)
                segments = re.findall(r"^[^#\s].*$", playlist, re.M)
                if segments and segments[-1] != seen:
                    seen = segments[-1]
                    await viewer.get(seen if seen.startswith("/") else f"/play/{channel_id}/{seen}")
            await asyncio.sleep(max(0.0, min(asked + POLL_S, began + end) - time.time()))
        viewer.close()
        if joined:
            truth.presences.append((joined, time.time()))


class _Viewer:
    """One connection that stays open, as a player's does."""

    def __init__(self, port: int, agent: str, truth: Truth) -> None:
        self.port, self.agent, self.truth = port, agent, truth
        self.writer: asyncio.StreamWriter | None = None

    async def get(self, path: str) -> str:
        """The body; an empty one unless it is 200."""
        if self.writer is None or self.writer.is_closing():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: {self.agent}\r\n\r\n".encode())
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            body = await self._body(head)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            raise
        if not head.startswith("HTTP/1.1 200"):
            return ""
        self.truth.requests += 1
        self.truth.bytes += len(head) + len(body)
        return body.decode("latin-1")

    async def _body(self, head: str) -> bytes:
        if length := re.search(r"(?i)content-length: (\d+)", head):
            return await self.reader.readexactly(int(length[1]))
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    def close(self) -> None:
        if self.writer:
            self.writer.close()
            self.writer = None
