"""Sessions of the console: a signed cookie that names an API token and is good for as long as that token is."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from flask import Response, current_app, request
from itsdangerous import BadSignature, URLSafeSerializer
from werkzeug.local import LocalProxy

from auth import expired, known
from db import to_ms
from models_access import Token

COOKIE = "livestream_session"
IDLE = timedelta(hours=12)
RENEWED_AFTER = timedelta(minutes=5)  # a cookie for every click would be one too many


class Session(NamedTuple):
    id: str
    token: Token
    seen_ms: int

    def is_stale(self, now: datetime) -> bool:
        return to_ms(now) - self.seen_ms > RENEWED_AFTER / timedelta(milliseconds=1)


class Sessions:
    """Nothing is kept of a session but that it was signed out, and that in memory: one process answers."""

    def __init__(self, read_key: Callable[[], str]) -> None:
        self.read_key = read_key
        self.over: dict[str, datetime] = {}
        self.lock = threading.Lock()

    @cached_property
    def key(self) -> bytes:
        """Read when it is first needed: a command line that only looks at the app has no folder to read it from."""
        return self.read_key().encode()

    def begin(self, token: Token, now: datetime) -> Session:
        return Session(secrets.token_urlsafe(16), token, to_ms(now))

    def end(self, session: Session, now: datetime) -> None:
        """A copy of the cookie is worth nothing from now on."""
        with self.lock:
            self.over = {each: since for each, since in self.over.items() if now - since <= IDLE}
            self.over[session.id] = now

    def cookie(self, session: Session) -> str:
        fields = [session.id, session.token.id, self._proof(session.token), session.seen_ms]
        return self._signer.dumps(fields)

    def read(self, cookie: str, now: datetime) -> Session | None:
        """The session of this cookie, unless it has been idle for too long, or its token is not what it was."""
        try:
            session_id, token_id, proof, seen_ms = self._signer.loads(cookie)
        except BadSignature:
            return None
        if session_id in self.over or to_ms(now) - seen_ms > IDLE / timedelta(milliseconds=1):
            return None
        token = known(token_id)
        if token is None or expired(token, now) or not hmac.compare_digest(proof, self._proof(token)):
            return None
        return Session(session_id, token, seen_ms)

    def csrf(self, session: Session) -> str:
        """What every form of this session carries, and nobody else can know."""
        return self._mac("csrf", session.id)

    def _proof(self, token: Token) -> str:
        """Of the secret that was given: a token with another secret is another token, whatever its id."""
        return self._mac("token", token.secret_sha256)

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self.key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()

    @property
    def _signer(self) -> URLSafeSerializer:
        return URLSafeSerializer(self.key, salt="console", signer_kwargs={"digest_method": hashlib.sha256})


sessions: Sessions = LocalProxy(lambda: current_app.extensions["sessions"])


def of_request(now: datetime) -> Session | None:
    cookie = request.cookies.get(COOKIE)
    return sessions.read(cookie, now) if cookie else None


def give(reply: Response, session: Session) -> Response:
    # No lifetime of its own: the browser forgets it when it is closed, we after IDLE.
    reply.set_cookie(COOKIE, sessions.cookie(session), **_attributes())
    return reply


def take(reply: Response) -> Response:
    reply.delete_cookie(COOKIE, **_attributes())
    return reply


def _attributes() -> dict[str, object]:
    secure = current_app.config["LIVESTREAM"].public_url.startswith("https:")
    return {"path": "/", "httponly": True, "samesite": "Strict", "secure": secure}
