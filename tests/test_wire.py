"""The conventions of the wire: contract section 1, on the real app."""

import logging
import re
from collections.abc import Iterator

import peewee
import pytest

from db import bind
from db_sqlite import PRAGMAS
from errors import RETRY_AFTER_S
from logs import request_id
from schemas import ChannelOut
from tests.envelope import refused
from tests.story import new

MIB = 1024 * 1024
BOTH = pytest.mark.parametrize("base", ["/v1/live", "/livestream/live"])


# What the service says of itself.


def test_the_service_says_what_it_is_without_a_token(anonymous):
    reply = anonymous.get("/v1")
    assert reply.status_code == 200
    assert reply.json["ec"] == 0
    assert reply.json["data"].keys() == {"version", "status", "release"}
    assert (reply.json["data"]["version"], reply.json["data"]["status"]) == ("v1.0-poc", "ready")


@BOTH
def test_a_list_says_how_many_there_are(client, channel, base):
    body = client.get(base).json
    assert {name: body[name] for name in ("ec", "total", "length", "page")} == {
        "ec": 0,
        "total": 1,
        "length": 1,
        "page": 0,
    }
    assert body["data"][0]["id"] == channel["id"]


@BOTH
def test_the_alias_is_the_same_resource(client, base):
    made = client.post(base, json={"name": "x"})
    assert made.headers["Location"] == f"{base}/{made.json['data']['id']}"
    for other in ("/v1/live", "/livestream/live"):
        assert client.get(f"{other}/{made.json['data']['id']}").json["data"]["name"] == "x"


# URLs and methods.


UNKNOWN = [
    *(
        "/v1/",
        "/v1/nothing",
        "/v2/live",
        "/livestream",
        "/livestream/",
        "/v1//live",
        "//v1/live",
        "/v1/live/",
    ),
    *("/livestream//live", "/livestream/live/", "/V1/live", "/v1/LIVE", "/v1/live//", "/v1/live/a/b"),
    *(
        "/v1/live/a/token/",
        "/v1/live/a//rtmp",
        "/hooks/nginx-rtmp/x",
        "/v1/live/%2e%2e/x",
        "/v1/live/a%2Frtmp%2F",
    ),
]


def test_an_unknown_url_is_404_in_the_envelope_and_never_a_redirect(client):
    for path in UNKNOWN:
        refused(client.get(path), 404, 40400)


