"""Media nodes: which one a channel is given to, what belongs to which, and what becomes of one that is lost."""

from dataclasses import dataclass
from types import SimpleNamespace

import peewee
import pytest

import worker
from config import ConfigError, from_env
from db import run
from errors import NotFoundError, NotPossibleError
from live import fleet, nodes
from live.arrival import RefusedError
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import Links
from live.nodes import ADDRESSES, DisplacedError, Member, RollCall, best
from live.reconcile import lost_all, reconcile
from models import Session
from models_nodes import Node
from tests.envelope import wrong
from tests.story import after, again, arrival, events, new, sessions

NOWHERE = dict.fromkeys(("capacity", *ADDRESSES)) | {"region": ""}


@dataclass
class Place:
    """A node to choose from."""

    name: str
    region: str = ""
    capacity: int | None = None
    draining: bool = False


def chosen(places: list[Place], load: dict[str, int], region: str = "") -> str | None:
    found = best(places, load, region)
    return found and found.name


# Which one.


def test_the_least_loaded_is_best_and_of_equals_the_first_by_name():
    places = [Place("c"), Place("b"), Place("a")]
    assert chosen(places, {}) == "a"
    assert chosen(places, {"a": 2, "b": 1, "c": 1}) == "b"


def test_where_all_say_what_they_hold_the_emptiest_is_best():
    places = [Place("big", capacity=100), Place("small", capacity=10)]
    assert chosen(places, {"big": 20, "small": 3}) == "big"
    assert chosen(places, {"big": 40, "small": 3}) == "small"
    assert chosen([*places, Place("unlimited")], {"big": 4, "small": 3, "unlimited": 2}) == "unlimited"


def test_the_region_that_is_asked_for_comes_before_the_load():
    places = [Place("a", "eu"), Place("b", "us")]
    assert chosen(places, {"b": 50}, "us") == "b"


def test_a_region_without_room_or_without_a_node_gives_way():
    places = [Place("a", "eu"), Place("b", "us", capacity=1)]
    assert chosen(places, {"b": 1, "a": 5}, "us") == "a"
    assert chosen(places, {}, "mars") == "a"


def test_where_all_are_full_somebody_takes_it_all_the_same():
    assert chosen([Place("a", capacity=1), Place("b", capacity=2)], {"a": 2, "b": 2}) == "b"


def test_one_that_is_drained_is_for_when_there_is_no_other():
    assert chosen([Place("a", draining=True), Place("b")], {"b": 9}) == "b"
    assert chosen([Place("a", draining=True)], {}) == "a"
    assert chosen([], {}) is None


# Who has fallen silent.


def test_a_node_that_stops_beating_is_silent_after_six_seconds():
    roll = RollCall()
    roll.silent({"a": 1, "b": 1}, 0.0)
    assert [roll.silent({"a": 1, "b": 1 + second}, second) for second in range(1, 6)] == [[]] * 5
    assert roll.silent({"a": 1, "b": 7}, 6.0) == ["a"]


def test_whoever_was_held_up_himself_says_nobody_is_lost():
    roll = RollCall()
    roll.silent({"a": 1}, 0.0)
    assert roll.silent({"a": 1}, 100.0) == []
    assert roll.silent({"a": 2}, 101.0) == []


# Two boxes with one database.


@pytest.fixture
def member(db, now):
    """Makes nodes that are up."""

    def made(name: str, **facts) -> Member:
        address = {"public_url": f"http://{name}.example", "rtmp_url": f"rtmp://{name}.example/live"}
        one = Member(name, f"box of {name}", NOWHERE | address | facts)
        one.beat(now)
        return one

    return made


def lifecycle_of(name: str) -> Lifecycle:
    """What a box of this name would have."""
    links = Links(f"http://{name}.example", f"rtmp://{name}.example/live", None, name)
    return Lifecycle(links, Limits(dict.fromkeys(LIMITS)), lambda: None)


LIMITS = ("max_channels", "max_live", "max_duration", "max_bitrate", "max_height", "max_storage")


@pytest.fixture
def two(member):
    member("a", region="north"), member("b", region="south")
    return SimpleNamespace(a=lifecycle_of("a"), b=lifecycle_of("b"))


def lose(name: str, now) -> None:
    nodes.lose(name, Node.one("name = ?", name).beats, now)


