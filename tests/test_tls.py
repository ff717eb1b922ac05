"""TLS_CERT and TLS_KEY: which are taken, what is said of the others, and how a renewal is taken over."""

import logging
import os
import ssl
import stat
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import doctor
from config import Config, ConfigError, from_env
from media import tls
from media.servers import nginx_rtmp
from media.storage import make_folders, media_server_user
from metrics import exposition
from tests.certificates import DAY, NAMES, Authority
from tests.conftest import ROOT_ID, ROOT_SECRET, prepared_app
from tests.person import Fields, Person
from tests.test_setup_scripts import prepare

AUTHORITY = Authority()


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    return tmp_path / "cert.pem", tmp_path / "key.pem"


@pytest.fixture
def encrypted(config, files) -> Config:
    """An installation with a certificate that is well."""
    make_folders(config)
    AUTHORITY.signed().write(*files)
    return replace(config, tls_cert=files[0], tls_key=files[1], public_url="https://live.example")


# Settings.


def settings(**environ: str) -> Config:
    given = {"MEDIA_SERVER": "nginx-rtmp", "TLS_CERT": "/a/cert.pem", "TLS_KEY": "/a/key.pem"}
    return from_env(given | environ)


def test_with_a_certificate_the_addresses_are_encrypted_ones():
    config = settings(HTTP_PORT="8443")
    assert config.public_url.startswith("https://")
    assert config.public_url.endswith(":8443")
    assert config.rtmp_url.startswith("rtmp://")
    host = config.public_url.removeprefix("https://").removesuffix(":8443")
    assert config.rtmps_url == f"rtmps://{host}:1936/live"
    named = settings(PUBLIC_URL="https://live.example", RTMP_URL="rtmp://in.example/live", RTMPS_PORT="443")
    assert named.rtmps_url == "rtmps://in.example:443/live"


def test_without_one_nothing_is_encrypted():
    config = settings(TLS_CERT="", TLS_KEY="")
    assert config.public_url.startswith("http://")
    assert config.rtmps_url is None


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"TLS_KEY": ""}, "TLS_CERT and TLS_KEY go together; TLS_KEY is missing."),
        ({"TLS_CERT": ""}, "TLS_CERT and TLS_KEY go together; TLS_CERT is missing."),
        ({"MEDIA_SERVER": "none"}, "TLS_CERT needs a MEDIA_SERVER"),
        ({"RTMPS_PORT": "1935"}, "RTMPS_PORT and RTMP_PORT are the same port, 1935."),
        ({"RTMPS_PORT": "x"}, "RTMPS_PORT must be a port"),
        ({"PUBLIC_URL": "http://live.example"}, "PUBLIC_URL must be a plain https URL"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ, said):
    with pytest.raises(ConfigError) as caught:
        settings(**environ)
    assert [problem for problem in caught.value.problems if problem.startswith(said)]


def test_rtmps_port_may_be_anybodys_where_there_is_no_certificate():
    assert settings(TLS_CERT="", TLS_KEY="", RTMP_PORT="1936").rtmp_port == 1936


# Pairs.


def test_a_chain_and_its_key_are_taken(encrypted):
    pair = tls.load(encrypted)
    assert pair.text.count(b"BEGIN CERTIFICATE") == 2
    assert pair.text.count(b"PRIVATE KEY") == 2
    assert tls.covers(pair.certificate, "live.example")


def test_one_file_may_hold_both_and_a_key_its_parameters(encrypted, files):
    signed = AUTHORITY.signed()
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    files[0].write_bytes(parameters + signed.key_pem + signed.chain)
    pair = tls.load(replace(encrypted, tls_key=files[0]))
    assert pair.text == signed.chain + signed.key_pem


def weak(bits: int = 1024) -> tuple[bytes, bytes]:
    told = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", f"rsa:{bits}", "-nodes", "-keyout", "-", "-subj", "/CN=x"],
        capture_output=True,
        check=True,
    ).stdout
    return told, told


