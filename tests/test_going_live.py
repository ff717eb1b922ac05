"""docs/going-live.md: its commands go live, and each mistake in it looks as it says."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl

import pytest

from live import arrival, clock, health
from media import watch
from routes.console.words import REFUSED
from schemas import MODES, ChannelCreate
from tests.box import FFMPEG, Box, Encoder
from tests.documents import DOCS, block, blocks_of, code, flat, prose, rows, section
from tests.waiting import until

DOCUMENT = DOCS / "going-live.md"
TEXT = DOCUMENT.read_text()
# Renditions are nothing that these commands differ in, and cost more than all of the rest.
SOURCE_ONLY = {"transcodeProfile": []}


@contextmanager
def shell(command: str, made: dict) -> Iterator[subprocess.Popen[bytes]]:
    """A command of the document, in a shell that has the two fields; it ends with this block."""
    fields = {name: made[name] for name in ("streamUrl", "streamToken")}
    quiet = command.replace("ffmpeg ", f"exec {shlex.quote(FFMPEG)} -nostdin -loglevel error ", 1)
    running = subprocess.Popen(
        ["bash", "-c", quiet], env=os.environ | fields, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=10)


@pytest.mark.box
@pytest.mark.parametrize("mode", MODES)
def test_the_command_for_each_mode_goes_live_as_recommended(box, mode):
    made = box.create(name=mode, mode=mode, **SOURCE_ONLY)
    with shell(block(DOCUMENT, mode), made):
        box.await_status(made["id"], "live", 20)
        received = until(lambda: measured(box, made["id"]), 20, "it is measured")
    video = received["video"]
    assert (video["codec"], video["profile"], video["width"]) == ("H264", "High", 1280)
    assert video["fps"] == pytest.approx(30, rel=0.1)  # rough, of the first segments
    assert video["keyframeInterval"] == pytest.approx(keyframes(mode), abs=0.05)
    assert (received["audio"]["codec"], received["audio"]["sampleRate"]) == ("AAC", 48000)
    assert not health.found(health.Received(video=video, audio=received["audio"], nominal_fps=30))


def measured(box: Box, channel_id: str) -> dict | None:
    found = box.read(f"/v1/live/{channel_id}/metadata")
    video = found["video"] or {}
    return found if video.get("keyframeInterval") and video.get("bitrate") else None


def keyframes(mode: str) -> int:
    [line] = [
        cells
        for cells in rows(section(DOCUMENT, "Settings for every encoder"))
        if "key frame" in cells[0][:9]
    ]
    return int(line[1 + MODES.index(mode)].removesuffix(" s"))


def refusals(box: Box, channel_id: str) -> list[str]:
    return [each["detail"]["reason"] for each in box.timeline(channel_id) if each["event"] == "refused"]


@pytest.mark.box
def test_a_doubled_key_and_a_key_in_the_server_are_refused_and_no_timeline_tells(box):
    made = box.create(**SOURCE_ONLY)
    for key in (made["streamToken"] * 2, f"{made['streamToken']}/stream"):
        with Encoder(box, key) as encoder:
            assert encoder.refused()
    assert refusals(box, made["id"]) == []
    said = "no channel: refused, unknown_token"
    assert f"`{said}`" in TEXT
    until(lambda: said in box.log.read_text(), 10, "the log has come through its pipe")


@pytest.mark.box
def test_a_second_encoder_one_too_early_and_one_too_late_are_told_of(box):
    made, early = box.create(**SOURCE_ONLY), box.create(startAt="2100-01-01T00:00:00Z")
    with Encoder(box, made["streamToken"]):
        until(lambda: box.channel(made["id"])["publishing"], 10, "the first is in")
        with Encoder(box, made["streamToken"]) as second, Encoder(box, early["streamToken"]) as third:
            assert second.refused()
            assert third.refused()
        box.call("DELETE", f"/v1/live/{made['id']}")
    with Encoder(box, made["streamToken"]) as late:
        assert late.refused()
    assert refusals(box, made["id"]) == ["busy", "ended"]
    assert refusals(box, early["id"]) == ["too_early"]


def test_the_link_for_larix_holds_what_is_recommended():
    made = {"streamUrl": "rtmp://live.example.com:1935/live", "streamToken": "a3a88c8d5fc9ac64"}
    ran = subprocess.run(
        [sys.executable, "-c", block(DOCUMENT, "larix.py")],
        input=json.dumps({"ec": 0, "data": made}),
        capture_output=True,
        text=True,
        check=True,
    )
    scheme, _, query = ran.stdout.strip().partition("?")
    fields = dict(parse_qsl(query, strict_parsing=True))
    assert scheme == "larix://set/v1"
    assert fields["conn[][url]"] == "rtmp://live.example.com:1935/live/a3a88c8d5fc9ac64"
    assert (fields["enc[vid][format]"], fields["enc[vid][keyframe]"]) == ("avc", "2")


def test_every_reason_of_a_refusal_is_explained():
    first, *_ = section(DOCUMENT, "When it does not work").split("\n| What is wrong")
    told = {code(cells[0])[0] for cells in rows(first)}
    cuts = {"limit_bitrate", "limit_height"}
    assert told == REFUSED.keys() - cuts


def test_what_the_api_says_is_what_it_says():
    for sentence in (watch.UNSEEN, watch.NOTHING):
        assert f"`{sentence}`" in TEXT
    names = {name for name in code(prose(TEXT)) if name in health.REASONS}
    assert names == {"keyframe_interval", "starved", "fps_low", "reconnects"}


def test_its_numbers_are_those_of_the_code():
    stop = ChannelCreate().load_fields["stop_timeout"].load_default
    for said in (
        f"({stop} s unless it was set",
        f"silent for {arrival.SILENT_ENOUGH.seconds} s",
        f"{clock.EARLY_PUBLISH.seconds // 60} minutes before `startAt`",
        f"after {watch.HOPELESS_S:.0f} s status `error`",
        f"within {health.RECONNECTS_WITHIN.seconds // 60} minutes is health `unstable`",
    ):
        assert said in flat(TEXT)
    assert health.RECONNECTS == 3  # "Coming back three times"


def test_it_has_no_block_that_is_not_run():
    run = {*MODES, "larix.py"}
    assert {each.file for each in blocks_of(TEXT)} == run
