"""Deliveries that somebody asks for: a test, the same once more, all that failed since a time."""

from datetime import datetime
from typing import Any, NamedTuple

import audit
from db import database, run, to_ms
from errors import InvalidError, NotFoundError
from models import Delivery, DeliveryStatus, EventName, Webhook, new_id
from wire import dump_json

AT_ONCE = 500  # deliveries in one transaction, so that nobody waits for a long one
IN_ONE_CALL = 10_000


class Redelivered(NamedTuple):
    """`left` is how many one call more would make: there is an end to what a single one does."""

    made: int
    left: int


def test(webhook: Webhook, now: datetime) -> Delivery:
    """A delivery that tells of nothing, to see whether it arrives; also to one that is turned off."""
    payload = {"event": EventName.TEST, "eventTime": to_ms(now), "webhookId": webhook.id}
    return _alone(webhook.id, now, payload=dump_json(payload))


def redeliver(delivery: Delivery, now: datetime) -> Delivery:
    """The same event once more, under the same webhook-id, whatever became of the first."""
    return _alone(delivery.webhook_id, now, event=delivery.event_id, payload=delivery.payload)


def redeliver_since(webhook: Webhook, since: datetime, statuses: list[str], now: datetime) -> Redelivered:
    """Every event whose delivery was written since then and has one of these statuses, once more and in order.

    Each event once, however often it was tried; none that is on its way already, nor, unless `delivered` is asked
    for, one that arrived after all. So the call may be repeated: it makes what is left.
    """
    if not webhook.active:
        raise InvalidError("The webhook is turned off: turn it on first, with active: true.")
    events = _events_since(webhook.id, since, statuses)
    batch, made = new_id("again"), 0
    for start in range(0, min(len(events), IN_ONE_CALL), AT_ONCE):
        chosen = events[start : min(start + AT_ONCE, IN_ONE_CALL)]
        with database.atomic():
            _require(webhook.id)
            if start == 0:
                audit.record("redeliver", "webhook", webhook.id, webhook.account_id, now)
            made += _once_more(webhook.id, chosen, batch, now)
    return Redelivered(made, max(0, len(events) - IN_ONE_CALL))


def _events_since(webhook_id: str, since: datetime, statuses: list[str]) -> list[int]:
    settled = ["pending"] if DeliveryStatus.DELIVERED in statuses else ["pending", "delivered"]
    rows = run(
        """
        SELECT DISTINCT event_id FROM delivery AS asked
         WHERE webhook_id = ? AND created_at >= ? AND status IN (?) AND event_id IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM delivery AS other
                            WHERE other.event_id = asked.event_id AND other.webhook_id = asked.webhook_id
                              AND other.status IN (?))
         ORDER BY event_id
        """,
        *(webhook_id, to_ms(since), list(statuses), settled),
    )
    return [event_id for (event_id,) in rows]


def _once_more(webhook_id: str, events: list[int], batch: str, now: datetime) -> int:
    """In queues of their own, one for each channel: in order among themselves, and nothing new waits for them."""
    rows = run("SELECT id, channel_id FROM event WHERE id IN (?) ORDER BY id", events)
    for event_id, channel_id in rows:
        Delivery.create(
            id=new_id("dlv"),
            event=event_id,
            webhook_id=webhook_id,
            queue=f"{batch}/{channel_id}",
            created_at=now,
            next_at=now,
        )
    return len(rows)


def _alone(webhook_id: str, now: datetime, **what: Any) -> Delivery:
    delivery_id = new_id("dlv")
    with database.atomic():
        _require(webhook_id)
        return Delivery.create(
            id=delivery_id, queue=delivery_id, webhook_id=webhook_id, created_at=now, next_at=now, **what
        )


def _require(webhook_id: str) -> None:
    """Removed since it was looked up, it would leave a delivery behind that stays pending for ever."""
    if Webhook.named(webhook_id) is None:
        raise NotFoundError.of("webhook", webhook_id)
