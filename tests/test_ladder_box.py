"""Every kind of encoder on the really running box: it plays, in each rendition, or it is an error with a reason."""

import itertools
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psutil
import pytest

from media import index, playlists
from tests.box import Box, Encoder, running_box, short_folder
from tests.browser import chromium, video_state, wait_for
from tests.encoders import Custom, changing, hevc, sound_alone, with_sound, without_sound
from tests.waiting import until

pytestmark = pytest.mark.box

# What the encoder sends; what viewers can choose besides it.
TABLE = {
    "as recommended": (with_sound("854x480", 25, 50), {"360p": "640x360"}),
    "60 pictures a second, B-frames": (with_sound("854x480", 60, 60, "-bf", "3"), {"360p": "640x360"}),
    "portrait, a key frame every 4 s": (with_sound("480x854", 30, 120), {"360p": "360x640"}),
    "an odd shape": (with_sound("722x406", 25, 25), {"360p": "640x360"}),
    "many key frames, no sound": (without_sound("854x480", 25, 10), {"360p": "640x360"}),
    "variable frame rate": (
        with_sound("854x480", 30, 30, "-vsync", "vfr", filters=",select='gt(random(1),0.4)'"),
        {"360p": "640x360"},
    ),
    "small": (with_sound("426x240", 25, 25, "-tune", "zerolatency"), {}),
    "small and odd": (with_sound("362x202", 30, 60), {}),
    "as small as the smallest": (with_sound("640x360", 25, 25), {}),
    "sound alone": (sound_alone(), {}),
}


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with short_folder() as folder, running_box(folder, TRANSCODE_CORES="4") as running:
        yield running


@contextmanager
def on_air(box: Box, name: str) -> Iterator[str]:
    """One of the table; its channel's id. One at a time: two cores that run all of them leave renditions out."""
    made = box.create(name=name)
    with Custom(box, made["streamToken"], TABLE[name][0]):
        box.await_status(made["id"], "live", 30)
        yield made["id"]
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


@contextmanager
def slowed(process: psutil.Process, runs_s: float = 0.05, stands_s: float = 0.95) -> Iterator[None]:
    """As on a processor that others have nineteen twentieths of."""
    over = threading.Event()

    def hold_up() -> None:
        with suppress(psutil.NoSuchProcess):
            while not over.wait(runs_s):
                process.suspend()
                over.wait(stands_s)
                process.resume()

    thread = threading.Thread(target=hold_up)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def playlist(box: Box, channel_id: str, name: str) -> playlists.MediaPlaylist:
    return playlists.parse(box.get(f"/play/{channel_id}/{name}.m3u8"))


def rendered(box: Box, channel_id: str, name: str = "360p") -> list[playlists.Entry]:
    return [each for each in playlist(box, channel_id, name).entries if f"/{name}/" in each.uri]


def variants(box: Box, channel_id: str) -> dict[str, str]:
    """Playlists of the multivariant one, with the size that it promises."""
    lines = box.get(f"/play/{channel_id}/master.m3u8").splitlines()
    sizes = {
        uri: said.partition("RESOLUTION=")[2].partition(",")[0] for said, uri in itertools.pairwise(lines)
    }
    return {uri.removesuffix(".m3u8"): size for uri, size in sizes.items() if uri.endswith(".m3u8")}


def frames(box: Box, channel_id: str, uri: str) -> list[dict]:
    """A segment's pictures, decoded by themselves; what a decoder complains of fails."""
    asked = [*("/usr/bin/ffprobe", "-v", "error", "-select_streams", "v", "-of", "json"), "-show_entries"]
    asked += ["frame=pts,key_frame,width,height", f"{box.url}/play/{channel_id}/{uri}"]
    found = subprocess.run(asked, capture_output=True, check=True, timeout=30, text=True)
    assert found.stderr == ""
    return json.loads(found.stdout)["frames"]


def transcoders(folder: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[-1].startswith(folder)
    ]


def size_of(box: Box, channel_id: str, uri: str) -> tuple[int, int]:
    first = frames(box, channel_id, uri)[0]
    return first["width"], first["height"]


