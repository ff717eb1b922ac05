"""A webhook receiver as an App Server writes one: it verifies, answers at once, and drops what it has seen."""

import base64
import binascii
import hmac
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

TOLERANCE_S = 300


class Heard(NamedTuple):
    """An event, when it arrived (seconds since 1970), and how long after it happened."""

    body: dict[str, Any]
    arrived: float
    after_s: float


def verified(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> bool:
    """By the Standard Webhooks specification, and no older than five minutes."""
    try:
        age = abs(now - int(headers["webhook-timestamp"]))
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        given = [each.partition(",")[2] for each in headers["webhook-signature"].split(" ")]
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
        return False
    right = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return age <= TOLERANCE_S and any(hmac.compare_digest(right.encode(), each.encode()) for each in given)


class Receiver:
    """On a loopback port of its own. `secret` is what the answer to POST /v1/webhook said."""

    def __init__(self) -> None:
        self.secret = ""
        self.heard: dict[str, Heard] = {}  # by webhook-id: what comes again is the same
        self.forged = 0
        self.changed = threading.Condition()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, name="receiver")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/events"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def wait(self, event: str, channel_id: str, timeout_s: float) -> Heard | None:
        def come() -> Heard | None:
            bodies = [each for each in self.heard.values() if each.body["id"] == channel_id]
            return next((each for each in bodies if each.body["event"] == event), None)

        with self.changed:
            return self.changed.wait_for(come, timeout_s)

    def take(self, headers: Mapping[str, str], body: bytes) -> int:
        """The status to answer."""
        now = time.time()
        with self.changed:
            if not verified(headers, body, self.secret, now):
                self.forged += 1
                return 401
            event = json.loads(body)
            self.heard.setdefault(headers["webhook-id"], Heard(event, now, now - event["eventTime"] / 1000))
            self.changed.notify_all()
        return 204

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(receiver.take(self.headers, body))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Not on our terminal."""

        return Handler
