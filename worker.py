"""Everything that happens later: timers, reconciling, what is playable, webhook deliveries.

One step is `tick(now)`; the endless loop is a wrapper around it. Killed at any instant it loses nothing: what is
wanted is in the database, what is there is in the media server and the process table.
"""

import fcntl
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Any, TextIO

import peewee
import psutil

from config import Config, ConfigError, from_env
from db import database, fold_counters, to_ms, utcnow
from delivery.dispatcher import Dispatcher
from delivery.tally import tally
from keeper import Keeper, Loop
from live import nodes
from live.audience import Count
from live.health import Monitor
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import of_box
from live.reconcile import lost_all, reconcile, sessions_of
from live.retention import forget, give_back
from live.telling import told
from logs import set_up_logging
from media import ffmpeg, index, storage, tls, transcoders, watch
from media.playlog import Playlog
from media.servers import MediaServer, MediaServerError, choice
from media.transcoders import Transcoders
from models import Session, Status
from upkeep import membership
from upkeep.opening import PROBLEMS, opened
from wake import Bell, Doorman

log = logging.getLogger("worker")

LOOK_EVERY_S = 2.0
LOOK_AT_MOST_EVERY_S = 0.2
SWEEP_EVERY_S = 5.0
PULSE_EVERY_S = 1.0
COUNT_EVERY_S = 2.0
MEASURE_EVERY_S = 60.0
FOLD_EVERY_S = 5.0
FORGET_EVERY_S = 600.0
RENEW_EVERY_S = 2.0
# A worker that has not come round for so long gives no sign of life: nobody sees to its publishers.
STUCK_S = 30.0
# No answer is not "nobody publishes": a stopped nginx may go on. After this long its publishers are lost anyway.
UNREACHABLE_S = 8.0


