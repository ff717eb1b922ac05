"""Pages for viewers: the player, for itself and in other people's pages. No token needed (contract, section 1)."""

from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, jsonify, render_template, request, url_for
from markupsafe import escape

from db import utcnow
from errors import ApiError, ForbiddenError, NotFoundError, from_api_error
from live.signing import signed
from live.snapshot import channel_object, on_air_ms, storyboard_url
from models import Channel, Session, Status
from routes.context import box
from wire import iso

bp = Blueprint("pages", __name__)

ERRORS = {
    403: ("By invitation", "Watching this broadcast takes a personal link. Ask whoever invited you for one."),
    404: ("Nothing here", "There is no broadcast at this address. Check it, or ask whoever sent it to you."),
}
FOR_PROGRAMS = {"pages.watch_state", "pages.oembed"}
ANYWHERE = "*"
# Of a frame that has no size given, and those that are asked for.
EMBED_WIDTH, NARROWEST, WIDEST = 640, 200, 1920


@bp.get("/watch/<channel_id>")
def watch(channel_id: str) -> Response:
    channel = public_channel(channel_id)
    asked = {"url": f"{box.links.public_url}/watch/{channel.id}", "format": "json"}
    oembed_url = f"{box.links.public_url}/oembed?{urlencode(asked)}"
    return player_page("watch.html", channel, oembed_url=oembed_url)


@bp.get("/embed/<channel_id>")
def embed(channel_id: str) -> Response:
    """The player alone, for an iframe in any page."""
    return player_page("embed.html", public_channel(channel_id), frames=ANYWHERE)


@bp.get("/watch/<channel_id>/state")
def watch_state(channel_id: str) -> Response:
    return jsonify(viewer_state(public_channel(channel_id)))


@bp.get("/oembed")
def oembed() -> Response:
    """How to show one of our addresses in another page (oembed.com, version 1.0)."""
    channel = public_channel(embeddable(request.args.get("url", "")))
    if request.args.get("format", "json") != "json":
        return Response("Only format=json is spoken here.\n", 501, mimetype="text/plain")
    return jsonify(
        embedded(channel, *frame_size(request.args.get("maxwidth"), request.args.get("maxheight")))
    )


@bp.get("/watch")
@bp.get("/watch/")
@bp.get("/watch/<path:rest>")
@bp.get("/embed")
@bp.get("/embed/")
@bp.get("/embed/<path:rest>")
def nowhere(rest: str = "") -> Response:
    """A mistyped address answers a person, like any other page here."""
    raise NotFoundError.of("page", rest)


@bp.errorhandler(ApiError)
def failed(error: ApiError) -> Response:
    if request.endpoint in FOR_PROGRAMS:
        return from_api_error(error)
    headline, detail = ERRORS[error.status]
    reply = page("error.html", headline=headline, detail=detail)
    reply.status_code = error.status
    return reply


def public_channel(channel_id: str) -> Channel:
    """A channel that whoever asks may watch: a signed one with a signature only."""
    channel = Channel.named(channel_id)
    if channel is None:
        raise NotFoundError.of("channel", channel_id)
    signature = request.args.get("signature", "")
    if channel.playback == "signed" and not box.signer.valid(channel.id, signature, utcnow()):
        raise ForbiddenError("This channel needs a signed address, and one whose time is not over.")
    return channel


def opening(channel: Channel, url: str | None) -> str | None:
    """The address of a file of the channel as this viewer may have it: it ends when the page's own address does."""
    return signed(url, channel.id, request.args["signature"]) if channel.playback == "signed" else url


def passing_on(channel: Channel) -> dict[str, str]:
    """The query of the page's own calls."""
    return {"signature": request.args["signature"]} if channel.playback == "signed" else {}


