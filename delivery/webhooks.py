"""Webhooks as a resource: what views and commands do with them (contract, section 3)."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from peewee import JOIN, Cast, ModelSelect, fn

import audit
from config import Config
from db import database
from delivery import queue, signature
from delivery.policy import Policy
from delivery.secretbox import SecretBox
from errors import ForbiddenError, InvalidError, NotFoundError
from models import Attempt, Delivery, Event, EventName, Webhook, new_id

OLD_SECRET_SIGNS_FOR = timedelta(hours=24)
OLD_SECRETS = 3
# Each may send some hundred requests a second to an address that the account names: enough is enough.
MOST_WEBHOOKS = 100
EVERY = "all"
NAMES = tuple(name.value for name in EventName if name != EventName.TEST)


class Page(NamedTuple):
    rows: list[Any]
    total: int


def create(
    fields: dict[str, Any], bound_to: str | None, config: Config, now: datetime
) -> tuple[Webhook, str]:
    """A new webhook from WebhookCreate's fields, and its secret, which is told this once."""
    account_id = _account(fields.get("account_id", bound_to), bound_to)
    _check_address(fields["uri"], config)
    secret = signature.new_secret()
    with database.atomic():
        _check_room(account_id)
        webhook = Webhook.create(
            id=new_id("wh"),
            uri=fields["uri"],
            events=_named(fields["event"]),
            account_id=account_id,
            description=fields["description"],
            active=fields["active"],
            secret=SecretBox(config.keys_dir).encrypt(secret),
            created_at=now,
        )
        _record("create", webhook, now)
    return webhook, secret


def update(
    webhook: Webhook, fields: dict[str, Any], bound_to: str | None, config: Config, now: datetime
) -> Webhook:
    """Change what was sent. Turned off, it gets nothing any more, not even what was under way to it."""
    change = {name: fields[name] for name in ("uri", "description", "active") if name in fields}
    if "event" in fields:
        change["events"] = _named(fields["event"])
    if "account_id" in fields:
        change["account_id"] = _account(fields["account_id"], bound_to)
    if "uri" in fields:
        _check_address(fields["uri"], config)
    moved = fields.get("uri", webhook.uri) != webhook.uri
    if moved or fields.get("active"):
        change["failing_since"] = None
    if "active" in fields:
        change["disabled_reason"] = webhook.disabled_reason if not fields["active"] else None
    if change:
        with database.atomic():
            if change.get("account_id", webhook.account_id) != webhook.account_id:
                _check_room(change["account_id"])
            Webhook.update(change).where(Webhook.pk == webhook.pk).execute()
            _record("update", webhook, now)
            if fields.get("active") is False:
                queue.cancel(webhook.id)
    return _again(webhook)


def take_off(webhook: Webhook, names: list[str], now: datetime) -> Webhook | None:
    """Stop telling it of these events. With the last one the webhook goes: None."""
    with database.atomic():
        webhook = _again(webhook)
        left = [name for name in webhook.events if name not in _named(names)]
        if not left:
            remove(webhook, now)
            return None
        Webhook.update(events=left).where(Webhook.pk == webhook.pk).execute()
        _record("update", webhook, now)
    return _again(webhook)


def remove(webhook: Webhook, now: datetime) -> None:
    with database.atomic():
        _record("delete", webhook, now)
        queue.cancel(webhook.id)
        Webhook.delete().where(Webhook.pk == webhook.pk).execute()


def rotate(webhook: Webhook, config: Config, now: datetime) -> str:
    """A new secret. The old one signs beside it for a day, so that no delivery in between is refused.

    Rotated again within the day, each old one signs until a day after the last rotation: whoever never saw the
    answer to the first one may ask again. Of more than three the oldest goes.
    """
    secret = signature.new_secret()
    with database.atomic():
        webhook = _again(webhook)
        old = [webhook.secret, *queue.old_secrets(webhook.old_secret, webhook.old_secret_until, now)]
        Webhook.update(
            secret=SecretBox(config.keys_dir).encrypt(secret),
            old_secret=" ".join(old[:OLD_SECRETS]),
            old_secret_until=now + OLD_SECRET_SIGNS_FOR,
        ).where(Webhook.pk == webhook.pk).execute()
        _record("rotate_secret", webhook, now)
    return secret


