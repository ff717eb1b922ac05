"""Webhook receivers: whether each can be reached as a delivery would reach it. No event is sent: a connection is
made where the policy allows, with TLS as deliveries have it, and asked HEAD /."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from db import connection
from delivery.policy import Policy
from doctor.finding import Finding, Patient, failed, ok, warning
from models import Webhook

TIMEOUT_S = 5.0
AT_ONCE = 32
MOST = 500  # when all of them are silent, that takes a minute and a half
SHOWN = 20


@dataclass(frozen=True)
class Reached:
    """`problem` is "" where all is well; `ahead_s`: how far its clock is ahead of ours."""

    problem: str = ""
    ahead_s: float | None = None


def webhooks(patient: Patient) -> Iterator[Finding]:
    if not patient.database_is_well:
        return
    with connection():
        known = Webhook.some("TRUE ORDER BY pk")
    active = [each for each in known if each.active]
    yield from (_off(each) for each in known if not each.active and each.disabled_reason)
    known_places = sorted({origin(each.uri) for each in active})
    places = known_places[:MOST]
    policy = Policy.of(patient.config)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reached = dict(zip(places, pool.map(lambda place: reach(place, policy), places), strict=True))
    patient.dates |= {place: each.ahead_s for place, each in reached.items() if each.ahead_s is not None}
    bad = {place: each.problem for place, each in reached.items() if each.problem}
    for place, problem in list(bad.items())[:SHOWN]:
        named = ", ".join(each.id for each in active if origin(each.uri) == place)
        yield failed(
            "webhooks",
            f"{place} ({named}): {problem}",
            f"Tell its owner; then flask webhook replay {named.split(',')[0]}.",
        )
    failing = [each for each in active if each.failing_since and origin(each.uri) not in bad]
    for each in failing[:SHOWN]:
        yield warning(
            "webhooks", f"{each.id} has been failing", f"flask webhook deliveries {each.id} tells how."
        )
    if not bad and not failing:
        yield ok("webhooks", f"active: {len(active)}, {_reached(len(places), len(known_places))}")


def _reached(places: int, known: int) -> str:
    return f"receivers reached: {places}" + (f" of {known}, no more were tried" if places < known else "")


def _off(webhook: Webhook) -> Finding:
    do = "When its receiver works: PUT active true, then flask webhook replay."
    return warning("webhooks", f"{webhook.id} was turned off: {webhook.disabled_reason}", do)


def origin(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def reach(place: str, policy: Policy) -> Reached:
    parts = urlsplit(place)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    try:
        addresses = list(
            dict.fromkeys(row[4][0] for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        )
    except (OSError, UnicodeError) as error:
        return Reached(f"name not found ({getattr(error, 'strerror', None) or error})")
    problem = ""
    for address in addresses:
        if problem := policy.refusal(address, port) or "":
            continue
        try:
            return _asked(address, port, host, parts.scheme == "https")
        except ssl.SSLError as error:
            problem = f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
        except TimeoutError:
            problem = f"no answer within {TIMEOUT_S:g} s from {address} port {port}"
        except (OSError, http.client.HTTPException) as error:
            problem = f"{getattr(error, 'strerror', None) or error}: {address} port {port}"
    return Reached(problem)


def _asked(address: str, port: int, host: str, tls: bool) -> Reached:
    raw = socket.create_connection((address, port), TIMEOUT_S)
    with ssl.create_default_context().wrap_socket(raw, server_hostname=host) if tls else raw as connected:
        asking = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        asking.sock = connected
        asking.request("HEAD", "/", headers={"User-Agent": "Livestream-Doctor/1.0", "Connection": "close"})
        date = asking.getresponse().headers.get("Date")
    try:
        # It is cut to whole seconds: half of one is the best guess.
        return Reached(ahead_s=parsedate_to_datetime(date).timestamp() + 0.5 - time.time() if date else None)
    except (TypeError, ValueError):
        return Reached()
