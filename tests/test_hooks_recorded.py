"""What a real nginx-rtmp sent, replayed: the recordings of tests/fixtures/nginx-rtmp.

Their stream names are shorter than a streamToken may be, so the channel's token stands in for them.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from db import from_ms
from live.reconcile import lost_all, reconcile
from media.servers.nginx_rtmp import parse_stat
from models import Channel
from tests.story import events, new, payload, sessions, timeline

RECORDINGS = Path(__file__).parent / "fixtures" / "nginx-rtmp"
NAME = re.compile(r"(?<=&name=)[^&]*")


class Replay:
    """A scenario's hooks, called at the times at which nginx called them."""

    def __init__(self, hooks, monkeypatch, began: datetime) -> None:
        self.hooks, self.began, self.now, self.instance = hooks, began, began, 0
        self.tokens: dict[str, str] = {}
        self.answers: list[tuple[str, str, int]] = []
        monkeypatch.setattr("routes.hooks.utcnow", lambda: self.now)

    def steps(self, scenario: str) -> Iterator[dict]:
        """Every line, after its hook was called; the clock is at that line."""
        for line in recorded(scenario):
            step = json.loads(line)
            self.now = self.began + timedelta(milliseconds=round(step["rel_s"] * 1000))
            if step["kind"] == "hook" and step["method"] == "POST":
                self.call(step)
            if step.get("event") == "nginx_started":
                self.instance += 1
            yield step

    def all(self, scenario: str) -> None:
        for _ in self.steps(scenario):
            pass

    def call(self, step: dict) -> None:
        body = step["body"].replace("app=bare", "app=live")
        name = NAME.search(body)[0]
        body = NAME.sub(self.tokens.get(name, name), body, count=1)
        reply = self.hooks.client.post(
            f"{self.hooks.path}?instance={self.instance:x}",
            data=body,
            content_type="application/x-www-form-urlencoded",
        )
        client_id = re.search(r"clientid=(\d+)", body)[1]
        self.answers.append((step["action"], client_id, reply.status_code))

    def at(self, rel_s: float) -> datetime:
        return self.began + timedelta(milliseconds=round(rel_s * 1000))


def recorded(scenario: str) -> list[str]:
    return (RECORDINGS / f"{scenario}.jsonl").read_text().splitlines()


@pytest.fixture
def replay(hooks, monkeypatch, lifecycle, now) -> Replay:
    return Replay(hooks, monkeypatch, now)


@pytest.fixture
def live(lifecycle, now) -> Channel:
    return new(lifecycle, now)


def look(name: str, **renamed: str) -> bytes:
    xml = (RECORDINGS / f"{name}.stat.xml").read_text()
    for old, fresh in renamed.items():
        xml = xml.replace(f"<name>{old}</name>", f"<name>{fresh}</name>")
    return xml.encode()


def times(channel: Channel) -> list[tuple[datetime, datetime | None, str | None]]:
    return [(each.start_time, each.stop_time, each.end_reason) for each in sessions(channel)]


def test_n01_a_broadcast_with_a_player_is_one_session(replay, live):
    replay.tokens["KEY"] = live.stream_token
    replay.all("n01_normal")
    assert times(live) == [(replay.at(0.278), replay.at(17.72), "left")]
    assert events(live) == ["channel_connected", "channel_stop"]
    assert payload(live, "channel_stop")["duration"] == 17
    assert {status for action, _, status in replay.answers if action != "on_publish"} == {200}
    assert ("on_publish", "4", 302) in replay.answers


def test_n02_a_killed_publisher_has_left_though_its_player_stays(replay, live):
    replay.tokens["K9"] = live.stream_token
    replay.all("n02_kill9")
    assert times(live) == [(replay.at(0.353), replay.at(6.377), "left")]
    assert events(live) == ["channel_connected", "channel_stop"]


def test_n03_a_frozen_publisher_counts_until_its_last_byte(replay, live, lifecycle):
    replay.tokens["STP"] = live.stream_token
    for step in replay.steps("n03_sigstop_drop_idle"):
        if step.get("saved") or step.get("action") == "on_update":
            (session,) = sessions(live)
            seen = parse_stat(look("n03_sigstop_drop_idle.frozen", STP=session.id), "0")
            assert reconcile(lifecycle, seen.instance, seen.publishers, replay.now) == []
    # /stat shows the same bytes from 5.304 on, which is when they were first seen.
    assert times(live) == [(replay.at(0.303), replay.at(5.304), "left")]
    assert payload(live, "channel_stop")["duration"] == 5


