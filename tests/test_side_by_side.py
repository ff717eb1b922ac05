"""Writers side by side on PostgreSQL: limits, uniqueness, the order of the feed and of deliveries hold all the same."""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from flask.testing import FlaskClient

from db import complete_events, connection, database, fold_counters, one_at_a_time, run, side_by_side, utcnow
from delivery import queue
from delivery.mending import mend
from errors import ApiError
from live.arrival import Arrival, RefusedError
from live.events import emit
from live.lifecycle import Lifecycle
from live.limits import Limits
from models import Channel, Delivery, Event, EventName, Session, Webhook
from schemas import ChannelCreate
from tests import postgres
from tests.conftest import ROOT_ID, ROOT_SECRET, basic
from tests.invariants import LINKS, Watch, miscounted
from tests.outbox import T0, again, answered, claim, happen, hook
from tests.waiting import until

pytestmark = pytest.mark.skipif(not postgres.WANTED, reason="needs PostgreSQL")
THREADS = 16
connections = count(1)


def arrival() -> Arrival:
    return Arrival(f"nginx-rtmp/aa/{next(connections)}", "127.0.0.1", "FMLE/3.0")


@pytest.fixture
def verbs(app) -> Lifecycle:
    return Lifecycle(LINKS, Limits({}), lambda: None)


def made(verbs: Lifecycle, **fields: Any) -> Channel:
    asked = ChannelCreate().load({"name": "A channel"}) | {"account_id": "1"} | fields
    return verbs.create(asked, utcnow())


def together(act: Callable[[Any], Any], things: list[Any], threads: int = THREADS) -> list[Any]:
    """What this makes of each, in no order: on so many threads at once, each with a connection of its own."""
    left, found, begin = list(things), [], threading.Barrier(threads)

    def work() -> None:
        with connection():
            run("SELECT 1")
            begin.wait(30)
            with suppress(IndexError):
                while True:
                    found.append(act(left.pop()))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(60)
    assert len(found) == len(things), "one of them failed"
    return found


def decided(verbs: Lifecycle, token: str) -> str:
    try:
        verbs.publish(token, arrival(), utcnow())
    except RefusedError as error:
        return error.reason
    return "accepted"


def test_500_publishers_at_once_are_each_decided_rightly(verbs):
    with connection():
        open_ones = [made(verbs) for _ in range(150)]
        over = [made(verbs) for _ in range(50)]
        for channel in over:
            verbs.stop(channel.id, utcnow())
    tokens = [channel.stream_token for channel in open_ones] * 2
    wrong = [f"nobody-has-{number}" for number in range(150)]
    asked = [*tokens, *(channel.stream_token for channel in over), *wrong]
    random.Random(1).shuffle(asked)
    found = together(lambda token: (token, decided(verbs, token)), asked)
    assert len(found) == 500
    by_token = defaultdict(list)
    for token, decision in found:
        by_token[token].append(decision)
    assert all(sorted(by_token[token]) == ["accepted", "busy"] for token in tokens)
    assert all(by_token[channel.stream_token] == ["ended"] for channel in over)
    assert all(by_token[token] == ["unknown_token"] for token in wrong)
    with connection():
        Watch().look(utcnow())
        [[entries, refused]] = run(
            """SELECT COUNT(*), SUM((detail::jsonb ->> 'count')::int) FROM timeline
                WHERE kind = 'refused' AND channel_id IS NULL"""
        )
    assert (entries, refused) == (1, 150), "one entry counts them all"


def test_an_account_gets_exactly_as_many_publishers_as_it_may_have(verbs):
    now = utcnow()
    with connection():
        verbs.limits.create({"account_id": "few", "limits": {"max_live": 5}}, now)
        tokens = [made(verbs, account_id="few").stream_token for _ in range(40)]
    found = Counter(together(lambda token: decided(verbs, token), tokens))
    assert found == {"accepted": 5, "limit_live": 35}


def test_an_account_gets_exactly_as_many_channels_as_it_may_have(verbs):
    with connection():
        verbs.limits.create({"account_id": "few", "limits": {"max_channels": 7}}, utcnow())

    def create(_: int) -> str:
        try:
            made(verbs, account_id="few")
        except ApiError as error:
            return type(error).__name__
        return "made"

    assert Counter(together(create, list(range(40)))) == {"made": 7, "LimitError": 33}
    with connection():
        assert miscounted() == set()


def test_one_stream_token_is_given_once(verbs):
    def create(token: str) -> str:
        try:
            made(verbs, stream_token=token, account_id=random.choice("ab"))
        except ApiError as error:
            return type(error).__name__
        return token

    found = Counter(together(create, [f"token-{number % 10}" for number in range(80)]))
    assert found == {f"token-{number}": 1 for number in range(10)} | {"TokenInUseError": 70}


