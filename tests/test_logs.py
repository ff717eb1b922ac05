"""The log: one line per thing, whatever strangers send, for people and for collectors."""

import ast
import io
import json
import logging
import re
import sys
import threading
from pathlib import Path

import pytest

from live import telling
from logs import request_id, set_up_logging

ROOT = Path(__file__).resolve().parent.parent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def out(monkeypatch):
    """Where the log goes, once `set_up_logging` has been called; afterwards all is as before."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    def to(stream: io.StringIO, form: str) -> io.StringIO:
        monkeypatch.setattr("sys.stderr", stream)
        set_up_logging("test", form)
        return stream

    yield to
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


def line(stream: io.StringIO) -> dict:
    text = stream.getvalue()
    assert (text.count("\n"), text[-1]) == (1, "\n")
    return json.loads(text)


def test_a_path_cannot_write_a_line_of_its_own_or_colour_the_terminal(out):
    told = out(io.StringIO(), "text")
    logging.getLogger("x").info("GET %s", "/v1/x\n12:00:00 web INFO forged\x1b[31m")
    assert told.getvalue().count("\n") == 1
    assert "\x1b" not in told.getvalue()
    assert "forged" in told.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_other_languages_stay_readable(out, form):
    told = out(io.StringIO(), form)
    logging.getLogger("x").info("GET %s", "Đà Nẵng")
    assert "Đà Nẵng" in told.getvalue()


def test_json_says_when_who_and_what_it_is_about(out):
    told = out(io.StringIO(), "json")
    request_id.set("r1")
    try:
        logging.getLogger("x").warning("%s: live", "ch_1", extra={"event": "live", "channelId": "ch_1"})
    finally:
        request_id.set("")
    found = line(told)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert found == {
        "level": "warning",
        "process": "test",
        "message": "ch_1: live",
        "logger": "x",
        "requestId": "r1",
        "event": "live",
        "channelId": "ch_1",
    }


@pytest.mark.parametrize(
    "char", ["\n", "\r", "\x0b", "\x1b", "\x85", "\u2028", "\u202e", "\udc80", '"', "\\"]
)
def test_a_line_of_json_is_one_line_to_every_reader(out, char):
    told = out(io.StringIO(), "json")
    logging.getLogger("x").info("a%sb", char, extra={"path": f"c{char}d"})
    assert len(told.getvalue().splitlines()) == 1
    assert told.getvalue().rstrip("\n").isprintable()
    assert (line(told)["message"], line(told)["path"]) == (f"a{char}b", f"c{char}d")


def test_a_traceback_is_in_the_line_of_what_failed(out):
    told = out(io.StringIO(), "json")
    try:
        raise ValueError("so it goes")
    except ValueError:
        logging.getLogger("x").exception("it failed")
    assert line(told)["message"] == "it failed"
    assert line(told)["error"].startswith("Traceback")
    assert line(told)["error"].endswith("ValueError: so it goes")


def test_the_end_of_a_long_traceback_is_kept_so_that_no_other_process_comes_between(out):
    told = out(io.StringIO(), "json")
    try:
        raise ValueError("x" * 10_000 + " so it goes")
    except ValueError:
        logging.getLogger("x").exception("it failed")
    assert len(told.getvalue()) < 4096
    assert line(told)["error"].endswith("so it goes")


def test_what_nobody_caught_is_a_line_too_also_in_a_thread(out):
    told = out(io.StringIO(), "json")
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    assert line(told)["level"] == "critical"
    assert "ZeroDivisionError" in line(told)["error"]


@pytest.mark.parametrize(("stream", "is_json"), [(Terminal(), False), (io.StringIO(), True)])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(out, stream, is_json):
    told = out(stream, "auto")
    logging.getLogger("x").info("hello")
    assert told.getvalue().startswith("{") == is_json


def test_every_kind_of_a_timeline_has_a_count_from_the_beginning():
    assert telling.told().keys() >= set(telling.KINDS)
    written = set()
    for path in (ROOT / "live").glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        for call in calls:
            if isinstance(call.func, ast.Name) and call.func.id == "note" and len(call.args) > 2:
                written |= {part.value for part in ast.walk(call.args[1]) if isinstance(part, ast.Constant)}
    assert {"created", "live", "video_failed", "storage_enough"} <= written
    assert written <= set(telling.KINDS)


def test_what_happens_to_a_channel_is_one_line_each_once_it_is_committed(client, hooks, channel, caplog):
    caplog.clear()
    before = telling.told()
    hooks.publish(channel["streamToken"])
    hooks.publish("no-such-token", 2)
    client.put(f"/v1/live/{channel['id']}", json={"startAt": "1999"})  # refused: nothing is written
    client.delete(f"/v1/live/{channel['id']}")
    lines = [record for record in caplog.records if record.name == "live.telling"]
    assert [record.event for record in lines] == ["published", "refused", "unpublished", "ended"]
    assert [record.levelname for record in lines] == ["INFO", "WARNING", "INFO", "INFO"]
    assert [getattr(record, "channelId", None) for record in lines] == [
        channel["id"],
        None,
        *[channel["id"]] * 2,
    ]
    assert (lines[1].reason, lines[3].reason) == ("unknown_token", "stopped")
    assert {
        kind: times - before[kind] for kind, times in telling.told().items() if times != before[kind]
    } == {"published": 1, "refused": 1, "unpublished": 1, "ended": 1}
    assert channel["streamToken"] not in caplog.text
    assert "no-such-token" not in caplog.text


def test_a_sign_in_that_fails_is_told_with_its_address_and_never_with_what_was_sent(
    client, anonymous, caplog
):
    token = client.post("/v1/token", json={"role": "app"}).json["data"]
    caplog.clear()
    for id_and_secret in ((token["id"], "a-wrong-secret"), ("a-secret-in-the-wrong-field", "x")):
        assert anonymous.get("/v1/live", auth=id_and_secret).status_code == 401
    told = [record for record in caplog.records if getattr(record, "event", "") == "sign_in_failed"]
    assert [(record.address, getattr(record, "tokenId", None)) for record in told] == [
        ("127.0.0.1", token["id"]),
        ("127.0.0.1", None),
    ]
    assert "a-wrong-secret" not in caplog.text
    assert "wrong-field" not in caplog.text
