"""The state of the whole installation, for admins (contract, section 6)."""

from flask import Blueprint, Response, current_app

from auth import require_admin
from errors import ok
from live import system
from routes.call import call
from schemas_admin import StatisticsOut

bp = Blueprint("statistics", __name__)
bp.before_request(require_admin)


@bp.get("")
@call(gives={200: StatisticsOut})
def read() -> Response:
    """Read the state of the system: channels, sessions, deliveries, storage, load, parts."""
    return ok(StatisticsOut().dump(system.statistics(current_app.config["LIVESTREAM"])))
