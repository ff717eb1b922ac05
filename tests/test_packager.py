"""The packager, over a recording that nginx-rtmp wrote: what it shows, and how the next one goes on."""

import itertools
import os
import shutil
from pathlib import Path

import pytest

from media import index, playlists, ts
from media.broadcast import Broadcast, whole
from media.index import Job
from media.intake import Intake
from media.parts import PART_S
from media.storage import open_for, taken_in
from packager import AGAIN_MS, Packager
from tests.conftest import installation

RECORDING = Path(__file__).parent / "fixtures/nginx-rtmp/hls"
CHANNEL = "ch_00000000000000000001"
NOW_MS = 1_790_000_000_000


class Broadcaster:
    """Writes a recording's segments as nginx does: listed one at a time, the last one growing."""

    def __init__(self, config, session_id: str, job: Job, token: str = "a-token") -> None:
        self.link = config.ingest_dir / token
        self.folder = open_for(config, CHANNEL, session_id, token)
        self.listed: list[str] = []
        index.write_job(self.folder, job)

    def segment(self, number: int, seconds: float = 1.0) -> None:
        shutil.copyfile(RECORDING / f"{number % 4}.ts", self.folder / f"{number}.ts")
        self.listed.append(f"#EXTINF:{seconds:.3f},\n{number}.ts\n")
        first = max(0, len(self.listed) - 5)
        text = f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:{first}\n" + "".join(self.listed[first:])
        (self.folder / "fresh").write_text(text)
        (self.folder / "fresh").rename(self.folder / "index.m3u8")

    def grow(self, number: int, size: int) -> None:
        (self.folder / f"{number}.ts").write_bytes((RECORDING / f"{number}.ts").read_bytes()[:size])


@pytest.fixture
def config(tmp_path):
    made = installation(tmp_path)
    for folder in (made.media_dir, made.ingest_dir):
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def rung():
    return []


@pytest.fixture
def packager(config, rung):
    return Packager(config.ingest_dir, lambda: rung.append(True))


def look(packager: Packager, now_ms: int = NOW_MS) -> None:
    packager.look(now_ms, now_ms / 1000)


def shown(config, name: str = playlists.SOURCE) -> playlists.MediaPlaylist:
    return playlists.parse((config.media_dir / CHANNEL / name).read_text())


def test_size_and_rate_of_the_picture_are_known_before_the_first_segment_is_whole(config, packager, rung):
    nginx = Broadcaster(config, "ses_1", Job())
    nginx.grow(0, 15_000)
    look(packager)
    early = index.read_signal(nginx.folder)["video"]
    nginx.segment(0)
    look(packager)
    video = index.read_signal(nginx.folder)["video"]
    assert (early["width"], early["height"]) == (video["width"], video["height"])
    assert early["fps"] == pytest.approx(video["fps"], rel=0.05)
    assert rung


def test_the_first_whole_segment_is_playable_and_the_worker_is_told_at_once(config, packager, rung):
    nginx = Broadcaster(config, "ses_1", Job())
    nginx.grow(0, 3000)
    look(packager)
    assert index.read_signal(nginx.folder)["playable"] is False
    rung.clear()
    nginx.segment(0)
    look(packager)
    assert [entry.uri for entry in shown(config).entries] == ["ses_1/0.ts"]
    assert index.read_signal(nginx.folder)["playable"] is True
    assert rung


def test_what_a_session_sends_is_known_before_its_first_segment_is_whole(config, packager, rung):
    nginx = Broadcaster(config, "ses_1", Job())
    nginx.grow(0, 9400)
    look(packager)
    signal = index.read_signal(nginx.folder)
    assert (signal["video"]["width"], signal["video"]["height"], signal["lastNumber"]) == (128, 72, None)
    assert rung


def test_the_signal_is_measured(config, packager):
    nginx = Broadcaster(config, "ses_1", Job())
    for number in range(3):
        nginx.segment(number)
    look(packager)
    signal = index.read_signal(nginx.folder)
    video, audio = signal["video"], signal["audio"]
    assert (video["codec"], video["profile"], video["fps"]) == ("H264", "Constrained Baseline", 10.0)
    assert video["keyframeInterval"] == 1.0
    assert 60 < video["bitrate"] < 120
    assert (audio["codec"], audio["profile"], audio["sampleRate"], audio["channels"]) == (
        "AAC",
        "LC",
        44100,
        1,
    )
    assert 15 < audio["bitrate"] < 40
    assert signal["codecs"] == "avc1.42d00b,mp4a.40.2"


