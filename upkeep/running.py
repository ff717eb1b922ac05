"""Who is at work with a DATA_DIR: processes share it; whoever exchanges its files has it alone.

A lock of the kernel's, so that it ends with the process that holds it, however that ends. Programs that we start do
not inherit it: Python closes its files to them.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from config import Config


class BusyError(Exception):
    """Somebody else is at work with this DATA_DIR."""


@contextmanager
def shared(config: Config) -> Iterator[None]:
    """For web, worker and commands: while any of them runs, nobody exchanges files below it."""
    with _open(config, "running") as mark:
        _lock(
            mark, fcntl.LOCK_SH, f"The files in {config.data_dir} are being exchanged. Try again in a minute."
        )
        yield


@contextmanager
def only_web(config: Config) -> Iterator[None]:
    """One web at a time: a second one would take the socket of the media server's hooks away from the first."""
    with _open(config, "web.lock") as mark:
        _lock(mark, fcntl.LOCK_EX, f"Another web is running with {config.data_dir}. Stop it first.")
        yield


@contextmanager
def alone(config: Config, why: str = "") -> Iterator[None]:
    """For what exchanges files: refused while anybody is at work, and nobody starts meanwhile."""
    busy = f"{why} A box is running with {config.data_dir}. Stop it first.".strip()
    with _open(config, "running") as mark, _open(config, "worker.lock") as worker:
        _lock(mark, fcntl.LOCK_EX, busy)
        _lock(worker, fcntl.LOCK_EX, busy)  # of releases whose web and worker do not share the other one yet
        yield


def _open(config: Config, name: str) -> IO[str]:
    mark = open(os.open(config.run_dir / name, os.O_CREAT | os.O_RDWR, 0o600), "w")  # noqa: SIM115
    if os.geteuid() == 0:  # a command that root gives must not lock out the box's own user
        owner = config.run_dir.stat()
        os.fchown(mark.fileno(), owner.st_uid, owner.st_gid)
    return mark


def _lock(mark: IO[str], how: int, otherwise: str) -> None:
    try:
        fcntl.flock(mark, how | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(otherwise) from None
