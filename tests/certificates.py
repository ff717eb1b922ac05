"""Certificates for tests: an authority of their own, and what it signs."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

NAMES = ("live.example", "*.in.example", "127.0.0.1")
DAY = timedelta(days=1)


class Authority:
    """Signs by an intermediate, as real ones do: who shows its own certificate alone is not trusted."""

    def __init__(self) -> None:
        self.key, self.between_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self.root = made("root", self.key.public_key(), "root", self.key, authority=True)
        self.between = made("between", self.between_key.public_key(), "root", self.key, authority=True)

    def signed(self, *, names: tuple[str, ...] = NAMES, **dates: datetime) -> "Signed":
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = made("leaf", key.public_key(), "between", self.between_key, names=names, **dates)
        return Signed(certificate, self.between, key)


class Signed:
    """A certificate with what is needed to use it."""

    def __init__(
        self, certificate: x509.Certificate, between: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        self.certificate, self.key = certificate, key
        self.leaf, self.chain = pem(certificate), pem(certificate) + pem(between)
        self.backwards = pem(between) + pem(certificate)
        self.key_pem = key_pem(key)

    def locked(self) -> bytes:
        """The key with a passphrase."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))

    def write(self, cert: Path, key: Path) -> None:
        cert.write_bytes(self.chain)
        key.touch(0o600)
        key.write_bytes(self.key_pem)


def made(
    name: str,
    public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    signer: str,
    signer_key: ec.EllipticCurvePrivateKey,
    *,
    names: tuple[str, ...] = (),
    authority: bool = False,
    begins: datetime | None = None,
    ends: datetime | None = None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(signer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins or now - DAY)
        .not_valid_after(ends or now + 90 * DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([alternative(each) for each in names]), critical=False
        )
    return builder.sign(signer_key, hashes.SHA256())


def called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
