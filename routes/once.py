"""Idempotency-Key: the same key from the same API token answers the first response again (contract, section 2)."""

import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask import Response, g, request

from db import database
from errors import InvalidError, KeyReusedError
from models_access import KeptAnswer
from wire import dump_json, iso

HEADER = "Idempotency-Key"
KEPT_FOR = timedelta(hours=24)


def once(asked: dict[str, Any], make: Callable[[], Response], now: datetime) -> Response:
    """What `make` answers, or what it answered when the key came first.

    One transaction holds the look, the making and the keeping: a duplicate that arrives meanwhile waits for it, and
    a crash leaves either all of it or nothing. A failure is raised through it, so only successes are kept.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return make()
    if not re.fullmatch(r"[\x20-\x7e]{1,255}", key):
        raise InvalidError.field(HEADER, "Must be 1..255 printable ASCII characters.")
    mine = (KeptAnswer.token_id == g.token.id) & (KeptAnswer.key == key)
    with database.atomic():
        KeptAnswer.delete().where(mine & (KeptAnswer.created_at <= now - KEPT_FOR)).execute()
        if kept := KeptAnswer.get_or_none(mine):
            return replayed(kept, asked)
        reply = make()
        KeptAnswer.create(
            token_id=g.token.id,
            key=key,
            fingerprint=fingerprint(asked),
            location=reply.headers["Location"],
            body=reply.get_data(as_text=True),
            created_at=now,
        )
    return reply


def replayed(kept: KeptAnswer, asked: dict[str, Any]) -> Response:
    if kept.fingerprint != fingerprint(asked):
        raise KeyReusedError(f"This {HEADER} came before with another body; use a new key for a new channel.")
    headers = {"Location": kept.location, "Idempotent-Replayed": "true"}
    return Response(kept.body, status=201, headers=headers, content_type="application/json")


def fingerprint(asked: dict[str, Any]) -> str:
    """Of what was understood, so that a form and a JSON body that say the same are the same."""
    plain = {name: iso(value) if isinstance(value, datetime) else value for name, value in asked.items()}
    return hashlib.sha256(dump_json(plain).encode("utf-8", "surrogatepass")).hexdigest()
