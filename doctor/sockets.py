"""Asking the parts of a box over its Unix sockets, and who listens on which port."""

import http.client
import re
import socket
import ssl
import time
import xmlrpc.client
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

TIMEOUT_S = 5.0
EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 (not listened on, but looked for)
WHO = {"Authorization": "Basic " + b64encode(b"local:local").decode()}  # script/supervisord.conf.j2


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes
    took_ms: float


@dataclass(frozen=True)
class Program:
    """One of supervisor's. Times are in seconds since 1970, of its own clock."""

    name: str
    state: str
    started: float
    now: float


@dataclass(frozen=True)
class Holder:
    """Who listens on a port. Of other people's processes there is nothing to see unless by root."""

    pid: int | None
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})" if self.pid else "a process of another user"


def ask(
    method: str,
    host: str,
    port: int,
    path: str,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    unix: Path | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """A request over TCP or, with `unix`, over that socket. Raises OSError, also for what is no HTTP."""
    connection = (
        http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=tls)
        if tls
        else http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    )
    began = time.monotonic()
    try:
        if unix:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(TIMEOUT_S)
            connection.sock.connect(str(unix))
        connection.request(method, path, body, dict(headers or {}))
        reply = connection.getresponse()
        read = reply.read()
        return Answer(reply.status, reply.headers, read, (time.monotonic() - began) * 1000)
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP: {error}") from error
    finally:
        connection.close()


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(TIMEOUT_S)
        try:
            caller.connect(str(path))
        except OSError:
            return False
    return True


def programs(ctl: Path) -> list[Program] | None:
    """What supervisor says of its programs; None where it does not answer."""
    call = xmlrpc.client.dumps((), "supervisor.getAllProcessInfo")
    try:
        answer = ask("POST", "localhost", 0, "/RPC2", call, {"Content-Type": "text/xml"} | WHO, unix=ctl)
    except OSError:
        return None
    (found,), _ = xmlrpc.client.loads(answer.body.decode())
    return [Program(each["name"], each["statename"], each["start"], each["now"]) for each in found]


def holders(host: str, port: int, connections: list[Any]) -> list[Holder]:
    """Who stands in the way of listening there. `connections` are psutil.net_connections("all")."""
    found = [
        each.pid
        for each in connections
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port and _meet(host, each.laddr.ip)
    ]
    return [Holder(pid, _name(pid)) for pid in dict.fromkeys(found)]


def _meet(host: str, other: str) -> bool:
    return (
        host == other or bool({host, other} & EVERYWHERE) or not re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]+", host)
    )


def owners(paths: list[Path], connections: list[Any]) -> set[int]:
    """The processes that have these Unix sockets open."""
    names = {str(path) for path in paths}
    return {
        each.pid for each in connections if each.family == socket.AF_UNIX and each.laddr in names and each.pid
    }


def _name(pid: int | None) -> str:
    try:
        return psutil.Process(pid).name() if pid else ""
    except psutil.Error:
        return "a process that has just ended"
