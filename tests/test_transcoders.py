"""Packagers: started, adopted, given up, ended. ffmpeg itself is in the box's tests; here it misbehaves."""

import os
import signal

import psutil
import pytest

from media import playlists
from media.packager import LOG_BYTES, TERM_GRACE_S, Job, Packagers, end_all
from tests.waiting import until

CHANNEL, SESSION = "ch_00000000000000000001", "ses_00000000000000000001"
JOB = Job(CHANNEL, SESSION, receiving=True)


@pytest.fixture
def folders(tmp_path):
    media, logs = tmp_path / "media", tmp_path / "packagers"
    media.mkdir()
    logs.mkdir()
    return media, logs


@pytest.fixture
def packagers():
    """Makes Packagers, and ends what they started when the test is over."""
    made = []

    def make(folders, ffmpeg: str) -> Packagers:
        made.append(Packagers(*folders, ffmpeg, 1935))
        return made[-1]

    yield make
    for fleet in made:
        for packager in [*fleet.known.values(), *(packager for packager, _ in fleet.ending)]:
            if packager.process:
                if packager.alive:
                    packager.process.kill()
                packager.process.wait(5)


def processes(media):
    """The stand-ins that run; not a child of one that has forked and not yet become what it is to run."""
    found = {
        process.pid: process
        for process in psutil.process_iter(["cmdline", "ppid"])
        if (process.info["cmdline"] or [""])[-1].startswith(str(media))
    }
    return [process for process in found.values() if process.info["ppid"] not in found]


def program(tmp_path, script: str) -> str:
    """A stand-in that gets ffmpeg's argv; the playlist is its last argument."""
    path = tmp_path / "ffmpeg"
    path.write_text(f'#!/bin/sh\nfor playlist; do :; done\nfolder="${{playlist%/*}}"\n{script}\n')
    path.chmod(0o755)
    return str(path)


ONE_SEGMENT = """
printf '%2000s' x > "$folder/7.ts"
printf '#EXTM3U\\n#EXT-X-TARGETDURATION:2\\n#EXT-X-MEDIA-SEQUENCE:7\\n#EXTINF:2.000,\\n%s/7.ts\\n' \
  "${folder##*/}" > "$playlist.tmp"
mv "$playlist.tmp" "$playlist"
while :; do sleep 0.1; done
"""


def test_a_playlist_tells_which_number_comes_next():
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:41\n#EXTINF:1.5,\na/41.ts\n#EXTINF:2,\na/42.ts\n"
    found = playlists.parse(text)
    assert (found.next_number, found.target, found.seconds) == (43, 2, [1.5, 2.0])


def test_a_session_with_a_first_segment_is_playable_at_the_channels_address(folders, packagers, tmp_path):
    fleet = packagers(folders, program(tmp_path, ONE_SEGMENT))
    fleet.sync([JOB], 0.0)
    [report] = until(lambda: fleet.sync([JOB], 0.1), 5, "a report")
    assert (report.session_id, report.state) == (SESSION, "playable")
    channel = folders[0] / CHANNEL
    assert f"{SESSION}/7.ts" in (channel / "source.m3u8").read_text()
    assert "BANDWIDTH=8000\nsource.m3u8" in (channel / "master.m3u8").read_text()


def test_a_second_session_counts_on_in_segments_and_in_discontinuities(folders, packagers, tmp_path):
    fleet = packagers(folders, program(tmp_path, ONE_SEGMENT))
    until(lambda: fleet.sync([JOB], 0.0), 5, "a report")
    fleet.sync([Job(CHANNEL, "ses_2", receiving=True)], 1.0)
    second = until(
        lambda: [p for p in processes(folders[0]) if "ses_2" in p.info["cmdline"][-1]], 5, "a second"
    )
    argv = second[0].info["cmdline"]
    assert argv[argv.index("-start_number") + 1] == "8"
    assert argv[-1].endswith("/live-1.m3u8")


