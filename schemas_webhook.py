"""Webhooks and deliveries: what goes in and what comes out (contract, section 3)."""

import re
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validate

from schemas import Page, one_of
from wire import AccountId, CommaList, Instant, Switch, Text, Wire

EVENTS = (
    "channel_connected",
    "channel_live",
    "channel_stop",
    "channel_ended",
    "channel_error",
    "video_ready",
)
DELIVERY_STATUSES = ("pending", "delivered", "failed", "cancelled")
SOME = validate.Length(min=1, error="Name at least one.")


HOST = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.(?!\Z)|\.?\Z))+")


class Uri(Text):
    """An http or https URL. Stricter than what clients let pass: where two parsers read different hosts out of
    one text, one of them checks it and the other one connects."""

    def __init__(self, **kw: Any) -> None:
        super().__init__(validate=[validate.Length(1, 2048), _http], **kw)


def _http(uri: str) -> None:
    if not re.fullmatch(r"[\x21-\x7e]*", uri):
        raise ValidationError(
            "Must be ASCII without spaces; write other characters as %XX, in the host as xn--."
        )
    try:
        parts = urlsplit(uri)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise ValidationError("Must be a URL with a valid host and port.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValidationError("Must be an http or https URL with a host.")
    if "@" in parts.netloc:
        raise ValidationError("Must not hold a user name or password: deliveries are signed instead.")
    if "#" in uri or "\\" in uri or "%" in parts.netloc:
        raise ValidationError("Must not hold # or a backslash, nor % in the host.")
    if port == 0 or not (_is_ipv6(host) if "[" in parts.netloc else HOST.fullmatch(host)):
        raise ValidationError("Must have a plain host name or IP address, and a port other than 0.")


def _is_ipv6(text: str) -> bool:
    try:
        return bool(IPv6Address(text))
    except ValueError:
        return False


class WebhookUpdate(Wire):
    """What may be changed; partial, but `event` replaces the whole set."""

    uri = Uri()
    event = CommaList(10, 20, (*EVENTS, "all"), validate=SOME)
    active = Switch()
    description = Text(0, 5000, lines=True)
    account_id = AccountId(allow_none=True)


class WebhookCreate(WebhookUpdate):
    uri = Uri(required=True)
    event = CommaList(10, 20, (*EVENTS, "all"), required=True, validate=SOME)
    active = Switch(load_default=True)
    description = Text(0, 5000, lines=True, load_default="")


class WebhookQuery(Page):
    event = CommaList(10, 20, (*EVENTS, "all"))


class WebhookDelete(Wire):
    event = CommaList(10, 20, (*EVENTS, "all"), validate=SOME)


class RedeliverSince(Wire):
    """`status` is of the deliveries that are made once more; what is pending is on its way already."""

    since = Instant(required=True)
    status = CommaList(
        3, 10, ("failed", "cancelled", "delivered"), load_default=lambda: ["failed"], validate=SOME
    )


class RedeliveredOut(Wire):
    """How many deliveries were made, and how many the next call would make: one makes up to 10,000."""

    made = fields.Integer()
    left = fields.Integer()


class WebhookOut(Wire):
    """A webhook without its secret, which only the answers to create and rotation carry."""

    id = fields.String()
    uri = fields.String()
    event = fields.List(fields.String(), attribute="events")
    active = fields.Boolean()
    disabled_reason = fields.String(allow_none=True)
    failing_since = Instant(allow_none=True)
    description = fields.String()
    account_id = fields.String(allow_none=True)
    created_at = Instant()


class WebhookSecretOut(WebhookOut):
    secret = fields.String()


class DeliveryQuery(Page):
    status = CommaList(4, 10, DELIVERY_STATUSES)
    event = CommaList(10, 20, (*EVENTS, "test"))
    channel_id = Text(0, 255)


class DeliveryOut(Wire):
    id = fields.String()
    event_id = fields.Integer(allow_none=True)
    event = one_of((*EVENTS, "test"))
    channel_id = fields.String(allow_none=True)
    status = one_of(DELIVERY_STATUSES)
    attempts = fields.Integer()
    created_at = Instant()
    next_at = Instant(allow_none=True)


class AttemptOut(Wire):
    number = fields.Integer()
    time = Instant()
    status = fields.Integer(allow_none=True)
    latency = fields.Integer()
    answer = fields.String(allow_none=True)
    error = fields.String(allow_none=True)


class DeliveryTriesOut(DeliveryOut):
    tries = fields.List(fields.Nested(AttemptOut))
