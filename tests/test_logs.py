"""The log: one line per thing, whatever strangers send."""

import io
import logging

from logs import set_up_logging


def logged(monkeypatch, message: str) -> str:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        set_up_logging("test")
        logging.getLogger("x").info("GET %s", message)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    return out.getvalue()


def test_a_path_cannot_write_a_line_of_its_own_or_colour_the_terminal(monkeypatch):
    told = logged(monkeypatch, "/v1/x\n12:00:00 web INFO forged\x1b[31m")
    assert told.count("\n") == 1
    assert "\x1b" not in told
    assert "forged" in told


def test_other_languages_stay_readable(monkeypatch):
    assert "Đà Nẵng" in logged(monkeypatch, "Đà Nẵng")
