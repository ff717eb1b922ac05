"""What a real SRS sent, replayed: the recordings of tests/fixtures/srs.

Their keys are shorter than a streamToken may be, so the channel's token stands in for them.
"""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import create_hook_app
from live.reconcile import lost_all, reconcile, sessions_of
from media.servers import MediaServerError, srs
from media.storage import hook_secret
from models import Channel, Session
from tests.story import after, events, new, payload, sessions, timeline

RECORDINGS = Path(__file__).parent / "fixtures" / "srs"
IDLE, PUBLISHING = "s01_normal.idle.streams", "s01_normal.publishing+1player"
SERVICE = "srs/vid-3a98868/5y472g4j"
YES, NO = (200, {"code": 0}), (403, {"code": 1})


class Replay:
    """A scenario's hooks, called at the times at which SRS called them."""

    def __init__(self, client: FlaskClient, path: str, monkeypatch, began: datetime) -> None:
        self.client, self.path, self.began, self.now = client, path, began, began
        self.tokens: dict[str, str] = {}
        self.answers: list[tuple[str, str, tuple[int, dict]]] = []
        monkeypatch.setattr("routes.hooks.utcnow", lambda: self.now)

    def steps(self, scenario: str) -> Iterator[dict]:
        """Every line, after its hook was called; the clock is at that line."""
        for line in (RECORDINGS / f"{scenario}.jsonl").read_text().splitlines():
            step = json.loads(line)
            self.now = self.at(step["rel_s"])
            if step["kind"] == "hook" and step["path"] == "/srs/hooks":
                self.call(json.loads(step["body"]))
            yield step

    def all(self, scenario: str) -> None:
        for _ in self.steps(scenario):
            pass

    def call(self, told: dict) -> tuple[int, dict]:
        """With the channel's token for the key, wherever the key stands."""
        key = told["stream"]
        if token := self.tokens.get(key):
            told = told | {"stream": token}
            if "stream_url" in told:
                told["stream_url"] = told["stream_url"].replace(f"/{key}", f"/{token}")
        return self.send(json.dumps(told).encode(), told["action"], told["client_id"])

    def send(self, body: bytes, action: str = "", client_id: str = "") -> tuple[int, dict]:
        reply = self.client.post(self.path, data=body, content_type="application/json")
        assert reply.content_type == "application/json"
        self.answers.append((action, client_id, (reply.status_code, reply.json)))
        return reply.status_code, reply.json

    def answered(self, *actions: str) -> list[tuple[int, dict]]:
        return [said for action, _, said in self.answers if action in actions]

    def at(self, rel_s: float) -> datetime:
        return self.began + timedelta(milliseconds=round(rel_s * 1000))


def recorded(name: str) -> dict:
    return json.loads((RECORDINGS / f"{name}.json").read_text())


def hook(recorded_as: str, **fields: object) -> dict:
    """s01's publisher."""
    lines = map(json.loads, (RECORDINGS / "s01_normal.jsonl").read_text().splitlines())
    body = next(step["body"] for step in lines if step.get("action") == recorded_as)
    return json.loads(body) | fields


@pytest.fixture
def replay(config, app, monkeypatch, now) -> Replay:
    client = create_hook_app(config).test_client()
    return Replay(client, f"/hooks/srs/{hook_secret(config)}", monkeypatch, now)


@pytest.fixture
def live(lifecycle, now) -> Channel:
    return new(lifecycle, now)


@pytest.fixture
def streaming(replay, live) -> Session:
    """s01's publisher, let in just now."""
    replay.tokens["KEY"] = live.stream_token
    assert replay.call(hook("on_publish")) == YES
    return sessions(live)[0]


def times(channel: Channel) -> list[tuple[datetime, datetime | None, str | None]]:
    return [(each.start_time, each.stop_time, each.end_reason) for each in sessions(channel)]


# Hooks.


