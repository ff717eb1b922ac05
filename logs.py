"""One line per thing that happened, with the request it belongs to: to be read by people, or a JSON object for
collectors (LOG_FORMAT; docs/operations.md, "Logs"). Set up once, where a process starts.

What a line is about goes with it as `extra`, by the names of the wire: channelId, sessionId, webhookId. What is an
event says so as `event`. The sentence says it once more, for people: text has nothing but the sentence.
"""

import json
import logging
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

request_id: ContextVar[str] = ContextVar("request_id", default="")

TRACE = 2500

# What every record has; the rest is what its `extra` brought.
OWN = {*vars(logging.makeLogRecord({})), "message", "asctime"}


class _Text(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s.%(msecs)03d {process:8} %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        # What strangers send (a path, an address) must not begin a line of its own or colour the terminal.
        told = record.getMessage()
        if not told.isprintable():
            safe = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in told)
            record = logging.makeLogRecord(record.__dict__ | {"msg": safe, "args": None})
        current = request_id.get()
        return super().format(record) + (f"  [{current}]" if current else "")


class _Json(logging.Formatter):
    """Never more than one line: a traceback is a text in it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": self.process,
            "message": record.getMessage(),
            "logger": record.name,
        }
        if current := request_id.get():
            line["requestId"] = current
        line |= {name: value for name, value in vars(record).items() if name not in OWN}
        if record.exc_info:
            line["error"] = _end_of(self.formatException(record.exc_info))
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)
        # JSON leaves some alone that end a line for readers (U+2028), or turn a terminal's writing around.
        return text if text.isprintable() else "".join(map(_escaped, text))


def _end_of(trace: str) -> str:
    """A line longer than a pipe's 4 KiB could be parted, and another process's come between."""
    return trace if len(trace) <= TRACE else f"... {trace[-TRACE:]}"


def _escaped(char: str) -> str:
    return char if char.isprintable() else json.dumps(char)[1:-1]


def set_up_logging(process: str, form: str) -> None:
    """Everything from INFO on to standard error, in one of config.LOG_FORMATS."""
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(process) if form == "json" else _Text(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("waitress.queue").setLevel(
        logging.ERROR
    )  # a warning for every request that waits a moment
    logging.getLogger("peewee.migrations").setLevel(
        logging.WARNING
    )  # upkeep/opening.py says what was migrated
    if form == "json":  # Python would print these as lines of their own
        logging.captureWarnings(True)
        sys.excepthook = _uncaught
        threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger().critical("nobody caught this", exc_info=(kind, error or kind(), trace))
