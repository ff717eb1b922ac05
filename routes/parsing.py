"""Reading a request: its body and its query, by a schema, with the contract's strictness (section 1)."""

from typing import Any
from urllib.parse import parse_qsl

from flask import request

from errors import InvalidError, UnreadableError
from schemas import NoQuery
from wire import Wire, read_json

NO_QUERY = NoQuery()
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


def body(schema: Wire) -> dict[str, Any]:
    """The validated body; no body at all counts as an empty object."""
    if request.query_string:
        query(NO_QUERY)
    raw = request.get_data()
    if not raw and request.mimetype in ("", JSON, FORM):
        return schema.load({})
    if request.mimetype not in (JSON, FORM):
        raise UnreadableError(f"Send the body as {JSON} or {FORM}.")
    if request.mimetype_params.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnreadableError("Send the body in UTF-8.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"The body is not UTF-8: byte {error.start}.") from None
    return schema.load_text(_form(text)) if request.mimetype == FORM else schema.load(_object(text))


def query(schema: Wire) -> dict[str, Any]:
    """The validated query. A byte that is no UTF-8 becomes half a surrogate pair, which no kind of value takes."""
    text = request.query_string.decode("utf-8", "surrogateescape")
    return schema.load_text(_once_each(parse_qsl(text, keep_blank_values=True, errors="surrogateescape")))


def _object(text: str) -> dict[str, Any]:
    try:
        value = read_json(text)
    except ValueError as error:
        raise UnreadableError(f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UnreadableError("The body must be a JSON object.")
    return value


def _form(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=100
        )
    except ValueError as error:
        hint = " It looks like JSON: send Content-Type: application/json with it." if text[:1] in "{[" else ""
        raise UnreadableError(f"The body is not a form: {error}.{hint}") from None
    return _once_each(pairs)


def _once_each(pairs: list[tuple[str, str]]) -> dict[str, str]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidError(f"{twice[0]} is given twice.", {name: ["Give it once."] for name in twice})
    return dict(pairs)
