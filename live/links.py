"""The addresses a channel is reached at, from the outside."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import peewee

from config import Config
from live.nodes import ADDRESSES, Directory
from models import Channel, Status


class Address(Protocol):
    """A box that takes publishers and serves what is played: this one, or another node."""

    name: str
    region: str
    public_url: str
    rtmp_url: str
    rtmps_url: str | None
    srt_url: str | None
    whip_url: str | None


@dataclass(frozen=True)
class Links:
    """Where viewers (public_url) and encoders (rtmp_url) reach this box; none ends with a slash. Pages belong to the
    box that is asked, what is played and published to the channel's node (docs/decisions/0023-nodes.md)."""

    public_url: str
    rtmp_url: str
    rtmps_url: str | None = None
    name: str = "main"  # this box as a node; "" for one that is none
    region: str = ""
    srt_url: str | None = None
    whip_url: str | None = None
    store_url: str | None = None  # where viewers get what has moved to the store
    nodes: Directory = field(default_factory=Directory, compare=False, repr=False)

    def at(self, node: str) -> Address:
        """The node of this name; this box for one that is no more."""
        return self if node == self.name else self.nodes.named(node) or self

    def place(self, region: str, now: datetime) -> str:
        """The node for a new channel."""
        found = self.nodes.choose(region, now)
        return found.name if found else self.name

    def entrance(self, channel: Channel, now: datetime) -> Address:
        """Where its next publisher is to connect: its node, or if that is lost the one that is best now."""
        node = self.nodes.named(channel.node)
        if node is None or node.status != "up":
            node = self.nodes.choose(channel.region, now) or node
        return self.at(node.name if node else channel.node)

    def origins(self) -> list[str]:
        """Where a page's player may have to go, should the channel move to another node while it is open."""
        with suppress(
            peewee.PeeweeException
        ):  # a page that says that the database is away has them as they were
            self.nodes.all()
        store = {self.store_url} if self.store_url else set()
        return sorted({self.public_url} | {node.public_url for node in self.nodes.nodes.values()} | store)

    def livestream(self, channel: Channel) -> str | None:
        """The live playlist: only while the channel is live (contract, section 2)."""
        return self.played(channel, "master.m3u8") if channel.status == Status.LIVE else None

    def seekable(self, channel: Channel) -> str | None:
        """The live playlist with what has been, for channels with `dvr`."""
        live = channel.dvr and channel.status == Status.LIVE
        return self.played(channel, "master_dvr.m3u8") if live else None

    def played(self, channel: Channel, name: str) -> str:
        """A file of the channel, on its node."""
        return self.media(f"{channel.id}/{name}", channel.node)

    def media(self, path: str, node: str, *, moved: bool = False) -> str:
        """A file below the DATA_DIR/media of a node, or one that has moved to the store, where it has the same path."""
        if moved and self.store_url:
            return f"{self.store_url}/{path}"
        return f"{self.at(node).public_url}/play/{path}"

    def watch(self, channel: Channel, signature: str | None = None) -> str:
        """The player's page. In a query the signature stays out of our log, which has paths only."""
        return f"{self.public_url}/watch/{channel.id}" + (f"?signature={signature}" if signature else "")


def of_box(config: Config) -> Links:
    addresses = {name: getattr(config, name) for name in ADDRESSES}
    return Links(
        **addresses, name=config.node, region=config.region, store_url=config.store and config.store.url
    )


def ingest(entrance: Address, stream_token: str) -> dict[str, str]:
    """Every way in that its media server offers. The last two have no field of their own for the streamToken."""
    ways = {"rtmp": entrance.rtmp_url, "rtmps": entrance.rtmps_url}
    if entrance.srt_url:
        ways["srt"] = f"{entrance.srt_url}?streamid=#!::r=live/{stream_token},m=publish"
    if entrance.whip_url:
        ways["whip"] = f"{entrance.whip_url}?app=live&stream={stream_token}"
    return {name: url for name, url in ways.items() if url}


def fields_for_encoder(channel: Channel, entrance: Address) -> dict[str, Any]:
    """StreamOut's fields: the two for an encoder, under the channel's id, and where that is."""
    where = {"stream_url": entrance.rtmp_url, "node": entrance.name or None, "region": entrance.region}
    return {"id": channel.id, "stream_id": channel.id, "stream_token": channel.stream_token} | where
