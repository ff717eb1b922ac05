"""A real HTTP receiver on a loopback port: it records what it gets and answers as it is told."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Request:
    """One POST as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    arrived: float  # monotonic


@dataclass
class Answer:
    """What to do with a request. Everything beyond `status` is misbehaviour."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    silent: bool = False  # never a byte
    drip: str = ""  # "body", "header" or "interim" (1xx): a little now and then, without end
    flood: str = ""  # the last two at full speed
    endless: bool = False  # a body at full speed, without end
    raw: bytes | None = None  # these bytes instead of an answer
    reset: bool = False
    close: bool = False


class Receiver:
    """`answers` is called with each request and its number on this path; by default all is well."""

    def __init__(
        self,
        answers: Callable[[Request, int], Answer] | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.answers = answers or (lambda request, number: Answer())
        self.tls = tls
        self.requests: list[Request] = []
        self.connections = 0
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.threads: list[threading.Thread] = []
        self.listener = socket.create_server((host, 0), backlog=512)
        self.listener.settimeout(0.1)
        self.host, self.port = self.listener.getsockname()[:2]

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self.threads.append(threading.Thread(target=self._accept, name="receiver"))
        self.threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for thread in list(self.threads):
            thread.join(10)
        self.listener.close()

    def wait(self, count: int, timeout: float = 15.0) -> list[Request]:
        """Wait until that many requests have come; fails with what did come."""
        with self.changed:
            come = self.changed.wait_for(lambda: len(self.requests) >= count, timeout)
        assert come, f"{len(self.requests)} of {count} requests came within {timeout} s"
        return list(self.requests)

    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self.listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), name="receiver connection")
            self.threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(0.2)
                if self.tls:
                    connection.settimeout(5)
                    connection = self.tls.wrap_socket(connection, server_side=True)
                    connection.settimeout(0.2)
                with connection:
                    while request := self._read(connection):
                        if not self._respond(connection, request):
                            return
            except OSError:
                return

    def _read(self, connection: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (part := self._receive(connection)):
                return None
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            if not (part := self._receive(connection)):
                return None
            body += part
        method, path, _ = first.split(" ")
        return Request(method, path, headers, body, time.monotonic())

    def _receive(self, connection: socket.socket) -> bytes:
        while not self.closing.is_set():
            try:
                return connection.recv(65536)
            except TimeoutError:
                continue
        return b""

    def _respond(self, connection: socket.socket, request: Request) -> bool:
        with self.changed:
            number = sum(1 for each in self.requests if each.path == request.path)
            self.requests.append(request)
            self.changed.notify_all()
        answer = self.answers(request, number)
        if self.closing.wait(answer.delay) or answer.silent:
            self._until_gone(connection)
            return False
        if answer.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return False
        connection.settimeout(5)
        if answer.raw is not None:
            connection.sendall(answer.raw)
            return False
        self._send(connection, answer)
        connection.settimeout(0.2)
        return not (answer.drip or answer.flood or answer.endless or answer.close)

    def _send(self, connection: socket.socket, answer: Answer) -> None:
        length: Any = 10**12 if answer.drip or answer.endless else len(answer.body)
        lines = {"Content-Length": str(length)} | answer.headers
        head = f"HTTP/1.1 {answer.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        pause = 0 if answer.flood else 0.05
        if (answer.drip or answer.flood) == "header":
            self._forever(connection, head.encode(), b"X-Drip: 1\r\n", pause)
        elif (answer.drip or answer.flood) == "interim":
            self._forever(connection, b"", b"HTTP/1.1 102 Processing\r\n\r\n", pause)
        elif answer.drip:
            self._forever(connection, head.encode() + b"\r\n", b"x", 0.05)
        elif answer.endless:
            self._forever(connection, head.encode() + b"\r\n", b"x" * 65536, 0)
        else:
            connection.sendall(head.encode() + b"\r\n" + answer.body)

    def _forever(self, connection: socket.socket, first: bytes, then: bytes, pause: float) -> None:
        connection.sendall(first)
        while not self.closing.wait(pause):
            connection.sendall(then)

    def _until_gone(self, connection: socket.socket) -> None:
        while self._receive(connection):
            pass
