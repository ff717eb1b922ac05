"""The bad-input matrix on every call that there is, with the contract's codes: never a 5xx, always the envelope."""

import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import create_app
from config import Config
from openapi import Operation
from routes.docs import operations
from tests import bad_input
from tests.bad_input import FORM, JSON, bad_values
from tests.box import short_folder
from tests.conftest import ROOT_ID, ROOT_SECRET, installation, prepared_app
from tests.envelope import refused
from wire import dump_json

# Made for its routes only: nothing is on disk, and no request is sent to it.
CALLS = list(operations(create_app(installation(Path("nowhere")))))


def each_of(calls: list[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("call", calls, ids=[f"{call.method} {call.rule}" for call in calls])


EVERY_CALL = each_of(CALLS)
EVERY_BODY = each_of([call for call in CALLS if call.has_body])
EVERY_QUERY = each_of([call for call in CALLS if not call.has_body])
EVERY_PATH = each_of(list({call.rule: call for call in CALLS}.values()))
WITH_ID = each_of([call for call in CALLS if call.path_names])
GUARDED = each_of([call for call in CALLS if not call.is_public])


@pytest.fixture(scope="module")
def config() -> Iterator[Config]:
    """One installation for the whole file: nothing here depends on what is in it."""
    with short_folder() as folder:
        yield installation(folder)


@pytest.fixture(scope="module")
def app(config) -> Flask:
    return prepared_app(config)


@pytest.fixture
def send(client):
    """Send a call as it is described, with another path, query or body than it asks for."""

    def send(call: Operation, path: str | None = None, **more: Any) -> TestResponse:
        return client.open(path or somewhere(call), method=call.method, **more)

    return send


def somewhere(call: Operation, **ids: str) -> str:
    """Its path, with these ids and others that are nobody's."""
    return re.sub(r"{(\w+)}", lambda found: ids.get(found[1], found[1]), call.path)


def names_it(reply: TestResponse, name: str) -> None:
    """A failure that lists this field: 422, or 400 where a required one is missing as well."""
    status, ec = (400, 40001) if reply.status_code == 400 else (422, 42200)
    errors = refused(reply, status, ec)["errors"]
    assert any(found == name or found.startswith(f"{name}.") for found in errors), errors


# Bodies.


@EVERY_BODY
def test_a_body_that_cannot_be_read_is_400(send, call):
    for body in bad_input.UNREADABLE:
        refused(send(call, data=body, content_type=JSON), 400, 40000)
    for body in bad_input.UNREADABLE_FORMS:
        refused(send(call, data=body, content_type=FORM), 400, 40000)


@EVERY_BODY
def test_a_body_of_another_type_is_400(send, call):
    for kind in bad_input.OTHER_TYPES:
        refused(send(call, data=b"{}", content_type=kind), 400, 40000)


@EVERY_BODY
def test_an_unknown_field_is_named(send, call):
    for name in ("nothing", "__proto__", "", "updatedAt", "a\0", "\ud800"):
        names_it(
            send(call, data=dump_json({name: 1}).encode("utf-8", "backslashreplace"), content_type=JSON), name
        )
    names_it(send(call, data={"nothing": "x"}), "nothing")
    names_it(send(call, data=b"a=1&a=1", content_type=FORM), "a")


@EVERY_BODY
def test_a_wrong_value_is_named_in_json(send, call):
    for field in call.takes().load_fields.values():
        values = bad_values(bad_input.JSON_VALUES, field) + ([] if field.allow_none else [None])
        for value in values:
            body = dump_json({field.data_key: value}).encode("utf-8", "backslashreplace")
            names_it(send(call, data=body, content_type=JSON), field.data_key)


@EVERY_BODY
def test_a_wrong_value_is_named_in_a_form(send, call):
    for field in call.takes().load_fields.values():
        for text in bad_values(bad_input.TEXTS, field):
            if "%FF" in text or "%ED" in text:  # a form that is not UTF-8 cannot be read at all
                continue
            names_it(send(call, data=f"{field.data_key}={text}", content_type=FORM), field.data_key)


@EVERY_BODY
def test_a_query_on_a_call_with_a_body_is_refused(send, call):
    for query, name in (("x=1", "x"), ("name=x", "name"), ("%FF=1", "\udcff"), ("page=0", "page")):
        names_it(send(call, json={}, query_string=query), name)


# Queries.


@EVERY_QUERY
def test_a_wrong_value_is_named_in_a_query(send, call):
    for field in call.takes().load_fields.values():
        name = field.data_key
        for text in bad_values(bad_input.TEXTS, field):
            names_it(send(call, query_string=f"{name}={text}"), name)
        names_it(send(call, query_string=f"{name}=1&{name}=1"), name)


@EVERY_QUERY
def test_an_unknown_parameter_is_named_in_a_query(send, call):
    for query, name in (("nothing=1", "nothing"), ("Page=1", "Page"), ("%00=1", "\0"), ("%FF=1", "\udcff")):
        names_it(send(call, query_string=query), name)


@EVERY_QUERY
def test_a_body_where_none_is_asked_for_is_not_looked_at(send, call):
    expected = send(call).status_code
    assert expected < 500 or call.path == "/readyz"
    for body in (b"{", b"\xff", b'{"a":' * 1000):
        assert send(call, data=body, content_type=JSON).status_code == expected


# Paths and methods.


@WITH_ID
def test_an_odd_id_is_not_found(send, call):
    needs_more = any(field.required for field in call.takes().load_fields.values())
    for name in call.path_names:
        for odd in bad_input.ODD_IDS:
            path = somewhere(call, **{name: odd})
            reply = send(call, path)
            if name == "accountId" and reply.status_code < 300:
                continue  # an account that nobody configured exists all the same
            if needs_more and reply.status_code == 400:
                continue
            assert reply.status_code in ((404, 422) if name == "accountId" else (404,)), (path, reply.text)
            refused(reply, reply.status_code, reply.json["ec"])


@EVERY_PATH
def test_another_slash_is_another_path(client, call):
    path = somewhere(call)
    for other in (f"{path}/", f"{path}//", f"/{path[1:].replace('/', '//')}/"):
        refused(client.open(other, method=call.method), 404, 40400)


@EVERY_PATH
def test_another_method_is_405(client, call):
    for method in ("TRACE", "FOO", "CONNECT", "PROPFIND"):
        reply = client.open(somewhere(call), method=method)
        refused(reply, 405, 40500)
        assert call.method in reply.headers["Allow"].split(", ")


@EVERY_PATH
def test_options_says_what_is_allowed_and_nothing_else(anonymous, call):
    reply = anonymous.options(somewhere(call))
    assert (reply.status_code, reply.data) == (200, b"")
    assert call.method in reply.headers["Allow"].split(", ")
    assert "Content-Type" not in reply.headers


# Credentials.


def basic(text: bytes) -> str:
    return "Basic " + b64encode(text).decode()


WRONG = [
    *(None, "", "Basic", "Basic !!!", "Bearer x", "Digest x=y", "Basic \xff", basic(b""), basic(b":")),
    *(basic(b"no-colon"), basic(f":{ROOT_SECRET}".encode()), basic(f"{ROOT_ID}:".encode())),
    *(basic(f"{ROOT_ID}\0:{ROOT_SECRET}".encode()), basic(b"\xff\xfe:\xff"), basic(b"x:" + b"y" * 8000)),
]


@GUARDED
def test_wrong_credentials_are_401_before_anything_is_read(anonymous, call):
    # An address of its own for each call: too many wrong ones from one address are another answer.
    place = CALLS.index(call)
    address = {"REMOTE_ADDR": f"198.51.{place // 250}.{place % 250}"}
    for credentials in WRONG:
        headers = {} if credentials is None else {"Authorization": credentials}
        reply = anonymous.open(
            somewhere(call) + "?x=1", method=call.method, headers=headers, data=b"{", environ_base=address
        )
        refused(reply, 401, 40100)
        assert reply.headers["WWW-Authenticate"] == 'Basic realm="livestream"'
