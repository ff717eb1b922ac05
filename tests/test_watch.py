"""When a session counts as playable, and when as one whose signal cannot be played."""

import pytest

from media import watch
from media.watch import HOPELESS_S, STALLED_S, UNSEEN_S, Watch


def signal(number: int | None, playable: bool = True, group_s: float = 1.0) -> dict:
    return {"lastNumber": number, "playable": playable, "video": {"keyframeInterval": group_s}}


@pytest.fixture
def judge():
    watching = Watch()
    return lambda said, now, receiving=True: watching.judge("ses_1", said, receiving, now)


def test_nothing_yet_is_neither(judge):
    assert judge({}, 0.0) is None
    assert judge({}, HOPELESS_S) is None


def test_nothing_for_long_cannot_be_played(judge):
    judge({}, 0.0)
    assert judge({}, HOPELESS_S + 1) == "unplayable"
    assert watch.reason({}) == watch.NOTHING


def test_a_part_is_enough_before_the_first_segment_is_whole(judge):
    assert judge(signal(None), 0.0) == "playable"


def test_sound_alone_is_playable_once_it_is_known_that_there_is_no_picture():
    sound = {"lastNumber": 0, "playable": True, "video": {}}
    watching = Watch()
    assert watching.judge("ses_1", sound, True, 0.0) is None
    assert watching.judge("ses_1", sound, True, 1.0, False) == "playable"


def test_a_picture_that_is_announced_and_never_seen_is_of_a_codec_that_cannot_be_played():
    sound = {"lastNumber": 0, "playable": True, "video": {}}
    watching = Watch()
    assert watching.judge("ses_1", sound, True, 0.0, True) is None
    assert watching.judge("ses_1", sound | {"lastNumber": 5}, True, UNSEEN_S + 1, True) == "unplayable"
    assert watch.reason(sound, True) == watch.UNSEEN
    assert watching.judge("ses_1", signal(6), True, UNSEEN_S + 2, True) == "playable", "it came after all"


def test_segments_that_move_are_playable(judge):
    assert [judge(signal(number), number * 1.0) for number in range(30)] == ["playable"] * 30


def test_segments_that_stand_still_are_not_and_are_again_when_they_move(judge):
    judge(signal(3), 0.0)
    assert judge(signal(3), STALLED_S) == "playable"
    assert judge(signal(3), STALLED_S + 0.1) == "unplayable"
    assert watch.reason(signal(3)) == watch.STOPPED
    assert judge(signal(4), STALLED_S + 1) == "playable"


def test_rare_key_frames_are_given_three_groups(judge):
    judge(signal(3, group_s=8.0), 0.0)
    assert judge(signal(3, group_s=8.0), 23.0) == "playable"
    assert judge(signal(3, group_s=8.0), 25.0) == "unplayable"


def test_what_nobody_sends_cannot_stand_still(judge):
    judge(signal(3), 0.0)
    for now in range(60):
        assert judge(signal(3), float(now), receiving=False) == "playable"
    assert judge(signal(3), 60.0) == "playable"


def test_a_session_that_is_over_is_forgotten():
    watching = Watch()
    watching.judge("ses_1", {}, True, 0.0)
    watching.forget_all_but(set())
    assert watching.judge("ses_1", {}, True, 100.0) is None
