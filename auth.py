"""API tokens: HTTP Basic with an id and a secret (contract, section 1)."""

import hashlib
import hmac
import secrets
from datetime import datetime

from flask import current_app, g
from flask_httpauth import HTTPBasicAuth

from config import Config
from db import utcnow
from errors import UnauthorizedError, from_api_error
from models import Token, new_id

basic = HTTPBasicAuth(realm="livestream")
# Compared against when the id is unknown, so that an unknown id costs what a wrong secret costs.
NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@basic.verify_password
def verify(token_id: str, secret: str) -> Token | None:
    """The token that these credentials are, or None."""
    token = configured_root(current_app.config["LIVESTREAM"], token_id) or Token.get_or_none(
        Token.id == token_id
    )
    right = hmac.compare_digest(token.secret_sha256 if token else NOBODY, digest(secret))
    if not token or not right or (token.expires_at and token.expires_at <= utcnow()):
        return None
    g.token = token
    return token


@basic.error_handler
def refuse(status: int) -> object:
    return from_api_error(
        UnauthorizedError("Send a valid API token id and secret as HTTP Basic credentials.")
    )


@basic.login_required
def require_token() -> None:
    """For a blueprint's before_request: None lets the request through."""


def configured_root(config: Config, token_id: str) -> Token | None:
    """The root token from the environment; it is in no table."""
    if not config.token_id or not config.token_secret or token_id != config.token_id:
        return None
    return Token(id=config.token_id, secret_sha256=digest(config.token_secret), role="admin")


def ensure_root_token(config: Config, now: datetime) -> tuple[str, str] | None:
    """Make the root token on the first start; returns id and secret this once, for printing, else None."""
    if config.token_id or Token.select().exists():
        return None
    token_id, secret = new_id("tok"), secrets.token_urlsafe(32)
    Token.create(id=token_id, secret_sha256=digest(secret), role="admin", name="root", created_at=now)
    return token_id, secret
