"""What is wrong before it is a request, sent byte by byte to the real server (contract, section 1, "Size")."""

import json
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.box import short_folder
from tests.conftest import ROOT_ID, ROOT_SECRET, installation
from tests.serving import served

MIB = 1024 * 1024
TOKEN = f"Authorization: Basic {b64encode(f'{ROOT_ID}:{ROOT_SECRET}'.encode()).decode()}\r\n".encode()
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """One running API for the whole file: nothing here depends on what is in it."""
    with short_folder() as folder, served(installation(folder)) as port:
        yield port


class Answer:
    """What came back until the server closed: the status, the headers, the body."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *headers = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in headers)}

    def failed(self, status: int, ec: int) -> None:
        """It is the envelope of this failure."""
        assert (self.status, self.headers["content-type"]) == (status, "application/json"), self.body
        assert json.loads(self.body)["ec"] == ec


def ask(port: int, raw: bytes) -> Answer:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # answered before all of it was sent
            connection.sendall(raw)
        return Answer(everything(connection))


def everything(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"".join(headers) + b"\r\n" + body


def length(size: int) -> bytes:
    return b"Content-Length: %d\r\n" % size


def chunks(body: bytes, size: int = 65536) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


POST = b"POST /v1/live"


def test_a_body_in_chunks_is_read_like_any_other(port):
    told = ask(port, request(POST, TOKEN, JSON, CHUNKED, body=chunks(b'{"name": "in chunks"}', 3)))
    assert (told.status, json.loads(told.body)["ec"]) == (201, 0)


@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB])
def test_a_body_over_a_mebibyte_is_400_in_the_envelope(port, size):
    body = b'{"name":"' + b"x" * size + b'"}'
    ask(port, request(POST, TOKEN, JSON, length(len(body)), body=body)).failed(400, 40000)
    ask(port, request(POST, TOKEN, JSON, CHUNKED, body=chunks(body))).failed(400, 40000)


def test_a_body_over_eight_mebibytes_is_the_servers_own_413(port):
    for told in (
        ask(port, request(POST, TOKEN, JSON, length(8 * MIB + 1), body=b"x" * 1000)),
        ask(port, request(POST, TOKEN, JSON, CHUNKED, body=chunks(b"x" * (8 * MIB + 1)))),
    ):
        assert told.status == 413
        assert told.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(b"GET /v1", b"X-Long: " + b"x" * 20_000 + b"\r\n"), 431),
        (request(b"GET /v1", *(b"X-%d: y\r\n" % n for n in range(3000))), 431),
        (request(b"GET /v1?" + b"x" * 20_000), 431),
        (request(POST, TOKEN, b"Content-Length: -1\r\n"), 400),
        (request(POST, TOKEN, b"Content-Length: ten\r\n"), 400),
        (request(POST, TOKEN, b"Content-Length: 2\r\nContent-Length: 3\r\n", body=b"{}"), 400),
        (request(POST, TOKEN, b"Transfer-Encoding: gzip\r\n"), 501),
        (request(POST, TOKEN, CHUNKED, body=b"zz\r\n{}\r\n0\r\n\r\n"), 400),
        (b"GET /v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nNo colon here\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (request(b"GET /v1/live?query=\xff"), 400),
        (request(b"GET /v1/live/\xed\xa0\x80"), 400),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else str(value),
)
def test_what_cannot_be_parsed_is_the_servers_own_failure(port, raw, status):
    assert ask(port, raw).status == status
    assert ask(port, request(b"GET /v1")).status == 200


@pytest.mark.parametrize("path", [b"//v1", b"///v1", b"//v1/live", b"//healthz", b"/v1/", b"/v1//live"])
def test_a_slash_too_many_is_another_path(port, path):
    ask(port, request(b"GET " + path, TOKEN)).failed(404, 40400)


@pytest.mark.parametrize("query", [b"query=%ff", b"%FF=1", b"page=%c3", b"tags=a,%ed%a0%80"])
def test_a_query_that_is_not_utf8_is_422(port, query):
    told = ask(port, request(b"GET /v1/live?" + query, TOKEN))
    told.failed(422, 42200)
    assert len(json.loads(told.body)["errors"]) == 1


@pytest.mark.parametrize("path", [b"/v1/%ff", b"/v1/live/%ff", b"/v1/live/%ed%a0%80/rtmp", b"/v1/live/a\0"])
def test_a_path_that_is_not_utf8_is_404(port, path):
    ask(port, request(b"GET " + path, TOKEN)).failed(404, 40400)


@pytest.mark.parametrize("method", [b"TRACE", b"FOO", b"PROPFIND"])
def test_another_method_is_405(port, method):
    told = ask(port, request(method + b" /v1/live", TOKEN))
    told.failed(405, 40500)
    assert "POST" in told.headers["allow"]


def test_credentials_that_come_twice_are_nobodys(port):
    wrong = b"Authorization: Basic eDp5\r\n"
    for pair in ((wrong, TOKEN), (TOKEN, wrong), (TOKEN, TOKEN)):
        ask(port, request(b"GET /v1/live", *pair)).failed(401, 40100)


def test_requests_that_never_end_hold_nobody_up(port):
    """More of them than there are threads, some in their headers and some in their bodies, one byte at a time."""
    headers = b"GET /v1/live HTTP/1.1\r\nHost: x\r\n"
    body = request(POST, TOKEN, JSON, length(100), body=b'{"name": ')
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(80)
        ]
        for place, connection in enumerate(slow):
            connection.sendall(body if place % 2 else headers)
        for byte in b'"drip':
            for place, connection in enumerate(slow):
                connection.sendall(bytes([byte]) if place % 2 else b"X")
            began = time.monotonic()
            assert ask(port, request(b"GET /v1/live", TOKEN)).status == 200
            assert time.monotonic() - began < 5
