"""The box itself, for admins: its parts, its load, its room."""

from typing import Any

from flask import Blueprint, Response, current_app

from auth import must_be_admin
from live import system
from routes.console import words
from routes.console.page import page

bp = Blueprint("system", __name__, url_prefix="/box")
bp.before_request(must_be_admin)


@bp.get("")
def index() -> Response:
    return page("console/box.html", **state())


@bp.get("/state")
def rows() -> Response:
    """What of the page changes by itself."""
    return page("console/_box.html", **state())


def state() -> dict[str, Any]:
    found = system.statistics(current_app.config["LIVESTREAM"])
    return {"box": found, "well": system.well(found["parts"]), "statuses": words.STATUSES}