def test_s01_a_broadcast_with_players_is_one_session(replay, live):
    replay.tokens["KEY"] = live.stream_token
    replay.all("s01_normal")
    assert times(live) == [(replay.at(0.667), replay.at(19.766), "left")]
    assert events(live) == ["channel_connected", "channel_stop"]
    assert payload(live, "channel_stop")["duration"] == 19
    (session,) = sessions(live)
    assert (session.connection, session.client_ip) == (f"{SERVICE}/26962054", "127.0.0.1")
    assert {str(said) for said in replay.answered("on_publish", "on_unpublish")} == {str(YES)}
    assert {str(said) for said in replay.answered("on_play")} == {str(NO)}


def test_s02_the_same_key_again_is_a_second_session(replay, live):
    replay.tokens["KEY"] = live.stream_token
    replay.all("s02_republish_same_key")
    assert times(live) == [
        (replay.at(0.359), replay.at(4.438), "left"),
        (replay.at(5.876), replay.at(9.969), "left"),
    ]


@pytest.mark.parametrize(
    ("scenario", "key", "came", "left"),
    [
        ("s03_kill9", "K9", 0.359, 6.382),
        ("s04_sigstop", "STP", 0.434, 25.438),
        ("s12_hook_slow_publish", "SLOW", 0.343, 12.4),
        ("s13_publisher_gone_while_hook_hangs", "GONE", 0.392, 5.404),
    ],
)
def test_an_encoder_that_is_killed_frozen_or_let_in_late_is_one_session(
    replay, live, scenario, key, came, left
):
    replay.tokens[key] = live.stream_token
    replay.all(scenario)
    assert times(live) == [(replay.at(came), replay.at(left), "left")]
    assert events(live) == ["channel_connected", "channel_stop"]


def test_s08_a_second_publisher_is_refused_and_the_first_goes_on(replay, live):
    replay.tokens["DUP"] = live.stream_token
    replay.all("s08_second_publisher")
    assert replay.answered("on_publish") == [YES, NO]
    assert times(live) == [(replay.at(0.442), replay.at(7.188), "left")]
    assert timeline(live) == ["created", "published", "refused", "unpublished"]


def test_s15_a_kicked_publisher_has_left_and_may_come_again(replay, live):
    replay.tokens["KICK"] = live.stream_token
    replay.all("s15_kick")
    assert [reason for *_, reason in times(live)] == ["left", "left"]


def test_s21_after_a_restart_the_key_is_free_at_once_though_no_end_was_told(replay, live):
    replay.tokens["SK"] = live.stream_token
    replay.all("s21_server_kill9_restart")
    assert replay.answered("on_publish") == [YES, YES]
    first, second = sessions(live)
    assert (first.connection, second.connection) == (
        f"{SERVICE}/mh612774",
        "srs/vid-3a98868/19e59799/34qs851d",
    )
    assert (first.stop_time is not None, first.end_reason) == (True, "lost")
    assert (second.stop_time, second.end_reason) == (replay.at(10.106), "left")


def test_an_end_that_comes_late_ends_nothing_of_the_session_that_followed(replay, live, streaming, lifecycle):
    lost_all(lifecycle, replay.now)
    assert replay.call(hook("on_publish", client_id="72yu2536")) == YES
    assert replay.call(hook("on_unpublish")) == YES
    assert [reason for *_, reason in times(live)] == ["lost", None]


def test_an_end_that_comes_before_its_beginning_is_found_out_by_the_reconciler(replay, live, lifecycle):
    replay.tokens["KEY"] = live.stream_token
    assert replay.call(hook("on_unpublish")) == YES
    assert replay.call(hook("on_publish")) == YES
    nobody = srs.parse_lists(recorded(IDLE), recorded(IDLE) | {"clients": []})
    reconcile(lifecycle, nobody.instance, nobody.publishers, replay.now + after(seconds=5))
    assert times(live) == [(replay.now, replay.now, "lost")]


