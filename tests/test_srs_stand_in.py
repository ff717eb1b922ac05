"""What stands in for SRS says what SRS said: held against the recordings, field by field."""

import http.client
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from config import from_env
from media import ts
from media.playlists import parse
from media.servers import MediaServerError
from media.servers.srs import Srs, configuration, home
from tests.box import FFMPEG, PROJECT, Encoder, free_ports
from tests.conftest import basic
from tests.waiting import until

RECORDINGS = Path(__file__).parent / "fixtures" / "srs"
STAND_IN = PROJECT / "tests/srs_stand_in/srs"
SECRET = "0123abc"


class Hooks(BaseHTTPRequestHandler):
    """Notes each call, and answers it with what `answer` is."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((self.headers, json.loads(body)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def standing(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A stand-in that runs with the configuration that we write for SRS."""
    folder = tmp_path_factory.mktemp("srs")
    rtmp, api = free_ports(2)
    hooks = ThreadingHTTPServer(("127.0.0.1", 0), Hooks)
    hooks.calls, hooks.answer = [], b'{"code":0}'
    threading.Thread(target=hooks.serve_forever, args=(0.01,), daemon=True).start()
    ports = {"RTMP_PORT": str(rtmp), "SRS_API_PORT": str(api), "HOOK_PORT": str(hooks.server_port)}
    config = from_env({"DATA_DIR": str(folder), "MEDIA_SERVER": "srs", "SRS": str(STAND_IN)} | ports)
    home(config).mkdir(parents=True)
    (folder / "srs.conf").write_text(configuration(config, SECRET))
    process = subprocess.Popen([STAND_IN, "-c", folder / "srs.conf"])
    asked = Srs(f"http://127.0.0.1:{api}", SECRET)
    until(lambda: answers(asked), 10, "it answers")
    yield SimpleNamespace(hooks=hooks, asked=asked, rtmp_port=rtmp, rtmps_port=0, ingest=config.ingest_dir)
    process.terminate()
    process.wait(10)
    hooks.shutdown()
    hooks.server_close()


@pytest.fixture
def srs(standing) -> SimpleNamespace:
    standing.hooks.calls.clear()
    standing.hooks.answer = b'{"code":0}'
    return standing


def answers(asked: Srs) -> bool:
    try:
        return asked.look() is not None
    except MediaServerError:
        return False


def recorded_hook(action: str) -> dict:
    lines = map(json.loads, (RECORDINGS / "s01_normal.jsonl").read_text().splitlines())
    return next(line for line in lines if line.get("action") == action)


def recorded(name: str) -> dict:
    return json.loads((RECORDINGS / f"s01_normal.{name}.json").read_text())


def kinds(value: Any) -> Any:
    """Names and kinds of everything in an answer, in their order."""
    if isinstance(value, dict):
        return [(name, kinds(each)) for name, each in value.items()]
    if isinstance(value, list):
        return [kinds(each) for each in value[:1]]
    return type(value)


def told(srs: SimpleNamespace, key: str) -> list[str]:
    """What was called for a key, in order."""
    return [body["action"] for _, body in srs.hooks.calls if body["stream"] == key]


def await_calls(srs: SimpleNamespace, key: str, *actions: str) -> None:
    until(lambda: told(srs, key) == list(actions), 10, f"{key}: {actions}")


def encoder(srs: SimpleNamespace, key: str) -> Encoder:
    return Encoder(srs, key, size="160x90")


def listed(srs: SimpleNamespace, key: str) -> list[str]:
    try:
        return [entry.uri for entry in parse((srs.ingest / key / "index.m3u8").read_text()).entries]
    except FileNotFoundError:
        return []


def request(
    srs: SimpleNamespace, path: str, *, method: str = "GET", login: bool = True
) -> tuple[int, Any, Any]:
    asking = http.client.HTTPConnection("127.0.0.1", int(srs.asked.api.rpartition(":")[2]), timeout=5)
    asking.request(method, path, headers={"Authorization": basic("livestream", SECRET)} if login else {})
    reply = asking.getresponse()
    body = reply.read()
    asking.close()
    return reply.status, reply.getheaders(), json.loads(body or b"null")


