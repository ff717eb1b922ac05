"""`script/bench latency`: from capture to screen in Chromium, read from the picture itself."""

import time
from pathlib import Path
from typing import Any

from tests.bench.clock_picture import BITS, BLOCK, COLUMNS, FPS, READ, ClockEncoder
from tests.box import Box
from tests.browser import chromium, wait_for

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


def measured(box: Box, mode: str, group_s: int, seconds: int) -> dict[str, Any]:
    made = box.create(mode=mode)
    with ClockEncoder(box, made["streamToken"], gop=group_s * FPS), chromium() as browser:
        box.await_status(made["id"], "live", 20)
        time.sleep(group_s + 1)  # a viewer who joins in the middle
        began = time.monotonic()
        browser.get(f"{box.url}/watch/{made['id']}")
        wait_for(browser, PLAYS, 30)
        first = time.monotonic() - began
        time.sleep(SETTLE_S)
        browser.execute_script(READ, BLOCK, COLUMNS, BITS)
        dropped = "return document.querySelector('video').getVideoPlaybackQuality().droppedVideoFrames"
        before = browser.execute_script(dropped)
        time.sleep(seconds)
        seen = browser.execute_script("return window.seen")
        seen |= {"first": first, "dropped": browser.execute_script(dropped) - before}
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")
    return seen


def row(mode: str, group_s: int, seen: dict[str, Any]) -> str:
    values = sorted(seen["latency"])
    assert values, f"{mode}: no picture could be read"
    aim = f"≤ {AIMS_S[mode]:.1f}" if group_s == 1 else "plays"
    at = [f"{values[min(len(values) - 1, int(len(values) * part))] / 1000:.2f}" for part in (0.5, 0.95, 1)]
    cells = [mode, f"{group_s} s", aim, *at, len(seen["waits"]), seen["dropped"], f"{seen['first']:.1f} s"]
    return "| " + " | ".join(map(str, cells)) + " |"
