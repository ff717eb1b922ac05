"""`script/bench api`: how many requests a second, beside a bare handler that runs the same SQL, in the same run."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.table import Row
from tests.box import free_ports
from tests.conftest import ROOT_ID, ROOT_SECRET, basic
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENTS = 8
BODY = b'{"name": "A channel of the benchmark"}'


class Extent(NamedTuple):
    channels: int
    seconds: float  # of each call, in each round


WHOLE = Extent(1000, 4.0)
QUICK = Extent(20, 0.2)


def rows(folder: Path, rounds: int, extent: Extent = WHOLE) -> list[Row]:
    """GET one, list and POST; ours and the peer's take turns, so that both see the same machine."""
    data = folder / "data"
    settings = {"DATA_DIR": str(data), "MEDIA_SERVER": "none", "WORKER": "apart"}
    settings |= {"LIVE_TOKEN_ID": ROOT_ID, "LIVE_TOKEN_SECRET": ROOT_SECRET}
    ours_port, bare_port = free_ports(2)
    with server([sys.executable, "app.py"], ours_port, settings | {"PORT": str(ours_port)}):
        token = post(ours_port, "/v1/token", b'{"role": "app"}', basic(ROOT_ID, ROOT_SECRET))
        authorization = basic(token["id"], token["secret"])
        ids = [post(ours_port, "/v1/live", BODY, authorization)["id"] for _ in range(extent.channels)]
        bare = [sys.executable, "-m", "tests.bench.bare", str(bare_port), str(data / "livestream.db")]
        with server(bare, bare_port, {}):
            calls = {
                "GET one channel": request("GET", f"/v1/live/{ids[0]}", authorization),
                "GET a list of 10": request("GET", "/v1/live", authorization),
                "POST a channel (durable)": request("POST", "/v1/live", authorization, BODY),
            }
            ports = ours_port, bare_port
            return [measured(name, call, ports, rounds, extent.seconds) for name, call in calls.items()]


def measured(name: str, call: bytes, ports: tuple[int, int], rounds: int, seconds: float) -> Row:
    pairs = [[press(port, call, seconds) for port in ports] for _ in range(rounds)]
    ours, bare = (list(each) for each in zip(*pairs, strict=True))
    return f"{name}, {CLIENTS} clients", ours, bare, "/s", "bare Flask + waitress, same SQL"


def press(port: int, call: bytes, seconds: float) -> float:
    """Requests a second of clients that each ask on a connection that stays open."""

    def asks() -> Iterator[None]:
        with socket.create_connection(("127.0.0.1", port)) as line:
            while True:
                line.sendall(call)
                answer(line)
                yield

    return pressed(asks, seconds)


def pressed(asks: Callable[[], Iterator[None]], seconds: float) -> float:
    """How often a second so many clients are answered; `asks` is one of them, which says so after each answer."""
    counts, stop = [0] * CLIENTS, threading.Event()

    def ask(number: int) -> None:
        with closing(asks()) as answers:
            for _ in answers:
                counts[number] += 1
                if stop.is_set():
                    return

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def answer(line: socket.socket) -> None:
    """Read one answer to its end; by hand, so that the client takes as little of the two cores as it can."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += line.recv(65536)
    head = data[:end].lower()
    assert head[9:10] == b"2", head
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    missing = end + 4 + length - len(data)
    while missing > 0:
        missing -= len(line.recv(65536))


def request(method: str, path: str, authorization: str, body: bytes = b"") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def post(port: int, path: str, body: bytes, authorization: str) -> dict:
    asking = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Content-Type": "application/json", "Authorization": authorization}
    asking.request("POST", path, body, headers)
    data = json.load(asking.getresponse())["data"]
    asking.close()
    return data


@contextmanager
def server(command: list[str], port: int, settings: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stderr=subprocess.DEVNULL)
    try:
        until(lambda: socket.create_connection(("127.0.0.1", port)).close() or True, 20, "it listens")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
