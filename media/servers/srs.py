"""SRS 5 and 6: its hooks, its HTTP API, its configuration.

What is measured of it is in docs/decisions/0021-srs.md, what is read in its sources and documents in 0028-srs-box.md.
"""

import json
import re
import resource
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from config import Config, bracketed
from media.servers import Announcement, Answer, BadHookError, Hook, Look, MediaServerError, Publisher
from media.servers.asking import ask
from media.storage import hook_secret

KIND = "srs"
CALLS = {"on_publish": "publish", "on_unpublish": "unpublish", "on_play": "play"}
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
API_USER = "livestream"
NO_SUCH_CLIENT = 2049
AT_ONCE = 1000
# It wants a file more for each connection than its max_connections, and some for itself, or does not start.
FILES_FOR_ITSELF = 128
MOST_FILES = 65_536
TEMPLATES = Path(__file__).parent


def instance_id(server: object, service: object) -> str:
    """`server` outlives restarts, `service` is new with each: both, or two nodes could be one."""
    if not _is_id(server) or not _is_id(service):
        raise ValueError("no ids of a server and its process")
    return f"{KIND}/{server}/{service}"


def parse_hook(body: bytes, args: Mapping[str, str]) -> Hook:
    """A JSON object. What a publisher wrote behind its key is in `param`, and sometimes there twice: nothing is taken
    from it. A control character in the key makes the JSON invalid."""
    try:
        told = json.loads(body, object_pairs_hook=_each_name_once)
        connection = f"{instance_id(told['server_id'], told['service_id'])}/{told['client_id']}"
    except (ValueError, TypeError, KeyError, RecursionError):
        raise BadHookError("a hook is a JSON object with server_id, service_id and client_id") from None
    if not _is_id(told["client_id"]):
        raise BadHookError("a hook needs the client_id that SRS gives")
    stream = _text(told, "stream")
    # In stream_url SRS says which stream it takes this for: of another vhost, or without what follows a dot in the
    # key, it is not the one that the key names.
    ours = _text(told, "app") == "live" and _text(told, "stream_url") == f"/live/{stream}"
    return Hook(
        call=CALLS.get(_text(told, "action"), "other"),
        connection=connection,
        stream_token=stream if ours else "",
        client_ip=_text(told, "ip")[:64],
        encoder="",
    )


def answer(stream: str | None) -> Answer:
    """SRS lets in only for 200 and a code that is the number 0. It cannot rename a stream."""
    if stream is None:
        return Answer(403, body=b'{"code":1}', content_type="application/json")
    return Answer(200, body=b'{"code":0}', content_type="application/json")


def announcement(stream_token: str) -> Announcement:
    ids = {"server_id": "vid-doctor", "service_id": secrets.token_hex(4), "client_id": "doctor"}
    where = {"ip": "127.0.0.1", "vhost": "__defaultVhost__", "app": "live", "param": ""}
    key = {"stream": stream_token, "stream_url": f"/live/{stream_token}"}
    fields = {"action": "on_publish"} | ids | where | key
    return Announcement("", json.dumps(fields), "application/json")


def parse_lists(streams: Mapping[str, Any], clients: Mapping[str, Any]) -> Look:
    """The publishers in both lists. A client whose hook is pending, or whose end is, is listed as publishing too: it is
    the stream that says whether it has a publisher, and which. But a stream's bytes count those of its players in."""
    try:
        instance = instance_id(streams["server"], streams["service"])
        if instance != instance_id(clients["server"], clients["service"]):
            raise ValueError("it was started anew in between")
        by_id = {client["id"]: client for client in clients["clients"]}
        active = [
            (stream, by_id[stream["publish"]["cid"]])
            for stream in streams["streams"]
            if stream["publish"]["active"] is True and stream["publish"]["cid"] in by_id
        ]
        publishers = [
            Publisher(
                connection=f"{instance}/{client['id']}",
                client_id=client["id"],
                stream=None,
                bytes_in=int(client["recv_bytes"]),
                video=_video(stream["video"]),
                audio=_audio(stream["audio"]),
            )
            for stream, client in active
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MediaServerError(
            f"SRS lists no streams and clients that can be read: {error}", gone=False
        ) from None
    return Look(instance, publishers)


def _video(told: Mapping[str, Any] | None) -> dict[str, Any]:
    """null until its headers have come. SRS says no frame rate."""
    if not told:
        return {}
    return {name: told.get(name) for name in ("codec", "profile", "width", "height")}


def _audio(told: Mapping[str, Any] | None) -> dict[str, Any]:
    if not told:
        return {}
    return {
        "codec": told.get("codec"),
        "sampleRate": told.get("sample_rate"),
        "channels": told.get("channel"),
    }


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice")
    return fields


def _is_id(value: object) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) else ""


