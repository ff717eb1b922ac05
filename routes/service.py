"""The service itself: what it is and whether it is well (contract, sections 1 and 7). No token needed."""

from flask import Blueprint, Response, current_app

import metrics
from errors import RETRY_AFTER_S, ok
from live import system
from release import RELEASE
from routes.call import call
from schemas import AboutOut, AliveOut, ReadyOut

bp = Blueprint("service", __name__)


@bp.get("/v1")
@call(gives={200: AboutOut})
def about() -> Response:
    """Read what answers here."""
    return ok({"version": "v1.0-poc", "status": "ready", "release": RELEASE})


@bp.get("/healthz")
@call(gives={200: AliveOut})
def alive() -> Response:
    """Whether this process answers."""
    return ok({"alive": True})


@bp.get("/readyz")
@call(gives={200: ReadyOut, 503: ReadyOut})
def ready() -> Response:
    """Whether every part is well; 503 says which is not."""
    parts = system.parts(current_app.config["LIVESTREAM"])
    return ok(parts) if system.well(parts) else ok(parts, 503, {"Retry-After": str(RETRY_AFTER_S)})


@bp.get("/metrics")
def scrape() -> Response:
    """For Prometheus, on this process's own port only."""
    return Response(metrics.exposition(current_app.config["LIVESTREAM"]), content_type=metrics.CONTENT_TYPE)
