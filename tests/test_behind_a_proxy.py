"""docs/operations.md, "A proxy in front": nginx and Caddy as they are written there, before the real box."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.box import PROJECT, TOKEN_ID, TOKEN_SECRET, Box, Encoder, free_ports, running_box, short_folder
from tests.certificates import Authority, pem
from tests.documents import DOCS, block, blocks_of, rows, section
from tests.waiting import until

DOCUMENT = DOCS / "operations.md"
TEMPLATE = PROJECT / "media/servers/nginx.conf.j2"
HEADING = "A proxy in front"
HOST = "live.example.com"
ELSEWHERE = "127.0.0.9"
TOKEN = "Basic " + b64encode(f"{TOKEN_ID}:{TOKEN_SECRET}".encode()).decode()
FORM = "application/x-www-form-urlencoded"


@dataclass
class Ports:
    https: int
    http: int
    box: int


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]


@dataclass
class Front:
    """What stands in front of the box, as somebody sees it who comes from another address."""

    ports: Ports
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.ports.https}"

    def ask(
        self, method: str, path: str, body: str | None = None, *, tls: bool = True, **headers: str
    ) -> Answer:
        port = self.ports.https if tls else self.ports.http
        raw = socket.create_connection(("127.0.0.1", port), 10, source_address=(ELSEWHERE, 0))
        asking = http.client.HTTPConnection(HOST, port)
        asking.sock = self.trust.wrap_socket(raw, server_hostname=HOST) if tls else raw
        try:
            asking.request(
                method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            reply = asking.getresponse()
            return Answer(reply.status, reply.headers, reply.read())
        finally:
            asking.close()

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        text = None if body is None else json.dumps(body)
        kind = {} if body is None else {"Content_Type": "application/json"}
        return self.ask(method, path, text, Authorization=TOKEN, **kind, **headers)

    def is_up(self) -> bool:
        return self.ask("GET", "/healthz").status == 200


def nginx(folder: Path, ports: Ports, cert: Path, key: Path) -> tuple[list[str], dict[str, str]]:
    text = block(DOCUMENT, "livestream.conf")
    text = re.sub(r"^.*\[::\].*\n", "", text, flags=re.MULTILINE)  # not every machine has IPv6
    for documented, here in (
        ("listen 443 ", f"listen 127.0.0.1:{ports.https} "),
        ("listen 80;", f"listen 127.0.0.1:{ports.http};"),
        (f"/etc/letsencrypt/live/{HOST}/fullchain.pem", str(cert)),
        (f"/etc/letsencrypt/live/{HOST}/privkey.pem", str(key)),
        ("http://127.0.0.1:8080", f"http://127.0.0.1:{ports.box}"),
    ):
        assert documented in text
        text = text.replace(documented, here)
    (folder / "livestream.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""  # the folder is the test's own
    kept = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ {kept} include {folder}/livestream.conf; }}\n"
    )
    return [shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), "-c", f"{folder}/nginx.conf"], {}


def caddy(folder: Path, ports: Ports, cert: Path, key: Path) -> tuple[list[str], dict[str, str]]:
    """With a certificate that it does not have to ask the world for."""
    text = block(DOCUMENT, "Caddyfile").replace("127.0.0.1:8080", f"127.0.0.1:{ports.box}")
    text = text.replace(f"{HOST} {{", f"{HOST} {{\n    tls {cert} {key}")
    options = f"admin off\nhttps_port {ports.https}\nhttp_port {ports.http}\n"
    (folder / "Caddyfile").write_text(f"{{\n{options}}}\n{text}")
    homes = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    return ["caddy", "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"], homes


@pytest.fixture(scope="module")
def https_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def proxied(https_port) -> Iterator[Box]:
    """A box with the settings that the document names, and a port, for a test cannot have 443."""
    [text] = [each.text for each in blocks_of(section(DOCUMENT, HEADING)) if each.language == "text"]
    settings = dict(line.split("=", 1) for line in text.split())
    settings["PUBLIC_URL"] += f":{https_port}"
    with short_folder() as folder, running_box(folder, **settings) as box:
        yield box


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def front(request, proxied, https_port) -> Iterator[Front]:
    if request.param is caddy and not shutil.which("caddy"):
        pytest.skip("caddy is not installed")
    authority = Authority()
    with short_folder() as folder:
        ports = Ports(https_port, free_ports(1)[0], proxied.http_port)
        cert, key = folder / "fullchain.pem", folder / "privkey.pem"
        authority.signed(names=(HOST,)).write(cert, key)
        argv, environment = request.param(folder, ports, cert, key)
        with open(folder / "log", "wb") as log:
            running = subprocess.Popen(
                argv, env=os.environ | environment, stderr=log, stdin=subprocess.DEVNULL
            )
        trust = ssl.create_default_context(cadata=pem(authority.root).decode())
        made = Front(ports, trust)
        try:
            until(lambda: running.poll() is not None or made.is_up(), 20, "it answers")
            assert running.poll() is None, (folder / "log").read_text()[-2000:]
            yield made
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(10)


@pytest.mark.box
def test_somebody_signs_in_to_the_console_and_the_cookie_is_for_https_only(front):
    assert front.ask("GET", "/").status == 200
    form = urlencode({"id": TOKEN_ID, "secret": TOKEN_SECRET})
    signed_in = front.ask("POST", "/", form, Content_Type=FORM, Origin=front.url)
    cookie = signed_in.headers["Set-Cookie"]
    assert (signed_in.status, signed_in.headers["Location"]) == (303, "/console/channels")
    assert {"Secure", "HttpOnly"} <= set(cookie.split("; "))
    assert front.ask("GET", "/console/channels", Cookie=cookie.partition(";")[0]).status == 200
    elsewhere = front.ask("POST", "/", form, Content_Type=FORM, Origin="https://evil.example")
    assert elsewhere.status == 403


@pytest.mark.box
def test_the_clients_own_address_arrives_whatever_it_says_of_itself(front):
    made = front.api("POST", "/v1/live", {"name": "From afar"}, X_Forwarded_For="192.0.2.66").data
    [entry] = front.api("GET", f"/v1/audit?target={made['id']}").data
    assert entry["clientIp"] == ELSEWHERE


@pytest.mark.box
def test_a_broadcast_plays_with_links_that_are_https_and_caches_are_told_what_to_keep(front, proxied):
    made = front.api("POST", "/v1/live", {"name": "Seen", "transcodeProfile": []}).data
    assert made["streamUrl"] == f"rtmp://{HOST}:{proxied.rtmp_port}/live"
    with Encoder(proxied, made["streamToken"]):
        url = proxied.await_status(made["id"], "live")["livestreamUrl"]
        assert url == f"{front.url}/play/{made['id']}/master.m3u8"
        master = front.ask("GET", urlsplit(url).path)
        playlist = front.ask("GET", f"/play/{made['id']}/source.m3u8")
        name = re.search(rb"^ses_.+\.ts$", playlist.body, re.MULTILINE)[0].decode()
        segment = front.ask("GET", f"/play/{made['id']}/{name}")
    told = {cells[0]: cells[1].strip("`") for cells in rows(section(DOCUMENT, HEADING))}
    kept = [told[f"`/play/{{id}}/{path}`"] for path in ("….m3u8", "….m3u8", "ses_…/….ts")]
    assert [each.headers["Cache-Control"] for each in (master, playlist, segment)] == kept
    assert len(segment.body) > 10_000
    events = front.api("GET", f"/v1/event?channelId={made['id']}&event=channel_live").data
    assert [each["livestreamUrl"] for each in events] == [url]


@pytest.mark.box
def test_who_comes_without_tls_is_sent_on(front):
    sent_on = front.ask("GET", "/watch/anything", tls=False)
    assert sent_on.status in (301, 308)
    assert re.match(rf"https://{HOST}(:\d+)?/watch/anything$", sent_on.headers["Location"])


@pytest.mark.box
def test_a_body_that_is_too_large_is_answered_by_the_api(front):
    answer = front.api("POST", "/v1/live", {"name": "x" * 2_000_000})
    assert (answer.status, json.loads(answer.body)["ec"]) == (400, 40000)


def test_what_a_cache_may_keep_is_what_nginx_says():
    said = re.findall(r'add_header Cache-Control "([^"]+)"', TEMPLATE.read_text())
    told = [cells[1].strip("`") for cells in rows(section(DOCUMENT, HEADING))]
    assert told == [each.replace("$kept_by", "public") for each in said]


def test_caddy_takes_the_file_as_it_is_written(tmp_path):
    if not shutil.which("caddy"):
        pytest.skip("caddy is not installed")
    (tmp_path / "Caddyfile").write_text(block(DOCUMENT, "Caddyfile"))
    homes = {name: str(tmp_path) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    subprocess.run(
        ["caddy", "validate", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile"],
        env=os.environ | homes,
        check=True,
        capture_output=True,
        timeout=30,
    )
