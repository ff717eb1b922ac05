"""Encoders with settings of their own, for tests of what viewers get from each."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg

from tests.box import FFMPEG, Box, Encoder

SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100")
AAC = ("-c:a", "aac", "-b:a", "96k")
X264 = (
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-b:v",
    "600k",
    "-pix_fmt",
    "yuv420p",
    "-sc_threshold",
    "0",
)


class Custom(Encoder):
    """One that is given ffmpeg's words between its input of test pictures and its output."""

    def __init__(self, box: Box, key: str, words: Iterable[str], program: str = FFMPEG) -> None:
        super().__init__(box, key)
        self.argv = [program, "-nostdin", "-loglevel", "error", *words, "-f", "flv", self.url]


def pictures(size: str, fps: int = 25, filters: str = "") -> tuple[str, ...]:
    return ("-re", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={fps}{filters}")


def with_sound(size: str, fps: int, gop: int, *more: str, filters: str = "") -> list[str]:
    return [*pictures(size, fps, filters), *SOUND, *X264, "-g", str(gop), *more, *AAC]


def without_sound(size: str, fps: int, gop: int) -> list[str]:
    return [*pictures(size, fps), *X264, "-g", str(gop)]


def sound_alone() -> list[str]:
    return ["-re", *SOUND, *AAC]


def hevc(box: Box, key: str) -> Custom:
    """Debian's ffmpeg is too old to send it over RTMP."""
    words = [*pictures("426x240"), *SOUND, "-c:v", "libx265", "-preset", "ultrafast", "-g", "25"]
    quiet = ("-x265-params", "log-level=none:pools=1:frame-threads=1")
    return Custom(box, key, [*words, *quiet, *AAC], imageio_ffmpeg.get_ffmpeg_exe())


def changing(box: Box, key: str, folder: Path, sizes: Iterable[str], seconds: int) -> Custom:
    """One that changes its picture's size within a connection, as an encoder does whose scene is set anew."""
    parts = []
    for number, size in enumerate(sizes):
        parts.append(folder / f"{number}.flv")
        made = [*pictures(size)[1:], *SOUND, *X264, "-g", "25", *AAC, "-t", str(seconds), "-y", parts[-1]]
        subprocess.run([FFMPEG, "-nostdin", "-loglevel", "error", *made], check=True, timeout=60)
    joined = folder / "joined.flv"
    joined.write_bytes(_joined([part.read_bytes() for part in parts], seconds * 1000))
    words = ["-re", "-f", "flv", "-i", str(joined), "-c", "copy"]
    return Custom(box, key, words, imageio_ffmpeg.get_ffmpeg_exe())


def _joined(parts: list[bytes], each_ms: int) -> bytes:
    """One FLV of several: their tags one after the other, the time stamps moved on, sequence headers and all."""
    found = bytearray(parts[0][:13])
    for number, data in enumerate(parts):
        at = 13
        while at + 11 <= len(data):
            size = int.from_bytes(data[at + 1 : at + 4], "big")
            tag = bytearray(data[at : at + 15 + size])
            time = int.from_bytes(tag[7:8] + tag[4:7], "big") + number * each_ms
            tag[4:7], tag[7] = (time & 0xFFFFFF).to_bytes(3, "big"), time >> 24
            if tag[0] in (8, 9):  # no second onMetaData, nor an end
                found += b"" if _ends(tag) and number < len(parts) - 1 else tag
            at += 15 + size
    return bytes(found)


def _ends(tag: bytearray) -> bool:
    """AVC end of sequence."""
    return tag[0] == 9 and tag[12] == 2
