"""Many guarded POSTs at once, on one thread: libcurl's multi interface driven by a selector.

Each has one deadline for everything, from the name look-up to the last byte; goes where the policy allows by
the address really dialled; follows nothing; and reads no more of an answer than a receiver has reason to send.
"""

import re
import selectors
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pycurl

from delivery.policy import Policy, literal
from delivery.queue import ANSWER_KEPT, Outcome
from delivery.resolver import Found, Resolver

DEADLINE_S = 10.0
CONNECT_MS = 5000
ANSWER_READ = 64 * 1024
AGENT = "Livestream-Webhook/1.0"
MOVED_S = 60  # a kept connection is given up by then, so that a receiver that moved is looked up again
KEPT_CONNECTIONS = 128


class Transfer:
    """One POST on its way. `tag` is the caller's, to know it again."""

    def __init__(
        self, tag: Any, url: str, headers: Mapping[str, str], body: bytes, started: datetime, policy: Policy
    ) -> None:
        self.tag = tag
        self.url = url
        self.headers = headers
        self.body = body
        self.started = started
        self.policy = policy
        self.clock = time.monotonic()
        self.answer = b""
        self.read = 0
        self.retry_after: str | None = None
        self.refused: str | None = None

    def open_socket(self, purpose: int, where: Any) -> Any:
        host, port = where.addr[:2]
        self.refused = self.policy.refusal(host, port)
        if self.refused:
            return pycurl.SOCKET_BAD
        try:
            return _Lent(where.family, where.socktype, where.protocol)
        except OSError as error:  # pycurl would print a traceback, and say nothing of the reason
            self.refused = f"no connection: {error.strerror}"
            return pycurl.SOCKET_BAD

    def take_header(self, line: bytes) -> None:
        if line.startswith(b"HTTP/"):
            self.retry_after = None
        elif line[:12].lower() == b"retry-after:":
            self.retry_after = line[12:].strip()[:64].decode("latin-1")

    def take_body(self, part: bytes) -> int | None:
        self.answer += part[: ANSWER_KEPT - len(self.answer)]
        self.read += len(part)
        return 0 if self.read > ANSWER_READ else None  # anything but None or the length ends the transfer

    def outcome(self, curl: pycurl.Curl, code: int, message: str) -> Outcome:
        status = curl.getinfo(pycurl.RESPONSE_CODE) or None
        # An answer longer than we read is cut off by us and judged by its status like any other.
        enough = code == pycurl.E_WRITE_ERROR and self.read > ANSWER_READ
        error = None if code == pycurl.E_OK or enough else self.refused or _in_words(code, message)
        if error is None and status and 300 <= status < 400:
            error = "redirects are not followed"
        return Outcome(
            self.started,
            status_code=status,
            latency_ms=self.waited_ms(),
            answer=self.answer,
            retry_after=self.retry_after,
            error=error,
        )

    def unsent(self, error: str) -> Outcome:
        return Outcome(self.started, latency_ms=self.waited_ms(), error=error)

    def waited_ms(self) -> int:
        return round((time.monotonic() - self.clock) * 1000)


class _Lent(socket.socket):
    """pycurl duplicates the descriptor and lets go of this object, which then closes its own."""

    def __del__(self) -> None:
        with suppress(AttributeError):  # it was never made: no descriptor was left
            self.close()