def test_whoever_reads_the_feed_meanwhile_gets_every_event_once_and_in_order(verbs):
    with connection():
        channels = [made(verbs) for _ in range(8)]
    writing, seen = threading.Event(), []

    def write(channel: Channel) -> None:
        for _ in range(40):
            with side_by_side():
                held = Channel.held("pk = ?", channel.pk)
                emit(EventName.LIVE, held, None, LINKS, utcnow(), publishing=False)
                time.sleep(random.random() / 500)
                held.keep()

    def read() -> None:
        last = 0
        with connection():
            while True:
                over = not writing.is_set()
                newest = complete_events()
                news = [row.id for row in Event.some("id > ? AND id <= ? ORDER BY id", last, newest)]
                seen.extend(news)
                last = news[-1] if news else last
                if over:
                    return

    writing.set()
    readers = [threading.Thread(target=read) for _ in range(2)]
    readers[0].start()
    together(write, channels, 8)
    writing.clear()
    readers[0].join(30)
    with connection():
        assert seen == [event_id for (event_id,) in run("SELECT id FROM event ORDER BY id")]
    assert len(seen) == 320


def test_an_event_is_not_shown_while_one_before_it_may_still_come(verbs, client):
    with connection():
        first, second = made(verbs), made(verbs)
        first_written, go_on = threading.Event(), threading.Event()

        def write_slowly() -> None:
            with connection(), side_by_side():
                emit(
                    EventName.LIVE, Channel.held("pk = ?", first.pk), None, LINKS, utcnow(), publishing=False
                )
                first_written.set()
                go_on.wait(30)

        slow = threading.Thread(target=write_slowly)
        slow.start()
        assert first_written.wait(10)
        verbs.stop(second.id, utcnow())  # it waits for nobody
        assert client.get("/v1/event").json["data"] == []
        go_on.set()
        slow.join(10)
        shown = [each["id"] for each in client.get("/v1/event").json["data"]]
    assert shown == [first.id, second.id]


def test_many_dispatchers_send_each_delivery_once_and_each_queue_in_order(verbs, config):
    webhooks = [hook(config, f"http://127.0.0.1:9/{number}") for number in range(3)]
    with connection():
        channels = [made(verbs) for _ in range(12)]
    sent, writing = [], threading.Event()
    writing.set()

    def write(channel: Channel) -> None:
        for _ in range(12):
            with side_by_side():
                held = Channel.held("pk = ?", channel.pk)
                emit(EventName.LIVE, held, None, LINKS, utcnow(), publishing=False)
                held.keep()

    def dispatch() -> None:
        rng = random.Random()
        with connection():
            while True:
                over = not writing.is_set()
                jobs = queue.claim({webhook.id: 4 for webhook in webhooks}, utcnow()).jobs
                sent.extend(jobs)
                rng.shuffle(jobs)
                if jobs:
                    queue.record([(job, answered(200, utcnow())) for job in jobs], utcnow(), rng.random)
                elif over and not Delivery.one("status = 'pending'"):
                    return

    workers = [threading.Thread(target=dispatch) for _ in range(4)]
    for each in workers:
        each.start()
    together(write, channels, 4)
    writing.clear()
    for each in workers:
        each.join(60)
    assert len(sent) == len({job.pk for job in sent}) == 3 * 12 * 12
    with connection():
        rows = {row.pk: row for row in Delivery.some("status = 'delivered'")}
        assert mend(utcnow()) == 0
    assert len(rows) == len(sent), "none was left behind one that was over"
    by_queue = defaultdict(list)
    for job in sent:
        by_queue[job.webhook_id, rows[job.pk].queue].append(job.pk)
    assert all(pks == sorted(pks) for pks in by_queue.values())


def test_who_claims_while_another_records_leaves_that_webhook_to_it_and_looks_again(app, config):
    webhook = hook(config)
    first, second = happen(webhook), happen(webhook)
    [job] = claim(webhook)
    claimed = []
    with connection():
        with side_by_side():
            queue.record([(job, answered())], T0, random.random)
            other = threading.Thread(target=lambda: claimed.append(claim_all(webhook)))
            other.start()
            other.join(10)
        assert claimed == [queue.Claimed([], more=True)]
        assert [each.pk for each in claim_all(webhook).jobs] == [second.pk]
    assert (job.pk, again(second).next_at is None) == (first.pk, False)


def claim_all(webhook: Webhook) -> queue.Claimed:
    with connection():
        return queue.claim({webhook.id: 8}, T0)


