"""The packager: makes playlists of what nginx writes to disk, for all channels of the box.

It outlives the worker, knows no database, and keeps nothing that is not on disk: killed at any instant, the next one
goes on where it was, while nginx goes on writing segments.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from config import Config, ConfigError, from_env
from logs import set_up_logging
from media.broadcast import Broadcast, make_room
from media.disk import is_full
from media.intake import Intake
from media.storage import taken_in
from wake import Bell

log = logging.getLogger("packager")

LOOK_EVERY_S = 0.1
LOOK_CLOSELY_EVERY_S = 0.04  # where a channel wants ultra-low latency: a frame's time
AGAIN_MS = 1000  # after a failure
REREAD_EVERY_S = 5.0


class Packager:
    """Looks after every session that the media server may write to: those that `ingest` has a link for."""

    def __init__(self, ingest: Path, ring: Callable[[], None]) -> None:
        self.ingest = ingest
        self.ring = ring
        self.broadcasts: dict[str, Broadcast] = {}
        self.not_before: dict[str, int] = {}
        self.reread_at = 0.0
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            self.stopping.wait(self.look(time.time_ns() // 1_000_000, time.monotonic()))

    def stop(self) -> None:
        self.stopping.set()

    def look(self, now_ms: int, mono: float) -> float:
        """One look at everything; returns how many seconds may pass before the next."""
        rung = False
        reread = mono >= self.reread_at
        if reread:
            self.reread_at = mono + REREAD_EVERY_S
        links = taken_in(self.ingest)
        for session_id in self.broadcasts.keys() - links.keys():
            self._finish(session_id, now_ms)
        if reread and is_full(self.ingest):
            self._make_room(links, now_ms)
        for session_id, link in links.items():
            if self.not_before.get(session_id, 0) <= now_ms:
                rung |= self._look_at(session_id, link, now_ms, reread=reread)
        self.not_before = {name: at for name, at in self.not_before.items() if at > now_ms}
        if rung:
            self.ring()
        closely = any(broadcast.slicer for broadcast in self.broadcasts.values())
        return LOOK_CLOSELY_EVERY_S if closely else LOOK_EVERY_S

    def _look_at(self, session_id: str, link: Path, now_ms: int, *, reread: bool) -> bool:
        """One that cannot be served (disk full, folder gone) must not hold up the others; it starts over from disk."""
        try:
            broadcast = self.broadcasts.get(session_id)
            if broadcast is None:
                broadcast = self.broadcasts[session_id] = Broadcast(Intake(link.resolve(strict=True)))
            elif reread:
                broadcast.reread_job()
            return broadcast.look(now_ms)
        except FileNotFoundError:
            log.info("%s is being removed", session_id, extra={"sessionId": session_id})
        except Exception as error:  # a segment that nobody foresaw: the others, and the next try, go on
            log.error(
                *("%s: %s: %s", session_id, type(error).__name__, error),
                exc_info=not isinstance(error, OSError),
                extra={"sessionId": session_id},
            )
        self.broadcasts.pop(session_id, None)
        self.not_before[session_id] = now_ms + AGAIN_MS
        return False

    def _make_room(self, links: dict[str, Path], now_ms: int) -> None:
        """Nobody can write: nginx no segment, the worker no word that DVR is to be shortened. Then all starts over."""
        log.warning("the disk is full to the last byte: making room", extra={"event": "disk_full"})
        for session_id, link in links.items():
            try:
                make_room(link.resolve(strict=True), now_ms)
            except FileNotFoundError:
                continue  # it is being removed
            except OSError as error:
                log.error("no room can be made in %s: %s", session_id, error, extra={"sessionId": session_id})
        self.broadcasts.clear()

    def _finish(self, session_id: str, now_ms: int) -> None:
        try:
            self.broadcasts.pop(session_id).finish(now_ms)
        except FileNotFoundError:
            log.info("%s has been removed", session_id, extra={"sessionId": session_id})
        except OSError as error:
            log.error("%s: %s: %s", session_id, type(error).__name__, error, extra={"sessionId": session_id})
        self.ring()


def build(config: Config) -> Packager:
    return Packager(config.ingest_dir, Bell(config.wake_socket).ring)


def main() -> None:
    try:
        config = from_env(os.environ)
    except ConfigError as error:
        sys.exit(str(error))
    set_up_logging("packager", config.log_format)
    packager = build(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: packager.stop())
    log.info("at work", extra={"event": "part_started"})
    packager.run()
    log.info("stopped", extra={"event": "part_stopped"})


if __name__ == "__main__":
    main()
