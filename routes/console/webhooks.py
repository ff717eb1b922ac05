"""Webhooks: who is told of what, whether it arrived, and once more."""

from typing import Any

from flask import Blueprint, Response, current_app, g
from werkzeug.local import LocalProxy

from config import Config
from db import utcnow
from delivery import redelivery, webhooks
from models import Delivery, Webhook
from routes.console import lists
from routes.console.forms import Form
from routes.console.page import go, page
from routes.context import box
from schemas_webhook import DeliveryQuery, RedeliverSince, WebhookCreate, WebhookQuery, WebhookUpdate
from wire import pretty_json, read_json

bp = Blueprint("webhooks", __name__, url_prefix="/webhooks")

config: Config = LocalProxy(lambda: current_app.config["LIVESTREAM"])


@bp.get("")
def index() -> Response:
    asked, wrong = lists.asked(WebhookQuery())
    found = webhooks.found(asked, g.token.account_id)
    pager = lists.Pager.of(asked, found.total)
    return page("console/webhooks.html", rows=found.rows, pager=pager, wrong=wrong)


@bp.get("/new")
def new() -> Response:
    form = Form.showing(WebhookCreate(), {"uri": "", "events": [], "description": "", "account_id": None})
    form.values |= {"active": "true", "event": []}
    return page("console/webhook_new.html", form=form)


@bp.post("/new")
def create() -> Response:
    form = Form.sent(WebhookCreate())
    with form.asking():
        webhook, secret = webhooks.create(form.load(), g.token.account_id, config, utcnow())
        return page("console/webhook_secret.html", webhook=webhook, secret=secret, rotated=False)
    return page("console/webhook_new.html", form.code, form=form)


@bp.get("/<webhook_id>")
def read(webhook_id: str) -> Response:
    return page("console/webhook.html", **told(own(webhook_id)))


@bp.get("/<webhook_id>/deliveries")
def rows(webhook_id: str) -> Response:
    """What of the page changes by itself."""
    return page("console/_deliveries.html", **told(own(webhook_id)))


@bp.get("/<webhook_id>/edit")
def edit(webhook_id: str) -> Response:
    webhook = own(webhook_id)
    return page("console/webhook_edit.html", webhook=webhook, form=form_of(webhook))


@bp.post("/<webhook_id>/edit")
def update(webhook_id: str) -> Response:
    webhook = own(webhook_id)
    form = Form.sent(WebhookUpdate())
    with form.asking():
        webhooks.update(webhook, form.load(), g.token.account_id, config, utcnow())
        return go(".read", webhook_id=webhook.id, done="saved")
    return page("console/webhook_edit.html", form.code, webhook=webhook, form=form)


@bp.get("/<webhook_id>/<any(delete, rotate, again):verb>")
def confirm(webhook_id: str, verb: str) -> Response:
    """Asks once more before what cannot be undone."""
    form = Form(RedeliverSince(), {"since": "", "status": ["failed"]})
    return page("console/webhook_confirm.html", webhook=own(webhook_id), verb=verb, form=form)


@bp.post("/<webhook_id>/delete")
def delete(webhook_id: str) -> Response:
    webhooks.remove(own(webhook_id), utcnow())
    return go(".index", done="deleted")


@bp.post("/<webhook_id>/rotate")
def rotate(webhook_id: str) -> Response:
    webhook = own(webhook_id)
    secret = webhooks.rotate(webhook, config, utcnow())
    return page("console/webhook_secret.html", webhook=webhook, secret=secret, rotated=True)


@bp.post("/<webhook_id>/again")
def again(webhook_id: str) -> Response:
    """Every event since a time once more."""
    webhook = own(webhook_id)
    form = Form.sent(RedeliverSince())
    with form.asking():
        asked = form.load()
        redelivery.redeliver_since(webhook, asked["since"], asked["status"], utcnow())
        return sent(".read", webhook_id=webhook.id)
    return page("console/webhook_confirm.html", form.code, webhook=webhook, verb="again", form=form)


@bp.post("/<webhook_id>/test")
def test(webhook_id: str) -> Response:
    webhook = own(webhook_id)
    delivery = redelivery.test(webhook, utcnow())
    return sent(".read_delivery", webhook_id=webhook.id, delivery_id=delivery.id)


@bp.get("/<webhook_id>/deliveries/<delivery_id>")
def read_delivery(webhook_id: str, delivery_id: str) -> Response:
    webhook = own(webhook_id)
    return page("console/delivery.html", **tried(webhook, webhooks.delivery(webhook, delivery_id)))


@bp.get("/<webhook_id>/deliveries/<delivery_id>/tries")
def tries(webhook_id: str, delivery_id: str) -> Response:
    """What of the page changes by itself."""
    webhook = own(webhook_id)
    return page("console/_tries.html", **tried(webhook, webhooks.delivery(webhook, delivery_id)))


@bp.post("/<webhook_id>/deliveries/<delivery_id>")
def redeliver(webhook_id: str, delivery_id: str) -> Response:
    webhook = own(webhook_id)
    delivery = redelivery.redeliver(webhooks.delivery(webhook, delivery_id), utcnow())
    return sent(".read_delivery", webhook_id=webhook.id, delivery_id=delivery.id)


def own(webhook_id: str) -> Webhook:
    return webhooks.named(webhook_id, g.token.account_id)


def form_of(webhook: Webhook) -> Form:
    """The events are an attribute of another name; all else is as the row has it."""
    form = Form.showing(WebhookUpdate(), webhook.__data__)
    form.values["event"] = form.was["event"] = list(webhook.events)
    return form


def sent(endpoint: str, **values: str) -> Response:
    """The worker is told of a delivery that this request wrote."""
    box.lifecycle.ring()
    return go(endpoint, **values, done="sent")


def told(webhook: Webhook) -> dict[str, Any]:
    asked, wrong = lists.asked(DeliveryQuery())
    found = webhooks.deliveries(webhook, asked)
    deliveries = [webhooks.shown(each) for each in found.rows]
    pager = lists.Pager.of(asked, found.total)
    return {"webhook": webhook, "deliveries": deliveries, "pager": pager, "wrong": wrong}


def tried(webhook: Webhook, delivery: Delivery) -> dict[str, Any]:
    payload = delivery.payload or delivery.event.payload
    return {
        "webhook": webhook,
        "delivery": webhooks.shown(delivery),
        "tries": webhooks.tries(delivery),
        "payload": pretty_json(read_json(payload)),
    }
