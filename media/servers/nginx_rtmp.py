"""nginx with the RTMP module: its hooks, its /stat and /control, its configuration; beside SRS without that module.

Measured behaviour that this file relies on is in docs/decisions/0003-nginx-rtmp.md.
"""

import os
import re
import resource
import secrets
import socket
import subprocess
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree as ET  # our own nginx is the only writer of what is parsed here

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from config import Config, bracketed, nginx_program, nginx_rtmp_module, nginx_stream_module
from media.servers import Announcement, Answer, BadHookError, Hook, Look, MediaServerError, Publisher, srs
from media.servers.asking import Told, ask
from media.storage import media_server_user

KIND = "nginx-rtmp"
CALLS = {"publish": "publish", "publish_done": "unpublish"}
# From this release on `listen ... http2` is deprecated, and says so at each start.
HTTP2_DIRECTIVE = (1, 25, 1)
TEMPLATES = Path(__file__).parent


def connection_id(instance: str, client_id: str) -> str:
    """nginx numbers its clients from 1 again at every start, hence the instance."""
    return f"{KIND}/{instance}/{client_id}"


def parse_hook(body: bytes, args: Mapping[str, str]) -> Hook:
    """A form with the server's own fields first; the publisher's query comes after and overrides none."""
    fields: dict[str, str] = {}
    for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        fields.setdefault(name, value)
    instance, client_id = args.get("instance", ""), fields.get("clientid", "")
    if not re.fullmatch(r"[0-9a-f]{1,32}", instance) or not re.fullmatch(r"[0-9]{1,20}", client_id):
        raise BadHookError("a hook needs ?instance= and clientid")
    return Hook(
        call=CALLS.get(fields.get("call", ""), "other"),
        connection=connection_id(instance, client_id),
        stream_token=fields.get("name", "") if fields.get("app") == "live" else "",
        client_ip=fields.get("addr", "")[:64],
        encoder=printable(fields.get("flashver", ""))[:128],
    )


def answer(stream: str | None) -> Answer:
    """A redirect renames the stream; any 2xx is a yes, and 403 closes the connection."""
    if stream is None:
        return Answer(403)
    return Answer(302, {"Location": stream}) if stream else Answer(200)


def announcement(stream_token: str) -> Announcement:
    fields = {"app": "live", "addr": "127.0.0.1", "clientid": 1, "call": "publish", "name": stream_token}
    return Announcement(
        f"instance={secrets.token_hex(6)}", urlencode(fields), "application/x-www-form-urlencoded"
    )


def printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())


def parse_stat(xml: bytes, instance: str) -> Look:
    """The publishers in /stat. A stream whose publisher has left may still list its players."""
    try:
        root = ET.fromstring(xml)  # noqa: S314
    except ET.ParseError as error:
        raise MediaServerError(f"/stat is not XML: {error}", gone=False) from None
    if root.tag != "rtmp":  # some other page: it must not read as "nobody publishes"
        raise MediaServerError(f"/stat is not of nginx-rtmp: <{root.tag}>", gone=False)
    if root.find("server/application/live") is None:  # cut short, or of another configuration than ours
        raise MediaServerError("/stat lists no live application", gone=False)
    try:
        publishers = [
            Publisher(
                connection=connection_id(instance, client.findtext("id", "")),
                client_id=client.findtext("id", ""),
                stream=stream.findtext("name", ""),
                bytes_in=int(stream.findtext("bytes_in", "0")),
                video=_video(stream.find("meta/video")),
                audio=_audio(stream.find("meta/audio")),
            )
            for stream in root.iterfind("server/application/live/stream")
            for client in stream.iterfind("client")
            if client.find("publishing") is not None
        ]
    except ValueError as error:
        raise MediaServerError(f"/stat has a number that is none: {error}", gone=False) from None
    return Look(f"{KIND}/{instance}", publishers)


def _video(found: ET.Element | None) -> dict[str, str | int | float]:
    if found is None or not found.findtext(
        "codec"
    ):  # nginx lists a track that is not there, with nothing in it
        return {}
    return {
        "codec": found.findtext("codec", ""),
        "profile": found.findtext("profile", ""),
        "width": int(found.findtext("width", "0")),
        "height": int(found.findtext("height", "0")),
        "fps": float(found.findtext("frame_rate", "0")),
    }


