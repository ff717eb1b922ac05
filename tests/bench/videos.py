"""`script/bench videos`: what recordings, pictures and storyboards cost, and how soon a catch-up is there."""

import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from media import pictures, remux
from media.ffmpeg import program
from media.index import Index, Segment
from media.jobs import Runner
from media.playlists import Entry, MediaPlaylist
from tests.bench.table import Row
from tests.box import FFMPEG, Box, Encoder
from tests.waiting import until

MINUTES = 10
SIZES = {"720p": ("1280x720", "2600k"), "1080p": ("1920x1080", "5000k")}


def rows(folder: Path, rounds: int) -> list[Row]:
    ffmpeg, run = program(None), Runner(folder / "job.json", threading.Event()).run
    found: list[Row] = []
    for name, (size, rate) in SIZES.items():
        encode(folder / name, size, rate)
        segment, picture = folder / name / "5.ts", folder / "t.jpg"

        def take(segment: Path = segment, picture: Path = picture) -> None:
            pictures.take(ffmpeg, run, segment, 400, 400, picture)

        def decode(segment: Path = segment) -> None:
            run([ffmpeg, "-v", "error", "-threads", "1", "-i", str(segment), "-f", "null", "-"], 60)

        ours, peer = [cpu_ms(take) for _ in range(rounds)], [cpu_ms(decode) for _ in range(rounds)]
        found.append((f"CPU of a thumbnail, {name}", ours, peer, "ms", "decoding that segment whole"))
    session, known = long_session(folder / "720p", folder / "long" / "ses_1")
    spans = remux.unbroken(session, known)
    target, copy = folder / "long" / "ses_1.mp4", folder / "copy"
    made = [seconds(lambda: remux.to_mp4(ffmpeg, run, spans, target)) for _ in range(rounds)]
    copied = []
    for _ in range(rounds):
        copied.append(seconds(lambda: shutil.copytree(session, copy)))
        shutil.rmtree(copy)
    found.append((f"recording of {MINUTES} min, 720p", made, copied, "s", "copying its segments"))
    whole = MediaPlaylist()
    for segment in known.segments:
        whole.add(Entry(f"ses_1/{segment.file}", segment.seconds))
    board = [
        cpu_ms(lambda: pictures.make_storyboard(ffmpeg, run, session.parent, whole, (160, 90))) / 1000
        for _ in range(rounds)
    ]
    found.append((f"CPU of a storyboard of {MINUTES} min, 720p", board, [], "s", ""))
    return [*found, ready_row(folder / "box", rounds)]


def encode(folder: Path, size: str, rate: str) -> None:
    """Twenty seconds, a key frame and a segment each second."""
    folder.mkdir()
    source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30", "-f", "lavfi", "-i", "sine", "-t", "20"]
    codec = ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", rate, "-g", "30", "-c:a", "aac"]
    hls = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-hls_segment_filename", folder / "%d.ts"]
    subprocess.run([FFMPEG, "-v", "error", *source, *codec, *hls, folder / "index.m3u8"], check=True)


def long_session(source: Path, folder: Path) -> tuple[Path, Index]:
    """The twenty seconds again and again; where they begin again, time stamps do too."""
    folder.mkdir(parents=True)
    known = Index()
    for number in range(MINUTES * 60):
        shutil.copyfile(source / f"{number % 20}.ts", folder / f"{number}.ts")
        size = (folder / f"{number}.ts").stat().st_size
        known.segments.append(Segment(number, 1.0, size, 1000 * number, 0, number % 20 == 0))
    return folder, known


def ready_row(folder: Path, rounds: int) -> Row:
    folder.mkdir()
    box = Box(folder)
    box.start()
    waits = []
    for _ in range(rounds):
        made = box.create()
        with Encoder(box, made["streamToken"]):
            box.await_status(made["id"], "live")
            until(lambda: box.playlist(made["id"]).count("#EXTINF") > 2, 10, "segments")  # noqa: B023
            box.call("DELETE", f"/v1/live/{made['id']}")
            waits.append(seconds(lambda: until(lambda: box.channel(made["id"])["videoUrl"], 10, "catch-up")))  # noqa: B023
    box.stop()
    return ("catch-up ready after a live channel is stopped", waits, [], "s", "")


def cpu_ms(act: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    act()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def seconds(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began
