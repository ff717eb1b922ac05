"""Publishers that arrive within a second, asked about as nginx-rtmp asks, and what each must be told.

One process and one thread for all of them, so that the client takes as little of the machine as it can.
"""

import asyncio
import itertools
import json
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlencode

from live.lifecycle import Lifecycle
from live.limits import Limits
from models import Channel, new_id, new_stream_token
from schemas import ChannelCreate
from tests.bench import rtmp

T = TypeVar("T")

# Of a hundred that arrive. Whoever is busy comes twice with one key; of the limited a third may.
MIX = {"valid": 70, "busy": 8, "limited": 6, "too early": 4, "ended": 6, "unknown": 6}
LIMITED_MAY = 3
TRAFFIC = ("get", "get", "list", "get", "get", "list", "get", "get", "list", "create")
numbers = itertools.count(1)


class Publisher(NamedTuple):
    kind: str
    token: str
    connection: int


class Told(NamedTuple):
    publisher: Publisher
    status: int
    name: str  # under which it is let in
    ms: float


class Door(NamedTuple):
    """Where a server is asked: hooks at a Unix socket, the API at a port."""

    socket: Path
    path: str
    port: int
    authorization: str
    channel: str  # that the API is asked for


def channel(lifecycle: Lifecycle, now: datetime, **fields: object) -> Channel:
    asked = {"name": "A channel of the benchmark", "accountId": "1"} | fields
    return lifecycle.create(ChannelCreate().load(asked), now)


def publisher(kind: str, token: str) -> Publisher:
    return Publisher(kind, token, next(numbers))


