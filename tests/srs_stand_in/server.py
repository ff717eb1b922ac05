"""The program: srs.conf, RTMP clients, hooks, HTTP API."""

import asyncio
import contextlib
import ctypes
import json
import os
import re
import secrets
import string
import sys
import time
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.srs_stand_in import rtmp
from tests.srs_stand_in.hls import Hls, Rules

VERSION = "6.0.157"
HOOK_S = 30.0
PR_SET_NAME = 15
PROFILES = {66: "Baseline", 77: "Main", 100: "High"}


def parsed(text: str) -> dict[str, Any]:
    """A configuration: what a directive says, or for a block the same of what is in it. `vhost x` is a name."""
    words = re.findall(r"[{};]|[^\s{};]+", re.sub(r"#.*", "", text))

    def block() -> dict[str, Any]:
        found: dict[str, Any] = {}
        said: list[str] = []
        while words:
            word = words.pop(0)
            if word == "}":
                return found
            if word == ";":
                found[said[0]] = said[1:]
            elif word == "{":
                found[" ".join(said)] = block()
            if word in ";{":
                said = []
            else:
                said.append(word)
        return found

    return block()


def short_id(prefix: str = "") -> str:
    return prefix + "".join(
        secrets.choice(string.ascii_lowercase + string.digits) for _ in range(7 if prefix else 8)
    )


@dataclass
class Client:
    """`cut`: it is told to go."""

    connection: rtmp.Connection
    ip: str
    id: str = field(default_factory=short_id)
    app: str = ""
    tc_url: str = ""
    page_url: str = ""
    stream: str = ""
    param: str = ""
    publishes: bool = True
    began: float = field(default_factory=time.monotonic)
    task: asyncio.Task[None] | None = None
    heard: bool = False  # media, since the last look for it

    @property
    def url(self) -> str:
        """What SRS takes the stream for: without what follows its last dot."""
        return f"/{self.app}/{self.stream}".rpartition(".")[0] or f"/{self.app}/{self.stream}"


@dataclass
class Source:
    """A stream. It outlives its publishers, and with it the numbers of its segments."""

    hls: Hls
    id: str = field(default_factory=lambda: short_id("vid-"))
    publisher: Client | None = None
    cid: str | None = None
    video: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None


