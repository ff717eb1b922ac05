"""The webhook resource and its deliveries (contract, section 3)."""

from typing import Any

from flask import Blueprint, Response, current_app, g, request
from werkzeug.local import LocalProxy

from auth import require_token
from config import Config
from db import utcnow
from delivery import redelivery, webhooks
from errors import created, nothing, ok, ok_list
from models import Delivery, Webhook
from routes.call import call
from routes.context import box
from schemas_webhook import (
    AttemptOut,
    DeliveryOut,
    DeliveryQuery,
    DeliveryTriesOut,
    RedeliveredOut,
    RedeliverSince,
    WebhookCreate,
    WebhookDelete,
    WebhookOut,
    WebhookQuery,
    WebhookSecretOut,
    WebhookUpdate,
)

bp = Blueprint("webhook", __name__)
bp.before_request(require_token)

config: Config = LocalProxy(lambda: current_app.config["LIVESTREAM"])

Asked = dict[str, Any]


@bp.post("")
@call(WebhookCreate, gives={201: WebhookSecretOut})
def create(asked: Asked) -> Response:
    """Ask to be told of events. The secret that signs them is shown this once."""
    webhook, secret = webhooks.create(asked, g.token.account_id, config, utcnow())
    return created(show(webhook) | {"secret": secret}, f"{request.path}/{webhook.id}")


@bp.get("")
@call(WebhookQuery, gives={200: [WebhookOut]})
def read_list(asked: Asked) -> Response:
    """List webhooks, oldest first."""
    page = webhooks.found(asked, g.token.account_id)
    return ok_list([show(each) for each in page.rows], page.total, asked["page"])


@bp.get("/<webhook_id>")
@call(gives={200: WebhookOut})
def read(webhook_id: str) -> Response:
    """Read one webhook."""
    return ok(show(own(webhook_id)))


@bp.route("/<webhook_id>", methods=["PUT", "PATCH"])
@call(WebhookUpdate, gives={200: WebhookOut})
def update(webhook_id: str, asked: Asked) -> Response:
    """Change the fields that are sent; `event` replaces the whole set."""
    return ok(show(webhooks.update(own(webhook_id), asked, g.token.account_id, config, utcnow())))


@bp.delete("/<webhook_id>")
@call(WebhookDelete, gives={200: WebhookOut, 204: None})
def delete(webhook_id: str, asked: Asked) -> Response:
    """Remove a webhook, or only some of its events; with the last one it goes."""
    webhook = own(webhook_id)
    if "event" not in asked:
        webhooks.remove(webhook, utcnow())
        return nothing()
    left = webhooks.take_off(webhook, asked["event"], utcnow())
    return ok(show(left)) if left else nothing()


@bp.post("/<webhook_id>/secret")
@call(gives={200: WebhookSecretOut})
def rotate(webhook_id: str) -> Response:
    """Make a new secret. The old one signs beside it for 24 hours."""
    webhook = own(webhook_id)
    secret = webhooks.rotate(webhook, config, utcnow())
    return ok(show(webhook) | {"secret": secret})


@bp.post("/<webhook_id>/test")
@call(gives={201: DeliveryOut})
def test(webhook_id: str) -> Response:
    """Send a test event, also to a webhook that is turned off."""
    webhook = own(webhook_id)
    return sent(webhook, redelivery.test(webhook, utcnow()))


@bp.post("/<webhook_id>/redeliver")
@call(RedeliverSince, gives={200: RedeliveredOut})
def redeliver_since(webhook_id: str, asked: Asked) -> Response:
    """Send every event since a time once more whose delivery failed; call again while some are left."""
    done = redelivery.redeliver_since(own(webhook_id), asked["since"], asked["status"], utcnow())
    box.lifecycle.ring()
    return ok(RedeliveredOut().dump(done))


@bp.get("/<webhook_id>/delivery")
@call(DeliveryQuery, gives={200: [DeliveryOut]})
def read_deliveries(webhook_id: str, asked: Asked) -> Response:
    """List the deliveries of a webhook, newest first."""
    page = webhooks.deliveries(own(webhook_id), asked)
    return ok_list([show_delivery(each) for each in page.rows], page.total, asked["page"])


@bp.get("/<webhook_id>/delivery/<delivery_id>")
@call(gives={200: DeliveryTriesOut})
def read_delivery(webhook_id: str, delivery_id: str) -> Response:
    """Read a delivery with every try of it."""
    delivery = webhooks.delivery(own(webhook_id), delivery_id)
    return ok(show_delivery(delivery) | {"tries": AttemptOut(many=True).dump(webhooks.tries(delivery))})


@bp.post("/<webhook_id>/delivery/<delivery_id>/redeliver")
@call(gives={201: DeliveryOut})
def redeliver(webhook_id: str, delivery_id: str) -> Response:
    """Send the same event once more, under the same webhook-id."""
    webhook = own(webhook_id)
    delivery = webhooks.delivery(webhook, delivery_id)
    return sent(webhook, redelivery.redeliver(delivery, utcnow()))


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
