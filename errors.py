"""The envelope: what every answer looks like, and the one place that turns an exception into one.

Codes and statuses are contract section 1. Domain code raises; it never builds an error body.
"""

import logging
from typing import Any

import peewee
from flask import Flask, Response, g, request
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, NotFound

from wire import MISSING, dump_json

log = logging.getLogger(__name__)

RETRY_AFTER_S = 5


class ApiError(Exception):
    """A failure with a number that a program reads and a sentence that a person can act on."""

    status = 500
    ec = 50000

    def __init__(self, msg: str, errors: dict[str, list[str]] | None = None) -> None:
        super().__init__(msg)
        self.msg = msg
        self.errors = errors


class UnreadableError(ApiError):
    status, ec = 400, 40000


class UnauthorizedError(ApiError):
    status, ec = 401, 40100


class ForbiddenError(ApiError):
    status, ec = 403, 40300


class LimitError(ApiError):
    """A limit of the account's user is reached."""

    status, ec = 403, 40301


class NotFoundError(ApiError):
    status, ec = 404, 40400

    @classmethod
    def of(cls, kind: str, key: str) -> "NotFoundError":
        return cls(f"There is no {kind} {key[:80]!r}.")


class InvalidError(ApiError):
    """A parameter is present and wrong."""

    status, ec = 422, 42200

    @classmethod
    def field(cls, name: str, reason: str) -> "InvalidError":
        return cls(f"{name}: {reason}", {name: [reason]})


class NotPossibleError(ApiError):
    """Right in itself, but not in the channel's present state."""

    status, ec = 422, 42201


class TokenInUseError(ApiError):
    status, ec = 422, 42202


class KeyReusedError(ApiError):
    """An Idempotency-Key that came before, with something else."""

    status, ec = 422, 42203


class TooManyFailuresError(ApiError):
    status, ec = 429, 42900

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"Too many wrong credentials from this address; try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


def ok(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return _reply({"ec": 0, "data": data}, status, headers)


def created(data: dict[str, Any], location: str) -> Response:
    return ok(data, 201, {"Location": location})


def ok_list(data: list[Any], total: int, page: int) -> Response:
    return _reply({"ec": 0, "data": data, "total": total, "length": len(data), "page": page}, 200, None)


def nothing() -> Response:
    return without_type(Response(status=204))


def without_type(reply: Response) -> Response:
    """What has no body has no type either; Werkzeug would say text/html."""
    reply.headers.pop("Content-Type", None)
    return reply


def to_json(value: Any) -> bytes:
    """Compact JSON. A lone surrogate, which UTF-8 cannot hold, stays the escape that JSON writes for it."""
    return dump_json(value).encode("utf-8", "backslashreplace")


def _reply(body: dict[str, Any], status: int, headers: dict[str, str] | None) -> Response:
    return Response(to_json(body), status=status, headers=headers, content_type="application/json")


def _failure(status: int, ec: int, msg: str, errors: dict[str, list[str]] | None = None) -> Response:
    body: dict[str, Any] = {"ec": ec, "msg": msg}
    if errors:
        body["errors"] = errors
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="livestream"'
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return _reply(body, status, headers)


def from_api_error(error: ApiError) -> Response:
    reply = _failure(error.status, error.ec, error.msg, error.errors)
    if isinstance(error, TooManyFailuresError):
        reply.headers["Retry-After"] = str(error.retry_after_s)
    return reply


def from_validation(error: ValidationError) -> Response:
    """400 as soon as a required field is missing, with all that is wrong listed beside it; else 422."""
    errors = flatten(error.normalized_messages())
    missing = [name for name, reasons in errors.items() if MISSING in reasons]
    if missing:
        return _failure(400, 40001, f"Send {_and(missing)}: required.", errors)
    name, reasons = next(iter(errors.items()))
    more = f" ({len(errors) - 1} more, see errors)" if len(errors) > 1 else ""
    return _failure(422, 42200, f"{name}: {reasons[0]}{more}", errors)


def flatten(messages: dict[Any, Any], prefix: str = "") -> dict[str, list[str]]:
    """marshmallow's nested messages with one dotted name per field."""
    flat: dict[str, list[str]] = {}
    for key, value in messages.items():
        name = f"{prefix}{key}".removesuffix("._schema")
        if isinstance(value, dict):
            flat |= flatten(value, f"{name}.")
        else:
            flat.setdefault(name, []).extend(str(reason) for reason in value)
    return flat


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _from_http(error: HTTPException) -> Response:
    # Werkzeug's own answer keeps the headers that belong to it: Allow above all.
    reply = error.get_response()
    status = reply.status_code
    match status:
        case 404:
            ours = _failure(404, 40400, f"There is nothing at {request.path[:200]}.")
        case 405:
            allowed = ", ".join(sorted(reply.headers.get("Allow", "nothing").split(", ")))
            ours = _failure(405, 40500, f"{request.method} is not accepted here; use {allowed}.")
            ours.headers["Allow"] = allowed
        case 413:
            ours = _failure(400, 40000, "The body is too large: up to 1 MiB is read.")
        case _ if status >= 500:
            ours = _failure(500, 50000, "Internal error.")
        case _:
            ours = _failure(400, 40000, error.description or "The request cannot be read.")
    return ours


def _from_database(error: peewee.DatabaseError) -> Response:
    # Locked, full, unreadable: the transaction rolled back, so nothing was changed and a retry is safe.
    log.error("database: %s", _first(error))
    return _failure(503, 50300, "The database cannot be reached; nothing was changed. Try again shortly.")


def _first(error: BaseException) -> BaseException:
    """What went wrong before all that went wrong because of it."""
    return _first(error.__context__) if error.__context__ else error


def _from_bug(error: Exception) -> Response:
    log.exception("unexpected error")
    return _failure(500, 50000, f"Internal error; the log has it under request {g.get('request_id', '?')}.")


def _options(reply: Response) -> Response:
    is_flasks = request.method == "OPTIONS" and reply.status_code == 200
    return without_type(reply) if is_flasks else reply


def _no_doubled_slash() -> None:
    # waitress makes one slash of those that a path begins with; what was sent is not what would be found.
    if request.environ.get("REQUEST_URI", "").startswith("//"):
        raise NotFound


def register(app: Flask) -> None:
    app.before_request(_no_doubled_slash)
    app.after_request(_options)
    app.register_error_handler(ApiError, from_api_error)
    app.register_error_handler(ValidationError, from_validation)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(peewee.IntegrityError, _from_bug)
    app.register_error_handler(peewee.DatabaseError, _from_database)
    app.register_error_handler(Exception, _from_bug)
