"""The OpenAPI 3.1 description of the API: made of what each call says beside its view, and of schemas.py.

Pure: routes in, a dict out. What a schema cannot tell, such as "later than now", stands in words.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin, OpenAPIConverter
from marshmallow import fields

from errors import ApiError
from openapi.examples import EXAMPLES, FAILURES, MOMENT
from openapi.shapes import Shape, as_text, shape_of
from release import RELEASE
from wire import Wire, camel

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
PUBLIC = {"/v1", "/healthz", "/readyz"}
ABOUT = """Channels, webhooks and everything around them, over HTTP with HTTP Basic: a token's id and secret.

Every answer is the envelope: `{"ec":0,"data":…}`, or `{"ec":<not 0>,"msg":"…"}` with `errors` by field. A method that
a path does not take is 405 with `Allow`; HEAD answers as GET does. Unknown parameters are refused by name."""
# All ids of ours, and accounts. A slash would be another path.
ID_PATTERN = r"^[A-Za-z0-9._:-]+$"
WORDS = {
    400: "The request cannot be read, or a required field is missing.",
    401: "No, malformed or wrong credentials.",
    403: "Not allowed for this token.",
    404: "There is no such resource for this token.",
    422: "A parameter is present and wrong, or impossible now.",
    429: "Too many wrong credentials from this address.",
    500: "Our fault; nothing was changed.",
    503: "Temporarily unavailable; nothing was changed.",
}
HEADERS = {
    "RequestId": ("The request's own X-Request-Id, or a generated one.", {"type": "string"}),
    "Location": ("The path of what was made.", {"type": "string"}),
    "WwwAuthenticate": ("How to authenticate.", {"type": "string"}),
    "RetryAfter": ("Seconds to wait.", {"type": "string", "pattern": "^[0-9]+$"}),
    "Replayed": ("`true` when the key was known and nothing new was made.", {"type": "string"}),
}


@dataclass(frozen=True)
class Operation:
    """A call at one path and method; `area` is its blueprint, `subject` what that is about."""

    method: str
    rule: str
    area: str
    subject: str
    name: str
    words: str
    takes: type[Wire]
    gives: Mapping[int, Any]
    fails: tuple[type[ApiError], ...]
    admin_only: bool = False

    @property
    def path(self) -> str:
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: f"{{{camel(found[1])}}}", self.rule)

    @property
    def path_names(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def has_body(self) -> bool:
        return self.method in ("POST", "PUT", "PATCH")

    @property
    def is_public(self) -> bool:
        return self.path in PUBLIC

    @property
    def error_codes(self) -> list[int]:
        """Its own and those that any such call can have."""
        asked = self.takes().load_fields.values()
        codes = {50000, 50300, 42200} | {failure.ec for failure in self.fails}
        if self.has_body:
            codes |= {40000}
        if any(field.required for field in asked):
            codes |= {40001}
        if self.path_names:
            codes |= {40400}
        if not self.is_public:
            codes |= {40100, 42900}
            codes |= {40300} if self._may_be_forbidden else set()
        return sorted(codes)

    @property
    def _may_be_forbidden(self) -> bool:
        """By role: `read` neither writes nor sees stream tokens; by account, which a token may be bound to."""
        filters = (field.data_key for field in self.takes().load_fields.values())
        shown = [given for given in self.gives.values() if isinstance(given, type)]
        return (
            self.admin_only
            or self.method != "GET"
            or "accountId" in filters
            or any("stream_token" in each().fields for each in shown)
        )


def describe(operations: Iterable[Operation]) -> Shape:
    """The whole document, in the order of the paths."""
    ordered = sorted(operations, key=lambda each: (each.path, each.method))
    return _Describing(ordered).document()


class _Converter(OpenAPIConverter):
    """apispec's, with our kinds of value. What goes out may grow, what goes in may not be more than is known."""

    outgoing = False

    def field2property(self, field: fields.Field) -> Shape:
        shape = super().field2property(field)
        if "anyOf" in shape:  # says more than the one type that apispec sees
            shape.pop("type", None)
        return shape

    def schema2jsonschema(self, schema: Wire) -> Shape:
        shape = super().schema2jsonschema(schema)
        if self.outgoing:
            shape.pop("additionalProperties", None)
            shape["required"] = list(shape["properties"])
        for each in shape["properties"].values():
            if "default" in each and each["default"] is None:
                del each["default"]
        return shape


class _Plugin(MarshmallowPlugin):
    Converter = _Converter


