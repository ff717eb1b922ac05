"""What every page of the console has: its layout's values, its policy, and the way in which failures look."""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flask import Response, current_app, g, redirect, render_template, request, url_for

from models import Role
from release import RELEASE
from routes.console.session import sessions
from routes.context import box


class Place(NamedTuple):
    """An entry of the navigation; shown once its endpoint exists, and to whom it concerns."""

    label: str
    endpoint: str
    for_admins: bool = False


PLACES = (
    Place("Channels", "console.channels.index"),
    Place("Videos", "console.videos.index"),
    Place("Analytics", "console.analytics.index"),
    Place("Webhooks", "console.webhooks.index"),
    Place("Users", "console.users.index", for_admins=True),
    Place("Tokens", "console.tokens.index", for_admins=True),
    Place("Audit", "console.audit.index", for_admins=True),
    Place("Box", "console.system.index", for_admins=True),
)
# What a page may be told by the one that sent it: ?done=created. Anything else is not shown.
DONE = {
    "created": "Created.",
    "saved": "Saved.",
    "stopped": "Stopped.",
    "deleted": "Deleted.",
    "reset": "The old stream key is refused from now on.",
    "revoked": "Revoked: it is refused from now on.",
    "sent": "On its way.",
    "taken-back": "Studio links that were made before open nothing from now on.",
}


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A page of the console, with the values that its layout needs where somebody is signed in."""
    if session := g.get("session"):
        values |= {
            "me": session.token,
            "may_change": session.token.role != Role.READ,
            "csrf": sessions.csrf(session),
            "places": places(session.token.role),
            "done": DONE.get(request.args.get("done", "")),
        }
    reply = Response(render_template(template, release=RELEASE, **values), status, mimetype="text/html")
    reply.headers["Content-Security-Policy"] = policy(request.host, box.links.origins())
    reply.headers["Referrer-Policy"] = "same-origin"
    return reply


def places(role: str) -> list[tuple[str, str, bool]]:
    """Label, address and whether we are there."""
    here = room(request.endpoint or "")
    return [
        (each.label, url_for(each.endpoint), room(each.endpoint) == here)
        for each in PLACES
        if each.endpoint in current_app.view_functions and (role == Role.ADMIN or not each.for_admins)
    ]


def room(endpoint: str) -> str:
    """The blueprint, channel and channels being one."""
    return endpoint.rpartition(".")[0].removesuffix("s")


def policy(host: str, public_urls: list[str]) -> str:
    """Our own files only; pictures and the preview also from nodes and store, where those are on other hosts."""
    places = [urlsplit(url) for url in public_urls]
    media = "".join(f" {place.scheme}://{place.netloc}" for place in places if place.netloc != host)
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data:{media}",
            "connect-src 'self'",
            f"frame-src 'self'{media}",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


def go(endpoint: str, **values: Any) -> Response:
    """After a change: the browser asks for the page that shows it, so that a reload changes nothing again."""
    return redirect(url_for(endpoint, **values), 303)


def wants_json() -> bool:
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json"


HEADLINES = {
    400: "That could not be read",
    403: "Not with this token",
    404: "Nothing here",
    405: "Not like this",
    422: "That is not possible",
    503: "Just a moment",
}


def for_people(reply: Response) -> Response:
    """A failure in the envelope, as a page: errors.py builds it, whatever went wrong."""
    if reply.status_code < 400 or reply.mimetype != "application/json" or wants_json():
        return reply
    headline = HEADLINES.get(reply.status_code, "Something went wrong")
    return page(
        "console/error.html", reply.status_code, headline=headline, detail=reply.get_json(silent=True)["msg"]
    )
