"""Deliveries over real connections: what arrives, what is refused, and what never holds anything up."""

import datetime as dt
import resource
import time

import pytest
from standardwebhooks import Webhook as Judge

from db import connection, database, utcnow
from delivery import dispatcher as dispatching_module
from delivery import queue, webhooks
from delivery.dispatcher import Dispatcher
from delivery.policy import Policy
from delivery.secretbox import SecretBox
from delivery.sender import Sender
from models import Delivery, Webhook
from tests.outbox import again, dispatching, happen, hook, settled, tried, tries, until
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.usefixtures("app")


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


def answering(**answer):
    return Receiver(lambda request, number: Answer(**answer))


def first_then_well(**answer):
    return Receiver(lambda request, number: Answer() if number else Answer(**answer))


def test_a_change_of_a_channel_arrives_signed(config, client, lifecycle, hooks, receiver):
    made = client.post("/v1/webhook", json={"uri": f"{receiver.url}/in?x=1", "event": "channel_live"}).json
    with connection():
        channel = client.post("/v1/live", json={"name": "Đà Nẵng"}).json["data"]
        hooks.publish(channel["streamToken"])
        session = client.get(f"/v1/live/{channel['id']}/session").json["data"][0]
        with connection():
            lifecycle.playable(session["id"], utcnow())
    with dispatching(config):
        (request,) = receiver.wait(1)
    told = Judge(made["data"]["secret"]).verify(request.body, request.headers)
    assert (request.method, request.path) == ("POST", "/in?x=1")
    assert request.headers["content-type"] == "application/json"
    assert (told["event"], told["id"], told["name"]) == ("channel_live", channel["id"], "Đà Nẵng")
    assert "streamToken" not in told
    assert channel["streamToken"] not in request.body.decode()


def test_what_is_sent_is_what_was_written_byte_by_byte(config, receiver):
    text = '{"a":"\\u2028é😀","n":1.0}'
    delivery = happen(hook(config, receiver.url), text=text)
    with dispatching(config):
        assert settled(delivery).status == "delivered"
    assert receiver.bodies() == [text.encode()]
    (attempt,) = tries(delivery)
    assert (attempt.number, attempt.status_code, attempt.error) == (1, 200, None)
    assert attempt.latency_ms < 1000


def test_it_arrives_at_once_when_woken(config, receiver):
    """Asleep it looks every second by itself. The best of three: a busy machine may keep one of them waiting."""
    webhook, took = hook(config, receiver.url), []
    with dispatching(config) as dispatcher:
        for number in range(1, 4):
            time.sleep(0.1)  # let it fall asleep: what is measured is the waking
            began = time.monotonic()
            happen(webhook)
            dispatcher.wake()
            took.append(receiver.wait(number)[-1].arrived - began)
    assert min(took) < 0.5


def test_it_arrives_without_being_woken(config, receiver):
    with dispatching(config):
        happen(hook(config, receiver.url))
        receiver.wait(1, timeout=5)


def test_during_rotation_both_secrets_sign_and_a_day_later_the_new_one(config, receiver):
    webhook = hook(config, receiver.url)
    old = SecretBox(config.keys_dir).decrypt(webhook.secret)
    with connection():
        new = webhooks.rotate(again(webhook), config, utcnow())
    happen(webhook)
    with dispatching(config):
        (request,) = receiver.wait(1)
        assert Judge(new).verify(request.body, request.headers) == {}
        assert Judge(old).verify(request.body, request.headers) == {}
        with connection():
            Webhook.update(old_secret_until=utcnow()).execute()
        happen(webhook)
        request = receiver.wait(2)[1]
        assert Judge(new).verify(request.body, request.headers) == {}
        assert len(request.headers["webhook-signature"].split(" ")) == 1


def test_a_failed_try_comes_again_under_the_same_id_and_a_new_time(config):
    with first_then_well(status=500, body=b"not now") as receiver:
        delivery = happen(hook(config, receiver.url))
        with dispatching(config):
            tried(delivery)
            assert again(delivery).next_at > utcnow() + dt.timedelta(seconds=3)
            with connection():
                Delivery.update(next_at=utcnow() + dt.timedelta(seconds=1.2)).execute()
            assert settled(delivery).status == "delivered"
        first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(first.headers["webhook-timestamp"]) < int(second.headers["webhook-timestamp"])
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert bytes(tries(delivery)[0].answer) == b"not now"


