"""The addresses a channel is reached at, from the outside."""

from dataclasses import dataclass

from models import Channel, Status


@dataclass(frozen=True)
class Links:
    """Where viewers (public_url) and encoders (rtmp_url) reach this box; neither ends with a slash."""

    public_url: str
    rtmp_url: str
    rtmps_url: str | None = None
    srt_url: str | None = None
    whip_url: str | None = None

    def livestream(self, channel: Channel) -> str | None:
        """The live playlist: only while the channel is live (contract, section 2)."""
        return f"{self.public_url}/play/{channel.id}/master.m3u8" if channel.status == Status.LIVE else None

    def seekable(self, channel: Channel) -> str | None:
        """The live playlist with what has been, for channels with `dvr`."""
        return (
            self.media(f"{channel.id}/master_dvr.m3u8") if channel.dvr and self.livestream(channel) else None
        )

    def media(self, path: str) -> str:
        """A file below DATA_DIR/media."""
        return f"{self.public_url}/play/{path}"

    def watch(self, channel: Channel, signature: str | None = None) -> str:
        """The player's page. In a query the signature stays out of our log, which has paths only."""
        return f"{self.public_url}/watch/{channel.id}" + (f"?signature={signature}" if signature else "")

    def ingest(self, stream_token: str) -> dict[str, str]:
        """Every way in that the media server offers. The last two have no field of their own for the streamToken."""
        ways = {"rtmp": self.rtmp_url, "rtmps": self.rtmps_url}
        if self.srt_url:
            ways["srt"] = f"{self.srt_url}?streamid=#!::r=live/{stream_token},m=publish"
        if self.whip_url:
            ways["whip"] = f"{self.whip_url}?app=live&stream={stream_token}"
        return {name: url for name, url in ways.items() if url}
