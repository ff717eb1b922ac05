"""A media server that can be made to lie, hang and die at will; it speaks as nginx-rtmp was recorded to speak.

What it says is held against the recordings in test_nginx.py. Publishers are entries of a table: bytes "arrive" with
time. As in nginx, a hook that is not answered is a refusal, and a lost publish_done is not sent again.
"""

import http.client
import re
import secrets
import shutil
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from tests.faults.history import History

RECORDED = Path(__file__).parent.parent / "fixtures" / "nginx-rtmp" / "hls"
SEGMENT_S = 1.0
HOOK_TIMEOUT_S = 10.0  # nginx-rtmp's netcall_timeout
BYTES_PER_S = 75_000
META = (
    "<meta><video><width>640</width><height>360</height><frame_rate>25</frame_rate><codec>H264</codec>"
    "<profile>High</profile><compat>0</compat><level>3.0</level></video><audio><codec>AAC</codec>"
    "<profile>LC</profile><channels>1</channels><sample_rate>44100</sample_rate></audio></meta>"
)


@dataclass
class Client:
    """A publisher that is connected."""

    number: int
    token: str
    stream: str
    since: float = field(default_factory=time.monotonic)
    segments: int = 0  # that have been written

    def shown(self) -> str:
        seconds = time.monotonic() - self.since
        ms, sent = round(seconds * 1000), round(seconds * BYTES_PER_S) + 1
        return (
            f"<stream><name>{self.stream}</name><time>{ms}</time><bw_in>0</bw_in><bytes_in>{sent}</bytes_in>"
            "<bw_out>0</bw_out><bytes_out>0</bytes_out><bw_audio>0</bw_audio><bw_video>0</bw_video>"
            f"<client><id>{self.number}</id><address>127.0.0.1</address><time>{ms}</time>"
            "<flashver>FMLE/3.0 (compatible; Lavf59.27</flashver><dropped>0</dropped><avsync>0</avsync>"
            f"<timestamp>{ms}</timestamp><publishing/><active/></client>{META}"
            "<nclients>1</nclients><publishing/><active/></stream>"
        )


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    nginx: "FakeNginx"

    def handle_error(self, *_: object) -> None:
        """Who asked has gone: it does not wait for ever."""


class _Handler(BaseHTTPRequestHandler):
    server: _UnixServer

    def do_GET(self) -> None:
        nginx, asked = self.server.nginx, urlsplit(self.path)
        if asked.path == "/stat":
            body = nginx.lie(nginx.stat()) if nginx.lie else nginx.stat()
            if not isinstance(body, bytes):
                self._answer_in(body)
                return
        elif asked.path == "/control/drop/client":
            body = str(nginx.drop(int(parse_qs(asked.query)["clientid"][0]))).encode()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Instance", nginx.instance)
        self.end_headers()
        self.wfile.write(body)

    def _answer_in(self, pieces: Iterable[bytes]) -> None:
        """Each as it comes, until there are no more or nobody reads on."""
        self.send_response(200)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        """Quiet: the history has what matters."""


