"""API tokens: made, shown once, listed, revoked; what each role and each account may do (contract, section 1)."""

from datetime import timedelta

import pytest

from auth import FailedLogins, ensure_root_token
from db import connection, utcnow
from models_access import AuditEntry, Token
from tests.conftest import ROOT_ID, basic
from tests.envelope import refused, wrong
from tests.story import after
from wire import iso

WRONG = {"Authorization": basic(ROOT_ID, "not-the-secret-at-all")}


def make(client, **fields) -> dict:
    reply = client.post("/v1/token", json={"role": "app"} | fields)
    assert reply.status_code == 201, reply.text
    return reply.json["data"]


# The resource.


def test_a_token_is_made_and_its_secret_shown_once(client):
    reply = client.post("/v1/token", json={"role": "app", "accountId": "acme", "name": " Billing "})
    made = reply.json["data"]
    assert reply.headers["Location"] == f"/v1/token/{made['id']}"
    assert list(made) == ["id", "secret", "role", "accountId", "expiresAt", "name", "createdAt"]
    assert (made["role"], made["accountId"], made["name"]) == ("app", "acme", "Billing")
    read = client.get(f"/v1/token/{made['id']}").json["data"]
    assert read.keys() == made.keys() - {"secret"} | {"lastUsedAt"}
    assert client.get("/v1/token").json["data"] == [read]


def test_the_secret_is_kept_as_a_hash_only(client, db):
    made = make(client)
    kept = Token.get(Token.id == made["id"])
    assert made["secret"] not in str(kept.__data__)
    assert len(made["secret"]) >= 43, "256 bits"


@pytest.mark.parametrize(
    ("body", "field", "status", "ec"),
    [
        ({}, "role", 400, 40001),
        ({"role": "root"}, "role", 422, 42200),
        ({"role": None}, "role", 422, 42200),
        ({"role": "app", "accountId": "a b"}, "accountId", 422, 42200),
        ({"role": "app", "expiresAt": "2001-01-01T00:00:00Z"}, "expiresAt", 422, 42200),
        ({"role": "app", "expiresAt": "soon"}, "expiresAt", 422, 42200),
        ({"role": "admin", "accountId": "acme"}, "accountId", 422, 42200),
        ({"role": "app", "secret": "mine"}, "secret", 422, 42200),
    ],
)
def test_a_wrong_token_is_refused_by_field(client, body, field, status, ec):
    assert wrong(client.post("/v1/token", json=body), status, ec) == {field}
    assert client.get("/v1/token").json["total"] == 0


def test_null_is_a_value_where_it_means_none(client):
    made = make(client, accountId=None, expiresAt=None)
    assert (made["accountId"], made["expiresAt"]) == (None, None)


def test_a_token_that_is_revoked_is_refused_and_gone(client, holder):
    app = holder()
    assert app.get("/v1/live").status_code == 200
    assert client.delete(f"/v1/token/{app.token['id']}").status_code == 204
    refused(app.get("/v1/live"), 401, 40100)
    refused(client.get(f"/v1/token/{app.token['id']}"), 404, 40400)
    refused(client.delete(f"/v1/token/{app.token['id']}"), 404, 40400)


def test_a_token_that_has_expired_is_refused(holder, monkeypatch):
    app = holder(expiresAt=iso(utcnow() + timedelta(hours=1)))
    assert app.get("/v1/live").status_code == 200
    monkeypatch.setattr("auth.utcnow", lambda: utcnow() + timedelta(hours=1))
    refused(app.get("/v1/live"), 401, 40100)


def test_the_last_use_is_known_to_the_minute(client, holder, monkeypatch):
    app, began = holder(), utcnow()

    def last_used() -> str | None:
        return client.get(f"/v1/token/{app.token['id']}").json["data"]["lastUsedAt"]

    assert last_used() is None
    app.get("/v1/live")
    first = last_used()
    assert iso(began) <= first <= iso(utcnow())
    app.get("/v1/live")
    assert last_used() == first, "not a write for every request"
    monkeypatch.setattr("auth.utcnow", lambda: utcnow() + timedelta(seconds=61))
    app.get("/v1/live")
    assert last_used() > first


# Roles.


def test_an_app_token_runs_channels_and_webhooks_but_not_the_installation(holder):
    app = holder()
    made = app.post("/v1/live", json={"name": "x"}).json["data"]
    assert app.get(f"/v1/live/{made['id']}/rtmp").json["data"]["streamToken"] == made["streamToken"]
    assert app.post("/v1/webhook", json={"uri": "http://a.example/", "event": "all"}).status_code == 201
    assert app.get("/v1/event").status_code == 200
    for path in ("/v1/token", "/v1/user", "/v1/audit", "/v1/statistics", "/v1/token/x", "/v1/user/1"):
        refused(app.get(path), 403, 40300)
    refused(app.post("/v1/token", json={"role": "admin"}), 403, 40300)
    refused(app.put("/v1/user/1", json={}), 403, 40300)


def test_a_reading_token_reads_and_sees_no_stream_token(client, channel, holder):
    reader, path = holder(role="read"), f"/v1/live/{channel['id']}"
    hook = client.post("/v1/webhook", json={"uri": "http://a.example/", "event": "all"}).json["data"]
    for readable in ("/v1/live", path, f"{path}/event", f"{path}/session", "/v1/webhook", "/v1/event"):
        assert reader.get(readable).status_code == 200, readable
    assert reader.head(path).status_code == 200
    refused(reader.get(f"{path}/rtmp"), 403, 40300)
    refused(reader.post("/v1/live", json={"name": "x"}), 403, 40300)
    for method in ("PUT", "PATCH", "DELETE"):
        refused(reader.open(path, method=method, json={}), 403, 40300)
        refused(reader.open(f"/v1/webhook/{hook['id']}", method=method, json={}), 403, 40300)
    refused(reader.post(f"{path}/token"), 403, 40300)
    assert client.get(path).json["data"]["status"] == "init"


