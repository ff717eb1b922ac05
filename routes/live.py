"""The channel resource, at /v1/live and, with the same behaviour, at /livestream/live (contract, section 2)."""

from typing import Any

from flask import Blueprint, Response, current_app, g, request

import audit
from auth import account_filter, may_see_stream_tokens, own_account, require_token
from db import utcnow
from errors import (
    KeyReusedError,
    LimitError,
    NotPossibleError,
    TokenInUseError,
    created,
    nothing,
    ok,
    ok_list,
)
from live import analytics, listing, playback, system
from live.links import fields_for_encoder, ingest
from live.renditions import renditions_of
from live.snapshot import channel_object, session_ms
from models import Channel, Session
from routes.call import call
from routes.context import box, own_channel
from routes.once import once
from schemas import (
    ChannelCreate,
    ChannelOut,
    ChannelQuery,
    ChannelUpdate,
    CreatedOut,
    Page,
    PlaybackCreate,
    PlaybackOut,
    ReceivedOut,
    SessionOut,
    StopQuery,
    StreamOut,
    TimelineOut,
    TokenReset,
)
from schemas_analytics import ChannelStatisticsOut, ChannelStatisticsQuery

bp = Blueprint("live", __name__)
bp.before_request(require_token)

Asked = dict[str, Any]
MAKES_ITS_OWN = "makes channels of that one only"


@bp.post("")
@call(ChannelCreate, gives={201: CreatedOut}, fails=(LimitError, TokenInUseError, KeyReusedError))
def create(asked: Asked) -> Response:
    """Create a channel: the answer has the two fields for the encoder.

    `accountId` is "1" where it is left out, or the account that the token is bound to. Sent again with the same
    `Idempotency-Key` within 24 hours it answers the same and creates nothing.
    """
    now = utcnow()
    asked["account_id"] = own_account(asked.get("account_id", g.token.account_id or "1"), MAKES_ITS_OWN)
    return once(asked, lambda: show_new(box.lifecycle.create(asked, now)), now)


@bp.get("")
@call(ChannelQuery, gives={200: [ChannelOut]})
def read_list(asked: Asked) -> Response:
    """List channels, those that started last first."""
    now = utcnow()
    page = listing.channels(asked | {"account_id": account_filter(asked.get("account_id"))}, now)
    sessions = listing.open_sessions(page.rows)
    shown = [channel_object(each, sessions.get(each.pk), box.links, now) for each in page.rows]
    return ok_list(shown, page.total, asked["page"])


@bp.get("/<channel_id>")
@call(gives={200: ChannelOut})
def read(channel_id: str) -> Response:
    """Read one channel.

    Addresses of a `signed` channel are plain here and refuse viewers: those that open are made with `/playback`.
    """
    return ok(show(own_channel(channel_id)))


@bp.get("/<channel_id>/rtmp")
@call(gives={200: StreamOut})
def read_stream(channel_id: str) -> Response:
    """Read the two fields for the encoder."""
    may_see_stream_tokens()
    channel = own_channel(channel_id)
    audit.record("read_stream_token", "channel", channel.id, channel.account_id, utcnow())
    return ok(StreamOut.show(stream(channel)))


@bp.route("/<channel_id>", methods=["PUT", "PATCH"])
@call(ChannelUpdate, gives={200: ChannelOut}, fails=(NotPossibleError,))
def update(channel_id: str, asked: Asked) -> Response:
    """Change the fields that are sent."""
    channel = own_channel(channel_id)
    return ok(show(box.lifecycle.update(channel.id, asked, utcnow())))


@bp.delete("/<channel_id>")
@call(StopQuery, gives={200: ChannelOut, 204: None})
def stop(channel_id: str, asked: Asked) -> Response:
    """Stop a channel for good; with `delete`, remove it and its media too."""
    channel = own_channel(channel_id)
    if asked["delete"]:
        box.lifecycle.delete(channel.id, utcnow())
        return nothing()
    return ok(show(box.lifecycle.stop(channel.id, utcnow())))


