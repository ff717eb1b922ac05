"""Pictures out of segments: which picture, where on the sheet, and in what shape."""

import json
import re
import subprocess
import threading
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from media import pictures
from media.ffmpeg import program
from media.jobs import JobError, Runner
from media.playlists import Entry, MediaPlaylist
from tests.box import FFMPEG

FPS = 10


@pytest.fixture
def run(tmp_path):
    return Runner(tmp_path / "job.json", threading.Event()).run


def encoded(path: Path, source: str, filters: str = "null", seconds: float = 1) -> None:
    """A segment of this picture, with two key frames in it."""
    path.parent.mkdir(exist_ok=True)
    argv = [
        FFMPEG,
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        f"{source}:rate={FPS}",
        "-t",
        str(seconds),
        "-vf",
        filters,
    ]
    argv += ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", str(FPS // 2)]
    subprocess.run([*argv, "-f", "mpegts", path], check=True, timeout=20)


def pixels(path: Path) -> tuple[int, int, bytes]:
    """Width, height and every pixel's brightness."""
    argv = [FFMPEG, "-nostdin", "-v", "info", "-i", path, "-pix_fmt", "gray", "-f", "rawvideo", "-"]
    found = subprocess.run(argv, capture_output=True, check=True, timeout=20)
    size = re.search(rb"mjpeg.* (\d+)x(\d+)[ ,]", found.stderr)
    return int(size[1]), int(size[2]), found.stdout


def test_each_tile_is_of_its_time_and_stands_where_the_list_says(tmp_path, run, monkeypatch):
    monkeypatch.setattr(pictures, "EVERY_S", 2.0)
    monkeypatch.setattr(pictures, "COLUMNS", 3)
    monkeypatch.setattr(pictures, "ROWS", 2)
    whole = MediaPlaylist()
    levels = [16 + 13 * number for number in range(16)]
    for number, level in enumerate(levels):
        encoded(tmp_path / f"ses_1/{number}.ts", f"color=#{level:02x}{level:02x}{level:02x}:size=320x180")
        whole.add(Entry(f"ses_1/{number}.ts", 1.0, broken=number == 8))
    pictures.make_storyboard(program(None), run, tmp_path, whole, (160, 90))
    cues = re.findall(
        r"00:00:(\d\d)\.000 --> 00:00:(\d\d)\.000\n(storyboard-\d\.jpg)#xywh=(\d+),(\d+),160,90\n",
        (tmp_path / "storyboard.vtt").read_text(),
    )
    assert [(int(begins), int(ends)) for begins, ends, *_ in cues] == [(at, at + 2) for at in range(0, 16, 2)]
    sheets = {name: pixels(tmp_path / name) for name in ("storyboard-0.jpg", "storyboard-1.jpg")}
    for begins, _, name, x, y in cues:
        width, height, data = sheets[name]
        assert (width, height) == (480, 180)
        shown = data[(int(y) + 45) * width + int(x) + 80]
        assert abs(shown - levels[int(begins)]) < 6, (begins, shown)
    assert [name for _, _, name, *_ in cues] == ["storyboard-0.jpg"] * 6 + ["storyboard-1.jpg"] * 2


def test_one_tile_is_a_storyboard_too_and_one_without_a_picture_shows_the_one_before(
    tmp_path, run, monkeypatch
):
    encoded(tmp_path / "ses_1/0.ts", "color=white:size=180x320")
    whole = MediaPlaylist()
    whole.add(Entry("ses_1/0.ts", 1.0))
    size = pictures.tile_size(180, 320)
    assert size == (90, 160), "upright as it is"
    pictures.make_storyboard(program(None), run, tmp_path, whole, size)
    assert (tmp_path / "storyboard.vtt").read_text().count("-->") == 1
    width, _, data = pixels(tmp_path / "storyboard-0.jpg")
    assert data[80 * width + 45] > 225
    monkeypatch.setattr(pictures, "EVERY_S", 1.0)
    sound = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "sine", "-t", "1", "-c:a", "aac", "-f", "mpegts"]
    subprocess.run([*sound, tmp_path / "ses_1/1.ts"], check=True, timeout=20)
    encoded(tmp_path / "ses_1/2.ts", "color=gray:size=180x320")
    for number in (1, 2):
        whole.add(Entry(f"ses_1/{number}.ts", 1.0))
    pictures.make_storyboard(program(None), run, tmp_path, whole, size)
    width, _, data = pixels(tmp_path / "storyboard-0.jpg")
    row = data[80 * width :]
    assert (row[45] > 225, row[90 + 45] > 225, abs(row[180 + 45] - 128) < 10) == (True, True, True)


def test_a_long_broadcast_has_a_thousand_tiles_and_not_more():
    whole = MediaPlaylist()
    for number in range(30_000):
        whole.add(Entry(f"ses_1/{number}.ts", 1.0))
    chosen = pictures.tiles(whole)
    assert len(chosen) == 1000
    assert chosen[-1].ends == 30_000
    assert all(before.ends == after.begins for before, after in pairwise(chosen))


def test_pixels_that_are_not_square_are_shown_as_they_are_meant(tmp_path, run):
    """320x180 of pixels twice as wide: a disc that is half as wide on the sensor is round on the screen."""
    disc = "format=gray,geq=lum='if(lt(hypot((X-160)*2,Y-90),80),235,16)',setsar=2"
    encoded(tmp_path / "ses_1/0.ts", "color=black:size=320x180", disc)
    pictures.take(program(None), run, tmp_path / "ses_1/0.ts", 400, 400, tmp_path / "thumbnail.jpg")
    width, height, data = pixels(tmp_path / "thumbnail.jpg")
    assert (width, height) == (400, 400)
    across = sum(value > 128 for value in data[200 * 400 : 201 * 400])
    down = sum(value > 128 for value in data[200::400])
    assert abs(across - down) <= 6, (across, down)
    assert abs(down - 160 * 400 / 180) <= 6


def test_a_picture_that_cannot_be_made_leaves_the_one_before_and_no_draft(tmp_path, run):
    (tmp_path / "0.ts").write_bytes(b"G" * 188 * 20)
    target = tmp_path / "thumbnail.jpg"
    target.write_bytes(b"before")
    with pytest.raises(JobError):
        pictures.take(program(None), run, tmp_path / "0.ts", 400, 400, target)
    assert target.read_bytes() == b"before"
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_program_that_takes_too_long_is_ended(tmp_path, run):
    with pytest.raises(JobError, match="not done within"):
        run(["sleep", "60"], 0.5)
    assert not (tmp_path / "job.json").exists()


def test_a_leftover_is_ended_and_a_stranger_with_its_number_is_not(tmp_path):

    runner = Runner(tmp_path / "job.json", threading.Event())
    for own in (False, True):
        process = subprocess.Popen(["sleep", "60"])
        began = psutil.Process(process.pid).create_time()
        runner.note.write_text(json.dumps({"pid": process.pid, "began": began if own else began - 1}))
        runner.end_leftover()
        if own:
            assert process.wait(5) != 0
        else:
            assert process.poll() is None
            process.kill()
            process.wait()
        assert not runner.note.exists()
