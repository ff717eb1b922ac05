"""The console's other rooms: webhooks, users, tokens, videos, the audit log and the box, each with the API's rules."""

import re

import pytest

from db import utcnow
from live import videos
from live.links import Links
from models import Delivery, Webhook
from models_access import AuditEntry, Token, User
from models_chores import Chore
from models_search import Video, VideoType
from tests.person import Fields, Person

FOR_ADMINS = ("/console/users", "/console/tokens", "/console/audit", "/console/box")
URI = "http://127.0.0.1:9000/events"


def mark_of(someone: Person) -> dict[str, str]:
    return {
        "csrf": someone.get("/console/channels").text.partition('name="csrf" value="')[2].partition('"')[0]
    }


@pytest.fixture
def webhook(client) -> dict:
    return client.post("/v1/webhook", json={"uri": URI, "event": "all"}).json["data"]


@pytest.mark.parametrize("role", ["app", "read"])
def test_rooms_of_the_whole_installation_are_for_admins(visitor, person, role):
    someone = visitor(role=role)
    navigation = someone.get("/console/channels").text
    for address in FOR_ADMINS:
        assert someone.get(address).status_code == 403, address
        assert f'href="{address}"' not in navigation
        assert person.get(address).status_code == 200
    for address in (
        "/console/users/new",
        "/console/users/1",
        "/console/tokens/new",
        "/console/tokens/x/revoke",
    ):
        assert someone.get(address).status_code == 403, address
        assert someone.post(address, data=mark_of(someone)).status_code == 403, address


# Tokens.


def test_a_new_tokens_secret_is_shown_once_and_works(person, anonymous, db):
    made = person.send("/console/tokens/new", name="Server of the club", role="app", accountId="club")
    assert made.status_code == 200
    token = Token.get(Token.name == "Server of the club")
    secret = re.search(r'id="secret" value="([^"]+)"', made.text).group(1)
    assert anonymous.get("/v1/live", auth=(token.id, secret)).status_code == 200
    assert (token.role, token.account_id, token.expires_at) == ("app", "club", None)
    listed = person.get("/console/tokens").text
    assert token.id in listed
    assert secret not in listed


def test_a_token_that_cannot_be_is_told_beside_its_field(person, db):
    reply = person.send("/console/tokens/new", name="Old", role="admin", expiresAt="2020-01-01T00:00")
    assert reply.status_code == 422
    assert 'id="expiresAt-wrong">Must be in the future.' in reply.text
    assert Fields(reply.text, "/console/tokens/new").values["role"] == "admin"
    assert Token.select().count() == 0


def test_revoking_asks_first(person, visitor, db):
    someone = visitor()
    address = f"/console/tokens/{someone.token['id']}/revoke"
    assert person.get(address).status_code == 200
    assert someone.get("/console/channels").status_code == 200
    assert person.send(address).location == "/console/tokens?done=revoked"
    assert someone.get("/console/channels").status_code == 303
    assert person.get(address).status_code == 404


# Users.


def test_a_user_is_made_changed_and_reset(person, db):
    person.send("/console/users/new", id="club", name="The club", maxChannels="3", maxStorage="")
    user = User.get()
    assert (user.account_id, user.name, user.limits["max_channels"]) == ("club", "The club", 3)
    assert user.limits["max_storage"] is None
    person.send("/console/users/club", maxLive="2")
    user = User.get()
    assert (user.name, user.limits["max_channels"], user.limits["max_live"]) == ("The club", 3, 2)
    person.send("/console/users/club", maxChannels="")
    assert User.get().limits["max_channels"] is None
    assert person.send("/console/users/club/reset").status_code == 303
    assert User.select().count() == 0


def test_wrong_limits_stand_beside_their_fields(person, db):
    reply = person.send("/console/users/new", id="a b", maxLive="-1", maxHeight="tall")
    assert reply.status_code == 422
    for name in ("id", "maxLive", "maxHeight"):
        assert f'id="{name}-wrong"' in reply.text
    assert Fields(reply.text, "/console/users/new").values["maxHeight"] == "tall"
    assert User.select().count() == 0


def test_what_an_account_uses_stands_beside_what_it_may(person, client):
    client.post("/v1/user", json={"id": "club", "limits": {"maxChannels": 3}})
    client.post("/v1/live", json={"name": "One", "accountId": "club"})
    page = " ".join(person.get("/console/users/club").text.split())
    assert '1 <span class="quiet">of 3</span>' in page


def test_an_account_without_a_user_has_what_the_configuration_says(person):
    assert "the limits of the configuration" in person.get("/console/users/anybody").text
    assert person.get("/console/users/a b").status_code == 404


# Webhooks.


def test_a_new_webhooks_secret_is_shown_once(person, db):
    made = person.send("/console/webhooks/new", uri=URI, event=["", "channel_live", "channel_ended"])
    row = Webhook.get()
    assert (row.uri, row.events, row.account_id, row.active) == (
        URI,
        ["channel_live", "channel_ended"],
        None,
        True,
    )
    secret = re.search(r'id="secret" value="(whsec_[^"]+)"', made.text).group(1)
    for address in ("/console/webhooks", f"/console/webhooks/{row.id}", f"/console/webhooks/{row.id}/edit"):
        assert secret not in person.get(address).text


