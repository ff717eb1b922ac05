"""A third of a second at a time: what has been written of a segment so far, in files that play by themselves.

A segment is whole only when the next key frame has come; for ultra-low-latency that is too late. Its file grows
with every frame, though, so the frames are there. A part begins with the same two packets as the segment's
file (PAT, PMT): a player may start with any.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from media import growing, ts
from media.ts import Frame, seconds_between

PART_S = 1 / 3
NAME = re.compile(r"p(?P<number>\d+)-(?P<end>\d+)\.ts$")


@dataclass(frozen=True)
class Part:
    """Bytes `begin` to `end` of segment `number`; its name says so, so that a next packager goes on from there."""

    number: int
    begin: int
    end: int
    seconds: float

    @property
    def file(self) -> str:
        return f"p{self.number}-{self.end}.ts"


class Slicer:
    """Cuts one session's segments. Key frames begin a part; in between, groups of pictures are parted evenly."""

    def __init__(self, folder: Path, number: int = 0, offset: int = 0) -> None:
        self.folder = folder
        self.number = number
        self.begin = offset
        self.read = 0
        self.data = b""
        self.first: Frame | None = None  # of the part that is being gathered
        self.last: Frame | None = None
        self.key_at: Frame | None = None
        self.group_s = PART_S
        self.cuts = 0  # in this group of pictures

    def look(self) -> list[Part]:
        """The parts that have become whole."""
        found: list[Part] = []
        if not self.number and not self.read:  # SRS goes on counting where another publisher stopped
            self.number = growing.first_number(self.folder)
        while True:
            upcoming = self._first_of_next()  # asked before the rest of this one is read
            self._read(found)
            if upcoming is None:
                return found
            self._finish(upcoming, found)

    def bytes_of(self, part: Part) -> bytes:
        """What goes into the part's file."""
        head = self.data[: ts.HEAD] if part.begin else b""
        return head + self.data[part.begin : part.end]

    def write(self, part: Part) -> None:
        fresh = self.folder / f".{part.file}"
        fresh.write_bytes(self.bytes_of(part))
        fresh.rename(self.folder / part.file)

    def _read(self, found: list[Part]) -> None:
        try:
            self.data += growing.read(self.folder, self.number, len(self.data))
        except FileNotFoundError:
            return
        whole = len(self.data) // ts.PACKET * ts.PACKET
        fresh = list(ts.frames(self.data[self.read : whole]))
        for frame in fresh:
            self._take(Frame(frame.offset + self.read, frame.video, frame.key, frame.pts, frame.dts), found)
        self.read = whole

    def _take(self, frame: Frame, found: list[Part]) -> None:
        if self.last and self.last.video and not frame.video:
            return  # sound beside a picture: the picture is the clock
        if self.first and not self.first.video and frame.video:
            self.first = self.last = None  # there is a picture after all
        if frame.key:
            if self.key_at:
                self.group_s = max(PART_S, seconds_between(self.key_at.dts, frame.dts))
            self.key_at, self.cuts = frame, 0
        if frame.offset < self.begin:  # of a part that a packager before this one has made
            return
        if self.first is None:
            self.first = frame
        elif self._is_due(frame):
            self.cuts += not frame.key
            self._cut(frame.offset, seconds_between(self.first.dts, frame.dts), found)
            self.first = frame
        self.last = frame

    def _is_due(self, frame: Frame) -> bool:
        if frame.key:  # but not each of a stream that has little else
            return seconds_between(self.first.dts, frame.dts) >= PART_S / 2
        half_a_frame_s = seconds_between(self.last.dts, frame.dts) / 2
        if self.key_at is None:  # sound alone
            return seconds_between(self.first.dts, frame.dts) >= PART_S - half_a_frame_s
        part_s = self.group_s / max(1, round(self.group_s / PART_S))
        return seconds_between(self.key_at.dts, frame.dts) >= (self.cuts + 1) * part_s - half_a_frame_s

    def _cut(self, end: int, seconds: float, found: list[Part]) -> None:
        part = Part(self.number, self.begin, end, seconds)
        self.write(part)
        found.append(part)
        self.begin = end

    def _finish(self, upcoming: Frame, found: list[Part]) -> None:
        """The segment is whole: its last part ends with the file, and the next begins with a new one."""
        if self.first:
            self._cut(len(self.data), max(0.0, seconds_between(self.first.dts, upcoming.dts)), found)
        self.number, self.begin, self.read, self.data, self.first = self.number + 1, 0, 0, b"", None

    def _first_of_next(self) -> Frame | None:
        """The first frame of the segment after this one, once it has one."""
        try:
            ahead = growing.read(self.folder, self.number + 1, most=64 * 1024)
        except FileNotFoundError:
            return None
        pictures = self.last is None or self.last.video
        return next((frame for frame in ts.frames(ahead) if frame.video == pictures), None)
