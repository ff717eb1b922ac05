"""Transcoders: decided, started, adopted, relieved, ended. ffmpeg itself is in the box's tests; here it misbehaves."""

import itertools
import json
import os
import signal
from dataclasses import replace

import psutil
import pytest

from media import index
from media.index import Job as Wishes
from media.ladder import GROUPS
from media.renditions import STATE, read_ladder
from media.transcoders import (
    GIVE_AFTER_S,
    HANDOVER_S,
    HOPELESS_DEATHS,
    LATE_SEGMENTS,
    LOG_BYTES,
    SETTLE_S,
    STALLED_S,
    TERM_GRACE_S,
    Job,
    Transcoders,
    end_all,
)
from tests.waiting import until

CHANNEL, SESSION, OTHER = "ch_00000000000000000001", "ses_00000000000000000001", "ses_00000000000000000002"
ALL = ("1080p", "720p", "480p", "360p")


def signal_of(width: int = 1280, height: int = 720, fps: float = 25.0) -> dict:
    return {"video": {"width": width, "height": height, "fps": fps}}


JOB = Job(CHANNEL, SESSION, ALL, receiving=True, signal=signal_of())


@pytest.fixture
def box(tmp_path):
    """The folders, with two sessions in them."""
    (tmp_path / "logs").mkdir()
    for session in (SESSION, OTHER):
        (tmp_path / "media" / CHANNEL / session).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def told():
    return []


@pytest.fixture
def fleet_of(box, told):
    """Makes Transcoders, and ends what they started when the test is over."""
    made = []

    def make(script: str = "", cores: float = 4.0) -> Transcoders:
        path = box / "ffmpeg"
        path.write_text(f"#!/bin/sh\n{script or WAITS}\n")
        path.chmod(0o755)
        made.append(
            Transcoders(
                *(box / "media", box / "logs"),
                program=str(path),
                rtmp_port=1935,
                cores=cores,
                tell=lambda session_id, ladder: told.append((session_id, ladder)),
            )
        )
        return made[-1]

    yield make
    for process in processes(box):
        process.kill()
    for fleet in made:
        for process in [
            *(each.process for each in fleet.known.values()),
            *(each for each, _ in fleet.ending),
            *(each.process for each in fleet.handovers),
        ]:
            if process:
                process.wait(20)
                getattr(process, "poll", int)()  # somebody else may have reaped our child


WAITS = "while :; do sleep 0.1; done"
STUBBORN = "trap '' TERM; : >$0.deaf; while :; do sleep 0.1; done"


def processes(box) -> list[psutil.Process]:
    """The stand-ins that run; not a child of one that has forked and not yet become what it is to run."""
    found = {
        process.pid: process
        for process in psutil.process_iter(["cmdline", "ppid"])
        if (process.info["cmdline"] or [""])[-1].startswith(str(box / "media"))
        and process.status() != psutil.STATUS_ZOMBIE
    }
    return [process for process in found.values() if process.info["ppid"] not in found]


def folder(box, session: str = SESSION):
    return box / "media" / CHANNEL / session


def names(box, session: str = SESSION) -> set[str]:
    return read_ladder(folder(box, session)).names


def late(box, session: str = SESSION, segments: int = LATE_SEGMENTS) -> None:
    (folder(box, session) / STATE).write_text(json.dumps(dict.fromkeys(names(box, session), segments)))


def progress(box, number: int, session: str = SESSION) -> None:
    """It goes on writing: the folder's time is moved by hand, so that no clock's grain matters."""
    for name in names(box, session):
        os.utime(folder(box, session) / name / GROUPS, (number, number))


def test_a_session_gets_one_process_for_all_of_its_renditions_and_it_is_told(box, fleet_of, told):
    fleet = fleet_of()
    fleet.sync([JOB], 0)
    [process] = until(lambda: processes(box), 20, "it runs")
    assert names(box) == {"480p", "360p"}
    assert [(session, ladder.names) for session, ladder in told] == [(SESSION, {"480p", "360p"})]
    assert process.nice() == 10
    fleet.sync([JOB], 1)
    assert (len(told), [each.pid for each in processes(box)]) == (1, [process.pid])


