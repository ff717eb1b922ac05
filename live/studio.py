"""Studio links: one channel's page for its broadcaster, who has no API token (docs/decisions/0015-player.md)."""

import hashlib
import secrets
from datetime import datetime, timedelta

import audit
from db import database
from errors import NotPossibleError
from models import Channel, Status, new_id
from models_studio import StudioLink


def make(channel: Channel, expires_in_s: int, now: datetime) -> tuple[StudioLink, str]:
    """A new link, and its secret, which is told this once. Links made before go on."""
    if channel.status == Status.ENDED:
        raise NotPossibleError("The channel has ended: there is nothing to broadcast to.")
    secret = secrets.token_urlsafe(32)
    with database.atomic():
        StudioLink.delete().where(StudioLink.expires_at <= now).execute()
        link = StudioLink.create(
            id=new_id("stu"),
            channel=channel,
            secret_sha256=_digest(secret),
            created_at=now,
            expires_at=now + timedelta(seconds=expires_in_s),
        )
        audit.record("create", "studio", link.id, channel.account_id, now)
    return link, secret


def take_back(channel: Channel, now: datetime) -> None:
    """Every link to this channel opens nothing from now on."""
    with database.atomic():
        if StudioLink.delete().where(StudioLink.channel == channel).execute():
            audit.record("revoke", "studio", channel.id, channel.account_id, now)


def opened(secret: str, now: datetime) -> StudioLink | None:
    """The link with its channel, if there is one and its time is not over."""
    return (
        StudioLink.select(StudioLink, Channel)
        .join(Channel)
        .where(StudioLink.secret_sha256 == _digest(secret), StudioLink.expires_at > now)
        .first()
    )


def _digest(secret: str) -> str:
    """Fast on purpose: the secret is 256 random bits, nothing that could be guessed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
