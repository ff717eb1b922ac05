"""The kinds of value on the wire and their rules (contract, section 1): what schemas.py is written in.

camelCase outside, snake_case inside. Nothing here asks a database or a clock.
"""

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar

from marshmallow import RAISE, Schema, ValidationError, fields, validate

MISSING = "This field is required."
NOW = "now"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
METADATA_BYTES = 4096
JSON_DEPTH = 64
ACCOUNT_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


class Wire(Schema):
    """Base of all schemas: camelCase names, unknown names refused."""

    error_messages: ClassVar = {"unknown": "There is no such parameter."}

    class Meta:
        unknown = RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field) -> None:
        field_obj.data_key = field_obj.data_key or camel(field_name)
        field_obj.error_messages["required"] = MISSING
        field_obj.error_messages["null"] = "null is not a value of this field; leave the field out instead."

    def load_text(self, values: Mapping[str, str | None]) -> dict[str, Any]:
        """Load a form or a query string, where every value is text; None is null, which no text says."""
        kinds = {field.data_key: field for field in self.load_fields.values()}
        return self.load(
            {name: text if text is None else _typed(kinds.get(name), text) for name, text in values.items()}
        )

    @classmethod
    def show(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """What `dump` makes of values that are JSON's own kinds or times already, at a third of its price.

        For what is answered again and again: a channel, in every read, list and event. Missing values are null.
        """
        get = values.get
        return {
            name: iso(value) if (value := get(attribute)).__class__ is datetime else value
            for name, attribute in cls.named()
        }

    @classmethod
    @cache
    def named(cls) -> list[tuple[str, str]]:
        """The names outside, each with the attribute that it shows."""
        return [(field.data_key, field.attribute or name) for name, field in cls().dump_fields.items()]


def _typed(field: fields.Field | None, text: str) -> Any:
    """The JSON value that a form's text stands for; other text is left for the field to refuse."""
    if isinstance(field, fields.Integer) and re.fullmatch(r"-?[0-9]{1,19}", text):
        return int(text)
    if isinstance(field, fields.Boolean):
        return {"true": True, "1": True, "false": False, "0": False}.get(text, text)
    if isinstance(field, Metadata | fields.Nested):
        try:
            return read_json(text)
        except ValueError:
            return text
    return text


def dump_json(value: Any) -> str:
    """Compact JSON, in the order given and in readable characters."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def pretty_json(value: Any) -> str:
    """The same for people: indented, with a line end."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def read_json(text: str) -> Any:
    """Strict JSON: no key twice, no NaN, no number beyond a double, nesting up to 64. Raises ValueError."""
    try:
        value = json.loads(
            text, object_pairs_hook=_once_each, parse_constant=_no_constant, parse_float=_finite
        )
    except RecursionError:
        raise ValueError(f"nested deeper than {JSON_DEPTH}") from None
    level, depth = [value], 0
    while level := [item for node in level for item in _children(node)]:
        depth += 1
        if depth > JSON_DEPTH:
            raise ValueError(f"nested deeper than {JSON_DEPTH}")
    return value


def _children(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError("a number is too large")
    return number


class Text(fields.String):
    """Text without control characters and lone surrogates, its length counted in code points."""

    def __init__(
        self, low: int = 0, high: int | None = 255, *, trim: bool = False, lines: bool = False, **kw: Any
    ) -> None:
        self.trim, self.allowed = trim, "\n\r\t" if lines else ""
        super().__init__(**{"validate": validate.Length(low, high)} | kw)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        for char in text:
            if char not in self.allowed and unicodedata.category(char) in ("Cc", "Cs"):
                raise ValidationError(
                    f"Contains U+{ord(char):04X}, a control character or half a surrogate pair."
                )
        return text.strip() if self.trim else text


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 60.0 is the integer 60."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Number(fields.Integer):
    """An integer within bounds; "60", 60.5 and true are not integers."""

    def __init__(self, low: int, high: int, **kw: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(low, high), **kw)

    def _validated(self, value: Any) -> int | None:
        if isinstance(value, str):
            raise self.make_error("invalid", input=value)
        return super()._validated(_whole(value))


class Switch(fields.Boolean):
    """A JSON boolean and nothing that looks like one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Choice(Text):
    def __init__(self, options: tuple[str, ...], **kw: Any) -> None:
        super().__init__(validate=validate.OneOf(options), **kw)


class CommaList(fields.Field):
    """A comma separated string or an array of strings; trimmed, empties and repeats dropped."""

    def __init__(self, most: int, longest: int, options: tuple[str, ...] = (), **kw: Any) -> None:
        self.most, self.item = most, Choice(options) if options else Text(1, longest)
        self.untrimmed = Text(high=None)
        super().__init__(**kw)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[str]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ValidationError("Must be a comma separated string or an array of strings.")
        # Before trimming, which would take some control characters away unseen.
        trimmed = [self.untrimmed.deserialize(part).strip() for part in parts]
        kept = dict.fromkeys(part for part in trimmed if part)
        if len(kept) > self.most:
            raise ValidationError(f"At most {self.most} are taken.")
        return [self.item.deserialize(part) for part in kept]


class AccountId(Text):
    """1..64 of [A-Za-z0-9._:-]; an integer is taken and kept as text."""

    def __init__(self, **kw: Any) -> None:
        shape = validate.Regexp(rf"{ACCOUNT_ID.pattern}\Z", error="Must be 1..64 of A-Z a-z 0-9 . _ : -")
        super().__init__(validate=shape, **kw)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        value = _whole(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**64:
            value = str(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Metadata(fields.Field):
    """The App Server's own JSON object, up to 4 KiB as UTF-8."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("Must be a JSON object.")
        try:
            size = len(dump_json(value).encode())
        except UnicodeEncodeError:
            raise ValidationError("Contains half a surrogate pair.") from None
        if size > METADATA_BYTES:
            raise ValidationError(f"Must be at most {METADATA_BYTES} bytes of JSON; this is {size}.")
        return value


class Instant(fields.Field):
    """RFC 3339 with a zone, in milliseconds UTC; `word` also takes the word now."""

    def __init__(self, *, word: bool = False, **kw: Any) -> None:
        self.word = word
        super().__init__(**kw)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime | str:
        if self.word and value == NOW:
            return NOW
        try:
            if not isinstance(value, str) or not RFC3339.fullmatch(value):
                raise ValueError
            moment = datetime.fromisoformat(value.upper().replace(" ", "T")).astimezone(UTC)
        except (ValueError, OverflowError):
            example = "2019-04-18T10:00:00.000Z" + (" or the word now" if self.word else "")
            raise ValidationError(f"Must be a time with a zone, like {example}.") from None
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else iso(value)


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")  # %Y does not pad a year


class Region(Text):
    """Where a broadcast is to go in; empty is anywhere."""

    def __init__(self, **kw: Any) -> None:
        shape = validate.Regexp(r"[a-z0-9-]{0,32}\Z", error="Must be up to 32 of a-z 0-9 -")
        super().__init__(validate=shape, **kw)


class StreamToken(Text):
    def __init__(self, **kw: Any) -> None:
        shape = validate.Regexp(r"[A-Za-z0-9_-]{8,128}\Z", error="Must be 8..128 of A-Z a-z 0-9 _ -")
        super().__init__(validate=shape, **kw)
