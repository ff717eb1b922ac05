"""Who did what: one row beside each change that an API token makes, in its transaction (contract, section 6)."""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from models_access import AuditEntry


@dataclass(frozen=True)
class Actor:
    """Who is asking. Without a request it is nobody, and nothing is recorded: a timer is no one's doing."""

    token_id: str
    client_ip: str
    request_id: str


acting: ContextVar[Actor | None] = ContextVar("acting", default=None)


def record(action: str, kind: str, target: str, account_id: str | None, now: datetime) -> None:
    """For example: record("stop", "channel", channel.id, channel.account_id, now)."""
    if actor := acting.get():
        AuditEntry.create(
            time=now,
            token_id=actor.token_id,
            account_id=account_id,
            action=action,
            kind=kind,
            target=target,
            client_ip=actor.client_ip,
            request_id=actor.request_id,
        )
