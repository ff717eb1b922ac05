"""HLS playlists (RFC 8216), pure: read, and written. Which of them there are: docs/decisions/0008-one-packager.md."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import floor
from typing import Any

MASTER, SOURCE = "master.m3u8", "source.m3u8"
MASTER_DVR, SOURCE_DVR = "master_dvr.m3u8", "source_dvr.m3u8"
DATE_TIME = re.compile(r"(\d+-\d+-\d+T\d+:\d+:\d+\.\d+)")


@dataclass(frozen=True)
class Entry:
    """A line of a media playlist. `began_ms` is wall time; `broken`: a discontinuity comes before it."""

    uri: str
    seconds: float
    began_ms: int | None = None
    broken: bool = False


@dataclass
class MediaPlaylist:
    """`first` is the number of its first entry, `breaks` how many discontinuities have left it at the top."""

    first: int = 0
    breaks: int = 0
    entries: list[Entry] = field(default_factory=list)
    target: int = 1

    @property
    def next_number(self) -> int:
        return self.first + len(self.entries)

    @property
    def seconds(self) -> float:
        return sum(entry.seconds for entry in self.entries)

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        # It may grow but must not shrink: players have been told. To the nearest second (RFC 8216, 4.3.3.1): rounded
        # up, a player that keeps three of them away from the edge would be twice as late at 29.97 frames a second.
        self.target = max(self.target, floor(entry.seconds + 0.5))

    def trim(self, seconds: float, at_least: int = 3) -> list[Entry]:
        """Take entries off at the top, as long as what is left is no shorter than this; returns them."""
        length, taken = self.seconds, []
        while len(self.entries) > at_least and length - self.entries[0].seconds >= seconds:
            gone = self.entries.pop(0)
            length -= gone.seconds
            self.first += 1
            self.breaks += gone.broken
            taken.append(gone)
        return taken


def parse(text: str) -> MediaPlaylist:
    found = MediaPlaylist()
    seconds, began_ms, broken = 0.0, None, False
    for line in text.splitlines():
        name, _, value = line.partition(":")
        match name:
            case "#EXT-X-MEDIA-SEQUENCE":
                found.first = int(value)
            case "#EXT-X-DISCONTINUITY-SEQUENCE":
                found.breaks = int(value)
            case "#EXT-X-TARGETDURATION":
                found.target = int(value)
            case "#EXT-X-DISCONTINUITY":
                broken = True
            case "#EXT-X-PROGRAM-DATE-TIME":
                began_ms = _epoch_ms(value)
            case "#EXTINF":
                seconds = float(value.partition(",")[0])
            case _ if line and not line.startswith("#"):
                found.entries.append(Entry(line, seconds, began_ms, broken))
                seconds, began_ms, broken = 0.0, None, False
    return found


def media(playlist: MediaPlaylist, *, independent: bool = True, over: bool = False) -> str:
    """A media playlist. `over`: nothing will be added, and players may start at its beginning."""
    head = [
        "#EXTM3U",
        "#EXT-X-VERSION:6",
        f"#EXT-X-TARGETDURATION:{playlist.target}",
        f"#EXT-X-MEDIA-SEQUENCE:{playlist.first}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{playlist.breaks}",
    ]
    if over:
        head.append("#EXT-X-PLAYLIST-TYPE:VOD")
    if independent:
        head.append("#EXT-X-INDEPENDENT-SEGMENTS")
    tail = ["#EXT-X-ENDLIST"] if over else []
    return "\n".join([*head, *_lines(playlist.entries), *tail, ""])


def _lines(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.broken:
            yield "#EXT-X-DISCONTINUITY"
        if entry.began_ms is not None:
            yield f"#EXT-X-PROGRAM-DATE-TIME:{_date_time(entry.began_ms)}"
        yield f"#EXTINF:{entry.seconds:.3f},"
        yield entry.uri


@dataclass(frozen=True)
class Variant:
    """A rendition in a multivariant playlist. Bits per second; `size` and `fps` None where there is no picture."""

    uri: str
    peak: int
    average: int
    codecs: str
    size: tuple[int, int] | None = None
    fps: float | None = None


def master(variants: Iterable[Variant]) -> str:
    """The multivariant playlist of these renditions, the first one to be tried first."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:6"]
    for variant in variants:
        said: dict[str, Any] = {
            "BANDWIDTH": max(1, variant.peak),
            "AVERAGE-BANDWIDTH": max(1, variant.average),
        }
        if variant.size:
            said["RESOLUTION"] = f"{variant.size[0]}x{variant.size[1]}"
        if variant.fps:
            said["FRAME-RATE"] = f"{variant.fps:.3f}"
        if variant.codecs:
            said["CODECS"] = f'"{variant.codecs}"'
        lines.append("#EXT-X-STREAM-INF:" + ",".join(f"{name}={value}" for name, value in said.items()))
        lines.append(variant.uri)
    return "\n".join([*lines, ""])


def _date_time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _epoch_ms(text: str) -> int | None:
    found = DATE_TIME.match(text)
    return round(datetime.fromisoformat(f"{found[1]}+00:00").timestamp() * 1000) if found else None
