"""Pages for people: the player. No token needed (contract, section 1)."""

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, render_template, request

from errors import ApiError, ForbiddenError, NotFoundError, from_api_error
from models import Channel, Status
from release import RELEASE
from routes.context import box
from wire import iso

bp = Blueprint("pages", __name__)

ERRORS = {
    403: ("By invitation", "Watching this broadcast takes a personal link. Ask whoever invited you for one."),
    404: ("Nothing here", "There is no broadcast at this address. Check it, or ask whoever sent it to you."),
}


@bp.get("/")
def home() -> Response:
    """For whoever opens the address that the start printed. The console will be here."""
    links = box.links
    return page("home.html", release=RELEASE, url=links.public_url, rtmp_url=links.rtmp_url)


@bp.get("/watch/<channel_id>")
def watch(channel_id: str) -> Response:
    channel = public_channel(channel_id)
    return page("watch.html", channel=channel, view=viewer_state(channel, box.links.livestream(channel)))


@bp.get("/watch/<channel_id>/state")
def watch_state(channel_id: str) -> Response:
    channel = public_channel(channel_id)
    return jsonify(viewer_state(channel, box.links.livestream(channel)))


@bp.get("/watch")
@bp.get("/watch/")
@bp.get("/watch/<path:rest>")
def nowhere(rest: str = "") -> Response:
    """A mistyped address answers a person, like any other page here."""
    raise NotFoundError.of("page", rest)


@bp.errorhandler(ApiError)
def failed(error: ApiError) -> Response:
    if request.endpoint == "pages.watch_state":
        return from_api_error(error)
    headline, detail = ERRORS[error.status]
    reply = page("error.html", headline=headline, detail=detail)
    reply.status_code = error.status
    return reply


def public_channel(channel_id: str) -> Channel:
    """A channel that anybody may watch; signed addresses are not made yet."""
    channel = Channel.named(channel_id)
    if channel is None:
        raise NotFoundError.of("channel", channel_id)
    if channel.playback != "public":
        raise ForbiddenError("This channel needs a signed address.")
    return channel


def viewer_state(channel: Channel, url: str | None) -> dict[str, Any]:
    """What a viewer may know of a channel, in its words: no account, no metadata, no token."""
    # A signal that cannot be played is nothing that a viewer could do something about.
    status = Status.INIT if channel.status == Status.ERROR else channel.status
    label, headline, detail = wording(status, begun=channel.start_time is not None)
    start_at = iso(channel.start_at) if status == Status.COMING and channel.start_at else None
    return {
        "status": status,
        "label": label,
        "headline": headline,
        "detail": detail,
        "startAt": start_at,
        "mode": channel.mode,
        "url": url,
    }


def wording(status: str, *, begun: bool) -> tuple[str, str, str]:
    """A word for the badge, a headline and a sentence."""
    match status:
        case Status.COMING:
            return "Coming up", "Not live yet", "It starts here by itself."
        case Status.LIVE:
            return "Live", "Live", "The picture is on its way."
        case Status.ENDED:
            return "Over", "This broadcast is over", "There is nothing more to come here."
        case _ if begun:
            return "Interrupted", "Back in a moment", "The signal is interrupted. It goes on here by itself."
        case _:
            return "Not live", "Not live yet", "It starts here by itself as soon as it is."


def page(template: str, **values: Any) -> Response:
    reply = Response(render_template(template, **values), mimetype="text/html")
    reply.headers["Content-Security-Policy"] = content_policy(request.host, box.links.public_url)
    reply.headers["Referrer-Policy"] = "same-origin"
    return reply


def content_policy(host: str, public_url: str) -> str:
    """Our own files only; media also from PUBLIC_URL, where that is another host than the page came from."""
    public = urlsplit(public_url)
    media = "" if public.netloc == host else f" {public.scheme}://{public.netloc}"
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",  # the icon
            f"connect-src 'self'{media}",
            f"media-src 'self' blob:{media}",  # hls.js hands the video to the browser as a blob
            "worker-src blob:",  # and unpacks segments in a worker made of its own source
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
        ]
    )
