"""MPEG-TS as nginx-rtmp and SRS write it (ISO/IEC 13818-1), pure: where its frames are, and what they hold.

Only packets that begin a frame are looked at one by one; the others, a thousand and more in each second, are never
touched in Python. That is what makes one process enough for all channels.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PACKET = 188
# Fixed numbers, the same for both; whatever is in a broadcast, both tracks are announced at the head of each file.
VIDEO_PID, AUDIO_PID = 0x100, 0x101
HEAD = 2 * PACKET  # PAT and PMT
CLOCK = 90_000
WRAP = 1 << 33
# The second byte of each packet: payload_unit_start_indicator, and the upper five bits of a PID below 0x2000.
BEGINS = re.compile(rb"[\x40-\x5f]")
SAMPLE_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
AAC_PROFILES = {1: "Main", 2: "LC", 3: "SSR", 4: "LTP"}


@dataclass(frozen=True)
class Frame:
    """The beginning of a frame: of a picture, or of some audio frames together. `pts`, `dts` in 1/90000 s."""

    offset: int
    video: bool
    key: bool
    pts: int
    dts: int


def frames(data: bytes) -> Iterator[Frame]:
    """The frames that begin in these packets; the last of them may be cut short."""
    for match in BEGINS.finditer(data[1 : len(data) // PACKET * PACKET : PACKET]):
        offset = match.start() * PACKET
        pid = (data[offset + 1] & 0x1F) << 8 | data[offset + 2]
        if pid in (VIDEO_PID, AUDIO_PID):
            yield _frame(data, offset, pid == VIDEO_PID)


def _frame(data: bytes, offset: int, video: bool) -> Frame:
    adapted = data[offset + 3] & 0x20 and data[offset + 4]
    # nginx-rtmp marks a key frame as a point of access and gives it a clock reference, SRS does only that. Neither
    # gives one to any other picture.
    key = bool(adapted and data[offset + 5] & 0x50)
    pes = offset + _payload(data, offset)
    pts = _time(data, pes + 9)
    dts = _time(data, pes + 14) if data[pes + 7] & 0x40 else pts
    return Frame(offset, video, key, pts, dts)


def _payload(data: bytes, offset: int) -> int:
    """How far into a packet its payload begins: behind the adaptation field, where there is one."""
    return 5 + data[offset + 4] if data[offset + 3] & 0x20 else 4


def _time(data: bytes, at: int) -> int:
    return (
        (data[at] >> 1 & 7) << 30
        | data[at + 1] << 22
        | data[at + 2] >> 1 << 15
        | data[at + 3] << 7
        | data[at + 4] >> 1
    )


def packet_length(data: bytes, frame: Frame) -> int:
    """How long the frame's PES packet says it is, in bytes; 0 where it does not, as a long picture may."""
    at = frame.offset + _payload(data, frame.offset) + 4
    return data[at] << 8 | data[at + 1]


def seconds_between(earlier: int, later: int) -> float:
    """From one time stamp to another, over the wrap of their 33 bits."""
    ticks = (later - earlier) % WRAP
    return (ticks if ticks < WRAP // 2 else ticks - WRAP) / CLOCK


def payload_of(data: bytes, frame: Frame, most: int = 4096) -> bytes:
    """The first bytes of a frame: what its PES packet holds, up to `most`."""
    pid = (data[frame.offset + 1] & 0x1F) << 8 | data[frame.offset + 2]
    found = bytearray()
    offset = frame.offset
    while offset + PACKET <= len(data) and len(found) < most:
        same = ((data[offset + 1] & 0x1F) << 8 | data[offset + 2]) == pid
        if same and offset > frame.offset and data[offset + 1] & 0x40:
            break
        if same and data[offset + 3] & 0x10:
            found += data[offset + _payload(data, offset) : offset + PACKET]
        offset += PACKET
    return bytes(found[9 + found[8] :]) if len(found) > 8 else b""


def adts(payload: bytes) -> dict[str, Any] | None:
    """What an AAC frame says of itself: codec, profile, sample rate, channels; None for another codec."""
    if len(payload) < 4 or payload[0] != 0xFF or payload[1] & 0xF6 != 0xF0:
        return None
    kind, rate = (payload[2] >> 6) + 1, payload[2] >> 2 & 15
    if rate >= len(SAMPLE_RATES):
        return None
    return {
        "codec": "AAC",
        "profile": AAC_PROFILES[kind],
        "sampleRate": SAMPLE_RATES[rate],
        "channels": (payload[2] & 1) << 2 | payload[3] >> 6,
    }
