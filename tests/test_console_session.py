"""The console's door: who is let in, for how long, and from where forms are taken."""

from dataclasses import replace

import pytest

from auth import FailedLogins
from db import utcnow
from models import Channel
from models_access import AuditEntry, Token
from routes.console.session import COOKIE, IDLE
from tests.conftest import ROOT_ID, ROOT_SECRET, installation, prepared_app
from tests.person import Person

HOME = "/console/channels"


@pytest.fixture
def stranger(app) -> Person:
    return Person(app)


def cookie_of(someone: Person) -> str:
    return someone.get_cookie(COOKIE).value


def is_in(someone: Person) -> bool:
    reply = someone.get(HOME)
    if reply.status_code == 303:
        assert reply.location.startswith("/?")
    return reply.status_code == 200


def test_the_right_token_leads_to_the_channels(stranger):
    reply = stranger.sign_in(ROOT_ID, ROOT_SECRET)
    assert (reply.status_code, reply.location) == (303, HOME)
    assert is_in(stranger)
    assert stranger.get("/").location == HOME


@pytest.mark.parametrize(
    ("token_id", "secret"), [(ROOT_ID, "wrong"), ("nobody", ROOT_SECRET), ("", ""), ("\0", "é")]
)
def test_other_credentials_do_not_and_the_id_is_not_lost(stranger, token_id, secret):
    reply = stranger.sign_in(token_id, secret)
    assert reply.status_code == 422
    assert "There is no such token, or the secret is another one." in reply.text
    assert "Set-Cookie" not in reply.headers
    assert ROOT_ID not in token_id or f'value="{token_id}"' in reply.text
    assert not is_in(stranger)


def test_wrong_secrets_count_towards_the_apis_limit_and_right_ones_always_pass(stranger, anonymous, now):
    for _ in range(FailedLogins.MOST):
        last = stranger.sign_in(ROOT_ID, "wrong")
    assert last.status_code == 429
    assert int(last.headers["Retry-After"]) > 0
    assert anonymous.get("/v1/live", auth=("root", "wrong")).status_code == 429
    assert stranger.sign_in(ROOT_ID, ROOT_SECRET).status_code == 303


def test_the_cookie_is_for_this_site_and_not_for_scripts_and_holds_no_secret(stranger, client):
    token = client.post("/v1/token", json={"role": "admin"}).json["data"]
    header = stranger.sign_in(token["id"], token["secret"]).headers["Set-Cookie"]
    assert "HttpOnly" in header
    assert "SameSite=Strict" in header
    assert "Secure" not in header
    row = Token.named(token["id"])
    for text in (token["secret"], row.secret_sha256):
        assert text not in header


def test_where_the_public_address_is_https_the_cookie_goes_nowhere_else(config):
    app = prepared_app(replace(config, public_url="https://live.example"))
    assert "Secure" in Person(app).sign_in(ROOT_ID, ROOT_SECRET).headers["Set-Cookie"]


def test_a_cookie_that_was_touched_opens_nothing(person):
    cookie = cookie_of(person)
    for forged in (cookie[:-2], "x" + cookie, "", "a.b", cookie.replace(".", "..")):
        person.set_cookie(COOKIE, forged)
        assert not is_in(person), forged


def test_a_cookie_of_another_installation_opens_nothing(person, stranger, tmp_path):
    other = Person(prepared_app(installation(tmp_path)))
    other.sign_in(ROOT_ID, ROOT_SECRET)
    stranger.set_cookie(COOKIE, cookie_of(other))
    assert not is_in(stranger)


def test_a_revoked_token_is_out_at_once(client, visitor):
    someone = visitor()
    assert is_in(someone)
    client.delete(f"/v1/token/{someone.token['id']}")
    assert not is_in(someone)


def test_a_token_that_has_expired_is_out(visitor, db):
    someone = visitor(expiresAt="2126-01-01T00:00:00Z")
    assert is_in(someone)
    Token.update(expires_at=utcnow()).where(Token.id == someone.token["id"]).execute()
    assert not is_in(someone)


def test_a_root_token_with_another_secret_is_another_token(person, config):
    other = Person(prepared_app(replace(config, token_secret="another-secret-of-the-root")))
    other.set_cookie(COOKIE, cookie_of(person))
    assert not is_in(other)


def test_who_does_nothing_for_twelve_hours_is_out(app, person):
    sessions = app.extensions["sessions"]
    cookie, now = cookie_of(person), utcnow()
    with app.test_request_context():
        assert sessions.read(cookie, now + IDLE - (IDLE / 100))
        assert sessions.read(cookie, now + IDLE + (IDLE / 100)) is None