def test_create_gives_the_address_of_the_region_that_is_asked_for(client, two):
    made = client.post("/v1/live", json={"name": "x", "region": "south"}).json["data"]
    assert (made["node"], made["region"]) == ("b", "south")
    assert made["streamUrl"] == made["ingest"]["rtmp"] == "rtmp://b.example/live"
    shown = client.get(f"/v1/live/{made['id']}").json["data"]
    assert (shown["node"], shown["region"]) == ("b", "south")
    assert wrong(client.post("/v1/live", json={"name": "x", "region": "The South"})) == {"region"}


def test_channels_that_are_made_at_the_same_time_are_spread(two, now):
    made = [new(two.a, now).node for _ in range(4)]
    assert made == ["a", "b", "a", "b"]
    assert new(two.a, now + 2 * nodes.AWAITED).node == "a", "nobody came"


def test_a_channel_is_where_it_is_published(two, now):
    channel = new(two.a, now, region="north")
    session = two.b.publish(channel.stream_token, arrival(), now)
    two.b.playable(session.id, now)
    assert (again(channel).node, session.node) == ("b", "b")
    assert two.a.links.livestream(again(channel)) == f"http://b.example/play/{channel.id}/master.m3u8"


def test_a_publisher_of_another_node_keeps_others_out_while_that_node_is_up(two, now):
    channel = new(two.a, now)
    two.a.publish(channel.stream_token, arrival(instance="of-a"), now)
    with pytest.raises(RefusedError, match="busy"):
        two.b.publish(channel.stream_token, arrival(instance="of-b"), now)
    lose("a", now)
    session = two.b.publish(channel.stream_token, arrival(2, instance="of-b"), now + after(seconds=1))
    assert [each.end_reason for each in sessions(channel)] == ["lost", None]
    assert session.node == "b"


def test_a_look_at_a_media_server_says_nothing_about_those_of_other_nodes(two, now):
    channels = [new(two.a, now), new(two.a, now)]
    for each, box in zip(channels, (two.a, two.b), strict=True):
        box.publish(each.stream_token, arrival(instance=box.links.name), now)
    reconcile(two.a, "nginx-rtmp/another", [], now + after(seconds=30))
    assert [session.node for session in Session.all_open()] == ["b"]
    assert lost_all(two.a, now + after(seconds=31)) == 0
    assert lost_all(two.b, now + after(seconds=31)) == 1


def test_what_a_lost_node_had_is_over_once_whoever_sees_it(two, now):
    channel = new(two.a, now)
    two.b.publish(channel.stream_token, arrival(), now)
    watching = [(RollCall(), two.a), (RollCall(), lifecycle_of("c"))]
    run("UPDATE node SET beats = beats + 1 WHERE name = 'a'")
    for second in range(10):
        run("UPDATE node SET beats = beats + 1 WHERE name = 'a'")
        for roll, box in watching:
            roll.step(box.links.name, box.unpublish, now + after(seconds=second), float(second))
    assert events(channel) == ["channel_connected", "channel_stop"]
    assert [each.status for each in Node.everyone()] == ["up", "lost"]
    assert sessions(channel)[0].end_reason == "lost"


def test_a_node_that_beats_again_is_up_and_keeps_who_came_before_it_did(two, member, now):
    lose("b", now)
    channel = new(two.a, now)
    two.b.publish(channel.stream_token, arrival(), now)
    assert nodes.left_behind() == [], "the session is younger than the loss"
    member("b")
    assert [each.status for each in Node.everyone()] == ["up", "up"]
    assert len(Session.all_open("b")) == 1


def test_whoever_asks_where_to_publish_is_sent_to_a_node_that_is_up(client, two, now):
    made = client.post("/v1/live", json={"name": "x", "region": "south"}).json["data"]
    lose("b", now)
    client.application.extensions["livestream"].links.nodes.read_at = float("-inf")  # a second later
    assert client.get(f"/v1/live/{made['id']}/rtmp").json["data"]["streamUrl"] == "rtmp://a.example/live"


def test_whoever_asks_a_box_for_what_another_has_is_sent_there(client, two, now):
    channel = new(two.b, now)
    two.b.publish(channel.stream_token, arrival(), now)
    reply = client.get(f"/play/{channel.id}/master.m3u8")
    assert (reply.status_code, reply.location) == (302, f"http://b.example/play/{channel.id}/master.m3u8")
    assert client.get("/play/ch_0123456789abcdef0123/master.m3u8").status_code == 404


def test_a_players_page_may_go_to_every_node(client, two, channel):
    policy = client.get(f"/watch/{channel['id']}").headers["Content-Security-Policy"]
    assert "http://a.example http://b.example" in policy