def test_nothing_is_started_before_the_picture_is_known_nor_where_there_is_nothing_to_make(box, fleet_of):
    fleet = fleet_of()
    unknown = [
        {},
        {"video": {}},
        {"video": {"width": 1280, "height": 720}},
        {"video": {}, "audio": {"codec": "AAC"}},
    ]
    for each in unknown:
        fleet.sync([replace(JOB, signal=each)], 0)
        assert read_ladder(folder(box)) is None
    fleet.sync([replace(JOB, signal=signal_of(426, 240))], 1)
    assert names(box) == set()
    assert processes(box) == []


def test_all_sessions_share_the_cores(box, fleet_of, told):
    full = fleet_of().cores
    fleet = fleet_of(cores=0.3)
    fleet.sync([JOB, replace(JOB, session_id=OTHER)], 0)
    assert fleet.known[SESSION].cores + fleet.known[OTHER].cores <= 0.3 < full
    assert told[1][1].left_out, "the second finds less room"
    fleet.sync([replace(JOB, session_id=OTHER)], 1)
    fleet.sync([replace(JOB, session_id=OTHER), JOB], 2)
    assert names(box), "what a session that is over had is free again"


def test_ultra_low_latency_has_no_ladder_and_says_so(box, fleet_of, told):
    index.write_job(folder(box), Wishes(mode="ultra-low-latency"))
    fleet_of().sync([JOB], 0)
    assert told[0][1].left_out == dict.fromkeys(["480p", "360p"], "ultra_low_latency")
    assert processes(box) == []


def test_another_size_in_the_same_session_is_another_ladder(box, fleet_of, told):
    fleet = fleet_of()
    fleet.sync([JOB], 0)
    [first] = until(lambda: processes(box), 20, "it runs")
    smaller = replace(JOB, signal=signal_of(854, 480, 24.9))
    fleet.sync([smaller], 1)
    until(
        lambda: [each.pid for each in processes(box)] not in ([], [first.pid]), 20, "another one runs instead"
    )
    assert names(box) == {"360p"}
    fleet.sync([replace(smaller, signal=signal_of(854, 480, 25.1))], 2)
    assert len(told) == 2, "a frame rate that wavers is no other picture"


def test_the_next_worker_adopts_what_runs_and_decides_nothing_anew(box, fleet_of, told):
    fleet_of().sync([JOB], 0)
    [process] = until(lambda: processes(box), 20, "it runs")
    other = fleet_of()
    other.sync([JOB], 100)
    assert [each.pid for each in processes(box)] == [process.pid]
    assert len(told) == 1
    other.sync([], 101)
    until(lambda: not processes(box), 20, "it ends with its session")


def test_the_next_worker_ends_what_nobody_wants_and_what_is_not_as_decided(box, fleet_of):
    first = fleet_of()
    first.sync([JOB, replace(JOB, session_id=OTHER)], 0)
    until(lambda: len(processes(box)) == 2, 20, "both run")
    changed = read_ladder(folder(box)).without(["480p"], "overloaded")
    (folder(box) / "ladder.json").write_text(json.dumps(changed.as_json()))
    before = {each.pid for each in processes(box)}
    fleet_of().sync([JOB], 100)
    until(
        lambda: len(processes(box)) == 1 and not before & {each.pid for each in processes(box)},
        5,
        "a new one",
    )
    assert names(box) == {"360p"}


def test_one_that_dies_is_started_again_and_again_ever_later_and_then_given_up(box, fleet_of, told):
    fleet = fleet_of("exit 1")
    starts, now = [], 0.0
    while len(told) < 2:
        fleet.sync([JOB], now)
        if (each := fleet.known[SESSION]).process and each.last_start == now:
            starts.append(now)
            each.process.wait(20)
        now += 0.25
    assert len(starts) == HOPELESS_DEATHS
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 4 * pauses[0]
    assert told[-1][1].left_out == dict.fromkeys(["480p", "360p"], "failed")
    fleet.sync([JOB], now + 100)
    assert processes(box) == []


def test_its_last_words_are_in_our_log(box, fleet_of, caplog):
    fleet = fleet_of("echo it broke >&2; exit 1")
    fleet.sync([JOB], 0)
    fleet.known[SESSION].process.wait(20)
    fleet.sync([JOB], 1)
    assert "it broke" in caplog.text


