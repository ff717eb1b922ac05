"""What became of tries and deliveries, told to the log and counted since the process began: once it is committed."""

import logging
import threading
from collections import Counter
from functools import partial
from typing import Protocol

from db import after_commit

log = logging.getLogger(__name__)

# Every outcome that a try can have, for the metrics; the first words of Outcome.error tell which.
OUTCOMES = ("ok", "status_3xx", "status_4xx", "status_5xx", "timeout", "no_connection", "other")
NO_CONNECTION = ("no connection", "name not found", "TLS", "certificate")


class Job(Protocol):
    """See queue.Job."""

    webhook_id: str
    delivery_id: str
    number: int


class Outcome(Protocol):
    """See queue.Outcome."""

    status_code: int | None
    latency_ms: int | None
    error: str | None
    ok: bool


class Tally:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tries: Counter[str] = Counter()
        self.waited_ms = 0
        self.given_up = 0
        self.turned_off = 0

    def tell(self) -> dict[str, object]:
        """For the worker's pulse."""
        with self.lock:
            return {
                "tries": {name: self.tries[name] for name in OUTCOMES},
                "waited_ms": self.waited_ms,
                "given_up": self.given_up,
                "turned_off": self.turned_off,
            }


tally = Tally()


def tried(job: Job, outcome: Outcome) -> None:
    after_commit(partial(_tried, job, outcome))


def given_up(job: Job, why: str) -> None:
    after_commit(partial(_given_up, job, why))


def turned_off(webhook_id: str, reason: str) -> None:
    after_commit(partial(_turned_off, webhook_id, reason))


def why(outcome: Outcome) -> str:
    return outcome.error or f"status {outcome.status_code}"


def kind(outcome: Outcome) -> str:
    """One of OUTCOMES."""
    if outcome.ok:
        return "ok"
    if outcome.status_code and 300 <= outcome.status_code < 600:
        return f"status_{outcome.status_code // 100}xx"
    error = outcome.error or ""
    if error.startswith(NO_CONNECTION):
        return "no_connection"
    return "timeout" if error.startswith("timeout") else "other"


def _tried(job: Job, outcome: Outcome) -> None:
    with tally.lock:
        tally.tries[kind(outcome)] += 1
        tally.waited_ms += outcome.latency_ms or 0
    if not outcome.ok:
        about = _about(job) | {"event": "try_failed", "number": job.number, "error": why(outcome)}
        about |= {"statusCode": outcome.status_code} if outcome.status_code else {}
        words = (job.webhook_id, job.number, job.delivery_id, why(outcome))
        log.info("webhook %s: try %d of %s: %s", *words, extra=about)


def _given_up(job: Job, reason: str) -> None:
    with tally.lock:
        tally.given_up += 1
    about = _about(job) | {"event": "delivery_failed", "number": job.number, "error": reason}
    words = (job.webhook_id, job.delivery_id, job.number, reason)
    log.warning("webhook %s: %s is given up after try %d: %s", *words, extra=about)


def _turned_off(webhook_id: str, reason: str) -> None:
    with tally.lock:
        tally.turned_off += 1
    about = {"event": "webhook_disabled", "webhookId": webhook_id, "reason": reason}
    log.warning("webhook %s is turned off: %s", webhook_id, reason, extra=about)


def _about(job: Job) -> dict[str, str]:
    return {"webhookId": job.webhook_id, "deliveryId": job.delivery_id}
