"""The audit log: which token did what, when, from where (contract, section 6)."""

from datetime import timedelta

from db import utcnow
from live.retention import forget
from models_access import AuditEntry
from tests.conftest import ROOT_ID
from tests.envelope import refused
from tests.story import after, new

PLACES = {"environ_overrides": {"REMOTE_ADDR": "192.0.2.9"}, "headers": {"X-Request-Id": "my-request"}}


def log(client, **query) -> list[tuple[str, str]]:
    found = client.get("/v1/audit", query_string=query).json["data"]
    return [(entry["kind"], entry["action"]) for entry in reversed(found)]


def test_what_a_token_does_to_a_channel_is_on_record(client):
    path = "/v1/live/" + client.post("/v1/live", json={"name": "x"}).json["data"]["id"]
    client.put(path, json={"name": "y"})
    client.get(path)
    client.get(f"{path}/rtmp")
    client.post(f"{path}/token")
    client.delete(path)
    client.delete(f"{path}?delete=true")
    actions = ["create", "update", "read_stream_token", "reset_token", "stop", "delete"]
    assert log(client) == [("channel", action) for action in actions]


def test_an_entry_says_who_when_and_from_where(client, holder):
    acme, began = holder(accountId="acme"), utcnow()
    made = acme.post("/v1/live", json={"name": "x"}, **PLACES).json["data"]
    entry = client.get("/v1/audit?kind=channel").json["data"][0]
    assert entry.pop("time") >= began.isoformat()[:19]
    assert entry == {
        "tokenId": acme.token["id"],
        "accountId": "acme",
        "action": "create",
        "kind": "channel",
        "target": made["id"],
        "clientIp": "192.0.2.9",
        "requestId": "my-request",
    }


def test_webhooks_users_and_tokens_are_on_record_too(client):
    hook = {"uri": "http://a.example/", "event": "channel_live,channel_stop"}
    path = "/v1/webhook/" + client.post("/v1/webhook", json=hook).json["data"]["id"]
    client.put(path, json={"description": "x"})
    client.post(f"{path}/secret")
    client.delete(f"{path}?event=channel_live")
    client.delete(path)
    client.put("/v1/user/acme", json={})
    client.put("/v1/user/acme", json={"name": "Acme"})
    client.delete("/v1/user/acme")
    token = client.post("/v1/token", json={"role": "read"}).json["data"]["id"]
    client.delete(f"/v1/token/{token}")
    assert log(client) == [
        *(("webhook", action) for action in ("create", "update", "rotate_secret", "update", "delete")),
        *(("user", action) for action in ("create", "update", "delete")),
        *(("token", action) for action in ("create", "revoke")),
    ]


def test_what_changes_nothing_is_not_on_record(client, channel):
    path = f"/v1/live/{channel['id']}"
    client.put(path, json={})
    client.put(path, json={"name": "A channel"})
    client.post("/v1/live", json={"name": ""})
    client.post("/v1/live", json={"name": "x", "streamToken": channel["streamToken"]})
    client.delete(path)
    client.delete(path)
    assert log(client) == [("channel", "create"), ("channel", "stop")]


def test_a_create_sent_again_is_one_entry(client):
    for _ in range(2):
        client.post("/v1/live", json={"name": "x"}, headers={"Idempotency-Key": "k"})
    assert log(client) == [("channel", "create")]


def test_a_secret_is_never_on_record(client, channel, db):
    client.get(f"/v1/live/{channel['id']}/rtmp")
    token = client.post("/v1/token", json={"role": "app"}).json["data"]
    rows = str([entry.__data__ for entry in AuditEntry.select()])
    assert channel["streamToken"] not in rows
    assert token["secret"] not in rows


def test_the_log_is_filtered_and_paged(client, holder):
    app = holder()
    for name in "abc":
        app.post("/v1/live", json={"name": name})
    assert len(log(client, tokenId=app.token["id"])) == 3
    assert len(log(client, tokenId=ROOT_ID)) == 1
    assert log(client, action="create", kind="channel", length="2") == [("channel", "create")] * 2
    assert log(client, accountId="acme") == []
    assert len(log(client, to="now")) == 4
    assert log(client, **{"from": "2100-01-01T00:00:00Z"}) == []
    refused(client.get("/v1/audit?from=now&to=2001-01-01T00:00:00Z"), 422, 42200)


def test_a_timer_is_nobodys_doing(client, lifecycle, now):
    new(lifecycle, now, expire=60)
    assert lifecycle.run_due(now + after(seconds=60)) == 1
    assert log(client) == []


def test_the_log_is_kept_for_ninety_days(config, client, channel, db):
    assert forget(config.kept_for, utcnow() + timedelta(days=89)) == 0
    assert forget(config.kept_for, utcnow() + timedelta(days=91)) >= 1
    assert log(client) == []
