"""The addresses that viewers get: plain for a public channel, for a signed one with a signature that expires."""

from datetime import datetime, timedelta
from typing import Any

from live import videos
from live.links import Links
from live.signing import Signer, signed
from live.snapshot import kept_urls, storyboard_url
from models import Channel


def addresses(
    channel: Channel, expires_in_s: int, links: Links, signer: Signer, now: datetime
) -> dict[str, Any]:
    """PlaybackOut's fields: of all files of a channel that viewers or an App Server may want."""
    files = _files(channel, links)
    if channel.playback != "signed":
        return files | {"watch_url": links.watch(channel), "expires_at": None}
    expires_at = (now + timedelta(seconds=expires_in_s)).replace(microsecond=0)
    signature = signer.sign(channel.id, expires_at)
    opened = {
        name: [signed(each, channel.id, signature) for each in url]
        if isinstance(url, list)
        else signed(url, channel.id, signature)
        for name, url in files.items()
    }
    return opened | {"watch_url": links.watch(channel, signature), "expires_at": expires_at}


def holder(channel: Channel, file: str) -> str:
    """The node that has this file of a channel, if one has it."""
    name = file.partition(".")[0]
    what = {"storyboard": "catchup", "master_dvr": "catchup" if channel.over else ""}.get(name, name)
    is_kept = channel.kept.get(what) or channel.kept.get("record", {}).get(what)
    return videos.node_of(channel, what) if is_kept else channel.node


def _files(channel: Channel, links: Links) -> dict[str, Any]:
    """Plain. The live addresses are told ahead of the broadcast: viewers are invited before it begins."""

    def live(name: str, *, there: bool) -> str | None:
        return links.played(channel, name) if there else None

    def left(name: str, *, there: bool) -> str | None:
        return links.media(f"{channel.id}/{name}", videos.node_of(channel, "catchup")) if there else None

    kept = kept_urls(channel, links)
    seen_again = kept["video_url"] is not None
    return kept | {
        "livestream_url": live("master.m3u8", there=not channel.over),
        "dvr_url": live("master_dvr.m3u8", there=channel.dvr and not channel.over),
        "storyboard_url": storyboard_url(channel, links) if seen_again else None,
        "download_url": left("catchup.mp4", there=seen_again and videos.is_downloadable(channel)),
    }
