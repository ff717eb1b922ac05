"""What ffmpeg is told, pure: argv lists from our own ids and numbers, never from anybody's text."""

from pathlib import Path

import imageio_ffmpeg

SEGMENT_S = 1
LISTED = 10
KEPT_UNLISTED = 10


def program(configured: str | None) -> str:
    """The ffmpeg to run: FFMPEG, else the static build that pip installed."""
    return configured or imageio_ffmpeg.get_ffmpeg_exe()


def package_argv(
    ffmpeg: str, *, source: str, playlist: Path, url_prefix: str, start_number: int
) -> list[str]:
    """Copy a live RTMP source into HLS segments, beside a sliding playlist of their own.

    `url_prefix` goes before each segment's name, because players read the playlist one folder further up.
    """
    flags = ["temp_file", "program_date_time", "independent_segments", "omit_endlist", "delete_segments"]
    return [
        *(ffmpeg, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "warning"),
        *("-protocol_whitelist", "rtmp,tcp"),
        # Without it a source that went without a word is read for ever, and SIGTERM ignored.
        *("-rw_timeout", "15000000"),
        # Half a second of looking is enough: RTMP sends both codecs' headers first.
        *("-analyzeduration", "500000", "-fflags", "+genpts"),
        *("-f", "live_flv", "-i", source),
        *("-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy", "-copyts", "-start_at_zero"),
        *("-f", "hls", "-hls_time", str(SEGMENT_S), "-hls_list_size", str(LISTED)),
        *("-hls_delete_threshold", str(KEPT_UNLISTED), "-hls_flags", "+".join(flags)),
        *("-hls_segment_type", "mpegts", "-start_number", str(start_number)),
        *("-hls_base_url", url_prefix, "-hls_segment_filename", str(playlist.parent / "%d.ts")),
        str(playlist),
    ]
