"""`script/bench golive`: from the start of the box, and of an encoder, to what people wait for."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from config import nginx_program, nginx_rtmp_module
from tests.bench.table import Row
from tests.box import Box, Encoder, free_ports
from tests.browser import chromium, wait_for
from tests.receiver import Receiver
from tests.waiting import until

BARE_APP = """
import flask, waitress
app = flask.Flask(__name__)
app.get("/readyz")(lambda: "ok")
waitress.serve(app, host="127.0.0.1", port={port})
"""
PEER_CONF = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit; load_module {module};
{user}
worker_rlimit_nofile 8192; events {{ worker_connections 4096; }}
rtmp {{ server {{ listen 127.0.0.1:{port};
  application live {{ live on; hls {hls}; hls_path {folder}/hls; hls_fragment 1s; }} }} }}
"""


def rows(folder: Path, rounds: int) -> list[Row]:
    return start_rows(folder / "start", rounds) + live_rows(folder / "live", rounds)


def start_rows(folder: Path, rounds: int) -> list[Row]:
    """script/server run again on an installation that is set up, beside a bare Flask under waitress."""
    folder.mkdir()
    box = Box(folder)
    box.start()  # the first start makes the database
    box.stop()
    starts, bare_starts, web, worker, bare = [], [], [], [], []
    for _ in range(rounds):
        starts.append(timed(box.start))
        web.append(own_mb(box.pid("web")))
        worker.append(own_mb(box.pid("worker")))
        box.stop()
        seconds, memory = bare_start()
        bare_starts.append(seconds)
        bare.append(memory)
    peer = "bare Flask + waitress"
    return [
        ("start again, to ready", starts, bare_starts, "s", peer),
        ("memory of web of its own", web, bare, "MB", peer),
        ("memory of worker of its own", worker, bare, "MB", peer),
    ]


def bare_start() -> tuple[float, float]:
    [port] = free_ports(1)
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", BARE_APP.format(port=port)], stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as reply:
            return reply.status == 200

    until(answers, 20, "the bare app answers")
    seconds, memory = time.monotonic() - began, own_mb(process.pid)
    process.terminate()
    process.wait()
    return seconds, memory


def own_mb(pid: int) -> float:
    """Unique set size: what would be freed if the process ended."""
    return psutil.Process(pid).memory_full_info().uss / 1e6


def timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def live_rows(folder: Path, rounds: int) -> list[Row]:
    """From the start of an encoder with a key frame every second; the peer is nginx-rtmp's own HLS."""
    folder.mkdir()
    box = Box(folder)
    box.start()
    live, told, frame, peer = [], [], [], []
    try:
        with Receiver() as receiver, chromium() as browser:
            box.call("POST", "/v1/webhook", {"uri": receiver.url, "event": "all"})
            for _ in range(rounds):
                for series, value in zip(
                    (live, told, frame), one_broadcast(box, receiver, browser), strict=True
                ):
                    series.append(value)
                peer.append(peer_first_playlist(folder))
    finally:
        box.stop()
    own_hls = "nginx-rtmp's own HLS: first playlist"
    return [
        ("encoder start to `live`", live, peer, "s", own_hls),
        ("encoder start to the first webhook (channel_connected)", told, peer, "s", own_hls),
        ("encoder start to the first frame on screen in Chromium", frame, peer, "s", own_hls),
    ]


def one_broadcast(box: Box, receiver: Receiver, browser: object) -> tuple[float, float, float]:
    made = box.create()
    browser.get(f"{box.url}/watch/{made['id']}")
    with Encoder(box, made["streamToken"]) as encoder:
        box.await_status(made["id"], "live", 20)
        live = time.monotonic() - encoder.started
        wait_for(browser, "return document.querySelector('video').currentTime > 0", 20)
        frame = time.monotonic() - encoder.started
        told = min(
            request.arrived - encoder.started
            for request in receiver.requests
            if json.loads(request.body)["id"] == made["id"]
        )
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")
    return live, told, frame


def peer_first_playlist(folder: Path) -> float:
    """How long nginx-rtmp takes by itself, from the same encoder's start to a playlist with a segment."""
    with peer_nginx(folder) as (_, port, hls):
        box = Box(folder)
        box.rtmp_port = port
        with Encoder(box, "peer") as encoder:
            until((hls / "peer.m3u8").exists, 20, "the peer's playlist")
            return time.monotonic() - encoder.started


@contextlib.contextmanager
def peer_nginx(folder: Path, *, hls: bool = True) -> Iterator[tuple[psutil.Process, int, Path]]:
    """An nginx-rtmp with nothing but its own HLS: its master process, its RTMP port, where its files are."""
    peer = Path(tempfile.mkdtemp(dir=folder, prefix="peer-"))
    [port] = free_ports(1)
    user = "user root;" if os.geteuid() == 0 else ""
    conf = PEER_CONF.format(
        folder=peer, hls="on" if hls else "off", module=nginx_rtmp_module(), port=port, user=user
    )
    (peer / "nginx.conf").write_text(conf)
    process = psutil.Popen([nginx_program(), "-e", "stderr", "-p", str(peer), "-c", str(peer / "nginx.conf")])
    try:
        until((peer / "nginx.pid").exists, 5, "the peer runs")
        yield process, port, peer / "hls"
    finally:
        process.terminate()
        process.wait()
