"""`script/bench media`: how late a channel is on screen, what it costs with nothing to transcode, how soon it plays.

Encoders copy a file that was encoded before, so that they cost next to nothing themselves. The peer is nginx-rtmp with
its own HLS, fed by the same file in the same round.
"""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from media.ffmpeg import program
from tests.bench import latency
from tests.bench.golive import peer_nginx
from tests.bench.table import Row
from tests.box import FFMPEG, Box
from tests.waiting import until

AT_ONCE = 8
MODES = ("normal", "low-latency", "ultra-low-latency")
PEER = "nginx-rtmp's own HLS"


@dataclass(frozen=True)
class Extent:
    """How much is measured: so many channels at once, each for so long, and latency for so long in each mode."""

    channels: tuple[int, ...]
    cost_s: float
    latency_s: int
    groups_s: tuple[int, ...] = (1,)


WHOLE = Extent((1, 8, 20), 20.0, 120)
QUICK = Extent((1, 8), 5.0, 15)


def rows(folder: Path, rounds: int, extent: Extent = WHOLE) -> list[Row]:
    source = folder / "source.flv"
    make_source(source)
    folder.joinpath("box").mkdir()
    box = Box(folder / "box")
    box.start()
    try:
        found = latency.rows(box, folder, extent.latency_s, list(extent.groups_s))
        for count in extent.channels:
            found += cost_rows(box, folder, source, count, extent.cost_s, rounds)
        found += instead_rows(folder, source, extent.channels[1], extent.cost_s, rounds)
        return found + [time_row(box, source, mode, folder, rounds) for mode in MODES]
    finally:
        box.stop()


def make_source(path: Path) -> None:
    """720p30 of 2.6 Mbit/s with sound and a key frame every second, 30 s of it."""
    argv = [
        *(FFMPEG, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30"),
        *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "30"),
        *("-c:v", "libx264", "-preset", "veryfast", "-g", "30", "-b:v", "2500k", "-minrate", "2500k"),
        *("-maxrate", "2500k", "-bufsize", "2500k", "-x264-params", "nal-hrd=cbr", "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-b:a", "96k", str(path)),
    ]
    subprocess.run(argv, check=True)


