"""Asking SRS: its lists are whole however long they are, a kick is one client's, and no answer is not "nobody".

The server here answers as the recordings and the guide say that SRS does: 10 entries unless more are asked for, no
total, 200 for what is not found, a redirect without the slash.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from live.arrival import Arrival
from live.reconcile import reconcile, sessions_of
from media.servers import MediaServerError
from media.servers.srs import AT_ONCE, Srs
from models import Session
from tests.conftest import basic
from tests.story import after, new

PASSWORD = "0123abc"


class FakeSrs(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        kind = parts.path.removeprefix("/api/v1/")
        if kind not in ("streams/", "clients/"):
            self.tell(302, None)
            return
        asked = {name: int(value) for name, (value,) in parse_qs(parts.query).items()}
        start, count = asked.get("start", 0), max(10, asked.get("count", 10))
        everything = {
            "streams/": [stream_of(cid) for cid in self.server.publishers],
            "clients/": [client_of(cid) for cid in self.server.publishers],
        }[kind]
        self.tell(200, {"code": 0, kind[:-1]: everything[start : start + count]})

    def do_DELETE(self) -> None:
        cid = self.path.removeprefix("/api/v1/clients/")
        if cid in self.server.publishers:
            self.server.publishers.remove(cid)
            self.tell(200, {"code": 0})
        else:
            self.tell(200, {"code": self.server.not_found})

    def tell(self, status: int, said: dict | None) -> None:
        self.server.asked.append(self.path)
        if self.headers["Authorization"] != basic("livestream", PASSWORD):
            status, said = 401, None
        ids = {"server": "vid-3a98868", "service": "5y472g4j", "pid": "16646"}
        body = b"" if said is None else self.server.lie or json.dumps(said | ids).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def stream_of(cid: str) -> dict:
    return {
        "name": f"KEY-{cid}",
        "recv_bytes": 1500,
        "publish": {"active": True, "cid": cid},
        "video": None,
        "audio": None,
    }


def client_of(cid: str) -> dict:
    return {"id": cid, "type": "fmle-publish", "publish": True, "recv_bytes": 1000}


@pytest.fixture
def fake():
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeSrs)
    server.publishers, server.asked, server.lie, server.not_found = [], [], b"", 2049
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def asked(fake) -> Srs:
    return Srs(f"http://127.0.0.1:{fake.server_port}", PASSWORD)


def refused(asked: Srs) -> MediaServerError:
    with pytest.raises(MediaServerError) as refusal:
        asked.look()
    return refusal.value


@pytest.mark.parametrize("many", [0, 1, 11, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 4 * AT_ONCE + 7])
def test_however_many_publish_each_is_seen_and_in_answers_of_one_moment(fake, asked, many):
    fake.publishers = [f"c{number}" for number in range(many)]
    look = asked.look()
    assert look.instance == "srs/vid-3a98868/5y472g4j"
    assert [each.client_id for each in look.publishers] == fake.publishers
    assert {each.bytes_in for each in look.publishers} <= {1000}
    assert [path for path in fake.asked if "start" in path] == []


def test_one_client_is_dropped_and_one_that_is_gone_is_no_error(fake, asked):
    fake.publishers = ["14vw6112", "62671651"]
    asked.drop("14vw6112")
    asked.drop("14vw6112")
    assert fake.publishers == ["62671651"]


def test_a_drop_that_went_wrong_is_said(fake, asked):
    fake.not_found = 1061
    with pytest.raises(MediaServerError, match="code 1061"):
        asked.drop("x")


def test_an_id_that_is_a_path_reaches_no_other_address(fake, asked):
    asked.drop("../streams/1?x=1")
    assert fake.asked == ["/api/v1/clients/..%2Fstreams%2F1%3Fx%3D1"]


def test_a_wrong_password_is_not_nobody(fake):
    error = refused(Srs(f"http://127.0.0.1:{fake.server_port}", "wrong"))
    assert not error.gone
    assert "401" in str(error)
    assert "wrong" not in str(error)


@pytest.mark.parametrize(
    "lie",
    [
        *(b"<html>", b"[]", b"{}", b'{"code":1}', b'{"code":0}', b'{"code":0,"streams":{}}'),
        *(b'{"code":0,"streams":[],"clients":[]}', b'{"code":"0","streams":[]}', b"[" * 100_000),
    ],
)
def test_an_answer_of_something_else_is_not_nobody(fake, asked, lie):
    fake.lie = lie
    assert not refused(asked).gone


def test_nobody_there_is_gone(fake, asked):
    fake.shutdown()
    fake.server_close()
    error = refused(asked)
    assert error.gone
    assert "SRS does not listen" in str(error)


def test_a_proxy_of_the_environment_is_not_asked(fake, asked, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert asked.look().publishers == []


def test_of_more_publishers_than_a_page_has_none_is_lost(fake, asked, lifecycle, now):
    arrivals = [Arrival(f"srs/vid-3a98868/5y472g4j/c{number}", "192.0.2.1", "") for number in range(14)]
    for each in arrivals:
        lifecycle.publish(new(lifecycle, now).stream_token, each, now)
    fake.publishers = [each.connection.rpartition("/")[2] for each in arrivals]
    look = asked.look()
    assert reconcile(lifecycle, look.instance, look.publishers, now + after(seconds=7)) == []
    assert len(Session.all_open()) == 14
    assert sessions_of(look.publishers) == {session.id for session in Session.all_open()}
