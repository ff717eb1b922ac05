"""HTTPS and RTMPS on the real box: what is encrypted, whose address arrives, and a renewal under running broadcasts."""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config import from_env
from demo.place import place
from tests.box import FFMPEG, PROJECT, Box, Encoder, running_box, short_folder, source_address
from tests.certificates import Authority, Signed, pem
from tests.test_broadcast import plays
from tests.waiting import until

pytestmark = pytest.mark.box

AUTHORITY = Authority()
ELSEWHERE = "127.0.0.7"
LOOKS_THROUGH_TLS = {"certificate", "picture", "ports", "web"}


class Letsencrypt:
    """A folder as certbot keeps it: links, for root alone, that a renewal changes one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cert, self.key = folder / "fullchain.pem", folder / "privkey.pem"
        self.number = 0
        self.folder.mkdir(mode=0o700)

    def take(self, signed: Signed) -> None:
        self.number += 1
        cert, key = (self.folder / f"{self.number}-{path.name}" for path in (self.cert, self.key))
        signed.write(cert, key)
        self.link(self.cert, cert)
        self.link(self.key, key)

    def link(self, path: Path, target: Path) -> None:
        path.unlink(missing_ok=True)
        path.symlink_to(target.name)


@pytest.fixture(scope="module")
def keeper() -> Iterator[Letsencrypt]:
    with short_folder() as folder:
        (folder / "ca.pem").write_bytes(pem(AUTHORITY.root))
        kept = Letsencrypt(folder / "live")
        kept.take(AUTHORITY.signed())
        yield kept


@pytest.fixture(scope="module")
def secured(keeper) -> Iterator[Box]:
    given = {"TLS_CERT": str(keeper.cert), "TLS_KEY": str(keeper.key)}
    with short_folder() as folder:
        folder.chmod(0o711)  # so that nginx's workers are another user, who could not read certbot's files
        with running_box(folder, keeper.folder.parent / "ca.pem", **given) as running:
            yield running


@pytest.fixture(scope="module")
def on_air(secured) -> Iterator[dict[str, str]]:
    """Two broadcasts, one by RTMPS and from another address, one by RTMP: their channels."""
    made = {way: secured.create() for way in ("rtmps", "rtmp")}
    with (
        source_address(secured.rtmps_port, ELSEWHERE) as port,
        Encoder(secured, made["rtmps"]["streamToken"], tls=True, via_port=port),
        Encoder(secured, made["rtmp"]["streamToken"]),
    ):
        for each in made.values():
            secured.await_status(each["id"], "live")
        yield {way: each["id"] for way, each in made.items()}


def shown(box: Box, port: int, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """The certificate that a new connection is shown; its chain is verified."""
    context = ssl.create_default_context(cafile=box.ca)
    context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        return secured.getpeercert(binary_form=True)


def der(signed: Signed) -> bytes:
    return ssl.PEM_cert_to_DER_cert(signed.leaf.decode())


def histories(box: Box, channels: dict[str, str]) -> list[list[str]]:
    """But for health, which a busy machine changes."""
    every = [[each["event"] for each in box.timeline(channel)] for channel in channels.values()]
    return [[event for event in events if event not in ("unstable", "stable")] for events in every]


def test_the_encoders_own_address_arrives_through_rtmps(secured, on_air):
    found = {way: secured.sessions(channel)[0]["clientIp"] for way, channel in on_air.items()}
    assert found == {"rtmps": ELSEWHERE, "rtmp": "127.0.0.1"}


def test_who_is_stopped_is_cut_off_and_then_refused_by_that_address(secured, on_air):
    made = secured.create()

    def encoder(port: int) -> Encoder:
        return Encoder(secured, made["streamToken"], tls=True, via_port=port)

    with source_address(secured.rtmps_port, ELSEWHERE) as port:
        with encoder(port) as stopped:
            until(lambda: secured.channel(made["id"])["publishing"], 10, "it publishes")
            secured.call("DELETE", f"/v1/live/{made['id']}")
            assert stopped.refused()
        with encoder(port) as late:
            assert late.refused()
    [refused] = [each for each in secured.timeline(made["id"]) if each["event"] == "refused"]
    assert refused["detail"]["clientIp"] == ELSEWHERE


def test_rtmps_does_not_open_to_others_what_is_played_from_this_machine_only(secured, on_air):
    """By its session's name, which is in public playlists; a signed channel must not be had that way."""
    stream = secured.sessions(on_air["rtmp"])[0]["id"]
    with source_address(secured.rtmps_port, ELSEWHERE) as port:
        assert plays(f"rtmps://127.0.0.1:{secured.rtmps_port}/live/{stream}")
        assert not plays(f"rtmps://127.0.0.1:{port}/live/{stream}")


