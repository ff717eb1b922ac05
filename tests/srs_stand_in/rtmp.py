"""RTMP as far as a publisher goes: handshake, chunks, AMF0, in the direction that is needed."""

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

CHUNK, SET_CHUNK_SIZE = 60_000, 1
AUDIO, VIDEO, META, COMMAND = 8, 9, 18, 20
LONG_AGO = 0xFFFFFF  # then the time stamp stands behind the header


@dataclass
class Message:
    kind: int
    time_ms: int
    body: bytes


@dataclass
class _Stream:
    """What a chunk may leave out: it is as in the one before on the same chunk stream."""

    time_ms: int = 0
    delta: int = 0
    length: int = 0
    kind: int = 0
    extended: bool = False
    body: bytearray = field(default_factory=bytearray)


class Connection:
    """A client, from its first byte on. `received` counts all of them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.received = 0
        self.chunk_size = 128
        self.streams: dict[int, _Stream] = {}

    async def handshake(self) -> None:
        hello = await self._read(1537)
        self.writer.write(b"\x03" + bytes(1536) + hello[1:])
        await self._read(1536)
        self.send(5, struct.pack(">I", 2_500_000))
        self.send(6, struct.pack(">IB", 2_500_000, 2))
        self.send(SET_CHUNK_SIZE, struct.pack(">I", CHUNK))

    async def messages(self) -> AsyncIterator[Message]:
        while True:
            stream = await self._chunk()
            if len(stream.body) < stream.length:
                continue
            body, stream.body = bytes(stream.body), bytearray()
            if stream.kind == SET_CHUNK_SIZE:
                self.chunk_size = struct.unpack(">I", body)[0]
            else:
                yield Message(stream.kind, stream.time_ms, body)

    async def _chunk(self) -> _Stream:
        first = (await self._read(1))[0]
        form, number = first >> 6, first & 0x3F
        if number < 2:
            more = await self._read(1 + number)
            number = 64 + more[0] + (more[1] << 8 if number else 0)
        stream = self.streams.setdefault(number, _Stream())
        begins = not stream.body
        if form < 3:
            head = await self._read((11, 7, 3)[form])
            stream.delta = int.from_bytes(head[:3], "big")
            stream.extended = stream.delta == LONG_AGO
            if form < 2:
                stream.length, stream.kind = int.from_bytes(head[3:6], "big"), head[6]
        if stream.extended:
            stream.delta = struct.unpack(">I", await self._read(4))[0]
        if begins:
            stream.time_ms = stream.delta if form == 0 else stream.time_ms + stream.delta
        stream.body += await self._read(min(self.chunk_size, stream.length - len(stream.body)))
        return stream

    async def _read(self, count: int) -> bytes:
        data = await self.reader.readexactly(count)
        self.received += count
        return data

    def send(self, kind: int, body: bytes, stream_id: int = 0) -> None:
        """In one chunk: nothing that is said here is longer."""
        head = struct.pack(">B", 3 if kind == COMMAND else 2) + bytes(3) + len(body).to_bytes(3, "big")
        self.writer.write(head + bytes([kind]) + struct.pack("<I", stream_id) + body)

    def command(self, *values: Any, stream_id: int = 0) -> None:
        self.send(COMMAND, b"".join(map(encoded, values)), stream_id)


def encoded(value: Any) -> bytes:
    if value is None:
        return b"\x05"
    if isinstance(value, bool):
        return bytes([1, value])
    if isinstance(value, int | float):
        return b"\x00" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"\x02" + _text(value)
    return b"\x03" + b"".join(_text(name) + encoded(each) for name, each in value.items()) + b"\x00\x00\x09"


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def decoded(data: bytes) -> list[Any]:
    """The values of a command or of meta data."""
    values, at = [], 0
    while at < len(data):
        value, at = _value(data, at)
        values.append(value)
    return values


def _value(data: bytes, at: int) -> tuple[Any, int]:
    kind, at = data[at], at + 1
    if kind == 0:
        return struct.unpack_from(">d", data, at)[0], at + 8
    if kind == 1:
        return bool(data[at]), at + 1
    if kind == 2:
        length = struct.unpack_from(">H", data, at)[0]
        return data[at + 2 : at + 2 + length].decode("utf-8", "replace"), at + 2 + length
    if kind in (3, 8):
        return _pairs(data, at + (4 if kind == 8 else 0))
    if kind in (5, 6):
        return None, at
    raise ValueError(f"AMF0 of kind {kind}")


def _pairs(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while data[at : at + 3] != b"\x00\x00\x09":
        name, at = _value(b"\x02" + data[at:], 0)[0], at + 2 + struct.unpack_from(">H", data, at)[0]
        found[name], at = _value(data, at)
    return found, at + 3
