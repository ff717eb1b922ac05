"""flask --app app webhook: list, test, replay, deliveries."""

import json
from datetime import timedelta

import pytest

from db import connection
from models import Delivery
from tests.outbox import T0, dispatching, happen, hook
from tests.receiver import Answer, Receiver


@pytest.fixture
def run(app):
    return lambda *arguments: app.test_cli_runner().invoke(args=["webhook", *arguments])


def test_the_list_names_every_webhook_and_no_secret(run, client, config):
    body = {"uri": "http://127.0.0.1:9/x", "event": "channel_live", "accountId": "acme"}
    made = client.post("/v1/webhook", json=body).json["data"]
    off = hook(config)
    client.patch(f"/v1/webhook/{off.id}", json={"active": False})
    listed = run("list").output
    assert f"{made['id']} http://127.0.0.1:9/x acme channel_live on" in " ".join(listed.split())
    assert "off: by hand" in listed
    assert made["secret"] not in listed + run("list", "--json").output
    assert [each["id"] for each in json.loads(run("list", "--json", "--account", "acme").output)] == [
        made["id"]
    ]


def test_a_test_tells_what_the_receiver_answered(run, config):
    with Receiver() as receiver, dispatching(config):
        told = run("test", hook(config, receiver.url).id)
    assert (told.exit_code, "answered 200" in told.output) == (0, True)
    assert json.loads(receiver.bodies()[0])["event"] == "test"


def test_a_test_that_does_not_arrive_is_a_failure(run, config):
    with Receiver(lambda request, number: Answer(500, body=b"broken")) as receiver, dispatching(config):
        told = run("test", hook(config, receiver.url).id, "--json")
        unreachable = run("test", hook(config).id)
    assert told.exit_code == unreachable.exit_code == 1
    assert [(each["status"], each["answer"]) for each in json.loads(told.output)["tries"]] == [
        (500, "broken")
    ]
    assert "no connection" in unreachable.output


def test_without_a_worker_a_test_says_so(run, config, app):
    told = run("test", hook(config).id, "--wait", "0")
    assert (told.exit_code, "is the box running?" in told.output) == (1, True)


def test_what_failed_is_replayed(run, config, app):
    webhook = hook(config)
    for number in range(3):
        happen(webhook, now=T0 + timedelta(hours=number))
    with connection():
        Delivery.update(status="failed").execute()
    assert (
        run("replay", webhook.id, "--since", "2025-11-24T11:00:00Z").output
        == "2 deliveries are on their way.\n"
    )
    assert json.loads(run("replay", webhook.id, "--since", "2025-11-24T11:00:00Z", "--json").output) == {
        "made": 0
    }


def test_deliveries_are_printed_with_what_came_of_the_last_try(run, config):
    with Receiver(lambda request, number: Answer(503)) as receiver, dispatching(config):
        webhook = hook(config, receiver.url)
        run("test", webhook.id)
        waiting = hook(config)
    with connection():
        Delivery.update(status="failed").execute()
    happen(waiting)
    assert "failed  answered 503, in " in run("deliveries", webhook.id).output
    assert "not tried yet" in run("deliveries", waiting.id).output
    (shown,) = json.loads(run("deliveries", webhook.id, "--status", "failed", "--json").output)
    assert shown["lastTry"]["status"] == 503
    assert json.loads(run("deliveries", webhook.id, "--status", "pending", "--json").output) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("test", "wh_no"), 1, "There is no webhook 'wh_no'"),
        (("deliveries", "wh_no"), 1, "There is no webhook 'wh_no'"),
        (("replay", "wh_no", "--since", "2026-01-01T00:00:00Z"), 1, "There is no webhook 'wh_no'"),
        (("replay", "wh_no", "--since", "soon"), 1, "since: Must be a time with a zone"),
        (("replay", "wh_no", "--since", "2026-01-01T00:00:00Z", "--status", "lost"), 1, "status: "),
        (("replay", "wh_no"), 2, "Missing option '--since'"),
        (("deliveries", "wh_no", "--length", "0"), 2, "--length"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(run, arguments, code, said):
    told = run(*arguments)
    assert (told.exit_code, said in told.output) == (code, True), told.output
    assert "Traceback" not in told.output


def test_the_help_says_what_each_is_for(run):
    told = run("--help").output
    for words in ("list", "test", "replay", "deliveries", "sent by the worker"):
        assert words in told