ONE, OTHER = AUTHORITY.signed(), AUTHORITY.signed()
UNUSABLE = {
    "no certificate": (b"", ONE.key_pem, "TLS_CERT holds no certificate in PEM: "),
    "damaged": (ONE.chain[:200], ONE.key_pem, "TLS_CERT holds no certificate in PEM: "),
    "no key": (ONE.chain, ONE.chain, "TLS_KEY holds no private key in PEM: "),
    "damaged key": (ONE.chain, ONE.key_pem.replace(b"M", b"N"), "TLS_CERT and TLS_KEY cannot be used: "),
    "another's": (ONE.chain, OTHER.key_pem, "TLS_KEY is not the key of the first certificate in TLS_CERT"),
    "backwards": (ONE.backwards, ONE.key_pem, "TLS_KEY is not the key of the first certificate in TLS_CERT"),
    "locked": (ONE.chain, ONE.locked(), "TLS_KEY has a passphrase"),
    "weak": (*weak(), "TLS_CERT and TLS_KEY cannot be used: EE_KEY_TOO_SMALL."),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_nginx_could_not_use_is_refused_in_a_sentence(encrypted, files, name):
    chain, key, said = UNUSABLE[name]
    files[0].write_bytes(chain)
    files[1].write_bytes(key)
    with pytest.raises(tls.TlsError) as caught:
        tls.load(encrypted)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_that_is_not_there_is_named(encrypted, files, which):
    files[which].unlink()
    with pytest.raises(tls.TlsError, match="cannot be read: No such file or directory: ") as caught:
        tls.load(encrypted)
    assert str(files[which]) in str(caught.value)


def test_the_start_is_refused_with_that_sentence(encrypted, files):
    files[1].write_bytes(OTHER.key_pem)
    answer = prepare(
        DATA_DIR=str(encrypted.data_dir),
        MEDIA_SERVER="nginx-rtmp",
        RTMPS_PORT="11936",
        PORT="18000",
        HTTP_PORT="18080",
        RTMP_PORT="11935",
        TLS_CERT=str(files[0]),
        TLS_KEY=str(files[1]),
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith("TLS_KEY is not the key of the first certificate")


# The copy.


def test_the_copy_is_for_the_media_servers_workers_alone(encrypted):
    tls.install(encrypted)
    found = encrypted.tls_file.stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == (media_server_user().pw_uid if os.geteuid() == 0 else os.geteuid())
    assert sorted(path.name for path in encrypted.run_dir.glob("*tls*")) == ["tls.pem"]


def test_a_renewal_is_taken_over_whole(encrypted, files):
    renewal = tls.Renewal(encrypted)
    renewal.look()
    before = tls.in_use(encrypted)
    renewal.look()
    assert tls.in_use(encrypted) == before
    renewed = AUTHORITY.signed()
    renewed.write(*files)
    renewal.look()
    assert tls.in_use(encrypted) == renewed.certificate
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(encrypted.tls_file)


def test_a_bad_renewal_is_told_once_and_leaves_what_was(encrypted, files, caplog):
    renewal = tls.Renewal(encrypted)
    renewal.look()
    before = encrypted.tls_file.read_bytes()
    caplog.set_level(logging.INFO, "media.tls")
    caplog.clear()
    files[0].write_bytes(OTHER.chain)
    renewal.look()
    assert caplog.messages == [], "the key may be written in a moment"
    for _ in range(3):
        renewal.look()
    [told] = caplog.messages
    assert told.startswith("the certificate of before stays in use: TLS_KEY is not the key")
    assert encrypted.tls_file.read_bytes() == before
    files[1].write_bytes(OTHER.key_pem)
    renewal.look()
    assert tls.in_use(encrypted) == OTHER.certificate


def test_a_link_that_leads_elsewhere_is_a_renewal(encrypted, files, tmp_path):
    """As certbot does it."""
    for number, signed in enumerate((ONE, OTHER), 1):
        signed.write(tmp_path / f"cert{number}.pem", tmp_path / f"key{number}.pem")
    renewal = tls.Renewal(encrypted)
    for number, signed in enumerate((ONE, OTHER), 1):
        for path, name in zip(files, ("cert", "key"), strict=True):
            path.unlink()
            path.symlink_to(f"{name}{number}.pem")
        renewal.look()
        assert tls.in_use(encrypted) == signed.certificate


# What is said of a certificate.


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("live.example", True),
        ("LIVE.example", True),
        ("a.in.example", True),
        ("a.b.in.example", False),
        ("in.example", False),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("::1", False),
        ("", False),
    ],
)
def test_a_certificate_is_for_the_names_in_it(host, covered):
    assert NAMES == ("live.example", "*.in.example", "127.0.0.1")
    assert tls.covers(ONE.certificate, host) is covered


NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (-DAY, 89 * DAY, ""),
        (-68 * DAY, 22 * DAY, ""),
        (-70 * DAY, 20 * DAY, "expires in 20.0 days"),
        (-3 * DAY, 3 * DAY, ""),  # one of those that live for six days
        (-5 * DAY, DAY, "expires in 1.0 days"),
        (-90 * DAY, timedelta(0), "has expired on "),
        (timedelta(hours=1), 90 * DAY, "is not valid before "),
    ],
)
def test_a_certificate_that_was_not_renewed_in_time_is_told_of(encrypted, files, begins, ends, said):
    signed = AUTHORITY.signed(begins=NOW + begins, ends=NOW + ends)
    assert tls.timely(signed.certificate, NOW).startswith(said)
    assert (tls.timely(signed.certificate, NOW) == "") is (said == "")
    signed.write(*files)
    found = [each for each in doctor.examine(encrypted, NOW, min_free_mb=1) if each.check == "certificate"]
    state = "ok" if not said else "warning" if said.startswith("expires") else "failed"
    assert [each.state for each in found] == [state]
    assert said in found[0].found


def test_doctor_says_that_a_certificate_is_for_another_name_or_cannot_be_used(encrypted, files):
    def found(config: Config) -> list[tuple[str, str]]:
        every = doctor.examine(config, NOW, min_free_mb=1)
        return [(each.state, each.found) for each in every if each.check == "certificate"]

    other = replace(encrypted, public_url="https://other.example")
    assert found(other) == [("failed", f"{files[0]} is not for other.example, which PUBLIC_URL names")]
    files[1].write_bytes(OTHER.key_pem)
    assert found(encrypted)[0][1].startswith("TLS_KEY is not the key of the first certificate")
    assert found(replace(encrypted, tls_cert=None)) == []


def test_the_copys_expiry_is_a_metric(encrypted, db):
    name = b"livestream_certificate_not_after_timestamp_seconds"
    assert name not in exposition(encrypted), "there is no copy yet"
    tls.install(encrypted)
    [line] = [line for line in exposition(encrypted).splitlines() if line.startswith(name)]
    assert float(line.split()[1]) == tls.in_use(encrypted).not_valid_after_utc.timestamp()


@pytest.mark.parametrize(
    ("version", "shown", "other"),
    [
        ((1, 22, 1), "listen 0.0.0.0:8080 ssl http2;", "http2 on;"),
        ((1, 26, 0), "http2 on;", " http2;"),
    ],
)
def test_http2_is_asked_for_as_this_nginx_wants_it(encrypted, monkeypatch, version, shown, other):
    monkeypatch.setattr(nginx_rtmp, "version", lambda: version)
    text = nginx_rtmp.configuration(encrypted, "aa", "secret", "key", None)
    assert shown in text
    assert other not in text


def test_who_broadcasts_is_told_of_the_encrypted_way_in(config):
    own = {"public_url": "https://live.example", "tls_cert": Path("/a/cert.pem"), "rtmps_port": 1940}
    own["media_server"] = "nginx-rtmp"
    app = prepared_app(replace(config, **own))
    client, person, at = app.test_client(), Person(app), {"base_url": "https://live.example"}
    person.post("/", data={"id": ROOT_ID, "secret": ROOT_SECRET}, **at)
    made = client.post("/v1/live", json={"name": "A"}, auth=(ROOT_ID, ROOT_SECRET)).json["data"]
    assert made["ingest"] == {"rtmp": made["streamUrl"], "rtmps": "rtmps://live.example:1940/live"}
    link = client.post(f"/v1/live/{made['id']}/studio", auth=(ROOT_ID, ROOT_SECRET)).json["data"]["studioUrl"]
    channel = f"/console/channels/{made['id']}"
    shown = person.get(channel, **at).text
    key = person.post(f"{channel}/key", data=Fields(shown, f"{channel}/key").values, **at).text
    for page in (shown, key, person.get(link, **at).text):
        assert made["ingest"]["rtmps"] in page
