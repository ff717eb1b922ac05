"""The parts of a running box: what supervisor runs, ports, web, hooks, worker, media server, playlists."""

import json
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil

from config import Config
from db import connection
from doctor import sockets
from doctor.finding import Finding, Patient, failed, ok, warning
from live.system import PULSE_TOO_OLD_S
from media.servers import MediaServerError, choice, srs
from media.storage import hook_secret
from media.tls import TlsError, trusting
from models import Channel, Session, Status
from release import RELEASE

START = "Start it: script/server."
LOG = "Its log (the terminal of script/server, or the journal) says why."
HOOK_MS = 50.0
HOOK_TRIES = 3
JUST_NOW_S = 300.0
OPENS_NOTHING = "doctor"  # too short for a streamToken, so nobody's
LOOKED_AT = 20
ANYWHERE = "0.0.0.0"  # noqa: S104 (where the media server listens by default)


def box(patient: Patient) -> Iterator[Finding]:
    where = f"DATA_DIR {patient.config.data_dir}"
    if patient.supervised is not None:
        yield from _programs(patient.supervised)
    elif "web" in patient.listening:
        yield ok("box", f"app.py runs by itself with {where}")
    elif "media" in patient.listening:
        yield failed("box", "of this box nginx alone is left", f"{START} It ends what is left first.")
    else:
        yield failed("box", f"nothing runs with {where}", START)


def _programs(programs: list[sockets.Program]) -> Iterator[Finding]:
    """Whatever supervisor was told to run: what there is, is up to script/prepare."""
    first = min((each.started for each in programs), default=0)
    for each in programs:
        up = each.now - each.started
        if each.state not in ("RUNNING", "STARTING"):
            yield failed("box", f"{each.name} does not run ({each.state})", LOG)
        elif each.started - first > 10 and up < JUST_NOW_S:
            yield warning("box", f"{each.name} was started again {up:.0f} s ago", LOG)
        elif each.state == "STARTING":
            yield warning("box", f"{each.name} is starting", "Look again in some seconds.")
    running = [each.name for each in programs if each.state == "RUNNING"]
    if len(running) == len(programs):
        yield ok("box", f"{', '.join(running)} run")


