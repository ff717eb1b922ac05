"""A disk that fills up: nothing new is kept, then DVR is shortened, and what is live goes on."""

import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from config import from_env
from db import utcnow
from live import videos
from media import index, playlists
from media.broadcast import make_room, whole
from media.disk import MB, least_free, tightness
from media.index import Index, Job, Segment, told_of
from packager import Packager
from tests.box import Encoder, running_box, short_folder
from tests.conftest import installation
from tests.test_packager import NOW_MS, Broadcaster, look, shown
from tests.waiting import until


def test_five_percent_of_a_disk_stay_free_and_no_more_than_two_gigabytes_unless_told_otherwise(tmp_path):
    assert least_free(None, 10_000 * MB) == 500 * MB
    assert least_free(None, 1_000_000 * MB) == 2_000 * MB
    assert (
        least_free(from_env({"DATA_DIR": str(tmp_path), "DISK_MIN_FREE": "30"}).disk_min_free, 10**12)
        == 30 * MB
    )
    assert tightness(0, least_free(0, 10**12)) == 0, "0 turns it off"


@pytest.mark.parametrize(
    ("free", "before", "level"),
    [(100, 0, 0), (99, 0, 1), (50, 1, 1), (49, 1, 2), (52, 2, 2), (56, 2, 1), (105, 1, 1), (111, 1, 0)],
)
def test_it_is_tight_below_the_bound_and_tighter_below_half_of_it_and_well_again_only_a_tenth_above(
    free, before, level
):
    assert tightness(free, 100, before) == level


def session(folder: Path, count: int) -> Index:
    folder.mkdir(parents=True)
    known = Index(segments=[Segment(number, 1.0, 1, 1000 * number, 0) for number in range(count)])
    index.write_job(folder, Job())
    index.begin(folder, known)
    for number in range(count):
        (folder / f"{number}.ts").touch()
    return known


def test_what_had_been_kept_before_stays_and_what_comes_goes_behind_the_live_window(tmp_path):
    folder = tmp_path / "ch" / "ses_1"
    known = session(folder, 60)
    index.renew_job(folder, Job(), tight=1, now_ms=20_000)
    job = index.read_job(folder)
    assert (job.keep, job.kept_to_ms) == (False, 20_000)
    index.renew_job(folder, Job(), tight=1, now_ms=30_000)
    assert index.read_job(folder) == job, "the first moment counts"
    index.forget_before(folder, known, 50_000, job.kept_to_ms)
    left = [segment.number for segment in index.read(folder).segments]
    assert left == [*range(20), *range(49, 60)]
    assert sorted(int(path.stem) for path in folder.glob("*.ts")) == left
    assert [entry.uri for entry in whole(tmp_path / "ch").entries if entry.broken] == ["ses_1/49.ts"], (
        "a gap is one"
    )
    index.renew_job(folder, Job(), tight=0, now_ms=60_000)
    assert index.read_job(folder) == Job()


def test_dvr_is_shortened_last_and_has_its_two_hours_again_later(tmp_path):
    folder = tmp_path / "ses_1"
    session(folder, 1)
    lengths = []
    for level in (0, 1, 2, 1, 0):
        index.renew_job(folder, Job(keep=False), tight=level, now_ms=1)
        lengths.append(index.read_job(folder).dvr_s)
    assert lengths == [7200, 7200, 300, 7200, 7200]


def test_on_a_disk_that_is_full_to_the_last_byte_only_what_is_not_kept_makes_room(tmp_path):
    before, running = tmp_path / "ses_1", tmp_path / "ses_2"
    for folder, dvr in ((before, True), (running, True)):
        session(folder, 400)
        index.write_job(folder, Job(dvr=dvr, keep=False))
    make_room(running, 400_000)
    left = [segment.number for segment in index.read(running).segments]
    assert left == list(range(69, 400)), "five minutes, and half of one for who is behind"
    assert [segment.number for segment in index.read(before).segments] == left
    assert {int(path.stem) for path in before.glob("*.ts")} == set(left)
    for folder in (before, running):
        index.write_job(folder, Job(dvr=True, keep=True))
    make_room(running, 10**9)
    assert len(list(before.glob("*.ts"))) == len(list(running.glob("*.ts"))) == len(left), (
        "a catch-up stays whole"
    )


def test_a_packager_that_finds_the_disk_full_makes_room_and_goes_on_with_what_is_left(tmp_path, monkeypatch):
    config = installation(tmp_path)
    for folder in (config.media_dir, config.ingest_dir):
        folder.mkdir(parents=True)
    nginx, packager = (
        Broadcaster(config, "ses_1", Job(dvr=True, keep=False)),
        Packager(config.ingest_dir, int),
    )
    for number in range(400):
        nginx.segment(number)
        look(packager, NOW_MS + number * 1000)
    assert len(shown(config, playlists.SOURCE_DVR).entries) > 390
    monkeypatch.setattr("media.disk.FULL", 10**18)
    nginx.segment(400)
    look(packager, NOW_MS + 405_000)
    found = shown(config, playlists.SOURCE_DVR)
    assert 300 <= len(found.entries) <= 340
    assert found.entries[-1].uri == "ses_1/400.ts"
    assert len(list(nginx.folder.glob("*.ts"))) == len(found.entries)


def test_a_channel_with_dvr_alone_is_told_of_both_turns():
    whole_length, short = Job(dvr=True, keep=False), Job(dvr=True, keep=False, dvr_s=300)
    assert told_of(whole_length, short)[0] is False
    assert told_of(short, whole_length)[0] is True
    assert told_of(replace(short, kept_to_ms=1), replace(whole_length, kept_to_ms=1)) is None, (
        "still not kept"
    )


