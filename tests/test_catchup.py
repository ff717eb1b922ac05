"""What is left of broadcasts, on the really running box: catch-up, recordings, pictures, and what is removed."""

import json
import os
import signal
import struct
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import imageio_ffmpeg
import psutil
import pytest

from media import playlists
from tests.box import FFMPEG, Box, Encoder, running_box, short_folder
from tests.browser import chromium, wait_for
from tests.receiver import Receiver
from tests.waiting import until

pytestmark = pytest.mark.box


def probe(url: str) -> dict:
    """What a player finds: every stream and the length, by reading the whole of it."""
    found = subprocess.run(
        ["/usr/bin/ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", url],
        capture_output=True,
        check=True,
        timeout=30,
    )
    return json.loads(found.stdout)


def decoded(url: str) -> tuple[int, str]:
    """How many pictures can be decoded, and what the decoder complained of."""
    found = subprocess.run(
        [FFMPEG, "-nostdin", "-v", "error", "-stats", "-i", url, "-map", "0:v", "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = found.stderr.replace("\r", "\n").splitlines()
    counts = [line for line in lines if line.startswith("frame=")]
    return int(counts[-1].partition("=")[2].split()[0]), "\n".join(set(lines) - set(counts)).strip()


# By hls.js, which the page has for its own player.
PLAY = """
window.shown = document.body.appendChild(document.createElement("video"));
shown.muted = true;
const hls = new Hls();
hls.loadSource(arguments[0]);
hls.attachMedia(shown);
shown.play();
"""


def seconds_of(text: str) -> float:
    return playlists.parse(text).seconds


def status(box: Box, path: str) -> int:
    request = urllib.request.Request(f"{box.url}{path}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def headers(url: str, **sent: str) -> tuple[int, dict[str, str]]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=sent), timeout=5) as reply:
        return reply.status, dict(reply.headers)


def broadcast(box: Box, made: dict, seconds: float = 4, **encoder: object) -> None:
    """A session of about so long."""
    with Encoder(box, made["streamToken"], **encoder):
        box.await_status(made["id"], "live")
        until(lambda: len(box.playlist(made["id"]).split("#EXTINF")) > seconds, 30, "segments")
    box.await_status(made["id"], "init")


def videos(box: Box, channel_id: str) -> list[dict]:
    return box.read(f"/v1/video?channelId={channel_id}&order=asc")


def test_catch_up_is_the_whole_broadcast_over_a_reconnection_and_recordings_are_one_file_per_session(box):
    with Receiver() as receiver:
        hook = box.call("POST", "/v1/webhook", {"uri": receiver.url, "event": "video_ready"})[1]["data"]
        not_kept = box.create(catchup=False, stopTimeout=0)
        with Encoder(box, not_kept["streamToken"]):
            box.await_status(not_kept["id"], "live")
        box.await_status(not_kept["id"], "ended")
        made = box.create(record=True, thumbnail=True, thumbInterval=5)
        channel_id = made["id"]
        broadcast(box, made)
        first = until(
            lambda: videos(box, channel_id), 10, "the first session's recording, before the channel ends"
        )
        assert [video["type"] for video in first] == ["record"]
        broadcast(box, made)
        box.call("DELETE", f"/v1/live/{channel_id}")
        began = time.monotonic()
        channel = until(lambda: (it := box.channel(channel_id))["videoUrl"] and it, 15, "the catch-up")
        print(f"ready {time.monotonic() - began:.2f} s after ended")
        until(lambda: len(videos(box, channel_id)) == 3, 10, "both recordings")
        told = until(lambda: len(receiver.bodies()) == 3 and receiver.bodies(), 10, "three events")
    box.call("DELETE", f"/v1/webhook/{hook['id']}")
    shown = {video["id"]: video for video in videos(box, channel_id)}
    assert {body["video"]["id"] for body in map(json.loads, told)} == shown.keys()

    # The catch-up: everything, once, in order, with an end.
    text = box.get(f"/play/{channel_id}/source_dvr.m3u8")
    assert (text.count("#EXT-X-DISCONTINUITY\n"), text.count("#EXT-X-ENDLIST")) == (1, 1)
    on_disk = list((box.data_dir / "media" / channel_id).glob("ses_*/[0-9]*.ts"))
    entries = playlists.parse(text).entries
    assert len(entries) == len({entry.uri for entry in entries}) == len(on_disk), "no segment is left out"
    length = seconds_of(text)
    on_air = sum(session["duration"] for session in box.sessions(channel_id))
    assert length >= on_air - 1, "not even the last segment of a broadcast that was stopped"
    pictures, complaints = decoded(channel["videoUrl"])
    assert abs(pictures - 25 * length) <= 4
    assert complaints == ""
    assert abs(shown_of(shown, "catchup")[0]["duration"] - length) <= 1

    # The recordings: playable while they are being loaded, with ranges.
    recordings = shown_of(shown, "record")
    channel = box.channel(channel_id)
    assert [video["url"] for video in recordings] == channel["recordUrl"]
    total = 0.0
    for video in recordings:
        found = probe(video["url"])
        assert {stream["codec_name"] for stream in found["streams"]} == {"h264", "aac"}
        assert abs(float(found["format"]["duration"]) - video["duration"]) <= 1
        total += float(found["format"]["duration"])
        assert decoded(video["url"])[1] == ""
        file = box.data_dir / "media" / channel_id / video["url"].rpartition("/")[2]
        assert boxes(file)[:2] == ["ftyp", "moov"], "what a player needs stands first"
        assert file.stat().st_size == video["size"]
        code, sent = headers(video["url"], Range="bytes=0-99")
        assert (code, sent["Content-Length"], sent["Content-Type"]) == (206, "100", "video/mp4")
        assert sent["Access-Control-Allow-Origin"] == "*"
    assert abs(total - length) < 1

    # The picture and the storyboard.
    assert channel["thumbnailUrl"].endswith(f"/play/{channel_id}/thumbnail.jpg")
    picture = probe(channel["thumbnailUrl"])["streams"][0]
    assert (picture["codec_name"], picture["width"], picture["height"]) == ("mjpeg", 400, 400)
    board = until(lambda: box.get(f"/play/{channel_id}/storyboard.vtt"), 15, "the storyboard")
    assert board.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:")
    assert "storyboard-0.jpg#xywh=0,0,160,90" in board
    assert headers(f"{box.url}/play/{channel_id}/storyboard-0.jpg")[1]["Content-Type"] == "image/jpeg"

    with chromium() as browser:
        browser.get(f"{box.url}/watch/{channel_id}")
        browser.execute_script(PLAY, channel["videoUrl"])
        wait_for(browser, "return shown.currentTime > 0.5", 20)
        browser.execute_script("shown.currentTime = arguments[0]", length - 2)
        wait_for(browser, f"return shown.currentTime > {length - 1.2}", 20)
        seen = browser.execute_script("return shown.duration")
        assert abs(seen - length) < 1.5

    # As one file, when somebody asks for it.
    [catchup] = shown_of(shown, "catchup")
    path = f"/v1/video/{catchup['id']}/download"
    assert box.call("GET", path)[0] == 422, "nobody has asked yet"
    assert status(box, f"/play/{channel_id}/catchup.mp4") == 404
    assert box.call("POST", path)[1]["data"]["status"] == "preparing"
    ready = until(lambda: (it := box.read(path))["status"] == "ready" and it, 15, "the download")
    found = probe(ready["url"])
    assert abs(float(found["format"]["duration"]) - length) < 1
    pictures, complaints = decoded(ready["url"])
    assert (abs(pictures - 25 * length) <= 4, complaints) == (True, "")

    # Live is over, and where nothing is to be kept nothing is.
    folder = box.data_dir / "media" / not_kept["id"]
    until(lambda: not folder.exists(), 60, "nothing is left of a channel without catch-up")
    assert box.channel(not_kept["id"])["videoUrl"] is None
    until(lambda: status(box, f"/play/{channel_id}/master.m3u8") == 404, 60, "the live playlist is gone")
    segment = f"/play/{channel_id}/{entries[0].uri}"
    assert status(box, segment) == 200
    # Deleting one leaves the others.
    assert box.call("DELETE", f"/v1/video/{catchup['id']}")[0] == 204
    gone = [
        "master_dvr.m3u8",
        "source_dvr.m3u8",
        "storyboard.vtt",
        "storyboard-0.jpg",
        "catchup.mp4",
        entries[0].uri,
    ]
    for name in gone:
        until(lambda name=name: status(box, f"/play/{channel_id}/{name}") == 404, 10, f"{name} is gone")
    assert box.channel(channel_id)["videoUrl"] is None
    assert probe(recordings[0]["url"])["streams"]
    for video in recordings:
        assert box.call("DELETE", f"/v1/video/{video['id']}")[0] == 204
    until(lambda: not (box.data_dir / "media" / channel_id).exists(), 10, "nothing is left on disk")
    assert box.channel(channel_id)["thumbnailUrl"] is None
    box.call("DELETE", f"/v1/live/{channel_id}?delete=true")


def shown_of(shown: dict[str, dict], kind: str) -> list[dict]:
    return [video for video in shown.values() if video["type"] == kind]


def boxes(file: Path) -> list[str]:
    """The names of an mp4's outer boxes, in order."""
    data, at, found = file.read_bytes(), 0, []
    while at + 8 <= len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        found.append(name.decode())
        at += size if size > 1 else struct.unpack(">Q", data[at + 8 : at + 16])[0]
    return found


SQUARE = "color=black:size=640x360:rate=25,drawbox=x=275:y=135:w=90:h=90:color=white:t=fill"


def test_a_thumbnail_is_cut_to_fit_and_not_distorted_and_goes_on_with_the_stream(box):
    made = box.create(thumbnail=True, thumbWidth=300, thumbHeight=200, thumbInterval=5, dvr=True)
    encoder = Encoder(box, made["streamToken"])
    encoder.argv[encoder.argv.index("testsrc2=size=640x360:rate=25")] = SQUARE
    assert box.channel(made["id"])["thumbnailUrl"] is None
    with encoder:
        box.await_status(made["id"], "live")
        url = until(lambda: box.channel(made["id"])["thumbnailUrl"], 10, "a picture")
        assert box.channel(made["id"])["dvrUrl"].endswith(f"/play/{made['id']}/master_dvr.m3u8")
        rows = grey(url, 300, 200)
        first = headers(url)[1]["Last-Modified"]
        until(lambda: headers(url)[1]["Last-Modified"] != first, 15, "the next picture")
    # 640x360 covers 300x200 as 356x200: the white square of 90 becomes one of 50, in the middle.
    white = [[value > 128 for value in row] for row in rows]
    height = sum(row[150] for row in white)
    width = sum(white[100])
    assert (abs(width - 50) <= 2, abs(height - 50) <= 2) == (True, True), (width, height)
    assert white[100][125 + 3 : 175 - 3] == [True] * 44, "in the middle"
    assert headers(url)[1]["Cache-Control"].endswith("no-cache")
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def grey(url: str, width: int, height: int) -> list[bytes]:
    argv = [FFMPEG, "-nostdin", "-v", "error", "-i", url, "-pix_fmt", "gray", "-f", "rawvideo", "-"]
    data = subprocess.run(argv, capture_output=True, check=True, timeout=20).stdout
    assert len(data) == width * height
    return [data[at : at + width] for at in range(0, len(data), width)]


def test_of_a_deleted_channel_nothing_is_left_within_ten_seconds_not_even_while_it_is_live(box):
    made = box.create(record=True, thumbnail=True, dvr=True)
    broadcast(box, made, 2)
    until(lambda: videos(box, made["id"]), 10, "a recording")
    folder = box.data_dir / "media" / made["id"]
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
        until(lambda: (folder / "thumbnail.jpg").exists(), 10, "a picture")
        served = [f"/play/{path.relative_to(folder.parent)}" for path in folder.rglob("*")]
        served = [
            path
            for path in served
            if path.endswith((".m3u8", ".ts", ".mp4", ".jpg")) and status(box, path) == 200
        ]
        assert {path.rpartition(".")[2] for path in served} == {"m3u8", "ts", "mp4", "jpg"}
        assert box.call("DELETE", f"/v1/live/{made['id']}?delete=true")[0] == 204
        until(lambda: {status(box, path) for path in served} == {404}, 10, "nothing is served any more")
        until(lambda: not folder.exists(), 15, "nothing is left")
    assert videos(box, made["id"]) == []


# The first of these calls writes half a file and hangs, as an ffmpeg that is about to be killed.
HALF = """#!/bin/sh
case "$*" in
*faststart*) if mkdir "{once}" 2>/dev/null; then
    for last; do :; done
    head -c 100000 /dev/zero > "$last"
    sleep 600
fi ;;
esac
exec "{ffmpeg}" "$@"
"""


def test_a_recording_whose_worker_is_killed_while_it_is_made_is_made_again_and_live_goes_on():
    with short_folder() as folder:
        program, once = folder / "ffmpeg", folder / "once"
        program.write_text(HALF.format(once=once, ffmpeg=imageio_ffmpeg.get_ffmpeg_exe()))
        program.chmod(0o755)
        with running_box(folder, FFMPEG=str(program)) as box:
            made = box.create(record=True)
            broadcast(box, made, 2)
            media = box.data_dir / "media" / made["id"]
            until(lambda: once.exists() and [*media.glob(".*.mp4.*")], 15, "the recording is being made")
            with Encoder(box, made["streamToken"]) as encoder:
                box.await_status(made["id"], "live")
                assert [*media.glob("ses_*.mp4")] == videos(box, made["id"]) == []
                left = psutil.Process(json.loads((box.data_dir / "run/job.json").read_text())["pid"])
                worker = box.pid("worker")
                os.kill(worker, signal.SIGKILL)
                [video] = until(lambda: videos(box, made["id"]), 20, "the recording")
                assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE, (
                    "nobody waits for it any more"
                )
                assert box.channel(made["id"])["status"] == "live"
                assert encoder.process.poll() is None
            assert decoded(video["url"])[1] == ""
            box.call("DELETE", f"/v1/live/{made['id']}")
            until(lambda: box.channel(made["id"])["videoUrl"], 10, "the catch-up")
            until(lambda: not [*media.glob(".*")], 10, "no draft is left")
