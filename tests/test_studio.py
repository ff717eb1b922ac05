"""The studio link: a page for the broadcaster, who has no API token."""

import hashlib
import re
from datetime import timedelta

import pytest

from db import utcnow
from models import Session
from models_access import AuditEntry
from models_studio import StudioLink
from routes.studio import health_in_words
from tests.browser import chromium
from tests.serving import served
from tests.test_console_pages import LOOKS, World, findings, look


@pytest.fixture
def link(client, channel) -> str:
    """The path of a studio page just made."""
    made = client.post(f"/v1/live/{channel['id']}/studio", json={})
    assert made.status_code == 201
    return made.json["data"]["studioUrl"].removeprefix("http://live.example")


def state(anonymous, link) -> dict:
    return anonymous.get(f"{link}/state").json


def test_a_link_is_an_address_below_studio_that_works_for_a_day(client, channel):
    reply = client.post(f"/v1/live/{channel['id']}/studio")
    made = reply.json["data"]
    assert re.fullmatch(r"http://live\.example/studio/[A-Za-z0-9_-]{43}", made["studioUrl"])
    assert reply.headers["Location"] == made["studioUrl"]
    link = StudioLink.get()
    assert link.expires_at - link.created_at == timedelta(days=1)


@pytest.mark.parametrize("seconds", [59, 604_801, "60", None])
def test_a_time_that_is_none_is_refused(client, channel, seconds):
    reply = client.post(f"/v1/live/{channel['id']}/studio", json={"expiresIn": seconds})
    assert (reply.status_code, list(reply.json["errors"])) == (422, ["expiresIn"])


def test_the_page_shows_the_server_and_the_channel_to_whoever_has_the_link(anonymous, link):
    page = anonymous.get(link)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "A channel" in page.text
    assert 'value="rtmp://live.example:1935/live"' in page.text


def test_the_stream_key_is_not_in_the_page_but_told_when_asked_for_and_that_is_recorded(
    anonymous, channel, link, db
):
    assert channel["streamToken"] not in anonymous.get(link).text
    assert channel["streamToken"] not in anonymous.get(f"{link}/state").text
    assert anonymous.post(f"{link}/key").json == {"key": channel["streamToken"]}
    told = AuditEntry.select().order_by(AuditEntry.pk.desc()).get()
    assert (told.action, told.kind, told.target) == ("read_stream_token", "channel", channel["id"])
    assert told.token_id == StudioLink.get().id


def test_nothing_of_the_page_is_kept_or_passed_on_or_framed(anonymous, link):
    for reply in (anonymous.get(link), anonymous.get(f"{link}/state"), anonymous.post(f"{link}/key")):
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
    policy = anonymous.get(link).headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_the_state_tells_the_broadcaster_how_it_is(anonymous, client, channel, hooks, lifecycle, link, now):
    assert state(anonymous, link)["headline"] == "Waiting for your signal"
    hooks.publish(channel["streamToken"])
    assert state(anonymous, link)["headline"] == "Your signal arrives"
    session = Session.get()
    lifecycle.playable(session.id, utcnow())
    live = state(anonymous, link)
    assert (live["status"], live["headline"], live["sending"]) == ("live", "You are live", True)
    assert live["url"].endswith("/master.m3u8")
    lifecycle.unpublish(session.connection, "left", utcnow())
    gone = state(anonymous, link)
    assert (gone["headline"], gone["url"]) == ("Your signal is gone", None)
    assert "within 10 minutes" in gone["detail"]


def test_health_is_told_with_what_to_change():
    assert health_in_words(None, []) is None
    told = health_in_words("acceptable", ["keyframe_interval"])
    assert (told["grade"], told["word"]) == ("acceptable", "Acceptable")
    assert "Keyframe Interval" in told["reasons"][0]


