"""What ffmpeg is told, pure: argv lists from our own ids and numbers, never from anybody's text."""

from collections.abc import Iterable
from pathlib import Path

import imageio_ffmpeg

from media.ladder import BUFFER_S, GROUPS, Rendition

# What nginx-rtmp adds to RTMP's time stamps when it writes TS.
NGINX_OFFSET_S = "0.7"


def program(configured: str | None) -> str:
    """The ffmpeg to run: FFMPEG, else the static build that pip installed."""
    return configured or imageio_ffmpeg.get_ffmpeg_exe()


def transcode_argv(
    ffmpeg: str, *, source: str, folder: Path, renditions: Iterable[Rendition], run: int, quick: bool
) -> list[str]:
    """Decode a live RTMP source once, and encode each rendition once, a file for each group of pictures.

    A group has the time stamps that it has in nginx's segments, so that it can stand in their place. Its files are
    <rendition>/new/<run>-<number>.ts, whole as soon as they are called so. `quick`: no looking ahead.
    """
    argv = [
        *(ffmpeg, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "warning"),
        *("-protocol_whitelist", "rtmp,tcp"),
        # Without it a source that went without a word is read for ever, and SIGTERM ignored.
        *("-rw_timeout", "15000000"),
        # Half a second of looking is enough: RTMP sends both codecs' headers first.
        *("-analyzeduration", "500000"),
        *("-copyts", "-threads", "2", "-f", "live_flv", "-i", source),
    ]
    for rendition in renditions:
        argv += _output(rendition, folder / rendition.name, run, quick)
    return argv


def _output(rendition: Rendition, folder: Path, run: int, quick: bool) -> list[str]:
    rate = rendition.bitrate
    return [
        *("-map", "0:v:0", "-map", "0:a:0?", "-vf", _filters(rendition)),
        *("-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high", "-threads", "2"),
        *("-level:v", f"{rendition.level // 10}.{rendition.level % 10}", "-pix_fmt", "yuv420p"),
        *("-crf", "23", "-maxrate", f"{rate}k", "-bufsize", f"{round(rate * BUFFER_S)}k"),
        # Key frames where the source has them and nowhere else. B-frames would gain a tenth of the bytes, and cost
        # their delay: every picture would wait for those after it.
        *(
            "-force_key_frames",
            "source",
            "-forced-idr",
            "1",
            "-sc_threshold",
            "0",
            "-g",
            "100000",
            "-bf",
            "0",
        ),
        *("-rc-lookahead", "0" if quick else "10"),
        *("-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-c:a", "copy"),
        *("-output_ts_offset", NGINX_OFFSET_S, "-muxdelay", "0", "-muxpreload", "0"),
        # A file ends at each key frame: after so short a time, the next one always does.
        *("-f", "hls", "-hls_time", "0.01", "-hls_list_size", "1", "-hls_flags", "temp_file"),
        *("-hls_segment_type", "mpegts", "-hls_segment_filename", str(folder / GROUPS / f"{run}-%d.ts")),
        str(folder / GROUPS / "index.m3u8"),
    ]


def _filters(rendition: Rendition) -> str:
    scale = f"scale={rendition.width}:{rendition.height}"
    return f"select='key+not(mod(n,2))',{scale}" if rendition.halved else scale