def test_order_is_kept_while_another_channel_goes_on(config):
    def answers(request, number):
        return Answer(503) if request.body == b'"a1"' else Answer()

    with Receiver(answers) as receiver:
        webhook = hook(config, receiver.url)
        stuck = happen(webhook, "ch_a", text='"a1"')
        behind = happen(webhook, "ch_a", text='"a2"')
        others = [happen(webhook, "ch_b", text=f'"b{n}"') for n in range(5)]
        with dispatching(config):
            settled(others[-1])
            tried(stuck)
    assert [body for body in receiver.bodies() if b"b" in body] == [f'"b{n}"'.encode() for n in range(5)]
    assert again(behind).attempts == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_its_target_is_never_contacted(config, receiver, status):
    with answering(status=status, headers={"Location": receiver.url}) as redirecting:
        delivery = happen(hook(config, redirecting.url))
        with dispatching(config):
            (attempt,) = tried(delivery)
    assert (attempt.status_code, attempt.error) == (status, "redirects are not followed")
    assert again(delivery).status == "pending"
    assert receiver.connections == 0


def test_410_turns_the_webhook_off(config):
    with answering(status=410) as receiver:
        webhook = hook(config, receiver.url)
        delivery, behind = happen(webhook), happen(webhook)
        with dispatching(config):
            assert settled(delivery).status == "failed"
    assert again(behind).status == "cancelled"
    assert not again(webhook).active


@pytest.mark.parametrize(
    "misbehaviour",
    [{"silent": True}, {"drip": "body"}, {"drip": "header"}, {"raw": b"HTTP/1.1 100 C\r\n\r\n" * 3}],
)
def test_the_deadline_holds(config, misbehaviour):
    with answering(**misbehaviour) as receiver:
        delivery = happen(hook(config, receiver.url))
        with dispatching(config, deadline=0.7):
            (attempt,) = tried(delivery)
    assert attempt.error
    if "raw" not in misbehaviour:
        assert attempt.error.startswith("timeout")
        assert 600 <= attempt.latency_ms <= 1700


def test_an_endless_answer_is_cut_off_and_judged_by_its_status(config):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for status, fate in ((200, "delivered"), (500, "pending")):
        with answering(endless=True, status=status) as receiver:
            delivery = happen(hook(config, receiver.url))
            with dispatching(config, deadline=5.0):
                (attempt,) = tried(delivery)
        assert again(delivery).status == fate
        assert (attempt.status_code, bytes(attempt.answer)) == (status, b"x" * 1024)
        assert attempt.latency_ms < 4000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"reset": True}, "connection broken"),
        ({"raw": b""}, "closed without an answer"),
        ({"raw": b"hello\r\n\r\n"}, "not HTTP"),
        ({"raw": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 400_000 + b"\r\n\r\n"}, "not HTTP"),
        ({"raw": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"}, "answer cut short"),
        ({"status": 204}, None),
        ({"status": 599}, None),
        ({"headers": {"Content-Encoding": "gzip"}, "body": b"\x1f\x8b" + b"\0" * 100}, None),
    ],
)
def test_every_kind_of_answer_ends_in_one_attempt(config, answer, error):
    with answering(**answer) as receiver:
        delivery = happen(hook(config, receiver.url))
        with dispatching(config):
            (attempt,) = tried(delivery)
    assert (attempt.error or "").startswith(error or ""), attempt.error
    assert again(delivery).status == (
        "delivered" if attempt.error is None and attempt.status_code < 300 else "pending"
    )


def test_nobody_there_and_no_such_name_are_failures_in_words(config):
    nobody, nowhere = happen(hook(config)), happen(hook(config, "http://no-such-host.invalid/"))
    with dispatching(config):
        assert tried(nobody)[0].error.startswith("no connection")
        assert tried(nowhere)[0].error.startswith(("name not found", "timeout"))


