"""Short programs that the worker has run: niced, one after the other, and ended with it.

A worker that is killed leaves one behind; the next ends it before it starts its own.
"""

import json
import logging
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import psutil

from media.storage import write_private

log = logging.getLogger(__name__)

NICE = 10
TOLD = 300  # bytes of what a program complained of


class JobError(Exception):
    """A program failed, and said why."""


class Runner:
    """Runs one program at a time. `note` is the file that says which one runs."""

    def __init__(self, note: Path, stopping: threading.Event) -> None:
        self.note = note
        self.stopping = stopping

    def run(self, argv: list[str], timeout_s: float) -> None:
        """Until it has ended; JobError where it failed, took too long, or we are to stop."""
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
            )
            try:
                self._write_down(process.pid)
                self._wait(process, timeout_s)
            finally:
                process.kill()
                process.wait()
                self.note.unlink(missing_ok=True)
            if process.returncode:
                said.seek(max(0, said.seek(0, 2) - TOLD))
                words = said.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise JobError(words or f"it ended with {process.returncode}")

    def _wait(self, process: "subprocess.Popen[bytes]", timeout_s: float) -> None:
        waited = 0.0
        while not self.stopping.is_set() and waited < timeout_s:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
                return
            waited += 0.5
        raise JobError("the worker stops" if self.stopping.is_set() else f"not done within {timeout_s:.0f} s")

    def _write_down(self, pid: int) -> None:
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(pid)
            found.nice(NICE)
            write_private(self.note, json.dumps({"pid": pid, "began": found.create_time()}))

    def end_leftover(self) -> None:
        """End what a worker that was killed has left behind; a pid that is another's by now is left alone."""
        with suppress(OSError, ValueError, psutil.NoSuchProcess):
            told = json.loads(self.note.read_text())
            found = psutil.Process(told["pid"])
            if found.create_time() == told["began"]:
                log.warning("ending process %s, which a worker that was killed has left behind", found.pid)
                found.kill()
        self.note.unlink(missing_ok=True)
