"""The health of a live channel: each rule, when it speaks up and when it is silent again, and where it is shown."""

import re
from pathlib import Path

import pytest

from live.health import BITRATES, REASONS, Monitor, Received, bitrate_range, found, health
from live.reconcile import reconcile
from media.servers import Publisher
from models import TimelineEntry
from routes.console.words import ADVICE
from tests.story import after, again, arrival, new, payload, timeline

VIDEO = {
    "codec": "H264",
    "profile": "High",
    "width": 1280,
    "height": 720,
    "fps": 30.0,
    "bitrate": 2500,
    "keyframeInterval": 2.0,
}
AUDIO = {"codec": "AAC", "sampleRate": 48000, "channels": 2, "bitrate": 128}
BAD_KEYS = {"keyframeInterval": 5.0}


def received(video: dict | None = None, audio: dict | None = None, **measured) -> Received:
    sound = AUDIO if audio is None else audio
    return Received(VIDEO | (video or {}), sound and AUDIO | sound, **{"nominal_fps": 30.0} | measured)


# The rules.


@pytest.mark.parametrize(
    ("what", "reasons"),
    [
        (received(), set()),
        (received({"keyframeInterval": 4.0}), set()),
        (received({"keyframeInterval": 4.004}), set()),
        (received({"keyframeInterval": 4.2}), {"keyframe_interval"}),
        (received({"keyframeInterval": None}), set()),
        (received({"bitrate": 1500}), set()),
        (received({"bitrate": 1499}), {"bitrate_low"}),
        (received({"bitrate": 6000}), set()),
        (received({"bitrate": 6001}), {"bitrate_high"}),
        (received({"bitrate": 2000, "fps": 60.0}, nominal_fps=60.0), {"bitrate_low"}),
        (received({"bitrate": 9000, "fps": 60.0}, nominal_fps=60.0), set()),
        (received({"bitrate": 2000, "width": 1080, "height": 1920}), {"bitrate_low"}),
        (received({"bitrate": None}), set()),
        (received({"codec": "Sorenson-H263", "profile": None}), {"codec"}),
        (received({"profile": "Constrained Baseline"}), set()),
        (received({"profile": "High 4:2:2"}), {"profile"}),
        (received({"profile": "244"}), {"profile"}),
        (received(audio={"codec": "MP3"}), {"audio_codec"}),
        (received(audio={"sampleRate": 44100}), set()),
        (received(audio={"sampleRate": 22050}), {"audio_codec"}),
        (received(audio={}), {"no_audio"}),
        (received({"bitrate": None}, audio={}), set()),
        (received({"fps": 24.0}), set()),
        (received({"fps": 23.9}), {"fps_low"}),
        (received({"fps": 23.9}, nominal_fps=None), set()),
        (received({"fps": 23.9}, nominal_fps=1000.0), set()),
        (received(late_s=4.5), set()),
        (received(late_s=4.6), {"starved"}),
        (received({"keyframeInterval": 4.0}, late_s=6.4), set()),
        (received(late_s=4.6, longest_s=10.2), {"starved"}),
        (Received({}, AUDIO, late_s=12.6, longest_s=10.2), set()),
        (Received({}, AUDIO, late_s=12.8, longest_s=10.2), {"starved"}),
        (received(silent_s=2.9), set()),
        (received(silent_s=3.0), {"starved"}),
        (received(reconnects=2), set()),
        (received(reconnects=3), {"reconnects"}),
        (received({"keyframeInterval": 9.0, "bitrate": 100}), {"keyframe_interval", "bitrate_low"}),
        (Received({}, {}), set()),
        (Received({}, AUDIO), set()),
    ],
)
def test_each_rule_speaks_beyond_its_threshold_and_not_at_it(what, reasons):
    assert found(what) == reasons


@pytest.mark.parametrize(
    ("reasons", "word"),
    [
        ([], "excellent"),
        (["keyframe_interval"], "acceptable"),
        (["bitrate_low", "no_audio"], "acceptable"),
        (["starved"], "unstable"),
        (["fps_low", "profile"], "unstable"),
        (["reconnects"], "unstable"),
    ],
)
def test_what_viewers_notice_is_unstable_and_a_setting_is_acceptable(reasons, word):
    assert health(reasons) == word