def test_the_multivariant_playlist_says_what_players_choose_by(config, packager):
    nginx = Broadcaster(config, "ses_1", Job(dvr=True))
    nginx.segment(0)
    look(packager)
    text = (config.media_dir / CHANNEL / playlists.MASTER).read_text()
    assert 'RESOLUTION=128x72,FRAME-RATE=10.000,CODECS="avc1.42d00b,mp4a.40.2"\nsource.m3u8' in text
    seekable = (config.media_dir / CHANNEL / playlists.MASTER_DVR).read_text()
    assert seekable == text.replace("source.m3u8", "source_dvr.m3u8")


def test_dates_go_on_without_a_gap_within_a_session(config, packager):
    nginx = Broadcaster(config, "ses_1", Job())
    for number in range(4):
        nginx.segment(number, 1.25)
        look(packager, NOW_MS + number * 1300)
    began = [entry.began_ms for entry in shown(config).entries]
    assert [later - earlier for earlier, later in itertools.pairwise(began)] == [1250] * 3
    assert began[0] == NOW_MS - 1250


def test_a_reconnection_is_a_discontinuity_and_the_numbers_go_on(config, packager):
    first = Broadcaster(config, "ses_1", Job())
    for number in range(3):
        first.segment(number)
    look(packager)
    second = Broadcaster(config, "ses_2", Job())
    look(packager, NOW_MS + 5000)
    second.segment(0)
    second.segment(1)
    look(packager, NOW_MS + 9000)
    found = shown(config)
    assert (found.first, found.breaks) == (0, 0)
    assert [entry.uri for entry in found.entries] == [
        *(f"ses_1/{n}.ts" for n in range(3)),
        "ses_2/0.ts",
        "ses_2/1.ts",
    ]
    assert [entry.broken for entry in found.entries] == [False, False, False, True, False]
    assert index.read(second.folder).base == 3
    assert index.read_signal(first.folder)["over"] is True


def test_discontinuities_that_have_left_the_playlist_are_counted(config, packager):
    for session in range(3):
        nginx = Broadcaster(config, f"ses_{session}", Job("low-latency"))
        for number in range(20):
            nginx.segment(number)
            look(packager, NOW_MS + session * 60_000 + number * 1000)
    found = shown(config)
    assert (found.first, found.next_number, found.breaks) == (48, 60, 2)


def test_what_leaves_the_playlist_stays_on_disk_for_catch_up(config, packager):
    nginx = Broadcaster(config, "ses_1", Job(keep=True))
    for number in range(60):
        nginx.segment(number)
        look(packager, NOW_MS + number * 1000)
    assert shown(config).first == 40
    everything = whole(config.media_dir / CHANNEL)
    assert [entry.uri for entry in everything.entries] == [f"ses_1/{n}.ts" for n in range(60)]
    assert (nginx.folder / "0.ts").exists()


def test_what_nobody_wants_to_keep_goes_when_players_cannot_ask_for_it_any_more(config, packager):
    nginx = Broadcaster(config, "ses_1", Job(keep=False))
    for number in range(120):
        nginx.segment(number)
        look(packager, NOW_MS + number * 1000)
    left = sorted(int(path.stem) for path in nginx.folder.glob("*.ts"))
    assert left[-1] == 119
    assert 50 <= len(left) <= 80
    assert min(left) < shown(config).first - 20, "whoever read the playlist a moment ago may still ask"
    assert [segment.number for segment in index.read(nginx.folder).segments] == left


def test_dvr_shows_what_live_no_longer_does_over_reconnections(config, packager):
    for session in range(2):
        nginx = Broadcaster(config, f"ses_{session}", Job(dvr=True, keep=False))
        for number in range(40):
            nginx.segment(number)
            look(packager, NOW_MS + session * 60_000 + number * 1000)
    look(packager, NOW_MS + 200_000)
    found = shown(config, playlists.SOURCE_DVR)
    assert (found.first, len(found.entries) >= 76) == (0, True)
    assert sum(entry.broken for entry in found.entries) == 1