def test_what_is_played_is_encrypted_and_verified(secured, on_air):
    url = secured.channel(on_air["rtmps"])["livestreamUrl"]
    assert url.startswith(secured.url)
    verified = ["-tls_verify", "1", "-ca_file", str(secured.ca)]
    argv = [FFMPEG, "-v", "error", *verified, "-i", url, "-t", "1", "-f", "null", "-"]
    assert subprocess.run(argv, capture_output=True, text=True, timeout=30).stderr == ""


def test_pages_and_calls_are_answered_by_http_2_too(secured, on_air):
    assert f"/watch/{on_air['rtmp']}" in secured.get(f"/watch/{on_air['rtmp']}")
    argv = ["curl", "-sS", "--cacert", str(secured.ca), "-w", "%{http_version}", f"{secured.url}/v1"]
    assert subprocess.run(argv, capture_output=True, text=True, timeout=10).stdout.endswith("}2")


@pytest.mark.parametrize("path", ["/", "/v1/live?length=1", "/play/x.m3u8"])
def test_plain_http_is_sent_to_the_encrypted_address(secured, path):
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    plain = f"http://127.0.0.1:{secured.http_port}{path}"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(Stay).open(plain, timeout=5)
    caught.value.close()
    assert (caught.value.code, caught.value.headers["Location"]) == (308, f"{secured.url}{path}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_ports_show_the_certificate_with_its_chain(secured, version):
    assert shown(secured, secured.http_port, version) == shown(secured, secured.rtmps_port, version)


def test_a_renewal_is_shown_within_seconds_and_disturbs_no_broadcast(secured, on_air, keeper):
    before, sessions = histories(secured, on_air), [secured.sessions(each) for each in on_air.values()]
    media, renewed = secured.pid("media"), AUTHORITY.signed()
    keeper.take(renewed)
    for port in (secured.http_port, secured.rtmps_port):
        until(lambda: shown(secured, port) == der(renewed), 10, f"the new certificate is shown by {port}")  # noqa: B023

    good, wrong = keeper.folder / "good.pem", AUTHORITY.signed()
    keeper.key.rename(good)
    keeper.key.write_bytes(wrong.key_pem)
    until(lambda: "the certificate of before stays in use" in secured.log.read_text(), 20, "it is told")
    assert shown(secured, secured.http_port) == shown(secured, secured.rtmps_port) == der(renewed)
    assert wrong.key_pem.decode() not in secured.log.read_text()
    good.rename(keeper.key)

    assert secured.pid("media") == media
    assert histories(secured, on_air) == before
    for channel, [session] in zip(on_air.values(), sessions, strict=True):
        [now] = secured.sessions(channel)
        assert (now["id"], now["stopTime"]) == (session["id"], None)
        until(lambda: secured.sessions(channel)[0]["bytesIn"] > now["bytesIn"], 10, "it still comes in")  # noqa: B023


def test_doctor_finds_nothing_wrong_but_that_nobody_knows_the_authority(secured, on_air):
    argv = [sys.executable, "-m", "flask", "--app", "app", "doctor", "--json", "--min-free", "1"]
    run = subprocess.run(
        argv, cwd=PROJECT, env=secured.environment, capture_output=True, text=True, timeout=60
    )
    found = [each for each in json.loads(run.stdout)["checks"] if each["check"] in LOOKS_THROUGH_TLS]
    assert [each["found"] for each in found if each["state"] == "warning"] == [
        f"PUBLIC_URL {secured.url} shows a certificate that this machine does not trust "
        "(unable to get local issuer certificate)"
    ]
    well = {each["check"]: each["found"] for each in found if each["state"] == "ok"}
    assert well.keys() == LOOKS_THROUGH_TLS
    assert well["certificate"].endswith(", for 127.0.0.1, and in use")
    assert well["picture"] == "live channels: 2, playlists of 2 answer"
    assert f"RTMPS_PORT {secured.rtmps_port} is ours" in well["ports"]


def test_the_demo_trusts_the_certificate_that_the_box_was_given(secured):
    with place(from_env(secured.environment), secured.environment, PROJECT) as here:
        assert here.call("GET", "/v1/live") == secured.read("/v1/live")


def test_the_way_in_behind_rtmps_is_for_this_machine_alone(secured):
    """Who could speak to it from outside could name any address."""
    text = (secured.data_dir / "run/nginx.conf").read_text()
    [relay] = [line.split()[1] for line in text.splitlines() if line.endswith("proxy_protocol;")]
    host, _, port = relay.partition(":")
    assert host == "127.0.0.1"
    with contextlib.suppress(OSError), socket.create_connection((ELSEWHERE, int(port)), timeout=2):
        pytest.fail("it listens on more than one address")
