"""GET /v1/analytics and a channel's statistics (contract, sections 2 and 6)."""

import json
import time

import pytest

from db import database, run, to_ms, utcnow
from live.audience import STEPS, add
from live.viewers import Sums, scopes
from tests.story import after, arrival, new

HOUR, DAY = after(hours=1), after(days=1)


@pytest.fixture
def count(db):
    """Writes figures of a channel at a moment, as the worker does."""

    def count(channel_id, account_id, moment, *, peak=1, views=1, watched=10, on_air=60, sent=1000) -> None:
        sums = Sums(peak, views, watched * 1000, sent, on_air * 1000)
        with database.atomic():
            for table, step in STEPS.items():
                for scope in scopes(channel_id, account_id):
                    add(table, scope, to_ms(moment) // step * step, sums)

    return count


@pytest.fixture
def read(client):
    def read(who=client, **query):
        reply = who.get("/v1/analytics", query_string=query)
        assert reply.status_code == 200, reply.text
        return reply.json["data"]

    return read


def span(now, **more) -> dict:
    return {"from": now.isoformat(), "to": (now + 2 * HOUR).isoformat()} | more


def test_a_series_has_a_point_for_each_interval_and_totals_the_sum(read, count, now):
    count("ch_1", "a", now, peak=5, views=7, watched=100)
    count("ch_1", "a", now + after(minutes=30), peak=9, views=1, watched=50)
    count("ch_1", "a", now + HOUR, peak=2, views=2, watched=20)
    found = read(**span(now))
    assert [point["ccu"] for point in found["series"]] == [9, 2]
    assert [point["views"] for point in found["series"]] == [8, 2]
    assert found["totals"] == {
        "ccu": 9,
        "views": 10,
        "watchTime": 170,
        "broadcastTime": 180,
        "bytesOut": 3000,
    }
    minutes = read(**span(now, interval="minute"))
    assert len(minutes["series"]) == 120
    assert [point["ccu"] for point in minutes["series"] if point["ccu"]] == [5, 9, 2]
    assert minutes["totals"] == found["totals"]
    [one] = read(**span(now, interval="day"))["series"]
    assert one == {"time": "2026-11-23T00:00:00.000Z"} | found["totals"]


def test_the_channels_that_were_watched_for_longest_come_first(read, count, lifecycle, now):
    named = new(lifecycle, now, name="Shown", accountId="a")
    count(named.id, "a", now, watched=50)
    count("ch_deleted", "a", now, watched=90)
    for number in range(12):
        count(f"ch_{number}", "b", now, watched=number)
    top = read(**span(now))["topChannels"]
    assert [(each["channelId"], each["name"]) for each in top[:3]] == [
        ("ch_deleted", None),
        (named.id, "Shown"),
        ("ch_11", None),
    ]
    assert len(top) == 10
    assert [each["channelId"] for each in read(**span(now, accountId="a"))["topChannels"]] == [
        "ch_deleted",
        named.id,
    ]


def test_a_channel_and_an_account_have_their_own_figures(read, count, now):
    count("ch_1", "a", now, views=1)
    count("ch_2", "a", now, views=2)
    count("ch_3", "b", now, views=4)
    assert read(**span(now))["totals"]["views"] == 7
    assert read(**span(now, accountId="a"))["totals"]["views"] == 3
    assert read(**span(now, channelId="ch_2"))["totals"]["views"] == 2
    assert read(**span(now, channelId="ch_2", accountId="b"))["totals"]["views"] == 0
    assert read(**span(now, channelId="ch_2", accountId="b"))["topChannels"] == []
    assert read(**span(now, channelId="ch_unknown"))["totals"]["views"] == 0


def test_a_bound_token_sees_its_own_account_only(read, count, holder, now):
    count("ch_1", "a", now, views=1)
    count("ch_3", "b", now, views=4)
    for role in ("app", "read"):
        mine = holder(role=role, accountId="a")
        found = read(mine, **span(now))
        assert (found["totals"]["views"], found["accountId"]) == (1, "a")
        assert [each["channelId"] for each in found["topChannels"]] == ["ch_1"]
        assert read(mine, **span(now, channelId="ch_3"))["totals"]["views"] == 0
        assert mine.get("/v1/analytics", query_string={"accountId": "b"}).status_code == 403
        assert read(holder(role=role), **span(now))["totals"]["views"] == 5


def test_without_times_it_is_the_last_day_by_the_hour(read, count):
    count("ch_1", "a", utcnow() - after(minutes=1), views=3)
    count("ch_1", "a", utcnow() - 2 * DAY, views=5)
    found = read()
    assert (found["interval"], len(found["series"])) == ("hour", 25)
    assert found["totals"]["views"] == 3
    assert read(to="now")["totals"]["views"] == 3
    assert read(**{"from": "now", "interval": "minute"})["totals"]["ccu"] == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-08T00:00:00Z", "interval": "minute"}, "from"),
        ({"from": "0001-01-01T00:00:00Z", "interval": "day"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"interval": "week"}, "interval"),
        ({"interval": ""}, "interval"),
        ({"channelId": "x" * 256}, "channelId"),
        ({"accountId": "a b"}, "accountId"),
        ({"page": "1"}, "page"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(client, query, field):
    reply = client.get("/v1/analytics", query_string=query)
    assert (reply.status_code, list(reply.json["errors"])) == (422, [field])


def test_too_many_points_are_refused_with_what_to_do(client):
    query = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-08T00:00:00Z", "interval": "minute"}
    told = client.get("/v1/analytics", query_string=query).json["msg"]
    assert "10080 points" in told
    assert "larger interval" in told


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
@pytest.mark.parametrize("interval", ["minute", "hour", "day"])
def test_the_ends_of_time_are_times(client, moment, interval):
    both = client.get("/v1/analytics", query_string={"from": moment, "to": moment, "interval": interval})
    assert both.status_code == 200
    assert client.get("/v1/analytics", query_string={"to": moment, "interval": interval}).status_code == 200


def test_the_answer_fits_a_day_at_the_end_of_a_minute(read, count, now):
    count("ch_1", "a", now, views=1)
    found = read(
        **{"from": now.isoformat(), "to": (now + after(milliseconds=1)).isoformat(), "interval": "minute"}
    )
    assert [point["views"] for point in found["series"]] == [1]


def pulse(config, media: str) -> None:
    config.pulse_file.write_text(json.dumps({"at": time.time(), "media": media, "cpu": 0, "stored": 0}))


def present(channel_id: str, account_id: str, viewers: int) -> None:
    run(
        "INSERT INTO audience_now (channel_id, node, account_id, viewers, bitrate_out) VALUES (?, 'main', ?, ?, 8000)",
        *(channel_id, account_id, viewers),
    )


# On a server these boxes are no nodes, and what viewers there are is for the nodes to say: tests/test_nodes.py.
@pytest.mark.sqlite
def test_a_channels_statistics_are_now_ever_and_by_minute(client, config, lifecycle, count):
    now = utcnow()
    channel = new(lifecycle, now - HOUR, accountId="a")
    count(channel.id, "a", now - 20 * DAY, peak=50, views=100, watched=1000)
    count(channel.id, "a", now, peak=3, views=4, watched=30)
    lifecycle.publish(channel.stream_token, arrival(), now - after(seconds=90))
    present(channel.id, "a", 3)
    pulse(config, "ok")
    found = client.get(f"/v1/live/{channel.id}/statistics?minutes=5").json["data"]
    assert (found["viewers"], found["bitrateOut"], found["peakViewers"]) == (3, 8000, 50)
    assert (found["totalViews"], found["watchTime"]) == (104, 1030)
    assert 90 <= found["uptime"] <= 100
    assert found["bitrateIn"] is None, "not measured yet"
    assert len(found["series"]) == 5
    assert found["series"][-1]["time"] <= utcnow().isoformat()
    assert [point["ccu"] for point in found["series"] if point["ccu"]] == [3]
    assert found["series"][-2]["ccu"] in (0, 3)


@pytest.mark.sqlite
def test_viewers_are_unknown_while_nobody_counts(client, config, channel):
    path = f"/v1/live/{channel['id']}/statistics"
    present(channel["id"], "1", 3)
    for media in ("none", None):
        if media:
            pulse(config, media)
        else:
            config.pulse_file.unlink()
        found = client.get(path).json["data"]
        assert (found["viewers"], found["bitrateOut"]) == (None, None)
        assert client.get("/v1/statistics").json["data"]["viewers"] is None
    pulse(config, "nginx does not answer")
    assert client.get(path).json["data"]["viewers"] == 3
    assert client.get("/v1/statistics").json["data"]["viewers"] == 3
    assert client.get("/v1/statistics").json["data"]["bitrateOut"] == 8000
    assert "livestream_viewers 3.0" in client.get("/metrics").text


def test_a_channel_of_another_account_has_no_statistics(client, holder, channel):
    assert holder(accountId="other").get(f"/v1/live/{channel['id']}/statistics").status_code == 404
    assert holder(role="read").get(f"/v1/live/{channel['id']}/statistics").status_code == 200
    assert client.get("/v1/live/ch_unknown/statistics").status_code == 404


@pytest.mark.parametrize("minutes", ["0", "1441", "x", "1.5"])
def test_minutes_are_a_number_up_to_a_day(client, channel, minutes):
    reply = client.get(f"/v1/live/{channel['id']}/statistics?minutes={minutes}")
    assert (reply.status_code, list(reply.json["errors"])) == (422, ["minutes"])
