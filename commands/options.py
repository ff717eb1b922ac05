"""Options made of a schema: the command line takes the fields that the API takes, and the same rules judge them."""

from collections.abc import Callable, Mapping
from typing import Any

import click
from marshmallow import fields, missing, validate

from wire import Choice, CommaList, Wire

NONE = "none"


def of(schema: type[Wire], helps: Mapping[str, str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option for each field that `helps` names, in this order; `read` makes values of what was given."""
    kinds = schema().load_fields

    def decorate(act: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(helps):
            act = _option(name, kinds[name], helps[name])(act)
        return act

    return decorate


def read(schema: type[Wire], given: Mapping[str, Any]) -> dict[str, Any]:
    """The schema's own values of the options that were given. Where null is a value, it is written none."""
    kinds = schema().load_fields
    sent = {name: value for name, value in given.items() if value is not None}
    nulls = {name for name, value in sent.items() if value == NONE and kinds[name].allow_none}
    texts = {kinds[name].data_key: _text(value) for name, value in sent.items() if name not in nulls}
    return schema().load_text(texts) | dict.fromkeys(nulls)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def _option(name: str, field: fields.Field, help_text: str) -> Callable[[Any], Any]:
    dashed = name.strip("_").replace("_", "-")
    shown = f"{help_text}{_default(field)}"
    if isinstance(field, fields.Boolean):
        return click.option(f"--{dashed}/--no-{dashed}", name, default=None, help=shown)
    return click.option(f"--{dashed}", name, metavar=_metavar(field), help=shown, required=field.required)


def _metavar(field: fields.Field) -> str:
    item = field.item if isinstance(field, CommaList) else field
    if isinstance(item, Choice):
        [allowed] = [each for each in item.validators if isinstance(each, validate.OneOf)]
        return f"{'|'.join(allowed.choices)}{',...' if isinstance(field, CommaList) else ''}"
    if isinstance(field, fields.Integer):
        [bounds] = [each for each in field.validators if isinstance(each, validate.Range)]
        return f"{bounds.min}..{bounds.max}"
    return "TEXT"


def _default(field: fields.Field) -> str:
    value = field.load_default() if callable(field.load_default) else field.load_default
    if value in (missing, None, "", [], {}):
        return ""
    words = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
    return f" [default: {','.join(words) if isinstance(words, list) else words}]"
