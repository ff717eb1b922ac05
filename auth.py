"""API tokens: HTTP Basic with an id and a secret, and what each role may do (contract, section 1)."""

import hashlib
import hmac
import logging
import secrets
import threading
from collections import deque
from datetime import datetime, timedelta
from typing import Any

from flask import Response, current_app, g, request
from flask_httpauth import HTTPBasicAuth

import audit
from config import Config
from db import database, only_if_free, utcnow
from errors import (
    ForbiddenError,
    InvalidError,
    NotFoundError,
    TooManyFailuresError,
    UnauthorizedError,
    from_api_error,
)
from models import Role, new_id
from models_access import Token

log = logging.getLogger(__name__)

basic = HTTPBasicAuth(realm="livestream")
# Compared against when the id is unknown, so that an unknown id costs what a wrong secret costs.
NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
READING = ("GET", "HEAD", "OPTIONS")
USED_AGAIN = timedelta(minutes=1)


class FailedLogins:
    """Wrong credentials per address within the last minute. In memory: one process answers, and a restart is rare."""

    MOST = 60
    SPAN = timedelta(minutes=1)
    ADDRESSES = 10_000  # beyond that many, the one that has been quiet for longest is forgotten

    def __init__(self) -> None:
        self.times: dict[str, deque[datetime]] = {}
        self.lock = threading.Lock()

    def add(self, address: str, now: datetime) -> int | None:
        """Count one more; returns in how many seconds to try again once there are too many, else None."""
        with self.lock:
            times = self.times.pop(address, None) or deque(maxlen=self.MOST)
            while times and times[0] <= now - self.SPAN:
                times.popleft()
            times.append(now)
            self.times[address] = times
            if len(self.times) > self.ADDRESSES:
                del self.times[next(iter(self.times))]
            if len(times) < self.MOST:
                return None
            return max(1, round((times[0] + self.SPAN - now).total_seconds()))


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@basic.verify_password
def verify(token_id: str, secret: str) -> Token | None:
    """The token that these credentials are, or None."""
    # Two headers arrive joined by a comma, and base64 is read up to what is none of it: the first would count.
    if "," in request.headers.get("Authorization", ""):
        return None
    return log_in(token_id, secret, utcnow())


def log_in(token_id: str, secret: str, now: datetime) -> Token | None:
    """The token that these credentials are, by which this request acts from now on; wrong ones are counted."""
    token = known(token_id)
    right = hmac.compare_digest(token.secret_sha256 if token else NOBODY, digest(secret))
    if not token or not right or expired(token, now):
        if token_id or secret:  # who sends none is not guessing
            _tell_failed(token)
            g.try_again_in = current_app.extensions["failed_logins"].add(request.remote_addr or "", now)
        return None
    act_as(token, now)
    return token


def _tell_failed(token: Token | None) -> None:
    """An id that nobody has is not written down: it may be a secret that was put into the wrong field."""
    address = request.remote_addr or ""
    about = {"event": "sign_in_failed", "address": address} | ({"tokenId": token.id} if token else {})
    log.warning("sign-in failed from %s, %s", address, token.id if token else "no such token", extra=about)


def known(token_id: str) -> Token | None:
    return configured_root(current_app.config["LIVESTREAM"], token_id) or Token.named(token_id)


def expired(token: Token, now: datetime) -> bool:
    return token.expires_at is not None and token.expires_at <= now


def act_as(token: Token, now: datetime) -> None:
    """Do what this request does in the name of this token."""
    g.token = token
    audit.acting.set(audit.Actor(token.id, request.remote_addr or "", g.request_id))
    in_a_table = token.pk is not None
    if in_a_table and (token.last_used_at is None or token.last_used_at <= now - USED_AGAIN):
        only_if_free(Token.update(last_used_at=now).where(Token.pk == token.pk))


@basic.error_handler
def refuse(status: int) -> Response:
    if seconds := g.get("try_again_in"):
        return from_api_error(TooManyFailuresError(seconds))
    return from_api_error(
        UnauthorizedError("Send a valid API token id and secret as HTTP Basic credentials.")
    )


@basic.login_required
def require_token() -> None:
    """For a blueprint's before_request: any token may ask; one that only reads may change nothing."""
    may_change()


@basic.login_required
def require_admin() -> None:
    """For a blueprint's before_request: what concerns the whole installation."""
    if request.method != "OPTIONS":  # which is let in without a token
        must_be_admin()


def may_change() -> None:
    if request.method not in READING and g.token.role == Role.READ:
        raise ForbiddenError("This token may only read.")


def must_be_admin() -> None:
    if g.token.role != Role.ADMIN:
        raise ForbiddenError("This takes a token with the role admin.")


def may_see_stream_tokens() -> None:
    if g.token.role == Role.READ:
        raise ForbiddenError("This token may only read, and no stream tokens.")


def account_filter(asked: str | None) -> str | None:
    """The account that a list is limited to: the token's own, or the one asked for; None for all."""
    return own_account(asked, "shows that one only") if asked else g.token.account_id


def own_account(asked: str, why: str) -> str:
    """`asked`, which a token bound to another account may not name."""
    if g.token.account_id not in (None, asked):
        raise ForbiddenError(f"This token is bound to account {g.token.account_id!r} and {why}.")
    return asked


def configured_root(config: Config, token_id: str) -> Token | None:
    """The root token from the environment; it is in no table."""
    if not config.token_id or not config.token_secret or token_id != config.token_id:
        return None
    return Token(id=config.token_id, secret_sha256=digest(config.token_secret), role=Role.ADMIN)


def ensure_root_token(config: Config, now: datetime) -> tuple[str, str] | None:
    """Make a root token where nobody could be admin: on the first start, and when the last one was revoked.

    Returns id and secret this once, for printing, else None.
    """
    if config.token_id or Token.select().where(Token.role == Role.ADMIN).exists():
        return None
    fields = {"role": Role.ADMIN, "account_id": None, "expires_at": None, "name": "root"}
    token, secret = create_token(fields, now)
    return token.id, secret


def create_token(fields: dict[str, Any], now: datetime) -> tuple[Token, str]:
    """A new token from TokenCreate's fields, and its secret, which is told this once."""
    if fields["expires_at"] and fields["expires_at"] <= now:
        raise InvalidError.field("expiresAt", "Must be in the future.")
    if fields["account_id"] and fields["role"] == Role.ADMIN:
        raise InvalidError.field("accountId", "A token with the role admin is bound to no account.")
    secret = secrets.token_urlsafe(32)
    with database.atomic():
        token = Token.create(**fields, id=new_id("tok"), secret_sha256=digest(secret), created_at=now)
        audit.record("create", "token", token.id, token.account_id, now)
    return token, secret


def revoke_token(token_id: str, now: datetime) -> None:
    """From now on it is nobody's."""
    with database.atomic():
        if not Token.delete().where(Token.id == token_id).execute():
            raise NotFoundError.of("token", token_id)
        audit.record("revoke", "token", token_id, None, now)
