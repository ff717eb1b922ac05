"""app.py or worker.py as they are, in a process that can be made to kill itself with -9 at a chosen point.

    python -m tests.faults.victim app            a request with X-Kill-At: statement:7 or reply:1 is the last
    python -m tests.faults.victim worker --kill-at sent:2

`statement:7` dies before the thread's 7th SQL statement runs, BEGIN, COMMIT and those of triggers included; `reply`
when all is done and nothing is said yet. A worker also dies at its 2nd `send`, before anything went out, or `sent`,
when answers are in and not written down. Leases and pauses are short here, so that a round takes seconds; the clock
is ahead of the real one by what is in a file, so that it can jump.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import db
import db_sqlite

LEASE_S = 3
HASTE = 5


class Deaths(threading.local):
    """Where this thread is to die: points that are still to be passed, by kind."""

    def __init__(self) -> None:
        self.left: dict[str, int] = {}

    def arm(self, where: str) -> None:
        kind, _, number = where.partition(":")
        self.left = {kind: int(number or 1)} if kind else {}

    def at(self, kind: str) -> None:
        if kind in self.left:
            self.left[kind] -= 1
            if self.left[kind] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


deaths = Deaths()


def count_statements(here: Callable[[], None]) -> None:
    """Call `here` before every statement of every connection that is opened from now on."""
    connect = db_sqlite.Sqlite._add_conn_hooks

    def traced(self: db_sqlite.Sqlite, connection: Any) -> None:
        connect(self, connection)
        connection.set_trace_callback(lambda statement: here())

    db_sqlite.Sqlite._add_conn_hooks = traced


def mortal(make: Callable[..., Any]) -> Callable[..., Any]:
    """An app whose requests may say where the process is to die."""

    def made(*args: Any) -> Any:
        flask = make(*args)
        inner = flask.wsgi_app

        def outer(environ: dict[str, Any], start_response: Any) -> Any:
            deaths.arm(environ.get("HTTP_X_KILL_AT", ""))
            reply = inner(environ, start_response)
            deaths.at("reply")
            deaths.arm("")
            return reply

        flask.wsgi_app = outer
        return flask

    return made


def set_clock(file: Path) -> None:
    """Before anybody imports utcnow by name: now is later by the seconds that are in the file."""
    real = db.utcnow

    def shifted() -> Any:
        return real() + timedelta(seconds=float(file.read_text())) if file.exists() else real()

    db.utcnow = shifted


def hasten() -> None:
    from delivery import dispatcher, queue, schedule

    dispatcher.MEND_S = LEASE_S
    queue.LEASE = timedelta(seconds=LEASE_S)
    schedule.PAUSES = tuple(pause / HASTE for pause in schedule.PAUSES)


def run_app() -> None:
    import app

    count_statements(lambda: deaths.at("statement"))
    app.create_app, app.create_hook_app = mortal(app.create_app), mortal(app.create_hook_app)
    app.main()


def run_packager() -> None:
    import packager

    packager.main()


def run_worker(where: str) -> None:
    import worker
    from delivery import dispatcher

    if where:
        everywhere = Deaths()
        everywhere.arm(where)
        # A thread-local's attributes are each thread's own; all threads of a worker die together.
        points, start, record = everywhere.left, dispatcher.Sender.start, dispatcher.queue.record

        def at(kind: str) -> None:
            everywhere.left = points
            everywhere.at(kind)

        count_statements(lambda: at("statement"))
        dispatcher.Sender.start = lambda *args: (at("send"), start(*args))[1]
        dispatcher.queue.record = lambda *args: (at("sent"), record(*args))[1]
    worker.main()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["app", "packager", "worker"])
    parser.add_argument("--kill-at", default="", metavar="KIND:N")
    parser.add_argument("--clock", type=Path, required=True)
    asked = parser.parse_args()
    sys.argv = sys.argv[:1]
    set_clock(asked.clock)
    hasten()
    {"app": run_app, "packager": run_packager, "worker": lambda: run_worker(asked.kill_at)}[asked.part]()


if __name__ == "__main__":
    main()
