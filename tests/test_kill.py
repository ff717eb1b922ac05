"""kill -9 of each part while a broadcast is live: what contract section 8 promises, within its times.

After a crash of any part, no channel stays live without a publisher, nor a publisher unnoticed, for more than 10 s.
"""

import os
import signal
import time

import psutil
import pytest

from media.playlists import parse
from tests.box import Encoder, running_box, short_folder
from tests.test_broadcast import discontinuity, sequence
from tests.waiting import until

pytestmark = [pytest.mark.box, pytest.mark.both]

PROMISED_S = 10


@pytest.fixture
def made(box):
    channel = box.create(stopTimeout=120)
    yield channel
    box.call("DELETE", f"/v1/live/{channel['id']}?delete=true")
    until(lambda: not (box.data_dir / "media" / channel["id"]).exists(), 10, "nothing of it is left")


def moves_on(box, channel_id: str) -> None:
    """The live playlist goes on: three more segments than now."""
    before = sequence(until(lambda: box.playlist(channel_id), 10, "a playlist"))
    until(lambda: sequence(box.playlist(channel_id)) >= before + 3, 20, "the playlist moves on")


def test_a_killed_encoder_is_noticed_and_may_come_back(box, made):
    with Encoder(box, made["streamToken"]) as encoder:
        box.await_status(made["id"], "live")
        encoder.stop(signal.SIGKILL)
        box.await_status(made["id"], "init", PROMISED_S)
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
    assert [session["endReason"] for session in box.sessions(made["id"])][-1] == "left"


def test_a_killed_worker_disturbs_nothing_and_the_next_one_goes_on(box, made):
    with Encoder(box, made["streamToken"]) as encoder:
        box.await_status(made["id"], "live")
        worker = box.pid("worker")
        os.kill(worker, signal.SIGKILL)
        moves_on(box, made["id"])
        box.await_pid("worker", worker)
        moves_on(box, made["id"])
        assert discontinuity(box.playlist(made["id"])) == 0
        assert box.channel(made["id"])["status"] == "live"
        encoder.stop()
        box.await_status(made["id"], "init", PROMISED_S)
    assert len(box.sessions(made["id"])) == 1


def test_a_killed_web_disturbs_nothing_and_a_departure_it_missed_is_noticed(box, made):
    with Encoder(box, made["streamToken"]) as encoder:
        box.await_status(made["id"], "live")
        web = box.pid("web")
        os.kill(web, signal.SIGSTOP)  # so that supervisor does not start another before the encoder has left
        encoder.stop(signal.SIGKILL)
        encoder.process.wait()
        os.kill(web, signal.SIGKILL)
        killed = time.monotonic()
        box.await_pid("web", web)
        until(box.ready, 20, "the API is back")
        box.await_status(made["id"], "init", PROMISED_S)
        assert time.monotonic() - killed < 2 * PROMISED_S
    with Encoder(box, made["streamToken"]) as encoder:
        box.await_status(made["id"], "live")
        web = box.pid("web")
        os.kill(web, signal.SIGKILL)
        moves_on(box, made["id"])
        box.await_pid("web", web)
        until(box.ready, 20, "the API is back")
        assert encoder.process.poll() is None
        assert box.channel(made["id"])["status"] == "live"


def test_without_the_api_the_public_port_says_so_in_the_envelope(box):
    web = box.pid("web")
    os.kill(web, signal.SIGKILL)
    status, reply = until(lambda: not_ready(box), 15, "a 503")
    assert status == 503
    assert reply["ec"] == 50300
    until(box.ready, 20, "the API is back")


def not_ready(box):
    answer = box.call("GET", "/v1")
    return answer if answer[0] == 503 else None


def test_a_killed_nginx_master_leaves_no_orphan_and_the_encoder_comes_back(box, made):
    master = box.pid("media")
    [worker] = psutil.Process(master).children()
    with Encoder(box, made["streamToken"], stubborn=True):
        box.await_status(made["id"], "live")
        os.kill(master, signal.SIGKILL)
        until(lambda: not worker.is_running(), PROMISED_S, "the orphaned nginx worker is ended")
        until(lambda: len(box.sessions(made["id"])) == 2, 15, "the encoder is let in again")
        box.await_status(made["id"], "live")
        moves_on(box, made["id"])
    assert box.sessions(made["id"])[1]["endReason"] == "lost"


def test_when_all_of_nginx_is_killed_no_channel_stays_live_without_a_publisher(box, made):
    with Encoder(box, made["streamToken"]) as encoder:
        box.await_status(made["id"], "live")
        master = psutil.Process(box.pid("media"))
        for process in [*master.children(), master]:
            process.kill()
        box.await_status(made["id"], "init", PROMISED_S)
        assert encoder.refused(), "its connection was cut"
        box.await_pid("media", master.pid)
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live", 20)
    events = [entry["event"] for entry in box.timeline(made["id"])]
    assert events[:6] == ["created", "published", "live", "unpublished", "reconnected", "live"]


@pytest.mark.parametrize("mode", ["normal", "ultra-low-latency"])
def test_a_killed_packager_is_replaced_and_its_playlist_goes_on_without_a_gap(box, mode):
    made = box.create(mode=mode, stopTimeout=0)
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
        moves_on(box, made["id"])
        before, packager = parse(box.playlist(made["id"])), box.pid("packager")
        os.kill(packager, signal.SIGKILL)
        box.await_pid("packager", packager)
        moves_on(box, made["id"])
        after = parse(box.playlist(made["id"]))
    both = dict(enumerate(before.entries, before.first)) | dict(enumerate(after.entries, after.first))
    assert sorted(both) == list(range(min(both), max(both) + 1)), "no number is missing"
    assert len({entry.uri for entry in both.values()}) == len(both), "nothing is shown twice"
    assert not any(entry.broken for entry in both.values())
    assert [entry["event"] for entry in box.timeline(made["id"])].count("live") == 1


def test_a_killed_supervisor_is_started_again_and_the_encoder_comes_back(own_box):
    made = own_box.create()
    with Encoder(own_box, made["streamToken"], stubborn=True):
        own_box.await_status(made["id"], "live")
        supervisor = int((own_box.data_dir / "run/private/supervisord.pid").read_text())
        os.kill(supervisor, signal.SIGKILL)
        until(lambda: len(own_box.sessions(made["id"])) == 2, 30, "the encoder is let in again")
        own_box.await_status(made["id"], "live")


def test_ctrl_c_stops_all_of_it_while_live_with_no_process_left():
    """Two processes of web among them."""
    with short_folder() as folder, running_box(folder, WEB_PROCESSES="2") as box:
        made = box.create()
        with Encoder(box, made["streamToken"]):
            box.await_status(made["id"], "live")
            assert len(psutil.Process(box.pid("web")).children()) == 2
            script = psutil.Process(box.process.pid)
            tree = [script, *script.children(recursive=True)]
            assert len(tree) >= 9
            assert box.stop() == 0
        assert [process for process in tree if process.is_running()] == []