@pytest.mark.parametrize("scenario", sorted(path.stem for path in RECORDINGS.glob("*.jsonl")))
def test_unknown_keys_leave_nothing_open(replay, live, lifecycle, scenario):
    replay.all(scenario)
    assert {str(said) for said in replay.answered("on_publish")} == {str(NO)}
    assert (sessions(live), events(live), timeline(live)) == ([], [], ["created"])


# What a publisher can write into a hook.


@pytest.mark.parametrize(
    "param",
    [
        *("", "?token=abc?token=abc", "?keytoken=2?apptoken=1?apptoken=1", "#frag?token=abc"),
        "?stream=other&action=on_unpublish&app=admin&client_id=x&ip=10.9.9.9",
    ],
)
def test_what_stands_behind_the_key_changes_nothing(replay, live, param):
    replay.tokens["KEY"] = live.stream_token
    assert replay.call(hook("on_publish", param=param)) == YES
    (session,) = sessions(live)
    assert (session.connection, session.client_ip, session.stop_time) == (
        *(f"{SERVICE}/26962054", "127.0.0.1"),
        None,
    )


@pytest.mark.parametrize(
    "where",
    [
        {"stream": "{key}.flv"},  # for SRS the stream /live/{key}, as {key}.1 would be
        {"stream": "{key}.flv", "stream_url": "/live/{key}.flv"},
        {"stream": "{key}/", "stream_url": "/live/{key}"},
        {
            "stream": "{key}?token=abc",
            "stream_url": "/live/{key}?token=abc",
        },  # a byte that is not ASCII in it
        {"stream": "{key}", "stream_url": "tuned.test/live/{key}", "vhost": "tuned.test"},
        {"stream": "{key}", "stream_url": "/live/x/{key}", "app": "live/x"},
        {"stream": "{key}", "stream_url": "/live/../../{key}", "app": "live/../.."},
        {"stream": ""},
        {"stream": None},
        {"stream": ["{key}"]},
    ],
)
def test_a_stream_that_srs_takes_for_another_than_its_key_says_is_refused(replay, live, where):
    told = json.dumps(hook("on_publish", stream_url="/live/{key}") | where)
    assert replay.send(told.replace("{key}", live.stream_token).encode()) == NO
    assert sessions(live) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b'"?token=abc"', b'"?token=\x01"'),  # a control byte in the key: s31
        lambda body: body.replace(b'"?token=abc"', b'"?token=\xff"'),
        lambda body: body[:-1] + b',"ip":"10.9.9.9"}',
        lambda body: body.replace(b"26962054", b"2696/054"),
        lambda body: body.replace(b'"26962054"', b"26962054"),
        lambda body: body.replace(b"5y472g4j", b""),
        lambda body: body.replace(b'"server_id"', b'"server"'),
        lambda body: body[:-1],
        lambda body: b"[" + body + b"]",
        lambda body: b"[" * 100_000,
        lambda body: b"",
    ],
)
def test_a_hook_that_no_srs_sends_lets_nobody_in(replay, live, change):
    told = hook("on_publish", stream=live.stream_token, stream_url=f"/live/{live.stream_token}")
    body = json.dumps(told, separators=(",", ":")).encode()
    assert change(body) != body
    assert replay.send(change(body)) == NO
    assert sessions(live) == []


def test_who_has_the_key_may_publish_with_it_and_play_nothing(replay, live, streaming):
    assert replay.call(hook("on_play")) == NO
    assert events(live) == ["channel_connected"]


@pytest.mark.parametrize("kind", ["on_stop", "on_hls", "on_dvr", "on_connect", "x", ""])
def test_other_calls_are_answered_and_change_nothing(replay, live, streaming, kind):
    assert replay.call(hook("on_unpublish", action=kind)) == YES
    assert events(live) == ["channel_connected"]


def test_what_the_doctor_tries_out_is_read_as_a_publisher():
    told = srs.announcement("doctor")
    read = srs.parse_hook(told.body.encode(), {})
    assert (read.call, read.stream_token, read.client_ip) == ("publish", "doctor", "127.0.0.1")


# What its API says.


