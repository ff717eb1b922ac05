"""The one judge of every round: what must hold when a fault is over (I1..I11), from the history and the database.

Each `i…` yields a sentence for each violation. They look at an installation that has been stopped.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from database_url import is_on_server
from db import bind, connection
from tests.box import TOKEN_SECRET
from tests.faults.witness import Witness
from tests.invariants import LETTER, STORY, miscounted

STATUSES = {200, 201, 204, 400, 401, 403, 404, 405, 422, 429, 503}  # contract, section 1
DECISIONS = {0, 200, 302, 403, 503}  # 0: nobody answered
ANSWERED_WITHIN_S = 6.0  # what waits for the database waits for 5 s
ANY = object()
VIDEO = "v"


def violations(world: Witness) -> list[str]:
    rules = (
        *(i1_what_was_answered_is_there, i2_sessions_follow_each_other, i3_limits_hold_at_every_instant),
        *(i4_sessions_and_ends_are_told_once, i5_every_webhook_got_every_event, i6_no_gap_in_any_sequence),
        *(
            i7_the_database_is_whole,
            i8_nothing_is_left_behind,
            i9_only_documented_answers,
            i11_no_secret_is_logged,
        ),
    )
    return [f"{rule.__name__}: {sentence}" for rule in rules for sentence in rule(world)]


class Expected:
    """What a channel may be, by what was answered: sets of values, where a lost answer leaves two possible."""

    def __init__(self, made: dict[str, Any], name: str) -> None:
        self.token: set[Any] = {made["streamToken"]}
        self.name = {name}
        self.stopped, self.gone = {False}, {False}


def expectations(world: Witness) -> dict[str, Expected]:
    channels: dict[str, Expected] = {}
    for asked, reply in world.history.exchanges("request", "reply"):
        status = reply["status"] if reply else None
        if status == 503:  # nothing was changed
            continue
        if (asked["method"], asked["path"]) == ("POST", "/v1/live"):
            if status == 201:
                made = reply["data"]["data"]
                channels.setdefault(made["id"], Expected(made, asked["body"]["name"]))
            continue
        found = re.fullmatch(r"/v1/live/(ch_\w+)(/token)?(\?delete=true)?", asked["path"])
        if found and asked["method"] != "GET" and (channel := channels.get(found[1])):
            _expect(channel, asked, found, status, reply)
    return channels


def _expect(channel: Expected, asked: dict, found: re.Match, status: int | None, reply: dict | None) -> None:
    def becomes(before: set[Any], value: Any) -> set[Any]:
        return {value} if status is not None else before | {value}

    if status not in (None, 200, 204):
        # A deletion whose answer was lost is a 404 to whoever asks again.
        channel.gone = {True} if status == 404 and True in channel.gone else channel.gone
    elif asked["method"] in ("PUT", "PATCH") and "name" in asked["body"]:
        channel.name = becomes(channel.name, asked["body"]["name"])
    elif found[2]:
        channel.token = becomes(channel.token, reply["data"]["data"]["streamToken"] if reply else ANY)
    elif found[3]:
        channel.gone = becomes(channel.gone, True)
    elif asked["method"] == "DELETE":
        channel.stopped = becomes(channel.stopped, True)


def i1_what_was_answered_is_there(world: Witness) -> Iterator[str]:
    rows = {
        row[0]: row[1:]
        for row in world.rows("SELECT id, name, stream_token, end_reason = 'stopped', metadata FROM channel")
    }
    for channel_id, expected in expectations(world).items():
        if (channel_id not in rows) not in expected.gone:
            yield f"{channel_id} is {'gone' if channel_id not in rows else 'still there'}"
        if channel_id in rows:
            name, token, stopped, _ = rows[channel_id]
            if name not in expected.name:
                yield f"{channel_id} is called {name!r}, not {expected.name}"
            if token not in expected.token and ANY not in expected.token:
                yield f"{channel_id} has another streamToken than was answered"
            if bool(stopped) not in expected.stopped:
                yield f"{channel_id} was stopped: {bool(stopped)}, not {expected.stopped}"
    numbers = [json.loads(row[3])["number"] for row in rows.values()]
    if len(numbers) != len(set(numbers)):
        yield "a request with one Idempotency-Key made two channels"
    webhooks = {webhook_id for (webhook_id,) in world.rows("SELECT id FROM webhook")}
    yield from (f"webhook {lost} is gone" for lost in world.webhooks().keys() - webhooks)
    sessions = {session_id for (session_id,) in world.rows("SELECT session_id FROM event")}
    for _, decision in world.history.exchanges("hook", "decision"):
        if decision and decision["status"] == 302 and decision["stream"] not in sessions:
            yield f"a publisher was let in as {decision['stream']}, which is no session"


def stories(world: Witness) -> dict[str, list[tuple[str, int, str | None]]]:
    """By channel, in the order of the feed: the events' names, numbers and sessions."""
    told = defaultdict(list)
    for channel_id, *event in world.rows("SELECT channel_id, name, seq, session_id FROM event ORDER BY id"):
        told[channel_id].append(tuple(event))
    return told


