"""Who asks, who is told, and who remembers: the App Server's side of a round."""

import http.client
import json
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from config import Config
from tests.box import TOKEN_ID, TOKEN_SECRET
from tests.faults.history import History
from tests.reading import rows
from tests.receiver import Answer, Receiver, Request
from tests.waiting import until


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    data: Any


class Witness:
    """An installation from outside, with a receiver for its webhooks; what the checker asks."""

    def __init__(self, folder: Path, config: Config, port: int) -> None:
        self.folder, self.config, self.port = folder, config, port
        self.history = History(folder / "history.jsonl")
        self.answers: Callable[[Request, int], Answer] = lambda request, number: Answer()
        self.receiver = Receiver(lambda request, number: self.answers(request, number))
        self.unreachable: set[str] = set()  # paths of receivers that a fault turned off for good

    def fault(self, what: str, **more: Any) -> None:
        self.history.write("fault", what=what, **more)

    def log(self) -> str:
        """Every line that a part of the installation has written."""
        raise NotImplementedError

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str = "",
        kill_at: str = "",
        timeout: float = 40,
    ) -> Reply | None:
        """One request; None where no answer came back."""
        headers = {"Idempotency-Key": key} if key else {}
        headers |= {"X-Kill-At": kill_at} if kill_at else {}
        asked = self.history.write("request", method=method, path=path, body=body, key=key, kill_at=kill_at)
        began = time.monotonic()
        try:
            reply = self._ask(method, path, body, headers, timeout)
        except (OSError, http.client.HTTPException) as error:
            self.history.write("lost", to=asked, error=type(error).__name__)
            return None
        took = round(time.monotonic() - began, 3)
        said = {"status": reply.status, "data": reply.data, "headers": reply.headers, "took": took}
        self.history.write("reply", to=asked, **said)
        return reply

    def insist(
        self, method: str, path: str, body: Any = None, *, key: str = "", timeout_s: float = 60
    ) -> Reply:
        """The same request until it is answered with anything but 503."""

        def answered() -> Reply | None:
            reply = self.call(method, path, body, key=key)
            return reply if reply and reply.status != 503 else None

        return until(answered, timeout_s, f"{method} {path} is answered")

    def _ask(self, method: str, path: str, body: Any, more: dict[str, str], timeout: float) -> Reply:
        credentials = b64encode(f"{TOKEN_ID}:{TOKEN_SECRET}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}"} | more
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            reply = connection.getresponse()
            text = reply.read()
        finally:
            connection.close()
        return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, json.loads(text or b"null"))

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """From the database, read beside whoever writes it."""
        return rows(self.config.database_url, sql, *values)

    def webhooks(self) -> dict[str, tuple[str, set[str]]]:
        """Those that were answered with 201: their path and their events, by id."""
        made = [
            reply["data"]["data"]
            for request, reply in self.history.exchanges("request", "reply")
            if (request["method"], request["path"]) == ("POST", "/v1/webhook") and reply
        ]
        return {each["id"]: ("/" + each["uri"].rpartition("/")[2], set(each["event"])) for each in made}
