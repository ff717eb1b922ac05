"""A rendition's playlists beside the source's, over a recording that nginx-rtmp wrote, with a transcoder of our own."""

import json
import shutil
from dataclasses import replace

import pytest

from media import index, playlists, ts
from media.broadcast import whole
from media.index import Job
from media.ladder import GROUPS, Picture, plan
from media.renditions import kept, read_state, write_ladder
from tests.test_packager import CHANNEL, NOW_MS, RECORDING, Broadcaster, config, look, packager, rung, shown

__all__ = ["config", "packager", "rung"]
NAME = "360p"
LIVE = f"{NAME}.m3u8"


class Transcoded(Broadcaster):
    """A session with a rendition. What its transcoder makes of a segment is the segment itself: time stamps are all."""

    def __init__(self, config, session_id: str, job: Job | None = None, token: str = "a-token") -> None:
        super().__init__(config, session_id, job or Job(), token)
        made = plan(Picture(854, 480, 25.0), (NAME,), ultra=False, cores=4, free=4)
        (self.folder / NAME / GROUPS).mkdir(parents=True)
        write_ladder(self.folder, made)

    def transcode(self, number: int, run: int = 0) -> None:
        """nginx's segment `number` of the recording has one group of pictures."""
        shutil.copyfile(RECORDING / f"{number % 4}.ts", self.folder / NAME / GROUPS / f"{run}-{number}.ts")

    def begin(self, packager) -> None:
        """Until its transcoder is known to be at work: the first segment goes without it."""
        self.segment(0)
        look(packager)
        self.transcode(0)
        self.segment(1)
        self.transcode(1)
        look(packager, NOW_MS + 1000)


def uris(config, name: str = LIVE) -> list[str]:
    return [entry.uri for entry in shown(config, name).entries]


def same_but_for_files(config, name: str = LIVE, source: str = playlists.SOURCE) -> bool:
    mine, theirs = shown(config, name), shown(config, source)
    for each in (mine, theirs):
        each.entries = [replace(entry, uri=entry.uri.rpartition("/")[2]) for entry in each.entries]
    return mine == theirs


def test_an_entry_is_what_was_made_of_the_sources_segment_and_all_else_is_the_same(config, packager):
    nginx = Transcoded(config, "ses_1")
    nginx.begin(packager)
    nginx.segment(2)
    nginx.transcode(2)
    look(packager, NOW_MS + 2000)
    assert uris(config) == ["ses_1/0.ts", "ses_1/360p/1.ts", "ses_1/360p/2.ts"]
    assert same_but_for_files(config)
    made = config.media_dir / CHANNEL / "ses_1/360p"
    assert (made / "2.ts").read_bytes() == (RECORDING / "2.ts").read_bytes()
    assert list((made / GROUPS).iterdir()) == [], "nothing is left over"


def test_the_multivariant_playlist_lists_it_from_the_first_moment_on(config, packager):
    Transcoded(config, "ses_1").segment(0)
    look(packager)
    lines = (config.media_dir / CHANNEL / playlists.MASTER).read_text().splitlines()
    assert [line for line in lines if line.endswith(".m3u8")] == ["source.m3u8", "360p.m3u8"]
    [said] = [line for line in lines if "RESOLUTION=640x360" in line]
    for part in ("BANDWIDTH=", "AVERAGE-BANDWIDTH=", "FRAME-RATE=25.000", 'CODECS="avc1.64001e,mp4a.40.2"'):
        assert part in said


def test_a_viewer_does_not_wait_for_a_transcoder_that_has_not_begun(config, packager):
    nginx = Transcoded(config, "ses_1")
    for number in range(3):
        nginx.segment(number)
        look(packager, NOW_MS + 1000 * number)
    assert uris(config) == [f"ses_1/{number}.ts" for number in range(3)]
    assert read_state(nginx.folder) == {NAME: 3}


@pytest.mark.parametrize(("mode", "wait_ms"), [("normal", 4000), ("low-latency", 2000)])
def test_a_transcoder_at_work_is_waited_for_but_not_for_long(config, packager, mode, wait_ms):
    nginx = Transcoded(config, "ses_1", Job(mode))
    nginx.begin(packager)
    nginx.segment(2)
    at = NOW_MS + 2000
    look(packager, at)
    look(packager, at + wait_ms - 100)
    assert uris(config)[-1] == "ses_1/360p/1.ts"
    look(packager, at + wait_ms)
    assert uris(config)[-1] == "ses_1/2.ts"
    assert same_but_for_files(config)


