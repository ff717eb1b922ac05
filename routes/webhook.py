"""The webhook resource and its deliveries (contract, section 3)."""

from typing import Any

from flask import Blueprint, Response, current_app, g, request
from werkzeug.local import LocalProxy

from auth import require_token
from config import Config
from db import utcnow
from delivery import webhooks
from errors import created, nothing, ok, ok_list
from models import Delivery, Webhook
from routes.context import box
from routes.parsing import body, query
from schemas import (
    AttemptOut,
    DeliveryOut,
    DeliveryQuery,
    NoQuery,
    WebhookCreate,
    WebhookDelete,
    WebhookOut,
    WebhookQuery,
    WebhookUpdate,
)

bp = Blueprint("webhook", __name__)
bp.before_request(require_token)

config: Config = LocalProxy(lambda: current_app.config["LIVESTREAM"])


@bp.post("")
def create() -> Response:
    webhook, secret = webhooks.create(body(WebhookCreate()), g.token.account_id, config, utcnow())
    return created(show(webhook) | {"secret": secret}, f"{request.path}/{webhook.id}")


@bp.get("")
def read_list() -> Response:
    asked = query(WebhookQuery())
    page = webhooks.found(asked, g.token.account_id)
    return ok_list([show(each) for each in page.rows], page.total, asked["page"])


@bp.get("/<webhook_id>")
def read(webhook_id: str) -> Response:
    query(NoQuery())
    return ok(show(own(webhook_id)))


@bp.route("/<webhook_id>", methods=["PUT", "PATCH"])
def update(webhook_id: str) -> Response:
    webhook = own(webhook_id)
    return ok(show(webhooks.update(webhook, body(WebhookUpdate()), g.token.account_id, config)))


@bp.delete("/<webhook_id>")
def delete(webhook_id: str) -> Response:
    webhook, asked = own(webhook_id), query(WebhookDelete())
    if "event" not in asked:
        webhooks.remove(webhook)
        return nothing()
    left = webhooks.take_off(webhook, asked["event"])
    return ok(show(left)) if left else nothing()


@bp.post("/<webhook_id>/secret")
def rotate(webhook_id: str) -> Response:
    webhook = own(webhook_id)
    body(NoQuery())
    secret = webhooks.rotate(webhook, config, utcnow())
    return ok(show(webhook) | {"secret": secret})


@bp.post("/<webhook_id>/test")
def test(webhook_id: str) -> Response:
    webhook = own(webhook_id)
    body(NoQuery())
    return sent(webhook, webhooks.test(webhook, utcnow()))


@bp.get("/<webhook_id>/delivery")
def read_deliveries(webhook_id: str) -> Response:
    webhook, asked = own(webhook_id), query(DeliveryQuery())
    page = webhooks.deliveries(webhook, asked)
    return ok_list([show_delivery(each) for each in page.rows], page.total, asked["page"])


@bp.get("/<webhook_id>/delivery/<delivery_id>")
def read_delivery(webhook_id: str, delivery_id: str) -> Response:
    query(NoQuery())
    delivery = webhooks.delivery(own(webhook_id), delivery_id)
    return ok(show_delivery(delivery) | {"tries": AttemptOut(many=True).dump(webhooks.tries(delivery))})


@bp.post("/<webhook_id>/delivery/<delivery_id>/redeliver")
def redeliver(webhook_id: str, delivery_id: str) -> Response:
    webhook = own(webhook_id)
    delivery = webhooks.delivery(webhook, delivery_id)
    body(NoQuery())
    return sent(webhook, webhooks.redeliver(delivery, utcnow()))


def own(webhook_id: str) -> Webhook:
    return webhooks.named(webhook_id, g.token.account_id)


def sent(webhook: Webhook, delivery: Delivery) -> Response:
    """A delivery that this request wrote: the worker is told, and the answer says where to watch it."""
    box.lifecycle.ring()
    base = request.path.partition(f"/{webhook.id}/")[0]
    return created(show_delivery(delivery), f"{base}/{webhook.id}/delivery/{delivery.id}")


def show(webhook: Webhook) -> dict[str, Any]:
    return WebhookOut().dump(webhook)


def show_delivery(delivery: Delivery) -> dict[str, Any]:
    return DeliveryOut().dump(webhooks.shown(delivery))