def _audio(found: ET.Element | None) -> dict[str, str | int]:
    if found is None or not found.findtext("codec"):
        return {}
    return {
        "codec": found.findtext("codec", ""),
        "sampleRate": int(found.findtext("sample_rate", "0")),
        "channels": int(found.findtext("channels", "0")),
    }


class NginxRtmp:
    """The running nginx, asked over a Unix socket that only its owner can reach."""

    name = "nginx"

    def __init__(self, media_socket: Path) -> None:
        self.media_socket = media_socket

    def look(self) -> Look:
        told = self._ask("/stat")
        return parse_stat(told.body, told.headers.get("x-instance", ""))

    def drop(self, client_id: str) -> None:
        """Close a client's connection. By its number: a name could be someone else's by now."""
        self._ask("/control/drop/client?" + urlencode({"app": "live", "clientid": client_id}))

    def _ask(self, path: str) -> Told:
        told = ask(self.name, f"http://media{path}", unix=self.media_socket)
        if told.status >= 400 and told.status != 404:
            raise MediaServerError(f"nginx answers {told.status} to {path}", gone=False)
        return told


def running(config: Config) -> NginxRtmp:
    return NginxRtmp(config.media_socket)


def configuration(
    config: Config, instance: str, hook_secret: str, playback_key: str, user: str | None
) -> str:
    """nginx.conf for this box. `user`: whom the workers run as, None where nginx is not started by root."""
    environment = Environment(  # noqa: S701  nothing here is HTML
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("nginx.conf.j2").render(
        config=config,
        takes_rtmp=config.media_server == KIND,
        srs_login=b64encode(srs.login(hook_secret).encode()).decode(),
        rtmp_module=nginx_rtmp_module(),
        stream_module=nginx_stream_module(),
        instance=instance,
        hook_url=f"http://unix:{config.hook_socket}:/hooks/{KIND}/{hook_secret}?instance={instance}",
        playback_key=playback_key,
        user=user,
        rtmp_listens=listens(config.media_bind, config.rtmp_port, loopback=True),
        rtmps_listens=listens(config.media_bind, config.rtmps_port, loopback=False),
        relay_port=_free_port() if config.has_rtmps else None,
        http_listens=listens(config.media_bind, config.http_port, loopback=False),
        http2_directive=version() >= HTTP2_DIRECTIVE,
        files=min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        api=f"{_reachable(config.host)}:{config.port}",
    )


def listens(bind: str | None, port: int, *, loopback: bool) -> list[str]:
    """listen directives' addresses; `loopback`: packagers must always get in by 127.0.0.1."""
    if bind is None:
        return [f"0.0.0.0:{port}"] + ([f"[::]:{port} ipv6only=on"] if _has_ipv6() else [])
    chosen = f"[{bind}]:{port} ipv6only=on" if ":" in bind else f"{bind}:{port}"
    if loopback and bind not in ("0.0.0.0", "127.0.0.1"):  # noqa: S104
        return [chosen, f"127.0.0.1:{port}"]
    return [chosen]


def worker_user(media_dir: Path) -> str | None:
    """Whom nginx's workers run as when root starts it: www-data, unless a parent folder shuts it out.

    A clone below /root or a mktemp folder (0700) can be read by root alone; then the workers stay root.
    """
    if os.geteuid() != 0:
        return None
    shut = [folder for folder in media_dir.parents if not folder.stat().st_mode & 0o001]
    return "root" if shut else media_server_user().pw_name


def version() -> tuple[int, ...]:
    """nginx's, such as (1, 22, 1)."""
    program = nginx_program()
    if program is None:
        return ()
    told = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=10, check=False).stderr
    found = re.search(r"nginx/([0-9.]+)", told)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _free_port() -> int:
    """Taken by nginx in a moment. Should somebody be quicker, it ends, and is started with another."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104
        return "127.0.0.1"
    return bracketed(host)


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True
