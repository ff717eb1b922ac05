"""Finished videos move to the S3-compatible store, and go from there: a loop of the keeper's (docs/operations.md).

As with the keeper there is no queue of single steps. A channel that is due (models_chores.py: Stored) has its objects
compared with what is wanted, and the difference made: whatever is killed, or refused by the store, is done again.
"""

import logging
import shutil
import threading
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from config import Config
from db import from_ms, run, to_ms, utcnow
from live import videos
from media import playlists, remains, remux, storage
from media.disk import Guard
from media.ffmpeg import program
from media.jobs import JobError, Runner
from media.objects import Store, StoreError
from media.remains import Wanted
from models import Channel
from models_chores import Stored
from models_search import Video

log = logging.getLogger("mover")

IDLE_S = 1.0
# For who has just asked for an old address: files are open, playlists are read.
STAYS = timedelta(seconds=60)
# A store that fails is asked again after this long, and ever more rarely.
PAUSE_S, LONGEST_PAUSE_S = 5.0, 600.0
SOON = timedelta(seconds=10)
TRIES = 3


def just_moved(channel: Channel, node: str, now: datetime) -> bool:
    """Whether the files of a channel that has moved stay here a little longer."""
    since = videos.moved_since(channel, node)
    return since is not None and now - from_ms(since) < STAYS