def looked(streams: dict, clients: dict | None = None):
    return srs.parse_lists(streams, clients or recorded(f"{PUBLISHING}.clients"))


def test_a_publisher_is_seen_with_what_it_sends_and_its_players_are_not_counted_in(replay, live, streaming):
    look = looked(recorded(f"{PUBLISHING}.streams"))
    (seen,) = look.publishers
    assert (look.instance, seen.connection, seen.client_id) == (SERVICE, streaming.connection, "26962054")
    # The stream says 523322: the player's acknowledgements would keep a frozen publisher alive.
    assert seen.bytes_in == 519825
    assert seen.video == {"codec": "H264", "profile": "High", "width": 640, "height": 360}
    assert seen.audio == {"codec": "AAC", "sampleRate": 44100, "channels": 2}
    assert sessions_of(look.publishers) == {streaming.id}


def test_a_look_keeps_the_session_and_notes_what_it_sends(replay, live, streaming, lifecycle):
    look = looked(recorded(f"{PUBLISHING}.streams"))
    assert reconcile(lifecycle, look.instance, look.publishers, replay.now + after(seconds=7)) == []
    (session,) = sessions(live)
    assert (session.stop_time, session.bytes_in, session.video["width"]) == (None, 519825, 640)


def test_a_stream_whose_publisher_has_left_is_nobodys_though_players_stay(replay, live, streaming, lifecycle):
    look = looked(recorded("s01_normal.after-unpublish.streams"))
    assert look.publishers == []
    reconcile(lifecycle, look.instance, look.publishers, replay.now + after(seconds=7))
    assert [reason for *_, reason in times(live)] == ["lost"]


def test_a_client_whose_hook_is_pending_publishes_nothing_yet():
    streams = recorded(f"{PUBLISHING}.streams")
    streams["streams"][0]["publish"] = {"active": False}
    assert looked(streams).publishers == []


def test_a_client_that_has_left_between_the_two_lists_is_none():
    clients = recorded(f"{PUBLISHING}.clients")
    clients["clients"] = clients["clients"][1:]
    assert looked(recorded(f"{PUBLISHING}.streams"), clients).publishers == []


def test_a_stream_without_headers_yet_has_no_video_and_no_audio():
    streams = recorded(f"{PUBLISHING}.streams")
    streams["streams"][0] |= {"video": None, "audio": None}
    (seen,) = looked(streams).publishers
    assert (seen.video, seen.audio) == ({}, {})


@pytest.mark.parametrize(
    "change",
    [
        {"service": "19e59799"},  # started anew between the two questions
        {"service": ""},
        {"streams": [1]},
        {"streams": [{}]},
        {"streams": [{"publish": None}]},
        {"streams": [{"publish": {"active": True, "cid": []}}]},
    ],
)
def test_an_answer_that_is_no_list_is_not_nobody(change):
    with pytest.raises(MediaServerError) as refusal:
        looked(recorded(f"{PUBLISHING}.streams") | change)
    assert not refusal.value.gone


def test_s08_a_publisher_that_srs_refused_as_busy_is_found_out_and_its_next_try_is_let_in(
    replay, live, lifecycle, streaming
):
    """It fell silent, so that we let the next one in; SRS held the old connection still, and told nobody of its no."""
    look = looked(recorded(f"{PUBLISHING}.streams"))
    for second in (1, 2, 14):
        assert reconcile(lifecycle, look.instance, look.publishers, replay.at(second)) == []
    replay.now = replay.at(15)
    assert replay.call(hook("on_publish", client_id="orphan")) == YES
    assert reconcile(lifecycle, look.instance, look.publishers, replay.at(16)) == ["26962054"]
    reconcile(lifecycle, look.instance, [], replay.at(20.1))
    assert [each.stop_time is not None for each in sessions(live)] == [True, True]
    replay.now = replay.at(21)
    assert replay.call(hook("on_publish", client_id="72yu2536")) == YES
    assert [reason for *_, reason in times(live)][1:] == ["lost", None]