def cast(lifecycle: Lifecycle, limits: Limits, count: int, now: datetime) -> list[Publisher]:
    """So many publishers of all kinds in no order, with the channels that they need."""
    shares = {kind: max(2, count * share // 100 // 2 * 2) for kind, share in MIX.items()}
    shares["valid"] += count - sum(shares.values())
    account, tomorrow = new_id("acc"), (now + timedelta(days=1)).isoformat()
    limits.create({"account_id": account, "limits": {"max_live": may_of(shares["limited"])}}, now)

    def keys(number: int, **fields: object) -> list[str]:
        return [channel(lifecycle, now, **fields).stream_token for _ in range(number)]

    def over(number: int) -> list[str]:
        return [lifecycle.stop(channel(lifecycle, now).id, now).stream_token for _ in range(number)]

    coming = {
        "valid": keys(shares["valid"]),
        "busy": keys(shares["busy"] // 2) * 2,
        "limited": keys(shares["limited"], accountId=account),
        "too early": keys(shares["too early"], startAt=tomorrow),
        "ended": over(shares["ended"]),
        "unknown": [new_stream_token() for _ in range(shares["unknown"])],
    }
    found = [publisher(kind, each) for kind, tokens in coming.items() for each in tokens]
    random.Random(7).shuffle(found)
    return found


def may_of(limited: int) -> int:
    return max(1, limited // LIMITED_MAY)


def wrong(told: list[Told]) -> list[str]:
    """Every decision that is not what it must be; nothing, if all of them are right."""
    by_kind, by_key = defaultdict(list), defaultdict(list)
    for each in told:
        by_kind[each.publisher.kind].append(each)
        by_key[each.publisher.token].append(each)
    found = [
        f"{each.publisher.kind}: answered {each.status}" for each in told if each.status not in (302, 403)
    ]
    found += [
        f"{kind}: {let_in(by_kind[kind])} of {len(by_kind[kind])} were let in"
        for kind, right in {"valid": len(by_kind["valid"]), "too early": 0, "ended": 0, "unknown": 0}.items()
        if let_in(by_kind[kind]) != right
    ]
    most = may_of(len(by_kind["limited"]))
    if let_in(by_kind["limited"]) != most:
        found.append(f"limited: {let_in(by_kind['limited'])} were let in, not {most}")
    busy = [each for each in by_key.values() if each[0].publisher.kind == "busy"]
    found += [f"busy: {let_in(each)} of one key were let in" for each in busy if let_in(each) != 1]
    names = [each.name for each in told if each.status == 302]
    if len(set(names)) < len(names):
        found.append("two publishers have one session")
    return found


def let_in(told: list[Told]) -> int:
    return sum(each.status == 302 for each in told)


def storm(door: Door, publishers: list[Publisher], seconds: float, calls_a_second: int = 0) -> list[Told]:
    """What they are told, each of whom comes at some moment of this time, with so many calls of the API beside."""
    return asyncio.run(
        _at_moments([partial(_ask, door, each) for each in publishers], seconds, door, calls_a_second)
    )


def one_by_one(door: Door, publishers: list[Publisher]) -> list[Told]:
    async def ask() -> list[Told]:
        return [await _ask(door, each) for each in publishers]

    return asyncio.run(ask())


def connected(
    door: Door, rtmp_port: int, publishers: list[Publisher], seconds: float, calls_a_second: int = 0
) -> list[Told]:
    """The same through a media server: each connects, publishes nothing, and stays until all have their answer."""

    async def ask(publisher: Publisher) -> tuple[Told, asyncio.StreamWriter]:
        said = await rtmp.publish(rtmp_port, publisher.token)
        name = str(publisher.connection) if said.let_in else ""
        return Told(publisher, 302 if said.let_in else 403, name, said.ms), said.writer

    async def all_of_them() -> list[Told]:
        answers = await _at_moments(
            [partial(ask, each) for each in publishers], seconds, door, calls_a_second
        )
        for _, writer in answers:
            writer.close()
        return [told for told, _ in answers]

    return asyncio.run(all_of_them())


async def _at_moments(
    asks: list[Callable[[], Awaitable[T]]], seconds: float, door: Door, calls_a_second: int
) -> list[T]:
    chance, began = random.Random(11), time.monotonic() + 0.1

    async def comes(ask: Callable[[], Awaitable[T]], at: float) -> T:
        await asyncio.sleep(began + at - time.monotonic())
        return await ask()

    over, lines = asyncio.Event(), 4 if calls_a_second else 0
    traffic = [asyncio.create_task(_traffic(door, calls_a_second / lines, over)) for _ in range(lines)]
    told = await asyncio.gather(*(comes(each, chance.uniform(0, seconds)) for each in asks))
    over.set()
    await asyncio.gather(*traffic)
    return told


async def _ask(door: Door, publisher: Publisher) -> Told:
    """As ngx_rtmp_netcall does: HTTP/1.0, a form, a connection for each."""
    fields = {
        "app": "live",
        "flashver": "FMLE/3.0",
        "swfurl": "",
        "tcurl": "rtmp://127.0.0.1/live",
        "pageurl": "",
    }
    fields |= {
        "addr": "192.0.2.1",
        "clientid": publisher.connection,
        "call": "publish",
        "name": publisher.token,
    }
    body = urlencode(fields | {"type": "live"}).encode()
    head = f"POST {door.path} HTTP/1.0\r\nHost: x\r\nConnection: Close\r\nContent-Length: {len(body)}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    began = time.perf_counter()
    reader, writer = await asyncio.open_unix_connection(str(door.socket))
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    took = (time.perf_counter() - began) * 1000
    writer.close()
    status, location = int(answer[9:12]), answer.lower().partition(b"location: ")[2].partition(b"\r\n")[0]
    return Told(publisher, status, location.decode().rpartition("/")[2], took)


async def _traffic(door: Door, calls_a_second: float, over: asyncio.Event) -> None:
    """An App Server's connection, so many calls a second for as long as there is something beside them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    for kind in itertools.cycle(TRAFFIC):
        due = time.monotonic() + 1 / calls_a_second
        writer.write(_call(door, kind))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head[9:10] == b"2", head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        if over.is_set():
            break
        await asyncio.sleep(max(0, due - time.monotonic()))
    writer.close()


def _call(door: Door, kind: str) -> bytes:
    line = {"get": f"GET /v1/live/{door.channel}", "list": "GET /v1/live", "create": "POST /v1/live"}[kind]
    body = json.dumps({"name": "A channel beside"}).encode() if kind == "create" else b""
    head = f"{line} HTTP/1.1\r\nHost: x\r\nAuthorization: {door.authorization}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return head.encode() + b"\r\n" + body
