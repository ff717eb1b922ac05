"""`script/bench dvr`: what DVR costs a channel with a rendition, when it begins and with two hours behind it.

The peer is the same channel without DVR, taking turns. Two hours are not waited for: the packager is given the index
of a session of that length, without files, which it never opens.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from media import index
from media.index import Index, Segment
from media.storage import bytes_below
from tests.bench.media import cost, make_source, processes, publishing
from tests.bench.table import Row
from tests.box import Box
from tests.waiting import until

MEASURED_S = 24.0  # some playlists are written every 4 s
RENDITION = "480p"
HISTORIES_S = {"from the beginning": 0, "with 2 h behind it": 7200}
PEER = "the same without DVR"


@dataclass
class Cost:
    cores: float  # of all processes, the transcoder among them
    packager: float
    written: int  # bytes, by the packager
    grown: int  # bytes on disk
    seconds: float


def rows(folder: Path, rounds: int) -> list[Row]:
    source = folder / "source.flv"
    make_source(source)
    folder.joinpath("box").mkdir()
    box = Box(folder / "box", {"TRANSCODE_CORES": "2"})
    box.start()
    try:
        return [
            row
            for words, seconds in HISTORIES_S.items()
            for row in history_rows(box, source, words, seconds, rounds)
        ]
    finally:
        box.stop()


def history_rows(box: Box, source: Path, words: str, history_s: int, rounds: int) -> list[Row]:
    ours, peer = [], []
    for _ in range(rounds):
        ours.append(measured(box, source, history_s, dvr=True))
        peer.append(measured(box, source, history_s, dvr=False))
    figures = {
        "processor of everything": (lambda each: each.cores * 100, "% of a core"),
        "processor of the packager": (lambda each: each.packager * 100, "% of a core"),
        "written by the packager": (lambda each: each.written / each.seconds / 1000, "kB/s"),
    }
    found = [
        (f"{name}, {words}", [of(each) for each in ours], [of(each) for each in peer], unit, PEER)
        for name, (of, unit) in figures.items()
    ]
    # Without DVR as much goes as comes, in leaps.
    grown = [each.grown / each.seconds / 1000 for each in ours]
    return [*found, (f"more on disk, {words}", grown, [], "kB/s", "")]


def measured(box: Box, source: Path, history_s: int, *, dvr: bool) -> Cost:
    made = box.create(dvr=dvr, catchup=False, transcodeProfile=RENDITION)
    folder = box.data_dir / "media" / made["id"]
    urls = [f"rtmp://127.0.0.1:{box.rtmp_port}/live/{made['streamToken']}"]
    if history_s:
        with publishing(source, urls):
            until(
                lambda: [each for _, each in index.sessions(folder) if len(each.segments) > 1],
                30,
                "a first one",
            )
        until(lambda: not box.channel(made["id"])["publishing"], 20, "it is over")
        lengthen(index.sessions(folder)[0][0], history_s)
    with publishing(source, urls):
        box.await_status(made["id"], "live", 30)
        until(lambda: list(folder.glob(f"*/{RENDITION}/*.ts")), 40, "the rendition is made")
        time.sleep(60)  # until what leaves the live window is removed as fast as it comes
        found = taken(box, folder)
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")
    return found


def taken(box: Box, folder: Path) -> Cost:
    packager = psutil.Process(box.pid("packager"))
    before, written, size = (
        sum(packager.cpu_times()[:2]),
        packager.io_counters().write_chars,
        bytes_below(folder),
    )
    began = time.monotonic()
    cores, _ = cost(processes(box), MEASURED_S)
    seconds = time.monotonic() - began
    return Cost(
        cores,
        (sum(packager.cpu_times()[:2]) - before) / seconds,
        packager.io_counters().write_chars - written,
        bytes_below(folder) - size,
        seconds,
    )


def lengthen(session: Path, seconds: int) -> None:
    """As if it had gone on for so long until now."""
    known, now_ms = index.read(session), time.time_ns() // 1_000_000
    began_ms = now_ms - seconds * 1000
    fake = [
        Segment(number, 1.0, 300_000, began_ms + number * 1000, number * 90_000) for number in range(seconds)
    ]
    index.begin(session, Index(known.base, known.breaks, fake))
