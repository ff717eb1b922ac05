"""HLS as SRS writes it: a segment beside its name until it is whole, a playlist by rename, numbers that go on from one
publisher to the next. Its TS has a clock reference at key frames, and no other mark of them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

VIDEO, AUDIO, TABLES = 0x100, 0x101, 0x1001
SHORTEST_MS = 100


@dataclass(frozen=True)
class Rules:
    """What srs.conf says under vhost.hls. Seconds, and the last a factor."""

    path: Path
    playlist: str
    segment: str
    fragment: float
    window: float
    audio_factor: float


@dataclass
class Segment:
    number: int
    path: Path
    uri: str
    start_ms: int | None = None
    ms: int = 0
    broken: bool = False
    file: BinaryIO | None = None


class Hls:
    """One stream's, over all of its publishers."""

    def __init__(self, rules: Rules, stream: str) -> None:
        self.rules = rules
        self.playlist = rules.path / rules.playlist.replace("[stream]", stream)
        self.segment = rules.segment.replace("[stream]", stream)
        self.number = 0
        self.listed: list[Segment] = []
        self.current: Segment | None = None
        self.counters: dict[int, int] = {}
        self.sets = b""  # SPS and PPS, as they stand before a key frame
        self.adts = b""

    def publish(self) -> None:
        self.playlist.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def unpublish(self) -> None:
        self._close()

    def video(self, time_ms: int, tag: bytes) -> None:
        key, packet = tag[0] >> 4 == 1, tag[1]
        if packet == 0:
            self.sets = _sets(tag[5:])
            self.current.broken = True
        elif packet == 1:
            self._grow(time_ms)
            if key and self.current.ms >= max(2 * SHORTEST_MS, self.rules.fragment * 1000):
                self._cut(time_ms)
            later_ms = int.from_bytes(tag[2:5], "big", signed=True)
            units = b"\0\0\0\1\x09\xf0" + (self.sets if key else b"") + _units(tag[5:])
            self._write(VIDEO, 0xE0, time_ms * 90, (time_ms + later_ms) * 90, units, clock=key)

    def audio(self, time_ms: int, tag: bytes) -> None:
        if tag[1] == 0:
            self.adts = tag[2:4]
            self.current.broken = True
            return
        self._grow(time_ms)
        if self.current.ms >= max(2 * SHORTEST_MS, self.rules.audio_factor * self.rules.fragment * 1000):
            self._cut(time_ms)
        frame = _adts(self.adts, len(tag) - 2) + tag[2:]
        self._write(AUDIO, 0xC0, time_ms * 90, time_ms * 90, frame, clock=False)

    def _grow(self, time_ms: int) -> None:
        segment = self.current
        segment.start_ms = time_ms if segment.start_ms is None else min(segment.start_ms, time_ms)
        segment.ms = time_ms - segment.start_ms

    def _cut(self, time_ms: int) -> None:
        self._close()
        self._open()
        self._grow(time_ms)

    def _open(self) -> None:
        path = self.rules.path / self.segment.replace("[seq]", str(self.number))
        self.current = Segment(self.number, path, path.name)
        self.number += 1
        # A block at a time reaches the disk, as from C's stdio.
        self.current.file = open(f"{path}.tmp", "wb", buffering=4096)  # noqa: SIM115

    def _close(self) -> None:
        segment = self.current
        written = segment.file.tell() > 0
        segment.file.close()
        if segment.ms >= SHORTEST_MS and written:
            Path(segment.file.name).rename(segment.path)
            self.listed.append(segment)
        else:
            self.number -= 1
            Path(segment.file.name).unlink()
        while len(self.listed) > 1 and sum(each.ms for each in self.listed[1:]) > self.rules.window * 1000:
            self.listed.pop(0)
        if self.listed:
            self._list()

    def _list(self) -> None:
        longest = max(self.rules.fragment, max(each.ms for each in self.listed) / 1000)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-MEDIA-SEQUENCE:{self.listed[0].number}"]
        lines.append(f"#EXT-X-TARGETDURATION:{math.ceil(longest)}")
        for each in self.listed:
            lines += ["#EXT-X-DISCONTINUITY"] if each.broken else []
            lines += [f"#EXTINF:{each.ms / 1000:.3f}, no desc", each.uri]
        fresh = Path(f"{self.playlist}.temp")
        fresh.write_text("\n".join([*lines, ""]))
        fresh.rename(self.playlist)

    def _write(self, pid: int, stream: int, dts: int, pts: int, payload: bytes, *, clock: bool) -> None:
        file = self.current.file
        if file.tell() == 0:
            for each, table in ((0, PROGRAMS), (TABLES, TRACKS)):
                file.write(self._packet(each, table, begins=True, clock=None)[0])
        times = _time(3, pts) + _time(1, dts) if dts != pts else _time(2, pts)
        length = 3 + len(times) + len(payload)
        head = b"\0\0\1" + bytes([stream]) + (length if length <= 0xFFFF else 0).to_bytes(2, "big")
        rest = head + bytes([0x80, 0xC0 if dts != pts else 0x80, len(times)]) + times + payload
        begins = True
        while rest:
            packet, rest = self._packet(pid, rest, begins=begins, clock=dts if clock and begins else None)
            file.write(packet)
            begins = False

    def _packet(self, pid: int, data: bytes, *, begins: bool, clock: int | None) -> tuple[bytes, bytes]:
        count = self.counters[pid] = (self.counters.get(pid, -1) + 1) & 15
        field: bytes | None = None  # the adaptation field, without the byte that says how long it is
        if clock is not None:
            field = (
                b"\x10" + (clock >> 1 & 0xFFFFFFFF).to_bytes(4, "big") + bytes([(clock & 1) << 7 | 0x7E, 0])
            )
        room = 184 if field is None else 183 - len(field)
        if (missing := room - len(data)) > 0:
            field = (
                bytes(missing > 1).ljust(missing - 1, b"\xff") if field is None else field + b"\xff" * missing
            )
            room = len(data)
        adapted = b"" if field is None else bytes([len(field)]) + field
        head = bytes(
            [0x47, (0x40 if begins else 0) | pid >> 8, pid & 0xFF, (0x30 if adapted else 0x10) | count]
        )
        return head + adapted + data[:room], data[room:]


