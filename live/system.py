"""The state of the whole installation: for people, for monitors and for /metrics (contract, sections 6 and 7)."""

import json
import platform
import shutil
import time
from datetime import datetime
from typing import Any

import peewee
import psutil

from config import Config
from db import database, run, to_ms
from live import fleet
from live.analytics import viewers_now
from live.health import Health
from models import DeliveryStatus, Status
from models_nodes import Node
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
    last = _last_pulse(config)
    return last if last and time.time() - last["at"] <= PULSE_TOO_OLD_S else {}


def pulse_at(config: Config) -> float | None:
    """When that was, however long ago; None if there never was one."""
    return _last_pulse(config).get("at")


def _last_pulse(config: Config) -> dict[str, Any]:
    try:
        return json.loads(config.pulse_file.read_text())
    except (OSError, ValueError):
        return {}


def worker_state(last: dict[str, Any]) -> Parts:
    if not last:
        return {"worker": "not running", "media": "unknown"}
    return {"worker": "ok", "media": last["media"]}


def counts_viewers(config: Config) -> bool:
    """A worker is there and has a media server's log to count from; where this box is no node, one of those is."""
    if config.node:
        return pulse(config).get("media", "none") != "none"
    return any(node.up for node in Node.everyone())


def statistics(config: Config) -> dict[str, Any]:
    """StatisticsOut's fields. What nobody has measured yet, or cannot while the worker is away, is None."""
    last, memory, disk = pulse(config), psutil.virtual_memory(), shutil.disk_usage(config.data_dir)
    watching = viewers_now() if counts_viewers(config) else {"viewers": None, "bitrate_out": None}
    return watching | {
        "channels": channels_by_status(),
        "sessions": open_sessions(),
        "bitrate_in": bitrate_in(),
        "deliveries": deliveries_by_status(),
        "storage": {"used": last.get("stored"), "free": disk.free, "total": disk.total},
        "cpu": last.get("cpu"),
        "memory": {"used": memory.total - memory.available, "total": memory.total},
        "uptime": int(time.monotonic() - STARTED),
        "versions": versions(),
        "parts": parts(config),
        "nodes": fleet.listed(),
    }


def channels_by_status() -> dict[str, int]:
    found = dict(run("SELECT status, n FROM channel_count WHERE account_id = '' AND tag = ''"))
    return {status.value: found.get(status.value, 0) for status in Status}


def open_sessions() -> int:
    return run("SELECT COUNT(*) FROM session WHERE stop_time IS NULL")[0][0]


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


def live_by_health() -> dict[str, int]:
    found = dict(run("SELECT health, COUNT(*) FROM channel WHERE status = 'live' GROUP BY health"))
    return {health.value: found.get(health.value, 0) for health in Health}


def webhooks() -> dict[str, int]:
    """How many arrive, how many fail, how many are off."""
    count = dict.fromkeys(("ok", "failing", "off"), 0)
    for active, failing, number in run(
        "SELECT active, failing_since IS NOT NULL AS failing, COUNT(*) FROM webhook GROUP BY active, failing"
    ):
        count["off" if not active else "failing" if failing else "ok"] += number
    return count


def oldest_pending_s(now: datetime) -> float:
    """The age of the oldest delivery that has not arrived, 0 without one. By webhook, for an index begins with it."""
    rows = run(
        """SELECT created_at FROM delivery WHERE pk =
           (SELECT MIN(first) FROM (SELECT MIN(pk) AS first FROM delivery WHERE status = 'pending'
                                     GROUP BY webhook_id) AS firsts)"""
    )
    return _since(rows[0][0] if rows else None, now)


def overdue_s(now: datetime) -> float:
    """For how long the first delivery that is due has been; only of webhooks that work, as the others have little
    room and wait for it."""
    [(first,)] = run(
        """SELECT MIN(first) FROM (SELECT (SELECT MIN(next_at) FROM delivery
                                            WHERE status = 'pending' AND next_at IS NOT NULL
                                              AND webhook_id = webhook.id) AS first
                                     FROM webhook WHERE failing_since IS NULL) AS firsts"""
    )
    return _since(first, now)


def _since(moment: int | None, now: datetime) -> float:
    return 0.0 if moment is None else max(0, to_ms(now) - moment) / 1000


def versions() -> dict[str, str]:
    return {"livestream": RELEASE, "python": platform.python_version(), database.kind: database.version}