def test_a_killed_packager_leaves_nothing_that_the_next_one_shows_twice_or_not_at_all(config, packager, rung):
    nginx = Broadcaster(config, "ses_1", Job())
    for number in range(3):
        nginx.segment(number)
        look(packager, NOW_MS + number * 1000)
    nginx.segment(3)
    # Killed after the playlist was written and before the index was.
    intake = Intake(nginx.folder)
    half_done = Broadcast(intake)
    intake.keep = lambda fresh: None
    half_done.look(NOW_MS + 3000)
    following = Packager(config.ingest_dir, lambda: None)
    look(following, NOW_MS + 4000)
    nginx.segment(4)
    look(following, NOW_MS + 5000)
    assert [entry.uri for entry in shown(config).entries] == [f"ses_1/{n}.ts" for n in range(5)]
    assert [segment.number for segment in index.read(nginx.folder).segments] == list(range(5))


def test_a_packager_that_was_away_for_long_marks_what_it_has_missed(config, packager):
    nginx = Broadcaster(config, "ses_1", Job())
    nginx.segment(0)
    look(packager)
    for number in range(1, 12):
        nginx.segment(number)
    look(packager, NOW_MS + 12_000)
    found = shown(config)
    assert [entry.uri for entry in found.entries] == ["ses_1/0.ts", *(f"ses_1/{n}.ts" for n in range(7, 12))]
    assert [entry.broken for entry in found.entries] == [False, True, False, False, False, False]


def test_an_index_that_was_cut_in_the_middle_of_a_line_is_mended(config, packager):
    nginx = Broadcaster(config, "ses_1", Job())
    for number in range(3):
        nginx.segment(number)
    look(packager)
    with open(nginx.folder / index.SEGMENTS, "r+b") as file:
        file.truncate((nginx.folder / index.SEGMENTS).stat().st_size - 4)
    assert len(index.read(nginx.folder).segments) == 2
    look(Packager(config.ingest_dir, lambda: None), NOW_MS + 1000)
    assert [segment.number for segment in index.read(nginx.folder).segments] == [0, 1, 2]


def test_one_session_that_cannot_be_shown_holds_up_no_other_and_is_tried_again(config, packager, caplog):
    bad, good = Broadcaster(config, "ses_1", Job(), "one"), Broadcaster(config, "ses_2", Job(), "two")
    bad.segment(0)
    (bad.folder / "0.ts").write_bytes(b"")
    (bad.folder / "index.m3u8").write_text("#EXTINF:not a number,\n0.ts\n")
    good.segment(0)
    look(packager)
    assert [entry.uri for entry in shown(config).entries] == ["ses_2/0.ts"]
    assert "ses_1: ValueError" in caplog.text
    bad.listed.clear()
    bad.segment(0)
    look(packager, NOW_MS + AGAIN_MS)
    assert "ses_1/0.ts" in [entry.uri for entry in shown(config).entries]


def test_a_channel_that_is_deleted_while_it_is_live_is_let_go(config, packager):
    nginx = Broadcaster(config, "ses_1", Job())
    nginx.segment(0)
    look(packager)
    shutil.rmtree(config.media_dir / CHANNEL)
    look(packager, NOW_MS + 1000)
    nginx.link.unlink()
    look(packager, NOW_MS + 9000)
    assert packager.broadcasts == {}
    assert not (config.media_dir / CHANNEL).exists()


def test_a_token_that_is_used_again_leads_to_the_newer_session(config):
    Broadcaster(config, "ses_1", Job(), "same")
    newer = Broadcaster(config, "ses_2", Job(), "same")
    assert {name: link.name for name, link in taken_in(config.ingest_dir).items()} == {"ses_2": "same"}
    assert os.path.realpath(config.ingest_dir / "same") == str(newer.folder)


# Parts, for ultra-low-latency.

ULTRA = Job("ultra-low-latency")


def grown(nginx: Broadcaster, packager: Packager, segments: int, step: int = 2000) -> None:
    now_ms = NOW_MS
    for number in range(segments):
        size = (RECORDING / f"{number}.ts").stat().st_size
        for written in range(step, size + step, step):
            nginx.grow(number, min(written, size))
            now_ms += 100
            look(packager, now_ms)


