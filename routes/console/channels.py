"""Channels: the list that keeps itself current, and the form of a new one."""

from typing import Any

from flask import Blueprint, Response, g

from auth import own_account
from db import utcnow
from live import listing
from live.snapshot import on_air_ms
from routes.console import lists, words
from routes.console.forms import Form
from routes.console.page import go, page
from routes.context import box
from schemas import ChannelCreate, ChannelQuery

bp = Blueprint("channels", __name__, url_prefix="/channels")

MAKES_ITS_OWN = "makes channels of that one only"


@bp.get("")
def index() -> Response:
    return page("console/channels.html", **listed())


@bp.get("/rows")
def rows() -> Response:
    """What of the list changes by itself."""
    return page("console/_channels.html", **listed())


@bp.get("/new")
def new() -> Response:
    schema = ChannelCreate()
    defaults = schema.load({"name": "-"}) | {"name": "", "account_id": default_account()}
    return page("console/channel_new.html", form=Form.showing(schema, defaults))


@bp.post("/new")
def create() -> Response:
    form = Form.sent(ChannelCreate())
    with form.asking():
        asked = form.load()
        account_id = own_account(asked.get("account_id", default_account()), MAKES_ITS_OWN)
        channel = box.lifecycle.create(asked | {"account_id": account_id}, utcnow())
        return go("console.channel.read", channel_id=channel.id, done="created")
    return page("console/channel_new.html", form.code, form=form)


def default_account() -> str:
    return g.token.account_id or "1"


def listed() -> dict[str, Any]:
    now = utcnow()
    asked, wrong = lists.asked_of_account(ChannelQuery())
    found = listing.channels(asked, now)
    sessions = listing.open_sessions(found.rows)
    rows = [
        {
            "channel": each,
            "status": words.status(each, sessions.get(each.pk))[0],
            "seconds": on_air_ms(each, sessions.get(each.pk), now) // 1000,
        }
        for each in found.rows
    ]
    counts = listing.channels_by_status(asked, now)
    pager = lists.Pager.of(asked, found.total)
    return {"rows": rows, "counts": counts, "pager": pager, "wrong": wrong, "statuses": words.STATUSES}