def test_who_does_something_stays_and_a_page_that_asks_by_itself_does_nothing(app, person, monkeypatch):
    later = utcnow() + IDLE / 2
    monkeypatch.setattr("routes.console.door.utcnow", lambda: later)
    by_itself = person.get(f"{HOME}/rows", headers={"X-By-Itself": "1"})
    assert by_itself.status_code == 200
    assert "Set-Cookie" not in by_itself.headers
    assert "Set-Cookie" in person.get(HOME).headers
    with app.test_request_context():
        assert app.extensions["sessions"].read(cookie_of(person), later + IDLE * 0.9)
    assert "Set-Cookie" not in person.get(HOME).headers, "not with every click"


def test_signed_out_is_out_and_so_is_a_copy_of_the_cookie(person, stranger):
    stranger.set_cookie(COOKIE, cookie_of(person))
    assert is_in(stranger)
    reply = person.send("/sign-out", page=HOME)
    assert reply.location == "/?over=out"
    assert person.get_cookie(COOKIE) is None
    assert "You are signed out." in person.get(reply.location).text
    assert not is_in(stranger)


def test_who_comes_without_a_session_is_led_back_to_where_they_wanted(stranger):
    asked = stranger.get("/console/channels?status=live&page=2")
    page = stranger.get(asked.location)
    assert 'name="next" value="/console/channels?status=live&amp;page=2"' in page.text
    reply = stranger.sign_in(ROOT_ID, ROOT_SECRET, next="/console/channels?status=live&page=2")
    assert reply.location == "/console/channels?status=live&page=2"


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example/console/", "https://evil.example", "/docs", "\\\\evil", "console/x"]
)
def test_but_never_to_another_place(stranger, elsewhere):
    assert stranger.sign_in(ROOT_ID, ROOT_SECRET, next=elsewhere).location == HOME


def test_a_form_without_its_mark_changes_nothing(person, visitor, db):
    fields = {"name": "Forged", "accountId": "1"}
    for mark in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": mark_of(visitor(role="admin"))}):
        reply = person.post("/console/channels/new", data=fields | mark)
        assert reply.status_code == 403
        assert "This form is of another session" in reply.text
    assert Channel.select().count() == 0


def mark_of(someone: Person) -> str:
    return someone.get(HOME).text.partition('name="csrf" value="')[2].partition('"')[0]


@pytest.mark.parametrize(
    "sender",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_form_from_another_site_is_refused_at_every_door(person, stranger, sender, db):
    fields = {"name": "Forged", "csrf": mark_of(person)}
    assert person.post("/console/channels/new", data=fields, headers=sender).status_code == 403
    assert person.post("/sign-out", data=fields, headers=sender).status_code == 403
    assert is_in(person)
    credentials = {"id": ROOT_ID, "secret": ROOT_SECRET}
    assert stranger.post("/", data=credentials, headers=sender).status_code == 403
    assert Channel.select().count() == 0


def test_a_form_of_ours_may_say_where_it_comes_from(person):
    for origin in ("http://localhost", "http://live.example"):
        reply = person.post("/", data={"id": ROOT_ID, "secret": ROOT_SECRET}, headers={"Origin": origin})
        assert reply.status_code == 303


def test_a_session_is_nothing_to_the_api(person):
    assert person.get("/v1/live").status_code == 401


def test_what_is_done_in_the_console_is_done_by_its_token(visitor, db):
    someone = visitor()
    someone.send("/console/channels/new", name="Mine")
    entry = AuditEntry.get(AuditEntry.action == "create", AuditEntry.kind == "channel")
    assert entry.token_id == someone.token["id"]
    assert Token.named(someone.token["id"]).last_used_at


def test_the_address_that_the_start_prints_says_how_to_go_on(stranger):
    reply = stranger.get("/")
    assert reply.status_code == 200
    assert "http://live.example/v1/live" in reply.text
    assert "rtmp://live.example:1935/live" in reply.text


def test_a_wrong_address_is_a_page(person):
    for address in ("/console/nothing", "/console/channels/ch_00000000000000000000", "/console/a/b/c"):
        reply = person.get(address)
        assert (reply.status_code, reply.mimetype) == (404, "text/html")
        assert "Nothing here" in reply.text
        assert "Sign out" in reply.text


@pytest.mark.parametrize("address", ["/", HOME, "/console/nothing"])
def test_every_page_forbids_what_is_not_ours_and_to_be_framed(person, stranger, address):
    headers = (stranger if address == "/" else person).get(address).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin"
