"""flask --app app doctor: webhook receivers are reached as a delivery would reach them, and told nothing."""

import ssl
from email.utils import format_datetime

import pytest

import doctor
from db import connection, utcnow
from doctor.finding import Finding
from doctor.receivers import origin
from models import Webhook
from tests.box import free_ports
from tests.outbox import hook
from tests.receiver import Answer, Receiver
from tests.story import after
from tests.test_delivery_guard import certificate


def examined(config, *checks) -> list[Finding]:
    return [each for each in doctor.examine(config, utcnow(), min_free_mb=1) if each.check in checks]


def dated(seconds: float) -> Receiver:
    date = format_datetime(utcnow() + after(seconds=seconds), usegmt=True)
    return Receiver(lambda request, number: Answer(404, {"Date": date, "Content-Length": "0"}))


def test_a_receiver_is_reached_once_for_all_its_webhooks_and_gets_no_event(config, app):
    with Receiver() as receiver:
        for path in ("/a", "/b"):
            hook(config, receiver.url + path)
        [found] = examined(config, "webhooks")
    assert (found.state, found.found) == ("ok", "active: 2, receivers reached: 1")
    assert [(each.method, each.path, each.body) for each in receiver.requests] == [("HEAD", "/", b"")]


def test_a_receiver_that_refuses_is_named_with_its_webhooks(config, app):
    [port] = free_ports(1)
    one, other = (hook(config, f"http://127.0.0.1:{port}/{path}") for path in "ab")
    [found] = examined(config, "webhooks")
    assert found.state == "failed"
    assert found.found == (
        f"http://127.0.0.1:{port} ({one.id}, {other.id}): Connection refused: 127.0.0.1 port {port}"
    )
    assert f"webhook replay {one.id}" in found.do


def test_a_name_that_is_nobodys_is_found(config, app):
    hook(config, "http://no-such-name.invalid/x")
    assert "name not found" in examined(config, "webhooks")[0].found


def test_a_certificate_that_nobody_vouches_for_is_found(config, app, tmp_path, monkeypatch):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate(tmp_path))
    with Receiver(tls=tls) as receiver:
        hook(config, receiver.url)
        [found] = examined(config, "webhooks")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "receiver.pem"))
        [trusted] = examined(config, "webhooks")
    assert (found.state, trusted.state) == ("failed", "ok")
    assert "TLS: self" in found.found


def test_a_receiver_that_is_silent_is_found(config, app, monkeypatch):
    monkeypatch.setattr("doctor.receivers.TIMEOUT_S", 0.3)
    with Receiver(lambda request, number: Answer(silent=True)) as receiver:
        hook(config, receiver.url)
        [found] = examined(config, "webhooks")
    assert (found.state, "no answer within 0.3 s" in found.found) == ("failed", True)


def test_where_the_policy_forbids_nothing_is_connected(config, app):
    with Receiver() as receiver:
        hook(config, receiver.url)
        strict = type(config)(**{**config.__dict__, "webhook_allow_private": False})
        [found] = examined(strict, "webhooks")
    assert (found.state, "WEBHOOK_ALLOW_PRIVATE is 0" in found.found) == ("failed", True)
    assert receiver.connections == 0


def test_a_webhook_that_was_turned_off_or_fails_is_a_warning(config, app):
    with Receiver() as receiver:
        off, failing = hook(config, receiver.url), hook(config, receiver.url)
        with connection():
            Webhook.update(active=False, disabled_reason="gone").where(Webhook.id == off.id).execute()
            Webhook.update(failing_since=utcnow()).where(Webhook.id == failing.id).execute()
        found = examined(config, "webhooks")
    assert [each.state for each in found] == ["warning", "warning"]
    assert (off.id in found[0].found, failing.id in found[1].found) == (True, True)


@pytest.mark.parametrize(
    ("seconds", "state", "said"),
    [(0, "ok", "within 5 s"), (60, "warning", "behind that of"), (-900, "failed", "ahead of that of")],
)
def test_the_clock_is_compared_with_those_of_receivers(config, app, seconds, state, said):
    with dated(seconds) as receiver:
        hook(config, receiver.url)
        [found] = examined(config, "clock")
    assert (found.state, said in found.found) == (state, True), found


def test_one_receiver_with_a_wrong_clock_of_its_own_does_not_count(config, app):
    with dated(9000) as wrong, dated(0) as one, dated(1) as other:
        for receiver in (wrong, one, other):
            hook(config, receiver.url)
        assert examined(config, "clock")[0].state == "ok"


def test_an_origin_is_where_a_uri_is_without_what_is_asked_for_there():
    assert origin("https://a.example:8443/x?y=1") == "https://a.example:8443"