def i2_sessions_follow_each_other(world: Witness) -> Iterator[str]:
    for channel_id, told in stories(world).items():
        letters = "".join(LETTER.get(name, VIDEO) for name, _, _ in told)
        # A video is ready some time after its session is over, whatever else has happened since.
        if not STORY.fullmatch(letters.replace(VIDEO, "")) or VIDEO in letters.partition("s")[0]:
            yield f"{channel_id} has a story that cannot be: {letters}"
    for (channel,) in world.rows(
        "SELECT channel_id FROM session WHERE stop_time IS NULL GROUP BY channel_id HAVING count(*) > 1"
    ):
        yield f"channel {channel} has several open sessions"


def i3_limits_hold_at_every_instant(world: Witness) -> Iterator[str]:
    limits = {
        account: json.loads(text)["max_live"]
        for account, text in world.rows('SELECT account_id, limits FROM "user"')
    }
    live: dict[str, int] = defaultdict(int)
    for event_id, account, name in world.rows("SELECT id, account_id, name FROM event ORDER BY id"):
        live[account] += {"channel_connected": 1, "channel_stop": -1}.get(name, 0)
        most = limits.get(account)
        if most is not None and live[account] > most:
            yield f"account {account} had {live[account]} open sessions at event {event_id}, not {most}"


def i4_sessions_and_ends_are_told_once(world: Witness) -> Iterator[str]:
    told = defaultdict(list)
    for name, session in world.rows("SELECT name, session_id FROM event WHERE session_id IS NOT NULL"):
        told[session].append(name)
    for session, stopped in world.rows("SELECT id, stop_time IS NOT NULL FROM session"):
        names = told[session]
        if (names.count("channel_connected"), names.count("channel_stop")) != (1, stopped):
            yield f"{session}, over: {bool(stopped)}, was told as {names}"
    ends = dict(world.rows("SELECT channel_id, count(*) FROM event WHERE name = 'channel_ended' GROUP BY 1"))
    for channel_id, ended, seq in world.rows("SELECT id, status = 'ended', seq FROM channel"):
        if ends.get(channel_id, 0) != ended:
            yield f"{channel_id}, ended: {bool(ended)}, was told ended {ends.get(channel_id, 0)} times"
        if seq != len(stories(world).get(channel_id, [])):
            yield f"{channel_id} counts {seq} events and has {len(stories(world).get(channel_id, []))}"


def i5_every_webhook_got_every_event(world: Witness) -> Iterator[str]:
    events = world.rows("SELECT id, name, channel_id, seq, payload FROM event ORDER BY id")
    kept = defaultdict(list)
    for event, webhook, status in world.rows("SELECT event_id, webhook_id, status FROM delivery"):
        kept[webhook, event].append(status)
    for webhook, (path, names) in world.webhooks().items():
        arrived = arrivals(world, path)
        for event, name, _, _, payload in events:
            if name not in names:
                continue
            statuses, bodies = kept[webhook, event], arrived.get(event, [])
            over = {"delivered"} if path not in world.unreachable else {"delivered", "failed", "cancelled"}
            # A webhook that was turned off is told of nothing any more.
            if len(statuses) != 1 and not (path in world.unreachable and not statuses):
                yield f"event {event} has {len(statuses)} deliveries to {path}"
            elif statuses and statuses[0] not in over:
                yield f"event {event} to {path} is {statuses[0]}"
            elif statuses == ["delivered"] and not bodies:
                yield f"event {event} never arrived at {path}"
            if len({message for message, _ in bodies}) > 1:
                yield f"event {event} arrived at {path} under several ids"
            if any(body != payload.encode() for _, body in bodies):
                yield f"event {event} arrived at {path} with another body"
        yield from _in_order(path, arrived, events)