def ports(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    wanted = {"PORT": (config.host, config.port), "HOOK_PORT": ("127.0.0.1", config.hook_port)}
    if config.media_server != "none":
        bind = config.media_bind or ANYWHERE
        wanted |= {"HTTP_PORT": (bind, config.http_port), "RTMP_PORT": (bind, config.rtmp_port)}
        wanted |= {"RTMPS_PORT": (bind, config.rtmps_port)} if config.has_rtmps else {}
    if config.media_server == srs.KIND:
        wanted |= {"SRS_API_PORT": ("127.0.0.1", config.srs_api_port)}
    connections = psutil.net_connections("all")
    ours = sockets.owners([config.hook_socket, config.media_socket], connections) | _srs_pid(config)
    for name, (host, port) in wanted.items():
        if port:
            yield _port(f"{name} {port}", name, sockets.holders(host, port, connections), ours, patient.runs)


def _srs_pid(config: Config) -> set[int]:
    """It has no Unix socket to be known by."""
    try:
        return {int((srs.home(config) / "srs.pid").read_text())}
    except (OSError, ValueError):
        return set()


def _port(shown: str, name: str, there: list[sockets.Holder], ours: set[int], runs: bool) -> Finding:
    others = [each for each in there if each.pid not in ours and (each.pid or not runs)]
    if others:
        return failed("ports", f"{shown} is in use by {others[0]}", f"Stop that, or set {name}.")
    if there:
        return ok("ports", f"{shown} is ours: {there[0]}")
    return failed("ports", f"nobody listens on {shown}", LOG) if runs else ok("ports", f"{shown} is free")


def web(patient: Patient) -> Iterator[Finding]:
    if not patient.runs:
        return
    config = patient.config
    host = reachable(config.host)
    try:
        answer = sockets.ask("GET", host, config.port, "/v1")
        there = json.loads(answer.body)["data"]["release"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield failed("web", f"no answer on {host}:{config.port} ({error})", LOG)
        return
    if there == RELEASE:
        yield ok("web", f"answers in {answer.took_ms:.0f} ms")
    else:
        yield warning("web", f"release {there} runs, and {RELEASE} is installed", "Restart the box.")
    yield from _public(config)


def _public(config: Config) -> Iterator[Finding]:
    """From here: a router in between may know the way from outside only."""
    parts = urlsplit(config.public_url)
    if parts.scheme != "http" and config.tls_cert is None:
        return  # a proxy of the operator's, with certificates of its own
    trusted = ssl.create_default_context() if config.tls_cert else None
    port = parts.port or (443 if trusted else 80)
    try:
        answer = sockets.ask("GET", parts.hostname or "", port, f"{parts.path}/v1", tls=trusted)
        answers = answer.status == 200
        if answer.status == 308:
            yield warning(
                "web", f"PUBLIC_URL {config.public_url} leads to HTTPS", "Are TLS_CERT and TLS_KEY set here?"
            )
            return
    except ssl.SSLCertVerificationError as error:
        yield warning(
            "web",
            f"PUBLIC_URL {config.public_url} shows a certificate that this machine does not trust "
            f"({error.verify_message.rstrip('.')})",
            "Viewers' browsers will not either, unless they know who signed it. TLS_CERT has to hold the whole chain.",
        )
        return
    except OSError:
        answers = False
    if answers:
        yield ok("web", f"PUBLIC_URL {config.public_url} leads here")
    else:
        yield warning(
            "web",
            f"PUBLIC_URL {config.public_url} is not answered, seen from here",
            "Try it from outside; set PUBLIC_URL.",
        )


def hooks(patient: Patient) -> Iterator[Finding]:
    """A publisher whose token opens nothing, as the media server would announce it."""
    if not patient.runs:
        return
    kind, dialect = choice.dialect(patient.config)
    try_out = dialect.announcement(OPENS_NOTHING)
    path = f"/hooks/{kind}/{hook_secret(patient.config)}?{try_out.query}"
    sent = {"Content-Type": try_out.content_type}
    try:
        tries = [
            sockets.ask("POST", "localhost", 0, path, try_out.body, sent, unix=patient.config.hook_socket)
            for _ in range(HOOK_TRIES)
        ]
    except OSError as error:
        yield failed("hooks", f"no answer, so nobody can publish ({error})", LOG)
        return
    best = min(each.took_ms for each in tries)
    statuses = {each.status for each in tries}
    if statuses != {403}:
        yield failed("hooks", f"a token that opens nothing is answered {min(statuses)}, not 403", LOG)
    elif best > HOOK_MS:
        yield warning(
            "hooks", f"a decision takes {best:.0f} ms; encoders wait for it", "Look at disk and CPU."
        )
    else:
        yield ok("hooks", f"refuse what opens nothing in {best:.0f} ms")


def worker(patient: Patient) -> Iterator[Finding]:
    if not patient.runs:
        return
    try:
        pulse = json.loads(patient.config.pulse_file.read_text())
    except (OSError, ValueError):
        yield failed("worker", "gives no sign of life: no timers, no webhooks, no new pictures", LOG)
        return
    age = time.time() - pulse["at"]
    if age > PULSE_TOO_OLD_S:
        yield failed("worker", f"its last sign of life is {age:,.0f} s old", LOG)
    else:
        yield ok("worker", f"alive {max(0.0, age):.1f} s ago")


def media(patient: Patient) -> Iterator[Finding]:
    server = choice.media_server(patient.config)
    if not patient.runs or server is None:
        return
    began = time.monotonic()
    try:
        look = server.look()
    except MediaServerError as error:
        yield failed("media", str(error), LOG)
        return
    took = (time.monotonic() - began) * 1000
    yield ok("media", f"{server.name} answers in {took:.0f} ms; publishers: {len(look.publishers)}")


def picture(patient: Patient) -> Iterator[Finding]:
    """That what is live can be played: a playlist of each, as a player asks for it."""
    if not patient.runs or patient.config.media_server == "none" or not patient.database_is_well:
        return
    with connection():
        channels = [
            each.channel
            for each in Session.all_open(patient.config.node)
            if each.channel.status == Status.LIVE and each.silent_since is None
        ]
    public = [each for each in channels if each.playback == "public"][:LOOKED_AT]
    wrong = {each.id: told for each in public if (told := _unplayable(patient.config, each))}
    for channel_id, told in wrong.items():
        yield failed("picture", f"{channel_id} is live, but its playlist {told}", LOG)
    if not wrong:
        yield ok(
            "picture",
            f"live channels: {len(channels)}" + (f", playlists of {len(public)} answer" if public else ""),
        )


def _unplayable(config: Config, channel: Channel) -> str:
    host = reachable(config.media_bind or ANYWHERE)
    try:
        path = f"/play/{channel.id}/master.m3u8"
        answer = sockets.ask("GET", host, config.http_port, path, tls=trusting(config))
    except (OSError, TlsError) as error:
        return f"is not answered ({error})"
    return "" if answer.status == 200 else f"is answered {answer.status}"


def reachable(host: str) -> str:
    """An address to connect to, of one to listen on."""
    return {ANYWHERE: "127.0.0.1", "::": "::1"}.get(host, host)
