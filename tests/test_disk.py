"""A disk that fills up: nothing new is kept, then DVR is shortened, and what is live goes on."""

import os
import subprocess
from pathlib import Path

import pytest

from config import from_env
from media import index
from media.broadcast import whole
from media.disk import MB, least_free, tightness
from media.index import Index, Job, Segment
from tests.box import Encoder, running_box, short_folder
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
    made = box.create(record=True, mode="low-latency")
    with Encoder(box, made["streamToken"]) as encoder:
        box.await_status(made["id"], "live")
        ballast = box.data_dir / "ballast"
        free = os.statvfs(box.data_dir).f_bavail * os.statvfs(box.data_dir).f_frsize
        with open(ballast, "wb") as file:
            for _ in range((free - 15 * MB) // MB):
                file.write(bytes(MB))

        def noted() -> list[dict]:
            return [each for each in box.timeline(made["id"]) if each["event"].startswith("storage")]

        [low] = until(noted, 15, "the timeline says it")
        assert low["event"] == "storage_low"
        assert "nothing more is kept" in low["detail"]["reason"]
        [folder] = (box.data_dir / "media" / made["id"]).glob("ses_*/")
        assert not index.read_job(folder).keep
        assert "room on disk: level 1" in box.log.read_text()
        assert box.create()["id"], "the database goes on"
        before = box.playlist(made["id"])
        until(lambda: box.playlist(made["id"]) != before, 10, "live goes on")
        assert box.channel(made["id"])["status"] == "live"
        assert encoder.process.poll() is None
        ballast.unlink()
        until(lambda: noted()[-1]["event"] == "storage_enough", 15, "it recovers by itself")
        assert index.read_job(folder).keep
    box.call("DELETE", f"/v1/live/{made['id']}")
    until(
        lambda: len(box.read(f"/v1/video?channelId={made['id']}")) == 2,
        15,
        "catch-up and recording, after all",
    )
