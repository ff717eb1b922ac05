"""Pictures out of segments: the newest one of a live stream, and the storyboard of what has been."""

import secrets
import shutil
import tempfile
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from media.playlists import MediaPlaylist
from media.remux import Run
from media.storage import write_public

THUMBNAIL = "thumbnail.jpg"
STORYBOARD = "storyboard.vtt"
TIMEOUT_S = 10.0
COLUMNS, ROWS = 10, 10
EVERY_S, MOST_TILES = 10.0, 1000
LONG_SIDE = 160
QUIET = ("-nostdin", "-hide_banner", "-nostats", "-loglevel", "error", "-y", "-protocol_whitelist", "file")
# Pixels may be other than square; what is shown is.
SQUARE = "scale=ceil(iw*sar/2)*2:ih,setsar=1"


def take(ffmpeg: str, run: Run, segment: Path, width: int, height: int, target: Path) -> None:
    """The first key frame of this segment, scaled to cover width x height and cropped to it."""
    draft = target.with_name(f".{secrets.token_hex(4)}.{target.name}")
    cover = f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height}"
    try:
        run(
            [
                *(
                    ffmpeg,
                    *QUIET,
                    "-threads",
                    "1",
                    "-skip_frame",
                    "nokey",
                    "-f",
                    "mpegts",
                    "-i",
                    str(segment),
                ),
                *("-an", "-frames:v", "1", "-vf", f"{SQUARE},{cover}", "-threads", "1", "-q:v", "4"),
                *("-f", "image2", "-update", "1", str(draft)),
            ],
            TIMEOUT_S,
        )
        draft.chmod(0o644)
        draft.rename(target)
    finally:
        draft.unlink(missing_ok=True)


@dataclass(frozen=True)
class Tile:
    """A picture of the storyboard: the segment it is of, and which time of the broadcast it stands for."""

    uri: str
    begins: float
    ends: float


def tiles(whole: MediaPlaylist) -> list[Tile]:
    """One in ten seconds, or fewer where that would be more than a thousand."""
    every = max(EVERY_S, whole.seconds / MOST_TILES)
    at, chosen = 0.0, []
    for entry in whole.entries:
        if at >= len(chosen) * every:
            chosen.append((entry.uri, at))
        at += entry.seconds
    ends = [begins for _, begins in chosen[1:]] + [at]
    return [Tile(uri, begins, end) for (uri, begins), end in zip(chosen, ends, strict=True)]


def tile_size(width: int, height: int) -> tuple[int, int]:
    """As the picture is shaped, 160 on its longer side; even, as JPEG's colours are."""
    scale = LONG_SIDE / max(width, height)
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def make_storyboard(
    ffmpeg: str, run: Run, channel: Path, whole: MediaPlaylist, size: tuple[int, int]
) -> None:
    """`storyboard-<n>.jpg` and, when they are all there, `storyboard.vtt`."""
    wanted, (width, height) = tiles(whole), size
    with tempfile.TemporaryDirectory(prefix="storyboard-") as name:
        folder = Path(name)
        write_list(folder / "list", channel, wanted)
        run(_storyboard_argv(ffmpeg, folder, width, height), 60 + 2 * len(wanted))
        for number in range(ceil(len(wanted) / (COLUMNS * ROWS))):
            made, target = folder / f"{number}.jpg", channel / f"storyboard-{number}.jpg"
            draft = channel / f".{target.name}"
            shutil.copyfile(made, draft)  # another file system, perhaps
            draft.chmod(0o644)
            draft.rename(target)
    write_public(channel / STORYBOARD, vtt(wanted, width, height))


SLOT_S = 1000  # longer than any segment: the time that each gets in the list, so that none can miss its tile


def write_list(path: Path, channel: Path, wanted: list[Tile]) -> None:
    lines = [f"file {channel / tile.uri}\nduration {SLOT_S}" for tile in wanted]
    path.write_text("\n".join(["ffconcat version 1.0", *lines, ""]))


def _storyboard_argv(ffmpeg: str, folder: Path, width: int, height: int) -> list[str]:
    fit = f"scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2"
    filters = [
        # One of each segment; of one without a picture that of the segment before again.
        f"fps=fps=1/{SLOT_S}:round=down:start_time=0:eof_action=pass",
        SQUARE,
        f"{fit},pad={width}:{height}:-1:-1",
        f"tile={COLUMNS}x{ROWS}",
    ]
    return [
        *(ffmpeg, *QUIET, "-threads", "1", "-skip_frame", "nokey"),
        *("-f", "concat", "-safe", "0", "-i", str(folder / "list"), "-max_error_rate", "1"),
        *("-an", "-vf", ",".join(filters), "-threads", "1", "-q:v", "5", "-start_number", "0"),
        *("-f", "image2", str(folder / "%d.jpg")),
    ]


def vtt(wanted: list[Tile], width: int, height: int) -> str:
    """WebVTT as players expect it: for each span of time, a rectangle of a sheet."""
    lines = ["WEBVTT", ""]
    for number, tile in enumerate(wanted):
        sheet, place = divmod(number, COLUMNS * ROWS)
        row, column = divmod(place, COLUMNS)
        lines += [
            f"{_time(tile.begins)} --> {_time(tile.ends)}",
            f"storyboard-{sheet}.jpg#xywh={column * width},{row * height},{width},{height}",
            "",
        ]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
