"""The certificate: whether it can be used, is valid and for PUBLIC_URL, and whether the ports show it."""

import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from cryptography import x509

from doctor.finding import Finding, Patient, failed, ok, warning
from doctor.parts import ANYWHERE, LOG, reachable
from doctor.sockets import TIMEOUT_S
from media import tls

RENEW = "Renew it (certbot renew): the box sees that by itself."


def certificate(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    if config.tls_cert is None:
        return
    try:
        ours = tls.load(config).certificate
    except tls.TlsError as error:
        do = "Put it right: until then the box goes on with the one before, and does not start anew."
        yield failed("certificate", str(error).rstrip("."), do)
        return
    wrong = [*_itself(patient, ours), *(_shown(patient, ours) if patient.runs else ())]
    ends = f"{ours.not_valid_after_utc:%Y-%m-%d}"
    yield from wrong or [ok("certificate", f"valid until {ends}, for {host_of(patient)}, and in use")]


def host_of(patient: Patient) -> str:
    return urlsplit(patient.config.public_url).hostname or ""


def _itself(patient: Patient, ours: x509.Certificate) -> Iterator[Finding]:
    if told := tls.timely(ours, patient.now):
        found = f"{patient.config.tls_cert} {told}"
        yield (warning if "expires in" in told else failed)("certificate", found, RENEW)
    if not tls.covers(ours, host_of(patient)):
        found = f"{patient.config.tls_cert} is not for {host_of(patient)}, which PUBLIC_URL names"
        yield failed(
            "certificate", found, "Get one for that name, or set PUBLIC_URL to a name that it is for."
        )


def _shown(patient: Patient, ours: x509.Certificate) -> Iterator[Finding]:
    """By each port, as whoever connects sees it."""
    config = patient.config
    host = reachable(config.media_bind or ANYWHERE)
    ports = {"HTTP_PORT": config.http_port} | ({"RTMPS_PORT": config.rtmps_port} if config.has_rtmps else {})
    for name, port in ports.items():
        try:
            shown = ssl.get_server_certificate((host, port), timeout=TIMEOUT_S)
        except OSError as error:
            yield failed("certificate", f"{name} {port} speaks no TLS ({error})", LOG)
            continue
        if x509.load_pem_x509_certificate(shown.encode()) != ours:
            found = f"{name} {port} shows another certificate than {config.tls_cert}"
            yield failed("certificate", found, "The worker takes a new one over within seconds: does it run?")
