"""`script/bench processes`: requests a second with WEB_PROCESSES 1 and 2, beside a bare handler in the same run.

Each request on a connection of its own, as the box's nginx asks web.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.api import BODY, CLIENTS, WHOLE, answer, post, pressed, request, server
from tests.bench.table import Row
from tests.box import free_ports
from tests.conftest import ROOT_ID, ROOT_SECRET, basic

NUMBERS = (1, 2)


def rows(folder: Path, rounds: int) -> list[Row]:
    """GET one and POST; all of them take turns, so that they see the same machine."""
    root = basic(ROOT_ID, ROOT_SECRET)
    *ports, bare_port = free_ports(len(NUMBERS) + 1)
    with ExitStack() as stack:
        calls: dict[int, dict[str, bytes]] = {}
        for number, port in zip(NUMBERS, ports, strict=True):
            settings = {"DATA_DIR": str(folder / f"data{number}"), "PORT": str(port), "MEDIA_SERVER": "none"}
            settings |= {"WORKER": "apart", "WEB_PROCESSES": str(number)}
            settings |= {"LIVE_TOKEN_ID": ROOT_ID, "LIVE_TOKEN_SECRET": ROOT_SECRET}
            stack.enter_context(server([sys.executable, "app.py"], port, settings))
            token = post(port, "/v1/token", b'{"role": "app"}', root)
            calls[port] = calls_with(port, basic(token["id"], token["secret"]))
        database = folder / f"data{NUMBERS[0]}" / "livestream.db"
        bare = [sys.executable, "-m", "tests.bench.bare", str(bare_port), str(database)]
        stack.enter_context(server(bare, bare_port, {}))
        calls[bare_port] = calls[ports[0]]
        found: dict[tuple[str, int], list[float]] = {}
        for name in calls[bare_port]:
            for _ in range(rounds):
                for port in calls:
                    found.setdefault((name, port), []).append(press(port, calls[port][name]))
        return [
            (
                f"{name}, {CLIENTS} clients, WEB_PROCESSES={number}",
                found[name, port],
                found[name, bare_port],
                "/s",
                "bare Flask + waitress, same SQL",
            )
            for name in calls[bare_port]
            for number, port in zip(NUMBERS, ports, strict=True)
        ]


def calls_with(port: int, authorization: str) -> dict[str, bytes]:
    channel = post(port, "/v1/live", BODY, authorization)["id"]
    closing = "\r\nConnection: close\r\n\r\n"
    made = {
        "GET one channel": request("GET", f"/v1/live/{channel}", authorization),
        "POST a channel (durable)": request("POST", "/v1/live", authorization, BODY),
    }
    return {name: call.replace(b"\r\n\r\n", closing.encode(), 1) for name, call in made.items()}


def press(port: int, call: bytes) -> float:
    """Requests a second of clients that connect anew for each."""

    def asks() -> Iterator[None]:
        while True:
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(call)
                answer(line)
            yield

    return pressed(asks, WHOLE.seconds)