def test_a_signal_that_cannot_be_played_is_said_with_what_to_send(
    anonymous, channel, hooks, lifecycle, link, now
):
    hooks.publish(channel["streamToken"])
    lifecycle.unplayable(Session.get().id, "no video", utcnow())
    assert "H.264" in state(anonymous, link)["detail"]


def test_an_ended_channel_says_so_and_gets_no_new_links(anonymous, client, channel, link):
    client.delete(f"/v1/live/{channel['id']}")
    assert "This broadcast is over" in anonymous.get(link).text
    refused = client.post(f"/v1/live/{channel['id']}/studio")
    assert (refused.status_code, refused.json["ec"]) == (422, 42201)


def test_taking_back_closes_every_link_of_that_channel_only(anonymous, client, channel, link):
    more = client.post(f"/v1/live/{channel['id']}/studio").json["data"]["studioUrl"]
    other = client.post("/v1/live", json={"name": "Another"}).json["data"]
    kept = client.post(f"/v1/live/{other['id']}/studio").json["data"]["studioUrl"]
    assert client.delete(f"/v1/live/{channel['id']}/studio").status_code == 204
    assert [anonymous.get(each).status_code for each in (link, more, kept)] == [404, 404, 200]
    assert anonymous.post(f"{link}/key").status_code == 404
    assert client.delete(f"/v1/live/{channel['id']}/studio").status_code == 204


def test_an_expired_link_opens_nothing_and_is_forgotten_when_the_next_is_made(
    anonymous, client, channel, link, db
):
    StudioLink.update(expires_at=utcnow()).execute()
    page = anonymous.get(link)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "This link opens nothing" in page.text
    client.post(f"/v1/live/{channel['id']}/studio")
    assert StudioLink.select().count() == 1


@pytest.mark.parametrize(
    "path", ["/studio/", "/studio/nobody", "/studio/nobody/else", "/studio/" + "a" * 5000]
)
def test_a_wrong_address_is_a_page_that_says_so(anonymous, path):
    reply = anonymous.get(path)
    assert (reply.status_code, reply.mimetype) == (404, "text/html")
    assert "This link opens nothing" in reply.text


def test_only_a_hash_of_the_link_is_kept_and_no_log_has_it(anonymous, link, caplog, db):
    secret = link.rpartition("/")[2]
    assert StudioLink.get().secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    with caplog.at_level("INFO"):
        anonymous.get(link)
        anonymous.get(f"{link}/state")
        anonymous.post(f"{link}/key")
    assert "/studio/..." in caplog.text
    assert secret not in caplog.text


def test_making_and_taking_back_is_recorded(client, channel, link, db):
    client.delete(f"/v1/live/{channel['id']}/studio")
    entries = AuditEntry.select().where(AuditEntry.kind == "studio").order_by(AuditEntry.pk)
    assert [entry.action for entry in entries] == ["create", "revoke"]


def test_a_token_that_only_reads_and_one_of_another_account_make_none(holder, channel):
    for fields, status in (({"role": "read"}, 403), ({"accountId": "another"}, 404)):
        client = holder(**fields)
        for method in ("POST", "DELETE"):
            assert client.open(f"/v1/live/{channel['id']}/studio", method=method).status_code == status


def test_player_and_studio_are_for_everybody_and_fit_every_screen(config, client, channel, link):
    coming = client.post("/v1/live", json={"name": World.name, "startAt": "2126-01-01T00:00:00Z"}).json[
        "data"
    ]
    players = [f"/{player}/{each['id']}" for player in ("watch", "embed") for each in (channel, coming)]
    with served(config) as port, chromium() as browser:
        for scheme, width in LOOKS:
            look(browser, scheme, width)
            for page in (link, *players, "/studio/nobody"):
                browser.get(f"http://127.0.0.1:{port}{page}")
                assert findings(browser) == [], (page, scheme, width)
                assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_links_go_with_the_channel(client, channel, link, db):
    client.delete(f"/v1/live/{channel['id']}?delete=true")
    assert StudioLink.select().count() == 0
