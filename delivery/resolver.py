"""Names to addresses, each looked up once at a time, on threads of its own.

libcurl's look-ups share a few threads, and every transfer to a name whose servers hang takes one for as long as
the system's resolver waits: one receiver like that would hold up all others, and then the end of the process.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

KEPT_S = 30.0
LOOK_UPS = 64


@dataclass(frozen=True)
class Found:
    """What a name stands for; no addresses, but an error, where it stands for nothing."""

    name: str
    addresses: tuple[str, ...] = ()
    error: str | None = None
    until: float = 0.0


class Resolver:
    """`known` and `take` are for one thread; look-ups report to it by `wake`."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.fresh: dict[str, Found] = {}
        self.asked: set[str] = set()
        self.queue: deque[str] = deque()
        self.answers: deque[Found] = deque()
        self.busy = 0

    def known(self, name: str) -> Found | None:
        """The addresses if they are at hand; if not, they are looked up, and `take` will have them."""
        found = self.fresh.get(name)
        if found and time.monotonic() < found.until:
            return found
        self.fresh.pop(name, None)
        if name not in self.asked:
            self.asked.add(name)
            self.queue.append(name)
            self._begin()
        return None

    def take(self) -> list[Found]:
        """What was found since the last time. A name that was not found is asked for again by the next try."""
        taken = []
        while self.answers:
            found = self.answers.popleft()
            self.asked.discard(found.name)
            self.busy -= 1
            if not found.error:
                self.fresh[found.name] = found
            taken.append(found)
        if taken:
            self._begin()
        return taken

    def _begin(self) -> None:
        while self.queue and self.busy < LOOK_UPS:
            self.busy += 1
            # A daemon: nobody waits for the answer of a server that hangs, least of all the end of the process.
            threading.Thread(target=self._look_up, args=(self.queue.popleft(),), daemon=True).start()

    def _look_up(self, name: str) -> None:
        try:
            rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(row[4][0] for row in rows))
            found = Found(name, addresses, until=time.monotonic() + KEPT_S)
        except (OSError, UnicodeError) as error:
            found = Found(name, error=f"name not found: {name}: {getattr(error, 'strerror', None) or error}")
        self.answers.append(found)
        self.wake()