class Worker:
    """The steps of a tick, each on its own clock. `now` is wall time, `mono` the monotonic clock in seconds."""

    def __init__(
        self,
        config: Config,
        lifecycle: Lifecycle,
        media: MediaServer | None,
        dispatcher: Dispatcher,
        keeper: Keeper,
    ) -> None:
        self.config = config
        self.node = config.node
        self.lifecycle = lifecycle
        self.media = media
        self.watch = watch.Watch()
        self.monitor = Monitor()
        self.signals: dict[
            str, dict[str, Any]
        ] = {}  # of the open sessions, as the packager described them last
        self.playlist_age_s = 0.0  # of the open session whose newest segment is the oldest
        self.transcoders = Transcoders(
            config.media_dir,
            config.transcoders_dir,
            program=ffmpeg.program(config.ffmpeg),
            rtmp_port=config.rtmp_port,
            cores=config.transcode_cores,
            tell=lambda session_id, ladder: lifecycle.laddered(session_id, ladder.told(), utcnow()),
            readable=choice.names_streams(config),
        )
        self.dispatcher = dispatcher
        playlog = Playlog(config.play_log, config.run_dir / "nginx.pid") if media else None
        self.count = Count(playlog, config.node)
        self.keeper = keeper
        self.renewal = tls.Renewal(config)
        self.stopping = threading.Event()
        self.began = time.time()
        self.steps_failed = 0
        self.last: dict[str, float] = {}
        self.media_seen_at: float | None = None
        self.media_problem = ""
        self.publishing: set[str] = set()  # sessions that the media server had at the last look
        self.letting_go = False  # of a session that is over, which the media server still has
        self.look_wanted = True
        self.forgetting = False
        self.stored_bytes: int | None = None
        self.measuring: threading.Thread | None = None
        self.roll = nodes.RollCall() if config.shares_database else None
        self.member = nodes.of_box(config, storage.box_id(config)) if media else None
        self.ticked_at = time.monotonic()
        self.displaced = ""
        self.leaving = threading.Event()
        self.heart = Loop("beat", self._beat, self.leaving)

    def run(self) -> None:
        """Until `stopping`. A failure in one step is logged, and the step tried again: the others go on."""
        with open(self.config.run_dir / "worker.lock", "w") as turn:
            if self._await(turn) and self._await_name():
                self._work()
            self.keeper.stop()
            self.dispatcher.stop()
            self.leaving.set()  # last: until then this node sees to its publishers
            self.heart.woken.set()
            if self.heart.is_alive():
                self.heart.join()
        if self.displaced:
            raise nodes.DisplacedError(self.displaced)
        log.info("stopped", extra={"event": "part_stopped"})

    def _work(self) -> None:
        log.info("at work", extra={"event": "part_started"})
        doorman = Doorman(self.config.wake_socket)
        with database.connection_context():
            self.dispatcher.start()
            self.keeper.start()
            if self.member and self.roll:
                self.heart.start()
            elif self.member:  # the only node there can be: nobody listens
                self._step("node", lambda: self.member.beat(utcnow()))
            rung = True
            while not self.stopping.is_set():
                pause = self.tick(utcnow(), time.monotonic(), rung)
                rung = doorman.wait(pause)
        doorman.close()

    def stop(self) -> None:
        self.stopping.set()

    def _await(self, turn: TextIO) -> bool:
        """One worker works at a time: two would undo each other's work. A second one waits."""
        while not self.stopping.is_set():
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.warning("another worker is at work with this DATA_DIR; waiting for it to end")
                self.stopping.wait(5)
            else:
                return True
        return False

    def _await_name(self) -> bool:
        """A second box of this node's name would end the first one's sessions: it waits until that is silent."""
        while self.member and self.roll and not self.stopping.is_set():
            try:
                with database.connection_context():
                    membership.check_name(self.config)
            except (membership.StrangerError, peewee.DatabaseError) as error:
                log.error("%s", error, extra={"event": "node_refused"})
                self.stopping.wait(5)
            else:
                break
        return not self.stopping.is_set()

    def tick(self, now: datetime, mono: float, rung: bool) -> float:
        """One step of everything that is due; returns how many seconds may pass before the next."""
        if rung:
            self.dispatcher.wake()
            self.keeper.wake()
            self.look_wanted = True
        self.ticked_at = mono
        if self.roll and self._due("roll", mono, nodes.BEAT_EVERY_S):
            self._step("roll", lambda: self._call_roll(now, mono))
        self._step("timers", lambda: self.lifecycle.run_due(now))
        if self.media:
            soon = self.look_wanted or self.letting_go
            if self._due("look", mono, LOOK_AT_MOST_EVERY_S if soon else LOOK_EVERY_S):
                self.look_wanted = False
                self._step("media server", lambda: self._look(now, mono))
            self._step("sessions", lambda: self._tend_sessions(now, mono))
            self._step("transcoders", lambda: self._transcode(mono))
            if rung or self.letting_go or self._due("sweep", mono, SWEEP_EVERY_S):
                self._step("sweep", self._sweep)
            if self._due("orphans", mono, FORGET_EVERY_S):
                self._step("orphans", self.keeper.find_orphans)
        if self.count.behind or self._due("viewers", mono, COUNT_EVERY_S):
            self._step("viewers", lambda: self.count.step(now))
        if self._due("counters", mono, FOLD_EVERY_S):
            self._step("counters", fold_counters)
        if self._due("measure", mono, MEASURE_EVERY_S):
            self._step("measure", self._measure)
        if self.config.tls_cert and self._due("certificate", mono, RENEW_EVERY_S):
            self._step("certificate", self.renewal.look)
        if self.forgetting or self._due("retention", mono, FORGET_EVERY_S):
            self._step("retention", lambda: self._forget(now))
        if self._due("pulse", mono, PULSE_EVERY_S):
            self._step("pulse", self._pulse)
        return 0.1 if self.media and (self.look_wanted or self.letting_go) else 0.5

    def _step(self, name: str, act: Callable[[], object]) -> None:
        if self.stopping.is_set():
            return
        try:
            act()
        except (peewee.DatabaseError, OSError, MediaServerError) as error:
            self.steps_failed += 1
            log.error("%s: %s: %s", name, type(error).__name__, error, extra={"event": "step_failed"})
        except Exception:  # a bug in one step: the others, and the next try, go on
            self.steps_failed += 1
            log.exception("%s", name, extra={"event": "step_failed"})

    def _due(self, name: str, mono: float, every_s: float) -> bool:
        if mono - self.last.get(name, float("-inf")) < every_s:
            return False
        self.last[name] = mono
        return True

    def _goes_on(self) -> bool:
        """Asked within a step that has much to do, as after a restart with thousands of sessions to end: whether
        nobody wants the worker to stop. Meanwhile it gives its signs of life."""
        self.ticked_at = time.monotonic()
        if self._due("sign of life", self.ticked_at, PULSE_EVERY_S):
            self._step("pulse", self._pulse)
        return not self.stopping.is_set()

    def _call_roll(self, now: datetime, mono: float) -> None:
        self.roll.step(self.node, self.lifecycle.unpublish, now, mono, self._goes_on)

    def _beat(self) -> float:
        """A sign of life for the other nodes: from a thread of its own, as a tick may wait for the database. None
        while the media server does not answer, for then this node takes no publishers."""
        if not self.media_problem and self.media_seen_at and time.monotonic() - self.ticked_at < STUCK_S:
            try:
                self.member.beat(utcnow())
            except nodes.DisplacedError as error:
                self.displaced = str(error)
                self.stop()
        return nodes.BEAT_EVERY_S

    def _look(self, now: datetime, mono: float) -> None:
        try:
            look = self.media.look()
        except MediaServerError as error:
            if not self.media_problem:
                log.warning("the media server: %s", error, extra={"event": "media_down"})
            self.media_problem = str(error)
            # A worker that has just started has not waited yet.
            self.media_seen_at = mono if self.media_seen_at is None else self.media_seen_at
            if error.gone or mono - self.media_seen_at >= UNREACHABLE_S:
                lost_all(self.lifecycle, now, self._goes_on)
                self.publishing = set()
            return
        if self.media_problem:
            log.info("the media server answers again", extra={"event": "media_up"})
        self.publishing = sessions_of(look.publishers)
        self.media_seen_at, self.media_problem = mono, ""
        found = look.instance, look.publishers, now, self.signals, self.monitor, self._goes_on
        unwanted = reconcile(self.lifecycle, *found)
        for client_id in unwanted:
            log.info("dropping client %s of %s, which may not publish any more", client_id, self.media.name)
            self.media.drop(client_id)

    def _tend_sessions(self, now: datetime, mono: float) -> None:
        sessions = {session.id: session for session in Session.all_open(self.node)}
        self.watch.forget_all_but(set(sessions))
        self.signals = {
            session.id: index.read_signal(self.config.media_dir / session.channel.id / session.id)
            for session in sessions.values()
        }
        sending = [self.signals[each.id] for each in sessions.values() if each.silent_since is None]
        ends = [signal["lastEndsMs"] for signal in sending if signal.get("lastEndsMs")]
        self.playlist_age_s = max(0.0, (to_ms(now) - min(ends)) / 1000) if ends else 0.0
        for session in sessions.values():
            if not self._goes_on():
                return
            signal = self.signals[session.id]
            announced = bool(session.video) if session.video or session.audio else None
            state = self.watch.judge(session.id, signal, session.silent_since is None, mono, announced)
            if state == "playable" and session.channel.status != Status.LIVE:
                self.lifecycle.playable(session.id, now)
            if state == "unplayable" and session.channel.status != Status.ERROR:
                self.lifecycle.unplayable(session.id, watch.reason(signal, announced), now)

    def _transcode(self, mono: float) -> None:
        jobs = [
            transcoders.Job(
                session.channel.id,
                session.id,
                tuple(session.channel.transcode_profile),
                session.silent_since is None,
                self.signals.get(session.id, {}),
            )
            for session in Session.all_open(self.node)
        ]
        self.transcoders.sync(jobs, mono)

    def _sweep(self) -> None:
        """Close what nobody publishes to any more, once the media server has let go of it: its last segment counts."""
        ingest_dir = self.config.ingest_dir
        links = storage.taken_in(ingest_dir)  # read first: a session that is written later is not among them
        sessions = {session.id: session for session in Session.all_open(self.node)}
        over = links.keys() - sessions.keys()
        self.letting_go = bool(over & self.publishing)
        storage.close_for(ingest_dir, over - self.publishing)
        self.keeper.renew_jobs(sessions.values())

    def _forget(self, now: datetime) -> None:
        """A little in each tick, until all of it is done."""
        self.forgetting = False  # should it fail, it is tried again in its own time, not in every tick
        self.forgetting = forget(self.config.kept_for, now) > 0 or give_back() > 0

    def _measure(self) -> None:
        """On the side: many files take a while to look at, and nothing waits for the sum. One look at a time, or
        they would make each other ever slower."""
        self.transcoders.trim_logs()
        if self.measuring and self.measuring.is_alive():
            return

        def look() -> None:
            self.stored_bytes = storage.bytes_below(self.config.media_dir)

        self.measuring = threading.Thread(target=look, name="measure", daemon=True)
        self.measuring.start()

    def _pulse(self) -> None:
        """A sign of life that web can read without asking anybody."""
        media = "none" if self.media is None else self.media_problem or "ok"
        measured = {"cpu": psutil.cpu_percent() / 100, "stored": self.stored_bytes}
        pulse = {"at": time.time(), "media": media} | measured | self._counted()
        storage.write_private(self.config.pulse_file, json.dumps(pulse))

    def _counted(self) -> dict[str, Any]:
        """For /metrics, which web answers: counted since this process began."""
        return {
            "pid": os.getpid(),
            "began": self.began,
            "timeline": told(),
            "deliveries": tally.tell(),
            "renditions": self.transcoders.count(),
            "disk_level": self.keeper.guard.level,
            "jobs_failed": self.keeper.failures,
            "store": self.keeper.mover.counted(),
            "playlist_age": self.playlist_age_s,
            "steps_failed": self.steps_failed,
        }


def build(config: Config) -> Worker:
    """A worker with everything it needs; nothing is started yet."""
    bell, dispatcher = Bell(config.wake_socket), Dispatcher(config)

    def ring() -> None:
        dispatcher.wake()  # at once: the bell is heard only when the tick that rings it is over
        bell.ring()

    links = of_box(config)
    lifecycle = Lifecycle(links, Limits(config.user_limits), ring)
    return Worker(config, lifecycle, choice.media_server(config), dispatcher, Keeper(config, links, ring))


def main() -> None:
    with ExitStack() as at_work:
        try:
            config = from_env(os.environ)
            set_up_logging("worker", config.log_format)
            at_work.enter_context(opened(config, utcnow(), thorough=False))
        except (ConfigError, *PROBLEMS) as error:
            sys.exit(str(error))
        except (OSError, peewee.DatabaseError) as error:
            sys.exit(f"DATA_DIR or DATABASE_URL cannot be used: {error}.")
        worker = build(config)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        try:
            worker.run()
        except nodes.DisplacedError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
