"""What media servers call: on a listener of its own, behind a secret in the path (contract, section 8)."""

import hmac
import logging
from datetime import datetime
from functools import partial

from flask import Blueprint, Response, abort, current_app, request

import metrics
from db import together, utcnow
from live.arrival import Arrival, RefusedError
from media import index, storage
from media.index import Job
from media.servers import BadHookError, Hook
from media.servers.choice import DIALECTS
from models import Session
from routes.context import box

log = logging.getLogger(__name__)

bp = Blueprint("hooks", __name__)


@bp.post("/hooks/<kind>/<secret>")
def hook(kind: str, secret: str) -> Response:
    dialect = DIALECTS.get(kind)
    if dialect is None or not hmac.compare_digest(
        secret.encode(), current_app.config["HOOK_SECRET"].encode()
    ):
        abort(404)
    try:
        stream = decide(dialect.parse_hook(request.get_data(), request.args))
    except BadHookError as error:
        log.warning("hook not understood: %s", error)
        stream = None
    said = dialect.answer(stream)
    return Response(said.body, said.status, said.headers, content_type=said.content_type)


def decide(told: Hook) -> str | None:
    """The name under which a stream is let in; None for a refusal; "" for a call that asks for nothing."""
    now = utcnow()
    if told.call == "publish":
        with metrics.deciding() as decision:
            stream, decision.result = publish(told, now)
        return stream
    if told.call == "play":
        return None  # viewers have their own way: what an encoder publishes with opens no playback
    if told.call == "unpublish":
        together(partial(box.lifecycle.unpublish, told.connection, "left", now))
    return ""


def publish(told: Hook, now: datetime) -> tuple[str | None, str]:
    """The name to let it in under, or None, and the word for it."""
    arrival = Arrival(told.connection, told.client_ip, told.encoder)
    try:
        session = together(partial(box.lifecycle.publish, told.stream_token, arrival, now))
    except RefusedError as error:
        return None, error.reason
    try:
        make_room(session)
    except OSError as error:
        about = {"event": "no_storage", "channelId": session.channel.id, "sessionId": session.id}
        log.error("%s: no room for its media: %s", session.id, error, extra=about)
        box.lifecycle.unpublish(told.connection, "no_storage", now)
        return None, "no_storage"
    return session.id, "accepted"


def make_room(session: Session) -> None:
    """The folder that the media server writes to, and how the packager is to show it: before the first frame."""
    channel = session.channel
    config = current_app.config["LIVESTREAM"]
    folder = storage.open_for(config, channel.id, session.id, channel.stream_token)
    storage.mark_signed(folder.parent, signed=channel.playback == "signed")
    index.write_job(folder, Job.wanted_by(channel))