def arrivals(world: Witness, path: str) -> dict[int, list[tuple[str, bytes]]]:
    """What came to a path, by event, in the order of first arrival: message id and body of every try."""
    arrived: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
    for request in list(world.receiver.requests):
        if request.path == path:
            arrived[json.loads(request.body)["eventId"]].append((request.headers["webhook-id"], request.body))
    return arrived


def _in_order(path: str, arrived: dict[int, Any], events: list[tuple]) -> Iterator[str]:
    place = {event: (channel_id, seq) for event, _, channel_id, seq, _ in events}
    last: dict[str, int] = {}
    for event in arrived:
        if event not in place:
            yield f"{path} was told of event {event}, which never was"
            continue
        channel_id, seq = place[event]
        if seq < last.get(channel_id, 0):
            yield f"{path} was told of {channel_id} {seq} after {last[channel_id]}"
        last[channel_id] = seq


def i6_no_gap_in_any_sequence(world: Witness) -> Iterator[str]:
    for channel_id, told in stories(world).items():
        numbers = [seq for _, seq, _ in told]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{channel_id} has the numbers {numbers}"


def i7_the_database_is_whole(world: Witness) -> Iterator[str]:
    if not is_on_server(world.config.database_url):  # a server looks after its own files
        if (found := world.rows("PRAGMA integrity_check")) != [("ok",)]:
            yield f"integrity_check: {found[:3]}"
        if found := world.rows("PRAGMA foreign_key_check"):
            yield f"foreign_key_check: {found[:3]}"
    bind(world.config.database_url)
    with connection():
        if found := miscounted():
            yield f"counters and channels differ: {sorted(found)[:3]}"


def i8_nothing_is_left_behind(world: Witness) -> Iterator[str]:
    for name in ("cwd", "tmp", "home"):
        left = [str(path.relative_to(world.folder)) for path in (world.folder / name).rglob("*")]
        yield from (f"{path} was written outside DATA_DIR" for path in left)


def i9_only_documented_answers(world: Witness) -> Iterator[str]:
    for asked, reply in world.history.exchanges("request", "reply"):
        if reply is None:
            continue
        what, status, data = f"{asked['method']} {asked['path']}", reply["status"], reply["data"]
        if status not in STATUSES:
            yield f"{what} was answered {status}: {data}"
        elif status == 503 and ("retry-after" not in reply["headers"] or data.get("ec") != 50300):
            yield f"{what} was answered 503 as {data}"
        elif status != 204 and (data["ec"] == 0) != (status < 300):
            yield f"{what} was answered {status} as {data}"
        if reply["took"] > ANSWERED_WITHIN_S:
            yield f"{what} was answered after {reply['took']} s"
    for asked, decision in world.history.exchanges("hook", "decision"):
        if decision and decision["status"] not in DECISIONS:
            yield f"{asked['call']} was answered {decision['status']}"
        if decision and decision["status"] and decision["took"] > ANSWERED_WITHIN_S:
            yield f"{asked['call']} was answered after {decision['took']} s"
    if "Traceback" in (text := world.log()):
        yield f"a part has failed in an unforeseen way: {text[text.index('Traceback') :][:1000]}"


def i11_no_secret_is_logged(world: Witness) -> Iterator[str]:
    secrets = {"API token": {TOKEN_SECRET}, "hook": {(world.config.keys_dir / "hook").read_text().strip()}}
    secrets["stream token"] = {hook["token"] for hook in world.history.of("hook")}
    for reply in world.history.of("reply"):
        data = reply["data"].get("data") if isinstance(reply["data"], dict) else None
        if isinstance(data, dict):
            secrets["stream token"] |= {data["streamToken"]} if "streamToken" in data else set()
            secrets.setdefault("webhook", set()).update({data["secret"]} if "secret" in data else set())
    log = world.log()
    for kind, values in secrets.items():
        if any(value in log for value in values):
            yield f"a log line holds a secret: {kind}"
