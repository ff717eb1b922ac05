"""`script/bench ladder`: what the renditions of a source cost, beside a bare ffmpeg that makes the same of a file.

The encoder copies a file that was encoded before. A transcoder's time is what the process used while it kept up with
the source; the peer decodes the file and encodes the same renditions with the same settings, as fast as it can.
"""

import resource
import subprocess
from pathlib import Path

import psutil

from media import ladder
from media.ffmpeg import program
from media.ladder import Picture
from tests.bench.media import cost, publishing
from tests.bench.table import Row
from tests.box import FFMPEG, Box
from tests.waiting import until

MEASURED_S = 10.0
SOURCE_S = 20
PEER = "bare ffmpeg, same renditions"
CASES = (
    ("1920x1080", 30, ("360p",)),
    ("1920x1080", 30, ("480p",)),
    ("1920x1080", 30, ("720p",)),
    ("1920x1080", 30, ("720p", "480p", "360p")),
    ("1280x720", 60, ("480p", "360p")),
)


def rows(folder: Path, rounds: int) -> list[Row]:
    folder.joinpath("box").mkdir()
    box = Box(folder / "box", {"TRANSCODE_CORES": "8"})
    box.start()
    try:
        return [case_row(box, folder, *case, rounds) for case in CASES]
    finally:
        box.stop()


def case_row(box: Box, folder: Path, size: str, fps: int, names: tuple[str, ...], rounds: int) -> Row:
    source = folder / f"{size}-{fps}.flv"
    if not source.exists():
        make_source(source, size, fps)
    made = ladder.plan(Picture(*map(int, size.split("x")), fps), names, ultra=False, cores=8, free=8)
    ours = [of_the_box(box, source, names) for _ in range(rounds)]
    peer = [of_the_peer(source, made.renditions) for _ in range(rounds)]
    title = f"{size} at {fps}/s to {', '.join(names)} (reckoned with: {made.cores:.2f})"
    return title, ours, peer, "cores", PEER


def make_source(path: Path, size: str, fps: int) -> None:
    """Test pictures with a little noise, which no encoder gets for nothing, of 5 Mbit/s."""
    argv = [
        *(FFMPEG, "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={fps},noise=alls=4:allf=t"),
        *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", str(SOURCE_S)),
        *("-c:v", "libx264", "-preset", "veryfast", "-g", str(fps), "-b:v", "5M", "-maxrate", "5M"),
        *("-bufsize", "5M", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k", str(path)),
    ]
    subprocess.run(argv, check=True)


def of_the_box(box: Box, source: Path, names: tuple[str, ...]) -> float:
    made = box.create(transcodeProfile=list(names), stopTimeout=0)
    folder = box.data_dir / "media" / made["id"]
    with publishing(source, [f"rtmp://127.0.0.1:{box.rtmp_port}/live/{made['streamToken']}"]):
        until(lambda: list(folder.glob(f"*/{names[0]}/*.ts")), 30, "the first segment is made")
        used, _ = cost([transcoder(str(folder))], MEASURED_S)
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")
    return used


def transcoder(folder: str) -> psutil.Process:
    """The one whose last word is a playlist in this folder."""
    found = (process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"])
    return next(process for process in found if process.info["cmdline"][-1].startswith(folder))


def of_the_peer(source: Path, renditions: tuple[ladder.Rendition, ...]) -> float:
    argv = [program(None), "-nostdin", "-v", "error", "-i", str(source)]
    for each in renditions:
        half = "select='key+not(mod(n,2))'," if each.halved else ""
        argv += ["-vf", f"{half}scale={each.width}:{each.height}", "-fps_mode", "passthrough", "-bf", "0"]
        argv += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-maxrate", f"{each.bitrate}k"]
        argv += ["-bufsize", f"{each.bitrate // 2}k", "-threads", "2", "-c:a", "copy", "-f", "null", "-"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / SOURCE_S
