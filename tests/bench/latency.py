"""`script/bench latency`: from capture to screen in Chromium, read from the picture itself."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.bench.clock_picture import BITS, BLOCK, COLUMNS, FPS, READ, ClockEncoder
from tests.bench.golive import peer_nginx
from tests.bench.table import Row
from tests.box import PROJECT, Box
from tests.browser import chromium, wait_for
from tests.waiting import until

HLS_JS = PROJECT / "web/static/vendor/hls.min.js"
PEER = "nginx-rtmp's own HLS in hls.js as it comes"
PEER_PAGE = """<!doctype html><title>peer</title><video muted autoplay></video><script src="hls.min.js"></script>
<script>const hls = new Hls(); hls.loadSource("hls/peer.m3u8");
hls.attachMedia(document.querySelector("video"));</script>"""
AIMS_S = {"ultra-low-latency": 2.0, "low-latency": 4.0, "normal": 10.0}
SETTLE_S = 10
PLAYS = "const v = document.querySelector('video'); return v.currentTime > 0 && !v.paused && v.readyState > 2"


def print_table(folder: Path, modes: list[str], seconds: int, groups_s: list[int]) -> None:
    box = Box(folder)
    box.start()
    try:
        print(f"{seconds} s each, after {SETTLE_S} s to settle; seconds from capture to screen\n")
        print(
            "| mode | key frame every | aim | median | p95 | max | stalls | frames dropped | first picture |"
        )
        print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for group_s in groups_s:
            for mode in modes:
                print(row(mode, group_s, measured(box, mode, group_s, seconds)), flush=True)
    finally:
        box.stop()


def rows(box: Box, folder: Path, seconds: int, groups_s: list[int]) -> list[Row]:
    """The same for a table with a peer: each picture that was seen counts once."""
    found = []
    for group_s in groups_s:
        peer = in_seconds(peer_measured(folder, group_s, seconds))
        for mode in AIMS_S:
            seen = measured(box, mode, group_s, seconds)
            stalls = f"{len(seen['waits'])} stalls in {seconds} s"
            title = f"capture to screen, {mode}, a key frame every {group_s} s; {stalls}"
            found.append((title, in_seconds(seen), peer, "s", PEER))
    return found


def in_seconds(seen: dict[str, Any]) -> list[float]:
    return [each / 1000 for each in seen["latency"]]


def measured(box: Box, mode: str, group_s: int, seconds: int) -> dict[str, Any]:
    made = box.create(mode=mode)
    with ClockEncoder(box, made["streamToken"], gop=group_s * FPS), chromium() as browser:
        box.await_status(made["id"], "live", 20)
        time.sleep(group_s + 1)  # a viewer who joins in the middle
        seen = watched(browser, f"{box.url}/watch/{made['id']}", seconds)
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")
    return seen


def watched(browser: Any, page: str, seconds: int) -> dict[str, Any]:
    began = time.monotonic()
    browser.get(page)
    wait_for(browser, PLAYS, 30)
    first = time.monotonic() - began
    time.sleep(SETTLE_S)
    browser.execute_script(READ, BLOCK, COLUMNS, BITS)
    dropped = "return document.querySelector('video').getVideoPlaybackQuality().droppedVideoFrames"
    before = browser.execute_script(dropped)
    time.sleep(seconds)
    seen = browser.execute_script("return window.seen")
    return seen | {"first": first, "dropped": browser.execute_script(dropped) - before}


def peer_measured(folder: Path, group_s: int, seconds: int) -> dict[str, Any]:
    with peer_nginx(folder) as (_, port, hls), served(hls.parent) as url, chromium() as browser:
        box = Box(folder)
        box.rtmp_port = port
        with ClockEncoder(box, "peer", gop=group_s * FPS):
            until((hls / "peer.m3u8").exists, 20, "the peer's playlist")
            time.sleep(group_s + 1)
            return watched(browser, f"{url}/page.html", seconds)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The peer's files and a page that plays them: nginx-rtmp has no page, and no HTTP configured here."""
    shutil.copy(HLS_JS, folder / "hls.min.js")
    (folder / "page.html").write_text(PEER_PAGE)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def row(mode: str, group_s: int, seen: dict[str, Any]) -> str:
    values = sorted(seen["latency"])
    assert values, f"{mode}: no picture could be read"
    aim = f"≤ {AIMS_S[mode]:.1f}" if group_s == 1 else "plays"
    at = [f"{values[min(len(values) - 1, int(len(values) * part))] / 1000:.2f}" for part in (0.5, 0.95, 1)]
    cells = [mode, f"{group_s} s", aim, *at, len(seen["waits"]), seen["dropped"], f"{seen['first']:.1f} s"]
    return "| " + " | ".join(map(str, cells)) + " |"