def test_what_comes_too_late_is_thrown_away_and_what_comes_in_time_again_is_shown(config, packager):
    nginx = Transcoded(config, "ses_1")
    nginx.begin(packager)
    nginx.segment(2)
    look(packager, NOW_MS + 2000)
    look(packager, NOW_MS + 6000)
    nginx.transcode(2)
    nginx.segment(3)
    look(packager, NOW_MS + 6100)
    assert uris(config)[-2:] == ["ses_1/2.ts", "ses_1/3.ts"], "it is far behind: nobody waits for it"
    nginx.transcode(3)
    nginx.segment(4)
    nginx.transcode(4)
    look(packager, NOW_MS + 6500)
    assert uris(config)[-1] == "ses_1/360p/4.ts"
    assert not (nginx.folder / NAME / "2.ts").exists()
    assert read_state(nginx.folder) == {NAME: 0}


def test_what_comes_soon_after_a_segment_went_without_it_is_worth_waiting_for_from_then_on(config, packager):
    """A key frame every four seconds: nothing else happens before the next segment is whole."""
    nginx = Transcoded(config, "ses_1")
    nginx.segment(0, 4.0)
    look(packager)
    nginx.transcode(0)
    look(packager, NOW_MS + 500)
    nginx.segment(1, 4.0)
    look(packager, NOW_MS + 4000)
    nginx.transcode(1)
    look(packager, NOW_MS + 4500)
    assert uris(config) == ["ses_1/0.ts", "ses_1/360p/1.ts"]


def test_a_segment_of_several_groups_waits_for_all_and_joins_them(config, packager):
    nginx = Transcoded(config, "ses_1")
    nginx.begin(packager)
    both = (RECORDING / "2.ts").read_bytes() + (RECORDING / "3.ts").read_bytes()
    nginx.segment(2, 2.0)
    (nginx.folder / "2.ts").write_bytes(both)
    nginx.transcode(2)
    look(packager, NOW_MS + 2000)
    assert uris(config)[-1] == "ses_1/360p/1.ts"
    nginx.transcode(3)
    look(packager, NOW_MS + 2100)
    assert uris(config)[-1] == "ses_1/360p/2.ts"
    assert (nginx.folder / NAME / "2.ts").read_bytes() == both