class _Describing:
    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        self.plugin = _Plugin(schema_name_resolver=lambda schema: _class_of(schema).__name__)
        self.spec = APISpec(
            title="Livestream API",
            version=RELEASE,
            openapi_version="3.1.0",
            plugins=[self.plugin],
            info={"description": ABOUT},
            servers=[{"url": "/", "description": "Where this document came from."}],
            security=[{"token": []}],
        )
        self.plugin.converter.add_attribute_function(lambda _, field, **__: shape_of(field))
        self.schemas = self.spec.components.schemas

    def document(self) -> Shape:
        self._common_parts()
        for area, subject in dict.fromkeys((each.area, each.subject) for each in self.operations):
            self.spec.tag({"name": area, "description": subject})
        for each in self.operations:
            self.spec.path(path=each.path, operations={each.method.lower(): self._operation(each)})
        return self.spec.to_dict()

    def _common_parts(self) -> None:
        basic = {"type": "http", "scheme": "basic", "description": "A token's id and secret."}
        self.spec.components.security_scheme("token", basic)
        for name, (words, shape) in HEADERS.items():
            always = name != "Replayed"
            self.spec.components.header(name, {"description": words, "schema": shape, "required": always})
        self.spec.components.parameter(
            "RequestId",
            "header",
            {
                "name": "X-Request-Id",
                "schema": {"type": "string"},
                "description": "Echoed when it is 1..128 of A-Z a-z 0-9 . _ -, else another one is made.",
            },
        )
        self.spec.components.parameter(
            "IdempotencyKey",
            "header",
            {
                "name": "Idempotency-Key",
                "schema": {"type": "string", "pattern": "^[ -~]{1,255}$"},
                "description": "The same key within 24 h answers the first response again and makes nothing.",
            },
        )

    def _operation(self, each: Operation) -> Shape:
        summary, _, rest = each.words.strip().partition("\n")
        described: Shape = {
            "operationId": each.name,
            "tags": [each.area],
            "summary": summary.strip(),
            "parameters": [*self._parameters(each)],
            "responses": self._responses(each),
        }
        if rest.strip():
            described["description"] = re.sub(r"[ \t]*\n[ \t]*", "\n", rest.strip())
        if each.is_public:
            described["security"] = []
        if each.has_body and each.takes().load_fields:
            described["requestBody"] = self._body(each.takes)
        return described

    def _parameters(self, each: Operation) -> Iterator[Shape | str]:
        for name in each.path_names:
            shape = {"type": "string", "pattern": ID_PATTERN}
            yield {"in": "path", "name": name, "schema": shape, "example": EXAMPLES.get(name, "1")}
        if not each.has_body:
            for shape in self._inward(each.takes).values():
                yield shape
        elif 42203 in each.error_codes:
            yield "IdempotencyKey"
        yield "RequestId"

    def _inward(self, takes: type[Wire]) -> dict[str, Shape]:
        """The parameters of a query, by name."""
        self.plugin.converter.outgoing = False
        found = {}
        for field in takes().load_fields.values():
            shape = as_text(self.plugin.converter.field2property(field))
            words = {"description": shape.pop("description")} if "description" in shape else {}
            found[field.data_key] = {"in": "query", "name": field.data_key, "schema": shape} | words
            if field.required:
                found[field.data_key]["required"] = True
        return found

    def _body(self, takes: type[Wire]) -> Shape:
        self.plugin.converter.outgoing = False
        name = self._component(takes)
        json_shape, form_name = self.schemas[name], f"{name}Form"
        if form_name not in self.schemas:
            told = {key: as_text(value) for key, value in json_shape["properties"].items()}
            self.spec.components.schema(form_name, json_shape | {"properties": told})
        example = {
            key: value
            for key, value in self._example({"$ref": name}).items()
            if key in json_shape.get("required", ()) or f"{name}.{key}" in EXAMPLES
        }
        texts = {
            key: {"contentType": JSON}
            for key, value in self.schemas[form_name]["properties"].items()
            if value.get("type") == "object" or "$ref" in value
        }
        form = {"schema": _ref(form_name), "example": example} | ({"encoding": texts} if texts else {})
        content = {JSON: {"schema": _ref(name), "example": example}, FORM: form}
        return {"required": bool(json_shape.get("required")), "content": content}

    def _component(self, schema: type[Wire]) -> str:
        self.plugin.converter.resolve_nested_schema(schema)
        return schema.__name__

    def _responses(self, each: Operation) -> Shape:
        codes: dict[int, list[int]] = {}
        for code in each.error_codes:
            codes.setdefault(FAILURES[code].status, []).append(code)
        described = {str(status): self._failed(status, found) for status, found in codes.items()}
        for status, given in each.gives.items():
            told = self._success(status, given)
            if 42203 in each.error_codes and status == 201:
                told["headers"]["Idempotent-Replayed"] = {"$ref": "#/components/headers/Replayed"}
            if status in codes:  # what is not well says so with 503, and so does a lost database
                told["content"][JSON] = _either(told["content"][JSON], self._failures(codes[status]))
            described[str(status)] = told
        return dict(sorted(described.items()))

    def _failed(self, status: int, codes: list[int]) -> Shape:
        """The component that all calls with these failures at this status share."""
        name = f"Failure{'.'.join(map(str, codes))}"
        if name not in self.spec.components.responses:
            content = {JSON: self._failures(codes)}
            told = {"description": WORDS[status], "headers": _headers(status), "content": content}
            self.spec.components.response(name, told)
        return {"$ref": f"#/components/responses/{name}"}

    def _failures(self, codes: list[int]) -> Shape:
        found = [self._failure(code) for code in codes]
        return {
            "schema": {"anyOf": [_ref(each["name"]) for each in found]},
            "examples": {each["name"]: {"value": each["example"]} for each in found},
        }

    def _success(self, status: int, given: Any) -> Shape:
        words = {200: "Done.", 201: "Made.", 204: "Done; there is nothing to show."}
        told: Shape = {"description": words.get(status, WORDS.get(status, "")), "headers": _headers(status)}
        if given is None:
            return told
        many = isinstance(given, list)
        self.plugin.converter.outgoing = True
        kinds = [_ref(self._component(each)) for each in (given if many else [given])]
        one = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        self.plugin.converter.outgoing = False
        shape: Shape = {"ec": {"const": 0}, "data": {"type": "array", "items": one} if many else one}
        example: Shape = {"ec": 0, "data": [self._example(one)] if many else self._example(one)}
        if many:
            shape |= {name: {"type": "integer", "minimum": 0} for name in ("total", "length", "page")}
            example |= {"total": 1, "length": 1, "page": 0}
        envelope = {"type": "object", "properties": shape, "required": list(shape)}
        return told | {"content": {JSON: {"schema": envelope, "example": example}}}

    def _failure(self, code: int) -> Shape:
        """The component of one `ec`, with an example of it."""
        told, name = FAILURES[code], f"Failure{code}"
        if name not in self.schemas:
            reasons = {"type": "array", "items": {"type": "string"}, "minItems": 1}
            inside: Shape = {"ec": {"const": code}, "msg": {"type": "string"}}
            if told.status in (400, 422):
                inside["errors"] = {"type": "object", "additionalProperties": reasons}
            self.spec.components.schema(
                name,
                {
                    "type": "object",
                    "description": told.meaning,
                    "properties": inside,
                    "required": ["ec", "msg"],
                    "additionalProperties": False,
                },
            )
        example: Shape = {"ec": code, "msg": told.example}
        return {"name": name, "example": example | ({"errors": told.errors} if told.errors else {})}

    def _example(self, shape: Shape, known_as: tuple[str, ...] = ()) -> Any:
        """A value of this shape: ours where examples.py has one by its name, else the plainest there is."""
        for name in known_as:
            if name in EXAMPLES:
                return EXAMPLES[name]
        if "$ref" in shape:
            name = shape["$ref"].rpartition("/")[2]
            inside = self.schemas[name].get("properties", {})
            return {key: self._example(value, (f"{name}.{key}", key)) for key, value in inside.items()}
        for key in ("example", "default", "const"):
            if key in shape:
                return shape[key]
        if "enum" in shape:
            return shape["enum"][0]
        if "anyOf" in shape:
            return self._example(shape["anyOf"][-1])
        kind = shape.get("type", "null")
        if "null" in kind:
            return None
        plain = {"string": "text", "integer": shape.get("minimum", 0), "number": 0.5, "boolean": False}
        if kind == "array":
            return [self._example(shape["items"])] if "$ref" in shape["items"] else []
        return MOMENT if shape.get("format") == "date-time" else plain.get(kind, {})


def _class_of(schema: Any) -> type:
    return schema if isinstance(schema, type) else type(schema)


def _either(success: Shape, failure: Shape) -> Shape:
    return {
        "schema": {"anyOf": [success["schema"], *failure["schema"]["anyOf"]]},
        "examples": {"Told": {"value": success["example"]}} | failure["examples"],
    }


def _ref(name: str) -> Shape:
    return {"$ref": f"#/components/schemas/{name}"}


def _headers(status: int) -> Shape:
    named = {"X-Request-Id": "RequestId"}
    named |= {201: {"Location": "Location"}, 401: {"WWW-Authenticate": "WwwAuthenticate"}}.get(status, {})
    named |= {"Retry-After": "RetryAfter"} if status in (429, 503) else {}
    return {name: {"$ref": f"#/components/headers/{component}"} for name, component in named.items()}
