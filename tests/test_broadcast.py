"""A broadcast from create to ended, through every part of the really running box."""

import json
import subprocess
import urllib.request

import pytest
from standardwebhooks import Webhook

from media.playlists import parse
from tests.box import Encoder, source_address
from tests.browser import chromium, video_state, wait_for
from tests.receiver import Receiver
from tests.waiting import until

pytestmark = pytest.mark.box


def probe(url: str) -> list[dict]:
    """What a player finds at this address, by decoding it."""
    found = subprocess.run(
        ["/usr/bin/ffprobe", "-v", "error", "-show_streams", "-of", "json", url],
        capture_output=True,
        check=True,
        timeout=30,
    )
    return json.loads(found.stdout)["streams"]


def events_of(receiver: Receiver, channel_id: str) -> list[dict]:
    bodies = [json.loads(body) for body in receiver.bodies()]
    return [body for body in bodies if body["id"] == channel_id]


def test_a_broadcast_goes_live_plays_in_a_browser_and_ends_and_the_app_server_is_told(box):
    with Receiver() as receiver:
        hook = box.call("POST", "/v1/webhook", {"uri": receiver.url, "event": "all"})[1]["data"]
        made = box.create(name="End to end", stopTimeout=2)
        assert made["streamUrl"] == f"rtmp://127.0.0.1:{box.rtmp_port}/live"

        with Encoder(box, made["streamToken"]), chromium() as browser:
            live = box.await_status(made["id"], "live", 5)
            assert {stream["codec_name"] for stream in probe(live["livestreamUrl"])} == {"h264", "aac"}
            browser.get(f"{box.url}/watch/{made['id']}")
            wait_for(browser, "return document.querySelector('video').currentTime > 1", 20)
            assert video_state(browser)["videoWidth"] == 640
            before = video_state(browser)["currentTime"]
            until(lambda: video_state(browser)["currentTime"] > before + 2, 10, "the picture moves on")

        ended = box.await_status(made["id"], "ended", 15)
        assert ended["endReason"] == "stop_timeout"
        assert ended["livestreamUrl"] is None
        until(lambda: len(events_of(receiver, made["id"])) == 5, 10, "five events arrive")

    events = events_of(receiver, made["id"])
    names = ["channel_connected", "channel_live", "channel_stop", "channel_ended", "video_ready"]
    assert [event["event"] for event in events] == names
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    assert [event["status"] for event in events] == ["init", "live", "init", "ended", "ended"]
    judge = Webhook(hook["secret"])
    for request in receiver.requests:
        judge.verify(request.body, request.headers)
        assert made["streamToken"].encode() not in request.body
    assert made["streamToken"] not in box.log.read_text()
    box.call("DELETE", f"/v1/webhook/{hook['id']}")
    until(lambda: not box.get(f"/play/{made['id']}/master.m3u8"), 60, "the live playlist is gone")


def test_a_broadcast_comes_back_as_the_same_channel_at_the_same_address(box):
    made = box.create()
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
        first = until(lambda: box.playlist(made["id"]), 15, "a playlist")
    box.await_status(made["id"], "init")
    assert box.get(f"/play/{made['id']}/master.m3u8"), "players may keep their address while nobody sends"

    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
        second = until(lambda: box.playlist(made["id"]), 15, "a playlist")
    assert (discontinuity(first), discontinuity(second)) == (0, 1)
    assert sequence(second) > sequence(first)
    assert len(box.sessions(made["id"])) == 2
    kinds = [entry["event"] for entry in box.timeline(made["id"])]
    assert kinds[:6] == ["created", "published", "live", "unpublished", "reconnected", "live"]
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def sequence(playlist: str) -> int:
    """The number that comes next."""
    return parse(playlist).next_number


def discontinuity(playlist: str) -> int:
    """How many discontinuities there were up to its end."""
    found = parse(playlist)
    return found.breaks + sum(entry.broken for entry in found.entries)


def test_a_viewer_sees_the_broadcast_go_on_after_each_of_two_reconnections_without_a_reload(box):
    made = box.create()
    with chromium() as browser:
        browser.get(f"{box.url}/watch/{made['id']}")
        browser.execute_script("window.never_reloaded = true; window.shown = document.querySelector('video')")
        for round_ in range(3):
            with Encoder(box, made["streamToken"]):
                wait_for(browser, "return shown.currentTime > 0 && !shown.paused", 20)
                for _ in range(2):  # twice, because what the buffer held does not count
                    seen = browser.execute_script("return shown.getVideoPlaybackQuality().totalVideoFrames")
                    wanted = f"return shown.getVideoPlaybackQuality().totalVideoFrames > {seen} + 75"
                    wait_for(browser, wanted, 20)
            box.await_status(made["id"], "init")
            assert discontinuity(box.playlist(made["id"])) == round_
        assert browser.execute_script("return window.never_reloaded")
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_a_stopped_channel_drops_its_publisher_at_once_and_lets_nobody_in(box):
    made = box.create()
    with Encoder(box, made["streamToken"]) as encoder:
        box.await_status(made["id"], "live")
        assert box.call("DELETE", f"/v1/live/{made['id']}")[1]["data"]["status"] == "ended"
        assert encoder.refused(5), "the publisher is cut off"
    with Encoder(box, made["streamToken"]) as late:
        assert late.refused()
    assert "refused" in [entry["event"] for entry in box.timeline(made["id"])]