def test_one_that_hangs_is_killed_and_started_again(box, fleet_of):
    fleet = fleet_of()
    fleet.sync([JOB], 0)
    [process] = until(lambda: processes(box), 20, "it runs")
    process.send_signal(signal.SIGSTOP)
    late(box)
    fleet.sync([JOB], SETTLE_S + STALLED_S)
    fleet.known[SESSION].process.wait(20)
    for pause in (1, 2):
        fleet.sync([JOB], SETTLE_S + STALLED_S + pause)
    until(lambda: [each.pid for each in processes(box)] not in ([], [process.pid]), 20, "another one runs")
    assert names(box) == {"480p", "360p"}, "to hang is not to be slow"


def test_one_whose_publisher_is_silent_does_not_hang(box, fleet_of):
    fleet = fleet_of()
    fleet.sync([JOB], 0)
    [process] = until(lambda: processes(box), 20, "it runs")
    fleet.sync([replace(JOB, receiving=False)], 100)
    fleet.sync([JOB], 101)
    assert [each.pid for each in processes(box)] == [process.pid]


def test_an_overloaded_box_loses_the_dearest_rendition_first_and_then_settles(box, fleet_of, told):
    fleet = fleet_of()
    both = [JOB, replace(JOB, session_id=OTHER, signal=signal_of(1920, 1080))]
    fleet.sync(both, 0)
    until(lambda: len(processes(box)) == 2, 20, "both run")
    now = SETTLE_S - 1
    for number, session in enumerate((SESSION, OTHER)):
        late(box, session)
        progress(box, number + 1, session)
    fleet.sync(both, now)
    assert len(told) == 2, "it has only begun"
    for number, session in enumerate((SESSION, OTHER)):
        progress(box, number + 3, session)
    fleet.sync(both, now + 1)
    assert [(session, ladder.left_out) for session, ladder in told[2:]] == [(OTHER, {"720p": "overloaded"})]
    fleet.sync(both, now + 2)
    assert len(told) == 3, "one at a time"
    assert (names(box, OTHER), names(box)) == ({"480p", "360p"}, {"480p", "360p"})


@pytest.fixture
def crowded(box, fleet_of) -> Transcoders:
    """Two sessions, the second with less than it wants; then the first is over, at 10 s."""
    fleet = fleet_of(cores=0.6)
    fleet.sync([replace(JOB, signal=signal_of(1920, 1080)), replace(JOB, session_id=OTHER)], 0)
    until(lambda: len(processes(box)) == 2, 20, "both run")
    assert read_ladder(folder(box, OTHER)).left_out == {"480p": "no_room"}
    fleet.sync([replace(JOB, session_id=OTHER)], 10)
    [fleet.left] = until(lambda: len(found := processes(box)) == 1 and found, 20, "one is over")
    return fleet


LEFT = replace(JOB, session_id=OTHER)


def at_work(box, fleet: Transcoders, jobs: list[Job], now: float) -> None:
    """A look at transcoders that have written something since the last one."""
    progress(box, round(now) + 1, OTHER)
    fleet.sync(jobs, now)


def test_room_that_was_free_for_a_minute_is_given_to_who_had_none_and_it_misses_nothing(box, crowded, told):
    at_work(box, crowded, [LEFT], 10 + GIVE_AFTER_S - 1)
    assert names(box, OTHER) == {"360p"}, "who had it may connect again"
    at_work(box, crowded, [LEFT], 10 + GIVE_AFTER_S)
    assert names(box, OTHER) == {"480p", "360p"}
    assert (told[-1][0], told[-1][1].left_out) == (OTHER, {})
    until(lambda: len(processes(box)) == 2, 20, "the next one starts beside it")
    at_work(box, crowded, [LEFT], 11 + GIVE_AFTER_S)
    assert crowded.left.is_running()
    (folder(box, OTHER) / "480p" / "7.ts").touch()
    at_work(box, crowded, [LEFT], 12 + GIVE_AFTER_S)
    [process] = until(lambda: len(found := processes(box)) == 1 and found, 20, "it has handed over")
    assert process.pid != crowded.left.pid
    at_work(box, crowded, [LEFT], 12 + 3 * GIVE_AFTER_S)
    assert [each.pid for each in processes(box)] == [process.pid]


