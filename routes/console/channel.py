"""One channel: its page, its form, its ends."""

from datetime import timedelta
from functools import lru_cache
from typing import Any

import segno
from flask import Blueprint, Response, current_app, g, jsonify, request, url_for
from markupsafe import Markup

import audit
from auth import may_see_stream_tokens
from db import utcnow
from live import analytics, listing, playback, studio, system, videos
from live.lifecycle import KEPT_AFTER_THE_END
from live.snapshot import channel_object, session_ms
from models import Channel, Role, Session
from routes.console import lists, words
from routes.console.forms import Form
from routes.console.page import go, page, wants_json
from routes.context import box, own_channel
from schemas import ChannelUpdate, Page, PlaybackCreate
from schemas_analytics import ChannelStatisticsOut
from schemas_search import VideoQuery
from schemas_studio import StudioCreate

bp = Blueprint("channel", __name__, url_prefix="/channels/<channel_id>")

LATEST = 8
MINUTES = 60
PREVIEWED_FOR = timedelta(hours=12)  # as long as the session may be idle


@bp.get("")
def read(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    latest = listing.timeline(channel, {"page": 0, "length": LATEST})
    watch_url = f"{box.links.public_url}/watch/{channel.id}"
    shown = {"latest": happened(latest.rows), "watch_url": watch_url, "qr": qr_code(watch_url)}
    shown["entrance"] = box.links.entrance(channel, utcnow())
    return page(
        "console/channel.html", **state_of(channel), **shown, preview_url=preview(channel), modes=words.MODES
    )


@bp.get("/state")
def state(channel_id: str) -> Response:
    """What of the page changes by itself."""
    channel = own_channel(channel_id)
    latest = listing.timeline(channel, {"page": 0, "length": LATEST})
    return page("console/_channel.html", **state_of(channel), latest=happened(latest.rows))


@bp.get("/statistics")
def statistics(channel_id: str) -> Response:
    """What the charts are drawn from: the last hour."""
    return jsonify(ChannelStatisticsOut().dump(counted(own_channel(channel_id))))


@bp.post("/key")
def key(channel_id: str) -> Response:
    """The stream key, for whoever asks for it; written down as GET /rtmp is."""
    may_see_stream_tokens()
    channel = own_channel(channel_id)
    audit.record("read_stream_token", "channel", channel.id, channel.account_id, utcnow())
    if wants_json():
        return jsonify(key=channel.stream_token)
    return page("console/channel_key.html", channel=channel, entrance=box.links.entrance(channel, utcnow()))


@bp.post("/invite")
def invite(channel_id: str) -> Response:
    """An address for a viewer of a signed channel."""
    channel = own_channel(channel_id)
    form = Form.sent(PlaybackCreate())
    with form.asking():
        expires_in = form.load()["expires_in"]
        made = playback.addresses(channel, expires_in, box.links, box.signer, utcnow())
        return page("console/channel_invite.html", channel=channel, made=made, qr=qr_code(made["watch_url"]))
    return go(".read", channel_id=channel.id)


@bp.post("/studio")
def studio_link(channel_id: str) -> Response:
    """A page for the broadcaster, who has no token; its address is shown this once."""
    channel = own_channel(channel_id)
    form = Form.sent(StudioCreate())
    with form.asking():
        link, secret = studio.make(channel, form.load()["expires_in"], utcnow())
        url = f"{box.links.public_url}/studio/{secret}"
        return page("console/channel_studio.html", channel=channel, link=link, url=url, qr=draw(url))
    return go(".read", channel_id=channel.id)


@bp.post("/studio/back")
def take_back_studio_links(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    studio.take_back(channel, utcnow())
    return go(".read", channel_id=channel.id, done="taken-back")


@bp.get("/edit")
def edit(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    return page("console/channel_edit.html", channel=channel, form=form_of(channel))


@bp.post("/edit")
def update(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    form = Form.sent(ChannelUpdate())
    with form.asking():
        box.lifecycle.update(channel.id, form.load(), utcnow())
        return go(".read", channel_id=channel.id, done="saved")
    return page("console/channel_edit.html", form.code, channel=channel, form=form)


@bp.get("/<any(reset, stop, delete):verb>")
def confirm(channel_id: str, verb: str) -> Response:
    """Asks once more before what cannot be undone."""
    channel = own_channel(channel_id)
    return page("console/channel_confirm.html", channel=channel, verb=verb, session=Session.open_of(channel))


@bp.post("/reset")
def reset(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    box.lifecycle.reset_token(channel.id, "disconnect" in request.form, utcnow())
    return go(".read", channel_id=channel.id, done="reset")


@bp.post("/stop")
def stop(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    box.lifecycle.stop(channel.id, utcnow())
    return go(".read", channel_id=channel.id, done="stopped")


@bp.post("/delete")
def delete(channel_id: str) -> Response:
    box.lifecycle.delete(own_channel(channel_id).id, utcnow())
    return go("console.channels.index", done="deleted")


@bp.get("/timeline")
def timeline(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    asked, _ = lists.asked(Page())
    found = listing.timeline(channel, asked)
    pager = lists.Pager.of(asked, found.total)
    return page("console/channel_timeline.html", channel=channel, entries=happened(found.rows), pager=pager)


@bp.get("/sessions")
def sessions(channel_id: str) -> Response:
    now, channel = utcnow(), own_channel(channel_id)
    asked, _ = lists.asked(Page())
    found = listing.sessions(channel, asked)
    rows = [
        {"session": each, "seconds": session_ms(each, now) // 1000, "left": words.left(each.end_reason)}
        for each in found.rows
    ]
    pager = lists.Pager.of(asked, found.total)
    return page("console/channel_sessions.html", channel=channel, rows=rows, pager=pager)


@bp.get("/videos")
def videos_of(channel_id: str) -> Response:
    channel = own_channel(channel_id)
    asked, _ = lists.asked(VideoQuery())
    found = videos.found(asked | {"channel_id": channel.id}, utcnow())
    rows = [videos.video_object(each, box.links) for each in found.rows]
    pager = lists.Pager.of(asked, found.total)
    return page("console/channel_videos.html", channel=channel, rows=rows, pager=pager)


def form_of(channel: Channel) -> Form:
    """What can be changed of it: of an ended one its words only."""
    only = KEPT_AFTER_THE_END if channel.over else ()
    return Form.showing(ChannelUpdate(only=only or None), channel.__data__)


def state_of(channel: Channel) -> dict[str, Any]:
    session = Session.open_of(channel)
    shown = channel_object(channel, session, box.links, utcnow())
    word, sentence = words.status(channel, session)
    return {
        "channel": channel,
        "session": session,
        "shown": shown,
        "word": word,
        "sentence": sentence,
        "health": words.health(shown["health"]) if shown["health"] else None,
        "advice": [words.advice(reason) for reason in shown["healthReasons"]],
        "audience": counted(channel),
    }


def counted(channel: Channel) -> dict[str, Any]:
    now = utcnow()
    counts = system.counts_viewers(current_app.config["LIVESTREAM"])
    return analytics.of_channel(channel, MINUTES, now, counted=counts)


def happened(entries: list[Any]) -> list[dict[str, Any]]:
    return [
        {"id": each.pk, "kind": each.kind, "time": each.time, "words": words.happened(each)}
        for each in entries
    ]


def preview(channel: Channel) -> str | None:
    """The player for other pages, of this very address: nobody else may frame it here.

    None where it would be an address of a signed channel, which a token that only reads cannot make.
    """
    endpoint = "pages.embed" if "pages.embed" in current_app.view_functions else "pages.watch"
    signed = channel.playback == "signed"
    if signed and g.token.role == Role.READ:
        return None
    signature = {"signature": box.signer.sign(channel.id, utcnow() + PREVIEWED_FOR)} if signed else {}
    return url_for(endpoint, channel_id=channel.id, **signature)


@lru_cache(maxsize=256)
def qr_code(address: str) -> Markup:
    """Drawn once: it takes 15 ms. Not for an address that is a secret, which would stay in memory."""
    return draw(address)


def draw(address: str) -> Markup:
    """As SVG within the page; a reader needs it dark on light, whatever the colours of the page."""
    code = segno.make(address, error="m", micro=False)
    return Markup(code.svg_inline(omitsize=True, border=2, dark="#1d1b19", light="#fff"))  # noqa: S704 (of ours)