def found(asked: dict[str, Any], bound_to: str | None) -> Page:
    """The webhooks that a token may see, oldest first."""
    wanted = Webhook.select()
    if bound_to:
        wanted = wanted.where(Webhook.account_id == bound_to)
    names = asked.get("event")
    if names and EVERY not in names:
        # The names stand in quotes in the stored JSON, so one is never found within another.
        hears = [Cast(Webhook.events, "TEXT").contains(f'"{name}"') for name in names]
        wanted = wanted.where(_any(hears))
    return _page(wanted.order_by(Webhook.pk), asked)


def named(webhook_id: str, bound_to: str | None) -> Webhook:
    webhook = Webhook.named(webhook_id)
    if webhook is None or bound_to not in (None, webhook.account_id):
        raise NotFoundError.of("webhook", webhook_id)
    return webhook


def deliveries(webhook: Webhook, asked: dict[str, Any]) -> Page:
    """A webhook's deliveries, newest first."""
    wanted = _deliveries_of(webhook).order_by(Delivery.pk.desc())
    if asked.get("status"):
        wanted = wanted.where(Delivery.status.in_(asked["status"]))
    if asked.get("event"):
        wanted = wanted.where(fn.COALESCE(Event.name, EventName.TEST).in_(asked["event"]))
    if asked.get("channel_id"):
        wanted = wanted.where(Event.channel_id == asked["channel_id"])
    return _page(wanted, asked)


def delivery(webhook: Webhook, delivery_id: str) -> Delivery:
    row = _deliveries_of(webhook).where(Delivery.id == delivery_id).get_or_none()
    if row is None:
        raise NotFoundError.of("delivery", delivery_id)
    return row


def shown(row: Delivery) -> dict[str, Any]:
    """A delivery as DeliveryOut dumps it."""
    event = row.event
    return {
        "id": row.id,
        "event_id": row.event_id,
        "event": event.name if event else EventName.TEST,
        "channel_id": event.channel_id if event else None,
        "status": row.status,
        "attempts": row.attempts,
        "created_at": row.created_at,
        # While a try is under way, the field holds the end of its lease, which means nothing to a reader.
        "next_at": None if row.lease_until else row.next_at,
    }


def tries(row: Delivery) -> list[dict[str, Any]]:
    """Every try of a delivery, as AttemptOut dumps it."""
    rows = Attempt.select().where(Attempt.delivery == row.pk).order_by(Attempt.number)
    return [
        {
            "number": each.number,
            "time": each.time,
            "status": each.status_code,
            "latency": each.latency_ms,
            "answer": None if each.answer is None else bytes(each.answer).decode("utf-8", "replace"),
            "error": each.error,
        }
        for each in rows
    ]


def _deliveries_of(webhook: Webhook) -> ModelSelect:
    return (
        Delivery.select(Delivery, Event).join(Event, JOIN.LEFT_OUTER).where(Delivery.webhook_id == webhook.id)
    )


def _again(webhook: Webhook) -> Webhook:
    return named(webhook.id, None)


def _record(action: str, webhook: Webhook, now: datetime) -> None:
    audit.record(action, "webhook", webhook.id, webhook.account_id, now)


def _account(asked: str | None, bound_to: str | None) -> str | None:
    if bound_to not in (None, asked):
        raise ForbiddenError(f"This token is bound to account {bound_to!r}, and so are its webhooks.")
    return asked


def _check_room(account_id: str | None) -> None:
    """The contract's 403 is for limits of a user, which an operator can raise; this one nobody can."""
    same = Webhook.account_id.is_null() if account_id is None else Webhook.account_id == account_id
    if Webhook.select().where(same).count() >= MOST_WEBHOOKS:
        raise InvalidError(f"An account has up to {MOST_WEBHOOKS} webhooks; remove one that is not needed.")


def _check_address(uri: str, config: Config) -> None:
    if reason := Policy.of(config).refusal_of(uri):
        raise InvalidError.field("uri", reason)


def _named(names: list[str]) -> list[str]:
    """The events meant, each once, in the contract's order."""
    return [name for name in NAMES if name in names or EVERY in names]


def _any(conditions: list[Any]) -> Any:
    first, *others = conditions
    for other in others:
        first |= other
    return first


def _page(wanted: ModelSelect, asked: dict[str, Any]) -> Page:
    rows = list(wanted.limit(asked["length"]).offset(asked["page"] * asked["length"]))
    return Page(rows, wanted.count())
