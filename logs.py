"""One readable line per thing that happened, with the request it belongs to. Set up once, where a process starts."""

import logging
import sys
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")


class _Line(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s.%(msecs)03d {process:6} %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        # What strangers send (a path, an address) must not begin a line of its own or colour the terminal.
        told = record.getMessage()
        if not told.isprintable():
            safe = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in told)
            record = logging.makeLogRecord(record.__dict__ | {"msg": safe, "args": None})
        current = request_id.get()
        return super().format(record) + (f"  [{current}]" if current else "")


def set_up_logging(process: str) -> None:
    """Everything from INFO on to standard error, as lines that begin with the time and the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("waitress.queue").setLevel(
        logging.ERROR
    )  # a warning for every request that waits a moment