OTHERS = [
    ("/v1", "POST", {"GET", "HEAD", "OPTIONS"}),
    ("/v1/live", "PUT", {"GET", "HEAD", "OPTIONS", "POST"}),
    ("/v1/live", "DELETE", {"GET", "HEAD", "OPTIONS", "POST"}),
    ("/v1/live", "TRACE", {"GET", "HEAD", "OPTIONS", "POST"}),
    ("/livestream/live", "FOO", {"GET", "HEAD", "OPTIONS", "POST"}),
    ("/v1/live/x", "POST", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"}),
    ("/v1/live/x", "TRACE", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"}),
    ("/v1/live/x/rtmp", "POST", {"GET", "HEAD", "OPTIONS"}),
    ("/v1/live/x/token", "GET", {"OPTIONS", "POST"}),
    ("/v1/live/x/token", "HEAD", {"OPTIONS", "POST"}),
    ("/v1/live/x/session", "DELETE", {"GET", "HEAD", "OPTIONS"}),
]


def test_another_method_is_405_with_what_is_allowed(client):
    for path, method, allowed in OTHERS:
        reply = client.open(path, method=method)
        assert reply.status_code == 405, (method, path)
        assert set(reply.headers["Allow"].split(", ")) == allowed
        if method != "HEAD":
            refused(reply, 405, 40500)


@BOTH
def test_head_answers_as_get_without_a_body(client, channel, base):
    for path in (base, f"{base}/{channel['id']}", f"{base}/{channel['id']}/rtmp"):
        head = client.head(path)
        assert (head.status_code, head.data) == (200, b"")
        assert head.content_type == "application/json"
        assert head.headers["Content-Length"] == client.get(path).headers["Content-Length"]


def test_head_of_nothing_is_404_and_without_a_token_401(client, anonymous):
    assert client.head("/v1/live/ch_none").status_code == 404
    assert anonymous.head("/v1/live").status_code == 401


def test_options_says_what_a_channel_takes(client):
    reply = client.options("/v1/live/x")
    assert (reply.status_code, reply.data) == (200, b"")
    assert set(reply.headers["Allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT"}


def test_an_answer_without_a_body_has_no_type(client, channel):
    gone = client.delete(f"/v1/live/{channel['id']}?delete=true")
    assert (gone.status_code, gone.data) == (204, b"")
    for reply in (gone, client.options("/v1/live"), client.options("/v1")):
        assert "Content-Type" not in reply.headers


def test_no_page_of_another_origin_may_read_the_api(client, channel):
    reply = client.get("/v1/live", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name, _ in reply.headers if name.lower().startswith("access-control")]


# Request ids.


def test_a_well_formed_request_id_is_echoed(client):
    for given in ("a", "A-z.9_", "x" * 128):
        assert client.get("/v1", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


def test_another_request_id_is_replaced(client):
    for given in ("", "x" * 129, "a b", "ü", "a/b", "<x>"):
        made = client.get("/v1", headers={"X-Request-Id": given}).headers["X-Request-Id"]
        assert made != given
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", made)


@pytest.fixture
def lines() -> Iterator[list[tuple[str, str]]]:
    """What is logged, each line with the request it belongs to."""
    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append((record.getMessage(), request_id.get()))
    web = logging.getLogger("web")
    level = web.level
    web.setLevel(logging.INFO)
    web.addHandler(handler)
    yield seen
    web.removeHandler(handler)
    web.setLevel(level)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/live", None, 200),
        ("POST", "/v1/live", b'{"name": "x"}', 201),
        ("POST", "/v1/live", b"{", 400),
        ("POST", "/v1/live", b" " * (MIB + 1), 400),
        ("GET", "/nothing", None, 404),
        ("PUT", "/v1/live", None, 405),
        ("GET", "/v1/live?page=x", None, 422),
    ],
)
def test_the_request_id_is_in_every_answer_and_every_log_line(client, lines, method, path, body, status):
    headers = {"X-Request-Id": "mine-1"}
    reply = client.open(path, method=method, data=body, content_type="application/json", headers=headers)
    assert (reply.status_code, reply.headers["X-Request-Id"]) == (status, "mine-1")
    assert any(line.startswith(f"{method} {path.partition('?')[0]} {status} ") for line, _ in lines)
    assert {of for _, of in lines} == {"mine-1"}


# When it is our fault.


def test_a_bug_is_500_in_the_envelope_without_its_text(client, monkeypatch, caplog):
    def bug(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("routes.live.listing.channels", bug)
    reply = client.get("/v1/live", headers={"X-Request-Id": "find-me"})
    said = refused(reply, 500, 50000)
    assert "secret detail" not in reply.text
    assert "find-me" in said["msg"]
    assert "secret detail" in caplog.text


@pytest.fixture
def impatient(app, config, monkeypatch):
    """The database as it is, but with no patience for a lock."""
    monkeypatch.setitem(PRAGMAS, "busy_timeout", 0)
    bind(config.database_url)


@pytest.mark.sqlite
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("call", ["create", "update", "stop", "delete", "reset"])
def test_a_locked_database_is_503_and_nothing_was_changed(client, channel, config, call):
    path = f"/v1/live/{channel['id']}"
    before = client.get(path).json
    locking = peewee.sqlite3.connect(config.database_url.removeprefix("sqlite:///"), isolation_level=None)
    locking.execute("BEGIN EXCLUSIVE")
    calls = {
        "create": lambda: client.post("/v1/live", json={"name": "x"}),
        "update": lambda: client.put(path, json={"name": "x"}),
        "stop": lambda: client.delete(path),
        "delete": lambda: client.delete(f"{path}?delete=true"),
        "reset": lambda: client.post(f"{path}/token"),
    }
    reply = calls[call]()
    assert client.get(path).json == before, "readers go on"
    locking.execute("ROLLBACK")
    locking.close()
    refused(reply, 503, 50300)
    assert reply.headers["Retry-After"] == str(RETRY_AFTER_S)
    assert client.get(path).json == before
    assert client.get("/v1/live").json["total"] == 1
    assert calls[call]().status_code in (200, 201, 204), "freed, it works again"


@pytest.mark.sqlite
def test_a_database_that_cannot_be_opened_is_503(client, channel, config, tmp_path):
    bind(f"sqlite:///{tmp_path}/gone/x.db")
    (tmp_path / "gone" / "x.db").unlink()
    (tmp_path / "gone").rmdir()
    refused(client.get("/v1/live"), 503, 50300)


def test_what_is_shown_quickly_is_what_marshmallow_dumps(lifecycle, now):
    channel = new(lifecycle, now, name="Đêm", tags="a,b", startAt="2100-01-01T00:00:00Z", metadata={"n": [1]})
    values = channel.__data__ | {"publishing": False, "health": None, "record_url": []}
    shown = ChannelOut.show(values)
    assert {name: shown[name] for name in ChannelOut().dump(values)} == ChannelOut().dump(values)
    assert shown.keys() == {field.data_key for field in ChannelOut().fields.values()}
    assert shown["livestreamUrl"] is None, "nothing is left out"