def test_a_webhook_that_cannot_be_is_told_beside_its_field(person, db):
    reply = person.send("/console/webhooks/new", uri="ftp://x", description="Kept")
    assert reply.status_code == 422
    for name in ("uri", "event"):
        assert f'id="{name}-wrong"' in reply.text
    assert Fields(reply.text, "/console/webhooks/new").values["description"] == "Kept"
    forbidden = person.send("/console/webhooks/new", uri="http://169.254.169.254/", event="channel_live")
    assert 'id="uri-wrong"' in forbidden.text
    assert Webhook.select().count() == 0


def test_a_webhook_is_changed_turned_off_and_on_and_deleted(person, webhook, db):
    address = f"/console/webhooks/{webhook['id']}"
    person.send(f"{address}/edit", active="false", event=["", "video_ready"])
    row = Webhook.get()
    assert (row.active, row.events, row.uri) == (False, ["video_ready"], URI)
    assert "Turned off" in person.get(address).text
    person.send(f"{address}/edit", active=["false", "true"])
    assert Webhook.get().active
    person.send(f"{address}/delete")
    assert Webhook.select().count() == 0


def test_a_new_secret_is_shown_once(person, webhook, db):
    before = Webhook.get().secret
    shown = person.send(f"/console/webhooks/{webhook['id']}/rotate")
    assert "whsec_" in shown.text
    assert "24 hours" in shown.text
    assert Webhook.get().secret != before


def test_a_test_leads_to_its_delivery_and_that_can_be_sent_once_more(person, webhook, db):
    address = f"/console/webhooks/{webhook['id']}"
    reply = person.send(f"{address}/test", page=address)
    delivery = Delivery.get()
    there = f"{address}/deliveries/{delivery.id}"
    assert reply.location == f"{there}?done=sent"
    assert "On its way." in person.get(there).text
    assert "&#34;event&#34;: &#34;test&#34;" in person.get(there).text
    person.send(there)
    assert Delivery.select().count() == 2
    assert person.get(f"{address}/deliveries/dlv_x").status_code == 404


def test_deliveries_are_filtered_and_what_failed_can_be_sent_once_more(person, client, webhook, channel, db):
    address = f"/console/webhooks/{webhook['id']}"
    client.delete(f"/v1/live/{channel['id']}")
    assert "channel_ended</a>" in person.get(address).text
    assert "channel_ended</a>" in person.get(f"{address}?status=pending&event=&channelId=").text
    assert "channel_ended</a>" not in person.get(f"{address}?status=failed").text
    Delivery.update(status="failed", next_at=None).execute()
    wrong = person.send(f"{address}/again", since="")
    assert 'id="since-wrong"' in wrong.text
    assert person.send(f"{address}/again", since="2020-01-01T00:00").status_code == 303
    assert [each.status for each in Delivery.select().order_by(Delivery.pk)] == ["failed", "pending"]


def test_webhooks_are_those_of_the_tokens_account(visitor, webhook, db):
    someone = visitor(accountId="acme")
    assert URI not in someone.get("/console/webhooks").text
    for part in ("", "/edit", "/delete", "/deliveries", "/rotate", "/again"):
        assert someone.get(f"/console/webhooks/{webhook['id']}{part}").status_code == 404, part
    for part in ("/edit", "/delete", "/rotate", "/again", "/test"):
        reply = someone.post(f"/console/webhooks/{webhook['id']}{part}", data=mark_of(someone))
        assert reply.status_code == 404, part
    someone.send("/console/webhooks/new", uri="http://127.0.0.1:9001/", event="channel_live")
    assert Webhook.get(Webhook.uri == "http://127.0.0.1:9001/").account_id == "acme"


# Videos, the audit log, the box.


def test_videos_are_listed_and_deleted_when_asked_twice(person, visitor, config, channel, db):
    links = Links("http://live.example", "rtmp://live.example/live")
    facts = {"duration": 61, "size": 1500, "session_id": "ses_1"}
    kept = videos.keep(channel["id"], VideoType.RECORD, "a.mp4", links, utcnow(), **facts)
    for address in ("/console/videos", f"/console/channels/{channel['id']}/videos"):
        page = person.get(address).text
        assert "2 kB" in page
        assert ">1:01<" in page
    assert kept.id not in visitor(accountId="other").get("/console/videos").text
    assert visitor(accountId="other").get(f"/console/videos/{kept.id}/delete").status_code == 404
    assert kept.id not in visitor(role="read").get("/console/videos").text, "no link to delete it"
    person.send(f"/console/videos/{kept.id}/delete")
    assert Video.select().count() == 0
    assert Chore.waiting("main").keys() == {channel["id"]}, "the worker sees to the files"


def test_the_audit_log_says_who_did_what_and_is_filtered(person, client, channel, db):
    client.delete(f"/v1/live/{channel['id']}")
    page = person.get("/console/audit").text
    assert "<strong>Stop</strong> channel" in page
    assert channel["id"] in page
    assert "<strong>Stop</strong>" not in person.get("/console/audit?action=create&tokenId=").text
    assert AuditEntry.select().count() == 2


def test_the_box_says_which_part_is_not_well(person):
    page = person.get("/console/box").text
    assert "Not every part is well" in page  # no worker runs in this test
    assert "Not running" in page
    assert ">Well</span>" in page
    assert "Free on the disk" in page