def test_the_ranges_grow_with_the_picture_and_none_is_above_the_largest():
    assert [row[1:] for row in BITRATES] == sorted(row[1:] for row in BITRATES)
    assert bitrate_range({"width": 7680, "height": 4320, "fps": 30}) == BITRATES[-1][1:]
    assert bitrate_range({}) == (0, float("inf"))


def test_the_page_explains_every_reason_and_has_the_same_bitrates():
    page = (Path(__file__).parent.parent / "docs/health.md").read_text()
    assert re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)[: len(REASONS)] == [*REASONS]
    rows = re.findall(r"^\| (\d+) \| ([\d,]+) \| ([\d,]+) \|$", page, re.MULTILINE)
    assert [tuple(int(each.replace(",", "")) for each in row) for row in rows] == [*BITRATES]


def test_the_console_has_words_for_every_reason():
    assert set(REASONS) <= ADVICE.keys()


# From one look to the next.


def looks(monitor, now, shown, *told):
    """What is shown after each look; told are (second, rules that speak)."""
    for second, speaking in told:
        shown = monitor.settle("ses", shown, set(speaking), now + after(seconds=second))
        yield shown


def test_a_rule_is_shown_when_it_has_held_and_goes_when_it_has_been_silent_for_longer(now):
    told = [(0, ["fps_low"]), (2, ["fps_low"]), (4, ["fps_low"]), (6, []), (14, []), (16, [])]
    assert list(looks(Monitor(), now, [], *told)) == [[], [], ["fps_low"], ["fps_low"], ["fps_low"], []]


def test_a_rule_that_flaps_neither_comes_nor_goes(now):
    flapping = [(second, ["starved"] if second % 4 else []) for second in range(0, 60, 2)]
    assert all(shown == [] for shown in looks(Monitor(), now, [], *flapping))
    assert all(shown == ["starved"] for shown in looks(Monitor(), now, ["starved"], *flapping))


def test_reasons_are_shown_in_one_order_and_each_by_its_own_time(now):
    both = ["no_audio", "starved"]
    told = [(0, ["no_audio"]), (3, both), (5, both), (8, both)]
    assert list(looks(Monitor(), now, [], *told)) == [[], [], ["no_audio"], ["starved", "no_audio"]]


def late(monitor, now, *told: tuple[float, float]) -> list[float]:
    """How late it is at these seconds; told are (second, second of the broadcast that has come)."""
    base = now.timestamp()
    return [
        round(monitor.late_s("ses", round((base + media) * 1000), now + after(seconds=second)), 3)
        for second, media in told
    ]


def test_segments_that_come_as_they_should_are_late_by_what_a_segment_lasts(now):
    assert max(late(Monitor(), now, *((second, second - second % 2) for second in range(1, 120)))) == 1


def test_an_encoder_at_seven_tenths_of_its_speed_is_late_for_as_long_as_it_is(now):
    found_late = late(Monitor(), now, *((second, second * 0.7) for second in range(0, 200, 2)))
    assert found_late[5] == 3
    assert all(seconds > 17 for seconds in found_late[30:])


def test_who_was_frozen_and_goes_on_behind_is_late_for_a_minute_and_not_for_ever(now):
    told = [(second, second if second < 10 else second - 20) for second in (0, 2, 4, *range(30, 110, 2))]
    found_late = late(Monitor(), now, *told)
    assert found_late[3] == 20
    assert found_late[-1] == 0


def test_nothing_is_late_before_there_is_a_segment(now):
    assert Monitor().late_s("ses", None, now) == 0


def test_only_what_came_back_within_five_minutes_counts(now):
    starts = [now - after(minutes=minutes) for minutes in (0, 1, 4.9, 5, 60)]
    assert Monitor().reconnects("ses", lambda: starts, now) == 2


# What a channel shows.


@pytest.fixture
def live(lifecycle, now):
    channel = new(lifecycle, now, playback="public")
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.playable(session.id, now)
    return channel


