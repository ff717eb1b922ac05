"""One session that may have renditions to make, and the ffmpeg that makes them: see media/transcoders.py."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from media import ladder
from media.ladder import Ladder, Picture
from media.renditions import read_state


@dataclass(frozen=True)
class Job:
    """An open session. `profile`: what its channel wants; `signal`: media.index.read_signal's."""

    channel_id: str
    session_id: str
    profile: tuple[str, ...]
    receiving: bool
    signal: dict[str, Any] = field(default_factory=dict)

    @property
    def picture(self) -> Picture | None:
        """What the packager has seen, once it knows all of it."""
        video = self.signal.get("video") or {}
        if not (video.get("width") and video.get("height") and video.get("fps")):
            return None
        return Picture(video["width"], video["height"], video["fps"])


@dataclass
class Transcoder:
    """One session's ladder and its ffmpeg, as this worker knows them. Times are of the monotonic clock."""

    folder: Path
    ladder: Ladder | None = None
    process: psutil.Process | None = None
    deaths: int = 0  # in a row
    last_start: float = 0.0
    next_start: float = 0.0
    moved_at: float = 0.0
    seen: int = 0

    @property
    def session_id(self) -> str:
        return self.folder.name

    @property
    def about(self) -> dict[str, str]:
        """For the log."""
        return {"channelId": self.folder.parent.name, "sessionId": self.session_id}

    @property
    def alive(self) -> bool:
        return self.process is not None and alive(self.process)

    @property
    def cores(self) -> float:
        return self.ladder.cores if self.ladder else 0.0

    @property
    def left_out(self) -> set[str]:
        """Why anything is."""
        return set(self.ladder.left_out.values()) if self.ladder else set()

    def newest(self) -> int:
        """When a file of it came or went last."""
        folders = [self.folder / name / ladder.GROUPS for name in self.ladder.names]
        return max((folder.stat().st_mtime_ns for folder in folders), default=0)

    def late(self) -> int:
        """How many segments in a row it was too late for, by what the packager says; the worst of its renditions."""
        state = read_state(self.folder)
        return max((state.get(name, 0) for name in self.ladder.names), default=0)

    def next_run(self) -> int:
        """A number that no run before has used in this session: its files would be written over."""
        runs = self.folder / "runs"
        try:
            run = int(runs.read_text()) + 1
        except (FileNotFoundError, ValueError):
            run = 0
        runs.write_text(str(run))
        return run


@dataclass(frozen=True)
class Handover:
    """A process that makes a session's renditions until the next, which makes more, has made some of `added`."""

    to: Transcoder
    process: psutil.Process
    added: dict[Path, int]  # folders, and when they changed last
    ends_at: float

    def is_done(self, now: float) -> bool:
        return now >= self.ends_at or any(path.stat().st_mtime_ns != at for path, at in self.added.items())


def alive(process: psutil.Process) -> bool:
    """A zombie is dead; psutil compares start times, so a stranger with the same pid is not ours."""
    if isinstance(process, psutil.Popen):
        return process.poll() is None
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
