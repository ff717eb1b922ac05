"""The certificate that the media server shows: checked, copied for it, and copied again when it is renewed.

nginx opens the copy at each handshake, so a renewal is one rename: no reload, which would hide what is on air from
/stat. Certificate and key are one file, so that no handshake meets a new one beside an old one.
"""

import ipaddress
import logging
import os
import re
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from config import Config
from media.storage import write_for_media_server

log = logging.getLogger(__name__)

PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)
# certbot renews when a third of a certificate's time is left: whatever is below this was not renewed.
SOON = timedelta(days=21)
SOON_SHARE = 4


class TlsError(Exception):
    """Why TLS_CERT and TLS_KEY cannot be used, in a sentence."""


class Pair(NamedTuple):
    """The server's certificate, and the text of all that nginx reads: it, its chain, its key."""

    certificate: x509.Certificate
    text: bytes


def load(config: Config) -> Pair:
    """TLS_CERT and TLS_KEY as they are now; TlsError unless nginx could use them."""
    chain, key = _read("TLS_CERT", config.tls_cert), _read("TLS_KEY", config.tls_key)
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise TlsError(f"TLS_CERT holds no certificate in PEM: {config.tls_cert}.") from None
    private = PRIVATE_KEY.search(key)
    if private is None:
        raise TlsError(f"TLS_KEY holds no private key in PEM: {config.tls_key}.")
    text = b"".join(each.public_bytes(Encoding.PEM) for each in certificates) + private[0] + b"\n"
    _try(text)
    return Pair(certificates[0], text)


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"{name} cannot be read: {error.strerror}: {path}.") from None


def _try(text: bytes) -> None:
    """OpenSSL takes files only: this one is in memory, and what was tried is what is written, to the byte."""
    fd = os.memfd_create("tls")
    try:
        os.write(fd, text)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"/proc/self/fd/{fd}", password=_refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            told = (
                "TLS_KEY is not the key of the first certificate in TLS_CERT, which has to be the server's."
            )
        else:
            told = f"TLS_CERT and TLS_KEY cannot be used: {error.reason or 'the key is damaged'}."
        raise TlsError(told) from None
    finally:
        os.close(fd)


def _refuse() -> NoReturn:
    raise TlsError("TLS_KEY has a passphrase, which nobody can type in: give the key without one.")


def install(config: Config) -> x509.Certificate | None:
    """Copies the pair for the media server; its certificate if that is another than before."""
    pair = load(config)
    if config.tls_file.exists() and config.tls_file.read_bytes() == pair.text:
        return None
    write_for_media_server(config.tls_file, pair.text)
    return pair.certificate


class Renewal:
    """Sees when TLS_CERT or TLS_KEY is another file than before, and takes it over."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.taken: object = None
        self.failed: object = None
        self.told: object = None

    def look(self) -> None:
        seen = [_state(path) for path in (self.config.tls_cert, self.config.tls_key)]
        if seen == self.taken:
            return
        try:
            if fresh := install(self.config):
                about = {"event": "certificate_changed", "notAfter": fresh.not_valid_after_utc.isoformat()}
                log.info(
                    "another certificate is in use, valid until %s", fresh.not_valid_after_utc, extra=about
                )
            self.taken = seen
        except TlsError as error:
            # At the second look: between the renewal of the one file and of the other they cannot fit.
            if self.failed == seen != self.told:
                about = {"event": "certificate_refused"}
                log.error("the certificate of before stays in use: %s", error, extra=about)
                self.told = seen
            self.failed = seen


def _state(path: Path) -> tuple[int, ...] | None:
    """Of what a symbolic link leads to: certbot changes the link."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def in_use(config: Config) -> x509.Certificate | None:
    """What nginx shows; None where there is nothing, or it is not for us to read."""
    try:
        return x509.load_pem_x509_certificates(config.tls_file.read_bytes())[0]
    except (OSError, ValueError):
        return None


def timely(certificate: x509.Certificate, now: datetime) -> str:
    """ "" while it is valid and will be for a while, else what there is to say."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        return f"is not valid before {begins:%Y-%m-%d %H:%M} UTC"
    if now >= ends:
        return f"has expired on {ends:%Y-%m-%d %H:%M} UTC"
    soon = min(SOON, (ends - begins) / SOON_SHARE)
    return f"expires in {(ends - now) / timedelta(days=1):.1f} days" if ends - now < soon else ""


def covers(certificate: x509.Certificate, host: str) -> bool:
    """Whether it is for this host, as clients judge: by its alternative names, `*` for one label."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        wanted = {host.lower(), f"*.{host.lower().partition('.')[2]}"}
        return any(name.lower() in wanted for name in names.get_values_for_type(x509.DNSName))


def trusting(config: Config) -> ssl.SSLContext | None:
    """For asking our own public port by its address: it must show TLS_CERT, whoever signed that. None without TLS."""
    if config.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(config.tls_cert)
    except OSError as error:  # ssl.SSLError is one
        raise TlsError(f"TLS_CERT cannot be read: {error.strerror or error}: {config.tls_cert}.") from None
    return context
