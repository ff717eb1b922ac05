"""Analytics: how many watched what, and for how long."""

from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify

from db import utcnow
from live import analytics
from routes.console import lists
from routes.console.page import page
from schemas import Page
from schemas_analytics import AnalyticsOut
from wire import AccountId, Choice, Text

bp = Blueprint("analytics", __name__, url_prefix="/analytics")

# What there is to choose from: its words, how long it is, in what intervals it is shown.
SPANS = {
    "hour": ("An hour", timedelta(hours=1), "minute"),
    "day": ("A day", timedelta(days=1), "hour"),
    "week": ("A week", timedelta(days=7), "hour"),
    "month": ("30 days", timedelta(days=30), "day"),
    "year": ("A year", timedelta(days=365), "day"),
}


class Filters(Page):
    span = Choice(tuple(SPANS), load_default="day")
    channel_id = Text(0, 255)
    account_id = AccountId()


@bp.get("")
def index() -> Response:
    asked, wrong = lists.asked_of_account(Filters())
    found = report(asked, utcnow())
    words = {name: span[0] for name, span in SPANS.items()}
    shown = {"totals": found["totals"], "top": found["top_channels"]}
    return page("console/analytics.html", **shown, spans=words, span=asked["span"], wrong=wrong)


@bp.get("/series")
def series() -> Response:
    """What the charts are drawn from."""
    asked, _ = lists.asked_of_account(Filters())
    return jsonify(AnalyticsOut().dump(report(asked, utcnow())))


def report(asked: dict[str, Any], now: datetime) -> dict[str, Any]:
    _, length, interval = SPANS[asked["span"]]
    wanted = {
        "from_": now - length,
        "to": now,
        "interval": interval,
        "channel_id": asked.get("channel_id", ""),
    }
    return analytics.report(wanted, asked["account_id"], now)
