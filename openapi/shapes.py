"""How each kind of value of wire.py looks in JSON Schema, where marshmallow's own validators do not say it."""

from functools import singledispatch
from typing import Any

from marshmallow import fields, validate

from schemas_webhook import Uri
from wire import NOW, AccountId, Choice, CommaList, Instant, Metadata, Region, StreamToken, Text

Shape = dict[str, Any]

CONTROL = r"\u0000-\u001f\u007f-\u009f"
CONTROL_BUT_LINES = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
SPACES = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


@singledispatch
def shape_of(field: fields.Field) -> Shape:
    return {}


@shape_of.register
def _(field: Text) -> Shape:
    control = CONTROL_BUT_LINES if field.allowed else CONTROL
    # Trimmed text that may not be empty has a character that stays.
    one = rf"[^{SPACES}{CONTROL}]" if field.trim and _least(field) else ""
    return {"type": "string", "pattern": rf"^[^{control}]*{one}" + (rf"[^{control}]*$" if one else "$")}


@shape_of.register
def _(field: Choice) -> Shape:
    return {"type": "string"}


@shape_of.register
def _(field: StreamToken) -> Shape:
    return {"type": "string", "pattern": "^[A-Za-z0-9_-]{8,128}$"}


@shape_of.register
def _(field: Region) -> Shape:
    return {"type": "string", "pattern": "^[a-z0-9-]{0,32}$"}


@shape_of.register
def _(field: Uri) -> Shape:
    return {"type": "string", "pattern": r"^https?://[A-Za-z0-9._:\[\]-]+([/?][!-\"$-\[\]-~]*)?$"}


@shape_of.register
def _(field: AccountId) -> Shape:
    text = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"}
    return {"anyOf": [text, {"type": "integer"}, *_null(field)]}


@shape_of.register
def _(field: Instant) -> Shape:
    time = {"type": "string", "format": "date-time"}
    if field.word:
        return {"anyOf": [time, {"const": NOW}]}
    return time | {"type": ["string", "null"]} if field.allow_none else time


@shape_of.register
def _(field: Metadata) -> Shape:
    return {"type": "object", "description": "Up to 4 KiB of JSON. In a form: JSON text."}


@shape_of.register
def _(field: CommaList) -> Shape:
    if not isinstance(field.item, Choice):
        item = rf"[^,{CONTROL}]{{0,50}}"
        text = {"type": "string", "pattern": f"^{item}(,{item})*$"}
        array = {"type": "array", "items": {"type": "string", "pattern": rf"^[^{CONTROL}]{{0,50}}$"}}
        return {"anyOf": [text, array], "description": f"Up to {field.most} different ones."}
    options = field.item.validate.choices
    one = f"({'|'.join(options)})"
    listed = f"{one} *(,[ ,]*{one} *)*[ ,]*"
    at_least_one = _least(field)
    text = {"type": "string", "pattern": f"^[ ,]*{listed}$" if at_least_one else f"^[ ,]*({listed})?$"}
    array = {"type": "array", "items": {"type": "string", "pattern": f"^ *{one}? *$"}}
    if at_least_one:
        array["contains"] = {"enum": list(options)}
    return {"anyOf": [text, array], "description": f"Any of {', '.join(options)}."}


def _least(field: fields.Field) -> int:
    """The least length that its validators let pass."""
    return max((each.min or 0 for each in field.validators if isinstance(each, validate.Length)), default=0)


def _null(field: fields.Field) -> list[Shape]:
    return [{"type": "null"}] if field.allow_none else []


def as_text(shape: Shape) -> Shape:
    """How a form or a query carries a value: of its readings those that are text, and never null."""
    shape = dict(shape)
    if shape.get("type") == "boolean":
        del shape["type"]
        return shape | {"enum": [True, False, 1, 0]}
    if isinstance(shape.get("type"), list):
        shape["type"] = next(kind for kind in shape["type"] if kind != "null")
    if "anyOf" in shape:
        kept = [each for each in shape.pop("anyOf") if each.get("type", "string") == "string"]
        shape |= kept[0] if len(kept) == 1 else {"anyOf": kept}
    return shape
