"""The webhook resource: create, read, list, update, delete, its secret, its deliveries."""

from base64 import b64encode
from datetime import timedelta

import pytest

from auth import digest
from db import connection, utcnow
from delivery import queue
from delivery.secretbox import SecretBox
from models import Delivery, Webhook
from models_access import Token
from tests.outbox import answered, claim, happen

EVERY = ["channel_connected", "channel_live", "channel_stop", "channel_ended", "channel_error", "video_ready"]
URI = "https://app.example/hooks?x=1"


@pytest.fixture
def make(client):
    def make(**fields):
        reply = client.post("/v1/webhook", json={"uri": URI, "event": "channel_live"} | fields)
        assert reply.status_code == 201, reply.json
        return reply.json["data"]

    return make


@pytest.fixture
def bound(app):
    """Sends the requests of a token that is bound to account `acme`."""
    with connection():
        Token.create(
            id="tok_acme", secret_sha256=digest("s" * 20), role="app", account_id="acme", created_at=utcnow()
        )
    headers = {"Authorization": "Basic " + b64encode(b"tok_acme:" + b"s" * 20).decode()}
    client = app.test_client()
    return lambda method, path, **more: client.open(path, method=method, headers=headers, **more)


def row(webhook):
    with connection():
        return Webhook.named(webhook["id"])


def delivery_of(webhook, outcome=None, **more):
    """A delivery of this webhook, tried once if an outcome is given."""
    written = happen(row(webhook), **more)
    if outcome:
        with connection():
            queue.record([(claim(row(webhook))[0], outcome)], outcome.time, lambda: 0.5)
    return written


def test_a_webhook_is_created_with_a_secret_that_is_shown_once(client, make, config):
    reply = client.post("/v1/webhook", json={"uri": URI, "event": "channel_live,channel_ended"})
    made = reply.json["data"]
    assert reply.headers["Location"] == f"/v1/webhook/{made['id']}"
    assert made["event"] == ["channel_live", "channel_ended"]
    assert (made["uri"], made["active"], made["description"], made["accountId"]) == (URI, True, "", None)
    assert made["secret"].startswith("whsec_")
    shown = client.get(f"/v1/webhook/{made['id']}").json["data"]
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert "secret" not in client.get("/v1/webhook").get_data(as_text=True)
    assert made["secret"] not in row(made).secret
    assert SecretBox(config.keys_dir).decrypt(row(made).secret) == made["secret"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("all", EVERY),
        (["all"], EVERY),
        ("video_ready, channel_live ,channel_live", ["channel_live", "video_ready"]),
        (["channel_stop"], ["channel_stop"]),
        (["channel_stop", "all"], EVERY),
    ],
)
def test_events_are_kept_each_once_and_all_is_every_one(make, sent, kept):
    assert make(event=sent)["event"] == kept


def test_a_form_is_taken_as_well(client):
    reply = client.post("/v1/webhook", data={"uri": URI, "event": "channel_live", "active": "false"})
    assert reply.status_code == 201
    assert reply.json["data"]["active"] is False


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        ({}, 400, {"uri", "event"}),
        ({"uri": URI}, 400, {"event"}),
        ({"uri": "ftp://x/"}, 400, {"uri", "event"}),
        ({"uri": URI, "event": ""}, 422, {"event"}),
        ({"uri": URI, "event": []}, 422, {"event"}),
        ({"uri": URI, "event": "channel_live,nothing"}, 422, {"event"}),
        ({"uri": URI, "event": "test"}, 422, {"event"}),
        ({"uri": URI, "event": None}, 422, {"event"}),
        ({"uri": None, "event": "all"}, 422, {"uri"}),
        ({"uri": 1, "event": "all"}, 422, {"uri"}),
        ({"uri": "javascript:alert(1)", "event": "all"}, 422, {"uri"}),
        ({"uri": "http://user:word@x/", "event": "all"}, 422, {"uri"}),
        ({"uri": "http://169.254.169.254/", "event": "all"}, 422, {"uri"}),
        ({"uri": "http://[::ffff:a9fe:a9fe]/", "event": "all"}, 422, {"uri"}),
        ({"uri": "http://127.0.0.1:8000/v1/live", "event": "all"}, 422, {"uri"}),
        ({"uri": "http://x/" + "a" * 2040, "event": "all"}, 422, {"uri"}),
        ({"uri": URI, "event": "all", "active": "yes"}, 422, {"active"}),
        ({"uri": URI, "event": "all", "description": None}, 422, {"description"}),
        ({"uri": URI, "event": "all", "description": "a\u0000"}, 422, {"description"}),
        ({"uri": URI, "event": "all", "accountId": "a b"}, 422, {"accountId"}),
        ({"uri": URI, "event": "all", "secret": "whsec_mine"}, 422, {"secret"}),
    ],
)
def test_a_wrong_body_is_refused_by_field(client, body, status, fields):
    reply = client.post("/v1/webhook", json=body)
    assert reply.status_code == status
    assert reply.json["ec"] == (40001 if status == 400 else 42200)
    assert set(reply.json["errors"]) == fields
    assert client.get("/v1/webhook").json["total"] == 0