class Sender:
    """Not thread-safe but for `wake`: the thread that made it starts, waits and closes."""

    def __init__(self, policy: Policy, deadline: float = DEADLINE_S, ca_file: str | None = None) -> None:
        self.policy = policy
        self.deadline = deadline
        # The pycurl wheel looks for certificates where its builder had them.
        self.ca_file = ca_file or ssl.get_default_verify_paths().cafile or _debian_ca_file()
        self.selector = selectors.DefaultSelector()
        self.bell, self.button = socket.socketpair()
        for end in (self.bell, self.button):
            end.setblocking(False)
        self.selector.register(self.bell, selectors.EVENT_READ)
        self.multi = pycurl.CurlMulti()
        self.multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self.multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self.multi.setopt(pycurl.M_MAXCONNECTS, KEPT_CONNECTIONS)
        self.timer: float | None = None
        self.resolver = Resolver(self.wake)
        self.unresolved: dict[str, list[Transfer]] = {}
        self.running: dict[pycurl.Curl, Transfer] = {}
        self.idle: list[pycurl.Curl] = []

    def start(self, tag: Any, url: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        transfer = Transfer(tag, url, headers, body, now, self.policy)
        host = urlsplit(url).hostname or ""
        if literal(host):
            self._launch(transfer, None)
        elif found := self.resolver.known(host):
            self._launch(transfer, found)
        else:
            self.unresolved.setdefault(host, []).append(transfer)

    def wait(self, timeout: float) -> list[tuple[Any, Outcome]]:
        """Drive all transfers until something happens or the time is over; returns those that are done."""
        ends = [self._end(transfer) for transfers in self.unresolved.values() for transfer in transfers]
        for moment in ends if self.timer is None else [*ends, self.timer]:
            timeout = min(timeout, max(0.0, moment - time.monotonic()))
        for key, ready in self.selector.select(timeout):
            if key.fileobj is self.bell:
                self._unring()
            else:
                bits = (pycurl.CSELECT_IN if ready & selectors.EVENT_READ else 0) | (
                    pycurl.CSELECT_OUT if ready & selectors.EVENT_WRITE else 0
                )
                self.multi.socket_action(key.fd, bits)
        if self.timer is not None and time.monotonic() >= self.timer:
            self.timer = None
            self.multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        return [*self._finished(), *self._resolved(), *self._given_up()]

    def wake(self) -> None:
        """End a wait early; from any thread."""
        with suppress(OSError):  # full: it is ringing already; closed: nobody waits any more
            self.button.send(b"!")

    def abandon(self) -> list[tuple[Any, datetime]]:
        """Break off what is in flight; returns each with the time at which it was started."""
        unresolved = [transfer for transfers in self.unresolved.values() for transfer in transfers]
        broken = [(each.tag, each.started) for each in [*self.running.values(), *unresolved]]
        self.unresolved.clear()
        for curl in list(self.running):
            self._retire(curl)
        return broken

    def close(self) -> None:
        self.abandon()
        for curl in self.idle:
            curl.close()
        self.multi.close()
        self.selector.close()
        self.bell.close()
        self.button.close()

    def _launch(self, transfer: Transfer, found: Found | None) -> None:
        curl = self.idle.pop() if self.idle else pycurl.Curl()
        try:
            self._prepare(curl, transfer)
            if found:
                port = urlsplit(transfer.url).port or (443 if transfer.url[:5].lower() == "https" else 80)
                addresses = ",".join(f"[{each}]" if ":" in each else each for each in found.addresses)
                curl.setopt(pycurl.RESOLVE, [f"{found.name}:{port}:{addresses}"])
            self.multi.add_handle(curl)
        except BaseException:
            curl.close()
            raise
        self.running[curl] = transfer

    def _prepare(self, curl: pycurl.Curl, transfer: Transfer) -> None:
        curl.setopt(pycurl.URL, transfer.url)
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.POSTFIELDS, transfer.body)
        sent = {"Content-Type": "application/json", "User-Agent": AGENT} | transfer.headers
        # Without "Expect:" curl would hold a long body back for a second to ask whether it is welcome.
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in sent.items()] + ["Expect:"])
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.PROXY, "")  # a proxy of the environment would dial in our place, past the policy
        curl.setopt(pycurl.OPENSOCKETFUNCTION, transfer.open_socket)
        left_ms = max(1, round((self._end(transfer) - time.monotonic()) * 1000))
        curl.setopt(pycurl.TIMEOUT_MS, left_ms)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, min(CONNECT_MS, left_ms))
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.MAXLIFETIME_CONN, MOVED_S)
        curl.setopt(pycurl.HEADERFUNCTION, transfer.take_header)
        curl.setopt(pycurl.WRITEFUNCTION, transfer.take_body)
        if self.ca_file:
            curl.setopt(pycurl.CAINFO, self.ca_file)

    def _end(self, transfer: Transfer) -> float:
        return transfer.clock + self.deadline

    def _resolved(self) -> Iterator[tuple[Any, Outcome]]:
        for found in self.resolver.take():
            for transfer in self.unresolved.pop(found.name, []):
                if found.error:
                    yield transfer.tag, transfer.unsent(found.error)
                else:
                    self._launch(transfer, found)

    def _given_up(self) -> Iterator[tuple[Any, Outcome]]:
        """Those whose name took the whole deadline."""
        now = time.monotonic()
        for name, transfers in list(self.unresolved.items()):
            over = [transfer for transfer in transfers if self._end(transfer) <= now]
            self.unresolved[name] = [transfer for transfer in transfers if transfer not in over]
            if not self.unresolved[name]:
                del self.unresolved[name]
            for transfer in over:
                yield transfer.tag, transfer.unsent(f"timeout: {name} was not resolved in time")

    def _finished(self) -> Iterator[tuple[Any, Outcome]]:
        while True:
            left, done, failed = self.multi.info_read()
            for curl, code, message in [(curl, pycurl.E_OK, "") for curl in done] + failed:
                transfer = self.running[curl]
                outcome = transfer.outcome(curl, code, message)
                self._retire(curl)
                yield transfer.tag, outcome
            if not left:
                return

    def _retire(self, curl: pycurl.Curl) -> None:
        del self.running[curl]
        self.multi.remove_handle(curl)
        curl.reset()
        self.idle.append(curl)

    def _watch(self, what: int, fd: int, multi: Any, data: Any) -> None:
        """libcurl says which socket it waits for, and for what."""
        if what == pycurl.POLL_REMOVE:
            # libcurl may have closed it before it says so, and then the selector has dropped it.
            with suppress(KeyError, OSError):
                self.selector.unregister(fd)
            return
        wanted = (selectors.EVENT_READ if what & pycurl.POLL_IN else 0) | (
            selectors.EVENT_WRITE if what & pycurl.POLL_OUT else 0
        )
        if fd in self.selector.get_map():
            self.selector.modify(fd, wanted)
        else:
            self.selector.register(fd, wanted)

    def _set_timer(self, milliseconds: int) -> None:
        self.timer = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def _unring(self) -> None:
        try:
            while self.bell.recv(4096):
                pass
        except BlockingIOError:
            pass


def _in_words(code: int, message: str) -> str:
    kind = {
        pycurl.E_OPERATION_TIMEDOUT: "timeout",
        pycurl.E_COULDNT_RESOLVE_HOST: "name not found",
        pycurl.E_COULDNT_CONNECT: "no connection",
        pycurl.E_SSL_CONNECT_ERROR: "TLS",
        pycurl.E_PEER_FAILED_VERIFICATION: "certificate",
        pycurl.E_GOT_NOTHING: "closed without an answer",
        pycurl.E_RECV_ERROR: "connection broken",
        pycurl.E_SEND_ERROR: "connection broken",
        pycurl.E_PARTIAL_FILE: "answer cut short",
    }.get(code, "not HTTP as we know it")
    return f"{kind}: {re.sub(r'[^ -~]+', ' ', message)[:200]}"


def _debian_ca_file() -> str | None:
    path = Path("/etc/ssl/certs/ca-certificates.crt")
    return str(path) if path.exists() else None
