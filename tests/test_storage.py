"""What is on disk: the hook secret, and the orphans that a killed nginx leaves behind."""

import os
import resource
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from media.orphans import end_group
from media.storage import hook_secret, make_folders, open_for, playback_key, write_private, write_public
from tests.waiting import until


def test_whoever_asks_first_makes_the_hook_secret_and_all_get_the_same_whole_one(config):
    make_folders(config)
    found, barrier = [], threading.Barrier(16)

    def ask() -> None:
        barrier.wait()
        found.append(hook_secret(config))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found[0]) == 48
    assert [path.name for path in config.keys_dir.iterdir()] == ["hook"]
    assert playback_key(config) != found[0]


def test_a_folder_that_stands_where_a_link_is_to_be_keeps_nobody_out(config):
    """A media server that still writes to a session when its link has been taken away makes one."""
    make_folders(config)
    (config.ingest_dir / "a-token").mkdir()
    (config.ingest_dir / "a-token/7.ts").touch()
    folder = open_for(config, "ch_1", "ses_1", "a-token")
    assert (config.ingest_dir / "a-token").readlink() == folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("write", [write_private, write_public])
def test_a_file_that_a_full_disk_does_not_hold_stays_as_it_was_and_leaves_no_draft(tmp_path, write):
    """The worker's pulse alone would leave one a second."""
    write(tmp_path / "file", "before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # what a full disk is to a process
    try:
        with pytest.raises(OSError):
            write(tmp_path / "file", "after")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file", "before")]


LEADER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def family(mark: str) -> tuple[subprocess.Popen, psutil.Process]:
    """A process that leads a group, with a child in it; `mark` is in the leader's command line."""
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER, mark], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    return leader, psutil.Process(int(leader.stdout.readline()))


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def cleared(leader: subprocess.Popen, child: psutil.Process) -> None:
    if not gone(child):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait(5)
    leader.stdout.close()


def test_the_child_of_a_killed_leader_is_found_by_their_group_and_ended(tmp_path):
    leader, child = family("mine")
    (tmp_path / "pid").write_text(str(leader.pid))
    leader.kill()
    leader.wait(5)
    assert end_group(tmp_path / "pid", child.name(), mark="mine") == 1
    until(lambda: gone(child), 5, "the orphan is ended")
    cleared(leader, child)


def test_a_stranger_that_has_the_number_by_now_is_left_alone(tmp_path):
    leader, child = family("somebody else's")
    (tmp_path / "pid").write_text(str(leader.pid))
    assert end_group(tmp_path / "pid", child.name(), mark="mine") == 0
    assert leader.poll() is None
    cleared(leader, child)


def test_a_pid_file_from_before_the_boot_names_nobody(tmp_path):
    leader, child = family("mine")
    pid_file = tmp_path / "pid"
    pid_file.write_text(str(leader.pid))
    os.utime(pid_file, (1, 1))
    assert end_group(pid_file, child.name(), mark="mine") == 0
    cleared(leader, child)