@pytest.mark.parametrize(("jobs", "later", "left"), [([LEFT], HANDOVER_S, 1), ([], 1, 0)])
def test_a_transcoder_waits_for_the_next_but_not_for_ever(box, crowded, jobs, later, left):
    at_work(box, crowded, [LEFT], 10 + GIVE_AFTER_S)
    until(lambda: len(processes(box)) == 2, 20, "the next one starts beside it")
    at_work(box, crowded, jobs, 10 + GIVE_AFTER_S + later)
    until(lambda: len(processes(box)) == left, 20, "it has ended")


def test_a_worker_that_starts_in_a_handover_keeps_the_one_that_makes_all(box, fleet_of, crowded):
    at_work(box, crowded, [LEFT], 10 + GIVE_AFTER_S)
    until(lambda: len(processes(box)) == 2, 20, "the next one starts beside it")
    fleet_of(cores=0.6).sync([LEFT], 0)
    [process] = until(lambda: len(found := processes(box)) == 1 and found, 20, "one is left")
    assert process.pid != crowded.left.pid


def test_who_connects_again_within_a_minute_finds_its_room(box, crowded):
    again = replace(JOB, signal=signal_of(1920, 1080))
    at_work(box, crowded, [LEFT], GIVE_AFTER_S)
    at_work(box, crowded, [LEFT, again], GIVE_AFTER_S + 9)
    assert names(box) == {"480p", "360p"}
    at_work(box, crowded, [LEFT, again], 3 * GIVE_AFTER_S)
    assert names(box, OTHER) == {"360p"}


def test_a_box_that_was_overloaded_gives_nothing_more_and_silence_is_no_reason_to_begin(box, crowded):
    for seconds in (10, 70, 130):
        at_work(box, crowded, [replace(LEFT, receiving=False)], seconds)
    assert names(box, OTHER) == {"360p"}
    each = crowded.known[OTHER]
    each.ladder = replace(each.ladder, left_out=each.ladder.left_out | {"720p": "overloaded"})
    for seconds in (131, 200, 300):
        at_work(box, crowded, [LEFT], seconds)
    assert names(box, OTHER) == {"360p"}


def test_one_that_keeps_up_again_loses_nothing(box, fleet_of, told):
    fleet = fleet_of()
    fleet.sync([JOB], 0)
    late(box, segments=LATE_SEGMENTS - 1)
    progress(box, 1)
    fleet.sync([JOB], SETTLE_S + 1)
    assert len(told) == 1


def test_one_that_does_not_end_when_asked_is_killed(box, fleet_of):
    fleet = fleet_of(STUBBORN)
    fleet.sync([JOB], 0)
    until((box / "ffmpeg.deaf").exists, 20, "it does not listen")
    fleet.sync([], 1)
    fleet.sync([], 1 + TERM_GRACE_S)
    until(lambda: not processes(box), 20, "it is gone")


def test_a_session_that_cannot_be_tended_does_not_keep_the_others_waiting(box, fleet_of):
    (folder(box) / "480p").write_text("in the way")
    fleet = fleet_of()
    fleet.sync([JOB, replace(JOB, session_id=OTHER)], 0)
    until(lambda: len(processes(box)) == 1, 20, "the other runs")


def test_no_run_writes_over_what_the_one_before_it_wrote(box, fleet_of):
    fleet = fleet_of(
        'for each; do case "$each" in *%d.ts) echo "${each##*/}" >>"$0.runs";; esac; done; exit 1'
    )
    for now in range(0, 60, 20):
        fleet.sync([JOB], now)
        fleet.known[SESSION].process.wait(20)
        fleet.sync([JOB], now + 1)
    assert (box / "ffmpeg.runs").read_text().split() == [f"{run}-%d.ts" for run in (0, 0, 1, 1, 2, 2)]


def test_a_stopping_box_ends_all_and_nobody_elses(box, fleet_of):
    fleet_of().sync([JOB], 0)
    until(lambda: len(processes(box)) == 1, 20, "it runs")
    assert end_all(box / "elsewhere") == 0
    assert end_all(box / "media") == 1


def test_a_long_log_is_cut(box, fleet_of):
    fleet = fleet_of()
    log = box / "logs" / f"{SESSION}.log"
    log.write_bytes(b"x" * (LOG_BYTES + 1))
    fleet.trim_logs()
    assert log.stat().st_size == 0
