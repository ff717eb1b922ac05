"""The packager over what SRS writes: numbers that go on from one session to the next, with the old ones still listed,
files that get their names when they are whole, and key frames that only a clock reference marks."""

import re
import shutil
from pathlib import Path

import pytest

from media import index, playlists, ts
from media.broadcast import whole
from media.index import Job
from media.parts import NAME
from media.storage import open_for
from packager import Packager
from tests.conftest import installation

RECORDING = Path(__file__).parent / "fixtures/nginx-rtmp/hls"
CHANNEL = "ch_00000000000000000001"
NOW_MS = 1_790_000_000_000


class Srs:
    """Its HLS of one stream, over all of its publishers. All that it writes goes through the link."""

    def __init__(self, config) -> None:
        self.config = config
        self.link = config.ingest_dir / "a-token"
        self.number = 0
        self.listed: list[str] = []

    def publish(self, session_id: str, job: Job) -> None:
        self.folder = open_for(self.config, CHANNEL, session_id, self.link.name)
        index.write_job(self.folder, job)
        self.broken = "#EXT-X-DISCONTINUITY\n"

    def grow(self, size: int | None = None) -> None:
        (self.link / f"{self.number}.ts.tmp").write_bytes(recorded(self.number)[:size])

    def segment(self) -> None:
        self.grow()
        (self.link / f"{self.number}.ts.tmp").rename(self.link / f"{self.number}.ts")
        self.listed.append(f"{self.broken}#EXTINF:1.000, no desc\n{self.number}.ts\n")
        self.number += 1
        self.broken = ""
        text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:2\n"
        (self.link / "index.m3u8.temp").write_text(text + "".join(self.listed))
        (self.link / "index.m3u8.temp").rename(self.link / "index.m3u8")

    def segments(self, count: int) -> None:
        for _ in range(count):
            self.segment()


def recorded(number: int) -> bytes:
    """nginx's, with SRS's marks: a clock reference, and no point of access."""
    data = bytearray((RECORDING / f"{number % 4}.ts").read_bytes())
    for frame in ts.frames(bytes(data)):
        if frame.key:
            assert data[frame.offset + 5] & 0x50 == 0x50
            data[frame.offset + 5] &= ~0x40
    return bytes(data)


@pytest.fixture
def config(tmp_path):
    made = installation(tmp_path)
    for folder in (made.media_dir, made.ingest_dir):
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def srs(config) -> Srs:
    return Srs(config)


@pytest.fixture
def channel(config) -> Path:
    return config.media_dir / CHANNEL


def look(config, packager: Packager | None = None) -> Packager:
    """By the next packager, unless there is one."""
    packager = packager or Packager(config.ingest_dir, lambda: None)
    packager.look(NOW_MS, NOW_MS / 1000)
    return packager


def uris(channel: Path, name: str = playlists.SOURCE) -> list[str]:
    return [entry.uri for entry in playlists.parse((channel / name).read_text()).entries]


def two_sessions(config, srs: Srs, **job: object) -> None:
    """Of three and two segments."""
    srs.publish("ses_1", Job(**job))
    srs.segments(3)
    look(config)
    srs.publish("ses_2", Job(**job))
    srs.segments(2)
    look(config)


def test_only_a_session_s_own_files_are_shown_and_its_first_is_a_break(config, srs, channel):
    two_sessions(config, srs)
    assert uris(channel) == ["ses_1/0.ts", "ses_1/1.ts", "ses_1/2.ts", "ses_2/3.ts", "ses_2/4.ts"]
    found = playlists.parse((channel / playlists.SOURCE).read_text())
    assert [entry.broken for entry in found.entries] == [False, False, False, True, False]
    assert found.first == 0


def test_key_frames_are_seen_without_their_own_mark(config, srs):
    srs.publish("ses_1", Job())
    srs.segments(3)
    look(config)
    assert index.read_signal(srs.folder)["video"]["keyframeInterval"] == 1.0


def test_a_channel_s_segments_are_counted_without_a_hole_whatever_their_files_are_called(
    config, srs, channel
):
    two_sessions(config, srs, dvr=True)
    first, second = (each for _, each in index.sessions(channel))
    assert (first.first, first.next_base) == (0, 3)
    assert (second.base, second.first, second.first_base, second.next_base) == (3, 3, 3, 5)
    before = whole(channel)
    shutil.rmtree(channel / "ses_1")
    after = whole(channel)
    assert (after.first, after.next_number) == (3, before.next_number)


def test_a_packager_that_was_killed_goes_on_in_a_session_that_begins_late(config, srs, channel):
    srs.publish("ses_1", Job())
    srs.segments(3)
    look(config)
    srs.publish("ses_2", Job())
    look(config)  # before anything of it is whole
    srs.segment()
    look(config)
    srs.segment()
    look(config)
    assert uris(channel)[3:] == ["ses_2/3.ts", "ses_2/4.ts"]
    assert index.read(srs.folder).next_base == 5


def test_an_srs_that_was_started_anew_counts_from_0_again(config, srs, channel):
    srs.publish("ses_1", Job())
    srs.segments(3)
    look(config)
    srs.number, srs.listed = 0, []
    srs.publish("ses_2", Job())
    srs.segments(2)
    look(config)
    assert uris(channel)[3:] == ["ses_2/0.ts", "ses_2/1.ts"]
    found = index.read(srs.folder)
    assert (found.base, found.first, found.next_base) == (3, 0, 5)


def test_what_is_sent_is_known_before_a_file_has_its_name(config, srs):
    srs.publish("ses_1", Job())
    srs.segments(3)
    packager = look(config)
    srs.publish("ses_2", Job())
    srs.grow(9400)
    look(config, packager)
    signal = index.read_signal(srs.folder)
    assert (signal["video"]["width"], signal["video"]["height"], signal["lastNumber"]) == (128, 72, None)


@pytest.mark.parametrize("killed", [False, True])
def test_parts_are_cut_out_of_a_file_that_has_no_name_yet(config, srs, channel, killed):
    srs.publish("ses_1", Job(mode="ultra-low-latency"))
    srs.segments(2)
    look(config)
    srs.publish("ses_2", Job(mode="ultra-low-latency"))
    srs.grow()
    packager = look(config)
    early = [uri for uri in uris(channel) if uri.startswith("ses_2/")]
    assert {NAME.search(uri)["number"] for uri in early} == {"2"}
    srs.segment()
    srs.grow(20_000)
    look(config, None if killed else packager)
    later = [uri for uri in uris(channel) if uri.startswith("ses_2/")]
    assert later[: len(early)] == early
    ends = [int(NAME.search(uri)["end"]) for uri in later if re.search("/p2-", uri)]
    assert ends[-1] == len(recorded(2)), "to the end of the file, now under its name"
