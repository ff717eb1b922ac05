"""The service itself: what it is and whether it is well (contract, sections 1 and 7). No token needed."""

import json
import time

import peewee
from flask import Blueprint, Response, current_app

from config import Config
from db import database
from errors import RETRY_AFTER_S, ok
from release import RELEASE
from routes.call import call
from schemas import AboutOut, AliveOut, ReadyOut

PULSE_TOO_OLD_S = 10.0

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
    parts = {"database": database_state()} | worker_state(current_app.config["LIVESTREAM"])
    well = all(state in ("ok", "none") for state in parts.values())
    return ok(parts) if well else ok(parts, 503, {"Retry-After": str(RETRY_AFTER_S)})


def database_state() -> str:
    try:
        database.execute_sql("SELECT 1 FROM schema_migration LIMIT 1").fetchone()
    except peewee.DatabaseError as error:
        return f"unreachable: {type(error).__name__}"
    return "ok"


def worker_state(config: Config) -> dict[str, str]:
    """From the worker's last sign of life: a request never asks over the network."""
    try:
        pulse = json.loads(config.pulse_file.read_text())
    except (OSError, ValueError):
        return {"worker": "not running", "media": "unknown"}
    if time.time() - pulse["at"] > PULSE_TOO_OLD_S:
        return {"worker": "not running", "media": "unknown"}
    return {"worker": "ok", "media": pulse["media"]}