class FakeNginx:
    """`ingest` is where it writes segments, in a folder for each token, as the HLS module does."""

    def __init__(
        self,
        media_socket: Path,
        hook_socket: Path,
        secret: Callable[[], str],
        ingest: Path,
        history: History,
    ) -> None:
        self.media_socket, self.hook_socket = media_socket, hook_socket
        self.secret, self.ingest, self.history = secret, ingest, history
        self.instance = ""
        self.hook_timeout = HOOK_TIMEOUT_S
        self.lie: Callable[[bytes], bytes | Iterable[bytes]] | None = None
        self.clients: dict[int, Client] = {}
        self.lock = threading.Lock()
        self.numbers = 0
        self.server: _UnixServer | None = None

    def start(self) -> None:
        """With a new instance, and its clients numbered from 1 again, as every start of nginx."""
        self.instance, self.numbers = secrets.token_hex(4), 0
        self.media_socket.unlink(missing_ok=True)
        self.server = _UnixServer(str(self.media_socket), _Handler)
        self.server.nginx = self
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        threading.Thread(target=self._write_segments, args=(self.server,), daemon=True).start()
        self.history.write("media", did="start", instance=self.instance)

    def die(self) -> None:
        """kill -9: every connection is cut and nobody is told."""
        self.history.write("media", did="die", instance=self.instance)
        for number in list(self.clients):
            self._cut(number)
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def publishing(self) -> set[str]:
        """The names of the streams that are published now."""
        with self.lock:
            return {client.stream for client in self.clients.values()}

    def publish(self, token: str, *, kill_at: str = "", repeat: int = 0) -> Client | None:
        """An encoder connects; None where it is refused. `repeat`: the number of a client that asks again."""
        with self.lock:
            self.numbers += 0 if repeat else 1
            number = repeat or self.numbers
        instance = self.instance
        status, stream = self.hook("publish", number, token, kill_at=kill_at)
        if status != 302 or instance != self.instance or not re.fullmatch(r"[A-Za-z0-9_]+", stream):
            return None
        client = Client(number, token, stream)
        with self.lock:
            self.clients[number] = client
            self._write_segment(client)
        return client

    def leave(self, client: Client, kill_at: str = "") -> None:
        """The encoder goes, if it is still there."""
        if self.clients.get(client.number) is client and self._cut(client.number):
            self.hook("publish_done", client.number, client.token, kill_at=kill_at)

    def _cut(self, number: int) -> Client | None:
        with self.lock:
            return self.clients.pop(number, None)

    def _write_segments(self, server: _UnixServer) -> None:
        while self.server is server:
            time.sleep(SEGMENT_S)
            with self.lock:
                for client in self.clients.values():
                    self._write_segment(client)

    def _write_segment(self, client: Client) -> None:
        """One more of a recording's segments, and the list, as far as its folder is still there."""
        folder, number = self.ingest / client.token, client.segments
        with suppress(OSError):
            shutil.copyfile(RECORDED / f"{number % 4}.ts", folder / f"{number}.ts")
            first = max(0, number - 9)
            listed = "".join(f"#EXTINF:{SEGMENT_S:.3f},\n{each}.ts\n" for each in range(first, number + 1))
            fresh = folder / "index.m3u8.bak"
            fresh.write_text(
                f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-TARGETDURATION:1\n{listed}"
            )
            fresh.rename(folder / "index.m3u8")
            client.segments += 1

    def drop(self, number: int) -> int:
        self.history.write("media", did="drop", client=number)
        if (client := self._cut(number)) is None:
            return 0
        threading.Thread(target=self.hook, args=("publish_done", number, client.token), daemon=True).start()
        return 1

    def hook(self, call: str, number: int, token: str, *, kill_at: str = "") -> tuple[int, str]:
        """The status and the Location of the answer; 0 where none came in time."""
        asked = self.history.write("hook", call=call, client=number, token=token, instance=self.instance)
        began = time.monotonic()
        try:
            status, stream = self._post(form(call, number, token), kill_at)
        except (OSError, http.client.HTTPException):
            status, stream = 0, ""
        took = round(time.monotonic() - began, 3)
        self.history.write("decision", to=asked, status=status, stream=stream, took=took)
        return status, stream

    def _post(self, body: str, kill_at: str) -> tuple[int, str]:
        connection = _UnixConnection(self.hook_socket, self.hook_timeout)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Connection": "Close"}
        headers |= {"X-Kill-At": kill_at} if kill_at else {}
        path = f"/hooks/nginx-rtmp/{self.secret()}?instance={self.instance}"
        try:
            connection.request("POST", path, body=body, headers=headers)
            reply = connection.getresponse()
            reply.read()
        finally:
            connection.close()
        return reply.status, reply.headers.get("Location", "")

    def stat(self) -> bytes:
        with self.lock:
            streams = "".join(client.shown() for client in self.clients.values())
            count = len(self.clients)
        return (
            '<?xml version="1.0" encoding="utf-8" ?>\n<rtmp>\n<nginx_version>1.22.1</nginx_version>\n'
            f"<server>\n<application>\n<name>live</name>\n<live>\n{streams}<nclients>{count}</nclients>\n"
            "</live>\n</application>\n</server>\n</rtmp>\n"
        ).encode()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("unix", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def form(call: str, number: int, token: str) -> str:
    """A hook's body, field by field as recorded."""
    fields = {
        "app": "live",
        "flashver": "FMLE/3.0 (compatible; Lavf59.27",
        "swfurl": "",
        "tcurl": "rtmp://127.0.0.1:21935/live",
        "pageurl": "",
        "addr": "127.0.0.1",
        "clientid": str(number),
        "call": call,
        "name": token,
    }
    fields |= {"type": "live"} if call == "publish" else {}
    return "&".join(f"{name}={quote(value, safe='/:,(')}" for name, value in fields.items())
