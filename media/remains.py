"""What is left of a broadcast on disk when its channel has ended: the catch-up, and no more than is wanted."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from media import index, playlists, renditions
from media.broadcast import Broadcast, whole
from media.intake import Intake
from media.pictures import THUMBNAIL
from media.playlists import Variant
from media.storage import MOVED, SIGNED, taken_in, write_public

DOWNLOAD = "catchup.mp4"
OF_CATCHUP = re.compile(r"\w+_dvr\.m3u8|storyboard.*")
SEGMENT = re.compile(r"ses_[0-9a-f]{20}/(?:\d+p/)?\d+\.ts")
OF_LIVE = re.compile(r"\w+\.m3u8")
END = "#EXT-X-ENDLIST\n"


@dataclass(frozen=True)
class CatchUp:
    seconds: float
    size: int


@dataclass
class Wanted:
    """What may stay of an ended channel. `sessions`: those whose recording is still to be made."""

    catchup: bool = False
    download: bool = False
    live: bool = False  # for viewers who are not through yet
    drafts: bool = False  # of a job that runs now
    recordings: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    moved: bool = False  # to the store: the mark for the media server

    @property
    def anything(self) -> bool:
        return bool(self.catchup or self.live or self.recordings or self.sessions or self.moved)


def is_taken_in(folder: Path, ingest_dir: Path) -> bool:
    """Whether the packager has seen the last of this session, or there was nothing to see."""
    if folder.name in taken_in(ingest_dir):
        return False
    return not (folder / index.SEGMENTS).exists() or bool(index.read_signal(folder).get("over"))


def take_in(folder: Path, now_ms: int) -> None:
    """What a packager does at a session's end, for one that had died then."""
    Broadcast(Intake(folder)).finish(now_ms)


def write_catchup(channel: Path) -> CatchUp | None:
    """The whole broadcast with an end mark, made of the kept segments; None where none are left."""
    found = whole(channel)
    if not found.entries:
        return None
    source = _source([index.read_signal(folder) for folder, _ in index.sessions(channel)])
    write_public(channel / playlists.SOURCE_DVR, playlists.media(found, over=True))
    variants, size = [source], 0
    for each in renditions.kept(channel, source.codecs):
        name = each.uri.removesuffix(".m3u8")
        variants.append(replace(each, uri=f"{name}_dvr.m3u8"))
        write_public(channel / variants[-1].uri, playlists.media(whole(channel, name), over=True))
        size += sum(path.stat().st_size for path in channel.glob(f"*/{name}/*.ts"))
    write_public(channel / playlists.MASTER_DVR, playlists.master(variants))
    size += sum(segment.size for _, each in index.sessions(channel) for segment in each.segments)
    return CatchUp(found.seconds, size)


def _source(signals: list[dict]) -> Variant:
    """What all sessions have been: the highest rate, and the codecs and the size of the last."""
    said = [signal for signal in signals if signal.get("segments")] or [{}]
    peak = max(signal.get("peak", 0) for signal in said)
    average = max(signal.get("average", 0) for signal in said)
    video = said[-1].get("video") or {}
    size = (video["width"], video["height"]) if video else None
    return Variant(
        playlists.SOURCE_DVR,
        peak=peak,
        average=average or peak,
        codecs=said[-1].get("codecs", ""),
        size=size,
        fps=video.get("fps"),
    )


def to_store(channel: Path, wanted: Wanted) -> dict[str, int]:
    """The files that move to the store, and their sizes."""
    files = {str(path.relative_to(channel)): path for path in channel.glob("**/*") if path.is_file()}
    return {name: path.stat().st_size for name, path in files.items() if is_for_store(name, wanted)}


def is_for_store(name: str, wanted: Wanted) -> bool:
    """Whether a file of a channel belongs there. The one to download does not: it is made here, for a day."""
    if name == THUMBNAIL:
        return wanted.catchup or bool(wanted.recordings)
    if SEGMENT.fullmatch(name) or OF_CATCHUP.fullmatch(name):
        return wanted.catchup
    return name in wanted.recordings


def in_order(names: Iterable[str]) -> list[list[str]]:
    """What names others comes after them, so that no playlist ever names what is not there."""
    parts: list[list[str]] = [[], [], []]
    for name in names:
        listing = name.endswith((".m3u8", ".vtt"))
        parts[2 if name == playlists.MASTER_DVR else int(listing)].append(name)
    return parts


def spans_of(listed: playlists.MediaPlaylist, folder: Path) -> list[list[tuple[Path, index.Segment]]]:
    """The files of a catch-up's playlist, parted where time stamps do not go on: see remux.to_mp4."""
    spans: list[list[tuple[Path, index.Segment]]] = []
    for number, entry in enumerate(listed.entries):
        path = folder / entry.uri
        if entry.broken or not spans:
            spans.append([])
        segment = index.Segment(number, entry.seconds, path.stat().st_size, entry.began_ms or 0, 0)
        spans[-1].append((path, segment))
    return spans


def picture_size(channel: Path) -> tuple[int, int] | None:
    """Of the first session that has a picture."""
    for folder, _ in index.sessions(channel):
        if video := index.read_signal(folder).get("video"):
            return video["width"], video["height"]
    return None


def close_live(channel: Path) -> None:
    """Say in the live playlists that this was all: players stop asking for more."""
    for path in channel.glob("*.m3u8"):
        if path.name.startswith("master") or path.name.endswith("_dvr.m3u8"):
            continue
        text = path.read_text()
        if not text.endswith(END):
            write_public(path, text + END)


def tidy(channel: Path, wanted: Wanted) -> None:
    """Remove everything else; a folder in which nothing is wanted goes altogether."""
    if not wanted.anything:
        shutil.rmtree(channel, ignore_errors=True)
        return
    for path in channel.iterdir():
        if path.is_dir():
            _tidy_session(path, wanted)
        elif not _stays(path.name, wanted):
            path.unlink(missing_ok=True)


def _tidy_session(folder: Path, wanted: Wanted) -> None:
    if not (wanted.catchup or wanted.live or folder.name in wanted.sessions):
        shutil.rmtree(folder, ignore_errors=True)
    elif not wanted.live:
        for path in [*folder.glob("p*.ts"), *folder.glob("index.m3u8*")]:
            path.unlink(missing_ok=True)


def _stays(name: str, wanted: Wanted) -> bool:
    if name in (SIGNED, THUMBNAIL):
        return True
    if name == DOWNLOAD:
        return wanted.download
    if OF_CATCHUP.fullmatch(name):
        return wanted.catchup
    if OF_LIVE.fullmatch(name):
        return wanted.live
    if name == MOVED:
        return wanted.moved
    return wanted.drafts if name.startswith(".") else name in wanted.recordings