class Srs:
    """The running SRS, asked over its HTTP API, which listens on the loopback and wants a password."""

    name = "SRS"

    def __init__(self, api: str, password: str) -> None:
        self.api = api
        self.password = password

    def look(self) -> Look:
        """Streams first: a client that is missing from the second list has left."""
        streams = self._list("streams")
        return parse_lists(streams, self._list("clients"))

    def drop(self, client_id: str) -> None:
        """Its on_unpublish says nothing of a kick, and it may come back at once: the hook is what keeps it out."""
        self._ask(f"/api/v1/clients/{quote(client_id, safe='')}", method="DELETE", fine=(0, NO_SUCH_CLIENT))

    def _list(self, kind: str) -> dict[str, Any]:
        """All of it in one answer: SRS gives 10 unless asked for more, and says no total. Pages asked one after the
        other are of different moments, and whoever slips from one to the other would be missing, hence lost."""
        count = AT_ONCE
        while True:
            told = self._ask(f"/api/v1/{kind}/?count={count}")
            listed = told.get(kind)
            if not isinstance(listed, list):
                raise MediaServerError(f"SRS lists no {kind}", gone=False)
            if len(listed) < count:
                return told
            count *= 4

    def _ask(self, path: str, *, method: str = "GET", fine: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """What is not found is 200 with a code of its own."""
        told = ask(self.name, f"{self.api}{path}", method=method, login=login(self.password))
        try:
            said = json.loads(told.body)
            code = said["code"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise MediaServerError(
                f"SRS answers {told.status} to {path}, without a code", gone=False
            ) from None
        if told.status != 200 or code not in fine:
            raise MediaServerError(f"SRS answers {told.status} to {path}, code {code}", gone=False)
        return said


def running(config: Config) -> Srs:
    return Srs(f"http://127.0.0.1:{config.srs_api_port}", hook_secret(config))


def login(secret: str) -> str:
    """To its API."""
    return f"{API_USER}:{secret}"


def version(program: str) -> str:
    """Such as 6.0.157; "" where it is another program of that name, as Debian has one."""
    try:
        done = subprocess.run([program, "-v"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"\b([5-9]\.[0-9]+\.[0-9]+)\b", done.stdout + done.stderr)
    return found[1] if found else ""


def home(config: Config) -> Path:
    """Its own folder: configuration, pid, and the id that it keeps over restarts."""
    return config.run_dir / KIND


def files() -> int:
    """How many it may have open: script/srs asks for as many."""
    return min(MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def configuration(config: Config, secret: str) -> str:
    """srs.conf for this box. The secret of the hooks is the password of the API: both sides know both."""
    environment = Environment(  # noqa: S701  nothing here is HTML
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("srs.conf.j2").render(
        config=config,
        listens=listens(config.media_bind, config.rtmp_port),
        api_user=API_USER,
        home=home(config),
        connections=min(10_000, files() - FILES_FOR_ITSELF),
        candidate=urlsplit(config.rtmp_url).hostname,
        secret=secret,
        hook_url=f"http://127.0.0.1:{config.hook_port}/hooks/{KIND}/{secret}",
    )


def listens(bind: str | None, port: int) -> str:
    """Nobody but encoders comes in here."""
    return f"{bracketed(bind)}:{port}" if bind else str(port)
