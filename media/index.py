"""What a session has put on disk: a line for each segment, appended when it is whole.

The packager writes it, and whoever lists, joins or counts a broadcast reads it: DVR, catch-up, recordings, usage.
Beside it, `signal.json` says what the session sends now. Both outlive every process.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

from media.ladder import LINES
from media.storage import write_public

SEGMENTS = "segments"
SIGNAL = "signal.json"
JOB = "job.json"
DVR_S = 7200.0
SHORT_DVR_S = 300.0  # where the disk is all but full


@dataclass(frozen=True)
class Segment:
    """One file of a session: `<number>.ts`. `began_ms` is wall time, `pts` the time stamp of its first frame."""

    number: int
    seconds: float
    size: int
    began_ms: int
    pts: int
    broken: bool = False  # time stamps do not go on from the segment before it

    @property
    def file(self) -> str:
        return f"{self.number}.ts"

    @property
    def ends_ms(self) -> int:
        return self.began_ms + round(self.seconds * 1000)


@dataclass
class Index:
    """A session's segments. `base` and `breaks`: how many segments and discontinuities its channel had before it.
    `first`: the number of its first file; SRS goes on counting where the publisher before it stopped."""

    base: int = 0
    breaks: int = 0
    segments: list[Segment] = field(default_factory=list)
    first: int = 0

    @property
    def next_number(self) -> int:
        return self.segments[-1].number + 1 if self.segments else self.first

    @property
    def next_base(self) -> int:
        return self.base + self.next_number - self.first

    @property
    def first_base(self) -> int:
        """How many segments its channel had before the first that is still there."""
        return self.base + (self.segments[0].number - self.first if self.segments else 0)

    @property
    def next_breaks(self) -> int:
        return self.breaks + sum(segment.broken for segment in self.segments)


@dataclass(frozen=True)
class Job:
    """How a session is to be packaged, as its channel was when the publisher came (contract, section 2: update)."""

    mode: str = "normal"
    dvr: bool = False
    keep: bool = True  # all of it, for catch-up or a recording; else only what live and DVR need
    # Where the disk is nearly full (media/disk.py): what ended before this stays all the same, 0 for nothing.
    kept_to_ms: int = 0
    dvr_s: float = DVR_S

    @classmethod
    def wanted_by(cls, channel: "Wishes") -> Self:
        return cls(channel.mode, channel.dvr, channel.catchup or channel.record)


class Wishes(Protocol):
    """What a channel says of its media: see models.Channel."""

    mode: str
    dvr: bool
    catchup: bool
    record: bool


def read(folder: Path) -> Index:
    """The index of a session's folder, empty where nothing was written; a line cut short by a crash is no line."""
    try:
        text = (folder / SEGMENTS).read_text()
    except FileNotFoundError:
        return Index()
    head, *lines = text[: text.rfind("\n") + 1].splitlines() or ["0 0"]
    base, breaks, *first = map(int, head.split())
    return Index(base, breaks, [_parse(line) for line in lines], *first)


def _parse(line: str) -> Segment:
    number, seconds, size, began_ms, pts, broken = line.split()
    return Segment(int(number), float(seconds), int(size), int(began_ms), int(pts), broken == "1")


def begin(folder: Path, index: Index) -> None:
    """Write an index anew: for a session that begins, or one whose oldest segments are gone."""
    head = f"{index.base} {index.breaks}" + (f" {index.first}" if index.first else "")
    lines = [f"{head}\n", *map(_line, index.segments)]
    write_public(folder / SEGMENTS, "".join(lines))


def forget_before(folder: Path, index: Index, wall_ms: int, kept_to_ms: int = 0) -> None:
    """Remove the segments that ended before `wall_ms`, but after `kept_to_ms`; files first.

    The index is written anew now and then only.
    """
    old = [segment for segment in index.segments if kept_to_ms < segment.ends_ms < wall_ms]
    if len(old) < max(10, len(index.segments) // 20):
        return
    for segment in old:
        for name in ("", *LINES):
            (folder / name / segment.file).unlink(missing_ok=True)
    gone = {segment.number for segment in old}
    index.segments = [segment for segment in index.segments if segment.number not in gone]
    if not kept_to_ms:
        index.breaks += sum(segment.broken for segment in old)
    begin(folder, index)


def append(folder: Path, segments: Iterable[Segment]) -> None:
    with open(folder / SEGMENTS, "r+b") as file:
        _cut_half_a_line(file)
        file.write("".join(map(_line, segments)).encode())


def _cut_half_a_line(file: Any) -> None:
    """A writer that was killed may have left one; what comes next must not be glued to it."""
    size = file.seek(0, os.SEEK_END)
    tail_at = max(0, size - 200)
    file.seek(tail_at)
    end = file.read().rfind(b"\n") + 1
    file.truncate(tail_at + end)
    file.seek(0, os.SEEK_END)


def _line(segment: Segment) -> str:
    each = segment
    return f"{each.number} {each.seconds:.3f} {each.size} {each.began_ms} {each.pts} {int(each.broken)}\n"


def sessions(channel: Path) -> list[tuple[Path, Index]]:
    """The sessions of a channel that have begun, in order."""
    folders = [path.parent for path in channel.glob(f"*/{SEGMENTS}")]
    return sorted(
        ((folder, read(folder)) for folder in folders), key=lambda each: (each[1].base, each[0].name)
    )


def write_job(folder: Path, job: Job) -> None:
    write_public(folder / JOB, json.dumps(vars(job)))


def renew_job(
    folder: Path,
    wanted: Job,
    tight: int = 0,
    now_ms: int = 0,
    tell: Callable[[Job, Job], None] = lambda before, after: None,
) -> None:
    """What is kept follows the channel while it is live, and the room on disk (media/disk.py); what shapes the media
    stays as it was when it began. `tell` gets the job as it was and as it is to be, before that is written."""
    before = read_job(folder)
    low = tight > 0 and wanted.keep
    after = replace(
        before,
        keep=wanted.keep and not low,
        kept_to_ms=(before.kept_to_ms or now_ms) if low else 0,
        dvr_s=SHORT_DVR_S if tight > 1 else DVR_S,
    )
    if after != before and folder.is_dir():
        tell(before, after)
        write_job(folder, after)


def told_of(before: Job, after: Job) -> tuple[bool, str] | None:
    """What a timeline says where the room on disk has changed what is done: whether there is enough, and why."""
    low, was_low = after.kept_to_ms > 0, before.kept_to_ms > 0
    if low != was_low:
        return not low, (
            "The disk is nearly full: nothing more is kept for catch-up and recordings"
            if low
            else "The disk has room again: what comes in is kept"
        )
    if after.dvr and after.dvr_s < before.dvr_s:
        return False, "The disk is all but full: DVR is shortened"
    if after.dvr and after.dvr_s > before.dvr_s and not low:
        return True, "The disk has room again: DVR grows to its two hours"
    return None


def read_job(folder: Path) -> Job:
    try:
        return Job(**json.loads((folder / JOB).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # TypeError: of another release
        return Job()


def write_signal(folder: Path, signal: dict[str, Any]) -> None:
    write_public(folder / SIGNAL, json.dumps(signal))


def read_signal(folder: Path) -> dict[str, Any]:
    """What the packager said last of a session; empty before it has said anything."""
    try:
        return json.loads((folder / SIGNAL).read_text())
    except (FileNotFoundError, ValueError):
        return {}