def test_without_a_role_that_is_known_nobody_gets_in_by_options(anonymous):
    for path in ("/v1/live", "/v1/token", "/v1/statistics"):
        reply = anonymous.options(path)
        assert reply.status_code == 200
        assert reply.data == b""


# Accounts.


def test_a_bound_token_makes_channels_of_its_account(client, holder):
    acme = holder(accountId="acme")
    made = acme.post("/v1/live", json={"name": "x"}).json["data"]
    assert client.get(f"/v1/live/{made['id']}").json["data"]["accountId"] == "acme"
    assert acme.post("/v1/live", json={"name": "x", "accountId": "acme"}).status_code == 201
    refused(acme.post("/v1/live", json={"name": "x", "accountId": "1"}), 403, 40300)
    assert client.get("/v1/live").json["total"] == 2


def test_what_belongs_to_another_account_does_not_exist_for_a_bound_token(client, channel, holder):
    acme, path = holder(accountId="acme"), f"/v1/live/{channel['id']}"
    for method, call in (
        *(("GET", path + end) for end in ("", "/rtmp", "/session", "/event")),
        *((method, path) for method in ("PUT", "PATCH", "DELETE")),
        ("POST", f"{path}/token"),
    ):
        refused(acme.open(call, method=method, json={} if method != "GET" else None), 404, 40400)
    assert client.get(path).json["data"]["status"] == "init"


def test_a_bound_token_lists_its_own_and_may_not_ask_for_others(client, channel, holder):
    acme = holder(accountId="acme")
    mine = acme.post("/v1/live", json={"name": "mine"}).json["data"]
    body = acme.get("/v1/live").json
    assert ([item["id"] for item in body["data"]], body["total"]) == ([mine["id"]], 1)
    assert acme.get("/v1/live?accountId=acme").json["total"] == 1
    refused(acme.get("/v1/live?accountId=1"), 403, 40300)


# Wrong credentials.


def test_from_the_sixtieth_wrong_secret_in_a_minute_on_an_address_has_to_wait(anonymous, client):
    replies = [anonymous.get("/v1/live", headers=WRONG) for _ in range(61)]
    assert [reply.status_code for reply in replies] == [401] * 59 + [429] * 2
    refused(replies[-1], 429, 42900)
    assert 1 <= int(replies[-1].headers["Retry-After"]) <= 60
    assert client.get("/v1/live").status_code == 200, "right ones always pass"
    elsewhere = {"environ_overrides": {"REMOTE_ADDR": "192.0.2.9"}}
    assert anonymous.get("/v1/live", headers=WRONG, **elsewhere).status_code == 401


def test_sending_no_credentials_is_not_guessing(anonymous):
    assert {anonymous.get("/v1/live").status_code for _ in range(70)} == {401}
    assert anonymous.get("/v1/live", headers=WRONG).status_code == 401


def test_wrong_credentials_are_forgotten_after_a_minute(now):
    failed = FailedLogins()
    for second in range(59):
        assert failed.add("a", now + after(seconds=second)) is None
    assert failed.add("a", now + after(seconds=59)) == 1
    assert failed.add("a", now + after(seconds=60)) == 1, "the first one is forgotten, this one counts"
    assert failed.add("a", now + after(seconds=121)) is None


def test_addresses_without_end_take_no_memory_without_end(now, monkeypatch):
    monkeypatch.setattr(FailedLogins, "ADDRESSES", 10)
    failed = FailedLogins()
    for number in range(100):
        failed.add(str(number), now)
    assert list(failed.times) == [str(number) for number in range(90, 100)]


# The root token and the command line.


def test_a_root_token_is_made_where_nobody_could_be_admin(config, db, now):
    bare = type(config)(**{**config.__dict__, "token_id": None, "token_secret": None})
    token_id, secret = ensure_root_token(bare, now)
    assert ensure_root_token(bare, now) is None
    assert (Token.get().id, len(secret) >= 43) == (token_id, True)
    Token.update(role="app").execute()
    assert ensure_root_token(bare, now) is not None


def test_the_command_line_makes_lists_and_revokes_tokens(app, client, anonymous):
    run = app.test_cli_runner().invoke
    made = run(args=["token", "create", "--role", "read", "--account", "acme", "--name", "Wall"])
    assert made.exit_code == 0, made.output
    token_id, secret = (line.split()[1] for line in made.output.splitlines())
    headers = {"Authorization": basic(token_id, secret)}
    assert anonymous.get("/v1/live", headers=headers).status_code == 200
    listed = run(args=["token", "list"]).output
    assert all(word in listed for word in (token_id, "read", "acme", "Wall", "does not expire"))
    assert secret not in listed + run(args=["token", "list", "--json"]).output
    assert run(args=["token", "revoke", token_id]).exit_code == 0
    assert anonymous.get("/v1/live", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["token", "revoke", "tok_x"], "There is no token 'tok_x'"),
        (["token", "create", "--expires-at", "soon"], "expiresAt"),
        (["token", "create", "--role", "admin", "--account", "acme"], "bound to no account"),
    ],
)
def test_the_command_line_says_what_is_wrong(app, arguments, said):
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


def test_what_the_command_line_does_is_no_tokens_doing(app):
    app.test_cli_runner().invoke(args=["token", "create"])
    with connection():
        assert AuditEntry.select().count() == 0