@pytest.mark.parametrize("name", [name for name, (_, made) in TABLE.items() if made])
def test_a_rendition_has_the_sources_numbers_times_and_key_frames_in_its_own_size(box, name):
    size = TABLE[name][1]["360p"]
    with on_air(box, name) as channel_id:
        until(lambda: len(rendered(box, channel_id)) >= 2, 40, "segments are made")
        assert variants(box, channel_id)["360p"] == size

        mine, theirs = playlist(box, channel_id, "360p"), playlist(box, channel_id, "source")
        shared = range(max(mine.first, theirs.first), min(mine.next_number, theirs.next_number))
        assert len(shared) >= 2
        for number in shared:
            one, other = mine.entries[number - mine.first], theirs.entries[number - theirs.first]
            assert replace(one, uri="") == replace(other, uri="")
            assert one.uri.replace("/360p", "") == other.uri

        uri = rendered(box, channel_id)[-1].uri
        made, sent = frames(box, channel_id, uri), frames(box, channel_id, uri.replace("/360p", ""))
    assert f"{made[0]['width']}x{made[0]['height']}" == size
    assert [each["pts"] for each in made if each["key_frame"]] == [
        each["pts"] for each in sent if each["key_frame"]
    ]
    assert {each["pts"] for each in made} <= {each["pts"] for each in sent}
    assert len(made) == (len(sent) / 2 if "60" in name else len(sent))


@pytest.mark.parametrize("name", [name for name, (_, made) in TABLE.items() if not made])
def test_where_there_is_nothing_to_make_the_source_plays_alone_and_costs_no_process(box, name):
    with on_air(box, name) as channel_id:
        assert list(variants(box, channel_id)) == ["source"]
        assert "ladder" not in [entry["event"] for entry in box.timeline(channel_id)]
        last = playlist(box, channel_id, "source").next_number
        until(lambda: playlist(box, channel_id, "source").next_number > last, 20, "it goes on")
        [session] = (box.data_dir / "media" / channel_id).glob("ses_*")
        assert transcoders(str(session)) == []


def test_the_bitrate_stays_below_what_is_promised(box):
    with on_air(box, "as recommended") as channel_id:
        until(lambda: len(rendered(box, channel_id)) >= 3, 40, "segments are made")
        [said] = [
            line for line in box.get(f"/play/{channel_id}/master.m3u8").splitlines() if "640x360" in line
        ]
        promised = int(said.partition(":BANDWIDTH=")[2].partition(",")[0])
        for entry in rendered(box, channel_id):
            size = (box.data_dir / "media" / channel_id / entry.uri).stat().st_size
            assert size * 8 / entry.seconds <= promised


def test_metadata_and_timeline_say_what_viewers_can_choose(box):
    with on_air(box, "portrait, a key frame every 4 s") as channel_id:
        until(lambda: rendered(box, channel_id), 40, "segments are made")
        found = box.read(f"/v1/live/{channel_id}/metadata")["renditions"]
        [told] = [entry["detail"] for entry in box.timeline(channel_id) if entry["event"] == "ladder"]
    assert [(each["name"], each["width"], each["height"], each["state"]) for each in found] == [
        ("source", 480, 854, "source"),
        ("360p", 360, 640, "transcoded"),
    ]
    assert [each["name"] for each in told["rendered"]] == ["360p"]
    assert told["leftOut"] == []


