"""Processes that outlived whoever started them: found by what is on disk, and ended."""

import os
import signal
from pathlib import Path

import psutil

GRACE_S = 3.0


def end_group(pid_file: Path, name: str, mark: str) -> int:
    """End all processes called `name` in the process group that this pid file's process led; how many.

    A group's number is not given to a new process while a member is alive. Once all are gone it may be: hence
    `mark`, which a leader that is alive must have in its command line, and no pid file from before the boot.
    """
    try:
        leader = int(pid_file.read_text())
        if pid_file.stat().st_mtime < psutil.boot_time():
            return 0
        if mark not in " ".join(psutil.Process(leader).cmdline()):
            return 0
    except psutil.NoSuchProcess:
        pass  # killed, and its workers left behind
    except (OSError, ValueError):
        return 0
    members = [process for process in psutil.process_iter() if _belongs(process, leader, name)]
    return end(members)


def end(processes: list[psutil.Process], grace_s: float = GRACE_S) -> int:
    """TERM, wait, KILL; returns when they are gone."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    _, left = psutil.wait_procs(processes, timeout=grace_s)
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=grace_s)
    return len(processes)


def _belongs(process: psutil.Process, leader: int, name: str) -> bool:
    try:
        return os.getpgid(process.pid) == leader and process.name() == name
    except (ProcessLookupError, psutil.Error):
        return False


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
