"""What the console says to people: in their words, once, and with what they can do next."""

import pytest

from db import utcnow
from models import Attempt, Channel, Delivery, Session
from tests.test_console_rooms import URI

LADDER = {
    "rendered": [{"name": "720p", "width": 1280, "height": 720, "fps": 50.0, "bitrate": 2500}],
    "leftOut": [{"name": "480p", "reason": "no_room"}, {"name": "360p", "reason": "something_new"}],
}


@pytest.fixture
def published(hooks, lifecycle, channel) -> Session:
    hooks.publish(channel["streamToken"])
    return Session.get()


def test_the_timeline_says_which_sizes_there_are_and_why_others_are_not(
    person, lifecycle, channel, published
):
    lifecycle.laddered(published.id, LADDER, utcnow())
    page = person.get(f"/console/channels/{channel['id']}/timeline").text
    said = "the source, 720p; 480p left out: no room beside what runs; 360p left out: something_new"
    assert f"<strong>Sizes for viewers</strong> <span>{said}</span>" in page


def test_a_signal_that_cannot_be_played_is_told_with_what_to_send(person, lifecycle, channel, published):
    lifecycle.unplayable(published.id, "no video", utcnow())
    assert "Send H.264 video and AAC sound." in person.get(f"/console/channels/{channel['id']}").text


def test_a_form_names_what_is_wrong_as_its_fields_are_labelled(person, channel):
    wrong = person.send("/console/channels/new", name="A channel", stopTimeout="9999").text
    assert '<a href="#stopTimeout">Waits for the encoder to come back</a>' in wrong
    assert '<a href="#name">Name</a>' in person.send(f"/console/channels/{channel['id']}/edit", name=" ").text


def test_a_moment_that_was_left_empty_is_asked_for(person, client):
    webhook = client.post("/v1/webhook", json={"uri": URI, "event": "all"}).json["data"]
    wrong = person.send(f"/console/webhooks/{webhook['id']}/again", since="").text
    assert "null" not in wrong
    assert 'id="since-wrong">This field is required.' in wrong


def test_an_answer_that_comes_again_and_again_is_shown_once(person, client, channel, db):
    webhook = client.post("/v1/webhook", json={"uri": URI, "event": "all"}).json["data"]
    client.delete(f"/v1/live/{channel['id']}")
    delivery = Delivery.get()
    for number, answer in enumerate((b"down", b"down", b"also down", None, b"also down"), 1):
        Attempt.create(delivery=delivery, number=number, time=utcnow(), status_code=503, answer=answer)
    page = person.get(f"/console/webhooks/{webhook['id']}/deliveries/{delivery.id}").text
    assert [page.count(f"<code>{words}</code>") for words in ("down", "also down")] == [1, 1]
    assert page.count("The same answer.") == 2


def test_long_addresses_break_after_a_slash(person, client):
    uri = "https://receiver.example/a/<b>"
    webhook = client.post("/v1/webhook", json={"uri": uri.replace("<b>", "%3Cb%3E"), "event": "all"}).json[
        "data"
    ]
    for page in ("/console/webhooks", f"/console/webhooks/{webhook['id']}"):
        assert "https://receiver.example/<wbr>a/<wbr>%3Cb%3E<" in person.get(page).text


def test_figures_of_the_box_lead_to_what_they_count(person, channel):
    page = person.get("/console/box").text
    assert 'href="/console/channels?status=init">1</a>' in page


def test_the_account_is_asked_for_where_there_are_several(person, visitor, client):
    client.post("/v1/live", json={"name": "Ours", "accountId": "acme"})
    for room in ("channels", "videos", "analytics"):
        assert 'name="accountId"' in person.get(f"/console/{room}").text
        assert 'name="accountId"' not in visitor(accountId="acme").get(f"/console/{room}").text
        assert visitor(accountId="acme").get(f"/console/{room}?accountId=other").status_code == 403
    assert Channel.select().count() == 1
