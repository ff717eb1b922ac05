"""The channel resource, at /v1/live and, with the same behaviour, at /livestream/live (contract, section 2)."""

from typing import Any

from flask import Blueprint, Response, g, request

from auth import require_token
from db import utcnow
from errors import created, nothing, ok, ok_list
from live import listing
from live.snapshot import channel_object, session_ms
from models import Channel, Session
from routes.context import box, own_channel
from routes.parsing import body, query
from schemas import (
    ChannelCreate,
    ChannelQuery,
    ChannelUpdate,
    CreatedOut,
    NoQuery,
    Page,
    SessionOut,
    StopQuery,
    StreamOut,
    TimelineOut,
    TokenReset,
)

bp = Blueprint("live", __name__)
bp.before_request(require_token)


@bp.post("")
def create() -> Response:
    channel = box.lifecycle.create(body(ChannelCreate()), utcnow())
    fields = stream(channel) | {"created_at": channel.created_at, "ingest": box.links.ingest()}
    return created(CreatedOut().dump(fields), f"{request.path}/{channel.id}")


@bp.get("")
def read_list() -> Response:
    asked, now = query(ChannelQuery()), utcnow()
    page = listing.channels(asked, g.token.account_id, now)
    sessions = listing.open_sessions(page.rows)
    shown = [channel_object(each, sessions.get(each.pk), box.links, now) for each in page.rows]
    return ok_list(shown, page.total, asked["page"])


@bp.get("/<channel_id>")
def read(channel_id: str) -> Response:
    query(NoQuery())
    return ok(show(own_channel(channel_id)))


@bp.get("/<channel_id>/rtmp")
def read_stream(channel_id: str) -> Response:
    query(NoQuery())
    return ok(StreamOut().dump(stream(own_channel(channel_id))))


@bp.route("/<channel_id>", methods=["PUT", "PATCH"])
def update(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    return ok(show(box.lifecycle.update(channel.id, body(ChannelUpdate()), utcnow())))


@bp.delete("/<channel_id>")
def stop(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    if query(StopQuery())["delete"]:
        box.lifecycle.delete(channel.id, utcnow())
        return nothing()
    return ok(show(box.lifecycle.stop(channel.id, utcnow())))


@bp.post("/<channel_id>/token")
def reset_token(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    fresh = box.lifecycle.reset_token(channel.id, body(TokenReset())["disconnect"], utcnow())
    return ok(StreamOut().dump(stream(fresh)))


@bp.get("/<channel_id>/session")
def read_sessions(channel_id: str) -> Response:
    asked, now = query(Page()), utcnow()
    page = listing.sessions(own_channel(channel_id), asked)
    shown = [
        SessionOut().dump(vars_of(each) | {"duration": session_ms(each, now) // 1000}) for each in page.rows
    ]
    return ok_list(shown, page.total, asked["page"])


@bp.get("/<channel_id>/event")
def read_timeline(channel_id: str) -> Response:
    asked = query(Page())
    page = listing.timeline(own_channel(channel_id), asked)
    return ok_list(TimelineOut(many=True).dump(page.rows), page.total, asked["page"])


def show(channel: Channel) -> dict[str, Any]:
    return channel_object(channel, Session.open_of(channel), box.links, utcnow())


def stream(channel: Channel) -> dict[str, Any]:
    """What an encoder needs: the two fields, under the channel's id."""
    ids = {"id": channel.id, "stream_id": channel.id}
    return ids | {"stream_url": box.links.rtmp_url, "stream_token": channel.stream_token}


def vars_of(session: Session) -> dict[str, Any]:
    return dict(session.__data__)
