"""The real app behind the real server, on a loopback port of its own, in a thread of the test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import listeners
from config import Config
from tests.conftest import prepared_app


@contextmanager
def served(config: Config) -> Iterator[int]:
    """The port at which the app answers until the block ends."""
    server = listeners.public(prepared_app(config), config, listeners.at_address("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, name="served", daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.stop()
        thread.join(15)
        assert not thread.is_alive()
