"""Where the demo takes place: on the box that runs with these settings, or on one of its own in a folder that goes
again. Asked over the public port, as App Servers and players ask."""

import http.client
import json
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from auth import create_token, revoke_token
from config import Config, bracketed
from db import connection, utcnow
from demo.telling import report
from media.tls import trusting
from upkeep import opening

START_S = 600.0  # a first start installs what is missing
STOP_S = 60.0
ASK_S = 15.0
TOKEN_FOR = timedelta(hours=24)
DOCTOR = "flask --app app doctor says what to do."
NOT_THE_DEMOS = (
    "DATABASE_URL",
    "DATABASE_PASSWORD",
    "DATABASE_PASSWORD_FILE",
    "PUBLIC_URL",
    "RTMP_URL",
    "HOOK_PORT",
    "LIVE_TOKEN_ID_FILE",
    "LIVE_TOKEN_SECRET_FILE",
    "NODE",
)
STORE = "S3_"  # how its settings begin: nothing of the demo is to be found in a real bucket


class DemoError(Exception):
    """Why the demo cannot go on, in a sentence or two."""


@dataclass(frozen=True)
class Place:
    """A box, and a token for it."""

    host: str
    http_port: int
    rtmp_port: int
    public_url: str
    authorization: str
    tls: ssl.SSLContext | None

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The data of an answer of success."""
        status, answer = self.ask(method, path, body)
        told = json.loads(answer) if answer else {"ec": 0, "data": None}
        if told["ec"]:
            raise DemoError(f"{method} {path} was answered {status}: {told['msg']}")
        return told["data"]

    def get(self, url: str) -> bytes | None:
        """What is below PUBLIC_URL, asked for here: a router in between may know the way from outside only."""
        status, answer = self.ask("GET", url.removeprefix(self.public_url), None)
        return answer if status == 200 else None

    def ask(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body)
        return ask(self.host, self.http_port, method, path, sent, headers, tls=self.tls)

    def rtmp(self, stream_token: str) -> str:
        return f"rtmp://{bracketed(self.host)}:{self.rtmp_port}/live/{stream_token}"


@contextmanager
def place(config: Config, environ: Mapping[str, str], project: Path) -> Iterator[Place]:
    if state := readiness(config):
        with on_the_box_that_runs(config, state) as here:
            yield here
    else:
        with on_a_box_of_its_own(config, environ, project) as here:
            yield here


@contextmanager
def on_the_box_that_runs(config: Config, state: tuple[int, bytes]) -> Iterator[Place]:
    status, body = state
    if status != 200:
        raise DemoError(
            f"The box on port {config.port} is not ready ({body.decode(errors='replace').strip()}): {DOCTOR}"
        )
    if config.media_server == "none":
        raise DemoError("MEDIA_SERVER is none: this box takes no broadcasts.")
    report(f"A box runs on {config.host}:{config.port}; the demo is on it.")
    if config.token_id and config.token_secret:
        yield _at(config, config.token_id, config.token_secret)
        return
    if not _is_of(config):
        raise DemoError(
            f"What runs on port {config.port} has another DATA_DIR than {config.data_dir}: set DATA_DIR."
        )
    try:
        with opening.opened(config, utcnow(), thorough=False):
            yield from _with_a_token(config)
    except (*opening.PROBLEMS, OSError) as error:
        raise DemoError(f"DATA_DIR cannot be used: {error}. {DOCTOR}") from error


def _with_a_token(config: Config) -> Iterator[Place]:
    fields = {"role": "app", "account_id": None, "expires_at": utcnow() + TOKEN_FOR, "name": "script/demo"}
    with connection():
        token, secret = create_token(fields, utcnow())
    try:
        yield _at(config, token.id, secret)
    finally:
        with connection():
            revoke_token(token.id, utcnow())


@contextmanager
def on_a_box_of_its_own(config: Config, environ: Mapping[str, str], project: Path) -> Iterator[Place]:
    token_id, secret = "demo", secrets.token_urlsafe(32)
    port, http_port, rtmp_port, rtmps_port = _free(
        [config.port, config.http_port, config.rtmp_port, config.rtmps_port]
    )
    folder = Path(tempfile.mkdtemp(prefix="livestream-demo-"))
    folder.chmod(0o711)  # for nginx's workers, who are another user
    own = settings_of_its_own(environ)
    own |= {"DATA_DIR": str(folder / "data"), "MEDIA_SERVER": "nginx-rtmp", "WEBHOOK_ALLOW_PRIVATE": "1"}
    own |= {"PORT": str(port), "HTTP_PORT": str(http_port), "RTMP_PORT": str(rtmp_port)}
    own["RTMPS_PORT"] = str(rtmps_port)
    own |= {"LIVE_TOKEN_ID": token_id, "LIVE_TOKEN_SECRET": secret}
    public_url = config.public_url.replace(f":{config.http_port}", f":{http_port}")
    own["PUBLIC_URL"] = public_url if config.media_server != "none" else f"http://127.0.0.1:{http_port}"
    here = replace(config, port=port, http_port=http_port, rtmp_port=rtmp_port, public_url=own["PUBLIC_URL"])
    report(
        f"No box answers on {config.host}:{config.port}: starting one in {folder} for the time of the demo."
    )
    log = folder / "box.log"
    try:
        with open(log, "wb") as out:
            box = subprocess.Popen(
                [project / "script/server"],
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _await(here, box, log)
            report("It is ready.")
            yield _at(here, token_id, secret)
        finally:
            _stop(box)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def settings_of_its_own(environ: Mapping[str, str]) -> dict[str, str]:
    """Those of the real box that its own may have, too."""
    return {
        name: value
        for name, value in environ.items()
        if name not in NOT_THE_DEMOS and not name.startswith(STORE)
    }


def _await(config: Config, box: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while (state := readiness(config)) is None or state[0] != 200:
        if box.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise DemoError("The box did not start:\n  " + "\n  ".join(said))
        time.sleep(0.1)


def _stop(box: subprocess.Popen[bytes]) -> None:
    report("Stopping the box.")
    box.send_signal(signal.SIGINT)
    try:
        box.wait(STOP_S)
    except subprocess.TimeoutExpired:
        box.terminate()
        box.wait(STOP_S)


def _at(config: Config, token_id: str, secret: str) -> Place:
    return Place(
        _here(config.media_bind),
        config.http_port,
        config.rtmp_port,
        config.public_url,
        "Basic " + b64encode(f"{token_id}:{secret}".encode()).decode(),
        trusting(config),
    )


def _here(bind: str | None) -> str:
    """An address to connect to, of one to listen on."""
    return {None: "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104


def _free(wanted: list[int]) -> list[int]:
    """These ports, or others where somebody listens; all held until each is chosen, so that none is chosen twice."""
    held = [socket.socket() for _ in wanted]
    try:
        for each, port in zip(held, wanted, strict=True):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                each.bind(("", port))
            except OSError:
                each.bind(("", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def readiness(config: Config) -> tuple[int, bytes] | None:
    """What /readyz answers; None where nobody does."""
    try:
        return ask(_here(config.host), config.port, "GET", "/readyz", None, {})
    except DemoError:
        return None


def _is_of(config: Config) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(str(config.hook_socket))
        except OSError:
            return False
    return True


def ask(
    host: str,
    port: int,
    method: str,
    path: str,
    body: str | None,
    headers: Mapping[str, str],
    *,
    tls: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    connection = (
        http.client.HTTPSConnection(host, port, timeout=ASK_S, context=tls)
        if tls
        else http.client.HTTPConnection(host, port, timeout=ASK_S)
    )
    try:
        connection.request(method, path, body, dict(headers))
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(f"No answer from {host}:{port} to {method} {path}: {error}") from error
    finally:
        connection.close()
