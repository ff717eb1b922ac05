"""Webhooks from the command line: flask --app app webhook."""

import time
from typing import Any

import click

from commands.base import Group, command, lifecycle
from commands.text import table
from db import utcnow
from delivery import redelivery, webhooks
from models import Attempt, Delivery, Webhook
from schemas_webhook import DELIVERY_STATUSES, AttemptOut, DeliveryOut, RedeliverSince, WebhookOut

# A try takes up to 10 s, and a worker that is not rung for looks every second.
WAIT_S = 12.0
EVENTS_SHOWN = 100
NOT_SENT = "No worker has sent it in time: is the box running? flask --app app doctor tells."
ID = click.argument("webhook_id", metavar="WEBHOOK")


@click.group(cls=Group)
def webhook() -> None:
    """Webhooks: who is told of what, what arrived, and sending it once more.

    Deliveries are sent by the worker of the running box; these commands write them down for it.
    """


def listed(found: list[dict[str, Any]]) -> str:
    columns = {"ID": "id", "URI": "uri", "ACCOUNT": "accountId", "EVENTS": "event", "STATE": "state"}
    return table(columns, "There is no webhook.")([each | {"state": _state(each)} for each in found])


@webhook.command("list", examples="webhook list --account school")
@click.option("--account", help="Only those of this account.")
@command(listed)
def list_webhooks(account: str | None) -> list[dict[str, Any]]:
    """Print every webhook, without its secret."""
    return WebhookOut(many=True).dump(_all(account))


def tested(shown: dict[str, Any]) -> str:
    return f"{shown['id']}  {_came_of(shown['tries'][0])}" if shown["tries"] else NOT_SENT


@webhook.command("test", examples="webhook test wh_3188d93c4d6ff4c28a1e --wait 5")
@ID
@click.option("--wait", default=WAIT_S, show_default=True, help="How many seconds to wait for its answer.")
@command(tested, fails=lambda shown: shown["status"] != "delivered")
def test(webhook_id: str, wait: float) -> dict[str, Any]:
    """Send a test event and tell what the receiver answered: a failure if it did not arrive."""
    sent = redelivery.test(webhooks.named(webhook_id, None), utcnow())
    lifecycle().ring()
    delivery = _tried(sent, wait)
    tries = AttemptOut(many=True).dump(webhooks.tries(delivery))
    return DeliveryOut().dump(webhooks.shown(delivery)) | {"tries": tries}


@webhook.command(
    "replay",
    examples="""
        webhook replay wh_3188d93c4d6ff4c28a1e --since 2026-11-23T00:00:00Z
        webhook replay wh_3188d93c4d6ff4c28a1e --since 2026-11-23T00:00:00Z --status failed,cancelled""",
)
@ID
@click.option("--since", required=True, help="Like 2026-01-31T00:00:00Z: deliveries made since then.")
@click.option(
    "--status", default="failed", show_default=True, help="Of failed, cancelled, delivered; with commas."
)
@command(lambda done: f"{done['made']} deliveries are on their way.")
def replay(webhook_id: str, since: str, status: str) -> dict[str, int]:
    """Send once more, in order, what failed since a time. The webhook must be on."""
    asked = RedeliverSince().load({"since": since, "status": status})
    target = webhooks.named(webhook_id, None)
    made, left = 0, 1
    while left:
        done = redelivery.redeliver_since(target, asked["since"], asked["status"], utcnow())
        made, left = made + done.made, done.left
    lifecycle().ring()
    return {"made": made}


def tried(found: list[dict[str, Any]]) -> str:
    columns = {"MADE": "createdAt", "ID": "id", "EVENT": "event", "STATUS": "status", "LAST TRY": "last"}
    last = [_came_of(each["lastTry"]) if each["lastTry"] else "not tried yet" for each in found]
    rows = [each | {"last": came} for each, came in zip(found, last, strict=True)]
    return table(columns, "There is no such delivery.")(rows)


@webhook.command(
    "deliveries",
    examples="""
        webhook deliveries wh_3188d93c4d6ff4c28a1e
        webhook deliveries wh_3188d93c4d6ff4c28a1e --status pending --status failed --json""",
)
@ID
@click.option(
    "--status", type=click.Choice(DELIVERY_STATUSES), multiple=True, help="Only these; may be repeated."
)
@click.option(
    "--length", type=click.IntRange(1, EVENTS_SHOWN), default=20, show_default=True, help="How many."
)
@command(tried)
def deliveries(webhook_id: str, status: tuple[str, ...], length: int) -> list[dict[str, Any]]:
    """Print the latest deliveries of a webhook, newest first, with what came of the last try."""
    asked = {"status": list(status), "page": 0, "length": length}
    page = webhooks.deliveries(webhooks.named(webhook_id, None), asked)
    return [_with_last_try(each) for each in page.rows]


def _all(account: str | None) -> list[Webhook]:
    return (
        Webhook.some("account_id = ? ORDER BY pk", account) if account else Webhook.some("TRUE ORDER BY pk")
    )


def _state(shown: dict[str, Any]) -> str:
    if not shown["active"]:
        return f"off: {shown['disabledReason'] or 'by hand'}"
    return f"on, failing since {shown['failingSince']}" if shown["failingSince"] else "on"


def _tried(delivery: Delivery, wait_s: float) -> Delivery:
    """The delivery when it has been tried once, or when time is up."""
    until = time.monotonic() + wait_s
    while not Attempt.one("delivery_id = ?", delivery.pk) and time.monotonic() < until:
        time.sleep(0.1)
    return Delivery.one("pk = ?", delivery.pk)


def _with_last_try(row: Delivery) -> dict[str, Any]:
    tries = AttemptOut(many=True).dump(webhooks.tries(row))
    return DeliveryOut().dump(webhooks.shown(row)) | {"lastTry": tries[-1] if tries else None}


def _came_of(attempt: dict[str, Any]) -> str:
    told = attempt["error"] or f"answered {attempt['status']}"
    return f"{told}, in {attempt['latency']} ms" if attempt["latency"] is not None else told
