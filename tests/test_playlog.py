"""The playback log: its lines, and reading on over rotation, truncation and half a line."""

import os
import signal
import subprocess
import sys

import pytest

from media import playlog
from media.playlog import Place, Playlog, Request, parse
from tests.waiting import until

CHANNEL = "ch_30894e0cef2c3c2c9b40"


def line(number: int, channel: str = CHANNEL) -> bytes:
    """The number is what was sent, for tests to know the line by."""
    return b'1764000%03d.250 0.004 200 %d playlist %s 192.0.2.7 "VLC/3.0"\n' % (
        number,
        number,
        channel.encode(),
    )


@pytest.fixture
def log(tmp_path) -> Playlog:
    return Playlog(tmp_path / "play.log", tmp_path / "nginx.pid", rotate_at=1000)


def append(log: Playlog, *numbers: int) -> None:
    with open(log.path, "ab") as file:
        file.write(b"".join(line(number) for number in numbers))


def read(log: Playlog) -> list[int]:
    """Everything that there is to read, by the numbers of the lines."""
    found = [each.bytes for each in log.read()]
    while not log.caught_up:
        found += [each.bytes for each in log.read()]
    return found


def test_a_line_says_who_played_what_and_when():
    text = (
        b"1764000000.250 1.004 206 5120 segment " + CHANNEL.encode() + b' 2001:db8::1 "A player, 1.0 \\x22"'
    )
    found = parse(text)
    assert found == Request(1763999999246, 1764000000250, CHANNEL, found.viewer, 5120)
    assert parse(text.replace(b"1.004 206", b"0.000 304")).viewer == found.viewer
    assert parse(text.replace(b"2001:db8::1", b"2001:db8::2")).viewer != found.viewer
    assert parse(text.replace(b"A player", b"Another")).viewer != found.viewer
    assert parse(text.replace(b"ch_3", b"ch_4")).viewer != found.viewer


@pytest.mark.parametrize(
    "damage",
    [
        (b" 206 ", b" 404 "),
        (b" 206 ", b" 403 "),
        (b"1764000000.250", b"17640000"),
        (b"5120", b"-"),
        (CHANNEL.encode(), b"-"),
        (b" segment", b""),
        (b"ch_30894", b"ch_\xff\xff\xff\xff\xff"),
    ],
)
def test_a_line_of_nothing_played_or_of_nothing_we_know_is_left_out(damage):
    text = b"1764000000.250 1.004 206 5120 segment " + CHANNEL.encode() + b' 192.0.2.7 "A"'
    assert parse(text) is not None
    assert parse(text.replace(*damage)) is None
    assert parse(b"") is None


def test_what_is_added_is_read_once(log):
    assert read(log) == []
    append(log, 1, 2)
    assert read(log) == [1, 2]
    append(log, 3)
    assert (read(log), read(log)) == ([3], [])


def test_half_a_line_waits_for_its_other_half(log):
    append(log, 1)
    with open(log.path, "ab") as file:
        file.write(line(2)[:30])
        file.flush()
        assert read(log) == [1]
        file.write(line(2)[30:])
    assert read(log) == [2]


def test_more_than_is_read_at_once_is_read_in_several_steps(log, monkeypatch):
    monkeypatch.setattr(playlog, "AT_ONCE", 200)
    append(log, *range(1, 8))
    assert len(log.read()) == 2
    assert not log.caught_up
    assert read(log) == [3, 4, 5, 6, 7]


def test_the_next_reader_goes_on_from_the_place_and_can_read_again_from_an_earlier_one(log):
    append(log, 1, 2)
    read(log)
    first = log.place
    append(log, 3)
    read(log)
    append(log, 4)
    other = Playlog(log.path, log.pid_file)
    assert [each.bytes for each in other.read_again(first, log.place)] == [3]
    assert read(other) == [4]


def rotated(log: Playlog) -> None:
    """As it is before nginx knows of it."""
    log.path.rename(log.old)
    playlog.make_private(log.path)


