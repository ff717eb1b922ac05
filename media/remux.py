"""Segments into one mp4, without another encode."""

import secrets
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from media import playlists
from media.index import Index, Segment
from media.playlists import Entry, MediaPlaylist

Run = Callable[[list[str], float], None]
SLOWEST = 2_000_000  # bytes a second, of a disk that has other things to do


def unbroken(folder: Path, index: Index) -> list[list[tuple[Path, Segment]]]:
    """A session's segments, parted where time stamps do not go on."""
    spans: list[list[tuple[Path, Segment]]] = []
    for segment in index.segments:
        goes_on = spans and not segment.broken and spans[-1][-1][1].number + 1 == segment.number
        if not goes_on:
            spans.append([])
        spans[-1].append((folder / segment.file, segment))
    return spans


def to_mp4(ffmpeg: str, run: Run, spans: Iterable[list[tuple[Path, Segment]]], target: Path) -> int:
    """Write `target`, all of it or nothing; returns its size. Time goes on over the spans without gaps."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with tempfile.TemporaryDirectory(prefix="remux-") as name:
            size = write_list(Path(name), spans)
            run(_argv(ffmpeg, Path(name) / "list", draft), 60 + size / SLOWEST)
        draft.chmod(0o644)
        made = draft.stat().st_size
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)
    return made


def write_list(folder: Path, spans: Iterable[list[tuple[Path, Segment]]]) -> int:
    """For ffmpeg's concat demuxer: a playlist for each span. Returns the bytes of all segments."""
    lines, size = ["ffconcat version 1.0"], 0
    for number, span in enumerate(spans):
        listed = MediaPlaylist()
        for path, segment in span:
            listed.add(Entry(str(path), segment.seconds))
            size += segment.size
        (folder / f"{number}.m3u8").write_text(playlists.media(listed, over=True))
        lines += [f"file {number}.m3u8", f"duration {listed.seconds:.3f}"]
    (folder / "list").write_text("\n".join([*lines, ""]))
    return size


def _argv(ffmpeg: str, source: Path, target: Path) -> list[str]:
    return [
        *(ffmpeg, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "error", "-y"),
        # Nothing but files, whatever a playlist should name.
        *("-protocol_whitelist", "file", "-f", "concat", "-safe", "0", "-i", str(source)),
        *("-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy"),
        *("-movflags", "+faststart", "-f", "mp4", str(target)),
    ]
