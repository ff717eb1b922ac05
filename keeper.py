"""What is left of broadcasts, made and removed: part of the worker, in threads of its own, outside any transaction.

There is no queue: what is to be done follows from the rows and from what is on disk, each time anew, for the channels
that have a chore (models_chores.py). Whatever is killed half-way is done again.
"""

import logging
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import peewee

from config import Config
from db import database, to_ms, utcnow
from live import videos
from live.links import Links
from media import index, pictures, remains, remux, storage
from media.broadcast import whole
from media.disk import Guard
from media.ffmpeg import program
from media.index import Index, Job
from media.jobs import JobError, Runner
from media.playlists import MASTER_DVR, SOURCE
from media.remains import Wanted
from models import Channel, Session, Status
from models_chores import Chore
from models_nodes import ChannelNode
from models_search import Video, VideoType
from mover import Mover, just_moved

log = logging.getLogger("keeper")

IDLE_S = 1.0
# Viewers are that far behind, and may have paused.
LIVE_STAYS_S = 30.0
PACKAGER_LATE_S = 3.0
STOPS_S = 10.0  # a store may let us wait for longer; what it has half of is sent again
TRIES = 3
AT_ONCE = 500


class Keeper:
    """Three loops: chores are short, jobs long, and pictures must not wait for either."""

    def __init__(self, config: Config, links: Links, ring: Callable[[], None]) -> None:
        self.config = config
        self.links = links
        self.node = links.name
        self.ring = ring
        self.media_dir: Path = config.media_dir
        self.ffmpeg = program(config.ffmpeg)
        self.guard = Guard(config.data_dir, config.disk_min_free)
        self.stopping = threading.Event()
        self.jobs = Runner(config.run_dir / "job.json", self.stopping)
        self.camera = Runner(config.run_dir / "picture.json", self.stopping)
        self.working_on = ""
        self.failed: Counter[str] = Counter()
        self.failures = 0  # of all jobs since the start, for the metrics
        self.ended_at: dict[str, float] = {}
        self.pictured_at: dict[str, float] = {}
        self.pictured: dict[str, int] = {}
        self.mover = Mover(config, self.guard, self.stopping)
        steps = {"chores": self.do_chores, "jobs": self.do_a_job, "pictures": self.take_pictures}
        steps |= {"moves": self.mover.step} if self.mover.store else {}
        self.loops = [Loop(name, step, self.stopping) for name, step in steps.items()]

    def start(self) -> None:
        for runner in (self.jobs, self.camera):
            runner.end_leftover()
        self.mover.start()
        for loop in self.loops:
            loop.start()

    def wake(self) -> None:
        for loop in self.loops[:2]:
            loop.woken.set()

    def stop(self) -> None:
        self.stopping.set()
        for loop in self.loops:
            loop.woken.set()
        for loop in self.loops:
            if loop.is_alive():
                loop.join(STOPS_S)

    # The worker's sweep.

    def renew_jobs(self, sessions: Iterable[Session]) -> None:
        """What is kept of running sessions follows what their channels want, and what room there is on disk."""
        level, now = self.guard.level, utcnow()
        if self.guard.look() != level:
            log.log(
                logging.WARNING if self.guard.level > level else logging.INFO,
                *("room on disk: level %s after %s; %s", self.guard.level, level, self.guard.words),
                extra={
                    "event": "disk_low" if self.guard.level else "disk_enough",
                    "diskLevel": self.guard.level,
                },
            )
        for session in sessions:
            channel = session.channel

            def tell(before: Job, after: Job, channel_id: str = channel.id) -> None:
                if said := index.told_of(before, after):
                    videos.storage_changed(channel_id, *said, self.guard.words, now)

            folder, wanted = self.media_dir / channel.id / session.id, Job.wanted_by(channel)
            index.renew_job(folder, wanted, self.guard.level, to_ms(now), tell)

    def find_orphans(self) -> None:
        """Folders of channels that are no more, or ended with nothing decided: after a restore, an upgrade. And those
        of a node that was forgotten."""
        names = storage.channels_on_disk(self.media_dir)
        for begin in range(0, len(names), AT_ONCE):
            some = names[begin : begin + AT_ONCE]
            known = {channel.id: channel for channel in Channel.some("id IN (?)", some)}
            news = ChannelNode.has(known, self.node)
            for name in some:
                channel = known.get(name)
                if channel is None or name in news or (channel.over and not videos.is_decided(channel, None)):
                    Chore.create(channel_id=name, node=self.node)

    # Chores.

    def do_chores(self) -> float:
        waiting = Chore.waiting(self.node)
        for channel_id, newest in waiting.items():
            if self.stopping.is_set():
                break
            try:
                if self._tend(channel_id):
                    self.mover.hand_on(channel_id)
                    Chore.done(channel_id, newest, self.node)
                    self.ended_at.pop(channel_id, None)
                else:
                    self.mover.keep_up(channel_id, newest)
            except OSError as error:  # of its files; those of others may be well
                log.error(
                    "%s: %s: %s", channel_id, type(error).__name__, error, extra={"channelId": channel_id}
                )
        videos.forget_downloads(utcnow())
        return IDLE_S

    def _tend(self, channel_id: str) -> bool:
        """Bring a channel's folder to what its rows say; True when nothing is left to do."""
        folder, channel = self.media_dir / channel_id, Channel.named(channel_id)
        if channel is None:
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists() and (channel is None or channel.over):
            ChannelNode.gone(channel_id, self.node)
            if channel and self._has_last_word(channel):
                videos.give_up(channel_id, None, "", utcnow())
        if channel is None or not folder.is_dir():
            return not folder.exists()
        storage.mark_signed(folder, signed=channel.playback == "signed")
        if not channel.over:
            return self._tend_running(channel, folder)
        if not self._is_taken_in(channel, folder):
            return False
        if not videos.is_decided(channel, None) and self._has_last_word(channel):
            self._decide_catchup(channel, folder)
            channel = Channel.named(channel_id)
            if channel is None:
                return False
        return self._tend_ended(channel, folder)

    def _has_last_word(self, channel: Channel) -> bool:
        """The catch-up is made of what the node of the last session has; a channel without one is anybody's."""
        return channel.published_at is None or channel.node == self.node

    def _tend_running(self, channel: Channel, folder: Path) -> bool:
        running = Session.open_of(channel)
        pending = self._unrecorded(channel, folder)
        for path in storage.sessions_on_disk(folder):
            if running is None or path.name != running.id:
                keep = channel.catchup or path.name in {each.name for each, _ in pending}
                index.renew_job(path, Job(keep=keep))
        return not pending

    def _is_taken_in(self, channel: Channel, folder: Path) -> bool:
        """The last segments are in the index; where no packager sees to it in time, we do."""
        since = self.ended_at.setdefault(channel.id, time.monotonic())
        for session in storage.sessions_on_disk(folder):
            if remains.is_taken_in(session, self.config.ingest_dir):
                continue
            if session.name in storage.taken_in(self.config.ingest_dir):
                return False  # the media server has not let go of it yet
            if time.monotonic() - since < PACKAGER_LATE_S:
                return False
            remains.take_in(session, to_ms(utcnow()))
        return True

    def _decide_catchup(self, channel: Channel, folder: Path) -> None:
        made = remains.write_catchup(folder) if channel.catchup else None
        now = utcnow()
        if made is None:
            videos.give_up(channel.id, None, "", now)
        else:
            path = f"{channel.id}/{MASTER_DVR}"
            facts = {"duration": round(made.seconds), "size": made.size}
            videos.keep(channel.id, VideoType.CATCHUP, path, self.links, now, **facts)
            self.ring()
        remains.close_live(folder)

    def _tend_ended(self, channel: Channel, folder: Path) -> bool:
        rows = {video.path.rpartition("/")[2]: video for video in videos.at(channel.id, self.node)}
        pending = {path.name for path, _ in self._unrecorded(channel, folder)}
        removed = channel.catchup and channel.kept.get("catchup", "") is None
        fresh = time.monotonic() - self.ended_at[channel.id] < LIVE_STAYS_S
        moved = bool(rows) and self.mover.has(channel)
        goes = moved and just_moved(channel, self.node, utcnow())
        here = rows.keys() if goes or not moved else set()
        wanted = Wanted(
            catchup=MASTER_DVR in here,
            download=MASTER_DVR in rows and rows[MASTER_DVR].asked_at is not None,
            live=fresh and not removed and (folder / SOURCE).exists(),
            drafts=self.working_on == channel.id,
            recordings=here - {MASTER_DVR},
            sessions=pending,
            moved=moved,
        )
        remains.tidy(folder, wanted)
        if not wanted.anything:
            videos.not_pictured(channel.id, self.node)
            return not folder.exists()
        waits = wanted.live or pending or wanted.drafts or goes
        return not (waits or self._wants_storyboard(channel, folder))

    def _unrecorded(self, channel: Channel, folder: Path) -> list[tuple[Path, Index]]:
        """The sessions whose recording is to be made."""
        if not channel.record:
            return []
        running = Session.open_of(channel)
        return [
            (path, known)
            for path, known in index.sessions(folder)
            if known.segments
            and not videos.is_decided(channel, path.name)
            and (running is None or running.id != path.name)
        ]

    def _wants_storyboard(self, channel: Channel, folder: Path) -> bool:
        mine = videos.node_of(channel, "catchup") == self.node
        if (
            not (mine and channel.thumbnail and channel.kept.get("catchup"))
            or self.failed[f"{channel.id}/s"] >= TRIES
        ):
            return False
        return not (folder / pictures.STORYBOARD).exists() and remains.picture_size(folder) is not None

    # Jobs: one at a time.

    def do_a_job(self) -> float:
        """The first that can be done now; returns how long to wait for the next look."""
        if self.guard.level:
            return IDLE_S
        for channel_id in Chore.waiting(self.node):
            channel, folder = Channel.named(channel_id), self.media_dir / channel_id
            if channel is None or not folder.is_dir():
                continue
            for session, known in self._unrecorded(channel, folder):
                if self._is_ready(session, known):
                    return self._work(channel_id, lambda: self._record(channel, session, known))  # noqa: B023
            if channel.over and self._wants_storyboard(channel, folder):
                return self._work(channel_id, lambda: self._storyboard(channel, folder))  # noqa: B023
        video = videos.next_download(self.node)
        if video:
            return self._work(video.channel.id, lambda: self._download(video))
        return IDLE_S

    def _is_ready(self, session: Path, known: Index) -> bool:
        size = sum(segment.size for segment in known.segments)
        return remains.is_taken_in(session, self.config.ingest_dir) and self.guard.has_room_for(size)

    def _work(self, channel_id: str, job: Callable[[], None]) -> float:
        self.working_on = channel_id
        try:
            job()
        finally:
            self.working_on = ""
            self.loops[0].woken.set()
        return 0.0

    def _record(self, channel: Channel, session: Path, known: Index) -> None:
        name, target = session.name, self.media_dir / channel.id / f"{session.name}.mp4"
        try:
            # Made already, when we were killed before it was written down?
            found = target.stat().st_size if target.exists() else 0
            spans = remux.unbroken(session, known)
            size = found or remux.to_mp4(self.ffmpeg, self.jobs.run, spans, target)
        except (JobError, OSError) as error:
            what = f"{channel.id}/{name}"
            if self._has_failed(what, channel.id, f"the recording of {name}", error):
                videos.give_up(channel.id, name, f"The recording could not be made: {error}", utcnow())
            return
        seconds = sum(segment.seconds for segment in known.segments)
        facts = {"duration": round(seconds), "size": size, "session_id": name}
        path = f"{channel.id}/{target.name}"
        if not videos.keep(channel.id, VideoType.RECORD, path, self.links, utcnow(), **facts):
            target.unlink(missing_ok=True)  # removed while it was made
        self.ring()

    def _storyboard(self, channel: Channel, folder: Path) -> None:
        try:
            size = remains.picture_size(folder) or (16, 9)
            sized = pictures.tile_size(*size)
            pictures.make_storyboard(self.ffmpeg, self.jobs.run, folder, whole(folder), sized)
        except (JobError, OSError) as error:
            self._has_failed(f"{channel.id}/s", channel.id, f"the storyboard of {channel.id}", error)

    def _download(self, video: Video) -> None:
        folder = self.media_dir / video.channel.id
        try:
            spans = [span for path, known in index.sessions(folder) for span in remux.unbroken(path, known)]
            if not self.guard.has_room_for(video.size):
                raise JobError(f"there is no room for it: {self.guard.words}")
            size = remux.to_mp4(self.ffmpeg, self.jobs.run, spans, folder / remains.DOWNLOAD)
        except (JobError, OSError) as error:
            if self._has_failed(video.id, video.channel.id, f"the download of {video.id}", error):
                del self.failed[video.id]
                videos.downloadable(video, None)
            return
        videos.downloadable(video, size)

    def _has_failed(self, what: str, channel_id: str, words: str, error: Exception) -> bool:
        """Whether it is time to give up; not when it is we who stop."""
        if self.stopping.is_set():
            return False
        self.failed[what] += 1
        self.failures += 1
        log.error("%s failed: %s", words, error, extra={"event": "job_failed", "channelId": channel_id})
        return self.failed[what] >= TRIES

    # Pictures of what is live: one at a time, so that many make them rarer and not the box slower.

    def take_pictures(self) -> float:
        sessions = [each for each in Session.all_open(self.node) if each.channel.thumbnail]
        here = {session.channel.id for session in sessions}
        for gone in self.pictured_at.keys() - here:
            del self.pictured_at[gone]
        for session in sessions:
            channel, mono = session.channel, time.monotonic()
            due_at = self.pictured_at.get(channel.id, float("-inf")) + channel.thumb_interval
            if self.stopping.is_set():
                break
            if channel.status == Status.LIVE and mono >= due_at and self._take(session):
                self.pictured_at[channel.id] = mono
        return IDLE_S

    def _take(self, session: Session) -> bool:
        channel, folder = session.channel, self.media_dir / session.channel.id
        signal = index.read_signal(folder / session.id)
        number = signal.get("lastNumber")
        if number is None or not signal["video"]:
            return False
        width, height = channel.thumb_width, channel.thumb_height
        segment, target = folder / session.id / f"{number}.ts", folder / pictures.THUMBNAIL
        try:
            pictures.take(self.ffmpeg, self.camera.run, segment, width, height, target)
            videos.pictured(channel.id, f"{channel.id}/{pictures.THUMBNAIL}", self.node)
        except (JobError, OSError) as error:
            if not self.stopping.is_set():
                log.warning(
                    "no picture of %s this time: %s", channel.id, error, extra={"channelId": channel.id}
                )
        return True


class Loop(threading.Thread):
    """A step again and again; it says how long it may rest, unless it is woken. A failure ends a step, not the loop."""

    def __init__(self, name: str, step: Callable[[], float], stopping: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.step = step
        self.stopping = stopping
        self.woken = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            self.woken.wait(self._once())
            self.woken.clear()
        database.close()

    def _once(self) -> float:
        try:
            database.connect(reuse_if_open=True)  # it may be away just when this thread begins
            return self.step()
        except (peewee.DatabaseError, OSError) as error:
            log.error("%s: %s: %s", self.name, type(error).__name__, error)
        except Exception:  # a bug in one step: the others, and the next try, go on
            log.exception("%s", self.name)
        return IDLE_S
