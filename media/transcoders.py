"""Transcoders: one ffmpeg for each session that has renditions to make, from RTMP to files that the packager shows.

They are started detached and outlive the worker. A worker that starts finds them in the process table, by what they
write: unlike a pid file, that cannot be stale, nor miss one that was just being started. What a session gets is
decided once and stands in its folder. Nothing here knows the database.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

from media import ffmpeg, index, ladder
from media.broadcast import ULTRA
from media.ladder import Ladder, Picture
from media.orphans import end
from media.renditions import read_ladder, write_ladder
from media.transcoder import Handover, Job, Transcoder, alive

log = logging.getLogger(__name__)

BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
LASTED_S = 60.0  # what has run for this long has not failed to start
HOPELESS_DEATHS = 6
# Nothing new for this long, while its publisher sends: it hangs. A key frame comes every 10 s at the rarest.
STALLED_S = 15.0
# How long the box is given to settle, after a start or after it was relieved, before it counts as overloaded.
SETTLE_S = 20.0
MOVES_S = 3.0
LATE_SEGMENTS = 5  # in a row
TERM_GRACE_S = 3.0
# So long room stays free for the encoder that had it and connects again; then others get it, one at a time.
GIVE_AFTER_S = 60.0
HANDOVER_S = 15.0  # at most: a key frame comes every 10 s at the rarest
LOG_BYTES = 256 * 1024
NICE = 10  # below nginx and the packager: the source goes first


class Transcoders:
    """All transcoders of this box. `tell` is told of each ladder, before it is made.

    `cores` is what all of them may take together, by what they are expected to cost. `readable`: whether the media
    server knows streams by the names of our sessions; else nothing is made.
    """

    def __init__(
        self,
        media_dir: Path,
        log_dir: Path,
        *,
        program: str,
        rtmp_port: int,
        cores: float,
        tell: Callable[[str, Ladder], None],
        readable: bool = True,
    ) -> None:
        self.media_dir = media_dir
        self.log_dir = log_dir
        self.program = program
        self.rtmp_port = rtmp_port
        self.cores = cores
        self.tell = tell
        self.readable = readable
        self.known: dict[str, Transcoder] = {}
        self.ending: list[tuple[psutil.Process, float]] = []
        self.handovers: list[Handover] = []
        self.relieved_at = float("-inf")
        self.room_since: float | None = None
        self.adopted = False

    def sync(self, jobs: Iterable[Job], now: float) -> None:
        """Start what is wanted and missing, end what is not, restart what stands still, relieve an overloaded box."""
        wanted = {job.session_id: job for job in jobs}
        if not self.adopted:
            self._adopt(wanted.values(), now)
        for session_id in self.known.keys() - wanted.keys():
            self._end(self.known.pop(session_id), now)
            self._log(session_id).unlink(missing_ok=True)
        self._hand_over(now)
        self._reap(now)
        for job in wanted.values():
            self._tend_alone(job, now)
        self._relieve(now)
        self._give_room({job.session_id for job in wanted.values() if job.receiving}, now)

    def count(self) -> dict[str, float]:
        """For the metrics: how many renditions are made and left out, and what they are expected to take."""
        ladders = [each.ladder for each in self.known.values() if each.ladder]
        return {
            "made": sum(len(each.ladder.renditions) for each in self.known.values() if each.alive),
            "left_out": sum(len(each.left_out) for each in ladders),
            "cores": round(sum(each.cores for each in ladders), 3),
        }

    def _adopt(self, jobs: Iterable[Job], now: float) -> None:
        """Take over what a worker before this one decided and started."""
        for job in jobs:
            folder = self.media_dir / job.channel_id / job.session_id
            self.known[job.session_id] = Transcoder(folder, read_ladder(folder))
        for process, folder, names in running(self.media_dir):
            known = self.known.get(folder.name)
            if known and known.ladder and known.ladder.names == names:
                known.process, known.last_start, known.moved_at = process, now, now
            else:  # over, or from before its ladder was changed
                self._terminate(process, now)
        for path in self.log_dir.glob("ses_*.log"):
            if path.stem not in self.known:
                path.unlink()
        self.adopted = True

    def _tend_alone(self, job: Job, now: float) -> None:
        """One session that cannot be tended (disk full, database locked) must not keep the others waiting."""
        try:
            self._tend(job, now)
        except (OSError, ValueError, KeyError, TypeError, psutil.Error) as error:
            about = {"channelId": job.channel_id, "sessionId": job.session_id}
            log.error("transcoder of %s: %s: %s", job.session_id, type(error).__name__, error, extra=about)

    def _tend(self, job: Job, now: float) -> None:
        folder = self.media_dir / job.channel_id / job.session_id
        each = self.known.setdefault(job.session_id, Transcoder(folder))
        picture = job.picture
        if picture and (each.ladder is None or not each.ladder.is_of(picture)):
            self._decide(each, self._plan(each, picture, job), now)
        if each.ladder is None or not each.ladder.renditions:
            return
        if not job.receiving:
            each.moved_at = now  # what nobody sends cannot stand still
        if not each.alive:
            if each.process:
                self._note_death(each, now)
            if each.deaths >= HOPELESS_DEATHS:
                self._decide(each, each.ladder.without(each.ladder.names, ladder.FAILED), now)
            elif now >= each.next_start and job.receiving:
                self._start(each, now)
        elif self._stalled(each, now):
            log.warning("the transcoder of %s stands still; restarting it", each.session_id, extra=each.about)
            each.process.kill()

    def _plan(self, each: Transcoder, picture: Picture, job: Job) -> Ladder:
        taken = sum(other.cores for other in self.known.values() if other is not each)
        ultra = index.read_job(each.folder).mode == ULTRA
        made = ladder.plan(picture, job.profile, ultra=ultra, cores=self.cores, free=self.cores - taken)
        wanted = [*made.left_out, *made.names]
        return made if self.readable else Ladder(picture).without(wanted, ladder.NOT_HERE)

    def _decide(self, each: Transcoder, made: Ladder, now: float) -> None:
        self._write_down(each, made)
        self._end(each, now)
        self._begin_anew(each, made, now)

    def _begin_anew(self, each: Transcoder, made: Ladder, now: float) -> None:
        each.ladder, each.process, each.deaths, each.next_start = made, None, 0, now

    def _write_down(self, each: Transcoder, made: Ladder) -> None:
        """Told first: told twice it is one entry, but not told it would never be known."""
        self.tell(each.session_id, made)
        for name in made.names:
            (each.folder / name / ladder.GROUPS).mkdir(parents=True, exist_ok=True)
        write_ladder(each.folder, made)

    def _start(self, each: Transcoder, now: float) -> None:
        argv = ffmpeg.transcode_argv(
            self.program,
            source=f"rtmp://127.0.0.1:{self.rtmp_port}/live/{each.session_id}",
            folder=each.folder,
            renditions=each.ladder.renditions,
            run=each.next_run(),
            quick=index.read_job(each.folder).mode != "normal",
        )
        # Into files only: a pipe to this worker would break, and end ffmpeg, when the worker restarts.
        with open(self._log(each.session_id), "ab") as out:
            each.process = psutil.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=each.folder,
                env={"LANG": "C.UTF-8"},
                start_new_session=True,
                umask=0o022,
            )
        each.last_start = each.moved_at = now
        each.seen = each.newest()
        each.process.nice(NICE)

    def _note_death(self, each: Transcoder, now: float) -> None:
        each.process = None
        words = self._last_words(each.session_id)
        log.warning("the transcoder of %s ended: %s", each.session_id, words, extra=each.about)
        each.deaths = 1 if now - each.last_start > LASTED_S else each.deaths + 1
        each.next_start = now + BACKOFF_S[min(each.deaths - 1, len(BACKOFF_S) - 1)]

    def _stalled(self, each: Transcoder, now: float) -> bool:
        if (newest := each.newest()) != each.seen:
            each.seen, each.moved_at = newest, now
        return now - each.moved_at > STALLED_S

    def _relieve(self, now: float) -> None:
        """Where a transcoder has been late for long, the dearest rendition of all those that are late goes.

        One at a time: the box may keep up again by then.
        """
        if now - self.relieved_at < SETTLE_S:
            return
        behind = [
            each
            for each in self.known.values()
            if each.alive
            and now - each.last_start >= SETTLE_S
            and now - each.moved_at < MOVES_S  # what hangs is not slow
            and each.late() >= LATE_SEGMENTS
        ]
        if behind:
            self.relieved_at = now
            each = max(behind, key=lambda each: each.ladder.renditions[-1].megapixels)
            name = each.ladder.renditions[-1].name
            about = each.about | {"event": "overload", "rendition": name}
            log.warning("the box cannot keep up; %s goes without %s", each.session_id, name, extra=about)
            self._decide(each, each.ladder.without([name], ladder.TOO_LATE), now)

    def _give_room(self, receiving: set[str], now: float) -> None:
        """What has been free for a minute goes to a session that had less than it wanted: the one that has least."""
        found = [
            (each, made)
            for each in self.known.values()
            if each.session_id in receiving and (made := self._with_room(each)) != each.ladder
        ]
        # The estimate is too low for this box, or for what is sent to it.
        overloaded = any(ladder.TOO_LATE in each.left_out for each in self.known.values())
        if not found or overloaded:
            self.room_since = None
        elif self.room_since is None:
            self.room_since = now
        elif now - self.room_since >= GIVE_AFTER_S:
            self.room_since = None
            self._extend(*min(found, key=lambda pair: len(pair[0].ladder.renditions)), now)

    def _with_room(self, each: Transcoder) -> Ladder | None:
        if ladder.NO_ROOM not in each.left_out or (each.ladder.renditions and not each.alive):
            return each.ladder
        taken = sum(other.cores for other in self.known.values() if other is not each)
        return each.ladder.with_room(self.cores, self.cores - taken)

    def _extend(self, each: Transcoder, made: Ladder, now: float) -> None:
        """The next transcoder is started beside the one that runs: viewers miss nothing, both make the same groups."""
        before, added = each.process, made.names - each.ladder.names
        self._write_down(each, made)
        if before:
            folders = {each.folder / name: (each.folder / name).stat().st_mtime_ns for name in added}
            self.handovers.append(Handover(each, before, folders, now + HANDOVER_S))
        self._begin_anew(each, made, now)
        self._start(each, now)

    def _hand_over(self, now: float) -> None:
        for each in list(self.handovers):
            if self.known.get(each.to.session_id) is not each.to or each.is_done(now):
                self.handovers.remove(each)
                if alive(each.process):
                    self._terminate(each.process, now)

    def _end(self, each: Transcoder, now: float) -> None:
        if each.alive:
            self._terminate(each.process, now)

    def _terminate(self, process: psutil.Process, now: float) -> None:
        """Ask it to end; `_reap` kills what does not."""
        process.terminate()
        self.ending.append((process, now + TERM_GRACE_S))

    def _reap(self, now: float) -> None:
        self.ending = [(process, deadline) for process, deadline in self.ending if alive(process)]
        for process, deadline in self.ending:
            if now >= deadline:
                process.kill()

    def _last_words(self, session_id: str) -> str:
        """For our log only. They name our session and folders, never the publisher's token."""
        try:
            return self._log(session_id).read_text(errors="replace").strip()[-300:]
        except FileNotFoundError:
            return ""

    def trim_logs(self) -> None:
        for path in self.log_dir.glob("ses_*.log"):
            if path.stat().st_size > LOG_BYTES:
                # ffmpeg appends (O_APPEND), so that cutting the file to nothing is safe while it writes.
                os.truncate(path, 0)

    def _log(self, session_id: str) -> Path:
        return self.log_dir / f"{session_id}.log"


def running(media_dir: Path) -> Iterator[tuple[psutil.Process, Path, set[str]]]:
    """Every transcoder of this box, with its session's folder and the names of what it makes."""
    for process in psutil.process_iter(["cmdline"]):
        argv = process.info["cmdline"] or []
        # Somebody's `tail -f` is no transcoder.
        written = [Path(word) for word in argv if word.endswith(f"/{ladder.GROUPS}/index.m3u8")]
        ours = [path for path in written if len(path.parts) > 5 and path.parents[4] == media_dir]
        if ours and "-force_key_frames" in argv and alive(process):
            yield process, ours[0].parents[2], {path.parents[1].name for path in ours}


def end_all(media_dir: Path) -> int:
    """End every transcoder that workers left running, for when the whole box stops; how many there were."""
    return end([process for process, _, _ in running(media_dir)])


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--end-all":
        sys.exit("usage: python -m media.transcoders --end-all DATA_DIR")
    end_all(Path(sys.argv[2]).absolute() / "media")
