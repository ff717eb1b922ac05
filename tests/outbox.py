"""Shortcuts for tests of deliveries: a webhook, an event for it, and the wait for what becomes of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from config import Config
from db import connection, utcnow
from delivery import queue, webhooks
from delivery.dispatcher import Dispatcher
from delivery.queue import Job, Outcome
from models import Attempt, Delivery, Event, Webhook, new_id

T0 = datetime(2025, 11, 24, 10, 0, tzinfo=UTC)


def hook(config: Config, uri: str = "http://127.0.0.1:9/", now: datetime = T0) -> Webhook:
    fields = {"uri": uri, "event": ["all"], "active": True, "description": ""}
    with connection():
        return webhooks.create(fields, None, config, now)[0]


def happen(webhook: Webhook, channel_id: str = "ch_a", now: datetime = T0, text: str = "{}") -> Delivery:
    """An event of a channel and its delivery, written as live/events.py does."""
    with connection():
        event = Event.create(
            name="channel_live", time=now, channel_id=channel_id, account_id="1", seq=1, payload=text
        )
        return Delivery.create(
            id=new_id("dlv"),
            event=event,
            webhook_id=webhook.id,
            queue=channel_id,
            created_at=now,
            next_at=now,
        )


def answered(status: int = 200, now: datetime = T0, **more: Any) -> Outcome:
    return Outcome(now, status_code=status, latency_ms=5, **more)


def claim(webhook: Webhook, now: datetime = T0, most: int = 8) -> list[Job]:
    with connection():
        return queue.claim({webhook.id: most}, now).jobs


def again(row: Any) -> Any:
    """The row as it is now."""
    with connection():
        return type(row).get_by_id(row.pk)


def tries(delivery: Delivery) -> list[Attempt]:
    with connection():
        return list(Attempt.select().where(Attempt.delivery == delivery.pk).order_by(Attempt.number))


def until(condition: Callable[[], Any], timeout: float = 15.0) -> Any:
    """Wait for a condition; never longer than it takes."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
    return value


def settled(delivery: Delivery) -> Delivery:
    until(lambda: again(delivery).status != "pending")
    return again(delivery)


def tried(delivery: Delivery, count: int = 1) -> list[Attempt]:
    return until(lambda: len(found := tries(delivery)) >= count and found)


@contextmanager
def dispatching(config: Config, **options: Any) -> Iterator[Dispatcher]:
    """A dispatcher at work, with a deadline short enough for a test."""
    dispatcher = Dispatcher(config, **{"deadline": 1.0, "clock": utcnow} | options)
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.stop(2)
        assert not dispatcher.thread.is_alive()