def test_what_the_disk_costs_a_channel_is_noted_once_until_it_changes(client, channel, lifecycle, now, db):
    for enough, what in ((False, "Low"), (False, "Low"), (False, "Lower"), (True, "Room"), (True, "Room")):
        videos.storage_changed(channel["id"], enough, what, "1 MB are free", now)
    told = client.get(f"/v1/live/{channel['id']}/event").json["data"]
    assert [each["detail"]["reason"] for each in told if each["event"].startswith("storage")] == [
        "Room (1 MB are free)",
        "Lower (1 MB are free)",
        "Low (1 MB are free)",
    ]


def test_the_next_broadcast_on_a_disk_that_is_low_again_is_told_of_it(client, hooks, channel, now, db):
    videos.storage_changed(channel["id"], False, "Low", "1 MB are free", now - timedelta(days=1))
    hooks.publish(channel["streamToken"])
    for _ in range(2):
        videos.storage_changed(channel["id"], False, "Low", "1 MB are free", utcnow())
    told = client.get(f"/v1/live/{channel['id']}/event").json["data"]
    assert [each["event"] for each in told[:2]] == ["storage_low", "published"]
    assert [each["event"] for each in told].count("storage_low") == 2


@pytest.mark.box
@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system is mounted, which only root can")
def test_a_broadcast_goes_on_while_the_disk_is_full_and_its_timeline_says_what_that_costs():
    with short_folder() as folder:
        data_dir = folder / "data"
        data_dir.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", data_dir], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("no file system can be mounted here")
        try:
            with running_box(folder, DISK_MIN_FREE="20") as box:
                goes_on_while_full(box)
        finally:
            subprocess.run(["umount", "-l", data_dir], check=True)


def goes_on_while_full(box) -> None:
    kept, dvr = box.create(record=True, mode="low-latency"), box.create(dvr=True, catchup=False)
    history = seekable_for(box, dvr, minutes=12)
    with Encoder(box, kept["streamToken"]) as encoder, Encoder(box, dvr["streamToken"]) as other:
        for made in (kept, dvr):
            box.await_status(made["id"], "live")
        until(
            lambda: len(box.get(f"/play/{dvr['id']}/source_dvr.m3u8")) > 700 * 30,
            15,
            "all of it can be sought",
        )
        [folder] = (box.data_dir / "media" / kept["id"]).glob("ses_*/")

        fill(box, leaving_mb=15)
        [low] = until(lambda: noted(box, kept), 15, "the timeline says it")
        assert low["event"] == "storage_low"
        assert "nothing more is kept" in low["detail"]["reason"]
        assert not index.read_job(folder).keep
        until(lambda: "room on disk: level 1" in box.log.read_text(), 10, "the log has come through its pipe")
        assert box.create()["id"], "the database goes on"
        goes_on(box, kept)
        assert noted(box, dvr) == [], "it does without nothing yet"

        fill(box, leaving_mb=0)
        [low] = until(lambda: noted(box, dvr), 30, "the timeline says it")
        assert (low["event"], "DVR is shortened" in low["detail"]["reason"]) == ("storage_low", True)
        until(lambda: dvr_seconds(box, dvr) < 310, 15, "DVR is shortened")
        until(lambda: len(list(history.glob("*.ts"))) < 400, 15, "what is behind it is removed")
        for made in (kept, dvr):
            goes_on(box, made)
            assert box.channel(made["id"])["status"] == "live"
        assert (encoder.process.poll(), other.process.poll()) == (None, None)

        (box.data_dir / "ballast").unlink()
        for made in (kept, dvr):
            until(
                lambda made=made: noted(box, made)[-1]["event"] == "storage_enough",
                15,
                "it recovers by itself",
            )
        assert index.read_job(folder).keep
    box.call("DELETE", f"/v1/live/{kept['id']}")
    until(
        lambda: len(box.read(f"/v1/video?channelId={kept['id']}")) == 2,
        15,
        "catch-up and recording, after all",
    )


def seekable_for(box, made: dict, minutes: int) -> Path:
    """A session before the next one, as long as that: its folder."""
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
    until(lambda: not box.channel(made["id"])["publishing"], 15, "it is over")
    [folder] = (box.data_dir / "media" / made["id"]).glob("ses_*/")
    count, began_ms = minutes * 60, round(time.time() * 1000) - minutes * 60_000
    until(lambda: index.read_signal(folder)["over"], 10, "the packager has let go of it")
    segments = [Segment(number, 1.0, 32_000, began_ms + number * 1000, 0) for number in range(count)]
    index.begin(folder, replace(index.read(folder), segments=segments))
    for segment in segments:
        (folder / segment.file).write_bytes(bytes(segment.size))
    return folder


def fill(box, leaving_mb: int) -> None:
    """Down to the last byte where nothing is to be left."""
    with open(box.data_dir / "ballast", "ab", buffering=0) as file, suppress(OSError):
        while shutil.disk_usage(box.data_dir).free > leaving_mb * MB:
            file.write(bytes(MB // 10 if leaving_mb else 4096))


def noted(box, made: dict) -> list[dict]:
    return [each for each in box.timeline(made["id"]) if each["event"].startswith("storage")]


def goes_on(box, made: dict) -> None:
    before = box.playlist(made["id"])
    until(lambda: box.playlist(made["id"]) not in ("", before), 10, "live goes on")


def dvr_seconds(box, made: dict) -> float:
    return playlists.parse(box.get(f"/play/{made['id']}/source_dvr.m3u8")).seconds
