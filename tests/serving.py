"""The real app behind the real server, on a loopback port of its own, in a thread of the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from app import serve
from config import Config
from tests.conftest import prepared_app


@contextmanager
def served(config: Config) -> Iterator[int]:
    """The port at which the app answers until the block ends."""
    server = serve(prepared_app(config), replace(config, port=0))
    thread = threading.Thread(target=server.run, name="served", daemon=True)
    thread.start()
    try:
        yield server.effective_port
    finally:
        server.trigger.pull_trigger(server.close)
        thread.join(10)
        server.task_dispatcher.shutdown()
        assert not thread.is_alive()