def viewer_state(channel: Channel) -> dict[str, Any]:
    """What a viewer may know of a channel, in its words: no account, no metadata, no token."""
    now, session = utcnow(), Session.open_of(channel)
    shown = channel_object(channel, session, box.links, now)
    # A signal that cannot be played is nothing that a viewer could do something about.
    status = Status.INIT if channel.status == Status.ERROR else channel.status
    label, headline, detail = wording(
        status, begun=channel.start_time is not None, again=bool(shown["videoUrl"])
    )
    return {
        "status": status,
        "label": label,
        "headline": headline,
        "detail": detail,
        "startAt": iso(channel.start_at) if status == Status.COMING and channel.start_at else None,
        "mode": channel.mode,
        "url": opening(channel, shown["livestreamUrl"]),
        "dvrUrl": opening(channel, dvr_url(channel)),
        "onAir": on_air_ms(channel, session, now) // 1000,
        "videoUrl": opening(channel, shown["videoUrl"]),
        "storyboardUrl": opening(channel, storyboard_url(channel, box.links) if shown["videoUrl"] else None),
    }


def dvr_url(channel: Channel) -> str | None:
    """What can be sought in while it is live."""
    return box.links.seekable(channel)


def wording(status: str, *, begun: bool, again: bool) -> tuple[str, str, str]:
    """A word for the badge, a headline and a sentence."""
    match status:
        case Status.COMING:
            return "Coming up", "Not live yet", "It starts here by itself."
        case Status.LIVE:
            return "Live", "Live", "The picture is on its way."
        case Status.ENDED if again:
            return "Over", "This broadcast is over", "It can be watched again."
        case Status.ENDED:
            return "Over", "This broadcast is over", "There is nothing more to come here."
        case _ if begun:
            return "Interrupted", "Back in a moment", "The signal is interrupted. It goes on here by itself."
        case _:
            return "Not live", "Not live yet", "It starts here by itself as soon as it is."


def embeddable(url: str) -> str:
    """The channel that an address of a page of ours shows."""
    for player in ("watch", "embed"):
        address = f"{box.links.public_url}/{player}/"
        if url.startswith(address):
            return url.removeprefix(address).partition("?")[0]
    raise NotFoundError("url is not that of a player here: /watch/{id} or /embed/{id}.")


def frame_size(max_width: str | None, max_height: str | None) -> tuple[int, int]:
    """16:9, no larger than asked for."""
    width = min(pixels(max_width, EMBED_WIDTH), pixels(max_height, WIDEST) * 16 // 9)
    return width, width * 9 // 16


def pixels(text: str | None, otherwise: int) -> int:
    return min(max(int(text), NARROWEST), WIDEST) if text and text.isdecimal() else otherwise


def embedded(channel: Channel, width: int, height: int) -> dict[str, Any]:
    address = f"{box.links.public_url}/embed/{channel.id}"
    frame = (
        f'<iframe src="{address}" width="{width}" height="{height}" title="{escape(channel.name)}"'
        ' frameborder="0" allow="autoplay; fullscreen" allowfullscreen></iframe>'
    )
    return {
        "version": "1.0",
        "type": "video",
        "title": channel.name,
        "provider_name": "Livestream",
        "provider_url": box.links.public_url,
        "width": width,
        "height": height,
        "html": frame,
    }


def player_page(template: str, channel: Channel, *, frames: str = "'self'", **values: Any) -> Response:
    state_url = url_for("pages.watch_state", channel_id=channel.id, **passing_on(channel))
    view = viewer_state(channel)
    return page(template, frames=frames, channel=channel, view=view, state_url=state_url, **values)


def page(template: str, *, frames: str = "'self'", **values: Any) -> Response:
    reply = Response(render_template(template, **values), mimetype="text/html")
    reply.headers["Content-Security-Policy"] = content_policy(request.host, box.links.origins(), frames)
    reply.headers["Referrer-Policy"] = "same-origin"
    return reply


def content_policy(host: str, public_urls: list[str], frames: str = "'self'") -> str:
    """Our own files only; media also from the nodes, where those are other hosts than the page came from."""
    places = [urlsplit(url) for url in public_urls]
    media = "".join(f" {place.scheme}://{place.netloc}" for place in places if place.netloc != host)
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data:{media}",  # the icon; previews
            f"connect-src 'self'{media}",
            f"media-src 'self' blob:{media}",  # hls.js hands the video to the browser as a blob
            "worker-src blob:",  # and unpacks segments in a worker made of its own source
            "base-uri 'none'",
            "form-action 'none'",
            f"frame-ancestors {frames}",
        ]
    )