def test_a_receiver_beside_us_is_allowed_by_default(make):
    assert make(uri="http://127.0.0.1:9000/hook")


def test_the_list_is_paged_and_filtered_by_any_of_the_events(client, make):
    live, ended, every = make(), make(event="channel_ended"), make(event="all")

    def listed(query):
        reply = client.get(f"/v1/webhook?{query}").json
        assert reply["length"] == len(reply["data"])
        return [each["id"] for each in reply["data"]], reply["total"]

    assert listed("") == ([live["id"], ended["id"], every["id"]], 3)
    assert listed("length=2&page=1") == ([every["id"]], 3)
    assert listed("event=channel_live") == ([live["id"], every["id"]], 2)
    assert listed("event=channel_live,channel_ended") == ([live["id"], ended["id"], every["id"]], 3)
    assert listed("event=video_ready") == ([every["id"]], 1)
    assert listed("event=all") == ([live["id"], ended["id"], every["id"]], 3)


@pytest.mark.parametrize(
    "query", ["page=-1", "length=0", "length=101", "event=x", "colour=red", "page=1&page=2"]
)
def test_a_wrong_query_is_refused(client, query):
    assert client.get(f"/v1/webhook?{query}").status_code == 422


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_update_changes_what_is_sent_and_event_replaces_the_set(client, make, method):
    made = make(event="all", description="mine")
    path = f"/v1/webhook/{made['id']}"
    changed = client.open(path, method=method, json={"event": "channel_stop", "accountId": "acme"})
    assert changed.status_code == 200
    shown = client.get(path).json["data"]
    assert changed.json["data"] == shown
    assert (shown["event"], shown["accountId"], shown["description"]) == (["channel_stop"], "acme", "mine")
    assert client.open(path, method=method, json={"accountId": None}).json["data"]["accountId"] is None
    assert client.open(path, method=method, json={}).status_code == 200
    assert client.open(path, method=method, json={"uri": None}).status_code == 422
    assert client.open(path, method=method, json={"uri": "http://169.254.169.254/"}).status_code == 422
    assert client.open(path, method=method, json={"event": []}).status_code == 422
    assert client.open(path, method=method, json={"id": "wh_other"}).status_code == 422


def test_turned_off_by_its_receiver_it_says_why_and_can_be_turned_on_again(client, make):
    made = make()
    delivery_of(made, answered(410))
    shown = client.get(f"/v1/webhook/{made['id']}").json["data"]
    assert shown["active"] is False
    assert "410" in shown["disabledReason"]
    again = client.patch(f"/v1/webhook/{made['id']}", json={"active": True}).json["data"]
    assert (again["active"], again["disabledReason"], again["failingSince"]) == (True, None, None)


def test_turned_off_by_hand_its_pending_deliveries_are_cancelled(client, make):
    made = make()
    delivery_of(made)
    assert client.patch(f"/v1/webhook/{made['id']}", json={"active": False}).json["data"]["active"] is False
    assert [each["status"] for each in listed(client, made)] == ["cancelled"]