@contextlib.contextmanager
def publishing(source: Path, urls: list[str]) -> Iterator[None]:
    argv = [
        FFMPEG,
        "-nostdin",
        "-v",
        "error",
        "-re",
        "-stream_loop",
        "-1",
        "-i",
        str(source),
        "-c",
        "copy",
        "-f",
        "flv",
    ]
    running = [
        subprocess.Popen([*argv, url], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for url in urls
    ]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def cost_rows(box: Box, folder: Path, source: Path, count: int, seconds: float, rounds: int) -> list[Row]:
    """Beyond what the same processes take when nobody publishes."""
    cpu, memory, peer_cpu, peer_memory = [], [], [], []
    for _ in range(rounds):
        idle = cost(processes(box), seconds / 4)
        made = [box.create(transcodeProfile="720p", stopTimeout=0) for _ in range(count)]
        with publishing(
            source, [f"rtmp://127.0.0.1:{box.rtmp_port}/live/{each['streamToken']}" for each in made]
        ):
            for each in made:
                box.await_status(each["id"], "live", 20)
            busy = cost(processes(box), seconds)
        for each in made:
            box.call("DELETE", f"/v1/live/{each['id']}?delete=true")
        cpu.append((busy[0] - idle[0]) * 100 / count)
        memory.append((busy[1] - idle[1]) / count)
        with peer_nginx(folder) as (process, port, hls):
            workers = process.children()
            idle = cost(workers, 1)
            with publishing(source, [f"rtmp://127.0.0.1:{port}/live/peer{n}" for n in range(count)]):
                until(lambda: len(list(hls.glob("*.m3u8"))) == count, 20, "the peer's playlists")
                busy = cost(workers, seconds)
        peer_cpu.append((busy[0] - idle[0]) * 100 / count)
        peer_memory.append((busy[1] - idle[1]) / count)
    return [
        (f"processor of a channel, {count} at once", cpu, peer_cpu, "% of a core", PEER),
        (f"memory of a channel of its own, {count} at once", memory, peer_memory, "MB", PEER),
    ]


def instead_rows(folder: Path, source: Path, count: int, seconds: float, rounds: int) -> list[Row]:
    """What was done before decision 8: an ffmpeg for each channel reads it again and writes its segments."""
    cpu, memory, peer_cpu, peer_memory = [], [], [], []
    for _ in range(rounds):
        for series, with_ffmpeg in ((0, True), (1, False)):
            with peer_nginx(folder, hls=not with_ffmpeg) as (process, port, hls):
                workers = process.children()
                idle = cost(workers, 1)
                urls = [f"rtmp://127.0.0.1:{port}/live/peer{n}" for n in range(count)]
                with publishing(source, urls), packaging(hls, urls if with_ffmpeg else []) as ffmpegs:
                    until(lambda hls=hls: len(list(hls.glob("*.m3u8"))) == count, 30, "playlists")
                    busy = cost(workers + ffmpegs, seconds)
            (cpu, peer_cpu)[series].append((busy[0] - idle[0]) * 100 / count)
            (memory, peer_memory)[series].append((busy[1] - idle[1]) / count)
    return [
        (
            f"processor, {count} at once, an ffmpeg -c copy for each instead",
            cpu,
            peer_cpu,
            "% of a core",
            PEER,
        ),
        (f"memory of its own, {count} at once, an ffmpeg for each instead", memory, peer_memory, "MB", PEER),
    ]


@contextlib.contextmanager
def packaging(folder: Path, urls: list[str]) -> Iterator[list[psutil.Process]]:
    folder.mkdir(exist_ok=True)
    argv = [program(None), "-nostdin", "-v", "error", "-analyzeduration", "500000"]
    output = [
        "-c",
        "copy",
        "-f",
        "hls",
        "-hls_time",
        "1",
        "-hls_list_size",
        "10",
        "-hls_flags",
        "delete_segments",
    ]
    running = [
        psutil.Popen(
            [*argv, "-i", url, *output, str(folder / f"{url.rpartition('/')[2]}.m3u8")],
            stderr=subprocess.DEVNULL,
        )
        for url in urls
    ]
    try:
        yield running
    finally:
        for each in running:
            each.kill()
            each.wait()


def processes(box: Box) -> list[psutil.Process]:
    """All that a broadcast makes work: nginx, packager, worker, web, and transcoders if there were any."""
    tops = [psutil.Process(box.pid(name)) for name in ("media", "packager", "worker", "web")]
    return [each for top in tops for each in (top, *top.children(recursive=True))]


def cost(running: list[psutil.Process], seconds: float) -> tuple[float, float]:
    """Cores that these use over a time, and the megabytes that they have for themselves at its end."""
    before = [sum(each.cpu_times()[:2]) for each in running]
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    used = sum(sum(each.cpu_times()[:2]) - start for each, start in zip(running, before, strict=True))
    return used / took, sum(each.memory_full_info().uss for each in running) / 1e6


def time_row(box: Box, source: Path, mode: str, folder: Path, rounds: int) -> Row:
    """From the start of eight encoders at once until each channel can be played."""
    ours, peer = [], []
    for _ in range(rounds):
        made = {each["id"]: each for each in (box.create(mode=mode, stopTimeout=0) for _ in range(AT_ONCE))}
        began = time.monotonic()
        with publishing(
            source, [f"rtmp://127.0.0.1:{box.rtmp_port}/live/{e['streamToken']}" for e in made.values()]
        ):
            waiting = set(made)
            while waiting and time.monotonic() - began < 20:
                for channel_id in list(waiting):
                    if box.get(f"/play/{channel_id}/master.m3u8"):
                        waiting.discard(channel_id)
                        ours.append(time.monotonic() - began)
                time.sleep(0.02)
        for each in made:
            box.call("DELETE", f"/v1/live/{each}?delete=true")
        with peer_nginx(folder) as (_, port, hls):
            began = time.monotonic()
            with publishing(source, [f"rtmp://127.0.0.1:{port}/live/peer{n}" for n in range(AT_ONCE)]):
                until(lambda: len(list(hls.glob("*.m3u8"))) == AT_ONCE, 20, "the peer's playlists")
                peer.append(time.monotonic() - began)
    return (
        f"encoder start to playable, {AT_ONCE} at once, {mode}",
        ours,
        peer,
        "s",
        f"{PEER}, the last of them",
    )
