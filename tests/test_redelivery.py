"""What failed is sent once more: all of it since a time, each event once, in order (contract, section 3, ext)."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest

from db import connection, utcnow
from delivery import queue, redelivery, webhooks
from errors import NotFoundError
from models import Delivery, DeliveryStatus, Webhook
from models_access import AuditEntry
from tests.outbox import T0, again, answered, claim, dispatching, happen, hook, settled
from tests.receiver import Receiver

pytestmark = pytest.mark.usefixtures("app")
SINCE = "2025-11-24T10:00:00Z"


def ended(webhook, status, channel="ch_a", now=T0, text="{}"):
    """A delivery that is over, with this status."""
    made = happen(webhook, channel, now, text)
    with connection():
        Delivery.update(status=status, next_at=None).where(Delivery.pk == made.pk).execute()
    return made


def replay(client, webhook, **body):
    return client.post(f"/v1/webhook/{webhook.id}/redeliver", json={"since": SINCE} | body)


def made_of(webhook):
    """The events of the deliveries that are pending, as they stand in line."""
    with connection():
        return [
            row.event_id
            for row in Delivery.some("webhook_id = ? AND status = 'pending' ORDER BY pk", webhook.id)
        ]


def test_every_event_that_failed_since_then_is_sent_once_more_and_no_other(client, config):
    webhook, other = hook(config), hook(config)
    ended(webhook, "failed", now=T0 - timedelta(milliseconds=1))
    wanted = [ended(webhook, "failed"), ended(webhook, "failed", "ch_b")]
    for status in ("delivered", "cancelled"):
        ended(webhook, status)
    ended(other, "failed")
    reply = replay(client, webhook)
    assert (reply.status_code, reply.json["data"]) == (200, {"made": 2, "left": 0})
    assert made_of(webhook) == [row.event_id for row in wanted]
    assert made_of(other) == []
    jobs = claim(webhook, utcnow())
    assert [job.message_id for job in jobs] == [f"msg_{row.event_id}_{webhook.id}" for row in wanted]


def test_asked_again_nothing_is_sent_twice(client, config):
    webhook = hook(config)
    first = ended(webhook, "failed")
    assert replay(client, webhook).json["data"]["made"] == 1
    assert replay(client, webhook).json["data"]["made"] == 0
    with connection():
        Delivery.update(status="failed").where(Delivery.pk > first.pk).execute()
    assert replay(client, webhook).json["data"]["made"] == 1, "an event that failed twice is one event"
    with connection():
        Delivery.update(status="delivered").where(Delivery.status == "pending").execute()
    assert replay(client, webhook).json["data"]["made"] == 0, "it arrived after all"


def test_what_was_cancelled_or_delivered_is_sent_where_it_is_asked_for(client, config):
    webhook = hook(config)
    rows = {status: ended(webhook, status) for status in ("failed", "cancelled", "delivered")}
    assert replay(client, webhook, status="cancelled").json["data"]["made"] == 1
    assert made_of(webhook) == [rows["cancelled"].event_id]
    assert replay(client, webhook, status=["failed", "delivered"]).json["data"]["made"] == 2


def test_a_test_is_no_event_to_send_again(client, config):
    webhook = hook(config)
    with connection():
        redelivery.test(webhook, T0)
        Delivery.update(status="failed").execute()
    assert replay(client, webhook).json["data"]["made"] == 0


def test_they_arrive_in_the_order_of_their_channel_and_hold_up_nothing_new(config, client):
    with Receiver() as receiver:
        webhook = hook(config, receiver.url)
        for number in range(60):
            ended(webhook, "failed", f"ch_{number % 3}", text=str(number))
        replay(client, webhook)
        fresh = happen(webhook, "ch_0", utcnow(), '"new"')
        with dispatching(config):
            receiver.wait(61)
            assert settled(fresh).status == "delivered"
    old = [int(body) for body in receiver.bodies() if body != b'"new"']
    for channel in range(3):
        mine = [number for number in old if number % 3 == channel]
        assert mine == sorted(mine)
    assert len(old) == len(set(old)) == 60


def test_one_call_does_so_many_and_says_how_many_are_left(client, config, monkeypatch):
    monkeypatch.setattr(redelivery, "IN_ONE_CALL", 7)
    monkeypatch.setattr(redelivery, "AT_ONCE", 3)
    webhook = hook(config)
    rows = [ended(webhook, "failed") for _ in range(10)]
    assert replay(client, webhook).json["data"] == {"made": 7, "left": 3}
    assert replay(client, webhook).json["data"] == {"made": 3, "left": 0}
    assert made_of(webhook) == [row.event_id for row in rows]


def test_it_is_recorded_once_with_who_did_it(client, config):
    webhook = hook(config)
    replay(client, webhook)
    ended(webhook, "failed")
    replay(client, webhook)
    with connection():
        entries = AuditEntry.some("kind = 'webhook'")
    assert [(each.action, each.target) for each in entries] == [("redeliver", webhook.id)]


def test_a_webhook_that_is_off_has_to_be_turned_on_first(client, config):
    webhook = hook(config)
    ended(webhook, "failed")
    client.patch(f"/v1/webhook/{webhook.id}", json={"active": False})
    reply = replay(client, webhook)
    assert (reply.status_code, reply.json["ec"]) == (422, 42200)
    assert "turn it on" in reply.json["msg"]
    assert made_of(webhook) == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "since"),
        ({"since": "yesterday"}, 422, "since"),
        ({"since": None}, 422, "since"),
        ({"since": SINCE, "status": "pending"}, 422, "status"),
        ({"since": SINCE, "status": []}, 422, "status"),
        ({"since": SINCE, "until": SINCE}, 422, "until"),
    ],
)
def test_a_wrong_body_is_refused_by_field(client, config, body, status, field):
    reply = client.post(f"/v1/webhook/{hook(config).id}/redeliver", json=body)
    assert (reply.status_code, set(reply.json["errors"])) == (status, {field})


def test_another_accounts_webhook_is_404_and_a_reading_token_may_not(client, config, holder):
    webhook = hook(config)
    path = f"/v1/webhook/{webhook.id}/redeliver"
    assert holder(accountId="acme").post(path, json={"since": SINCE}).status_code == 404
    assert holder(role="read").post(path, json={"since": SINCE}).status_code == 403
    assert client.post("/v1/webhook/wh_no/redeliver", json={"since": SINCE}).status_code == 404


def test_a_webhook_removed_at_the_same_moment_leaves_no_delivery_that_waits_for_ever(config):
    """What was looked up before the removal must not be written after it: nobody would ever claim it."""
    webhook = hook(config)
    delivery = ended(webhook, "failed")
    with connection():
        webhooks.remove(webhook, T0)
        for act in (
            lambda: redelivery.test(webhook, T0),
            lambda: redelivery.redeliver(delivery, T0),
            lambda: redelivery.redeliver_since(webhook, T0, ["failed"], T0),
        ):
            with pytest.raises(NotFoundError):
                act()
        assert Delivery.some("status = 'pending'") == []


def test_at_most_a_hundred_webhooks_of_an_account_and_races_make_no_more(client, config):
    fields = {"uri": "http://127.0.0.1:9/", "event": ["all"], "active": True, "description": ""}
    with connection():
        for _ in range(webhooks.MOST_WEBHOOKS - 2):
            webhooks.create(fields, "acme", config, T0)
    together, answers = Barrier(6), []

    def add():
        together.wait()
        body = {"uri": "http://127.0.0.1:9/", "event": "all", "accountId": "acme"}
        answers.append(client.application.test_client().post("/v1/webhook", json=body, headers=root))

    root = {"Authorization": client.get("/v1").request.headers["Authorization"]}
    threads = [Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.status_code for each in answers) == [201, 201, 422, 422, 422, 422]
    assert all("up to 100 webhooks" in each.json["msg"] for each in answers if each.status_code == 422)
    elsewhere = client.post("/v1/webhook", json={"uri": "http://127.0.0.1:9/", "event": "all"}).json["data"]
    moved = client.patch(f"/v1/webhook/{elsewhere['id']}", json={"accountId": "acme"})
    assert (moved.status_code, moved.json["ec"]) == (422, 42200)
    with connection():
        assert len(Webhook.some("account_id = 'acme'")) == webhooks.MOST_WEBHOOKS


def test_pending_deliveries_of_a_webhook_that_is_turned_off_are_shown_as_cancelled(client, config):
    webhook = hook(config)
    for number in range(3):
        happen(webhook, f"ch_{number}")
    job = claim(webhook, most=1)[0]
    with connection():
        queue.record([(job, answered(410))], T0, lambda: 0.5)
    shown = client.get(f"/v1/webhook/{webhook.id}/delivery").json["data"]
    assert [each["status"] for each in shown] == ["cancelled", "cancelled", "failed"]
    assert [each["nextAt"] for each in shown] == [None] * 3
    client.patch(f"/v1/webhook/{webhook.id}", json={"active": True})
    assert replay(client, webhook, status="failed,cancelled").json["data"]["made"] == 3
    assert again(job_row(job)).status == DeliveryStatus.FAILED, "the first one stays what it was"


def job_row(job):
    with connection():
        return Delivery.one("pk = ?", job.pk)
