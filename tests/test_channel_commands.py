"""flask --app app channel, session, event: what the API does, by hand and without a token."""

import json
import subprocess
import sys

import pytest

from db import connection
from models import Channel, Status
from tests.box import PROJECT, Encoder
from tests.envelope import refused


@pytest.fixture
def run(app):
    return lambda *arguments: app.test_cli_runner().invoke(args=arguments)


@pytest.fixture
def ask(run):
    """The JSON of a command that is done."""

    def asked(*arguments):
        told = run(*arguments, "--json")
        assert (told.exit_code, told.stderr) == (0, ""), told.output
        return json.loads(told.stdout)

    return asked


def test_a_channel_is_made_with_the_fields_of_the_api(run, ask, client):
    made = ask(
        *("channel", "create", "--name", " Concert ", "--tags", "a, b", "--record", "--no-catchup"),
        *("--thumb-width", "640", "--metadata", '{"room": 12}', "--account-id", "school"),
    )
    api = client.post("/v1/live", json={"name": "x"}).json["data"]
    assert made.keys() == api.keys()
    shown = client.get(f"/v1/live/{made['id']}").json["data"]
    assert (shown["name"], shown["tags"], shown["record"], shown["catchup"]) == (
        "Concert",
        ["a", "b"],
        True,
        False,
    )
    assert (shown["thumbWidth"], shown["metadata"], shown["accountId"]) == (640, {"room": 12}, "school")
    assert ask("channel", "show", made["id"]) == shown
    assert f"streamToken  {made['streamToken']}" in run("channel", "token", made["id"]).output


def test_what_is_left_out_is_as_the_api_has_it(ask, client):
    made = ask("channel", "create", "--name", "x")
    by_api = client.post("/v1/live", json={"name": "x"}).json["data"]
    one, other = (client.get(f"/v1/live/{each['id']}").json["data"] for each in (made, by_api))
    differing = {name for name in one if one[name] != other[name]}
    assert differing <= {"id", "createdAt", "updatedAt"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "--name", "x", "--mode", "fast"), "mode: Must be one of"),
        (("create", "--name", "x", "--thumb-width", "1", "--expire", "x"), "thumbWidth: Must be greater"),
        (("create", "--name", "x", "--start-at", "2001-01-01T00:00:00Z"), "startAt: Must be in the future."),
        (("create", "--name", "x", "--metadata", "[]"), "metadata: Must be a JSON object."),
        (("list", "--status", "on"), "status: Must be one of"),
        (("list", "--from", "2030-01-01T00:00:00Z", "--to", "now"), "from: Must not be after `to`."),
        (("update", "ch_no", "--name", "x"), "There is no channel 'ch_no'."),
        (("stop", "ch_no"), "There is no channel 'ch_no'."),
        (("delete", "ch_no"), "There is no channel 'ch_no'."),
        (("token", "ch_no"), "There is no channel 'ch_no'."),
        (("token", "ch_no", "--new"), "There is no channel 'ch_no'."),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(run, arguments, said):
    told = run("channel", *arguments)
    assert (told.exit_code, told.stdout, told.stderr.count("\n")) == (1, "", 1)
    assert said in told.stderr


def test_the_list_has_the_filters_of_the_api_and_says_when_it_goes_on(run, ask, client):
    for number in range(3):
        client.post("/v1/live", json={"name": f"Café {number}", "accountId": "school"})
    client.post("/v1/live", json={"name": "Other"})
    found = ask("channel", "list", "--query", "cafe", "--account-id", "school")
    assert found == client.get("/v1/live?query=cafe&accountId=school").json["data"]
    told = run("channel", "list", "--length", "2", "--json")
    assert len(json.loads(told.stdout)) == 2
    assert told.stderr == "2 of 4: --page 1 shows more.\n"
    assert run("channel", "list", "--length", "2", "--page", "1").stderr == ""


def test_a_change_is_made_and_null_is_written_none(ask, client, channel):
    moved = ask("channel", "update", channel["id"], "--start-at", "2099-01-01T00:00:00Z", "--dvr")
    assert (moved["status"], moved["dvr"]) == ("coming", True)
    back = ask("channel", "update", channel["id"], "--start-at", "none", "--no-dvr")
    assert (back["status"], back["dvr"], back["startAt"]) == ("init", False, None)
    assert client.get(f"/v1/live/{channel['id']}").json["data"] == back


def test_a_channel_is_stopped_and_then_removed(run, ask, client, channel):
    assert run("channel", "stop", channel["id"]).output == f"{channel['id']} has ended.\n"
    assert ask("channel", "show", channel["id"])["endReason"] == "stopped"
    assert ask("channel", "delete", channel["id"]) == {"id": channel["id"], "deleted": True}
    refused(client.get(f"/v1/live/{channel['id']}"), 404, 40400)


def test_the_token_is_read_or_replaced(run, ask, hooks, channel):
    assert ask("channel", "token", channel["id"])["streamToken"] == channel["streamToken"]
    assert hooks.publish(channel["streamToken"]).status_code == 302
    fresh = ask("channel", "token", channel["id"], "--new", "--disconnect")["streamToken"]
    assert fresh != channel["streamToken"]
    with connection():
        assert Channel.named(channel["id"]).status == Status.INIT
    assert hooks.publish(channel["streamToken"], 2).status_code == 403
    assert hooks.publish(fresh, 3).status_code == 302
    assert run("channel", "token", channel["id"], "--disconnect").exit_code == 2


def test_who_publishes_is_listed_and_who_did(run, ask, hooks, channel):
    hooks.publish(channel["streamToken"], 7)
    [now_publishing] = ask("session", "list")
    assert (now_publishing["channelId"], now_publishing["endReason"]) == (channel["id"], None)
    assert channel["id"] in run("session", "list").output
    hooks.publish_done(channel["streamToken"], 7)
    assert ask("session", "list") == []
    [over] = ask("session", "list", "--channel", channel["id"])
    assert (over["id"], over["endReason"]) == (now_publishing["id"], "left")
    assert run("session", "list", "--channel", "ch_no").exit_code == 1


def test_the_feed_is_what_the_api_answers_and_says_how_to_go_on(run, ask, client, hooks, channel):
    hooks.publish(channel["streamToken"], 7)
    hooks.publish_done(channel["streamToken"], 7)
    assert ask("event") == client.get("/v1/event").json["data"]
    told = run("event", "--length", "1")
    first = ask("event")[0]["eventId"]
    assert "channel_connected" in told.stdout
    assert told.stderr == f"1 of 2: --after {first} shows more.\n"
    assert [each["event"] for each in ask("event", "--after", str(first))] == ["channel_stop"]
    assert ask("event", "--channel-id", "ch_no") == []


@pytest.mark.box
def test_beside_a_running_box_a_stop_drops_the_publisher_at_once(box):
    made = box.create()
    with Encoder(box, made["streamToken"]) as encoder:
        box.await_status(made["id"], "live")
        command = [sys.executable, "-m", "flask", "--app", "app", "channel", "stop", made["id"]]
        subprocess.run(command, cwd=PROJECT, env=box.environment, check=True, capture_output=True)
        assert encoder.refused(3), "the worker was rung for"
    assert box.channel(made["id"])["endReason"] == "stopped"