def _time(mark: int, value: int) -> bytes:
    value &= (1 << 33) - 1
    parts = (mark << 4 | value >> 29 & 0xE | 1, value >> 14 & 0xFFFE | 1, value << 1 & 0xFFFE | 1)
    return bytes([parts[0]]) + parts[1].to_bytes(2, "big") + parts[2].to_bytes(2, "big")


def _sets(config: bytes) -> bytes:
    """Of an AVCDecoderConfigurationRecord."""
    found, at = b"", 6
    for count in (config[5] & 31, None):
        if count is None:
            count, at = config[at], at + 1
        for _ in range(count):
            length = int.from_bytes(config[at : at + 2], "big")
            found += b"\0\0\1" + config[at + 2 : at + 2 + length]
            at += 2 + length
    return found


def _units(data: bytes) -> bytes:
    found, at = b"", 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found += b"\0\0\1" + data[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def _adts(config: bytes, length: int) -> bytes:
    """`config`: an AudioSpecificConfig's first two bytes."""
    kind, rate, channels = config[0] >> 3, (config[0] & 7) << 1 | config[1] >> 7, config[1] >> 3 & 15
    length += 7
    return bytes(
        [
            *(0xFF, 0xF1, (kind - 1) << 6 | rate << 2 | channels >> 2, (channels & 3) << 6 | length >> 11),
            *(length >> 3 & 0xFF, (length & 7) << 5 | 0x1F, 0xFC),
        ]
    )


def _table(body: bytes) -> bytes:
    """With the pointer before it and the checksum behind it, in a packet's whole payload."""
    crc = 0xFFFFFFFF
    for byte in body:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return (b"\0" + body + crc.to_bytes(4, "big")).ljust(184, b"\xff")


PROGRAMS = _table(bytes.fromhex("00b00d0001c100000001f001"))
TRACKS = _table(bytes.fromhex("02b0170001c10000e100f0001be100f0000fe101f000"))
