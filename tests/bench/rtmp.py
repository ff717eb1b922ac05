"""A publisher of nothing: handshake, connect, createStream, publish, and what the server says to that.

Light enough for hundreds of them in one process; RTMP 1.0 with the simple handshake, as nginx-rtmp takes it.
"""

import asyncio
import os
import struct
import time
from typing import NamedTuple

from tests.srs_stand_in.rtmp import encoded

CHUNK = 4096  # longer than any command of ours, so that each is one chunk
DONE_S = 60.0


class Said(NamedTuple):
    let_in: bool
    ms: float  # from the first byte of the connection
    decided_ms: float  # from publish to the answer
    writer: asyncio.StreamWriter  # as long as it is open, the publisher is connected


async def publish(port: int, token: str) -> Said:
    """Whether it is let in; a refusal is a connection that is closed."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x03" + bytes(8) + os.urandom(1528))
    answer = await reader.readexactly(1 + 1536 + 1536)
    writer.write(answer[1:1537])
    writer.write(chunk(2, 1, struct.pack(">I", CHUNK)))
    about = {"app": "live", "flashVer": "FMLE/3.0", "tcUrl": f"rtmp://127.0.0.1:{port}/live"}
    writer.write(command("connect", 1.0, about))
    writer.write(command("createStream", 2.0, None))
    await answered(reader, b"_result", 2)
    asked = time.perf_counter()
    writer.write(command("publish", 3.0, None, token, "live", stream=1))
    try:
        async with asyncio.timeout(DONE_S):
            await answered(reader, b"NetStream.Publish.Start", 1)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
        return said(False, began, asked, writer)
    return said(True, began, asked, writer)


def said(let_in: bool, began: float, asked: float, writer: asyncio.StreamWriter) -> Said:
    now = time.perf_counter()
    return Said(let_in, (now - began) * 1000, (now - asked) * 1000, writer)


async def answered(reader: asyncio.StreamReader, word: bytes, times: int) -> None:
    """Until it has come so often. Where messages begin and end does not matter: nothing is published meanwhile."""
    seen = b""
    while seen.count(word) < times:
        more = await reader.read(4096)
        if not more:
            raise asyncio.IncompleteReadError(seen, None)
        seen += more


def command(name: str, number: float, *values: object, stream: int = 0) -> bytes:
    return chunk(3, 20, b"".join(map(encoded, (name, number, *values))), stream)


def chunk(channel: int, kind: int, body: bytes, stream: int = 0) -> bytes:
    head = bytes([channel]) + bytes(3) + len(body).to_bytes(3, "big") + bytes([kind])
    return head + stream.to_bytes(4, "little") + body
