"""Which renditions a source gets, and what they promise: contract section 2, `transcodeProfile`."""

import pytest

from media import ladder
from media.ladder import Ladder, Picture, plan

ALL = ("1080p", "720p", "480p", "360p")


def sizes(width: int, height: int, fps: float = 25.0, profile=ALL) -> dict[str, tuple[int, int, float]]:
    made = plan(Picture(width, height, fps), profile, ultra=False, cores=100, free=100)
    return {each.name: (each.width, each.height, each.fps) for each in reversed(made.renditions)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ((1920, 1080), {"720p": (1280, 720), "480p": (854, 480), "360p": (640, 360)}),
        ((1280, 720), {"480p": (854, 480), "360p": (640, 360)}),
        ((854, 480), {"360p": (640, 360)}),
        ((640, 360), {}),
        ((426, 240), {}),
        ((362, 202), {}),
        # Portrait: the shorter side counts.
        ((1080, 1920), {"720p": (720, 1280), "480p": (480, 854), "360p": (360, 640)}),
        ((360, 640), {}),
        # Odd shapes keep their shape, to the nearest even size.
        ((1440, 1080), {"720p": (960, 720), "480p": (640, 480), "360p": (480, 360)}),
        ((2560, 1080), {"720p": (1706, 720), "480p": (1138, 480), "360p": (854, 360)}),
        ((722, 406), {"360p": (640, 360)}),
        # Larger than any: all of them are made.
        ((2560, 1440), {"1080p": (1920, 1080), "720p": (1280, 720), "480p": (854, 480), "360p": (640, 360)}),
        # Nearly as large as the source would be the source once more.
        ((640, 380), {}),
        ((1280, 768), {"480p": (800, 480), "360p": (600, 360)}),
    ],
)
def test_a_source_gets_what_is_smaller_than_itself_in_its_own_shape(source, expected):
    assert sizes(*source) == {name: (*size, 25.0) for name, size in expected.items()}


def test_only_what_the_profile_names_is_made():
    assert list(sizes(1920, 1080, profile=("480p", "1080p"))) == ["480p"]


def test_more_than_40_pictures_a_second_stay_from_720_lines_on_and_are_halved_below():
    rates = {name: each[2] for name, each in sizes(1920, 1080, 60.0).items()}
    assert rates == {"720p": 60.0, "480p": 30.0, "360p": 30.0}
    assert {each[2] for each in sizes(1920, 1080, 30.0).values()} == {30.0}


def test_a_rendition_costs_and_a_source_alone_costs_nothing():
    source = Picture(1920, 1080, 30.0)
    full = plan(source, ALL, ultra=False, cores=9, free=9)
    assert Ladder(source).cores == 0
    assert 0.5 < full.cores < 1.0, "measured: docs/measured.md"
    assert full.cores > full.without(["720p"], ladder.TOO_LATE).cores


def test_the_smallest_come_first_when_not_all_fit_and_what_is_left_out_is_told_why():
    source = Picture(1920, 1080, 30.0)
    two = plan(source, ALL, ultra=False, cores=1, free=0.5)
    assert two.names == {"360p", "480p"}
    assert two.cores <= 0.5
    assert two.left_out == {"720p": "no_room"}
    assert plan(source, ALL, ultra=False, cores=1, free=0.01).left_out == dict.fromkeys(
        ["720p", "480p", "360p"], "no_room"
    )


@pytest.mark.parametrize(
    ("ultra", "cores", "reason"), [(True, 4, "ultra_low_latency"), (False, 0, "switched_off")]
)
def test_where_no_rendition_can_be_it_is_said(ultra, cores, reason):
    made = plan(Picture(1280, 720, 25.0), ALL, ultra=ultra, cores=cores, free=cores)
    assert (made.names, made.left_out) == (set(), {"480p": reason, "360p": reason})


def test_a_ladder_is_read_back_as_it_was_written():
    made = plan(Picture(1920, 1080, 60.0), ALL, ultra=False, cores=4, free=0.9)
    assert made.left_out
    assert Ladder.from_json(made.as_json()) == made


def test_what_is_told_is_what_viewers_can_choose_largest_first():
    told = plan(Picture(1280, 720, 50.0), ALL, ultra=False, cores=4, free=4).told()
    assert told == {
        "rendered": [
            {"name": "480p", "width": 854, "height": 480, "fps": 25.0, "bitrate": 1200},
            {"name": "360p", "width": 640, "height": 360, "fps": 25.0, "bitrate": 700},
        ],
        "leftOut": [],
    }


@pytest.mark.parametrize(
    ("source", "codecs"),
    [
        ((1920, 1080, 30.0), {"720p": "avc1.64001f", "480p": "avc1.64001f", "360p": "avc1.64001e"}),
        ((1920, 1080, 60.0), {"720p": "avc1.640020", "480p": "avc1.64001f", "360p": "avc1.64001e"}),
        ((2560, 1440, 60.0), {"1080p": "avc1.64002a"}),
    ],
)
def test_the_level_is_the_lowest_that_holds_the_picture(source, codecs):
    made = plan(Picture(*source), tuple(codecs), ultra=False, cores=9, free=9)
    assert {each.name: each.variant("").codecs for each in made.renditions} == codecs


def test_bandwidth_is_promised_with_what_the_buffer_may_add_and_sound_where_there_is_any():
    [made] = plan(Picture(854, 480, 25.0), ALL, ultra=False, cores=9, free=9).renditions
    with_sound, silent = made.variant("mp4a.40.2"), made.variant("")
    assert with_sound.peak > with_sound.average > silent.average >= 700_000
    assert (with_sound.uri, with_sound.size, with_sound.fps) == ("360p.m3u8", (640, 360), 25.0)
    assert with_sound.codecs == "avc1.64001e,mp4a.40.2"
