"""What a delivery never does on its way: dial what the policy forbids, ask a proxy, trust a stranger."""

import datetime as dt
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from config import from_env
from db import connection, utcnow
from models import Delivery
from tests.outbox import dispatching, happen, hook, settled, tried
from tests.receiver import Receiver

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


def test_the_address_dialled_is_the_one_that_is_judged(config, receiver):
    """A name passes when it is given; what it resolves to is judged at the connection."""
    strict = from_env(
        {"DATA_DIR": str(config.data_dir), "MEDIA_SERVER": "none", "WEBHOOK_ALLOW_PRIVATE": "0"}
    )
    delivery = happen(hook(config, f"http://localhost:{receiver.port}/"))
    mapped = happen(hook(config, f"http://[::ffff:127.0.0.1]:{receiver.port}/"))
    with dispatching(strict):
        assert "WEBHOOK_ALLOW_PRIVATE" in tried(delivery)[0].error
        assert "WEBHOOK_ALLOW_PRIVATE" in tried(mapped)[0].error
    assert receiver.connections == 0


def test_our_own_listener_is_never_contacted(config, receiver):
    own = from_env({"DATA_DIR": str(config.data_dir), "MEDIA_SERVER": "none", "PORT": str(receiver.port)})
    delivery = happen(hook(config, f"http://localhost:{receiver.port}/"))
    with dispatching(own):
        assert "this server itself" in tried(delivery)[0].error
    assert receiver.connections == 0


def test_a_proxy_of_the_environment_is_not_asked(config, receiver, monkeypatch):
    with Receiver() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        delivery = happen(hook(config, receiver.url))
        with dispatching(config):
            assert settled(delivery).status == "delivered"
        assert proxy.connections == 0


def certificate(tmp_path):
    """A certificate for 127.0.0.1 that signs itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "receiver.pem"
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, *private)
    )
    return file


def test_a_certificate_is_verified(config, tmp_path):
    file = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    with Receiver(tls=tls) as receiver:
        delivery = happen(hook(config, receiver.url))
        with dispatching(config):
            assert tried(delivery)[0].error.startswith("certificate")
        assert receiver.requests == []
        with connection():
            Delivery.update(next_at=utcnow()).execute()
        with dispatching(config, ca_file=str(file)):
            assert settled(delivery).status == "delivered"
