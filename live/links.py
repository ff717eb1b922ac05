"""The addresses a channel is reached at, from the outside."""

from dataclasses import dataclass

from models import Channel, Status


@dataclass(frozen=True)
class Links:
    """Where viewers (public_url) and encoders (rtmp_url) reach this box, and viewers what has moved to the store
    (store_url); none ends with a slash."""

    public_url: str
    rtmp_url: str
    rtmps_url: str | None = None
    store_url: str | None = None

    @property
    def places(self) -> list[str]:
        """Where players find media."""
        return [self.public_url, *([self.store_url] if self.store_url else [])]

    def livestream(self, channel: Channel) -> str | None:
        """The live playlist: only while the channel is live (contract, section 2)."""
        return f"{self.public_url}/play/{channel.id}/master.m3u8" if channel.status == Status.LIVE else None

    def seekable(self, channel: Channel) -> str | None:
        """The live playlist with what has been, for channels with `dvr`."""
        return (
            self.media(f"{channel.id}/master_dvr.m3u8") if channel.dvr and self.livestream(channel) else None
        )

    def media(self, path: str, *, moved: bool = False) -> str:
        """A file below DATA_DIR/media, or one that has moved to the store, where it has the same path."""
        return f"{self.store_url}/{path}" if moved and self.store_url else f"{self.public_url}/play/{path}"

    def watch(self, channel: Channel, signature: str | None = None) -> str:
        """The player's page. In a query the signature stays out of our log, which has paths only."""
        return f"{self.public_url}/watch/{channel.id}" + (f"?signature={signature}" if signature else "")

    def ingest(self) -> dict[str, str]:
        """Every way in that the media server offers."""
        return {"rtmp": self.rtmp_url} | ({"rtmps": self.rtmps_url} if self.rtmps_url else {})
