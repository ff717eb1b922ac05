"""Packagers: one ffmpeg per session, from RTMP to HLS on disk.

They are started detached and outlive the worker. A worker that starts finds them in the process table, by
the playlist they write: unlike a pid file, that cannot be stale, nor miss one that was just being started.
Nothing here knows the database; `sync` is told what is wanted and reports what it sees.
"""

import logging
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from media import ffmpeg, playlists
from media.orphans import end
from media.storage import write_public

log = logging.getLogger(__name__)

# A playlist stands still: not moved for this long, or for three of its longest segments, while bytes arrive.
STALLED_S = 12.0
# After this many packagers in a row that played nothing, the signal is taken for one that cannot be played.
HOPELESS_STARTS = 3
HOPELESS_S = 45.0
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
TERM_GRACE_S = 3.0
UNPLAYABLE = "Nothing that can be played came out of the signal; send H.264 video and AAC audio."
LOG_BYTES = 256 * 1024


@dataclass(frozen=True)
class Job:
    """A session that should be packaged. `receiving`: bytes of its publisher still arrive."""

    channel_id: str
    session_id: str
    receiving: bool
    signed: bool = False


@dataclass(frozen=True)
class Report:
    session_id: str
    state: Literal["playable", "unplayable"]
    reason: str = ""


@dataclass
class Packager:
    """One session's ffmpeg, as this worker knows it. Times are of the monotonic clock."""

    channel_id: str
    session_id: str
    first_start: float
    process: psutil.Process | None = None
    number: int = 0  # of its live playlist, counted over the channel's packagers
    starts: int = 0
    last_start: float = 0.0
    next_start: float = 0.0
    moved_at: float = 0.0
    seen: tuple[int, int] | None = None  # the playlist's mtime and size, in one look
    playable: bool = False

    @property
    def alive(self) -> bool:
        return self.process is not None and _alive(self.process)


