"""The state of the whole installation: for people, for monitors and for /metrics (contract, sections 6 and 7)."""

import json
import platform
import shutil
import time
from typing import Any

import peewee
import psutil

from config import Config
from db import database, run
from live.analytics import viewers_now
from models import DeliveryStatus, Session, Status
from release import RELEASE

PULSE_TOO_OLD_S = 10.0
STARTED = time.monotonic()

Parts = dict[str, str]


def parts(config: Config) -> Parts:
    """Each part's real state: "ok", "none" where it is configured away, or what is wrong."""
    return {"database": database_state()} | worker_state(pulse(config))


def well(states: Parts) -> bool:
    return all(state in ("ok", "none") for state in states.values())


def database_state() -> str:
    try:
        database.execute_sql("SELECT 1 FROM schema_migration LIMIT 1").fetchone()
    except peewee.DatabaseError as error:
        return f"unreachable: {type(error).__name__}"
    return "ok"


def pulse(config: Config) -> dict[str, Any]:
    """The worker's last sign of life; empty if it gives none. A request never asks anybody over the network."""
    try:
        last = json.loads(config.pulse_file.read_text())
    except (OSError, ValueError):
        return {}
    return last if time.time() - last["at"] <= PULSE_TOO_OLD_S else {}


def worker_state(last: dict[str, Any]) -> Parts:
    if not last:
        return {"worker": "not running", "media": "unknown"}
    return {"worker": "ok", "media": last["media"]}


def counts_viewers(config: Config) -> bool:
    """A worker is there and has a media server's log to count from."""
    return pulse(config).get("media", "none") != "none"


def statistics(config: Config) -> dict[str, Any]:
    """StatisticsOut's fields. What nobody has measured yet, or cannot while the worker is away, is None."""
    last, memory = pulse(config), psutil.virtual_memory()
    watching = viewers_now() if counts_viewers(config) else {"viewers": None, "bitrate_out": None}
    return watching | {
        "channels": channels_by_status(),
        "sessions": open_sessions(),
        "bitrate_in": bitrate_in(),
        "deliveries": deliveries_by_status(),
        "storage": {"used": last.get("stored"), "free": shutil.disk_usage(config.data_dir).free},
        "cpu": last.get("cpu"),
        "memory": {"used": memory.total - memory.available, "total": memory.total},
        "uptime": int(time.monotonic() - STARTED),
        "versions": versions(),
        "parts": parts(config),
    }


def channels_by_status() -> dict[str, int]:
    found = dict(run("SELECT status, n FROM channel_count WHERE account_id = '' AND tag = ''"))
    return {status.value: found.get(status.value, 0) for status in Status}


def open_sessions() -> int:
    return Session.select().where(Session.stop_time.is_null()).count()


def bitrate_in() -> int:
    """Bit/s that publishers send, each over its last 10 s."""
    [(kbits,)] = run("SELECT COALESCE(SUM(bitrate), 0) FROM session WHERE stop_time IS NULL")
    return kbits * 1000


def deliveries_by_status() -> dict[str, int]:
    wanted = (DeliveryStatus.PENDING, DeliveryStatus.FAILED)
    return {
        status.value: run("SELECT COUNT(*) FROM delivery WHERE status = ?", status.value)[0][0]
        for status in wanted
    }


def versions() -> dict[str, str]:
    sqlite = peewee.sqlite3.sqlite_version
    return {"livestream": RELEASE, "python": platform.python_version(), "sqlite": sqlite}