class Server:
    def __init__(self, conf: dict[str, Any]) -> None:
        self.conf = conf
        self.vhost = conf["vhost __defaultVhost__"]
        self.ids = {"server": self._kept_id(), "service": short_id(), "pid": str(os.getpid())}
        self.clients: dict[str, Client] = {}
        self.sources: dict[str, Source] = {}
        said = {name: value[0] for name, value in self.vhost["hls"].items()}
        self.rules = Rules(
            Path(said["hls_path"]),
            said["hls_m3u8_file"],
            said["hls_ts_file"],
            float(said["hls_fragment"]),
            float(said["hls_window"]),
            float(said["hls_aof_ratio"]),
        )
        auth = conf["http_api"]["auth"]
        login = f"{auth['username'][0]}:{auth['password'][0]}"
        self.login = f"Basic {b64encode(login.encode()).decode()}"

    def _kept_id(self) -> str:
        path = Path(self.conf["pid"][0]).with_suffix(".id")
        if not path.exists():
            path.write_text(short_id("vid-"))
        return path.read_text()

    async def run(self) -> None:
        Path(self.conf["pid"][0]).write_text(str(os.getpid()))
        for place in self.conf["listen"]:
            await asyncio.start_server(self.take, *_place(place))
        await asyncio.start_server(self.answer, *_place(self.conf["http_api"]["listen"][0]))
        await asyncio.Event().wait()

    # RTMP.

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(rtmp.Connection(reader, writer), writer.get_extra_info("peername")[0])
        client.task = asyncio.current_task()
        try:
            await client.connection.handshake()
            await self._serve(client)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _serve(self, client: Client) -> None:
        connection = client.connection
        async for message in connection.messages():
            if message.kind != rtmp.COMMAND:
                continue
            name, number, about, *more = rtmp.decoded(message.body)
            if name == "connect":
                client.app, client.tc_url = about["app"], about.get("tcUrl", "")
                client.page_url = about.get("pageUrl", "")
                info = {"level": "status", "code": "NetConnection.Connect.Success"}
                connection.command("_result", number, {"fmsVer": "FMS/3,5,3,888"}, info)
            elif name == "createStream":
                connection.command("_result", number, None, 1)
            elif name == "FCPublish":
                connection.command("onFCPublish", 0, None, {"code": "NetStream.Publish.Start"})
            elif name in ("publish", "play"):
                client.stream, query, param = str(more[0]).partition("?")
                client.param, client.publishes = query + param, name == "publish"
                await (self._publish(client) if client.publishes else self._hook("on_play", client))
                return

    async def _publish(self, client: Client) -> None:
        if not client.stream:
            return
        self.clients[client.id] = client
        source = self.sources.setdefault(client.url, Source(Hls(self.rules, client.stream)))
        try:
            if not await self._hook("on_publish", client):
                return
            if source.publisher:
                return  # busy: it says so to nobody
            source.publisher, source.cid = client, client.id
            watch = asyncio.create_task(self._watch(client))
            try:
                source.hls.publish()
                started = {"level": "status", "code": "NetStream.Publish.Start", "description": "Started"}
                client.connection.command("onStatus", 0, None, started, stream_id=1)
                await self._media(client, source)
            finally:
                watch.cancel()
                source.publisher = source.video = source.audio = None
                source.hls.unpublish()
                await self._hook("on_unpublish", client)
        finally:
            del self.clients[client.id]

    async def _media(self, client: Client, source: Source) -> None:
        size: dict[str, Any] = {}
        async for message in client.connection.messages():
            body = message.body
            if message.kind == rtmp.META:
                size = next(each for each in rtmp.decoded(body) if isinstance(each, dict))
            elif message.kind in (rtmp.VIDEO, rtmp.AUDIO) and len(body) > 4:
                client.heard = True
                if message.kind == rtmp.VIDEO:
                    if body[1] == 0:
                        source.video = _video(body[5:], size)
                    source.hls.video(message.time_ms, body)
                else:
                    if body[1] == 0:
                        source.audio = {"codec": "AAC", "sample_rate": 44100, "channel": 2, "profile": "LC"}
                    source.hls.audio(message.time_ms, body)
            elif message.kind == rtmp.COMMAND and b"FCUnpublish" in body:
                return

    async def _watch(self, client: Client) -> None:
        """Looks once after the first time, then again and again after the other, whether anything came."""
        times = self.vhost["publish"]
        pause = float(times["firstpkt_timeout"][0])
        while True:
            await asyncio.sleep(pause / 1000)
            if not client.heard:
                client.task.cancel()
            client.heard = False
            pause = float(times["normal_timeout"][0])

    # Hooks.

    async def _hook(self, action: str, client: Client) -> bool:
        """Whether all of them say yes, or what has ended was told."""
        for url in self.vhost["http_hooks"].get(action, []):
            try:
                told = asyncio.shield(asyncio.wait_for(_post(url, self.hook_body(action, client)), HOOK_S))
                if not await told:
                    return False
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                return False
        return True

    def hook_body(self, action: str, client: Client) -> bytes:
        source = self.sources.get(client.url)
        fields = {"server_id": self.ids["server"], "service_id": self.ids["service"], "action": action}
        fields |= {"client_id": client.id, "ip": client.ip, "vhost": "__defaultVhost__", "app": client.app}
        names = {"tcUrl": client.tc_url, "stream": client.stream, "param": client.param}
        if action == "on_play":
            names = {"stream": client.stream, "tcUrl": client.tc_url, "param": client.param}
            names["pageUrl"] = client.page_url
        fields |= names
        fields |= {"stream_url": client.url, "stream_id": source.id if source else short_id("vid-")}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()

    # API.

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            sent = re.search(r"(?im)^authorization: (.*?)\r?$", head)
            status, said = (401, None) if not sent or sent[1] != self.login else self.told(method, path)
            body = b"" if said is None else json.dumps(said, separators=(",", ":")).encode()
            lines = [f"HTTP/1.1 {status} X", "Connection: Close", f"Content-Length: {len(body)}"]
            lines += ["Content-Type: application/json", f"Server: SRS/{VERSION}(Hang)", "", ""]
            writer.write("\r\n".join(lines).encode() + body)
            await writer.drain()
        writer.close()

    def told(self, method: str, path: str) -> tuple[int, dict[str, Any] | None]:
        parts = urlsplit(path)
        kind, _, name = parts.path.removeprefix("/api/v1/").partition("/")
        if method == "DELETE" and kind == "clients":
            client = self.clients.get(unquote(name))
            if client is None:
                return 200, {"code": 2049}
            client.task.cancel()
            return 200, {"code": 0} | self.ids
        if kind == "versions":
            major, minor, revision = map(int, VERSION.split("."))
            version = {"major": major, "minor": minor, "revision": revision, "version": VERSION}
            return 200, {"code": 0} | self.ids | {"data": version}
        if kind not in ("streams", "clients"):
            return 404, None
        if not parts.path.endswith("/"):
            return 302, None
        asked = {key: int(value) for key, (value,) in parse_qs(parts.query).items()}
        start, count = asked.get("start", 0), max(10, asked.get("count", 10))
        found = (
            self._streams() if kind == "streams" else [self._client(each) for each in self.clients.values()]
        )
        return 200, {"code": 0} | self.ids | {kind: found[start : start + count]}

    def _streams(self) -> list[dict[str, Any]]:
        found = []
        for url, source in self.sources.items():
            there = [each for each in self.clients.values() if each.url == url]
            if not there:
                continue
            came = sum(each.connection.received for each in there)
            publish = {"active": source.publisher is not None, "cid": source.cid}
            found.append(
                {"id": source.id, "name": there[0].stream, "vhost": "vid-s024600", "app": there[0].app}
                | {"tcUrl": there[0].tc_url, "url": url, "live_ms": round(time.time() * 1000)}
                | {"clients": len(there), "frames": 0, "send_bytes": 4386, "recv_bytes": came}
                | {"kbps": {"recv_30s": 0, "send_30s": 0}, "publish": publish}
                | {"video": source.video, "audio": source.audio}
            )
        return found

    def _client(self, client: Client) -> dict[str, Any]:
        source = self.sources.get(client.url)
        return (
            {"id": client.id, "vhost": "vid-s024600", "stream": source.id if source else "", "ip": client.ip}
            | {"pageUrl": client.page_url, "swfUrl": "", "tcUrl": client.tc_url, "url": client.url}
            | {"name": client.stream, "type": "fmle-publish", "publish": client.publishes}
            | {"alive": round(time.monotonic() - client.began, 2), "send_bytes": 4386}
            | {"recv_bytes": client.connection.received, "kbps": {"recv_30s": 0, "send_30s": 0}}
        )


