"""The stand-in for nginx says what a real one was recorded to say."""

import json
from pathlib import Path
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

import pytest

from media.servers.nginx_rtmp import parse_stat
from tests.faults.history import History
from tests.faults.nginx import Client, FakeNginx, form

RECORDINGS = Path(__file__).parent.parent / "fixtures" / "nginx-rtmp"


@pytest.fixture
def nginx(tmp_path):
    history = History(tmp_path / "history.jsonl")
    yield FakeNginx(tmp_path / "media", tmp_path / "hooks", lambda: "secret", tmp_path, history)
    history.close()


@pytest.mark.parametrize("call", ["publish", "publish_done"])
def test_a_hook_has_the_fields_of_a_recorded_one_in_their_order(call):
    lines = (RECORDINGS / "n01_normal.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    recorded = next(step["body"] for step in steps if f"call={call}&" in (step.get("body") or ""))
    told, said = ([*parse_qsl(body, keep_blank_values=True)] for body in (recorded, form(call, 4, "KEY")))
    assert told[: len(said)] == said
    assert recorded.startswith(form(call, 4, "KEY")), "byte for byte, up to what the publisher added"


def test_stat_has_the_elements_of_a_recorded_one(nginx):
    nginx.clients[4] = Client(4, "KEY", "ses_a")
    recorded = ET.parse(RECORDINGS / "n01_normal.publishing+1player.stat.xml").getroot()
    fake = ET.fromstring(nginx.stat())
    stream = "server/application/live/stream"
    for path in (stream, f"{stream}/client[publishing]", f"{stream}/meta/video", f"{stream}/meta/audio"):
        there, here = ([child.tag for child in root.find(path)] for root in (recorded, fake))
        assert [tag for n, tag in enumerate(there) if tag not in there[:n]] == here, path
    [publisher] = parse_stat(nginx.stat(), "aa").publishers
    [real] = parse_stat((RECORDINGS / "n01_normal.publishing+1player.stat.xml").read_bytes(), "aa").publishers
    assert (publisher.video, publisher.audio) == (real.video, real.audio)


def test_nobody_publishes_to_an_idle_one(nginx):
    assert parse_stat(nginx.stat(), "aa").publishers == []