def test_a_group_that_lacks_pictures_is_not_shown(config, packager):
    """nginx drops frames for a player that does not read: what comes of the rest is a smear."""
    nginx = Transcoded(config, "ses_1")
    nginx.begin(packager)
    nginx.segment(2)
    data = (RECORDING / "2.ts").read_bytes()
    pictures = [frame for frame in ts.frames(data) if frame.video]
    (nginx.folder / NAME / GROUPS / "0-2.ts").write_bytes(data[: pictures[len(pictures) // 2].offset])
    look(packager, NOW_MS + 2000)
    look(packager, NOW_MS + 6000)
    assert uris(config)[-1] == "ses_1/2.ts"


@pytest.mark.parametrize("half_comes", ["first", "last"])
def test_of_two_transcoders_that_make_the_same_the_one_that_made_all_of_it_counts(
    config, packager, half_comes
):
    nginx = Transcoded(config, "ses_1")
    nginx.begin(packager)
    nginx.segment(2)
    data, groups = (RECORDING / "2.ts").read_bytes(), nginx.folder / NAME / GROUPS
    pictures = [frame for frame in ts.frames(data) if frame.video]

    def half() -> None:
        (groups / "0-2.ts").write_bytes(data[: pictures[len(pictures) // 2].offset])

    steps = [half, lambda: nginx.transcode(2, run=1)]
    nginx.transcode(3)  # of a segment that is still to come: it is kept for that
    for pause, step in enumerate(steps if half_comes == "first" else reversed(steps)):
        step()
        look(packager, NOW_MS + 2000 + pause)
    assert uris(config)[-1] == "ses_1/360p/2.ts"
    assert (nginx.folder / NAME / "2.ts").read_bytes() == data
    nginx.transcode(3, run=1)
    nginx.segment(3)
    look(packager, NOW_MS + 3000)
    assert uris(config)[-1] == "ses_1/360p/3.ts"
    assert [path.name for path in groups.iterdir() if not path.name.endswith("-2.ts")] == []


def test_the_next_packager_goes_on_with_what_players_have_seen(config, packager):
    nginx = Transcoded(config, "ses_1")
    nginx.begin(packager)
    nginx.segment(2)
    look(packager, NOW_MS + 2000)  # waits, and is killed
    other = type(packager)(config.ingest_dir, lambda: None)
    nginx.transcode(2)
    nginx.segment(3)
    look(other, NOW_MS + 3000)
    nginx.transcode(3)
    nginx.segment(4)
    nginx.transcode(4)
    look(other, NOW_MS + 4000)
    assert uris(config)[:2] == ["ses_1/0.ts", "ses_1/360p/1.ts"]
    assert uris(config)[-1] == "ses_1/360p/4.ts"
    assert same_but_for_files(config)


def test_a_rendition_that_was_shown_goes_on_in_a_session_without_it(config, packager):
    """The encoder came back smaller: players that chose 360p do not ask for the multivariant playlist again."""
    Transcoded(config, "ses_1").begin(packager)
    (config.ingest_dir / "a-token").unlink()
    look(packager, NOW_MS + 5000)
    second = Broadcaster(config, "ses_2", Job())
    second.segment(0)
    look(packager, NOW_MS + 9000)
    assert uris(config)[-2:] == ["ses_1/360p/1.ts", "ses_2/0.ts"]
    assert same_but_for_files(config)
    assert LIVE not in (config.media_dir / CHANNEL / playlists.MASTER).read_text()


def test_a_rendition_that_is_taken_back_goes_on_as_the_source(config, packager):
    nginx = Transcoded(config, "ses_1")
    nginx.begin(packager)
    (nginx.folder / "ladder.json").write_text(
        json.dumps(plan(Picture(854, 480, 25.0), (NAME,), ultra=False, cores=4, free=0).as_json())
    )
    nginx.segment(2)
    look(packager, NOW_MS + 2000)
    assert uris(config)[-2:] == ["ses_1/360p/1.ts", "ses_1/2.ts"]
    assert LIVE not in (config.media_dir / CHANNEL / playlists.MASTER).read_text()


def test_when_the_publisher_leaves_nobody_waits_any_more(config, packager):
    nginx = Transcoded(config, "ses_1")
    nginx.begin(packager)
    nginx.segment(2)
    look(packager, NOW_MS + 2000)
    (config.ingest_dir / "a-token").unlink()
    look(packager, NOW_MS + 2100)
    assert uris(config)[-1] == "ses_1/2.ts"


def test_dvr_and_the_whole_broadcast_have_it_too(config, packager):
    nginx = Transcoded(config, "ses_1", Job(dvr=True))
    nginx.begin(packager)
    nginx.segment(2)
    look(packager, NOW_MS + 5000)
    assert uris(config, "360p_dvr.m3u8") == ["ses_1/0.ts", "ses_1/360p/1.ts"], "2 is waited for"
    nginx.transcode(2)
    nginx.segment(3)
    nginx.transcode(3)
    look(packager, NOW_MS + 9500)
    expected = ["ses_1/0.ts", "ses_1/360p/1.ts", "ses_1/360p/2.ts", "ses_1/360p/3.ts"]
    assert uris(config, "360p_dvr.m3u8") == expected
    assert same_but_for_files(config, "360p_dvr.m3u8", playlists.SOURCE_DVR)
    assert "360p_dvr.m3u8" in (config.media_dir / CHANNEL / playlists.MASTER_DVR).read_text()
    assert [entry.uri for entry in whole(config.media_dir / CHANNEL, NAME).entries] == expected
    [said] = kept(config.media_dir / CHANNEL, "avc1.42c01e,mp4a.40.2")
    assert (said.uri, said.size, said.codecs) == (LIVE, (640, 360), "avc1.64001e,mp4a.40.2")


def test_old_segments_go_with_what_was_made_of_them(config, packager):
    nginx = Transcoded(config, "ses_1")
    nginx.begin(packager)
    known = index.read(nginx.folder)
    known.segments *= 10
    index.forget_before(nginx.folder, known, NOW_MS + 10_000_000)
    assert list(nginx.folder.rglob("*.ts")) == []