def _video(config: bytes, size: dict[str, Any]) -> dict[str, Any]:
    level = f"{config[3] / 10:g}"
    wide, high = int(size.get("width", 0)), int(size.get("height", 0))
    return {
        "codec": "H264",
        "profile": PROFILES.get(config[1], "Other"),
        "level": level,
        "width": wide,
        "height": high,
    }


async def _post(url: str, body: bytes) -> bool:
    """200 or 201 with a code that is the number 0, or the digit alone: anything else is a no."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        head = [f"POST {parts.path} HTTP/1.1", "Connection: Keep-Alive", f"Content-Length: {len(body)}"]
        head += [
            "Content-Type: application/json",
            f"Host: {parts.netloc}",
            f"User-Agent: SRS/{VERSION}(Hang)",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?i)\r\ncontent-length: (\d+)", answer)
        said = await reader.readexactly(int(length[1]) if length else 0)
    finally:
        writer.close()
    if int(answer.split(" ")[1]) not in (200, 201):
        return False
    told = json.loads(said)
    return said == b"0" or (isinstance(told, dict) and type(told.get("code")) is int and told["code"] == 0)


def _place(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]") or "0.0.0.0", int(port)


def main(arguments: list[str]) -> None:
    if arguments == ["-v"]:
        print(VERSION, file=sys.stderr)
        return
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"srs")
    server = Server(parsed(Path(arguments[arguments.index("-c") + 1]).read_text()))
    asyncio.run(server.run())