@bp.post("/<channel_id>/token")
@call(TokenReset, gives={200: StreamOut}, fails=(NotPossibleError,))
def reset_token(channel_id: str, asked: Asked) -> Response:
    """Replace the streamToken; with `disconnect`, drop the publisher as well."""
    channel = own_channel(channel_id)
    fresh = box.lifecycle.reset_token(channel.id, asked["disconnect"], utcnow())
    return ok(StreamOut.show(stream(fresh)))


@bp.post("/<channel_id>/playback")
@call(PlaybackCreate, gives={201: PlaybackOut})
def make_playback(channel_id: str, asked: Asked) -> Response:
    """Make addresses for viewers. Those of a `signed` channel open it for `expiresIn` seconds, and nothing else does.

    Whoever has such an address can pass it on, and is cut off when it expires: make one for each viewer, for as long
    as that viewer may watch. `recordUrl` is in the channel object's order; a video's address is the one whose last part
    its `url` has. `downloadUrl` is the catch-up as one file, once it was asked for and made.
    """
    channel = own_channel(channel_id)
    made = playback.addresses(channel, asked["expires_in"], box.links, box.signer, utcnow())
    return created(PlaybackOut.show(made), made["watch_url"])


@bp.get("/<channel_id>/session")
@call(Page, gives={200: [SessionOut]})
def read_sessions(channel_id: str, asked: Asked) -> Response:
    """List the publish sessions of a channel, newest first."""
    now = utcnow()
    page = listing.sessions(own_channel(channel_id), asked)
    shown = [
        SessionOut().dump(vars_of(each) | {"duration": session_ms(each, now) // 1000}) for each in page.rows
    ]
    return ok_list(shown, page.total, asked["page"])


@bp.get("/<channel_id>/event")
@call(Page, gives={200: [TimelineOut]})
def read_timeline(channel_id: str, asked: Asked) -> Response:
    """List what happened to a channel, newest first."""
    page = listing.timeline(own_channel(channel_id), asked)
    return ok_list(TimelineOut(many=True).dump(page.rows), page.total, asked["page"])


@bp.get("/<channel_id>/metadata")
@call(gives={200: ReceivedOut})
def read_metadata(channel_id: str) -> Response:
    """Read what is being received now: the media of the running session, null where nobody publishes."""
    session = Session.open_of(own_channel(channel_id))
    if session is None:
        return ok(ReceivedOut.show({}))
    found = {"session_id": session.id, "renditions": renditions_of(session)}
    return ok(ReceivedOut.show(session.__data__ | found))


@bp.get("/<channel_id>/statistics")
@call(ChannelStatisticsQuery, gives={200: ChannelStatisticsOut})
def read_statistics(channel_id: str, asked: Asked) -> Response:
    """Read the signal and the audience of a channel: now, ever, and by minute for the last `minutes`.

    How viewers are counted is said at `/v1/analytics`. `viewers` is null while nobody counts.
    """
    channel, counted = own_channel(channel_id), system.counts_viewers(current_app.config["LIVESTREAM"])
    found = analytics.of_channel(channel, asked["minutes"], utcnow(), counted=counted)
    return ok(ChannelStatisticsOut().dump(found))


def show_new(channel: Channel) -> Response:
    made = {
        "created_at": channel.created_at,
        "ingest": ingest(box.links.entrance(channel, channel.created_at), channel.stream_token),
    }
    fields = stream(channel) | made
    return created(CreatedOut.show(fields), f"{request.path}/{channel.id}")


def show(channel: Channel) -> dict[str, Any]:
    return channel_object(channel, Session.open_of(channel), box.links, utcnow())


def stream(channel: Channel) -> dict[str, Any]:
    """What an encoder needs: the two fields, under the channel's id."""
    return fields_for_encoder(channel, box.links.entrance(channel, utcnow()))


def vars_of(session: Session) -> dict[str, Any]:
    return dict(session.__data__)
