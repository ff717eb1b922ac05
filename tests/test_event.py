"""The event feed: what webhooks were told, to catch up by asking (contract, section 3)."""

from datetime import timedelta

import pytest

from live.retention import forget
from models import Delivery, Event
from tests.envelope import refused, wrong
from tests.story import after, arrival, new, payload


@pytest.fixture
def told(lifecycle, now):
    """Two channels of two accounts and what happened to them."""
    first, second = new(lifecycle, now), new(lifecycle, now, accountId="acme")
    session = lifecycle.publish(first.stream_token, arrival(1), now)
    lifecycle.publish(second.stream_token, arrival(2), now)
    lifecycle.playable(session.id, now)
    lifecycle.stop(first.id, now + after(seconds=5))
    return first, second


def feed(client, **query) -> list[tuple[int, str]]:
    reply = client.get("/v1/event", query_string=query)
    assert reply.status_code == 200, reply.text
    return [(item["eventId"], item["event"]) for item in reply.json["data"]]


EVERY = [
    (1, "channel_connected"),
    (2, "channel_connected"),
    (3, "channel_live"),
    (4, "channel_stop"),
    (5, "channel_ended"),
]


def test_the_feed_is_oldest_first_and_goes_on_after_a_cursor(client, told):
    assert feed(client) == EVERY
    assert feed(client, after=2) == EVERY[2:]
    assert feed(client, after=1, length=2) == EVERY[1:3]
    assert feed(client, after=5) == []
    body = client.get("/v1/event?after=1&length=2").json
    assert (body["ec"], body["total"], body["length"], body["page"]) == (0, 4, 2, 0)


def test_an_item_is_the_payload_as_it_was_delivered(client, told):
    first, _ = told
    item = client.get("/v1/event?after=2&length=1").json["data"][0]
    assert item == payload(first, "channel_live")
    assert {"event", "eventTime", "eventId", "seq", "sessionId", "id", "status"} <= item.keys()


def test_the_feed_is_filtered_by_channel_and_event(client, told):
    first, second = told
    assert feed(client, channelId=first.id) == [EVERY[0], *EVERY[2:]]
    assert feed(client, channelId=second.id, event="channel_live") == []
    assert feed(client, event="channel_live,channel_ended") == [EVERY[2], EVERY[4]]
    assert feed(client, event="all") == EVERY
    assert feed(client, channelId="ch_x") == []


def test_the_feed_goes_on_when_its_channel_is_deleted(client, told):
    first, _ = told
    client.delete(f"/v1/live/{first.id}?delete=true")
    assert feed(client, channelId=first.id) == [EVERY[0], *EVERY[2:]]


def test_a_bound_token_hears_of_its_account_only(told, holder):
    assert feed(holder(accountId="acme")) == [EVERY[1]]
    assert feed(holder(accountId="nobody")) == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"after": "-1"}, "after"),
        ({"after": "x"}, "after"),
        ({"after": str(2**63)}, "after"),
        ({"length": "0"}, "length"),
        ({"length": "1001"}, "length"),
        ({"event": "channel_dead"}, "event"),
        ({"page": "1"}, "page"),
    ],
)
def test_wrong_parameters_are_named(client, query, field):
    assert wrong(client.get("/v1/event", query_string=query)) == {field}


def test_a_thousand_at_once_are_given(client):
    assert client.get("/v1/event?length=1000").status_code == 200


def test_a_reading_token_follows_the_feed_and_nobody_changes_it(client, told, holder):
    assert feed(holder(role="read")) == EVERY
    refused(client.post("/v1/event"), 405, 40500)


def test_the_feed_is_kept_for_thirty_days_and_its_numbers_never_come_again(
    config, client, lifecycle, told, now
):
    assert forget(config.kept_for, now + timedelta(days=30)) == 0
    forget(config.kept_for, now + timedelta(days=31))
    assert feed(client) == [EVERY[-1]], "the newest stays: its number is where the next one counts from"
    assert Delivery.select().count() == 0
    lifecycle.publish(new(lifecycle, now).stream_token, arrival(3), now)
    assert Event.select().order_by(Event.id.desc()).get().id == 6