def test_deleting_cancels_what_is_pending_and_keeps_what_was(client, make):
    made, other = make(), make()
    delivery_of(made, answered(200))
    delivery_of(made)
    kept = delivery_of(other)
    assert client.delete(f"/v1/webhook/{made['id']}").status_code == 204
    with connection():
        assert [each.status for each in Delivery.select().order_by(Delivery.pk)] == [
            "delivered",
            "cancelled",
            "pending",
        ]
        assert Delivery.get_by_id(kept.pk).next_at
    for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("GET", "/delivery"), ("POST", "/test")):
        assert client.open(f"/v1/webhook/{made['id']}{path}", method=method).status_code == 404


def test_single_events_are_taken_off_and_with_the_last_one_the_webhook(client, make):
    path = f"/v1/webhook/{make(event='all')['id']}"
    left = client.delete(f"{path}?event=channel_live,video_ready")
    assert left.status_code == 200
    assert left.json["data"]["event"] == [
        name for name in EVERY if name not in ("channel_live", "video_ready")
    ]
    assert client.delete(f"{path}?event=channel_live").json["data"] == left.json["data"]
    assert client.delete(f"{path}?event=").status_code == 422
    assert client.delete(f"{path}?event=nothing").status_code == 422
    assert client.delete(f"{path}?event=all").status_code == 204
    assert client.get(path).status_code == 404


def test_a_new_secret_is_shown_once_and_the_old_one_signs_for_a_day(client, make, config):
    made = make()
    reply = client.post(f"/v1/webhook/{made['id']}/secret")
    fresh = reply.json["data"]["secret"]
    box = SecretBox(config.keys_dir)
    assert reply.status_code == 200
    assert fresh != made["secret"]
    assert [box.decrypt(row(made).secret), box.decrypt(row(made).old_secret)] == [fresh, made["secret"]]
    assert timedelta(hours=23, minutes=59) < row(made).old_secret_until - utcnow() <= timedelta(hours=24)
    delivery_of(made)
    assert len(claim(row(made), utcnow())[0].secrets) == 2
    delivery_of(made, channel_id="ch_b")
    assert len(claim(row(made), utcnow() + timedelta(hours=25), most=1)[0].secrets) == 1


def listed(client, webhook, query=""):
    return client.get(f"/v1/webhook/{webhook['id']}/delivery{query}").json["data"]


def test_deliveries_are_listed_newest_first_and_filtered(client, make):
    made, other = make(), make()
    first = delivery_of(made, answered(200))
    second = delivery_of(made, answered(500), channel_id="ch_b")
    delivery_of(other)
    shown = listed(client, made)
    assert [each["id"] for each in shown] == [second.id, first.id]
    assert shown[1] == {
        "id": first.id,
        "eventId": first.event_id,
        "event": "channel_live",
        "channelId": "ch_a",
        "status": "delivered",
        "attempts": 1,
        "createdAt": "2025-11-24T10:00:00.000Z",
        "nextAt": None,
    }
    assert shown[0]["nextAt"] == "2025-11-24T10:00:05.000Z"
    for query, expected in (
        ("status=pending", [second.id]),
        ("status=pending,delivered", [second.id, first.id]),
        ("status=failed", []),
        ("channelId=ch_a", [first.id]),
        ("event=channel_live", [second.id, first.id]),
        ("event=test", []),
        ("length=1&page=1", [first.id]),
    ):
        assert [each["id"] for each in listed(client, made, f"?{query}")] == expected, query
    assert client.get(f"/v1/webhook/{made['id']}/delivery?status=lost").status_code == 422


def test_a_delivery_is_shown_with_every_try(client, make):
    made = make()
    tried = delivery_of(made, answered(500, answer=b"broken \xff", error=None))
    shown = client.get(f"/v1/webhook/{made['id']}/delivery/{tried.id}").json["data"]
    assert shown["id"] == tried.id
    assert shown["tries"] == [
        {
            "number": 1,
            "time": "2025-11-24T10:00:00.000Z",
            "status": 500,
            "latency": 5,
            "answer": "broken \ufffd",
            "error": None,
        }
    ]


