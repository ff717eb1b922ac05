"""One installation under test: web, worker, a media server, a receiver, an App Server, and all that they say.

The processes are real, but for the media server, which writes a recording's segments; the real one is in
test_real_box.py.
"""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from config import from_env
from media.storage import make_folders
from tests.box import PROJECT, TOKEN_ID, TOKEN_SECRET, free_ports
from tests.faults.nginx import FakeNginx
from tests.faults.witness import Witness
from tests.waiting import until

HEALED_WITHIN_S = 10.0  # contract, section 8


class Part:
    """A process of the installation. Its log comes through a pipe: a full disk must not silence it."""

    def __init__(self, name: str, argv: list[str], environment: dict[str, str], cwd: Path) -> None:
        self.name = name
        self.process = subprocess.Popen(
            argv,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        self.lines.extend(self.process.stdout)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def end(self, number: int = signal.SIGTERM, timeout_s: float = 30) -> int:
        if self.running:
            self.process.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 30) -> int:
        code = self.process.wait(timeout_s)
        self.reader.join(10)
        self.process.stdout.close()
        return code


class World(Witness):
    def __init__(self, folder: Path, **settings: str) -> None:
        for name in ("cwd", "tmp", "home"):
            (folder / name).mkdir()
        port, http_port, rtmp_port = free_ports(3)
        self.environment = {
            "DATA_DIR": str(folder / "data"),
            "PORT": str(port),
            "HTTP_PORT": str(http_port),
            "RTMP_PORT": str(rtmp_port),
            "PUBLIC_URL": "http://live.example",
            "MEDIA_SERVER": "nginx-rtmp",
            "WORKER": "apart",
            "LIVE_TOKEN_ID": TOKEN_ID,
            "LIVE_TOKEN_SECRET": TOKEN_SECRET,
        } | settings
        super().__init__(folder, from_env(self.environment), port)
        make_folders(self.config)  # for the media server, which is there first
        self.clock = folder / "clock"
        self.parts: list[Part] = []
        self.web: Part | None = None
        self.worker: Part | None = None
        self.packager: Part | None = None
        self.nginx = FakeNginx(
            self.config.media_socket,
            self.config.hook_socket,
            lambda: (self.config.keys_dir / "hook").read_text().strip(),
            self.config.ingest_dir,
            self.history,
        )

    def __enter__(self) -> "World":
        self.receiver.__enter__()
        self.nginx.start()
        self.start_web()
        self.start_worker()
        self.packager = self.start_part("packager")
        return self

    def __exit__(self, *_: object) -> None:
        for part in self.parts:
            if part.running:
                part.end(signal.SIGKILL)
        self.nginx.die()
        self.receiver.__exit__()
        self.history.close()

    # Processes.

    def start_web(self) -> None:
        began = time.monotonic()
        self.web = self.start_part("app")
        until(self.answering, 20, "the API answers")
        self.history.write("started", part="web", took=round(time.monotonic() - began, 2))

    def start_worker(self, kill_at: str = "") -> Part:
        """At work when it returns, or dead already if it is to die."""
        self.config.pulse_file.unlink(missing_ok=True)
        self.worker = self.start_part("worker", *(["--kill-at", kill_at] if kill_at else []))
        until(lambda: self.config.pulse_file.exists() or not self.worker.running, 20, "a worker is at work")
        assert kill_at or self.worker.running, "".join(self.worker.lines)
        return self.worker

    def start_part(self, module: str, *argv: str, **settings: str) -> Part:
        argv = ("tests.faults.victim", module, *argv, "--clock", str(self.clock))
        return self._start({"app": "web"}.get(module, module), argv, settings, self.folder / "cwd")

    def command(self, *argv: str) -> Part:
        """flask --app app ..., as a person gives it."""
        return self._start("command", ("flask", "--app", "app", *argv), {}, PROJECT)

    def _start(self, name: str, module: tuple[str, ...], settings: dict[str, str], cwd: Path) -> Part:
        own = {
            "PYTHONPATH": str(PROJECT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.folder / "tmp"),
            "HOME": str(self.folder / "home"),
            "PATH": os.environ["PATH"],
        }
        part = Part(name, [sys.executable, "-m", *module], own | self.environment | settings, cwd)
        self.parts.append(part)
        return part

    def answering(self) -> bool:
        assert self.web.running, "".join(self.web.lines)
        try:
            return self._ask("GET", "/healthz", None, {}, 5).status == 200
        except http.client.HTTPException:
            return False

    def kill(self, part: Part) -> None:
        self.fault("kill -9", part=part.name)
        part.end(signal.SIGKILL)

    def log(self) -> str:
        return "".join(line for part in self.parts for line in part.lines)