def test_without_open_files_a_try_fails_in_words(config, receiver, capfd):
    sender = Sender(Policy.of(config))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        sender.start("it", receiver.url, {}, b"{}", utcnow())
        [(_, outcome)] = until(lambda: sender.wait(1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    sender.close()
    assert outcome.error == "no connection: Too many open files"
    assert "Traceback" not in capfd.readouterr().err


def test_a_slow_receiver_delays_no_other(config, receiver):
    with answering(silent=True) as slow:
        hanging = hook(config, slow.url)
        for number in range(40):
            happen(hanging, f"ch_{number}")
        with dispatching(config, deadline=8.0) as dispatcher:
            slow.wait(dispatching_module.PER_WEBHOOK)
            swift = hook(config, receiver.url)
            began = time.monotonic()
            rows = [happen(swift, f"ch_{number}") for number in range(20)]
            dispatcher.wake()
            for row in rows:
                assert settled(row).status == "delivered"
            assert time.monotonic() - began < 4
            assert len(slow.requests) == dispatching_module.PER_WEBHOOK


def test_many_webhooks_of_one_receiver_share_its_part(config, receiver):
    with answering(silent=True) as slow:
        for _ in range(6):
            webhook = hook(config, slow.url)
            for number in range(6):
                happen(webhook, f"ch_{number}")
        with dispatching(config, deadline=8.0):
            slow.wait(dispatching_module.PER_RECEIVER)
            assert settled(happen(hook(config, receiver.url))).status == "delivered"
            assert slow.connections == dispatching_module.PER_RECEIVER


def test_stopping_finishes_what_is_in_flight(config):
    with answering(delay=0.5) as receiver:
        delivery = happen(hook(config, receiver.url))
        with dispatching(config, deadline=5.0):
            receiver.wait(1)
    assert again(delivery).status == "delivered"


def test_stopping_gives_back_what_does_not_finish(config):
    with answering(silent=True) as receiver:
        delivery = happen(hook(config, receiver.url))
        dispatcher = Dispatcher(config, deadline=60.0)
        dispatcher.start()
        receiver.wait(1)
        dispatcher.stop(0.2)
        assert again(delivery).lease_until is None
        assert tries(delivery)[0].error.startswith("interrupted")
    with Receiver() as receiver:
        with connection():
            Webhook.update(uri=receiver.url).execute()
        with dispatching(config):
            assert settled(delivery).status == "delivered"


@pytest.mark.sqlite
def test_a_database_that_is_locked_loses_nothing(config):
    with answering(delay=0.3) as receiver:
        webhook = hook(config, receiver.url)
        delivery, behind = happen(webhook), happen(webhook)
        with connection():
            database.execute_sql("PRAGMA busy_timeout=100")
        with dispatching(config, deadline=20.0) as dispatcher:
            receiver.wait(1)
            with connection():
                database.begin("EXCLUSIVE")
                until(lambda: dispatcher.failures, timeout=15)
                database.rollback()
            assert settled(delivery).status == "delivered"
            assert settled(behind).status == "delivered"
    assert len(receiver.requests) == 2


def test_a_secret_that_cannot_be_read_is_a_failure_and_no_crash(config, receiver):
    webhook = hook(config, receiver.url)
    delivery, well = happen(webhook), happen(hook(config, receiver.url), text='"well"')
    with connection():
        Webhook.update(secret="gone").where(Webhook.pk == webhook.pk).execute()
    with dispatching(config):
        assert "make a new secret" in tried(delivery)[0].error
        assert settled(well).status == "delivered"


def test_a_delivery_that_cannot_be_recorded_holds_up_no_other(config, receiver, monkeypatch, caplog):
    webhook = hook(config, receiver.url)
    bad, good = happen(webhook, "ch_bad", text='"bad"'), happen(webhook, "ch_good")
    record = queue.record

    def failing(results, *args):
        record(results, *args)
        if bad.pk in [job.pk for job, _ in results]:
            raise ValueError("a bug")

    monkeypatch.setattr(queue, "record", failing)
    with dispatching(config):
        assert settled(good).status == "delivered"
    assert "cannot be recorded" in caplog.text


def test_what_is_recorded_one_by_one_is_told_once(config, receiver, monkeypatch, caplog):
    caplog.set_level("INFO")
    receiver.answers = lambda request, number: Answer(500)
    webhook = hook(config, receiver.url)
    happen(webhook, "ch_one"), happen(webhook, "ch_two")
    tell = queue._promote
    together = []

    def failing(pks, *args):
        if len(pks) > 1 and not together:
            together.append(pks)
            raise ValueError("a bug")
        return tell(pks, *args)

    monkeypatch.setattr(queue, "_promote", failing)
    with dispatching(config):
        until(lambda: caplog.text.count("try 1 of") >= 2)
    assert together
    assert caplog.text.count("try 1 of") == 2


def test_a_queue_that_stands_still_delays_no_other_of_its_webhook(config, receiver):
    """What stands behind is due as it was written, and more than one look finds; the other queue comes after it."""
    receiver.answers = lambda request, number: Answer(delay=0 if request.body == b"other" else 5)
    webhook = hook(config, receiver.url)
    with dispatching(config, deadline=5.0) as dispatcher:
        happen(webhook, "ch_still", utcnow())
        dispatcher.wake()
        receiver.wait(1)
        time.sleep(0.2)  # let it fall asleep
        with connection(), database.atomic():
            for _ in range(3 * queue.LOOKED_AT):
                happen(webhook, "ch_still", utcnow())
            happen(webhook, "ch_other", utcnow(), text="other")
        began = time.monotonic()
        dispatcher.wake()
        assert receiver.wait(2)[1].arrived - began < dispatching_module.POLL_S / 2


def test_a_backlog_drains_while_new_events_go_first_to_whom_they_concern(config, receiver):
    with Receiver() as busy:
        webhook = hook(config, busy.url)
        with connection(), database.atomic():
            for number in range(600):
                happen(webhook, f"ch_{number % 20}", utcnow(), text=str(number))
        with dispatching(config) as dispatcher:
            busy.wait(50)
            fresh = happen(hook(config, receiver.url), now=utcnow())
            dispatcher.wake()
            receiver.wait(1)
            assert len(busy.requests) < 600
            busy.wait(600, timeout=60)
            assert settled(fresh).status == "delivered"
    for channel in range(20):
        mine = [int(body) for body in busy.bodies() if int(body) % 20 == channel]
        assert mine == sorted(mine)
    assert len(set(busy.bodies())) == 600