def test_a_rotation_loses_and_repeats_nothing(log):
    append(log, 1)
    assert read(log) == [1]
    with open(log.path, "ab") as nginx:
        nginx.write(line(2))
        nginx.flush()
        rotated(log)
        nginx.write(line(3))
        nginx.flush()
        assert read(log) == [2, 3]
        nginx.write(line(4))
    append(log, 5)
    assert read(log) == [4, 5]
    append(log, 6)
    assert read(log) == [6]


def test_reading_again_goes_over_a_rotation(log):
    append(log, 1, 2)
    early = Place("", 0)
    read(log)
    early = log.place
    append(log, 3)
    read(log)
    rotated(log)
    append(log, 4, 5)
    read(log)
    append(log, 6)
    other = Playlog(log.path, log.pid_file)
    assert [each.bytes for each in other.read_again(early, log.place)] == [3, 4, 5]
    assert read(other) == [6]
    behind = Playlog(log.path, log.pid_file)
    assert [each.bytes for each in behind.read_again(Place(early.mark, 0), early)] == [1, 2]
    assert read(behind) == [3, 4, 5, 6], "a worker that was killed before the rotation"


def test_a_file_that_was_emptied_is_read_from_its_new_beginning(log):
    append(log, 1, 2, 3)
    read(log)
    os.truncate(log.path, 0)
    assert read(log) == []
    append(log, 4)
    assert read(log) == [4]
    os.truncate(log.path, 0)
    append(log, *range(5, 12))
    assert read(log) == list(range(5, 12)), "as long as before, or longer, but not the same file"


def test_a_place_that_is_nowhere_any_more_means_all_of_the_present_file(log):
    append(log, 7, 8)
    other = Playlog(log.path, log.pid_file)
    assert [each.bytes for each in other.read_again(("1763", 10), ("1763", 500))] == [7, 8]
    assert read(other) == [7, 8], "who is there was told twice, what they watched once"


def test_no_reader_holds_up_a_file_without_line_ends(log, monkeypatch):
    monkeypatch.setattr(playlog, "AT_ONCE", 100)
    log.path.write_bytes(b"x" * 250 + b"\n" + line(1))
    assert read(log) == [1]


def test_a_log_is_rotated_when_it_is_large_and_not_twice_within_the_time_that_is_read_again(log):
    append(log, 1)
    read(log)
    log.tend()
    assert not log.old.exists()
    append(log, *range(2, 30))
    log.tend()
    assert log.path.stat().st_size == 0
    append(log, *range(30, 60))
    assert read(log) == list(range(2, 60))
    log.tend()
    assert log.path.stat().st_size > 1000
    os.utime(log.old, (1, 1))
    log.tend()
    assert log.path.stat().st_size == 0
    assert read(log) == []


def test_a_log_is_not_rotated_over_one_that_is_not_read_to_its_end(log):
    append(log, 1)
    read(log)
    append(log, *range(2, 30))
    rotated(log)
    append(log, *range(30, 60))
    os.utime(log.old, (1, 1))
    log.tend()
    assert read(log) == list(range(2, 60))


def test_only_the_owner_reads_a_log_that_we_make(log):
    log.tend()
    assert log.path.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def stand_in(log, tmp_path):
    """A process called nginx, of this folder, that ends by SIGUSR1."""
    code = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'nginx'); print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    process.stdout.readline()
    log.pid_file.write_text(f"{process.pid}\n")
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_media_server_is_told_to_open_the_new_file(log, stand_in):
    append(log, *range(30))
    read(log)
    log.tend()
    assert until(stand_in.poll, 5, "it was signalled") == -signal.SIGUSR1


def test_it_is_told_again_while_it_writes_to_the_old_one(log, stand_in):
    append(log, 1)
    read(log)
    rotated(log)
    read(log)
    log.tend()
    with open(log.old, "ab") as file:
        file.write(line(2))
    assert stand_in.poll() is None
    assert read(log) == [2]
    log.tend()
    assert until(stand_in.poll, 5, "it was signalled") == -signal.SIGUSR1


def test_another_process_with_that_number_is_left_alone(log, tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()", str(tmp_path)], stdin=subprocess.PIPE) as other:
        log.pid_file.write_text(str(other.pid))
        log.tend()
        assert log.path.exists()
        assert other.poll() is None
        other.communicate(b"\n")
        assert other.returncode == 0
