"""A broadcast on the real box, and then a look everywhere for what nobody may find there."""

import contextlib
import json
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import peewee
import psutil
import pytest

from tests.box import TOKEN_ID, TOKEN_SECRET, Box, Encoder
from tests.reading import reading
from tests.receiver import Receiver
from tests.waiting import until

pytestmark = [pytest.mark.box, pytest.mark.both]

# Where a streamToken has to be: `/rtmp` shows it again, and a repeated create answers what it answered.
TOKENS_STAND_IN = {("channel", "stream_token"), ("kept_answer", "body")}


def test_no_secret_is_anywhere_but_where_it_must_be(box):
    root = basic(TOKEN_ID, TOKEN_SECRET)
    admin = told(box, root, "POST", "/v1/token", {"role": "admin"})
    api, once = basic(admin["id"], admin["secret"]), {"Idempotency-Key": "the-only-one"}
    with Receiver() as receiver:
        hook = told(box, api, "POST", "/v1/webhook", {"uri": receiver.url, "event": "all"})
        made = told(box, api, "POST", "/v1/live", {"name": "Secret"}, **once)
        path, secrets = f"/v1/live/{made['id']}", {"the webhook's": hook["secret"]}
        secrets |= {
            "the first streamToken": made["streamToken"],
            "the API's": admin["secret"],
            "Basic": api,
            "the root's": TOKEN_SECRET,
        }
        secrets["the hooks'"] = (box.data_dir / "keys/hook").read_text().strip()
        secrets["the signatures'"] = (box.data_dir / "keys/playback").read_text().strip()
        secrets["the key file's"] = (box.data_dir / "keys/webhook.key").read_text().strip()
        secrets["the webhook's second"] = told(box, api, "POST", f"/v1/webhook/{hook['id']}/secret")["secret"]

        with Encoder(box, made["streamToken"]) as encoder:
            box.await_status(made["id"], "live")
            found = command_lines(box, encoder)
            with Encoder(box, made["streamToken"]) as second:
                assert second.refused()
            fresh = told(box, api, "POST", f"{path}/token", {"disconnect": True})["streamToken"]
            secrets["the second streamToken"] = fresh
            assert encoder.refused()
        with Encoder(box, fresh) as encoder:
            box.await_status(made["id"], "live")
            found |= command_lines(box, encoder)
            until(lambda: box.playlist(made["id"]), 10, "a playlist")
            found |= pages(box, api, made["id"], hook["id"])
        told(box, api, "DELETE", path)
        until(lambda: b"channel_ended" in b"".join(receiver.bodies()), 15, "the last event has arrived")
        told(box, api, "POST", f"/v1/webhook/{hook['id']}/test")
        found |= {f"delivery {each.arrived}": f"{each.headers} {each.body}" for each in receiver.requests}

    found |= pages(box, api, made["id"], hook["id"]) | files(box)
    secrets["the sessions'"] = (box.data_dir / "keys/session").read_text().strip()
    assert len(found) > 30
    rows = cells(box)
    for what, secret in secrets.items():
        # The root's secret is the same in all tests, and another test's curl has it on its command line.
        shown = [place for place, text in found.items() if secret in text]
        assert [each for each in shown if what != "the root's" or not each.startswith("process")] == [], what
        places = {(table, column) for table, column, text in rows if secret in text}
        allowed = TOKENS_STAND_IN if "streamToken" in what else set()
        assert places <= allowed, what
    first = {(table, column) for table, column, text in rows if made["streamToken"] in text}
    assert first == {("kept_answer", "body")}, "the look does find what is there"
    box.call("DELETE", f"/v1/webhook/{hook['id']}")


def basic(token_id: str, secret: str) -> str:
    return b64encode(f"{token_id}:{secret}".encode()).decode()


