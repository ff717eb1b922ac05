"""`python app.py` as a process of its own: the control plane alone, with what a test asks of it over sockets."""

import http.client
import json
import os
import resource
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.box import PROJECT, TOKEN_ID, TOKEN_SECRET, free_ports
from tests.waiting import until

AUTHORIZATION = f"Basic {b64encode(f'{TOKEN_ID}:{TOKEN_SECRET}'.encode()).decode()}"


@dataclass
class Web:
    """A running web process."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def database(self) -> Path:
        return self.data_dir / "livestream.db"

    @property
    def log(self) -> Path:
        return self.folder / "web.log"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of a request on a connection of its own."""
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Authorization": AUTHORIZATION, "Content-Type": "application/json"}
        asking.request(method, path, None if body is None else json.dumps(body), headers)
        reply = asking.getresponse()
        told = reply.status, json.loads(reply.read() or b"null")
        asking.close()
        return told

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def hook(self, call: str, name: str, client_id: int) -> int:
        """The status that nginx gets for this call, over the Unix socket."""
        asking = http.client.HTTPConnection("localhost", timeout=30)
        asking.sock = socket.socket(socket.AF_UNIX)
        asking.sock.settimeout(30)
        asking.sock.connect(str(self.data_dir / "run/hooks.sock"))
        secret = (self.data_dir / "keys/hook").read_text().strip()
        fields = {"app": "live", "addr": "127.0.0.1", "clientid": client_id, "call": call, "name": name}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        asking.request("POST", f"/hooks/nginx-rtmp/{secret}?instance=aa", urlencode(fields), headers)
        status = asking.getresponse().status
        asking.close()
        return status


@contextmanager
def web(folder: Path, open_files: int | None = None, **settings: str) -> Iterator[Web]:
    """A web process until the block ends; `open_files` is how many its system lets it have by default."""
    [port] = free_ports(1)
    own = {"DATA_DIR": str(folder / "data"), "PORT": str(port), "MEDIA_SERVER": "none", "WORKER": "apart"}
    own |= {"LIVE_TOKEN_ID": TOKEN_ID, "LIVE_TOKEN_SECRET": TOKEN_SECRET}
    with open(folder / "web.log", "ab") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=PROJECT,
            env=os.environ | own | settings,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=limited(open_files) if open_files else None,
        )
    running = Web(folder, port, process)
    try:
        until(running.listens, 30, f"web listens; its log is {running.log}")
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def limited(open_files: int) -> Callable[[], None]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, hard))