def test_a_delivery_is_sent_again_as_a_new_one_of_the_same_event(client, make):
    made = make()
    first = delivery_of(made, answered(200))
    reply = client.post(f"/v1/webhook/{made['id']}/delivery/{first.id}/redeliver")
    new = reply.json["data"]
    assert reply.status_code == 201
    assert reply.headers["Location"] == f"/v1/webhook/{made['id']}/delivery/{new['id']}"
    assert client.get(reply.headers["Location"]).json["data"]["status"] == "pending"
    assert (new["eventId"], new["event"], new["channelId"]) == (first.event_id, "channel_live", "ch_a")
    (job,) = claim(row(made), utcnow())
    assert job.message_id == f"msg_{first.event_id}_{made['id']}"


def test_a_test_is_delivered_and_is_no_event(client, make):
    made = make(active=False)
    reply = client.post(f"/v1/webhook/{made['id']}/test")
    sent = reply.json["data"]
    assert reply.status_code == 201
    assert (sent["event"], sent["eventId"], sent["channelId"], sent["status"]) == (
        "test",
        None,
        None,
        "pending",
    )
    assert [each["id"] for each in listed(client, made, "?event=test")] == [sent["id"]]
    (job,) = claim(row(made), utcnow())
    assert b'"event":"test"' in job.body
    again = client.post(f"/v1/webhook/{made['id']}/delivery/{sent['id']}/redeliver").json["data"]
    assert (again["event"], again["eventId"]) == ("test", None)


def test_what_is_not_there_is_404(client, make):
    path, other = f"/v1/webhook/{make()['id']}", make()
    foreign = delivery_of(other).id
    for method, url in (
        ("GET", "/v1/webhook/wh_nothing"),
        ("PATCH", "/v1/webhook/wh_nothing"),
        ("POST", "/v1/webhook/wh_nothing/secret"),
        ("GET", "/v1/webhook/wh_nothing/delivery"),
        ("GET", f"{path}/delivery/dlv_nothing"),
        ("GET", f"{path}/delivery/{foreign}"),
        ("POST", f"{path}/delivery/{foreign}/redeliver"),
        ("GET", f"{path}/"),
    ):
        reply = client.open(url, method=method)
        assert (reply.status_code, reply.json["ec"]) == (404, 40400), url


def test_another_method_is_405(client, make):
    path = f"/v1/webhook/{make()['id']}"
    for method, url in (
        ("DELETE", "/v1/webhook"),
        ("POST", path),
        ("GET", f"{path}/test"),
        ("GET", f"{path}/secret"),
        ("POST", f"{path}/delivery"),
    ):
        reply = client.open(url, method=method)
        assert (reply.status_code, reply.json["ec"]) == (405, 40500), url
        assert reply.headers["Allow"]


def test_without_a_token_nothing_is_answered(anonymous, make):
    path = f"/v1/webhook/{make()['id']}"
    for method, url in (
        ("GET", "/v1/webhook"),
        ("POST", "/v1/webhook"),
        ("GET", path),
        ("POST", f"{path}/test"),
    ):
        assert anonymous.open(url, method=method).status_code == 401


def test_actions_take_no_fields(client, make):
    path = f"/v1/webhook/{make()['id']}"
    assert client.post(f"{path}/test", json={}).status_code == 201
    assert client.post(f"{path}/test", json={"now": True}).status_code == 422
    assert client.post(f"{path}/secret?old=1").status_code == 422


def test_a_bound_token_sees_and_makes_webhooks_of_its_account_only(client, make, bound):
    free, foreign = make(), make(accountId="other")
    body = {"uri": URI, "event": "all"}
    own = bound("POST", "/v1/webhook", json=body).json["data"]
    assert own["accountId"] == "acme"
    assert bound("POST", "/v1/webhook", json=body | {"accountId": "acme"}).status_code == 201
    for account in ("other", None):
        assert bound("POST", "/v1/webhook", json=body | {"accountId": account}).status_code == 403
        assert bound("PATCH", f"/v1/webhook/{own['id']}", json={"accountId": account}).status_code == 403
    assert bound("GET", "/v1/webhook").json["total"] == 2
    for each in (free, foreign):
        for method, path in (
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("GET", "/delivery"),
            ("POST", "/secret"),
        ):
            assert bound(method, f"/v1/webhook/{each['id']}{path}").status_code == 404
    assert client.get("/v1/webhook").json["total"] == 4
