"""Requests that take too long, clients that are too many, and the end in peace: on real processes and sockets."""

import json
import select
import signal
import socket
import statistics
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest

import listeners
from listeners import Listener
from tests.box import short_folder
from tests.processes import AUTHORIZATION, web
from tests.waiting import until

HEAD = f"Host: x\r\nAuthorization: {AUTHORIZATION}\r\nContent-Type: application/json\r\n"


def posting(body: bytes, announced: int | None = None) -> bytes:
    length = len(body) if announced is None else announced
    return f"POST /v1/live HTTP/1.1\r\n{HEAD}Content-Length: {length}\r\n\r\n".encode() + body


def answer_of(connection: socket.socket) -> tuple[int, bytes]:
    """The status, and what came with it until its length was there."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        assert piece, f"closed after {data!r}"
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head[9:12]), body


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has hung up."""
    if not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return connection.recv(65536, socket.MSG_PEEK) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def process():
    with short_folder() as folder, web(folder) as running:
        yield running


def test_two_hundred_slow_clients_hold_up_no_hook_and_are_cut_off(process):
    """One byte a second each, half of them in their headers, half in bodies that would make a channel."""
    token = process.call("POST", "/v1/live", {"name": "The only one"})[1]["data"]["streamToken"]
    body = b'{"name": "' + b"x" * 100
    began, took = time.monotonic(), []
    with ExitStack() as stack:
        slow = [stack.enter_context(process.connect()) for _ in range(200)]
        for place, client in enumerate(slow):
            client.sendall(posting(body, 300) if place % 2 else b"GET /v1/live HTTP/1.1\r\nX-Slow: ")
        dripping = stack.enter_context(drip(slow))
        while dripping.is_alive():
            took += hooks_of_one_publisher(process, token, len(took) + 1)
        lasted = time.monotonic() - began
        assert all(is_closed(client) for client in slow)
    assert listeners.REQUEST_S <= lasted < listeners.REQUEST_S + 5
    assert len(took) > 200
    assert statistics.median(took) < 0.05
    assert statistics.quantiles(took, n=100)[98] < 0.25, "p99; on a quiet machine it is some 10 ms"
    assert process.call("GET", "/v1/live")[1]["total"] == 1, "what was cut off has changed nothing"


@contextmanager
def drip(clients: list[socket.socket]):
    """A thread that sends each of them a byte a second until all are hung up on."""
    over = threading.Event()

    def run() -> None:
        left = list(clients)
        while left and not over.wait(1.0):
            left = [client for client in left if not is_closed(client)]
            for client in left:
                with suppress(OSError):
                    client.send(b"x")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        over.set()
        thread.join()


def hooks_of_one_publisher(process, token: str, number: int) -> list[float]:
    times = []
    for call, expected in (("publish", 302), ("publish_done", 200)):
        began = time.monotonic()
        assert process.hook(call, token, number) == expected
        times.append(time.monotonic() - began)
    return times


def test_a_thousand_idle_connections_leave_room_for_who_asks():
    """Even where the system gives a process 1,024 open files unless it asks for more."""
    listeners.allow_open_files()
    with short_folder() as folder, web(folder, open_files=1024) as process, ExitStack() as stack:
        for _ in range(1050):
            stack.enter_context(process.connect())
        began = time.monotonic()
        assert process.call("POST", "/v1/live", {"name": "A"})[0] == 201
        assert process.hook("publish", "nobody", 1) == 403
        assert time.monotonic() - began < 10
        assert "Too many open files" not in process.log.read_text()


def test_sigterm_finishes_what_is_in_flight_and_takes_no_more(process):
    """waitress by itself gives 5 s; this body is complete after 7."""
    body = json.dumps({"name": "in flight"}).encode()
    with process.connect() as client, process.connect() as idle, process.connect() as late:
        idle.sendall(f"GET /v1/live HTTP/1.1\r\n{HEAD}\r\n".encode())
        assert answer_of(idle)[0] == 200
        client.sendall(posting(body[:5], len(body)))
        late.sendall(b"GET /v1 HTT")
        process.call("GET", "/v1")  # by now the two above have been read
        process.process.terminate()
        stopped = time.monotonic()
        until(lambda: not process.listens(), 5, "it takes no more")
        until(lambda: is_closed(idle), 5, "a connection without a request is closed")
        until(lambda: time.monotonic() > stopped + 7, 10, "longer than waitress would wait")
        assert process.process.poll() is None
        client.sendall(body[5:])
        status, told = answer_of(client)
        assert (status, json.loads(told)["ec"]) == (201, 0)
        assert process.process.wait(10) == 0
        assert time.monotonic() - stopped >= 9, "the third client had its time as well"
        assert is_closed(late)
    with web(process.folder) as again:
        assert [each["name"] for each in again.call("GET", "/v1/live")[1]["data"]] == ["in flight"]


@pytest.mark.parametrize("worker", ["apart", "inside"])
@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_with_nothing_in_flight_the_end_is_at_once(worker, asked):
    with (
        short_folder() as folder,
        web(folder, WORKER=worker) as process,
        process.connect(),
        process.connect(),
    ):
        until(lambda: process.call("GET", "/healthz")[0] == 200, 10, "it answers")
        process.process.send_signal(asked)
        assert process.process.wait(5) == 0


# One listener in this process, with times that a test can wait for.


@contextmanager
def listening(app, **settings):
    listener = Listener(app, host="127.0.0.1", port=0, **listeners.PUBLIC | settings)
    thread = threading.Thread(target=listener.run)
    thread.start()
    try:
        yield lambda: socket.create_connection(("127.0.0.1", listener.port), timeout=10)
    finally:
        listener.stop()
        thread.join(15)
        assert not thread.is_alive()


def hello(environ, start):
    start("200 OK", [("Content-Length", "2")])
    return [b"hi"]


def test_blank_lines_before_a_request_do_not_start_its_time_again():
    with listening(hello, request_s=1.5) as connect, connect() as client:
        began = time.monotonic()
        while not is_closed(client):
            with suppress(OSError):
                client.send(b"\r\n\r\n")
            assert time.monotonic() - began < 8
        assert time.monotonic() - began > 1


def test_the_time_of_a_connections_next_request_begins_with_that():
    with listening(hello, request_s=1.5) as connect, connect() as client:
        for _ in range(5):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer_of(client) == (200, b"hi")
            assert not select.select([client], [], [], 0.6)[0], "it is not hung up on between its requests"


def test_who_does_not_take_the_answer_is_cut_off(monkeypatch, caplog):
    """Its unsent rest stays in our memory; waitress would wait for the client to read before it closes."""
    monkeypatch.setattr(listeners, "ANSWER_S", 1.0)
    large = b"x" * 12_000_000

    def app(environ, start):
        start("200 OK", [("Content-Length", str(len(large)))])
        return [large]

    with listening(app) as connect, connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: "cut off" in caplog.text, 10, "it is cut off with nothing read")
        taken = 0
        with suppress(ConnectionResetError):
            while piece := client.recv(1 << 20):
                taken += len(piece)
        assert 0 < taken < len(large)