def test_a_page_is_there_while_the_database_is_not(client, two, monkeypatch):
    links = client.application.extensions["livestream"].links
    links.origins()
    links.nodes.read_at = float("-inf")

    def away() -> None:
        raise peewee.OperationalError("away")

    monkeypatch.setattr(Node, "everyone", away)
    assert links.origins() == ["http://a.example", "http://b.example", "http://live.example"]


def test_a_second_box_of_one_name_is_told(member, now):
    member("a")
    other = Member("a", "another box", {})
    other.entered = True  # before the first one took its name
    with pytest.raises(DisplacedError, match="Set NODE"):
        other.beat(now)


def test_of_two_boxes_with_a_copy_of_one_data_dir_the_later_one_works(member, now):
    earlier, later = member("a"), Member("a", "box of a", NOWHERE | {"public_url": "", "rtmp_url": ""})
    later.beat(now + after(seconds=1))
    with pytest.raises(DisplacedError, match="copy of this DATA_DIR"):
        earlier.beat(now)
    later.beat(now)


def test_a_node_beats_only_while_its_media_server_answers_and_its_worker_comes_round(app, config, member):
    one = worker.build(config)
    one.member, one.media_seen_at = member("a"), 1.0

    def beaten() -> bool:
        before = Node.one("name = 'a'").beats
        one._beat()
        return Node.one("name = 'a'").beats == before + 1

    assert beaten()
    one.media_problem = "refused"
    assert not beaten()
    one.media_problem = ""
    one.ticked_at -= worker.STUCK_S
    assert not beaten()


def test_a_node_that_was_forgotten_while_it_was_away_enters_again(member, now):
    a = member("a")
    run("DELETE FROM node")
    a.beat(now)
    a.beat(now)
    assert [(each.name, each.status) for each in Node.everyone()] == [("a", "up")]


# What an operator does.


def test_a_node_is_drained_and_given_channels_again(two, now):
    fleet.drain("a", True)
    assert {new(two.a, now).node for _ in range(3)} == {"b"}
    fleet.drain("a", False)
    two.a.links.nodes.read_at = float("-inf")
    assert new(two.a, now).node == "a"
    with pytest.raises(NotFoundError):
        fleet.drain("nobody", True)


def test_only_a_node_that_is_gone_can_be_forgotten(two, now):
    channel = new(two.b, now)
    two.b.publish(channel.stream_token, arrival(), now)
    with pytest.raises(NotPossibleError, match="up"):
        fleet.remove("b", two.a.unpublish, now)
    lose("b", now)
    fleet.remove("b", two.a.unpublish, now)
    assert [each.name for each in Node.everyone()] == ["a"]
    assert Session.all_open() == []
    assert run("SELECT * FROM channel_node WHERE node = 'b'") == []


def test_the_nodes_are_in_the_statistics_and_the_metrics(client, two, now):
    channel = new(two.b, now)
    two.b.publish(channel.stream_token, arrival(), now)
    lose("a", now)
    found = client.get("/v1/statistics").json["data"]["nodes"]
    assert [(each["name"], each["status"], each["publishers"]) for each in found] == [
        ("a", "lost", 0),
        ("b", "up", 1),
    ]
    told = client.get("/metrics").text
    assert 'livestream_node_up{node="a"} 0.0' in told
    assert 'livestream_node_publishers{node="b"} 1.0' in told


# Settings.


def test_a_name_of_its_own_needs_a_database_to_share(tmp_path, driver):
    settings = {"DATA_DIR": str(tmp_path), "MEDIA_SERVER": "nginx-rtmp"}
    with pytest.raises(ConfigError, match="NODE=b needs DATABASE_URL"):
        from_env(settings | {"NODE": "b"})
    shared = from_env(settings | {"NODE": "b", "DATABASE_URL": "postgresql://live@/live", "REGION": "eu"})
    assert (shared.node, shared.region, shared.capacity) == ("b", "eu", None)
    with pytest.raises(ConfigError, match="NODE must be up to 32"):
        from_env(settings | {"NODE": "Node B"})


def test_a_box_without_a_media_server_is_a_node_only_where_it_is_alone(tmp_path, driver):
    settings = {"DATA_DIR": str(tmp_path), "MEDIA_SERVER": "none"}
    assert from_env(settings).node == "main"
    assert from_env(settings | {"DATABASE_URL": "postgresql://live@/live"}).node == ""
