"""A container without an engine: the image's folder, processes and mounts of its own, one user, nothing it may become.

The network is that of whoever starts it: script/container-test has one of its own, in which the services of
compose.yml meet at 127.0.0.1.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.container.chroot import Image, inside
from tests.waiting import until

# Who is ended takes along what it has started. The kernel forgets that when the user changes, so setpriv says it again.
UNSHARED = ("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass
class Container:
    """Started by `start`; `volumes` are folders by their place inside, `secrets` texts by their name."""

    image: Image
    folder: Path
    environment: Mapping[str, str]
    volumes: Mapping[str, Path]
    secrets: Mapping[str, str] = field(default_factory=dict)
    hosts: Sequence[str] = ()
    tmpfs: Sequence[str] = ()
    read_only: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "container.log"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        script = "\n".join(
            ["set -e", *self._mounts(), f"exec {self._as_user()} {_words(self.image.command)}"]
        )
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [*UNSHARED, "/bin/sh", "-c", script],
                env=self.image.environment | dict(self.environment) | {"HOME": self._home()},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _mounts(self) -> list[str]:
        root, own = self.image.folder, self.folder
        (own / "hosts").write_text(
            "127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {name}\n" for name in self.hosts)
        )
        (own / "secrets").mkdir(exist_ok=True)
        for name, text in self.secrets.items():
            (own / "secrets" / name).write_text(text)
        lines = [
            f"mount --bind {root} {root}",
            f"mount -t proc proc {root}/proc",
            f"mount -t tmpfs tmpfs {root}/dev",
            f"mkdir {root}/dev/shm && mount -t tmpfs -o size=64m shm {root}/dev/shm",
            *(f"touch {root}/dev/{name} && mount --bind /dev/{name} {root}/dev/{name}" for name in DEVICES),
            f"ln -s /proc/self/fd {root}/dev/fd",
            f"ln -s /proc/self/fd/1 {root}/dev/stdout && ln -s /proc/self/fd/2 {root}/dev/stderr",
            f"mount --bind {own}/hosts {root}/etc/hosts",
            f"mount -t tmpfs tmpfs {root}/run && mkdir {root}/run/secrets",
            f"mount --bind {own}/secrets {root}/run/secrets",
            *(f"mount -t tmpfs -o noexec,nosuid,nodev tmpfs {root}{place}" for place in self.tmpfs),
        ]
        for place, folder in self.volumes.items():
            if (
                not folder.exists()
            ):  # as an engine fills a new volume: with what the image has there, owner and all
                subprocess.run(["cp", "-a", inside(self.image, place), folder], check=True)
            lines.append(f"mount --bind {folder} {root}{place}")
        if self.read_only:
            lines.append(f"mount -o remount,bind,ro {root}")
        return lines

    def _as_user(self) -> str:
        user, group = self.image.user.split(":")
        return (
            f"chroot {self.image.folder} setpriv --reuid={user} --regid={group} --clear-groups --no-new-privs"
            f" --bounding-set=-all --inh-caps=-all --pdeathsig=KILL env -C {self.image.workdir}"
        )

    def _home(self) -> str:
        users = (self.image.folder / "etc/passwd").read_text().splitlines()
        return next(
            line.split(":")[5] for line in users if line.split(":")[2] == self.image.user.split(":")[0]
        )

    def pid_1(self) -> int:
        """As this machine numbers it."""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return int(until(lambda: Path(children).read_text().split(), 10, "there is a first process")[0])

    def run(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """docker exec"""
        pid, (user, group) = self.pid_1(), self.image.user.split(":")
        return subprocess.run(
            [
                *("nsenter", f"--target={pid}", "--mount", "--pid", "--ipc", "--root"),
                *(f"--setuid={user}", f"--setgid={group}", "env", "-C", self.image.workdir, *command),
            ],
            env=self.image.environment | dict(self.environment) | {"HOME": self._home()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def zombies(self) -> list[str]:
        """Processes that have ended and that the first process has not noticed."""
        ask = "import psutil; print(*(p.pid for p in psutil.process_iter() if p.status() == 'zombie'))"
        return self.run("python", "-c", ask).stdout.split()

    def await_healthy(self, timeout_s: float = 60) -> float:
        """Seconds until the image's own HEALTHCHECK passes."""
        began = time.monotonic()

        def healthy() -> bool:
            assert self.process.poll() is None, (
                f"it ended ({self.process.returncode}):\n{self.told()[-3000:]}"
            )
            return self.run(*self.image.healthcheck.command()).returncode == 0

        until(healthy, timeout_s, f"healthy; its log is {self.log}")
        return time.monotonic() - began

    def stop(self, grace_s: float) -> tuple[int, float]:
        """docker stop: exit status and seconds. An engine would kill it when the time is over; here that is a fault."""
        began = time.monotonic()
        os.kill(self.pid_1(), getattr(signal, self.image.stop_signal))
        return self.process.wait(grace_s), time.monotonic() - began

    def kill(self) -> None:
        """docker kill"""
        os.kill(self.pid_1(), signal.SIGKILL)
        self.process.wait(30)

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()

    def told(self) -> str:
        return self.log.read_text(errors="replace")


def _words(command: Sequence[str]) -> str:
    return " ".join(json.dumps(each) for each in command)
