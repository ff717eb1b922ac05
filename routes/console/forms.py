"""Forms, read by the schemas of the API: what is wrong stands beside its field, and nothing that was typed is lost."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from flask import request
from marshmallow import ValidationError, fields, validate

from errors import ApiError, NotFoundError, flatten
from wire import CommaList, Instant, Metadata, Switch, Wire, pretty_json, read_json

OURS = {"csrf", "next", "was"}
PRECISE = "%Y-%m-%dT%H:%M:%S"
LEFT_OUT: Any = object()


class Form:
    """What is in the fields, and what is wrong with it. Values are as HTML has them: text, or a list of choices."""

    def __init__(self, schema: Wire, values: Mapping[str, Any]) -> None:
        self.schema = schema
        self.fields = {each.data_key: each for each in schema.load_fields.values()}
        self.values = dict(values)
        self.was: dict[str, Any] = {}
        self.errors: dict[str, list[str]] = {}
        self.labels: dict[str, str] = {}
        self.message = ""
        self.code = 200

    @classmethod
    def showing(cls, schema: Wire, row: Mapping[str, Any]) -> Self:
        """With the values of a row, by attribute."""
        named = {each.data_key: each.attribute or name for name, each in schema.load_fields.items()}
        form = cls(schema, {})
        form.values = {
            name: _shown(form.fields[name], row[attribute])
            for name, attribute in named.items()
            if attribute in row
        }
        form.was = dict(form.values)
        return form

    @classmethod
    def sent(cls, schema: Wire) -> Self:
        """With what this request sends."""
        form = cls(schema, {})
        for name, sent in request.form.lists():
            if name not in OURS:
                form.values[name] = _sent(form.fields.get(name), sent)
        form.was = _read(request.form.get("was", ""))
        return form

    def load(self) -> dict[str, Any]:
        """The values as the API's schema reads them, for use inside `asking`.

        Of a form that says what it showed at first (`ui.was`) only what was changed since: what somebody else has
        changed meanwhile is not undone by fields that nobody touched.
        """
        given = {name: value for name, value in self.values.items() if self.was.get(name, LEFT_OUT) != value}
        texts = {name: _text(self.fields.get(name), value) for name, value in given.items()}
        return self.schema.load_text({name: text for name, text in texts.items() if text is not LEFT_OUT})

    def asking(self) -> "Asking":
        """For `with`: what the block raises is shown in the form."""
        return Asking(self)

    def called(self, name: str, label: str) -> str:
        """The label of a field, which is its name too where the page tells what is wrong."""
        self.labels[name] = label
        return label

    def bounds(self, name: str) -> dict[str, int]:
        """The lowest and the highest number that a field takes."""
        rules = getattr(self.fields[name], "validators", [])
        found = next((each for each in rules if isinstance(each, validate.Range)), None)
        return {"min": found.min, "max": found.max} if found else {}


class Asking:
    def __init__(self, form: Form) -> None:
        self.form = form

    def __enter__(self) -> Form:
        return self.form

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, ValidationError):
            self._keep(422, "", flatten(error.normalized_messages()))
        elif isinstance(error, ApiError) and not isinstance(error, NotFoundError) and error.status < 500:
            self._keep(error.status, error.msg, error.errors or {})
        else:
            return False
        return True

    def _keep(self, status: int, message: str, errors: dict[str, list[str]]) -> None:
        shown = errors.keys() & self.form.values.keys()
        beside = [f"{name}: {reason}" for name in errors if name not in shown for reason in errors[name]]
        self.form.code, self.form.errors = status, errors
        self.form.message = "" if shown and not beside else " ".join(beside) or message


def _read(was: str) -> dict[str, Any]:
    try:
        found = read_json(was)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _shown(field: fields.Field, value: Any) -> Any:
    if isinstance(field, Switch):
        return "true" if value else "false"
    if isinstance(field, CommaList):
        return list(value) if _is_choice(field) else ", ".join(value)
    if isinstance(field, Instant):
        return value.astimezone(UTC).strftime(PRECISE).removesuffix(":00") if value else ""
    if isinstance(field, Metadata):
        return pretty_json(value).strip() if value else ""
    return "" if value is None else str(value)


def _sent(field: fields.Field | None, sent: list[str]) -> Any:
    # A checkbox that is off sends nothing: a hidden field of the same name before it says that it was there.
    if isinstance(field, CommaList) and _is_choice(field):
        return [each for each in sent if each]
    return sent[-1].replace("\r\n", "\n")


def _text(field: fields.Field | None, value: Any) -> Any:
    """The text that Wire.load_text reads; what was left empty is null or the default, where the API has one."""
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(field, Instant) and value.strip():
        return _instant(value)
    if isinstance(field, Metadata):
        return value.strip() or "{}"
    if field is None or value.strip():
        return value
    if field.allow_none:
        return None
    return LEFT_OUT if field.required or field.load_default is None else value


def _instant(text: str) -> str:
    """A time without a zone, as the browser's field gives it, is UTC here."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return text
    return text.strip() if moment.tzinfo else moment.strftime(f"{PRECISE}Z")


def _is_choice(field: CommaList) -> bool:
    return bool(getattr(field.item, "validators", [])) and isinstance(
        field.item.validators[0], validate.OneOf
    )