class Looks:
    """Looks at one publisher, two seconds apart, at what the packager says of it."""

    def __init__(self, lifecycle, session, now) -> None:
        self.lifecycle, self.session, self.now = lifecycle, session, now
        self.monitor, self.bytes_in = Monitor(), 0

    def take(self, count: int, *, sending: bool = True, **video) -> None:
        for _ in range(count):
            self.now += after(seconds=2)
            self.bytes_in += 600_000 if sending else 0
            seen = Publisher(self.session.connection, "1", self.session.id, self.bytes_in, {"fps": 30.0})
            signal = {"video": VIDEO | video, "audio": AUDIO}
            signals = {self.session.id: signal}
            assert reconcile(self.lifecycle, "nginx-rtmp/aa", [seen], self.now, signals, self.monitor) == []


@pytest.fixture
def look(lifecycle, live, now):
    return Looks(lifecycle, live.sessions[0], now)


def shown(client, channel) -> tuple:
    one = client.get(f"/v1/live/{channel.id}").json["data"]
    [listed] = client.get("/v1/live").json["data"]
    assert (one["health"], one["healthReasons"]) == (listed["health"], listed["healthReasons"])
    return one["health"], one["healthReasons"]


def test_a_channel_that_has_become_live_is_well_until_something_shows(client, live):
    assert shown(client, live) == ("excellent", [])
    assert payload(live, "channel_live")["health"] == "excellent"


def test_a_setting_to_improve_is_shown_and_no_event_of_the_timeline(client, live, look):
    look.take(4, **BAD_KEYS)
    assert shown(client, live) == ("acceptable", ["keyframe_interval"])
    look.take(7)
    assert shown(client, live) == ("excellent", [])
    assert timeline(live) == ["created", "published", "live"]


def test_a_frozen_encoder_is_unstable_and_stable_again_each_told_once(client, live, look):
    look.take(3)
    look.take(6, sending=False)
    assert shown(client, live) == ("unstable", ["starved"])
    look.take(4)
    assert shown(client, live) == ("unstable", ["starved"]), "it stays for ten seconds"
    look.take(3)
    assert shown(client, live) == ("excellent", [])
    assert timeline(live)[-2:] == ["unstable", "stable"]
    entry = TimelineEntry.get(TimelineEntry.kind == "unstable")
    assert entry.detail == {"sessionId": look.session.id, "reasons": ["starved"]}


def test_health_is_of_a_live_channel_only_and_events_carry_it(client, lifecycle, live, look):
    look.take(4, **BAD_KEYS)
    lifecycle.unplayable(look.session.id, "no picture", look.now)
    assert shown(client, live) == (None, [])
    lifecycle.playable(look.session.id, look.now)
    told = payload(live, "channel_live")
    assert (told["health"], told["healthReasons"]) == ("acceptable", ["keyframe_interval"])
    lifecycle.unpublish(look.session.connection, "left", look.now)
    assert payload(live, "channel_stop")["health"] is None


@pytest.mark.parametrize(("seconds", "word"), [(30, "acceptable"), (90, "excellent")])
def test_who_is_back_soon_is_as_well_as_before(client, lifecycle, live, look, seconds, word):
    look.take(4, **BAD_KEYS)
    lifecycle.unpublish(look.session.connection, "left", look.now)
    back = look.now + after(seconds=seconds)
    session = lifecycle.publish(live.stream_token, arrival(2), back)
    lifecycle.playable(session.id, back)
    assert shown(client, live)[0] == word


def test_coming_back_again_and_again_is_unstable(client, lifecycle, live, look):
    for number in (2, 3, 4):
        lifecycle.unpublish(arrival(number - 1).connection, "left", look.now)
        session = lifecycle.publish(live.stream_token, arrival(number), look.now)
        lifecycle.playable(session.id, look.now)
    look = Looks(lifecycle, session, look.now)
    look.take(4)
    assert shown(client, live) == ("unstable", ["reconnects"])


def test_a_worker_that_is_new_goes_on_with_what_is_shown(client, live, look):
    look.take(4, **BAD_KEYS)
    look.monitor = Monitor()
    look.take(1)
    assert shown(client, live) == ("acceptable", ["keyframe_interval"])


def test_a_look_at_a_channel_that_is_steady_changes_nothing_of_it(live, look):
    look.take(5)
    before = again(live)
    look.take(5)
    assert again(live).__data__ == before.__data__
