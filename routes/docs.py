"""The description of the API: /openapi.json for programs, /docs for people. No token needed, nothing from elsewhere."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Flask, Response, current_app, render_template, request, send_from_directory

from auth import require_admin
from openapi import Operation, describe
from wire import camel, dump_json, pretty_json

COMMITTED = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"
SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
# Modules say which section of our specification they are of; readers of /docs do not have it.
SECTION = re.compile(r" \(contract, sections? [^)]*\)")
# Swagger UI sets styles through the DOM, which a policy lets pass, and draws its icons as data:.
POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:"),
        *("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    )
)

bp = Blueprint("docs", __name__, cli_group=None)


@bp.get("/openapi.json")
def openapi_json() -> Response:
    made = current_app.extensions.setdefault("openapi", Response(dump_json(document(current_app))))
    reply = Response(made.get_data(), content_type="application/json")
    reply.headers["Cache-Control"] = "public, max-age=300"
    reply.add_etag()
    return reply.make_conditional(request)


@bp.get("/docs")
def docs() -> Response:
    reply = Response(render_template("docs.html"), mimetype="text/html")
    reply.headers["Content-Security-Policy"] = POLICY
    return reply


@bp.get("/docs/<name>")
def docs_file(name: str) -> Response:
    reply = send_from_directory(SWAGGER_UI, name, max_age=300)
    reply.headers["Content-Security-Policy"] = POLICY
    return reply


@bp.cli.command("openapi")
def write() -> None:
    """Write docs/openapi.json, the committed copy of /openapi.json."""
    COMMITTED.write_text(pretty_json(document(current_app)))
    print(f"Written: {COMMITTED}")


def document(app: Flask) -> dict:
    return describe(operations(app))


def operations(app: Flask) -> Iterator[Operation]:
    """Every call of the app: a view that says what it takes and gives."""
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        call = getattr(view, "call", None)
        if call is None:
            continue
        methods = sorted(rule.methods - {"HEAD", "OPTIONS"})
        area = rule.endpoint.partition(".")[0]
        subject = SECTION.sub("", inspect.getdoc(inspect.getmodule(view)).partition("\n")[0])
        admin_only = require_admin in app.before_request_funcs.get(area, ())
        name = camel(rule.endpoint.replace(".", "_"))
        for method in methods:
            own_name = name if len(methods) == 1 else f"{name}By{method.capitalize()}"
            yield Operation(
                method,
                rule.rule,
                area,
                subject,
                own_name,
                view.__doc__ or "",
                call.takes,
                call.gives,
                call.fails,
                admin_only,
            )
