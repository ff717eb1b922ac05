"""Which media servers there are, and the one that MEDIA_SERVER names: nowhere else is one known by name."""

from collections.abc import Callable

from config import Config
from media.servers import Dialect, MediaServer, nginx_rtmp, srs

DIALECTS: dict[str, Dialect] = {nginx_rtmp.KIND: nginx_rtmp, srs.KIND: srs}
RUNNING: dict[str, Callable[[Config], MediaServer]] = {
    nginx_rtmp.KIND: nginx_rtmp.running,
    srs.KIND: srs.running,
}


def names_streams(config: Config) -> bool:
    """Whether it gives streams the names of our sessions, so that transcoders can read them there."""
    return config.media_server == nginx_rtmp.KIND


def media_server(config: Config) -> MediaServer | None:
    """The one that runs with this configuration."""
    made = RUNNING.get(config.media_server)
    return made(config) if made else None


def dialect(config: Config) -> tuple[str, Dialect]:
    """Its kind and its words; without a media server those of nginx-rtmp, so that hooks can be tried."""
    kind = config.media_server if config.media_server in DIALECTS else nginx_rtmp.KIND
    return kind, DIALECTS[kind]
