"""The real box for tests: script/server as a person starts it, with real encoders in front of it."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import postgres
from tests.waiting import until

PROJECT = Path(__file__).resolve().parent.parent
# Debian's, on purpose: the encoder must not be the ffmpeg that packages.
FFMPEG = "/usr/bin/ffmpeg"
TOKEN_ID, TOKEN_SECRET = "root", "a-root-secret-for-tests"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass
class Box:
    """A running installation in a folder of its own, on ports of its own."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    ca: Path | None = None  # who has signed TLS_CERT
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        if postgres.WANTED:
            self.settings = {"DATABASE_URL": postgres.url_for(self.folder)} | self.settings
        self.port, self.http_port, self.rtmp_port, self.rtmps_port = free_ports(4)
        self.url = f"{'https' if self.ca else 'http'}://127.0.0.1:{self.http_port}"
        self.tls = ssl.create_default_context(cafile=self.ca) if self.ca else None
        self.data_dir = self.folder / "data"
        self.log = self.folder / "box.log"
        self.database_url = self.settings.get("DATABASE_URL", f"sqlite:///{self.data_dir}/livestream.db")

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
            "HTTP_PORT": str(self.http_port),
            "RTMP_PORT": str(self.rtmp_port),
            "RTMPS_PORT": str(self.rtmps_port),
            "PUBLIC_URL": self.url,
            "MEDIA_SERVER": "nginx-rtmp",
            "LIVE_TOKEN_ID": TOKEN_ID,
            "LIVE_TOKEN_SECRET": TOKEN_SECRET,
        }
        return os.environ | own | self.settings

    def start(self) -> None:
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [PROJECT / "script/server"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(self.ready, 60, f"the box is ready; its log is {self.log}")

    def ready(self) -> bool:
        assert self.process.poll() is None, f"the box ended: {self.log.read_text()[-2000:]}"
        try:
            return self.call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def stop(self) -> int:
        """Ctrl-C, as a person does it."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def call(self, method: str, path: str, body: Any = None, *, token: bool = True) -> tuple[int, Any]:
        """A request through the public port, as an App Server sends it: status and JSON."""
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        if token:
            credentials = b64encode(f"{TOKEN_ID}:{TOKEN_SECRET}".encode()).decode()
            request.add_header("Authorization", f"Basic {credentials}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.tls) as reply:
                return reply.status, json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            return error.code, json.loads(text) if text.startswith(b"{") else text

    def create(self, **fields: Any) -> dict[str, Any]:
        status, reply = self.call("POST", "/v1/live", {"name": "A broadcast"} | fields)
        assert status == 201, reply
        return reply["data"]

    def read(self, path: str) -> Any:
        """The data at a path; ConnectionError, for which `until` waits, while a part is not there."""
        status, reply = self.call("GET", path)
        if status >= 500:
            raise ConnectionError(f"{status} {reply}")
        return reply["data"]

    def channel(self, channel_id: str) -> dict[str, Any]:
        return self.read(f"/v1/live/{channel_id}")

    def sessions(self, channel_id: str) -> list[dict[str, Any]]:
        return self.read(f"/v1/live/{channel_id}/session")

    def timeline(self, channel_id: str) -> list[dict[str, Any]]:
        """What happened, oldest first."""
        return self.read(f"/v1/live/{channel_id}/event?length=100")[::-1]

    def await_status(self, channel_id: str, status: str, timeout_s: float = 15) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            found = self.call("GET", f"/v1/live/{channel_id}")
            return found[1]["data"] if found[0] == 200 and found[1]["data"]["status"] == status else None

        return until(reached, timeout_s, f"{channel_id} is {status}")

    def playlist(self, channel_id: str) -> str:
        return self.get(f"/play/{channel_id}/source.m3u8")

    def get(self, path: str) -> str:
        """The text at a public path; an empty one where there is nothing."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=5, context=self.tls) as reply:
                return reply.read().decode()
        except urllib.error.HTTPError as error:
            error.close()
            return ""

    def pid(self, program: str) -> int:
        """The process that supervisor runs as web, worker or media."""
        asked = subprocess.run(
            [
                PROJECT / ".venv/bin/supervisorctl",
                "-c",
                self.data_dir / "run/supervisord.conf",
                "pid",
                program,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return int(asked.stdout)

    def await_pid(self, program: str, other_than: int) -> int:
        """The pid of a program that supervisor has started again."""

        def restarted() -> int:
            pid = self.pid(program)
            return pid if pid not in (0, other_than) else 0

        return until(restarted, 20, f"{program} runs again")


class Encoder:
    """An encoder that pushes a test picture; `stubborn` ones connect again whenever they are cut off."""

    def __init__(
        self,
        box: Box,
        key: str,
        *,
        size: str = "640x360",
        fps: int = 25,
        gop: int = 25,
        stubborn: bool = False,
        via_port: int | None = None,
        tls: bool = False,
    ) -> None:
        port = via_port or (box.rtmps_port if tls else box.rtmp_port)
        self.url = f"{'rtmps' if tls else 'rtmp'}://127.0.0.1:{port}/live/{key}"
        self.argv = [
            *(FFMPEG, "-nostdin", "-loglevel", "error", "-re"),
            *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={fps}"),
            *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(gop)),
            *("-b:v", "600k", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k"),
            *("-f", "flv", self.url),
        ]
        self.stubborn = stubborn
        self.stopping = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self.thread: threading.Thread | None = None

    def __enter__(self) -> "Encoder":
        self._start()
        if self.stubborn:
            self.thread = threading.Thread(target=self._again_and_again)
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _again_and_again(self) -> None:
        while not self.stopping.wait(0.1):
            if self.process.poll() is not None:
                self.stopping.wait(0.5)
                if not self.stopping.is_set():
                    self._start()

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.stopping.set()
        if self.thread:
            self.thread.join()
        if self.process.poll() is None:
            self.process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def refused(self, timeout_s: float = 20) -> bool:
        """Whether it was turned away: it ends by itself, with an error."""
        return self.process.wait(timeout_s) != 0


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """pytest's own folders, named for the test, are too long for the Unix sockets in them."""
    with tempfile.TemporaryDirectory(prefix="box-") as name:
        yield Path(name)


@contextlib.contextmanager
def running_box(folder: Path, ca: Path | None = None, **settings: str) -> Iterator[Box]:
    """A box of this test's own; it must stop cleanly, with no process left."""
    box = Box(folder, settings, ca)
    box.start()
    try:
        yield box
    finally:
        box.stop()


@contextlib.contextmanager
def source_address(port: int, address: str) -> Iterator[int]:
    """A port that leads to this one as if from another loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        closing = threading.Event()
        thread = threading.Thread(target=_relay, args=(listener, port, address, closing))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            closing.set()
            thread.join()


def _relay(listener: socket.socket, port: int, address: str, closing: threading.Event) -> None:
    pumps: list[threading.Thread] = []
    while not closing.is_set():
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        server = socket.create_connection(("127.0.0.1", port), source_address=(address, 0))
        for source, target in ((client, server), (server, client)):
            pumps.append(threading.Thread(target=_pump, args=(source, target, closing)))
            pumps[-1].start()
    for pump in pumps:
        pump.join()


def _pump(source: socket.socket, target: socket.socket, closing: threading.Event) -> None:
    source.settimeout(0.2)
    with source, contextlib.suppress(OSError):
        while not closing.is_set():
            try:
                data = source.recv(65536)
            except TimeoutError:
                continue
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)
