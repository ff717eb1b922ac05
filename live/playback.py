"""The addresses that viewers get: plain for a public channel, for a signed one with a signature that expires."""

from datetime import datetime, timedelta
from typing import Any

from live.links import Links
from live.signing import Signer, signed
from models import Channel


def addresses(
    channel: Channel, video_url: str | None, expires_in_s: int, links: Links, signer: Signer, now: datetime
) -> dict[str, Any]:
    """PlaybackOut's fields. The live address is told ahead of the broadcast: viewers are invited before it begins."""
    live_url = None if channel.over else links.media(f"{channel.id}/master.m3u8")
    if channel.playback != "signed":
        urls = {"livestream_url": live_url, "video_url": video_url}
        return urls | {"watch_url": links.watch(channel), "expires_at": None}
    expires_at = (now + timedelta(seconds=expires_in_s)).replace(microsecond=0)
    signature = signer.sign(channel.id, expires_at)
    return {
        "livestream_url": signed(live_url, channel.id, signature),
        "video_url": signed(video_url, channel.id, signature),
        "watch_url": links.watch(channel, signature),
        "expires_at": expires_at,
    }
