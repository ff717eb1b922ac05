"""The whole way, from players to figures, on the real box: a known audience, a rotation, a worker that is killed."""

import os
import signal
import threading
import urllib.request

import pytest

from media.playlog import Place, Playlog
from tests.audience import Truth, crowd, play
from tests.box import Encoder, running_box, short_folder
from tests.waiting import until

pytestmark = pytest.mark.box

SECONDS, SIZE = 64, 120


@pytest.fixture
def made(box):
    channel = box.create(accountId="audience")
    with Encoder(box, channel["streamToken"]):
        box.await_status(channel["id"], "live")
        yield channel
    box.call("DELETE", f"/v1/live/{channel['id']}?delete=true")


def rotate(box) -> None:
    """As the worker does when the log is large; the worker itself is told nothing."""
    log = Playlog(box.data_dir / "run/play.log", box.data_dir / "run/nginx.pid", rotate_at=1)
    log.place = Place(log.path.read_bytes()[:40].decode(), 0)
    log.tend()
    assert log.old.exists()


def test_a_known_audience_is_counted_while_the_log_rotates_and_the_worker_is_killed(box, made):
    harm = [threading.Timer(20, rotate, [box]), threading.Timer(30, kill_worker, [box])]
    for each in harm:
        each.start()
    truth = play(box.http_port, made["id"], crowd(SIZE, SECONDS, seed=1))
    for each in harm:
        each.join()
    totals = until(lambda: settled(box, made, truth), 20, "all that was sent is counted")
    assert totals["ccu"] == pytest.approx(truth.peak(), rel=0.02)
    assert totals["watchTime"] == pytest.approx(truth.watched, rel=0.05)
    assert totals["views"] == len(truth.presences)
    shown = box.read(f"/v1/live/{made['id']}/statistics")
    assert shown["totalViews"] == totals["views"]
    assert 0 < shown["viewers"] <= SIZE, "those of the last 30 s"
    assert shown["bitrateOut"] >= 0
    assert shown["bitrateIn"] > 100_000
    assert 20 < shown["fps"] < 30
    assert totals["broadcastTime"] == pytest.approx(box.channel(made["id"])["duration"], abs=6)
    assert made["id"] in [each["channelId"] for each in box.read("/v1/analytics")["topChannels"]]
    until(lambda: box.read(f"/v1/live/{made['id']}/statistics")["viewers"] == 0, 45, "they are gone")


def kill_worker(box) -> None:
    os.kill(box.pid("worker"), signal.SIGKILL)


def settled(box, made, truth: Truth) -> dict | None:
    """The totals, once every request has arrived in them."""
    totals = box.read(f"/v1/analytics?accountId=audience&channelId={made['id']}")["totals"]
    return totals if totals["bytesOut"] >= 0.99 * truth.bytes else None


def test_the_log_is_private_and_never_holds_what_opens_a_channel(box, made):
    path = f"/play/{made['id']}/source.m3u8?token=a-secret"
    until(lambda: box.get(path), 10, "a playlist")
    log = box.data_dir / "run/play.log"
    until(lambda: made["id"] in log.read_text(), 10, "it is logged")
    assert log.stat().st_mode & 0o777 == 0o600
    assert "a-secret" not in log.read_text()
    assert "/play" not in log.read_text()


def test_behind_a_trusted_proxy_viewers_have_their_own_addresses():
    with short_folder() as folder, running_box(folder, TRUSTED_PROXY="127.0.0.1") as box:
        made = box.create()
        with Encoder(box, made["streamToken"]):
            box.await_status(made["id"], "live")
            for address in ("192.0.2.1", "192.0.2.2"):
                play_from(box, made["id"], address)
            until(
                lambda: box.read(f"/v1/live/{made['id']}/statistics")["viewers"] == 2, 15, "they are counted"
            )


def play_from(box, channel_id: str, address: str) -> None:
    request = urllib.request.Request(f"{box.url}/play/{channel_id}/source.m3u8")
    request.add_header("X-Forwarded-For", address)
    with urllib.request.urlopen(request, timeout=5) as reply:
        assert reply.status == 200
