"""Where a webhook may point, by the address that a text or a packet really means."""

import socket

import pytest
from marshmallow import ValidationError

from config import from_env
from delivery.policy import Policy
from schemas_webhook import Uri

OWN = frozenset({8000, 8080, 1935})
OPEN = Policy(allow_private=True, own_ports=OWN)
STRICT = Policy(allow_private=False, own_ports=OWN)

NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:5601:5601",  # teredo with 169.254.169.254 inside
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "fec0::1",
]
PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "fd12:3456::1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "192.88.99.1",
    "3fff::1",
    "5f00::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("host", NEVER)
def test_metadata_and_what_is_no_host_are_never_reached(host):
    assert OPEN.refusal(host, 9999)
    assert STRICT.refusal(host, 9999)


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_reached_unless_forbidden(host):
    assert OPEN.refusal(host, 9999) is None
    assert STRICT.refusal(host, 9999)


@pytest.mark.parametrize("host", PUBLIC)
def test_public_addresses_are_always_reached(host):
    assert STRICT.refusal(host, 443) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
def test_own_listeners_are_never_reached(host):
    assert "this server itself" in OPEN.refusal(host, 8000)
    assert OPEN.refusal(host, 8001) is None


def test_own_listeners_are_known_by_every_address_of_this_host():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this host has loopback only")
        own = probe.getsockname()[0]
    assert OPEN.refusal(own, 8080)
    assert OPEN.refusal(own, 8081) is None
    assert OPEN.refusal("192.0.2.1", 8080) is None


def test_own_ports_are_those_that_are_listened_on(tmp_path):
    base = {"DATA_DIR": str(tmp_path), "HOOK_PORT": "8001"}
    without = Policy.of(from_env(base | {"MEDIA_SERVER": "none"}))
    assert without.own_ports == {8000, 8001}
    assert Policy.of(from_env(base | {"MEDIA_SERVER": "nginx-rtmp"})).own_ports == {8000, 8001, 8080, 1935}
    assert without.allow_private
    assert not Policy.of(from_env(base | {"WEBHOOK_ALLOW_PRIVATE": "0"})).allow_private


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0xa9.0xfe.43518",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.254.169.254.",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
    ],
)
def test_a_literal_is_known_in_every_spelling(host):
    assert OPEN.refusal_of(f"http://{host}/latest/meta-data")


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost", "a.localhost", "[::1]"]
)
def test_loopback_is_known_in_every_spelling(host):
    assert OPEN.refusal_of(f"http://{host}:9999/") is None
    assert STRICT.refusal_of(f"http://{host}:9999/")
    assert OPEN.refusal_of(f"http://{host}:8000/")


def test_the_port_of_a_literal_defaults_by_its_scheme():
    policy = Policy(allow_private=True, own_ports=frozenset({80}))
    assert policy.refusal_of("http://127.0.0.1/")
    assert policy.refusal_of("https://127.0.0.1/") is None


def test_a_name_is_not_judged_before_it_is_resolved():
    assert STRICT.refusal_of("http://metadata.google.internal/") is None


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com",
        "HTTPS://Example.COM:8443/a/b?c=d&e=%20",
        "http://example.com./x",
        "http://127.0.0.1:9/hook",
        "http://[2606:4700::1111]:8080/x",
        "http://xn--bcher-kva.example/",
        "http://my_service:9000/",
    ],
)
def test_a_plain_url_is_taken_as_it_came(uri):
    assert Uri().deserialize(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "gopher://example.com/",
        "http://",
        "http:///path",
        "http://user@example.com/",
        "http://user:word@example.com/",
        "http://@example.com/",
        "http://example.com/#there",
        "http://example.com:0/",
        "http://example.com:70000/",
        "http://example.com:x/",
        "http://example.com\\@127.0.0.1/",
        "http://exa mple.com/",
        " http://example.com/",
        "http://example.com/\r\nHost: x",
        "http://example.com/\t",
        "http://127。0.0.1/",
        "http://\uff1127.0.0.1/",
        "http://bücher.example/",
        "http://%31%32%37.0.0.1/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://[127.0.0.1]/",
        "http://[v1.x]/",
        "http://a..b/",
        "http://-a.example/",
        "http://" + "a" * 64 + ".example/",
        "http://" + ".".join(["a" * 60] * 5) + "/",
        "http://example.com/" + "a" * 2048,
    ],
)
def test_a_url_that_two_parsers_may_read_differently_is_refused(uri):
    with pytest.raises(ValidationError):
        Uri().deserialize(uri)