def test_n09_a_slow_answer_does_not_matter(replay, live):
    replay.tokens["SLOW"] = live.stream_token
    replay.all("n09_hook_slow")
    assert times(live) == [(replay.at(0.344), replay.at(14.404), "left")]


def test_n10_a_publisher_gone_while_its_hook_is_pending_has_left(replay, live):
    replay.tokens["GONE"] = live.stream_token
    replay.all("n10_gone_while_hook_pending")
    assert times(live) == [(replay.at(0.282), replay.at(1.789), "left")]
    assert timeline(live) == ["created", "published", "unpublished"]


def test_n10_if_gone_is_read_first_the_reconciler_closes_it(replay, live, lifecycle):
    replay.tokens["GONE"] = live.stream_token
    steps = {
        step["action"]: step
        for step in map(json.loads, recorded("n10_gone_while_hook_pending"))
        if step["kind"] == "hook"
    }
    replay.call(steps["on_publish_done"])
    replay.call(steps["on_publish"])
    assert events(live) == ["channel_connected"]
    nobody = parse_stat(look("n01_normal.idle"), "0")
    reconcile(lifecycle, nobody.instance, nobody.publishers, replay.now + timedelta(seconds=5))
    assert times(live) == [(replay.now, replay.now, "lost")]


def test_n12_a_lost_gone_is_found_out_with_the_time_of_the_last_byte(replay, live, lifecycle):
    replay.tokens["LOST"] = live.stream_token
    replay.all("n12_done_lost")
    (session,) = sessions(live)
    assert session.stop_time is None
    nobody = parse_stat(look("n01_normal.idle"), "0")
    reconcile(lifecycle, nobody.instance, nobody.publishers, replay.now)
    assert times(live) == [(replay.at(0.346), replay.at(0.346), "lost")]


def test_n14_a_dropped_publisher_has_left_and_a_redirected_name_is_nobodys(replay, live, lifecycle, now):
    other = new(lifecycle, now)
    replay.tokens |= {"CT": live.stream_token, "CT2": other.stream_token}
    replay.all("n14_control")
    assert [reason for *_, reason in times(live)] == ["left"]
    assert [reason for *_, reason in times(other)] == ["left"]
    publishes = [
        (client_id, status) for action, client_id, status in replay.answers if action == "on_publish"
    ]
    assert publishes == [("303", 302), ("333", 302), ("333", 403)]


def test_n18_one_channel_through_every_end_of_nginx(replay, live, lifecycle):
    for name in ("SIGTERM", "SIGQUIT", "WORKER_SIGKILL", "SIGHUP"):
        replay.tokens[f"SV_{name}"] = live.stream_token
    for step in replay.steps("n18_server_signals"):
        if step.get("saved") == "n18_server_signals.worker-respawned.stat.xml":
            nobody = parse_stat(look("n01_normal.idle"), f"{replay.instance:x}")
            reconcile(lifecycle, nobody.instance, nobody.publishers, replay.now)
    assert times(live) == [
        (replay.at(0.287), replay.at(0.287), "lost"),  # SIGTERM: no hook; closed by the publisher after it
        (replay.at(6.268), replay.at(38.306), "left"),  # SIGQUIT: nginx waits for it
        (replay.at(40.147), replay.at(40.147), "lost"),  # its worker was killed: seen by the reconciler
        (replay.at(47.08), replay.at(62.539), "left"),  # the second publisher after a reload was refused
    ]
    assert events(live) == ["channel_connected", "channel_stop"] * 4
    assert [kind for kind in timeline(live) if kind == "refused"] == ["refused"]


@pytest.mark.parametrize("scenario", sorted(path.stem for path in RECORDINGS.glob("*.jsonl")))
def test_unknown_names_leave_nothing_open(replay, live, lifecycle, scenario):
    replay.all(scenario)
    assert {status for action, _, status in replay.answers if action == "on_publish"} == {403}
    assert (sessions(live), events(live), timeline(live)) == ([], [], ["created"])
    assert lost_all(lifecycle, replay.now) == 0


def test_times_are_kept_to_the_millisecond(replay, live):
    replay.began = from_ms(1795409404908)
    replay.tokens["KEY"] = live.stream_token
    replay.all("n01_normal")
    assert times(live)[0][:2] == (from_ms(1795409405186), from_ms(1795409422628))
