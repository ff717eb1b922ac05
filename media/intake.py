"""One session as nginx-rtmp or SRS writes it to disk: which segments are whole, and what they say of the signal."""

import logging
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media import growing, h264, index, playlists, ts
from media.index import Segment

log = logging.getLogger(__name__)

PLAYLIST = "index.m3u8"
MEASURED_SEGMENTS = 10
PROBED_BYTES = 256 * 1024
GUESSED_BY = 6


@dataclass
class Measure:
    """What one segment holds."""

    seconds: float
    pictures: int
    video_bytes: int
    audio_bytes: int
    size: int
    longest_group: float | None


@dataclass
class Intake:
    """A session that is being taken in. `folder` is the session's own, in its channel's."""

    folder: Path
    opened: bool = False
    known: index.Index = field(default_factory=index.Index)
    video: dict[str, Any] = field(default_factory=dict)
    audio: dict[str, Any] = field(default_factory=dict)
    codecs: str = ""
    probed: int = 0
    seen: tuple[int, int] | None = None
    measures: deque[Measure] = field(default_factory=lambda: deque(maxlen=MEASURED_SEGMENTS))
    key_pts: int | None = None

    @property
    def session_id(self) -> str:
        return self.folder.name

    def look(self, now_ms: int) -> list[Segment]:
        """Segments that have become whole since the last look; they are in the index when this is left."""
        if not self.opened:
            self._open()
        fresh = self._listed(now_ms)
        if fresh and fresh[0].broken and not self.known.segments and self.known.first != fresh[0].number:
            self.known.first = fresh[0].number
            index.begin(self.folder, self.known)
        for segment in fresh:
            self.known.segments.append(segment)
        return fresh

    def keep(self, fresh: list[Segment]) -> None:
        """Write them down. After they are in the playlists: what is written down is not shown a second time."""
        index.append(self.folder, fresh)

    def probe(self) -> bool:
        """Look at what has come of the first segment, before it is whole; True if something new is known."""
        if self.video.get("fps") and self.audio:
            return False
        try:
            number = self.known.next_number if self.known.segments else growing.first_number(self.folder)
            data = growing.read(self.folder, number, most=PROBED_BYTES)
        except FileNotFoundError:
            return False
        if len(data) in (self.probed, 0):
            return False
        self.probed = len(data)
        known = len(self.video), len(self.audio)
        found = list(ts.frames(data))
        self._describe(data, found)
        if self.video and (fps := guessed_rate(found)):  # until a segment has been measured
            self.video["fps"] = fps
        return (len(self.video), len(self.audio)) != known

    def _open(self) -> None:
        self.opened = True
        self.known = index.read(self.folder)
        if (self.folder / index.SEGMENTS).exists():
            return
        before = [each for folder, each in index.sessions(self.folder.parent) if folder != self.folder]
        if before:
            self.known.base = max(each.next_base for each in before)
            self.known.breaks = max(each.next_breaks for each in before)
        index.begin(self.folder, self.known)

    def _listed(self, now_ms: int) -> list[Segment]:
        """They list a segment when its file is whole. nginx numbers them from 0 on; SRS goes on from the publisher
        before, whose last ones stay in its list though they are not in this folder, and calls the first broken."""
        path = self.folder / PLAYLIST
        try:
            found = path.stat()
            if (found.st_mtime_ns, found.st_size) == self.seen:
                return []
            listed = playlists.parse(path.read_text())
        except FileNotFoundError:
            return []
        self.seen = (found.st_mtime_ns, found.st_size)
        fresh: list[Segment] = []
        ahead = sum(
            entry.seconds for entry in listed.entries[max(0, self.known.next_number - listed.first) :]
        )
        for number, entry in enumerate(listed.entries, listed.first):
            if number < self.known.next_number + len(fresh):
                continue
            before = fresh[-1] if fresh else self.known.segments[-1] if self.known.segments else None
            lost = before is not None and number != before.number + 1
            broken = self.known.base > 0 if number == 0 else entry.broken or lost
            goes_on = before is not None and not broken
            began_ms = before.ends_ms if goes_on else now_ms - round(ahead * 1000)
            ahead -= entry.seconds
            if segment := self._segment(number, entry.seconds, began_ms, broken):
                fresh.append(segment)
        return fresh

    def _segment(self, number: int, seconds: float, began_ms: int, broken: bool) -> Segment | None:
        try:
            data = (self.folder / f"{number}.ts").read_bytes()
        except FileNotFoundError:  # the channel is being deleted
            return None
        found = list(ts.frames(data))
        if not found:
            return None
        self._describe(data, found)
        self._measure(data, found, seconds, broken)
        first = next((frame for frame in found if frame.video), found[0])
        return Segment(number, seconds, len(data), began_ms, first.pts, broken)

    def _describe(self, data: bytes, found: list[ts.Frame]) -> None:
        key = next((frame for frame in found if frame.video and frame.key), None)
        read = h264.parameters(ts.payload_of(data, key)) if key else None
        if read:
            self.video |= {
                "codec": "H264",
                "profile": read.profile,
                "level": read.level,
                "width": read.width,
                "height": read.height,
            }
        sound = next((frame for frame in found if not frame.video), None)
        heard = ts.adts(ts.payload_of(data, sound, 64)) if sound else None
        if heard:
            self.audio |= heard
        codecs = [read.codec if read else "", "mp4a.40.2" if heard else ""]
        if read or (heard and not self.video):
            self.codecs = ",".join(filter(None, codecs))
        elif heard and "mp4a" not in self.codecs:
            self.codecs = ",".join(filter(None, [self.codecs, "mp4a.40.2"]))

    def _measure(self, data: bytes, found: list[ts.Frame], seconds: float, broken: bool) -> None:
        groups = []
        if broken:
            self.key_pts = None
        for frame in found:
            if frame.video and frame.key:
                if self.key_pts is not None:
                    groups.append(ts.seconds_between(self.key_pts, frame.pts))
                self.key_pts = frame.pts
        heard = sum(ts.packet_length(data, frame) for frame in found if not frame.video)
        pictures = sum(frame.video for frame in found)
        self.measures.append(
            Measure(seconds, pictures, len(data) - heard, heard, len(data), max(groups, default=None))
        )

    # What the session sends, over its last segments.

    @property
    def seconds(self) -> float:
        return sum(measure.seconds for measure in self.measures)

    def signal(self) -> dict[str, Any]:
        """`video` and `audio` as contract section 2 describes a session's; rates over the last ten segments."""
        video, audio, span = dict(self.video), dict(self.audio), self.seconds
        last = self.known.segments[-1] if self.known.segments else None
        if span:
            kbits = 8 / span / 1000
            if video:
                video["fps"] = round(sum(each.pictures for each in self.measures) / span, 2)
                video["bitrate"] = round(sum(each.video_bytes for each in self.measures) * kbits)
                groups = [each.longest_group for each in self.measures if each.longest_group is not None]
                video["keyframeInterval"] = round(max(groups), 3) if groups else None
            if audio:
                audio["bitrate"] = round(sum(each.audio_bytes for each in self.measures) * kbits)
        return {
            "video": video,
            "audio": audio,
            "codecs": self.codecs,
            "segments": len(self.known.segments),
            "lastNumber": last.number if last else None,
            "lastEndsMs": last.ends_ms if last else None,
            "peak": round(
                max((each.size * 8 / each.seconds for each in self.measures if each.seconds), default=0)
            ),
            "longest": max((each.seconds for each in self.measures), default=0.0),
            "average": round(sum(each.size for each in self.measures) * 8 / span) if span else 0,
        }


def guessed_rate(found: list[ts.Frame]) -> float | None:
    """Pictures a second, by the first of them. They are decoded at an even pace, but with B-frames shown out of turn:
    by the times of showing, some between those that have come would be missing."""
    times = [frame.dts for frame in found if frame.video]
    if len(times) <= GUESSED_BY or (span := ts.seconds_between(times[0], times[-1])) <= 0:
        return None
    return round((len(times) - 1) / span, 2)
