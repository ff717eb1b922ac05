"""Studio links: for an App Server to hand out, and the page that they open (contract, section 2)."""

from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request, url_for

import audit
from auth import require_token
from db import utcnow
from errors import ApiError, NotFoundError, NotPossibleError, created, from_api_error, nothing
from live import studio, system
from live.analytics import viewers_now
from live.signing import signed
from live.snapshot import channel_object, on_air_ms
from models import Channel, Session, Status
from models_studio import StudioLink
from routes.call import call
from routes.console import words
from routes.context import box, own_channel
from routes.pages import page
from schemas_studio import StudioCreate, StudioOut
from wire import iso

api = Blueprint("studio", __name__)
api.before_request(require_token)
bp = Blueprint("studio_page", __name__, url_prefix="/studio")

FOR_PROGRAMS = {"studio_page.state", "studio_page.key"}
CLOSED = (
    "This link opens nothing",
    "It has expired or was taken back. Ask whoever sent it to you for a new one.",
)


@api.post("/<channel_id>/studio")
@call(StudioCreate, gives={201: StudioOut}, fails=(NotPossibleError,))
def create(channel_id: str, asked: dict[str, Any]) -> Response:
    """Make a link for the broadcaster: a page with the two fields, preview, health and time on air.

    It takes no API token, and is shown this once. It works for `expiresIn` seconds, or until links are taken back.
    """
    link, secret = studio.make(own_channel(channel_id), asked["expires_in"], utcnow())
    url = f"{box.links.public_url}/studio/{secret}"
    return created(StudioOut().dump({"studio_url": url, "expires_at": link.expires_at}), url)


@api.delete("/<channel_id>/studio")
@call(gives={204: None})
def take_back(channel_id: str) -> Response:
    """Take back all studio links of a channel: they open nothing from now on."""
    studio.take_back(own_channel(channel_id), utcnow())
    return nothing()


@bp.get("/<secret>")
def show(secret: str) -> Response:
    link = opened(secret)
    entrance = box.links.entrance(link.channel, utcnow())
    reply = page(
        "studio.html",
        frames="'none'",
        channel=link.channel,
        link=link,
        view=broadcaster_state(link),
        server=entrance.rtmp_url,
        server_tls=entrance.rtmps_url,
        expires_at=iso(link.expires_at),
        state_url=url_for(".state", secret=secret),
        key_url=url_for(".key", secret=secret),
    )
    return private(reply)


@bp.get("/<secret>/state")
def state(secret: str) -> Response:
    return private(jsonify(broadcaster_state(opened(secret))))


@bp.post("/<secret>/key")
def key(secret: str) -> Response:
    """The stream key, when the broadcaster asks to see or copy it; recorded as the link's doing."""
    link = opened(secret)
    channel = link.channel
    audit.acting.set(audit.Actor(link.id, request.remote_addr or "", g.request_id))
    audit.record("read_stream_token", "channel", channel.id, channel.account_id, utcnow())
    return private(jsonify({"key": channel.stream_token}))


@bp.get("/")
@bp.get("/<path:rest>")
def nowhere(rest: str = "") -> Response:
    raise NotFoundError("There is no such studio link.")


@bp.errorhandler(ApiError)
def failed(error: ApiError) -> Response:
    if request.endpoint in FOR_PROGRAMS:
        return private(from_api_error(error))
    headline, detail = CLOSED
    reply = private(page("error.html", frames="'none'", headline=headline, detail=detail))
    reply.status_code = error.status
    return reply


def opened(secret: str) -> StudioLink:
    link = studio.opened(secret, utcnow())
    if link is None:
        raise NotFoundError("There is no such studio link.")
    return link


def private(reply: Response) -> Response:
    """The address is the key to the page: it goes to nobody else, and nothing of it is kept."""
    reply.headers["Referrer-Policy"] = "no-referrer"
    reply.headers["Cache-Control"] = "no-store"
    reply.headers["X-Robots-Tag"] = "noindex"
    return reply


def broadcaster_state(link: StudioLink) -> dict[str, Any]:
    """How the broadcast is, in words for who makes it."""
    channel = link.channel
    now, session = utcnow(), Session.open_of(channel)
    shown = channel_object(channel, session, box.links, now)
    label, headline, detail = wording(channel, publishing=session is not None)
    counted = channel.status == Status.LIVE and system.counts_viewers(current_app.config["LIVESTREAM"])
    return {
        "status": channel.status,
        "label": label,
        "headline": headline,
        "detail": detail,
        "startAt": iso(channel.start_at) if channel.status == Status.COMING and channel.start_at else None,
        "mode": channel.mode,
        "url": preview_url(link, shown["livestreamUrl"]),
        "onAir": on_air_ms(channel, session, now) // 1000,
        "sending": session is not None,
        "health": health_in_words(shown["health"], shown["healthReasons"]),
        "viewers": viewers_now(channel.id)["viewers"] if counted else None,
    }


def health_in_words(health: str | None, reasons: list[str]) -> dict[str, Any] | None:
    if health is None:
        return None
    word, detail = words.health(health)
    advice = [words.advice(reason) for reason in reasons]
    return {
        "grade": health,
        "word": word,
        "detail": detail,
        "reasons": [f"{each.what} {each.change}".strip() for each in advice],
    }


def preview_url(link: StudioLink, url: str | None) -> str | None:
    """What is live, for who makes it: of a signed channel for as long as the link holds."""
    channel = link.channel
    if channel.playback != "signed":
        return url
    return signed(url, channel.id, box.signer.sign(channel.id, link.expires_at))


def wording(channel: Channel, *, publishing: bool) -> tuple[str, str, str]:
    """A word for the badge, a headline, and what to do next."""
    match channel.status:
        case Status.LIVE:
            return "Live", "You are live", "Viewers see what you send."
        case Status.ENDED:
            return "Ended", "This broadcast is over", "It cannot be started again."
        case Status.ERROR:
            advice = "Send H.264 video and AAC sound; the timeline of the channel has the reason."
            return "Signal error", "Your signal cannot be played", advice
        case _ if publishing:
            return "Connected", "Your signal arrives", "It is live in a moment."
        case Status.COMING:
            return "Scheduled", "Not live yet", "You can start sending 15 minutes before."
        case _ if channel.start_time:
            wait = f"Start your encoder again within {minutes(channel.stop_timeout)}, and it goes on."
            return "Interrupted", "Your signal is gone", wait
        case _:
            advice = "Put the two fields below into your encoder, and start sending."
            return "Waiting", "Waiting for your signal", advice


def minutes(seconds: int) -> str:
    whole = round(seconds / 60)
    return f"{whole} minutes" if whole > 1 else f"{seconds} seconds"