def test_a_next_worker_adopts_what_runs_and_starts_nothing_twice(folders, packagers, tmp_path):
    ffmpeg = program(tmp_path, ONE_SEGMENT)
    first = packagers(folders, ffmpeg)
    until(lambda: first.sync([JOB], 0.0), 5, "a report")
    second = packagers(folders, ffmpeg)
    assert second.adopt(0.0) == 1
    assert [report.state for report in second.sync([JOB], 0.0)] == ["playable"]
    assert len(processes(folders[0])) == 1


def test_a_packager_that_nobody_wants_is_ended_even_if_it_ignores_being_asked(folders, packagers, tmp_path):
    fleet = packagers(folders, program(tmp_path, "trap '' TERM; while :; do sleep 0.1; done"))
    fleet.sync([JOB], 0.0)
    [process] = until(lambda: processes(folders[0]), 5, "a packager")
    # the shell ignores TERM only once it has come to its trap
    until(lambda: int(status_of(process, "SigIgn"), 16) & (1 << (signal.SIGTERM - 1)), 5, "the trap")
    fleet.sync([], 1.0)
    assert process.is_running()
    fleet.sync([], 1.0 + TERM_GRACE_S)
    until(lambda: not processes(folders[0]) and not fleet.sync([], 5.0), 5, "it is killed")


def status_of(process: psutil.Process, name: str) -> str:
    with open(f"/proc/{process.pid}/status") as lines:
        return next(line.split()[1] for line in lines if line.startswith(name))


def test_a_signal_out_of_which_nothing_comes_is_given_up_with_a_reason(folders, packagers):
    fleet = packagers(folders, "/bin/false")
    fleet.sync([JOB], 0.0)
    now, reports = 0.0, []
    while not reports and now < 60:
        until(lambda: not processes(folders[0]), 5, "it has ended")
        now += 1.0
        reports = fleet.sync([JOB], now)
    assert reports[0].state == "unplayable"
    assert "H.264" in reports[0].reason
    assert fleet.known[SESSION].starts == 3


def test_a_packager_is_not_started_again_while_the_publisher_is_silent(folders, packagers):
    silent = Job(CHANNEL, SESSION, receiving=False)
    fleet = packagers(folders, "/bin/false")
    fleet.sync([silent], 0.0)
    until(lambda: not processes(folders[0]), 5, "it has ended")
    for now in range(1, 60):
        assert fleet.sync([silent], float(now)) == []
    assert fleet.known[SESSION].starts == 1


def test_a_playlist_that_stands_still_while_bytes_arrive_costs_its_packager_its_place(
    folders, packagers, tmp_path
):
    fleet = packagers(folders, program(tmp_path, ONE_SEGMENT))
    until(lambda: fleet.sync([JOB], 0.0), 5, "a report")
    [process] = processes(folders[0])
    fleet.sync([JOB], 11.0)
    assert process.is_running()
    fleet.sync([JOB], 13.0)
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 5, "it is killed")


def test_output_that_stays_away_for_good_is_reported(folders, packagers, tmp_path):
    fleet = packagers(folders, program(tmp_path, ONE_SEGMENT))
    until(lambda: fleet.sync([JOB], 0.0), 5, "a report")
    fleet.program = "/bin/false"
    states = set()
    for now in range(1, 80):
        states |= {report.state for report in fleet.sync([JOB], float(now))}
    assert "unplayable" in states


def test_a_packager_started_again_leaves_the_old_playlist_shown_until_it_has_one_of_its_own(
    folders, packagers, tmp_path
):
    fleet = packagers(folders, program(tmp_path, ONE_SEGMENT))
    until(lambda: fleet.sync([JOB], 0.0), 5, "a report")
    link = folders[0] / CHANNEL / "source.m3u8"
    fleet.program = program(tmp_path, f'sleep 0.5; printf "%s" "$0" > {tmp_path}/second; {ONE_SEGMENT}')
    fleet.known[SESSION].process.kill()
    until(lambda: fleet.sync([JOB], 1.0) and fleet.known[SESSION].process is None, 5, "its end is noticed")
    fleet.sync([JOB], 3.0)
    assert fleet.known[SESSION].starts == 2
    assert link.readlink().name == "live-0.m3u8"
    until(lambda: fleet.sync([JOB], 3.1) and link.readlink().name == "live-1.m3u8", 5, "the link is turned")