def test_thirds_of_a_second_are_shown_while_their_segment_still_grows(config, packager):
    nginx = Broadcaster(config, "ses_1", ULTRA)
    grown(nginx, packager, 1)
    found = shown(config).entries
    assert found
    assert all(entry.uri.startswith("ses_1/p0-") for entry in found)
    assert index.read_signal(nginx.folder)["playable"] is True


def test_parts_are_even_begin_at_key_frames_and_make_up_the_whole(config, packager):
    nginx = Broadcaster(config, "ses_1", ULTRA)
    grown(nginx, packager, 4)
    found = shown(config).entries
    assert all(0.2 <= entry.seconds <= 0.5 for entry in found)
    assert abs(sum(entry.seconds for entry in found) - len(found) * PART_S) < 0.2
    parts = [(nginx.folder.parent / entry.uri).read_bytes() for entry in found]
    recorded = (RECORDING / "1.ts").read_bytes()
    of_one = [part for part, entry in zip(parts, found, strict=True) if "/p1-" in entry.uri]
    head = recorded[:376]
    assert b"".join([of_one[0], *(part.removeprefix(head) for part in of_one[1:])]) == recorded
    assert all(part.startswith(head) for part in of_one), "a player may start with any"


def test_the_next_packager_goes_on_behind_the_last_part(config, packager):
    nginx = Broadcaster(config, "ses_1", ULTRA)
    grown(nginx, packager, 2)
    nginx.grow(2, 8000)
    look(packager, NOW_MS + 60_000)
    before = shown(config).entries
    following = Packager(config.ingest_dir, lambda: None)
    for number in (2, 3):
        nginx.grow(number, 10**6)
        look(following, NOW_MS + 61_000)
    after = shown(config).entries
    assert after[: len(before)] == before
    uris = [entry.uri for entry in after]
    assert len(set(uris)) == len(uris)
    ends = [int(uri.rpartition("-")[2].removesuffix(".ts")) for uri in uris if "/p2-" in uri]
    assert ends == sorted(ends)
    assert ends[-1] == (RECORDING / "2.ts").stat().st_size


def test_however_rare_key_frames_are_the_last_one_is_listed(config, packager):
    nginx = Broadcaster(config, "ses_1", ULTRA)
    frames = (RECORDING / "0.ts").read_bytes()
    later = [(RECORDING / f"{n % 4}.ts").read_bytes()[376:] for n in range(1, 14)]
    for written in range(len(later) + 1):
        data = frames + b"".join(without_key_frames(each, n + 1) for n, each in enumerate(later[:written]))
        (nginx.folder / "0.ts").write_bytes(data)
        look(packager, NOW_MS + written * 1000)
    found = shown(config).entries
    assert sum(entry.seconds for entry in found) > 10
    assert (nginx.folder.parent / found[0].uri).read_bytes().startswith(frames[:1000])


def without_key_frames(packets: bytes, second: int) -> bytes:
    """A second of a recording with its time moved on and its key frames unmarked."""
    changed = bytearray(packets)
    for frame in ts.frames(packets):
        at = frame.offset
        if frame.key:
            changed[at + 5] &= ~0x40
        pes = at + ts._payload(packets, at)
        _write_time(changed, pes + 9, START + second * ts.CLOCK + (frame.pts - START) % ts.CLOCK)
    return bytes(changed)


START = 65_000  # the recording's first time stamp, about


def _write_time(data: bytearray, at: int, pts: int) -> None:
    data[at] = (data[at] & 0xF1) | (pts >> 30 & 7) << 1
    data[at + 1], data[at + 2] = pts >> 22 & 0xFF, (pts >> 15 & 0x7F) << 1 | 1
    data[at + 3], data[at + 4] = pts >> 7 & 0xFF, (pts & 0x7F) << 1 | 1


def test_parts_that_nobody_can_ask_for_any_more_are_removed(config, packager):
    nginx = Broadcaster(config, "ses_1", ULTRA)
    now_ms = NOW_MS
    for number in range(60):
        shutil.copyfile(RECORDING / f"{number % 4}.ts", nginx.folder / f"{number}.ts")
        nginx.segment(number)
        now_ms += 1000
        look(packager, now_ms)
    assert len(list(nginx.folder.glob("p*.ts"))) < 180
    listed = {entry.uri.partition("/")[2] for entry in shown(config).entries}
    assert listed <= {path.name for path in nginx.folder.glob("p*.ts")}