class Mover:
    """One thing at a time. Without a store it only writes down what one will have to do."""

    def __init__(self, config: Config, guard: Guard, stopping: threading.Event) -> None:
        self.node = config.node
        self.media_dir = config.media_dir
        self.fetched = config.media_dir / ".fetched"
        self.ffmpeg = program(config.ffmpeg)
        self.guard = guard
        self.stopping = stopping
        self.runner = Runner(config.run_dir / "move.json", stopping)
        self.store = Store(config.store, stopping) if config.store else None
        self.begun = False
        self.problem = ""
        self.pause_s = PAUSE_S
        self.failures = 0  # for the metrics
        self.failed: Counter[str] = Counter()  # downloads
        self.heard: dict[str, int] = {}  # channels whose files stay here a little longer

    def start(self) -> None:
        """Where there is no store any more, what somebody has copied back from it is served from here."""
        for channel_id in [] if self.store else videos.moved_channels(self.node):
            if all((self.media_dir / each.path).exists() for each in videos.at(channel_id, self.node)):
                videos.moved_back(channel_id, self.node)
                storage.unmark_moved(self.media_dir / channel_id)
                log.info("%s: its videos are back", channel_id, extra={"channelId": channel_id})

    def has(self, channel: Channel) -> bool:
        """Whether what this node had of it is in the store, and need not be here."""
        return self.store is not None and videos.moved_since(channel, self.node) is not None

    def hand_on(self, channel_id: str) -> None:
        """All is done for this channel's files here: the store's turn, if that changes anything for it."""
        channel, now = Channel.named(channel_id), utcnow()
        self.heard.pop(channel_id, None)
        if self._moves(channel) and videos.at(channel_id, self.node):
            Stored.begin(channel_id, self.node, now)
        else:
            Stored.look_again(channel_id, now)

    def keep_up(self, channel_id: str, newest: int) -> None:
        """Its files stay here a little longer; what is removed meanwhile goes from the store at once. `newest`: its
        newest chore, of which the store hears once."""
        if self.store and self.heard.get(channel_id) != newest:
            self.heard[channel_id] = newest
            channel = Channel.named(channel_id)
            if channel and self.has(channel):
                Stored.look_again(channel_id, utcnow())

    def _moves(self, channel: Channel | None) -> bool:
        """Whether what this node has of it is to move, and has not yet."""
        return bool(self.store and channel and videos.may_move(channel) and not self.has(channel))

    def counted(self) -> dict[str, int]:
        """For the metrics, since the start."""
        return {"uploads": self.store.sent if self.store else 0, "failures": self.failures}

    def step(self) -> float:
        """The first thing that is due; returns how long to wait for the next look."""
        if not self.begun:
            self._begin(utcnow())
        row = Stored.next(self.node, utcnow())
        video = None if row else videos.next_download(self.node, moved=True)
        if row is None and video is None:
            return IDLE_S
        try:
            if row:
                self._compare(row)
            else:
                self._make_download(video)
        except (StoreError, OSError) as error:
            return self._has_failed(error, row)
        if self.problem:
            log.info("the store does what it is asked again", extra={"event": "store_up"})
        self.problem, self.pause_s = "", PAUSE_S
        return 0.0

    def _begin(self, now: datetime) -> None:
        """What was finished before there was a store; marks that a restored box has not got."""
        run(
            """INSERT INTO stored (channel_id, node, due_at)
               SELECT DISTINCT channel.id, video.node, CAST(? AS BIGINT)
                 FROM video JOIN channel ON channel.pk = video.channel_id
                WHERE video.moved_at IS NULL AND video.node = ?
                  AND channel.status = 'ended' AND channel.playback = 'public'
                   ON CONFLICT (channel_id, node) DO NOTHING""",
            *(to_ms(now), self.node),
        )
        for channel_id in videos.moved_channels(self.node):
            storage.mark_moved(self.media_dir / channel_id)
        self.runner.end_leftover()
        shutil.rmtree(self.fetched, ignore_errors=True)
        self.begun = True

    def _compare(self, row: Stored) -> None:
        """Make what the store has of a channel what it is to have."""
        channel_id = row.channel_id
        channel, all_kept = Channel.named(channel_id), videos.of_channel(channel_id)
        kept = [each for each in all_kept if each.node == self.node]
        moves = bool(kept) and self._moves(channel)
        there = self.store.listed(channel_id)
        if moves:
            there = self._send(channel_id, wanted_of(kept), there)
        surplus = [name for name in there if not remains.is_for_store(name, wanted_of(all_kept))]
        self.store.remove(channel_id, surplus)
        if not kept:
            videos.not_pictured(channel_id, self.node)
        if not moves or self._write_down(row, kept, there):
            ours = wanted_of(kept)
            row.over(sum(size for name, size in there.items() if remains.is_for_store(name, ours)))

    def _send(self, channel_id: str, wanted: Wanted, there: dict[str, int]) -> dict[str, int]:
        """What is not there in its size; returns what is there then, as the store says it."""
        folder = self.media_dir / channel_id
        here = remains.to_store(folder, wanted)
        missing = [name for name, size in here.items() if there.get(name) != size]
        if missing:
            self.store.drop_halves(channel_id)
            for part in remains.in_order(missing):
                self.store.put(channel_id, part, folder)
            there = self.store.listed(channel_id)
        wrong = [name for name, size in here.items() if there.get(name) != size]
        if wrong:
            raise StoreError(f"{len(wrong)} of {len(here)} objects are not there in their size: {wrong[0]}")
        return there

    def _write_down(self, row: Stored, kept: list[Video], there: dict[str, int]) -> bool:
        """From here on addresses lead to the store; False where it is not time for that."""
        about = {"channelId": row.channel_id}
        if lost := [each.path for each in kept if each.path.partition("/")[2] not in there]:
            log.warning("%s is neither here nor in the store", lost[0], extra={"event": "video_lost"} | about)
            return True
        storage.mark_moved(self.media_dir / row.channel_id)
        if not videos.moved(row.channel_id, self.node, kept, utcnow()):
            row.put_off(utcnow() + SOON)  # something is still to be done for it here
            return False
        log.info("%s: %s videos", row.channel_id, len(kept), extra={"event": "videos_moved"} | about)
        return True

    def _has_failed(self, error: Exception, row: Stored | None) -> float:
        """Nothing is lost: what is here stays and plays. Others may have more luck than this channel."""
        if self.stopping.is_set():
            return IDLE_S
        if row:
            row.put_off(utcnow() + min(SOON * 2**row.tries, timedelta(seconds=LONGEST_PAUSE_S)))
        if isinstance(error, FileNotFoundError):
            return 0.0  # removed while it was sent
        self.failures += 1
        about = {"event": "store_failed"} | ({"channelId": row.channel_id} if row else {})
        what = getattr(error, "code", "") or type(error).__name__
        again, self.problem = what == self.problem, what
        log.log(logging.DEBUG if again else logging.ERROR, "%s: tried again", error, extra=about)
        pause_s, self.pause_s = self.pause_s, min(2 * self.pause_s, LONGEST_PAUSE_S)
        return pause_s

    def _make_download(self, video: Video) -> None:
        """The one file of a catch-up whose segments are in the store: made, kept and served here, like any other."""
        channel_id = video.channel.id
        folder = self.fetched / channel_id
        try:
            size = self._joined(video, folder)
            home = self.media_dir / channel_id
            home.mkdir(exist_ok=True)
            (folder / remains.DOWNLOAD).rename(home / remains.DOWNLOAD)
        except (JobError, StoreError, OSError) as error:
            self.failed[video.id] += 1
            if self.failed[video.id] >= TRIES and not self.stopping.is_set():
                del self.failed[video.id]
                videos.downloadable(video, None)
            raise error if isinstance(error, StoreError) else StoreError(f"no download: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        videos.downloadable(video, size)

    def _joined(self, video: Video, folder: Path) -> int:
        if not self.guard.has_room_for(2 * video.size):
            raise JobError(f"there is no room for it: {self.guard.words}")
        channel_id = video.channel.id
        self.store.fetch(channel_id, [playlists.SOURCE_DVR], folder)
        listed = playlists.parse((folder / playlists.SOURCE_DVR).read_text())
        self.store.fetch(channel_id, [entry.uri for entry in listed.entries], folder)
        spans = remains.spans_of(listed, folder)
        return remux.to_mp4(self.ffmpeg, self.runner.run, spans, folder / remains.DOWNLOAD)


def wanted_of(kept: list[Video]) -> Wanted:
    names = {each.path.partition("/")[2] for each in kept}
    return Wanted(catchup=playlists.MASTER_DVR in names, recordings=names - {playlists.MASTER_DVR})