class Packagers:
    """All packagers of this box. Times are of the monotonic clock."""

    def __init__(self, media_dir: Path, log_dir: Path, program: str, rtmp_port: int) -> None:
        self.media_dir = media_dir
        self.log_dir = log_dir
        self.program = program
        self.rtmp_port = rtmp_port
        self.known: dict[str, Packager] = {}
        self.ending: list[tuple[Packager, float]] = []

    def adopt(self, now: float) -> int:
        """Take over what a worker before this one started; returns how many run."""
        for process, playlist in running(self.media_dir):
            session = playlist.parent
            packager = Packager(session.parent.name, session.name, now, process, starts=1)
            packager.number = playlists.live_number(playlist.name)
            packager.last_start = packager.moved_at = now
            packager.playable = self._link(packager.channel_id) == Path(session.name) / playlist.name
            self.known[packager.session_id] = packager
        for path in self.log_dir.glob("*.log"):
            if path.stem not in self.known:
                path.unlink()
        return len(self.known)

    def sync(self, jobs: Iterable[Job], now: float) -> list[Report]:
        """Start what is wanted and missing, end what is not, restart what stands still; report the rest."""
        wanted = {job.session_id: job for job in jobs}
        for session_id in self.known.keys() - wanted.keys():
            self._finish(self.known.pop(session_id), now)
        self._reap(now)
        return [report for job in wanted.values() if (report := self._tend_alone(job, now))]

    @property
    def starting(self) -> bool:
        """A packager has nothing to play yet: look again very soon."""
        return any(packager.alive and not packager.playable for packager in self.known.values())

    def _tend_alone(self, job: Job, now: float) -> Report | None:
        """One session that cannot be tended (disk full, a playlist cut short) must not keep the others waiting."""
        try:
            return self._tend(job, now)
        except (OSError, ValueError, psutil.Error) as error:
            log.error("packager of %s: %s: %s", job.session_id, type(error).__name__, error)
            return None

    def _tend(self, job: Job, now: float) -> Report | None:
        packager = self.known.get(job.session_id)
        if packager is None:
            packager = Packager(job.channel_id, job.session_id, first_start=now)
            self.known[job.session_id] = packager
        if not job.receiving:  # what nobody sends can neither stand still nor fail to play
            packager.moved_at = packager.first_start = now
        if not packager.alive:
            if packager.process:
                self._note_death(packager, now)
            if now >= packager.next_start and (job.receiving or not packager.starts):
                self._start(packager, job, now)
        elif self._stalled(packager, now) and job.receiving:
            log.warning("packager of %s stands still; restarting it", packager.session_id)
            packager.process.kill()
        return self._report(packager, job, now)

    def _report(self, packager: Packager, job: Job, now: float) -> Report | None:
        if self._look(packager, now) and self._link(packager.channel_id) != self._target(packager):
            self._publish(packager)
            packager.playable = True
        since = packager.moved_at if packager.playable else packager.first_start
        stuck = job.receiving and now - since > HOPELESS_S
        if packager.playable and not stuck:
            return Report(packager.session_id, "playable")
        if stuck or (packager.starts >= HOPELESS_STARTS and not packager.alive):
            return Report(packager.session_id, "unplayable", UNPLAYABLE)
        return None

    def _start(self, packager: Packager, job: Job, now: float) -> None:
        folder = self.media_dir / packager.channel_id / packager.session_id
        folder.mkdir(parents=True, exist_ok=True)
        if job.signed:
            (folder.parent / playlists.SIGNED).touch()
        else:
            (folder.parent / playlists.SIGNED).unlink(missing_ok=True)
        shown, number = self._shown(packager.channel_id)
        packager.number = max(number, packager.number) + 1 if shown or packager.starts else 0
        argv = ffmpeg.package_argv(
            self.program,
            source=f"rtmp://127.0.0.1:{self.rtmp_port}/live/{packager.session_id}",
            playlist=self._playlist(packager),
            url_prefix=f"{packager.session_id}/",
            start_number=shown.next_number if shown else 0,
        )
        # Into files only: a pipe to this worker would break, and end ffmpeg, when the worker restarts.
        with open(self._log(packager), "ab") as out:
            packager.process = psutil.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=folder,
                env={"LANG": "C.UTF-8"},
                start_new_session=True,
                umask=0o022,
            )
        packager.starts += 1
        packager.last_start = now

    def _note_death(self, packager: Packager, now: float) -> None:
        log.warning("packager of %s ended by itself: %s", packager.session_id, self._last_words(packager))
        packager.process = None
        lasted = now - packager.last_start
        failures = 1 if lasted > 2 * STALLED_S else packager.starts
        packager.next_start = now + BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]

    def _finish(self, packager: Packager, now: float) -> None:
        """Ask it to end; `_reap` kills what does not."""
        if packager.alive:
            packager.process.terminate()
            self.ending.append((packager, now + TERM_GRACE_S))
        else:
            self._forget(packager)

    def _reap(self, now: float) -> None:
        left = []
        for packager, deadline in self.ending:
            if not packager.alive:
                self._forget(packager)
                continue
            if now >= deadline:
                packager.process.kill()
            left.append((packager, deadline))
        self.ending = left

    def _look(self, packager: Packager, now: float) -> bool:
        """Has this session's own playlist anything to play? Notes when it moved last."""
        try:
            found = self._playlist(packager).stat()
        except FileNotFoundError:
            return False
        if (found.st_mtime_ns, found.st_size) != packager.seen:
            packager.seen, packager.moved_at = (found.st_mtime_ns, found.st_size), now
        return True

    def _stalled(self, packager: Packager, now: float) -> bool:
        shown = self._read(self._playlist(packager))
        longest = shown.target if shown else 0
        return now - max(packager.moved_at, packager.last_start) > max(STALLED_S, 3 * longest)

    def _publish(self, packager: Packager) -> None:
        """Point the channel's playlist at this session's: players keep their URL over reconnections.

        The link comes last: a worker that adopts this packager takes it for the sign that all is there.
        """
        channel = self.media_dir / packager.channel_id
        write_public(channel / playlists.MASTER, playlists.master(self._bandwidth(packager)))
        link = channel / f".{packager.session_id}"
        link.unlink(missing_ok=True)
        link.symlink_to(self._target(packager))
        link.rename(channel / playlists.SOURCE)

    def _bandwidth(self, packager: Packager) -> int:
        """Bits per second of the largest segment so far: HLS wants the peak."""
        shown = self._read(self._playlist(packager))
        rates = [0.0]
        for uri, seconds in zip(shown.uris, shown.seconds, strict=True) if shown else ():
            file = self.media_dir / packager.channel_id / uri
            if file.exists() and seconds > 0:
                rates.append(file.stat().st_size * 8 / seconds)
        return int(max(rates))

    def _link(self, channel_id: str) -> Path | None:
        """What the channel's playlist points to: a live playlist in a session's folder."""
        try:
            return (self.media_dir / channel_id / playlists.SOURCE).readlink()
        except FileNotFoundError:
            return None

    def _shown(self, channel_id: str) -> tuple[playlists.MediaPlaylist | None, int]:
        """The live playlist that the channel shows now, and its number."""
        link = self._link(channel_id)
        shown = self._read(self.media_dir / channel_id / link) if link else None
        return shown, (playlists.live_number(link.name) if link else None) or 0

    def _read(self, path: Path) -> playlists.MediaPlaylist | None:
        try:
            return playlists.parse(path.read_text())
        except FileNotFoundError:
            return None

    def _last_words(self, packager: Packager) -> str:
        """For our log only. They name our session and folders, never the publisher's token."""
        try:
            return self._log(packager).read_text(errors="replace").strip()[-300:]
        except FileNotFoundError:
            return ""

    def trim_logs(self) -> None:
        for path in self.log_dir.glob("ses_*.log"):
            if path.stat().st_size > LOG_BYTES:
                # ffmpeg appends (O_APPEND), so that cutting the file to nothing is safe while it writes.
                with open(path, "r+b") as file:
                    file.truncate(0)

    def _forget(self, packager: Packager) -> None:
        self._log(packager).unlink(missing_ok=True)

    def _target(self, packager: Packager) -> Path:
        return Path(packager.session_id) / playlists.live_name(packager.number)

    def _playlist(self, packager: Packager) -> Path:
        return self.media_dir / packager.channel_id / self._target(packager)

    def _log(self, packager: Packager) -> Path:
        return self.log_dir / f"{packager.session_id}.log"


def running(media_dir: Path) -> Iterator[tuple[psutil.Process, Path]]:
    """Every packager of this box, with the live playlist it writes: the last word of its argv."""
    for process in psutil.process_iter(["cmdline"]):
        argv = process.info["cmdline"] or [""]
        target = Path(argv[-1])
        ours = playlists.LIVE.fullmatch(target.name) and target.parent.parent.parent == media_dir
        if ours and "-hls_base_url" in argv and _alive(process):  # somebody's `tail -f` is no packager
            yield process, target


def _alive(process: psutil.Process) -> bool:
    """A zombie is dead; psutil compares start times, so a stranger with the same pid is not ours."""
    if isinstance(process, psutil.Popen):
        return process.poll() is None
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_all(media_dir: Path) -> int:
    """End every packager that workers left running, for when the whole box stops; how many there were."""
    return end([process for process, _ in running(media_dir)])


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--end-all":
        sys.exit("usage: python -m media.packager --end-all DATA_DIR")
    end_all(Path(sys.argv[2]).absolute() / "media")