def test_what_ffmpeg_prints_is_kept_within_bounds(folders, packagers, tmp_path):
    fleet = packagers(
        folders, program(tmp_path, "yes 'a warning' | head -c 3000000; while :; do sleep 0.1; done")
    )
    fleet.sync([JOB], 0.0)
    log = folders[1] / f"{SESSION}.log"
    until(lambda: log.stat().st_size > LOG_BYTES, 10, "a long log")
    until(lambda: fleet.trim_logs() or log.stat().st_size <= LOG_BYTES, 10, "it is cut")


def test_when_the_box_stops_every_packager_of_it_is_ended_and_no_other(folders, packagers, tmp_path):
    ffmpeg = program(tmp_path, ONE_SEGMENT)
    fleet = packagers(folders, ffmpeg)
    fleet.sync([JOB], 0.0)
    other_media = tmp_path / "other" / "media"
    other_media.mkdir(parents=True)
    other = packagers((other_media, folders[1]), ffmpeg)
    other.sync([JOB], 0.0)
    until(lambda: processes(folders[0]) and processes(other_media), 5, "both run")
    assert end_all(folders[0]) == 1
    [left] = processes(other_media)
    os.kill(left.pid, signal.SIGKILL)
    until(lambda: not other.known[SESSION].alive, 5, "it is gone")


def test_a_silence_that_ends_is_no_signal_that_cannot_be_played(folders, packagers, tmp_path):
    fleet = packagers(folders, program(tmp_path, ONE_SEGMENT))
    until(lambda: fleet.sync([JOB], 0.0), 5, "a report")
    [process] = processes(folders[0])
    silent = Job(CHANNEL, SESSION, receiving=False)
    for now in range(1, 100):
        fleet.sync([silent], float(now))
    assert [report.state for report in fleet.sync([JOB], 100.0)] == ["playable"]
    assert process.is_running()


def test_a_playlist_that_could_not_be_shown_is_shown_later(folders, packagers, tmp_path, monkeypatch):
    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    fleet = packagers(folders, program(tmp_path, ONE_SEGMENT))
    with monkeypatch.context() as patch:
        patch.setattr("media.packager.write_public", disk_full)
        fleet.sync([JOB], 0.0)
        until(lambda: (folders[0] / CHANNEL / SESSION / "live-0.m3u8").exists(), 5, "a first segment")
        assert fleet.sync([JOB], 0.1) == []
    assert not (folders[0] / CHANNEL / "source.m3u8").is_symlink(), "the link comes last"
    assert [report.state for report in fleet.sync([JOB], 0.2)] == ["playable"]
    assert (folders[0] / CHANNEL / "master.m3u8").exists()


def test_one_session_that_cannot_be_tended_keeps_no_other_waiting(folders, packagers, tmp_path):
    fleet = packagers(folders, program(tmp_path, ONE_SEGMENT))
    (folders[0] / "ch_bad").write_text("a file where a folder should be")
    bad = Job("ch_bad", "ses_bad", receiving=True)
    [report] = until(lambda: fleet.sync([bad, JOB], 0.0), 5, "a report")
    assert report.session_id == SESSION


def test_somebody_who_reads_a_playlist_is_no_packager(folders):
    folder = folders[0] / CHANNEL / SESSION
    folder.mkdir(parents=True)
    (folder / "live-0.m3u8").write_text("#EXTM3U\n")
    reader = psutil.Popen(["tail", "-f", str(folder / "live-0.m3u8")], stdout=-3)
    assert end_all(folders[0]) == 0
    assert reader.is_running()
    reader.kill()
    reader.wait(5)