def test_its_hooks_are_srs_s_to_the_letter_and_its_lists_in_names_and_kinds(srs):
    with encoder(srs, "KEY?token=abc"):
        await_calls(srs, "KEY", "on_publish")
        until(lambda: srs.asked.look().publishers, 10, "it is listed")
        until(lambda: srs.asked.look().publishers[0].audio, 10, "its headers have come")
        for name in ("streams", "clients"):
            status, headers, body = request(srs, f"/api/v1/{name}/")
            assert status == 200
            assert kinds(body) == kinds(recorded(f"publishing+1player.{name}"))
            assert [name for name, _ in headers] == ["Connection", "Content-Length", "Content-Type", "Server"]
            assert dict(headers)["Server"] == "SRS/6.0.157(Hang)"
        stream, client = (request(srs, f"/api/v1/{name}/")[2][name][0] for name in ("streams", "clients"))
        assert stream["publish"] == {"active": True, "cid": client["id"]}
        assert (stream["clients"], client["type"], client["publish"]) == (1, "fmle-publish", True)
    await_calls(srs, "KEY", "on_publish", "on_unpublish")
    for headers, body in srs.hooks.calls:
        real = recorded_hook(body["action"])
        assert headers.keys() == [name for name, _ in real["headers"]]
        assert headers["User-Agent"] == dict(real["headers"])["User-Agent"]
        assert headers["Connection"] == dict(real["headers"])["Connection"]
        assert list(body) == list(real["json"])
        for name in ("action", "ip", "vhost", "app", "stream", "param", "stream_url"):
            assert body[name] == real["json"][name]
        for name in ("server_id", "service_id", "client_id", "stream_id"):
            assert len(body[name]) == len(real["json"][name])
    (_, came), (_, left) = srs.hooks.calls
    assert {name for name in came if came[name] != left[name]} == {"action"}
    assert request(srs, "/api/v1/streams/")[2].keys() == recorded("idle.streams").keys()
    assert request(srs, "/api/v1/streams/")[2]["streams"] == []


def test_a_player_is_asked_about_and_refused(srs):
    srs.hooks.answer = b'{"code":1}'
    url = f"rtmp://127.0.0.1:{srs.rtmp_port}/live/KEY?token=abc"
    played = subprocess.run(
        [FFMPEG, "-nostdin", "-v", "quiet", "-i", url, "-f", "null", "-"], timeout=20, check=False
    )
    assert played.returncode != 0
    (_, body), real = srs.hooks.calls[0], recorded_hook("on_play")
    assert list(body) == list(real["json"])
    assert body["action"] == "on_play"


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        *(
            (b'{"code":1}', True),
            (b'{"code":"0"}', True),
            (b"0\n", True),
            (b"OK", True),
            (b"", True),
            (b"{}", True),
        ),
        *((b'{"code":0,"data":null}', False), (b"0", False)),
    ],
)
def test_only_a_code_that_is_the_number_0_lets_in_and_a_refused_one_has_no_end(srs, answer, refused):
    srs.hooks.answer = answer
    with encoder(srs, "ANSWERED") as publisher:
        if refused:
            assert publisher.refused()
            assert told(srs, "ANSWERED") == ["on_publish"]
        else:
            until(lambda: srs.asked.look().publishers, 10, "it is let in")
    if not refused:
        await_calls(srs, "ANSWERED", "on_publish", "on_unpublish")


def test_a_second_publisher_is_asked_about_refused_and_not_heard_of_again(srs):
    with encoder(srs, "BUSY"):
        until(lambda: srs.asked.look().publishers, 10, "the first is in")
        with encoder(srs, "BUSY") as second:
            assert second.refused()
        (seen,) = srs.asked.look().publishers
        assert seen.client_id == srs.hooks.calls[0][1]["client_id"]
        srs.asked.drop("nobody")
        srs.asked.drop(seen.client_id)
        await_calls(srs, "BUSY", "on_publish", "on_publish", "on_unpublish")
        assert srs.hooks.calls[-1][1]["client_id"] == seen.client_id


def test_its_segments_get_their_names_when_they_are_whole_and_the_next_publisher_s_go_on(srs):
    folder = srs.ingest / "SEGMENTS"
    with encoder(srs, "SEGMENTS"):
        until(lambda: (folder / "1.ts.tmp").exists(), 10, "the second segment grows")
        assert listed(srs, "SEGMENTS") == ["0.ts"]
    await_calls(srs, "SEGMENTS", "on_publish", "on_unpublish")
    before = listed(srs, "SEGMENTS")
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "index.m3u8"])
    for path in folder.iterdir():
        path.rename(path.with_name(f"old-{path.name}"))
    with encoder(srs, "SEGMENTS"):
        until(lambda: len(listed(srs, "SEGMENTS")) > len(before), 10, "another segment")
    text = (folder / "index.m3u8").read_text()
    assert listed(srs, "SEGMENTS")[: len(before)] == before, "the old ones stay listed"
    assert re.findall(r"#EXT-X-DISCONTINUITY\n.*\n(.*)\n", text) == ["0.ts", f"{len(before)}.ts"]
    found = list(ts.frames((folder / f"{len(before)}.ts").read_bytes()))
    assert next(frame for frame in found if frame.video).key
    assert sum(frame.key for frame in found) == 1


def test_what_is_not_found_is_200_and_who_says_no_password_hears_nothing(srs):
    assert request(srs, "/api/v1/clients/nobody", method="DELETE")[2] == {"code": 2049}
    assert request(srs, "/api/v1/streams")[0] == 302
    assert request(srs, "/api/v1/streams/", login=False)[::2] == (401, None)
    assert kinds(request(srs, "/api/v1/versions")[2])[0] == ("code", int)
