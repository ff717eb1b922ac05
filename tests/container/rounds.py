"""What a container has to live through: by itself with SQLite, and as compose.yml has it with PostgreSQL."""

import json
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.box import FFMPEG
from tests.certificates import Authority, pem
from tests.container.chroot import Image
from tests.container.compose import load, mounts, seconds
from tests.container.running import Container
from tests.container.server import Server
from tests.waiting import until

WEB, RTMPS = 8080, 1936
PUBLIC_URL, SECURE_URL = f"http://127.0.0.1:{WEB}", f"https://127.0.0.1:{WEB}"
STOP_S = 150.0
CHANNELS = "SELECT string_agg(id, ' ' ORDER BY id) FROM channel"
IPV6_OFF = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
# With what an address would stumble over.
PASSWORD, ROOT_TOKEN = "p@ss/w%rd:with#all", "a-root-token-for-tests"
Say = Callable[[str], None]


def alone(image: Image, folder: Path, say: Say) -> str:
    """docker run, with SQLite, on a network without IPv6, which is what an engine's own is. Returns the root token."""
    folder.mkdir()
    IPV6_OFF.write_text("1")
    volumes = {place: folder / f"volume-{number}" for number, place in enumerate(image.volumes)}
    without = Container(image, folder / "without", {}, volumes)
    without.start()
    assert without.process.wait(30) == 1
    assert without.told().startswith("PUBLIC_URL is missing"), without.told()
    say("without PUBLIC_URL it is refused in a sentence")
    container = Container(image, folder / "container", {"PUBLIC_URL": PUBLIC_URL}, volumes)
    with ending(container):
        container.start()
        say(f"healthy {container.await_healthy():.1f} s after the start")
        token, secret = first_token(container)
        lives(container, f"{token}:{secret}", say)
        file = f"{image.volumes[0]}/box.tar"
        backed_up = container.run("flask", "backup", file)
        assert backed_up.returncode == 0, backed_up.stderr
        say("flask backup has written into the volume")
        comes_back(container, f"{token}:{secret}", say)
        once(container, "flask", "restore", file)
        say("flask restore has put back what was before")
    IPV6_OFF.write_text("0")
    return f"{token}:{secret}"


def with_compose(image: Image, project: Path, before: Path, token: str, folder: Path, say: Say) -> None:
    """docker compose up, after the SQLite of `before` has been moved to its PostgreSQL."""
    folder.mkdir()
    [had] = before.glob("volume-*")
    had.rename(folder / "livestream")
    services = load(project / "compose.yml", {"PUBLIC_URL": PUBLIC_URL})["services"]
    server = Server(services["postgres"], project, folder / "server", PASSWORD)
    server.folder.mkdir()
    service = services["livestream"]
    assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    container = Container(
        image,
        folder / "container",
        service["environment"],
        {place: folder / name for place, name in mounts(service).items()},
        secrets={"database_password": PASSWORD, "root_token": ROOT_TOKEN},
        hosts=["postgres"],
        tmpfs=service["tmpfs"],
        read_only=service["read_only"],
    )
    with ending(server), ending(container):
        server.start()
        server.await_healthy()
        say("PostgreSQL is healthy, and its database made as ops/postgresql.sql has it")
        assert server.refuses("livestream", "another", "livestream")
        assert server.refuses("postgres", PASSWORD, "postgres")
        once(container, "flask", "move-to-postgresql", f"{image.volumes[0]}/livestream.db")
        container.start()
        say(f"healthy {container.await_healthy():.1f} s after the start")
        moved = {each["name"] for each in call("GET", "/v1/live", token)}
        assert {"A broadcast", "Killed"} & moved == {"A broadcast"}, moved
        say("what SQLite had is there, and its root token opens it")
        assert server.ask("livestream", "SELECT rolsuper FROM pg_roles WHERE rolname = 'livestream'") == "f"
        lives(container, f"root:{ROOT_TOKEN}", say)
        then, dump = server.ask("livestream", CHANNELS), server.dump("livestream")
        said = container.told()
        assert PASSWORD not in said
        assert ROOT_TOKEN not in said
        comes_back(container, f"root:{ROOT_TOKEN}", say, seconds(service["stop_grace_period"]))
        assert server.ask("livestream", CHANNELS) != then
        server.restore("livestream", dump)
        assert server.ask("livestream", CHANNELS) == then
        say("pg_restore has put back what was before")
        with_tls(container, folder / "tls", say)


def with_tls(container: Container, folder: Path, say: Say) -> None:
    """As docs/container.md has it: the files are not the user's own, its group reads them."""
    folder.mkdir()
    authority = Authority()
    authority.signed().write(folder / "fullchain.pem", folder / "privkey.pem")
    (folder / "ca.pem").write_bytes(pem(authority.root))
    for name in ("fullchain.pem", "privkey.pem"):
        os.chown(folder / name, 0, int(container.image.user.split(":")[1]))
        (folder / name).chmod(0o440)
    mount = container.image.folder / "tls"
    mount.mkdir(exist_ok=True)
    told = {"TLS_CERT": "/tls/fullchain.pem", "TLS_KEY": "/tls/privkey.pem", "PUBLIC_URL": SECURE_URL}
    secured = replace(
        container,
        environment=dict(container.environment) | told,
        volumes=dict(container.volumes) | {"/tls": folder},
        process=None,
    )
    with ending(secured):
        secured.start()
        secured.await_healthy()
        trusted = ssl.create_default_context(cafile=folder / "ca.pem")
        with urllib.request.urlopen(f"{SECURE_URL}/v1", timeout=10, context=trusted) as reply:
            assert reply.status == 200
        with socket.create_connection(("127.0.0.1", RTMPS), timeout=10) as plain:
            trusted.wrap_socket(plain, server_hostname="127.0.0.1").close()
        assert secured.stop(STOP_S)[0] == 0
    mount.rmdir()
    say("HTTPS and RTMPS with a certificate that is mounted")


