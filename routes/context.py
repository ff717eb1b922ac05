"""What views reach for: this app's lifecycle and links, and the token of the request."""

from dataclasses import dataclass

from flask import current_app, g
from werkzeug.local import LocalProxy

from errors import NotFoundError
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import Links
from live.signing import Signer
from models import Channel


@dataclass(frozen=True)
class Box:
    lifecycle: Lifecycle
    links: Links
    limits: Limits
    signer: Signer


box: Box = LocalProxy(lambda: current_app.extensions["livestream"])


def own_channel(channel_id: str) -> Channel:
    """The channel, if this token may know of it; one of another account does not exist for it."""
    channel = Channel.named(channel_id)
    if channel is None or g.token.account_id not in (None, channel.account_id):
        raise NotFoundError.of("channel", channel_id)
    return channel
