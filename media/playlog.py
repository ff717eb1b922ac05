"""The media server's log of playback requests: its lines, where a reader of them has got to, and its rotation.

A place in the log is a file, known by how it begins, and an offset. Nothing is kept open and nothing is remembered but
the place: whoever comes after a killed worker goes on from the place that was written down.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

PLAYED = (b"200", b"206", b"304")
CHANNEL_BYTES = 23  # ch_ and 20 digits
# Enough of a first line to tell it from any other: its time, duration, size and part of the channel.
MARK_BYTES = 40
AT_ONCE = 4 * 1024 * 1024  # some 35,000 lines: 0.1 s, in which the worker does nothing else
ROTATE_AT = 32 * 1024 * 1024
# A worker that starts reads the last minute once more (live/viewers.py): it must not be two files ago.
ROTATE_AFTER_S = 90


class Request(NamedTuple):
    """An answered playback request; times in milliseconds since 1970. A viewer is a number here, no address."""

    began: int
    ended: int
    channel: str
    viewer: int
    bytes: int


class Place(NamedTuple):
    """How far the log was read: how the file begins, and the offset behind the last line."""

    mark: str = ""
    offset: int = 0


def parse(line: bytes) -> Request | None:
    """What a line says (log_format in media/servers/nginx.conf.j2); None if it is damaged or nothing was played.

    What names the viewer comes last, and may hold spaces: channel, address and user agent.
    """
    parts = line.split(b" ", 5)
    if len(parts) != 6 or parts[2] not in PLAYED or not parts[5].startswith(b"ch_"):
        return None
    try:
        ended = _ms(parts[0])
        channel = parts[5][:CHANNEL_BYTES].decode("ascii")
        return Request(ended - _ms(parts[1]), ended, channel, hash(parts[5]), int(parts[3]))
    except ValueError:
        return None


def _ms(seconds: bytes) -> int:
    """nginx writes seconds with three decimals: without the point they are milliseconds."""
    if seconds[-4:-3] != b".":
        raise ValueError
    return int(seconds[:-4] + seconds[-3:])


class Playlog:
    """Reads on from a place, over rotations. `pid_file` is the media server's, which is told to open a new file."""

    def __init__(self, path: Path, pid_file: Path, rotate_at: int = ROTATE_AT) -> None:
        self.path, self.old = path, path.with_name(f"{path.name}.1")
        self.pid_file, self.rotate_at = pid_file, rotate_at
        self.place = Place()
        self.caught_up = False  # by the last read: there is nothing more
        self.more = False
        self.grows_behind = False

    def read(self, stop_at: Place | None = None) -> list[Request]:
        """What comes behind the place, up to AT_ONCE bytes of it and no further than `stop_at`; moves the place.

        If neither file begins as the place says, somebody emptied or replaced them: then the whole new one counts.
        """
        # Asked before the old file is read to its end: nginx writes all of that before the first of a new one.
        begun = _mark(self.path)
        behind = self.place.mark != "" and _mark(self.old) == self.place.mark
        text = self._take(self.old, stop_at) if behind else b""
        self.grows_behind = text != b""
        if not behind or (begun and not text and self.place != stop_at):
            if begun != self.place.mark:
                self.place = Place(begun)
            text, behind = self._take(self.path, stop_at), False
        self.caught_up = not self.more and not (behind and begun)
        return [found for line in text.splitlines() if (found := parse(line))]

    def read_again(self, since: tuple[str, int], until: tuple[str, int]) -> list[Request]:
        """What lies between two places; afterwards the place is the second, whatever the first was."""
        self.place, until, found = Place(*since), Place(*until), []
        while self.place != until:
            before = self.place
            found += self.read(stop_at=until)
            if self.place == before:
                break
        self.place = until
        return found

    def _take(self, path: Path, stop_at: Place | None) -> bytes:
        """Whole lines only: the last one may still be being written."""
        most = AT_ONCE
        if stop_at and stop_at.mark == self.place.mark:
            most = max(0, min(most, stop_at.offset - self.place.offset))
        try:
            with open(path, "rb") as file:
                file.seek(self.place.offset)
                text = file.read(most)
        except FileNotFoundError:
            text = b""
        self.more = len(text) == AT_ONCE
        end = text.rfind(b"\n") + 1
        if end == 0 and self.more:  # no line of ours is that long
            end = AT_ONCE
        self.place = Place(self.place.mark, self.place.offset + end)
        return text[:end]

    def tend(self) -> None:
        """Rotate what has become large, if what it would replace is read; see to it that nginx writes to it."""
        size = self.path.stat().st_size if self.path.exists() else None
        if (
            size is None or self.grows_behind
        ):  # deleted by somebody, or we were killed in the middle of a rotation
            self._reopen()
        elif size >= self.rotate_at and self.place.mark == _mark(self.path):
            with suppress(FileNotFoundError):
                if time.time() - self.old.stat().st_mtime < ROTATE_AFTER_S:
                    return
            self.path.rename(self.old)
            self._reopen()

    def _reopen(self) -> None:
        make_private(self.path)
        with suppress(OSError, ValueError, psutil.NoSuchProcess):
            server = psutil.Process(int(self.pid_file.read_text()))
            if server.name() == "nginx" and str(self.pid_file.parent) in " ".join(server.cmdline()):
                server.send_signal(signal.SIGUSR1)  # it gives the file to its workers' user


def make_private(path: Path) -> None:
    """An empty file that only its owner reads, where there is none: nginx would make one for everybody."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def _mark(path: Path) -> str:
    """How a file begins; empty where there is nothing in it, or no file."""
    try:
        with open(path, "rb") as file:
            return file.read(MARK_BYTES).decode("ascii", "replace")
    except FileNotFoundError:
        return ""