@contextmanager
def ending(part: Container | Server) -> Iterator[None]:
    try:
        yield
    finally:
        part.end()


def once(container: Container, *command: str) -> None:
    """docker run --rm, with the volumes and settings of a container that does not run."""
    other = replace(container, image=replace(container.image, command=list(command)), process=None)
    other = replace(other, folder=container.folder.with_name(command[1]))
    with ending(other):
        other.start()
        assert other.process.wait(120) == 0, other.told()


def first_token(container: Container) -> tuple[str, str]:
    """As a person finds it in the log."""
    said = container.told()
    return tuple(re.search(rf"{name}\s+(\S+)", said)[1] for name in ("LIVE_TOKEN_ID", "LIVE_TOKEN_SECRET"))


def lives(container: Container, token: str, say: Say) -> None:
    """A broadcast from outside is seen, and every part is well in the eyes of those who look from inside."""
    made = call("POST", "/v1/live", token, {"name": "A broadcast"})
    began = time.monotonic()
    with encoding(f"{made['streamUrl']}/{made['streamToken']}"):
        until(lambda: call("GET", f"/v1/live/{made['id']}", token)["status"] == "live", 30, "it is live")
        say(f"live {time.monotonic() - began:.1f} s after the encoder started")
        listed = until(lambda: fetched(f"/play/{made['id']}/source.m3u8").decode(), 10, "a playlist")
        [*_, segment] = [line for line in listed.splitlines() if line and not line.startswith("#")]
        assert fetched(f"/play/{made['id']}/{segment}")[0] == 0x47, "a segment of MPEG-TS"
        looked = container.run("flask", "doctor", "--json")
        assert looked.returncode == 0, looked.stdout + looked.stderr
        say("flask doctor has found nothing that failed")
    shown = container.run("script/demo", timeout=300)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    say("script/demo has shown all of it, leg by leg")
    until(lambda: container.zombies() == [], 10, "nothing that has ended is left unnoticed")
    assert b"Livestream" in fetched("/")
    assert len(fetched("/static/vendor/hls.min.js")) > 100_000
    as_json = [line for line in container.told().splitlines() if line.startswith("{")]
    assert {"ready", "live"} <= {json.loads(line).get("event") for line in as_json}


def comes_back(container: Container, token: str, say: Say, grace_s: float = STOP_S) -> None:
    """Stopped in order; started again with its volume; killed outright, and started again."""
    before = {each["id"] for each in call("GET", "/v1/live", token)}
    made = call("POST", "/v1/live", token, {"name": "Cut off"})
    with encoding(f"{made['streamUrl']}/{made['streamToken']}"):
        until(lambda: call("GET", f"/v1/live/{made['id']}", token)["status"] == "live", 30, "it is live")
        status, took = container.stop(grace_s)
    assert status == 0, status
    assert "Stopped." in container.told().splitlines()[-1]
    say(f"stopped in order within {took:.1f} s, while somebody published")
    container.start()
    say(f"healthy {container.await_healthy():.1f} s after the second start")
    assert before | {made["id"]} == {each["id"] for each in call("GET", "/v1/live", token)}
    made = call("POST", "/v1/live", token, {"name": "Killed"})
    with encoding(f"{made['streamUrl']}/{made['streamToken']}"):
        until(lambda: call("GET", f"/v1/live/{made['id']}", token)["status"] == "live", 30, "it is live")
        container.kill()
    container.start()
    say(f"healthy {container.await_healthy():.1f} s after the start that followed a kill")
    with encoding(f"{made['streamUrl']}/{made['streamToken']}"):
        until(
            lambda: call("GET", f"/v1/live/{made['id']}", token)["status"] == "live", 30, "it is live again"
        )
    say("a channel that was live when it was killed has gone on")
    assert container.stop(grace_s)[0] == 0


@contextmanager
def encoding(url: str) -> Iterator[None]:
    command = (
        *(FFMPEG, "-nostdin", "-loglevel", "error", "-re"),
        *("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "sine"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac"),
        *("-f", "flv", url),
    )
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    with subprocess.Popen(command, **quiet) as encoder:
        try:
            yield
        finally:
            encoder.terminate()


def call(method: str, path: str, token: str, body: Any = None) -> Any:
    request = urllib.request.Request(f"{PUBLIC_URL}{path}", method=method)
    request.add_header("Authorization", f"Basic {b64encode(token.encode()).decode()}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)["data"]


def fetched(path: str) -> bytes:
    """Empty where there is nothing."""
    try:
        with urllib.request.urlopen(f"{PUBLIC_URL}{path}", timeout=10) as reply:
            return reply.read()
    except urllib.error.HTTPError as error:
        error.close()
        return b""
