"""Whoever asks a node for a file that another one has is sent there: addresses are told before it is known who has
what, and stay in use when a channel has moved on (docs/nodes.md)."""

from flask import Blueprint, Response, redirect

from errors import NotFoundError
from live.playback import holder
from models import Channel
from routes.context import box

bp = Blueprint("elsewhere", __name__)


@bp.get("/play/<channel_id>/<path:rest>")
def send_on(channel_id: str, rest: str) -> Response:
    channel = Channel.named(channel_id)
    node = box.links.at(holder(channel, rest.rpartition("/")[2])) if channel else box.links
    if node is box.links:
        raise NotFoundError.of("file", rest)
    reply = redirect(f"{node.public_url}/play/{channel_id}/{rest}")
    reply.headers["Access-Control-Allow-Origin"] = "*"
    return reply