def test_any_verbs_at_once_block_nobody_for_good_and_leave_every_channel_as_it_must_be(verbs, config):
    hook(config)
    now = utcnow()
    with connection():
        verbs.limits.create({"account_id": "limited", "limits": {"max_live": 4, "max_channels": 30}}, now)
        ids = [made(verbs, account_id=random.choice(["1", "limited"]), tags=["a", "b"]).id for _ in range(12)]
    ends, done = time.monotonic() + 3, Counter()

    def step(rng: random.Random) -> str:
        channel = Channel.named(rng.choice(ids))
        session = channel and Session.open_of(channel)
        verb = rng.choice(["create", "publish", "publish", "unpublish", "playable", "unplayable", *REST])
        match verb:
            case "create":
                ids.append(made(verbs, account_id=rng.choice(["1", "limited"]), tags=["a"]).id)
            case "publish" if channel:
                verbs.publish(channel.stream_token, arrival(), utcnow())
            case "unpublish" if session:
                verbs.unpublish(session.connection, "left", utcnow())
            case "playable" | "unplayable" if session:
                getattr(verbs, verb)(session.id, *([] if verb == "playable" else ["silent"]), utcnow())
            case "update" if channel:
                verbs.update(channel.id, {"tags": rng.sample(["a", "b", "c"], 2)}, utcnow())
            case "reset_token" if channel:
                verbs.reset_token(channel.id, True, utcnow())
            case "stop" | "delete" if channel and rng.random() < 0.3:
                getattr(verbs, verb)(channel.id, utcnow())
            case "run_due":
                verbs.run_due(utcnow())
            case "fold":
                fold_counters()
            case "user":
                verbs.limits.change("limited", {"limits": {"max_live": rng.randint(2, 6)}}, utcnow())
        return verb

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < ends:
            with suppress(ApiError, RefusedError):
                done[step(rng)] += 1

    together(work, list(range(8)), 8)
    assert sum(done.values()) > 100
    with connection():
        Watch().look(utcnow())
        fold_counters()
        assert miscounted() == set()
        several = "SELECT 1 FROM channel_count GROUP BY account_id, tag, status HAVING COUNT(*) > 1"
        assert run(several) == []


REST = ("update", "reset_token", "stop", "delete", "run_due", "fold", "user")


def test_who_waits_for_somebody_who_waits_for_them_gets_503_and_has_changed_nothing(verbs, app):
    client, answers = FlaskClient(app, app.response_class), []

    def create() -> None:
        body = {"name": "Crossed", "accountId": "few", "streamToken": "a-crossed-token"}
        headers = {"Authorization": basic(ROOT_ID, ROOT_SECRET)}
        answers.append(client.post("/v1/live", json=body, headers=headers))

    with connection():
        verbs.limits.create({"account_id": "few", "limits": {"max_channels": 7}}, utcnow())
        [[name]] = run("SELECT current_database()")
        run(f'ALTER DATABASE "{name}" SET deadlock_timeout = 2000')  # the other looks after that long, once
        asking = threading.Thread(target=create)
        with side_by_side():
            run("SET LOCAL deadlock_timeout = 60000")
            one_at_a_time("account", "few")
            asking.start()
            until(lambda: run("SELECT 1 FROM pg_locks WHERE NOT granted"), 10, "the other waits")
            one_at_a_time("token", "a-crossed-token")
            asking.join(10)
        assert (answers[0].status_code, answers[0].json["ec"]) == (503, 50300)
        assert Channel.one("account_id = 'few'") is None
    create()
    assert answers[1].status_code == 201


def test_what_has_to_be_alone_is_not_begun_within_what_is_not(app):
    with connection(), side_by_side():
        with side_by_side():
            pass
        with pytest.raises(database.not_alone), database.atomic():
            pass


def test_who_is_alone_waits_for_those_side_by_side_and_they_for_it(app):
    order = []

    def write(name: str, how: Callable[[], Any]) -> None:
        with connection(), how():
            order.append(name)

    with connection():
        with side_by_side():
            one = threading.Thread(target=write, args=("alone", database.atomic))
            one.start()
            until(lambda: run("SELECT 1 FROM pg_locks WHERE NOT granted"), 10, "it waits")
            order.append("beside")
        one.join(10)
        with database.atomic():
            other = threading.Thread(target=write, args=("beside again", side_by_side))
            other.start()
            until(lambda: run("SELECT 1 FROM pg_locks WHERE NOT granted"), 10, "it waits")
            order.append("alone again")
        other.join(10)
    assert order == ["beside", "alone", "alone again", "beside again"]
