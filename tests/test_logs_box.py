"""The box's log as a collector gets it, and as a person at a terminal does."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from base64 import b64encode
from contextlib import suppress

import pytest

from tests.box import PROJECT, Encoder, free_ports
from tests.waiting import until

pytestmark = pytest.mark.box

# Of nginx and supervisord, whose lines are their own, and of script/server itself.
NOT_OURS = re.compile(r"\d{4}[-/]\d\d[-/]\d\d |nginx: |media: |Stopped|supervisord|Making|Installing|Waiting")


def lines(box) -> list[dict]:
    """Every line of ours that is there to its end; each is one."""
    text = box.log.read_bytes().rpartition(b"\n")[0].decode().splitlines()
    assert [line for line in text if not line.startswith("{") and not NOT_OURS.match(line)] == []
    return [json.loads(line) for line in text if line.startswith("{")]


def test_each_thing_that_happens_to_a_broadcast_is_one_line_of_json_and_none_holds_a_secret(box):
    channel = box.create(name="Logged")
    hook = {"uri": f"http://127.0.0.1:{free_ports(1)[0]}/", "event": "channel_live"}
    webhook = box.call("POST", "/v1/webhook", hook)[1]["data"]
    with Encoder(box, channel["streamToken"]):
        box.await_status(channel["id"], "live")
    until(lambda: box.channel(channel["id"])["publishing"] is False, 10, "it has left")
    box.call("DELETE", f"/v1/live/{channel['id']}")

    def told() -> list[dict]:
        found = [line for line in lines(box) if line.get("channelId") == channel["id"]]
        return found if any(line.get("event") == "ended" for line in found) else []

    found = until(told, 10, "the log has come through its pipe")
    events = [line["event"] for line in found if line.get("event") not in ("ladder", "video_ready")]
    assert events == ["created", "published", "live", "unpublished", "ended"]
    assert {line["sessionId"] for line in found if "sessionId" in line} == {found[1]["sessionId"]}
    processes = {line["event"]: line["process"] for line in found}
    assert (processes["published"], processes["live"]) == ("web", "worker")
    tried = [line for line in lines(box) if line.get("webhookId") == webhook["id"]]
    assert (tried[0]["event"], tried[0]["error"].partition(":")[0]) == ("try_failed", "no connection")
    assert channel["streamToken"] not in box.log.read_text()
    assert webhook["secret"] not in box.log.read_text()
    box.call("DELETE", f"/v1/webhook/{webhook['id']}")


def test_a_call_is_found_by_the_request_id_of_its_answer(box):
    wrong = b64encode(b"root:wrong").decode()
    with socket.create_connection(("127.0.0.1", box.port)) as caller:
        asked = f"GET /v1/live HTTP/1.0\r\nAuthorization: Basic {wrong}\r\nX-Request-Id: find-me\r\n\r\n"
        caller.sendall(asked.encode())
        assert b" 401 " in caller.recv(100)

    def told() -> list[dict]:
        return [line for line in lines(box) if line.get("requestId") == "find-me" and "status" in line]

    [call] = until(told, 10, "the log has come through its pipe")
    assert (call["method"], call["path"], call["status"]) == ("GET", "/v1/live", 401)
    failed = [line for line in lines(box) if line.get("event") == "sign_in_failed"]
    assert [line["tokenId"] for line in failed if line["requestId"] == "find-me"] == ["root"]


def test_the_box_tells_a_service_manager_when_it_is_ready(box, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{box.folder}/notify")
        manager.settimeout(30)
        subprocess.run(
            [PROJECT / ".venv/bin/python", PROJECT / "script/announce", str(time.time())],
            env=box.environment | {"NOTIFY_SOCKET": f"{box.folder}/notify"},
            check=True,
            capture_output=True,
            timeout=60,
        )
        assert manager.recv(1000).decode().split("\n")[0] == "READY=1"


def test_a_person_at_a_terminal_reads_text(tmp_path):
    ours, its = pty.openpty()
    own = {"DATA_DIR": str(tmp_path / "d"), "MEDIA_SERVER": "none", "PORT": str(free_ports(1)[0])}
    environment = {name: value for name, value in os.environ.items() if name != "LOG_FORMAT"}
    server = subprocess.Popen(
        [PROJECT / "script/server"],
        env=environment | own,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    said = b""
    try:
        deadline = time.monotonic() + 60
        while b"API is ready" not in said and time.monotonic() < deadline:
            if select.select([ours], [], [], 1)[0]:
                said += os.read(ours, 65536)
        server.send_signal(signal.SIGTERM)
        with suppress(OSError):  # EIO: nobody has the other end any more
            while more := os.read(ours, 65536):
                said += more
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
        os.close(ours)
    text = said.decode()
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} web      INFO    listening on http", text, re.MULTILINE), text
    assert "console   http" in text, "the banner, in full"
    assert '{"time"' not in text