def test_a_rendition_that_the_box_is_too_slow_for_is_dropped_and_said_and_the_source_plays_on(box):
    made = box.create(mode="low-latency", transcodeProfile="480p,360p")
    folder = box.data_dir / "media" / made["id"]

    def ladders() -> list[dict]:
        return [entry["detail"] for entry in box.timeline(made["id"]) if entry["event"] == "ladder"]

    with Encoder(box, made["streamToken"], size="960x540"):
        [transcoder] = until(lambda: transcoders(str(folder)), 30, "it runs")
        with slowed(transcoder):
            until(lambda: len(ladders()) > 1, 60, "the dearest one is dropped")
        first, told = ladders()
        assert ([each["name"] for each in first["rendered"]], first["leftOut"]) == (["480p", "360p"], [])
        assert [each["name"] for each in told["rendered"]] == ["360p"]
        assert told["leftOut"] == [{"name": "480p", "reason": "overloaded"}]
        known = box.read(f"/v1/live/{made['id']}/metadata")["renditions"]
        states = {each["name"]: each["state"] for each in known}
        assert states == {"source": "source", "360p": "transcoded", "480p": "left_out"}

        until(lambda: rendered(box, made["id"]), 30, "what is left is made in time")
        source, dropped = playlist(box, made["id"], "source"), playlist(box, made["id"], "480p")
        assert {entry.uri for entry in dropped.entries} <= {entry.uri for entry in source.entries}
        assert dropped.next_number >= source.next_number - 1, "it shows the source, and keeps up with it"
        assert source.breaks == 0
        assert not any(entry.broken for entry in source.entries)
        [session] = folder.glob("ses_*")
        numbers = [segment.number for segment in index.read(session).segments]
        assert numbers == list(range(len(numbers))), "no segment is missing"
        assert len(numbers) > 20
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_what_cannot_be_played_is_an_error_with_a_reason(box):
    made = box.create()
    with hevc(box, made["streamToken"]):
        box.await_status(made["id"], "error", 40)
    [told] = [entry["detail"] for entry in box.timeline(made["id"]) if entry["event"] == "error"]
    assert "H.264" in told["reason"]
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_another_size_within_a_connection_is_another_ladder(box, tmp_path):
    made = box.create()
    with changing(box, made["streamToken"], tmp_path, ["854x480", "480x854"], 8):
        until(lambda: rendered(box, made["id"]), 30, "segments of the first picture are made")
        until(
            lambda: variants(box, made["id"]).get("360p") == "360x640",
            30,
            "the second has a ladder of its own",
        )
        until(
            lambda: size_of(box, made["id"], rendered(box, made["id"])[-1].uri) == (360, 640),
            30,
            "it is made",
        )
    ladders = [entry["detail"] for entry in box.timeline(made["id"]) if entry["event"] == "ladder"]
    assert [each["rendered"][0]["width"] for each in ladders] == [640, 360]
    assert "error" not in [entry["event"] for entry in box.timeline(made["id"])]
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_a_worker_that_is_killed_and_a_transcoder_that_is_killed_leave_no_hole(box):
    made = box.create(stopTimeout=0, mode="low-latency", dvr=True)
    folder = str(box.data_dir / "media" / made["id"])
    with Encoder(box, made["streamToken"], size="854x480"):
        until(lambda: rendered(box, made["id"]), 30, "segments are made")
        [transcoder] = transcoders(folder)
        worker = box.pid("worker")
        psutil.Process(worker).kill()
        box.await_pid("worker", worker)
        assert [each.pid for each in transcoders(folder)] == [transcoder.pid], "the next worker adopts it"
        transcoder.kill()
        fell = playlist(box, made["id"], "360p").next_number
        until(
            lambda: [each.pid for each in transcoders(folder)] not in ([], [transcoder.pid]),
            15,
            "another one",
        )
        until(
            lambda: (
                f"/{'360p'}/" in playlist(box, made["id"], "360p").entries[-1].uri
                and playlist(box, made["id"], "360p").next_number > fell + 3
            ),
            30,
            "segments are made again",
        )
        shown = playlist(box, made["id"], "360p").entries
        dvr = playlist(box, made["id"], "360p_dvr").entries
        assert dvr[:3] == playlist(box, made["id"], "360p").entries[:3]
        numbers = [int(entry.uri.rpartition("/")[2].removesuffix(".ts")) for entry in shown]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    until(lambda: not transcoders(folder), 15, "it ends with its session")


def test_a_box_that_stops_takes_its_transcoders_along():
    with short_folder() as folder, running_box(folder, TRANSCODE_CORES="4") as stopping:
        made = stopping.create()
        with Encoder(stopping, made["streamToken"], size="854x480", stubborn=True):
            [transcoder] = until(lambda: transcoders(str(stopping.data_dir / "media")), 15, "it runs")
            stopping.stop()
            # Its parent is gone, too: until somebody reaps it, its number is still there.
            assert not transcoder.is_running() or transcoder.status() == psutil.STATUS_ZOMBIE
            assert transcoders(str(stopping.data_dir / "media")) == []


def test_a_viewer_goes_up_and_down_between_renditions_without_an_error(box):
    made = box.create()
    with Encoder(box, made["streamToken"], size="854x480"), chromium() as browser:
        until(lambda: len(rendered(box, made["id"])) > 3, 30, "segments are made")
        browser.get(f"{box.url}/watch/{made['id']}")
        wait_for(browser, "return document.querySelector('video').currentTime > 0.5", 20)
        browser.execute_script(PLAYER)
        wait_for(browser, "return chosen.levels.length == 2", 20)
        for height in (360, 480, 360, 480):
            browser.execute_script(
                "chosen.nextLevel = chosen.levels.findIndex(l => l.height == arguments[0])", height
            )
            wait_for(browser, f"return shown.videoHeight == {height}", 20)
            before = browser.execute_script("return shown.currentTime")
            wait_for(browser, f"return shown.currentTime > {before} + 1", 20)
        # "aborted": a segment of the level that is left was on its way.
        assert set(browser.execute_script("return problems")) <= {"aborted"}
        assert video_state(browser)["errors"] == []
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


# A player beside the page's own, which keeps its hls.js to itself.
PLAYER = """
window.problems = [];
window.shown = document.createElement("video");
shown.muted = true;
document.body.append(shown);
window.chosen = new Hls({ lowLatencyMode: false });
chosen.on(Hls.Events.ERROR, (_, data) => problems.push(data.details + (data.fatal ? " fatal" : "")));
chosen.loadSource(location.pathname.replace("/watch/", "/play/") + "/master.m3u8");
chosen.attachMedia(shown);
shown.play();
"""
