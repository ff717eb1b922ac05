"""Webhooks from the command line: flask --app app webhook."""

import json
import time
from typing import Any

import click

from commands.base import as_json, command
from db import utcnow
from delivery import redelivery, webhooks
from models import Attempt, Delivery, Webhook
from schemas_webhook import DELIVERY_STATUSES, AttemptOut, DeliveryOut, RedeliverSince, WebhookOut

# A try takes up to 10 s, and a worker that is not rung for looks every second.
WAIT_S = 12.0
EVENTS_SHOWN = 100


@click.group()
def webhook() -> None:
    """Webhooks: who is told of what, what arrived, and sending it once more.

    Deliveries are sent by the worker of the running box; these commands write them down for it.
    """


@webhook.command("list")
@click.option("--account", help="Only those of this account.")
@as_json
@command
def list_webhooks(account: str | None, as_json: bool) -> None:
    """Print every webhook, without its secret."""
    found = WebhookOut(many=True).dump(_all(account))
    if as_json:
        click.echo(json.dumps(found))
        return
    for each in found:
        state = "on" if each["active"] else f"off: {each['disabledReason'] or 'by hand'}"
        failing = f", failing since {each['failingSince']}" if each["failingSince"] and each["active"] else ""
        account = each["accountId"] or "all accounts"
        click.echo(f"{each['id']}  {each['uri']}  {account}  {','.join(each['event'])}  {state}{failing}")


@webhook.command("test")
@click.argument("webhook_id")
@click.option("--wait", default=WAIT_S, show_default=True, help="How many seconds to wait for its answer.")
@as_json
@command
def test(webhook_id: str, wait: float, as_json: bool) -> None:
    """Send a test event and tell what the receiver answered.

    Exit status 0: it arrived. 1: it did not, or no worker has sent it in time.
    """
    sent = redelivery.test(webhooks.named(webhook_id, None), utcnow())
    delivery = _tried(sent, wait)
    shown = DeliveryOut().dump(webhooks.shown(delivery))
    tries = AttemptOut(many=True).dump(webhooks.tries(delivery))
    if as_json:
        click.echo(json.dumps(shown | {"tries": tries}))
    elif tries:
        click.echo(f"{shown['id']}  {_came_of(tries[0])}")
    if not tries:
        raise click.ClickException(f"No worker has sent it within {wait:g} s: is the box running?")
    if shown["status"] != "delivered":
        raise click.exceptions.Exit(1)


@webhook.command("replay")
@click.argument("webhook_id")
@click.option("--since", required=True, help="Like 2026-01-31T00:00:00Z: deliveries made since then.")
@click.option(
    "--status", default="failed", show_default=True, help="Of failed, cancelled, delivered; with commas."
)
@as_json
@command
def replay(webhook_id: str, since: str, status: str, as_json: bool) -> None:
    """Send once more, in order, what failed since a time. The webhook must be on."""
    asked = RedeliverSince().load({"since": since, "status": status})
    target = webhooks.named(webhook_id, None)
    made, left = 0, 1
    while left:
        done = redelivery.redeliver_since(target, asked["since"], asked["status"], utcnow())
        made, left = made + done.made, done.left
    click.echo(json.dumps({"made": made}) if as_json else f"{made} deliveries are on their way.")


@webhook.command("deliveries")
@click.argument("webhook_id")
@click.option(
    "--status", type=click.Choice(DELIVERY_STATUSES), multiple=True, help="Only these; may be repeated."
)
@click.option(
    "--length", type=click.IntRange(1, EVENTS_SHOWN), default=20, show_default=True, help="How many."
)
@as_json
@command
def deliveries(webhook_id: str, status: tuple[str, ...], length: int, as_json: bool) -> None:
    """Print the latest deliveries of a webhook, newest first, with what came of the last try."""
    asked = {"status": list(status), "page": 0, "length": length}
    page = webhooks.deliveries(webhooks.named(webhook_id, None), asked)
    found = [_with_last_try(each) for each in page.rows]
    if as_json:
        click.echo(json.dumps(found))
        return
    for each in found:
        last = _came_of(each["lastTry"]) if each["lastTry"] else "not tried yet"
        click.echo(f"{each['createdAt']}  {each['id']}  {each['event']:17}  {each['status']:9}  {last}")


def _all(account: str | None) -> list[Webhook]:
    return (
        Webhook.some("account_id = ? ORDER BY pk", account) if account else Webhook.some("TRUE ORDER BY pk")
    )


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
