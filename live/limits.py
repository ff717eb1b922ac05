"""What an account may use, and what it uses (contract, section 4)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import audit
from db import database, run, to_ms
from errors import InvalidError, LimitError, NotFoundError
from models import Channel, Session
from models_access import User
from wire import ACCOUNT_ID

Values = dict[str, int | None]

NAMES = ("max_channels", "max_live", "max_duration", "max_bitrate", "max_height", "max_storage")
MEASURED_MS = 10_000  # bitrate and height count when they are beyond the limit for this long
TELLING_MS = 4000  # an encoder that connects sends what it has kept for some seconds
MB = 1_000_000


class Limits:
    """The limits of every account. `defaults` are those of an account without a user."""

    def __init__(self, defaults: Mapping[str, int | None]) -> None:
        self.defaults = {name: defaults.get(name) for name in NAMES}

    def of(self, account_id: str) -> Values:
        """By name; None is no limit."""
        user = User.named(account_id)
        return user.limits if user else self.defaults

    def check_create(self, account_id: str) -> None:
        """Raises LimitError. Inside the transaction that creates, so that simultaneous ones cannot pass together."""
        limits = self.of(account_id)
        if reached(limits["max_channels"], channels_of, account_id):
            raise LimitError(
                f"Account {account_id!r} has its {limits['max_channels']} channels; "
                "stop one of them, or raise maxChannels of its user."
            )
        if storage_is_used_up(limits, account_id):
            raise LimitError(f"The storage of account {account_id!r} is used up; delete videos of it.")

    def refusal(self, channel: Channel) -> str | None:
        """Why the account of this channel may not have one more publisher; inside the transaction that lets it in."""
        limits = self.of(channel.account_id)
        if reached(limits["max_live"], live_of, channel.account_id):
            return "limit_live"
        if storage_is_used_up(limits, channel.account_id):
            return "limit_storage"
        most = self.max_ms(channel)
        return "limit_duration" if most is not None and channel.sent_ms >= most else None

    def max_ms(self, channel: Channel) -> int | None:
        """The most that the channel's duration may become, in milliseconds."""
        seconds = self.of(channel.account_id)["max_duration"]
        return None if seconds is None else seconds * 1000

    def exceeded(self, session: Session, account_id: str, now: datetime) -> str | None:
        """Which limit the signal is beyond now."""
        limits = self.of(account_id)
        if beyond(limits["max_bitrate"], rate_now(session, now)):
            return "limit_bitrate"
        if beyond(limits["max_height"], session.video.get("height")):
            return "limit_height"
        return None

    # Users: what the API does with them.

    def create(self, fields: dict[str, Any], now: datetime) -> User:
        """A user from UserCreate's fields; limits that are not named are those of the configuration."""
        with database.atomic():
            if User.named(fields["account_id"]):
                raise InvalidError.field("id", "There is a user of this account already; change it with PUT.")
            return self._make(fields["account_id"], fields, now)

    def change(self, account_id: str, fields: dict[str, Any], now: datetime) -> User:
        """Change what is sent, limit by limit; makes the user of an account that has none."""
        if not ACCOUNT_ID.fullmatch(account_id):
            raise NotFoundError.of("account", account_id)
        with database.atomic():
            user = User.named(account_id)
            if user is None:
                return self._make(account_id, fields, now)
            before = user.name, user.limits
            user.name, user.limits = fields.get("name", user.name), user.limits | fields.get("limits", {})
            if (user.name, user.limits) != before:
                user.updated_at = now
                user.keep()
                audit.record("update", "user", account_id, account_id, now)
        return user

    def reset(self, account_id: str, now: datetime) -> None:
        """Remove the user: the account has the configuration's limits again, and keeps its channels."""
        with database.atomic():
            if not User.delete().where(User.account_id == account_id).execute():
                raise NotFoundError.of("user", account_id)
            audit.record("delete", "user", account_id, account_id, now)

    def _make(self, account_id: str, fields: dict[str, Any], now: datetime) -> User:
        audit.record("create", "user", account_id, account_id, now)
        return User.create(
            account_id=account_id,
            name=fields.get("name", ""),
            limits=self.defaults | fields.get("limits", {}),
            created_at=now,
            updated_at=now,
        )


def usage(account_id: str) -> dict[str, int]:
    """What counts against the limits, now."""
    return {
        "channels": channels_of(account_id),
        "live": live_of(account_id),
        "storage": stored_bytes(account_id) // MB,
    }


def channels_of(account_id: str) -> int:
    [(count,)] = run(
        "SELECT COALESCE(SUM(n), 0) FROM channel_count WHERE account_id = ? AND tag = '' AND status != 'ended'",
        account_id,
    )
    return count


def live_of(account_id: str) -> int:
    [(count,)] = run(
        "SELECT COUNT(*) FROM session JOIN channel ON channel.pk = session.channel_id "
        "WHERE session.stop_time IS NULL AND channel.account_id = ?",
        account_id,
    )
    return count


def stored_bytes(account_id: str) -> int:
    """What its videos take, and what has come in of broadcasts that may leave some."""
    [(videos,)] = run(
        "SELECT COALESCE(SUM(size + download_size), 0) FROM video WHERE account_id = ?", account_id
    )
    [(coming,)] = run(
        "SELECT COALESCE(SUM(bytes_in), 0) FROM session JOIN channel ON channel.pk = session.channel_id "
        "WHERE account_id = ? AND status IN ('coming', 'init', 'live', 'error') AND (catchup OR record)",
        account_id,
    )
    return videos + coming


def measure(session: Session, now: datetime) -> bool:
    """Close a span of measuring once it is long enough; True if `session.bitrate` is a new one."""
    if session.measured_at is None:
        session.measured_at, session.measured_bytes = now, session.bytes_in
        return False
    span_ms = to_ms(now) - to_ms(session.measured_at)
    if 0 <= span_ms < MEASURED_MS:
        return False
    session.bitrate = (session.bytes_in - session.measured_bytes) * 8 // span_ms if span_ms > 0 else None
    session.measured_at, session.measured_bytes = now, session.bytes_in
    return session.bitrate is not None


def rate_now(session: Session, now: datetime) -> int | None:
    """kbit/s of the present span, once it says more than a burst does; of the last one before."""
    if session.measured_at is not None:
        span_ms = to_ms(now) - to_ms(session.measured_at)
        if span_ms >= TELLING_MS:
            return (session.bytes_in - session.measured_bytes) * 8 // span_ms
    return session.bitrate


def reached(limit: int | None, count: Callable[[str], int], account_id: str) -> bool:
    return limit is not None and count(account_id) >= limit


def beyond(limit: int | None, value: int | None) -> bool:
    return limit is not None and value is not None and value > limit


def storage_is_used_up(limits: Values, account_id: str) -> bool:
    limit = limits["max_storage"]
    return reached(None if limit is None else limit * MB, stored_bytes, account_id)
