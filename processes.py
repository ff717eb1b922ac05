"""Several processes of web behind the same sockets (WEB_PROCESSES): the parent opens them, forks, and looks after its
children. It has no thread and no connection to the database, neither of which a fork would leave whole.

The sockets stay the parent's: while a child is replaced, whoever connects waits for another one or for the new one,
and is not refused. A child that is killed takes along what it was answering and nothing else.
"""

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from socket import socket

import together

log = logging.getLogger("web")

ASKING = {signal.SIGTERM, signal.SIGINT}
SIGNALS = {*ASKING, signal.SIGCHLD}
WELL_AFTER_S = 10.0  # who lived for so long did not die of its start
PAUSES_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
NO_ROOM_S = 2.0
PR_SET_PDEATHSIG = 1


class Child:
    """One of the processes; while none runs, when the next one is to be started."""

    def __init__(self, part: int) -> None:
        self.part = part
        self.pid = 0
        self.start_at = self.began = 0.0
        self.deaths = 0  # one soon after the other

    def start(self, serve: Callable[[], None], mono: float) -> None:
        try:
            self.began, self.pid = mono, _forked(self.part, serve)
        except OSError as error:  # no room for one more: those that are there go on
            self.start_at = mono + NO_ROOM_S
            log.error("process %d of web cannot be started: %s", self.part + 1, error)

    def reap(self, mono: float) -> int | None:
        """How it ended, if it has; then it is to be started again, later each time it dies at once."""
        pid, status = os.waitpid(self.pid, os.WNOHANG) if self.pid else (0, 0)
        if not pid:
            return None
        self.deaths = 1 if mono - self.began >= WELL_AFTER_S else self.deaths + 1
        self.pid, self.start_at = 0, mono + PAUSES_S[min(self.deaths, len(PAUSES_S)) - 1]
        return os.waitstatus_to_exitcode(status)


def keep(number: int, serve: Callable[[], None], sockets: list[socket]) -> None:
    """So many processes that `serve`, until SIGTERM or SIGINT and until what they were answering then is answered."""
    # Ignored, as some programs hand it down, the dead would vanish.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # They wait until they are asked for: no handler, and no moment in which one is missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    children = [Child(part) for part in range(number)]
    asked = False
    while not asked or any(child.pid for child in children):
        mono = time.monotonic()
        waiting = [] if asked else [child for child in children if not child.pid]
        for child in waiting:
            if child.start_at <= mono:
                child.start(serve, mono)
        pauses = [child.start_at - mono for child in waiting if not child.pid]
        heard = signal.sigtimedwait(SIGNALS, min(pauses, default=60.0))
        if heard and heard.si_signo in ASKING:
            asked = True
            for each in sockets:
                each.close()
            _ask(children)
        for child in children:
            _look(child, asked)


def listen_to_signals() -> None:
    """For a child that has its handlers: what was sent before is heard now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _ask(children: list[Child]) -> None:
    """To end in peace; a second time they do not (app.py)."""
    for child in children:
        if child.pid:
            os.kill(child.pid, signal.SIGTERM)


def _look(child: Child, asked: bool) -> None:
    pid, status = child.pid, child.reap(time.monotonic())
    if status is not None and not asked:
        together.counts.died(child.part)
        about = {"event": "web_died", "pid": pid, "exitStatus": status}
        pause = child.start_at - time.monotonic()
        again = f"in {pause:.0f} s" if pause > 0 else "now"
        log.error(
            "process %d of web (pid %d) ended, %d; another %s",
            child.part + 1,
            pid,
            status,
            again,
            extra=about,
        )


def _forked(part: int, serve: Callable[[], None]) -> int:
    """The pid of a new child, which never returns from here."""
    parent = os.getpid()
    if pid := os.fork():
        return pid
    status = 1
    try:
        os.setpgid(0, 0)  # a signal for the parent's group would be a second one after the parent's own
        _end_with(parent)
        together.take(part)
        serve()
        status = 0
    except BaseException:
        log.exception("process %d of web has failed", part + 1)
    finally:
        sys.stdout.flush()
        logging.shutdown()
        os._exit(status)  # nothing of the parent's is undone here


def _end_with(parent: int) -> None:
    """Killed outright, the parent takes its children along: no orphan keeps the port or the lock of DATA_DIR."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was faster
        os._exit(1)
