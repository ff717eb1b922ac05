"""What is read out of MPEG-TS and H.264, held against what ffmpeg was told to make and against nginx's recording."""

import itertools
import subprocess
from pathlib import Path

import pytest

from media import h264, ts
from media.intake import guessed_rate
from tests.box import FFMPEG

RECORDING = Path(__file__).parent / "fixtures/nginx-rtmp/hls"


def encoded(
    tmp_path, size: str = "320x180", seconds: float = 1.0, sound: bool = False, **options: object
) -> bytes:
    """A TS of a test picture; `options` are x264's and ffmpeg's."""
    out = tmp_path / "encoded.ts"
    argv = [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25"]
    argv += ["-f", "lavfi", "-i", "sine=sample_rate=48000"] if sound else []
    argv += ["-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast"]
    argv += [str(word) for name, value in options.items() for word in (f"-{name}", value)]
    subprocess.run([*argv, "-f", "mpegts", str(out)], check=True)
    return out.read_bytes()


@pytest.mark.parametrize("number", range(4))
def test_every_frame_of_a_recorded_segment_is_found(number):
    data = (RECORDING / f"{number}.ts").read_bytes()
    found = list(ts.frames(data))
    pictures = [frame for frame in found if frame.video]
    assert len(pictures) == 10
    assert [frame.key for frame in pictures] == [True] + [False] * 9
    gaps = [ts.seconds_between(one.pts, two.pts) for one, two in itertools.pairwise(pictures)]
    assert all(abs(gap - 0.1) < 0.002 for gap in gaps)
    assert any(not frame.video for frame in found)


def test_the_rate_is_guessed_right_wherever_a_growing_segment_with_b_frames_ends(tmp_path):
    data = encoded(tmp_path, bf=3, g=25, preset="veryfast", b_strategy=0)
    found = list(ts.frames(data))
    pictures = [frame for frame in found if frame.video]
    assert [frame.pts for frame in pictures] != sorted(frame.pts for frame in pictures), "there are B-frames"
    guesses = [guessed_rate(pictures[:many]) for many in range(8, len(pictures))]
    assert len(guesses) > 10
    assert set(guesses) == {25.0}


def test_time_stamps_go_on_from_one_segment_to_the_next():
    first = [next(f for f in ts.frames((RECORDING / f"{n}.ts").read_bytes()) if f.video) for n in range(4)]
    assert [round(ts.seconds_between(first[0].pts, frame.pts), 2) for frame in first] == [0, 1, 2, 3]


def test_frames_that_are_shown_in_another_order_have_both_times(tmp_path):
    data = encoded(tmp_path, bf=2, g=25, preset="veryfast")
    pictures = [frame for frame in ts.frames(data) if frame.video]
    decoded = [frame.dts for frame in pictures]
    assert decoded == sorted(decoded)
    assert [frame.pts for frame in pictures] != sorted(frame.pts for frame in pictures)


def test_time_stamps_wrap_after_26_hours():
    assert ts.seconds_between(ts.WRAP - 45_000, 45_000) == 1.0
    assert ts.seconds_between(45_000, ts.WRAP - 45_000) == -1.0


@pytest.mark.parametrize("cut", [0, 1, 187, 188, 189, 376, 1000, 5000])
def test_a_segment_that_is_cut_anywhere_is_read_as_far_as_it_goes(cut):
    whole = (RECORDING / "0.ts").read_bytes()
    found = list(ts.frames(whole[:cut]))
    assert found == list(ts.frames(whole))[: len(found)]
    for frame in found:
        ts.payload_of(whole[:cut], frame)


@pytest.mark.parametrize(
    ("size", "profile", "pixels", "named"),
    [
        ("320x180", "baseline", "yuv420p", "Constrained Baseline"),
        ("640x360", "main", "yuv420p", "Main"),
        ("1920x1080", "high", "yuv420p", "High"),
        ("362x202", "high", "yuv420p", "High"),
        ("202x362", "main", "yuv420p", "Main"),
        ("854x480", "high", "yuv420p", "High"),
        ("320x180", "high422", "yuv422p", "High 4:2:2"),
    ],
)
def test_size_and_profile_are_read_from_the_parameter_set(tmp_path, size, profile, pixels, named):
    preset = "ultrafast" if profile == "baseline" else "veryfast"
    data = encoded(tmp_path, size, 0.2, **{"profile:v": profile, "pix_fmt": pixels, "preset": preset})
    first = next(frame for frame in ts.frames(data) if frame.video)
    found = h264.parameters(ts.payload_of(data, first))
    assert (f"{found.width}x{found.height}", found.profile) == (size, named)
    assert found.codec.startswith("avc1.")
    assert len(found.codec) == len("avc1.640028")


def test_interlaced_pictures_are_as_high_as_both_fields(tmp_path):
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1", "pix_fmt": "yuv420p", "preset": "veryfast"}
    data = encoded(tmp_path, "720x576", 0.2, **options)
    first = next(frame for frame in ts.frames(data) if frame.video)
    found = h264.parameters(ts.payload_of(data, first))
    assert (found.width, found.height) == (720, 576)


@pytest.mark.parametrize(
    "bytes_", [b"", b"\x00\x00\x01", b"\x00\x00\x01\x67", b"\x00\x00\x01\x67\x64\x00\x1f\xff", b"x" * 99]
)
def test_what_is_no_parameter_set_is_none(bytes_):
    assert h264.parameters(bytes_) is None


def test_sound_says_what_it_is(tmp_path):
    data = encoded(tmp_path, sound=True, **{"c:a": "aac", "ac": 2})
    heard = next(frame for frame in ts.frames(data) if not frame.video)
    described = ts.adts(ts.payload_of(data, heard))
    assert described == {"codec": "AAC", "profile": "LC", "sampleRate": 48000, "channels": 2}


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\xff\xfb\x90\x00", b"\xff\xf1\xfc\x80"])
def test_other_sound_is_not_taken_for_aac(payload):
    assert ts.adts(payload) is None