def test_a_deleted_channel_leaves_nothing_to_play(box):
    made = box.create()
    with Encoder(box, made["streamToken"]) as encoder:
        box.await_status(made["id"], "live")
        segment = [line for line in box.playlist(made["id"]).splitlines() if line.endswith(".ts")][-1]
        assert box.call("DELETE", f"/v1/live/{made['id']}?delete=true")[0] == 204
        assert encoder.refused(5)
    for file in ("master.m3u8", "source.m3u8", segment):
        until(lambda file=file: not box.get(f"/play/{made['id']}/{file}"), 10, f"{file} is gone")
    assert box.call("GET", f"/v1/live/{made['id']}")[0] == 404


def test_a_wrong_token_is_refused(box):
    with Encoder(box, "nobody-has-this-token") as encoder:
        assert encoder.refused()
    assert "nobody-has-this-token" not in box.log.read_text()


def test_a_second_publisher_is_refused_and_the_first_goes_on(box):
    made = box.create()
    with Encoder(box, made["streamToken"]) as first:
        box.await_status(made["id"], "live")
        with Encoder(box, made["streamToken"]) as second:
            assert second.refused()
        before = sequence(box.playlist(made["id"]))
        until(lambda: sequence(box.playlist(made["id"])) > before + 2, 20, "the first one's segments go on")
        assert first.process.poll() is None
    assert len(box.sessions(made["id"])) == 1
    [refused] = [entry for entry in box.timeline(made["id"]) if entry["event"] == "refused"]
    assert refused["detail"]["reason"] == "busy"
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_a_publishers_own_query_overrides_nothing(box):
    mine, victim = box.create(name="mine"), box.create(name="victim")
    query = f"?name={victim['streamToken']}&app=admin&addr=10.9.9.9&call=publish_done&clientid=999"
    with Encoder(box, mine["streamToken"] + query):
        until(lambda: box.channel(mine["id"])["publishing"], 10, "mine is published to")
        assert not box.channel(victim["id"])["publishing"]
        assert box.sessions(mine["id"])[0]["clientIp"] == "127.0.0.1"
    for each in (mine, victim):
        box.call("DELETE", f"/v1/live/{each['id']}?delete=true")


def test_rtmp_can_be_played_from_this_machine_only(box):
    made = box.create()
    with Encoder(box, made["streamToken"]), source_address(box.rtmp_port, "127.0.0.9") as elsewhere:
        box.await_status(made["id"], "live")
        stream = box.sessions(made["id"])[0]["id"]
        assert plays(f"rtmp://127.0.0.1:{box.rtmp_port}/live/{stream}")
        assert not plays(f"rtmp://127.0.0.1:{elsewhere}/live/{stream}")
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def plays(url: str) -> bool:
    argv = ["/usr/bin/ffprobe", "-v", "error", "-rw_timeout", "5000000", "-show_streams", url]
    return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == 0


def test_a_signed_channel_is_served_to_nobody_without_a_signature(box):
    made = box.create(playback="signed")
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
        [folder] = (box.data_dir / "media" / made["id"]).glob("ses_*")
        segment = next(folder.glob("*.ts"))
        for file in ("master.m3u8", "source.m3u8", f"{folder.name}/{segment.name}"):
            assert box.call("GET", f"/play/{made['id']}/{file}", token=False)[0] == 403, file
    assert box.call("GET", f"/watch/{made['id']}", token=False)[0] == 403
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_playlists_are_not_cached_and_segments_are_and_any_page_may_read_both(box):
    made = box.create()
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
        segment = [line for line in box.playlist(made["id"]).splitlines() if line.endswith(".ts")][-1]
        for file, cache, kind in (
            ("master.m3u8", "no-store", "application/vnd.apple.mpegurl"),
            (segment, "public, max-age=31536000, immutable", "video/mp2t"),
        ):
            headers = head(f"{box.url}/play/{made['id']}/{file}")
            assert headers["Cache-Control"] == cache
            assert headers["Content-Type"] == kind
            assert headers["Access-Control-Allow-Origin"] == "*"
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def head(url: str) -> dict[str, str]:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return dict(reply.headers)
