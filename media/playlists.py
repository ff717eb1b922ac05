"""HLS playlists (RFC 8216), pure: what ffmpeg wrote, and the one playlist that is ours.

How live playlists go on without us, and across reconnections: docs/decisions/0002-playlists.md.
"""

import re
from dataclasses import dataclass

SOURCE = "source.m3u8"
MASTER = "master.m3u8"
# A file of this name in a channel's folder: nginx serves nothing of it (signed addresses are not made yet).
SIGNED = "signed"
# A packager's own playlist: live-<n>.m3u8, the channel's n-th from 0 on. nginx reads n from the name and serves
# it as EXT-X-DISCONTINUITY-SEQUENCE, which ffmpeg does not write.
LIVE = re.compile(r"live-(\d+)\.m3u8")


@dataclass(frozen=True)
class MediaPlaylist:
    """The parts of a media playlist that we go by. `uris` as written, `seconds` beside them."""

    first: int
    uris: list[str]
    seconds: list[float]
    target: int

    @property
    def next_number(self) -> int:
        return self.first + len(self.uris)


def live_name(number: int) -> str:
    return f"live-{number}.m3u8"


def live_number(name: str) -> int | None:
    """Which of the channel's live playlists this file is; None for any other file."""
    match = LIVE.fullmatch(name)
    return int(match[1]) if match else None


def parse(text: str) -> MediaPlaylist:
    first, target, uris, seconds = 0, 1, [], []
    for line in text.splitlines():
        name, _, value = line.partition(":")
        match name:
            case "#EXT-X-MEDIA-SEQUENCE":
                first = int(value)
            case "#EXT-X-TARGETDURATION":
                target = int(value)
            case "#EXTINF":
                seconds.append(float(value.partition(",")[0]))
            case _ if line and not line.startswith("#"):
                uris.append(line)
    return MediaPlaylist(first, uris, seconds, target)


def master(bits_per_second: int) -> str:
    """The multivariant playlist of a channel whose only rendition is its source."""
    return (
        "#EXTM3U\n"
        "#EXT-X-VERSION:3\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        f"#EXT-X-STREAM-INF:BANDWIDTH={max(1, bits_per_second)}\n"
        f"{SOURCE}\n"
    )
