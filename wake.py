"""A bell from web to worker: a datagram, so that nobody waits; polling is the fallback, not the path."""

import select
import socket
from contextlib import suppress
from pathlib import Path


class Bell:
    """The ringing end. Never raises and never waits: a worker that is not there will look by itself."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def ring(self) -> None:
        # No worker, one with a full queue of rings, or no open files left.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ringing:
            ringing.setblocking(False)
            ringing.sendto(b"!", self.path)


class Doorman:
    """The listening end; one per worker. A second worker on the same box takes the bell over."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(path))
        path.chmod(0o600)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a ring; True if there was one. Rings that came together count as one."""
        rung, _, _ = select.select([self.socket], [], [], max(0.0, timeout_s))
        if not rung:
            return False
        try:
            while self.socket.recv(16):
                pass
        except BlockingIOError:
            return True
        return True

    def close(self) -> None:
        self.socket.close()
