"""The whole box with MEDIA_SERVER=srs and a stand-in for SRS (tests/srs_stand_in): from the encoder to catch-up."""

import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import from_env
from db import utcnow
from doctor import machine, parts
from doctor.finding import Patient
from media.parts import NAME
from media.playlists import parse
from media.servers.srs import version
from tests.box import FFMPEG, PROJECT, Box, Encoder, free_ports, running_box, short_folder
from tests.test_catchup import decoded, seconds_of
from tests.waiting import until

pytestmark = pytest.mark.box

STAND_IN = str(PROJECT / "tests/srs_stand_in/srs")
PROGRAM = os.environ.get("SRS", STAND_IN)  # a real one, where somebody has it


@pytest.fixture(scope="module")
def srs_box() -> Iterator[Box]:
    hooks, api = map(str, free_ports(2))
    settings = {"MEDIA_SERVER": "srs", "SRS": PROGRAM, "HOOK_PORT": hooks, "SRS_API_PORT": api}
    with short_folder() as folder, running_box(folder, **settings) as running:
        yield running


def files(box: Box, channel_id: str) -> list[list[int]]:
    """The numbers of all segments, by session in their order."""
    playlist = box.playlist(channel_id)
    sessions: dict[str, list[int]] = {}
    for session, number in re.findall(r"^(ses_\w+)/(\d+)\.ts$", playlist, re.MULTILINE):
        sessions.setdefault(session, []).append(int(number))
    return list(sessions.values())


def newest(box: Box, channel_id: str) -> str:
    return box.sessions(channel_id)[0]["id"]


def measured(box: Box, channel_id: str) -> dict | None:
    session = box.sessions(channel_id)[0]
    return session if (session["video"] or {}).get("keyframeInterval") else None


def refused_player(box: Box, key: str) -> bool:
    url = f"rtmp://127.0.0.1:{box.rtmp_port}/live/{key}"
    argv = [FFMPEG, "-nostdin", "-loglevel", "error", "-rw_timeout", "5000000", "-i", url, "-f", "null", "-"]
    return subprocess.run(argv, capture_output=True, timeout=15, check=False).returncode != 0


def test_a_broadcast_over_two_connections_is_played_stopped_and_kept(srs_box):
    box = srs_box
    made = box.create(catchup=True, stopTimeout=60, transcodeProfile="360p")
    assert made["ingest"] == {"rtmp": made["streamUrl"]}
    with Encoder(box, made["streamToken"], size="640x480") as encoder:
        box.await_status(made["id"], "live")
        until(lambda: len(files(box, made["id"])[0]) >= 3, 10, "three segments")
        # Only one may publish, and nobody play, who knows the key.
        with Encoder(box, made["streamToken"]) as second:
            assert second.refused()
        assert refused_player(box, made["streamToken"])
        encoder.stop()
        box.await_status(made["id"], "init")
    with Encoder(box, made["streamToken"], size="640x480") as again:
        box.await_status(made["id"], "live")
        first, second = until(
            lambda: len(found := files(box, made["id"])) == 2 and found, 10, "both sessions"
        )
        assert first[0] == 0
        assert second[0] > first[-1] or PROGRAM != STAND_IN, "SRS goes on counting, or may"
        assert box.playlist(made["id"]).count("#EXT-X-DISCONTINUITY\n") == 1
        session = until(lambda: measured(box, made["id"]), 10, "the signal is measured")
        video, audio = session["video"], session["audio"]
        assert (video["codec"], video["keyframeInterval"], audio["codec"]) == ("H264", 1.0, "AAC")
        # SRS counts the sound that comes before the first picture in.
        assert video["fps"] == pytest.approx(25, abs=0.7)
        assert box.call("DELETE", f"/v1/live/{made['id']}")[0] == 200
        assert again.process.wait(10) != 0, "it is dropped"
    told = [each["detail"]["leftOut"] for each in box.timeline(made["id"]) if each["event"] == "ladder"]
    assert told == [[{"name": "360p", "reason": "media_server"}]] * 2
    channel = until(lambda: (it := box.channel(made["id"]))["videoUrl"] and it, 20, "the catch-up")
    text = box.get(f"/play/{made['id']}/source_dvr.m3u8")
    assert (text.count("#EXT-X-DISCONTINUITY\n"), text.count("#EXT-X-ENDLIST")) == (1, 1)
    pictures, complaints = decoded(channel["videoUrl"])
    assert abs(pictures - 25 * seconds_of(text)) <= 4
    assert complaints == ""


def test_a_killed_srs_ends_all_its_sessions_and_the_next_one_takes_publishers_at_once(srs_box):
    box = srs_box
    made = box.create(stopTimeout=60)
    with Encoder(box, made["streamToken"], stubborn=True) as encoder:
        box.await_status(made["id"], "live")
        before = box.pid("srs")
        os.kill(before, signal.SIGKILL)
        until(lambda: len(box.sessions(made["id"])) == 2, 20, "the encoder is let in again")
        assert box.await_pid("srs", before) != before
        box.await_status(made["id"], "live")
        until(lambda: len(files(box, made["id"])) == 2, 10, "the picture goes on")
        assert box.sessions(made["id"])[1]["endReason"] == "lost"
        encoder.stop()
        box.await_status(made["id"], "init")


def test_ultra_low_latency_is_cut_out_of_files_that_are_not_whole_yet(srs_box):
    """Of a second session too, whose first file has the number after the last one's."""
    box = srs_box
    made = box.create(mode="ultra-low-latency", stopTimeout=60)
    for _ in range(2):
        with Encoder(box, made["streamToken"]):
            box.await_status(made["id"], "live")
            until(lambda: box.playlist(made["id"]).count(f"{newest(box, made['id'])}/p") > 6, 10, "parts")
        box.await_status(made["id"], "init")
    listed = parse(box.playlist(made["id"])).entries
    assert {round(part.seconds * 3) for part in listed} == {1}
    first = NAME.search(next(part.uri for part in listed if part.uri.startswith(newest(box, made["id"]))))
    assert int(first["number"]) > 0 or PROGRAM != STAND_IN


def test_beside_srs_nginx_takes_no_rtmp_and_keeps_what_is_secret(srs_box):
    box = srs_box
    nginx, own = ((box.data_dir / "run" / name).read_text() for name in ("nginx.conf", "srs/srs.conf"))
    assert "rtmp" not in nginx
    assert (box.data_dir / "run/srs/srs.conf").stat().st_mode & 0o777 == 0o600
    environment = Path(f"/proc/{box.pid('srs')}/environ").read_text()
    assert not {name for name in ("LIVE_TOKEN", "DATABASE", "SRS_") if name in environment}
    secret = re.search(r"password (\w+);", own)[1]
    url = f"http://127.0.0.1:{box.settings['SRS_API_PORT']}/api/v1/streams/"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(url, timeout=5)
    assert secret not in box.log.read_text()


def test_the_doctor_knows_srs_and_that_its_ports_are_ours(srs_box):
    patient = Patient(from_env(srs_box.environment), utcnow(), min_free_mb=1)
    found = [each for check in (machine.nginx, parts.ports, parts.media) for each in check(patient)]
    assert [each for each in found if each.state != "ok"] == []
    shown = {f"{each.check} {each.found}" for each in found}
    assert f"srs {version(PROGRAM)}" in shown
    assert any(
        each.startswith(f"ports SRS_API_PORT {srs_box.settings['SRS_API_PORT']} is ours") for each in shown
    )
    assert any(each.startswith("media SRS answers in") for each in shown)