def told(box: Box, api: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
    asked = {"Authorization": f"Basic {api}", "Content-Type": "application/json"} | headers
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{box.url}{path}", data, asked, method=method)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.loads(reply.read() or b"{}").get("data")


def command_lines(box: Box, *encoders: Encoder) -> dict[str, str]:
    """Of every process of this machine; an encoder's own has the token, as it must."""
    theirs = {each.process.pid for each in encoders}
    running = [each for each in psutil.process_iter(["cmdline"]) if each.pid not in theirs]
    lines = {f"process {each.pid}": " ".join(each.info["cmdline"] or []) for each in running}
    assert any("nginx" in line and str(box.data_dir) in line for line in lines.values())
    return lines


def pages(box: Box, api: str, channel_id: str, webhook_id: str) -> dict[str, str]:
    """What the API, the pages and the media server show; not the answers that exist to show a secret."""
    live, webhook = f"/v1/live/{channel_id}", f"/v1/webhook/{webhook_id}"
    first = told(box, api, "GET", f"{webhook}/delivery")[0]["id"]
    paths = [
        *("/v1", "/healthz", "/readyz", "/docs", "/docs/", "/openapi.json", "/", f"/watch/{channel_id}"),
        *(f"/embed/{channel_id}", "/v1/live", live, f"{live}/session", f"{live}/event", f"{live}/metadata"),
        *(
            "/v1/search?query=secret",
            "/v1/event?length=1000",
            "/v1/audit?length=100",
            "/v1/token",
            "/v1/user",
        ),
        *("/v1/webhook", webhook, f"{webhook}/delivery?length=100", f"{webhook}/delivery/{first}"),
        *("/v1/video", "/v1/statistics", "/nothing", "/v1/live/nothing", "/v1/live?nothing=1"),
        *(f"/play/{channel_id}/master.m3u8", f"/play/{channel_id}/source.m3u8"),
    ]
    shown = {path: shown_at(f"{box.url}{path}", api) for path in paths}
    assert "channel_live" in shown["/v1/event?length=1000"]
    metrics = shown_at(f"http://127.0.0.1:{box.port}/metrics", api)
    assert "# TYPE" in metrics
    return shown | {"/metrics": metrics} | console(box, api, channel_id, webhook_id, first)


def console(box: Box, api: str, channel_id: str, webhook_id: str, delivery_id: str) -> dict[str, str]:
    """What the console shows, as a page and in headers, to whoever does not ask for a secret."""
    token_id, secret = b64decode(api).decode().split(":")
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    browser.open(box.url, urlencode({"id": token_id, "secret": secret}).encode(), timeout=10).close()
    channel, webhook = f"/console/channels/{channel_id}", f"/console/webhooks/{webhook_id}"
    paths = [
        *("/console/channels", "/console/channels/new", channel, f"{channel}/state", f"{channel}/edit"),
        *(f"{channel}/timeline", f"{channel}/sessions", f"{channel}/videos", "/console/webhooks", webhook),
        *(f"{webhook}/edit", f"{webhook}/deliveries/{delivery_id}", "/console/tokens", "/console/users"),
        *("/console/audit", "/console/box"),
    ]
    shown = {}
    for path in paths:
        with browser.open(f"{box.url}{path}", timeout=10) as reply:
            shown[path] = f"{reply.headers}\n{reply.read().decode()}"
    assert "Sign out" in shown["/console/channels"]
    return shown


def shown_at(url: str, api: str) -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Basic {api}"})
    with contextlib.ExitStack() as stack:
        try:
            reply = stack.enter_context(urllib.request.urlopen(request, timeout=10))
        except urllib.error.HTTPError as error:
            reply = stack.enter_context(error)
        return f"{reply.headers}\n{reply.read().decode(errors='replace')}"


def files(box: Box) -> dict[str, str]:
    """The log, and everything in DATA_DIR but the keys, the database and the hook addresses that nginx is given."""
    secret_ones = {"keys", "livestream.db", "livestream.db-wal", "livestream.db-shm", "nginx.conf"}
    below = [path for path in box.data_dir.rglob("*") if path.is_file() and not secret_ones & set(path.parts)]
    assert any(path.suffix == ".conf" for path in below), "supervisor's"
    return {str(path): text_of(path) for path in [box.log, *below]}


def text_of(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):  # a segment that has been rotated away
        return path.read_bytes().decode("latin-1")
    return ""


def cells(box: Box) -> list[tuple[str, str, str]]:
    """Every value in the database, with its table and column."""
    with reading(box.database_url) as database:
        tables = database.get_tables()
        assert {"channel", "webhook", "event", "attempt", "audit", "kept_answer", "timeline"} <= set(tables)
        return [cell for table in tables for cell in cells_of(database, table)]


def cells_of(database: peewee.Database, table: str) -> Iterator[tuple[str, str, str]]:
    found = database.execute_sql(f'SELECT * FROM "{table}"')
    names = [column[0] for column in found.description]
    for row in found:
        for name, value in zip(names, row, strict=True):
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            yield table, name, text
