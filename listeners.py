"""Where requests come in: waitress with what it lacks, a deadline for each request and an end in peace.

waitress cuts off who is silent, but not who sends a byte now and then; it has no SIGTERM handler, and where it is
stopped it gives requests 5 seconds, cancels those that wait for a thread and sends nothing that is left to send.
"""

import errno
import logging
import resource
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer

from config import Config

log = logging.getLogger("web")

MIB = 1024 * 1024
REQUEST_S = 15.0
ANSWER_S = 60.0
FINISH_S = 10.0
PAUSE_S = 0.1  # without open files; whoever leaves within it makes room
OPEN_FILES = 8192  # 1,000 clients and 2,048 hooks, and three files of the database for each of 24 threads

LIMITS: dict[str, Any] = {
    "asyncore_use_poll": True,  # select() stops at 1,024 descriptors
    "asyncore_loop_timeout": 1,
    "channel_timeout": 20,
    "cleanup_interval": 5,
    "max_request_header_size": 16 * 1024,
    "inbuf_overflow": 64 * 1024,  # larger bodies wait in a file: 1,000 slow ones must not fill the memory
    "ident": None,
}
PUBLIC = LIMITS | {"threads": 16, "connection_limit": 1000, "max_request_body_size": 8 * MIB}
HOOKS = LIMITS | {"threads": 8, "connection_limit": 2048, "max_request_body_size": 64 * 1024}


class Channel(HTTPChannel):
    """One client's connection, with the times by which it is judged."""

    asking_since: float | None = None
    answering_since: float | None = None

    def received(self, data: bytes) -> bool:
        # From the first byte on, until a whole request is there: blank lines before one are no new beginning.
        self.asking_since = self.asking_since or time.monotonic()
        return super().received(data)

    def service(self) -> None:
        self.asking_since = None
        super().service()

    @property
    def busy(self) -> bool:
        return bool(self.request or self.requests or self.total_outbufs_len)

    def is_too_slow(self, now: float, request_s: float) -> bool:
        self.answering_since = (self.answering_since or now) if self.total_outbufs_len else None
        asking = not self.requests and self.asking_since is not None and now - self.asking_since > request_s
        return asking or (self.answering_since is not None and now - self.answering_since > ANSWER_S)


class Listener:
    """The sockets of one app, with threads and limits of their own."""

    def __init__(self, app: Callable[..., Any], request_s: float = REQUEST_S, **settings: Any) -> None:
        self.map: dict[int, Any] = {}
        self.request_s = request_s
        self.server = create_server(app, map=self.map, **settings)
        self.sockets = [each for each in self.map.values() if isinstance(each, BaseWSGIServer)]
        self.most = settings["connection_limit"]
        self.stopping = threading.Event()
        self.looked = time.monotonic()
        self.without_files = False
        self.paused: list[BaseWSGIServer] = []
        for each in self.sockets:
            each.channel_class = Channel
            each.accept = partial(self._accept, each)

    @property
    def port(self) -> int:
        return self.sockets[0].effective_port

    def run(self) -> None:
        """Until `stop`; then what is in flight is finished, and nothing more is taken."""
        while not self.stopping.is_set():
            self._turn()
        for each in self.sockets:
            each.accepting = False
            each.del_channel()
            each.socket.close()
        self._finish()

    def stop(self) -> None:
        """From any thread, or a signal handler."""
        self.stopping.set()
        with suppress(OSError):  # it has ended
            self.sockets[0].pull_trigger()

    def _finish(self) -> None:
        until = time.monotonic() + FINISH_S
        self._turn(0)  # what was sent before we stopped listening is a request in flight
        while (left := self._channels()) and time.monotonic() < until:
            for each in left:
                if not each.busy:
                    each.handle_close()
            self._turn(0.05)
        if left:
            log.warning("%d requests were not finished within %g s", len(left), FINISH_S)
        self.server.task_dispatcher.shutdown(timeout=0.5)
        wasyncore.close_all(self.map)

    def _accept(self, server: BaseWSGIServer) -> Any:
        """waitress would try again at once, with a traceback each time, for as long as there are no open files."""
        try:
            return type(server).accept(server)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self.without_files, server.accepting = True, False
            self.paused.append(server)
            return None

    def _turn(self, timeout: float = 1.0) -> None:
        paused, self.paused = self.paused, []
        timeout = min(timeout, PAUSE_S) if paused else timeout
        wasyncore.loop(timeout, use_poll=True, map=self.map, count=1)
        for each in paused:
            each.accepting = True
        if time.monotonic() - self.looked >= 1:
            self._cut_off()

    def _cut_off(self) -> None:
        """Who is too slow; and, when there is no room left, who has been idle for longest.

        By closing, not by asking waitress to: it would first wait until the client reads.
        """
        self.looked = now = time.monotonic()
        slow = [each for each in self._channels() if each.is_too_slow(now, self.request_s)]
        for each in slow:
            each.handle_close()
        if slow:
            log.warning("%d connections cut off: too slow to ask or to take the answer", len(slow))
        idle = sorted(
            (each for each in self._channels() if not each.busy), key=lambda each: each.last_activity
        )
        too_many = len(self.map) - self.most + self.most // 10
        if self.without_files:
            log.warning("no open files left: who comes has to wait")
            self.without_files, too_many = False, max(too_many, len(idle) // 10 + 1)
        for each in idle[: max(0, too_many)]:
            each.handle_close()

    def _channels(self) -> list[Channel]:
        return [channel for each in self.sockets for channel in each.active_channels.values()]


def public(app: Callable[..., Any], config: Config) -> Listener:
    """The public listener; nginx in front of it, where there is one, is the only proxy that is believed."""
    proxy = "127.0.0.1" if config.media_server != "none" else config.trusted_proxy
    trusted = (
        {"trusted_proxy": proxy, "trusted_proxy_headers": {"x-forwarded-for"}, "trusted_proxy_count": 1}
        if proxy
        else {}
    )
    return Listener(
        app, host=config.host, port=config.port, clear_untrusted_proxy_headers=True, **trusted, **PUBLIC
    )


def on_socket(app: Callable[..., Any], path: Path) -> Listener:
    """Hooks on a Unix socket, which nobody outside the box can reach."""
    return Listener(app, unix_socket=str(path), unix_socket_perms="600", **HOOKS)


def on_loopback(app: Callable[..., Any], port: int) -> Listener:
    """Hooks of a media server that cannot use a Unix socket."""
    return Listener(app, host="127.0.0.1", port=port, **HOOKS)


def allow_open_files() -> None:
    """As many as the limits above may need; many systems give a process 1,024 unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
