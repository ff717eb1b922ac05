"""Broadcasts that have been: the rows, and on disk what a packager has left of them."""

import itertools
import shutil
from pathlib import Path

from config import Config
from db import utcnow
from live.lifecycle import Lifecycle
from media import index
from media.index import Index, Job, Segment
from models import Channel
from tests.story import again, arrival, new

RECORDING = Path(__file__).parent / "fixtures/nginx-rtmp/hls"
CONNECTIONS = itertools.count(1)


def broadcast_over(
    config: Config,
    lifecycle: Lifecycle,
    sessions: int = 1,
    *,
    running: bool = False,
    seen: bool = True,
    **fields,
) -> Channel:
    """Makes a channel and as many sessions as are told, with four segments each; the last one may still run."""
    channel = new(lifecycle, utcnow(), **fields)
    for number in range(sessions):
        one = arrival(next(CONNECTIONS))
        session = lifecycle.publish(channel.stream_token, one, utcnow())
        write_session(config.media_dir / channel.id / session.id, seen=seen)
        if number < sessions - 1 or not running:
            lifecycle.unpublish(one.connection, "left", utcnow())
    return again(channel)


def write_session(folder: Path, *, seen: bool) -> None:
    folder.mkdir(parents=True)
    base = sum(len(each.segments) for _, each in index.sessions(folder.parent))
    index.write_job(folder, Job())
    index.begin(folder, Index(base))
    for number in range(4):
        shutil.copyfile(RECORDING / f"{number}.ts", folder / f"{number}.ts")
    listed = "".join(f"#EXTINF:1.000,\n{number}.ts\n" for number in range(4))
    (folder / "index.m3u8").write_text(f"#EXTM3U\n{listed}")
    if seen:
        sizes = [(folder / f"{number}.ts").stat().st_size for number in range(4)]
        rows = [
            Segment(number, 1.0, sizes[number], 1000 * (base + number), 63000, number == 0 < base)
            for number in range(4)
        ]
        index.append(folder, rows)
        index.write_signal(
            folder, {"over": True, "segments": 4, "peak": 100, "codecs": "avc1.42c01e", "video": {}}
        )
