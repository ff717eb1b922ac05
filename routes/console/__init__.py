"""The console: pages for whoever has an API token, made of the same domain calls as the API (docs/decisions/0011)."""

from flask import Blueprint, Response

from errors import NotFoundError
from routes.console import (
    analytics,
    audit,
    channel,
    channels,
    door,
    system,
    tokens,
    users,
    videos,
    webhooks,
    words,
)
from routes.console.page import for_people, go

front = door.front
bp = Blueprint("console", __name__, url_prefix="/console")
bp.before_request(door.enter)
bp.after_request(door.stay)
bp.after_request(for_people)
for each in (channels, channel, videos, analytics, webhooks, users, tokens, audit, system):
    bp.register_blueprint(each.bp)
for name, word in words.FILTERS.items():
    bp.add_app_template_filter(word, name)


@bp.get("")
@bp.get("/")
def home() -> Response:
    return go("console.channels.index")


@bp.route("/<path:rest>", methods=["GET", "POST"])
def nowhere(rest: str) -> Response:
    """A mistyped address answers a person, like any other page here."""
    raise NotFoundError.of("page", rest)
