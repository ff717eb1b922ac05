"""Faults of the media server and of those who publish to it (F9..F18), and a media server that lies."""

import itertools
import threading
import time
from collections.abc import Iterator
from random import Random

from tests.faults.database import locked
from tests.faults.nginx import HOOK_TIMEOUT_S, Client
from tests.faults.rounds import fault, some_time
from tests.faults.traffic import Channel, Traffic
from tests.faults.world import World
from tests.race import at_once
from tests.waiting import until


@fault("F9")
def media_server_gone_and_back(world: World, chance: Random) -> None:
    channels = [Channel(world).make().go_live() for _ in range(3)]
    world.nginx.die()
    until(lambda: not any(each.shown()["publishing"] for each in channels), 10, "all have left")
    world.nginx.start()
    for channel in channels[1:]:
        channel.go_live()


@fault("F9")
def media_server_gone_at_a_random_moment(world: World, chance: Random) -> None:
    with Traffic(world, chance):
        for _ in range(2):
            some_time(chance, 0.2, 1.0)
            world.nginx.die()
            some_time(chance, 0.0, 0.5)
            world.nginx.start()


@fault("F10")
def media_server_restarted_while_we_are_down(world: World, chance: Random) -> None:
    """Its clients have numbers again that sessions of ours have, and are others."""
    stays, leaves = (Channel(world).make().go_live() for _ in range(2))
    for part in chance.sample([world.web, world.worker], 2):
        world.kill(part)
    world.nginx.die()
    world.nginx.start()
    assert stays.publish() is None, "refused: nobody answered"
    world.start_web()
    assert stays.publish(), "let in although its old session is not over yet"
    world.start_worker()
    until(lambda: not leaves.shown()["publishing"], 10, "the other one has left")


@fault("F11")
def web_down_while_publishers_go_on_and_some_leave(world: World, chance: Random) -> None:
    stays, leaves, comes = (Channel(world).make() for _ in range(3))
    stays.go_live()
    leaves.go_live()
    world.kill(world.web)
    if with_worker := chance.random() < 0.5:
        world.kill(world.worker)
    leaves.leave()
    assert comes.publish() is None
    some_time(chance, 0.5, 7.0)
    world.start_web()
    if with_worker:
        world.start_worker()
    comes.go_live()
    until(lambda: not leaves.shown()["publishing"], 10, "who left has left")
    assert stays.encoder.stream in world.nginx.publishing(), "nobody is cut off because we were down"
    [session] = world.insist("GET", f"{stays.path}/session").data["data"]
    assert session["stopTime"] is None


@fault("F12")
def hook_answered_when_the_media_server_no_longer_listens(world: World, chance: Random) -> None:
    """The answer is lost, so nobody publishes: found out, never told as live, and the encoder may come again."""
    channel = Channel(world).make()
    world.nginx.hook_timeout = 0.5
    with locked(world):
        assert channel.publish() is None
        some_time(chance, 0, 2)
    world.nginx.hook_timeout = HOOK_TIMEOUT_S
    until(lambda: channel.shown()["publishing"], 10, "a session without a publisher")
    channel.go_live()
    sessions = world.insist("GET", f"{channel.path}/session").data["data"]
    told = world.rows("SELECT session_id FROM event WHERE name = 'channel_live'")
    assert told == [(sessions[0]["id"],)]


@fault("F13")
def every_hook_comes_several_times(world: World, chance: Random) -> None:
    for _ in range(4):
        channel = Channel(world).make()
        client = channel.publish()
        again = [lambda c=client: world.nginx.hook("publish", c.number, c.token)] * chance.randint(1, 6)
        assert set(at_once(again)) == {(302, client.stream)}
        channel.leave()
        done = [lambda c=client: world.nginx.hook("publish_done", c.number, c.token)] * chance.randint(1, 6)
        assert {status for status, _ in at_once(done)} == {200}
        assert world.nginx.hook("publish", client.number, client.token)[0] == 403


@fault("F14")
def hooks_out_of_order(world: World, chance: Random) -> None:
    """Gone before it came; a late "gone" of an old connection, sent again and again while a new one is live."""
    channel = Channel(world).make()
    assert world.nginx.hook("publish_done", 999, channel.token)[0] == 200
    old = channel.publish()
    channel.leave()
    new = channel.go_live().encoder
    for _ in range(chance.randint(1, 5)):
        world.nginx.hook("publish_done", old.number, old.token)
    assert channel.shown()["status"] == "live"
    assert new.stream in world.nginx.publishing()
    unseen = Channel(world).make()
    both = [("publish_done", 5000, unseen.token), ("publish", 5000, unseen.token)]
    chance.shuffle(both)
    at_once([lambda said=said: world.nginx.hook(*said) for said in both])


@fault("F15")
def many_publishers_with_one_token(world: World, chance: Random) -> None:
    for count in (2, chance.randint(3, 23), 24):
        token = Channel(world).make().token
        clients = at_once([lambda token=token: world.nginx.publish(token)] * count)
        assert sum(client is not None for client in clients) == 1


@fault("F15", USER_MAX_LIVE="3")
def many_publishers_and_a_limit(world: World, chance: Random) -> None:
    world.insist("PUT", "/v1/user/1", {"limits": {"maxLive": 3}})
    channels = [Channel(world).make() for _ in range(8)]
    for _ in range(3):
        assert sum(bool(client) for client in at_once([each.publish for each in channels])) <= 3
        assert len(world.nginx.publishing()) == 3
        for channel in channels:
            channel.leave()


@fault("F16")
def reconnect_storm(world: World, chance: Random) -> None:
    channels = [Channel(world).make() for _ in range(8)]

    def storm(channel: Channel, seed: float) -> None:
        own = Random(seed)
        for _ in range(20):
            channel.publish()
            if own.random() < 0.5:
                channel.leave()

    pairs = [(channel, chance.random()) for channel in channels]
    at_once([lambda pair=pair: storm(*pair) for pair in pairs])
    took = sorted(decision["took"] for decision in world.history.of("decision"))
    assert took[int(len(took) * 0.99)] < 1, f"99% of hooks within 1 s, not {took[-5:]}"


@fault("F17")
def token_reset_while_live(world: World, chance: Random) -> None:
    for disconnect in (False, True):
        channel = Channel(world).make().go_live()
        old, client = channel.token, channel.encoder
        channel.reset_token(disconnect)
        assert world.nginx.publish(old) is None
        if disconnect:
            until(lambda c=client: c.stream not in world.nginx.publishing(), 5, "the publisher is dropped")
            channel.go_live()
        assert channel.encoder.stream in world.nginx.publishing()


@fault("F18")
def channel_deleted_while_live(world: World, chance: Random) -> None:
    channel = Channel(world).make().go_live()
    world.insist("DELETE", f"{channel.path}?delete=true")
    until(lambda: not world.nginx.publishing(), 5, "the publisher is dropped")
    assert channel.publish() is None
    told = world.rows("SELECT name FROM event WHERE channel_id = ? ORDER BY id", channel.id)
    assert [name for (name,) in told][-2:] == ["channel_stop", "channel_ended"]


@fault("lie")
def a_publisher_is_listed_whom_nobody_let_in(world: World, chance: Random) -> None:
    channel = Channel(world).make().go_live()
    for number, stream in ((7001, "ses_nobody"), (7002, channel.encoder.stream)):
        world.nginx.clients[number] = Client(number, "not-a-token", stream)
    until(lambda: {7001, 7002}.isdisjoint(world.nginx.clients), 10, "they are dropped")
    assert channel.encoder.stream in world.nginx.publishing()


@fault("lie")
def a_publisher_is_not_listed(world: World, chance: Random) -> None:
    """It counts as lost, and when it shows again, as one whom nobody let in."""
    channel, other = (Channel(world).make().go_live() for _ in range(2))
    shown = other.encoder.shown
    world.nginx.lie = lambda xml: world_without(xml, channel.encoder.stream)
    until(lambda: not channel.shown()["publishing"], 15, "it counts as lost")
    world.nginx.lie = None
    until(lambda: channel.encoder.stream not in world.nginx.publishing(), 10, "it is dropped")
    channel.go_live()
    assert other.encoder.shown == shown
    assert other.shown()["status"] == "live"


def world_without(xml: bytes, stream: str) -> bytes:
    before, _, rest = xml.decode().partition(f"<stream><name>{stream}</name>")
    return (before + rest.partition("</stream>")[2]).encode()


@fault("lie")
def the_media_server_answers_nonsense(world: World, chance: Random) -> None:
    """That is not "nobody publishes": who is live stays so."""
    channel = Channel(world).make().go_live()
    stat = world.nginx.stat()
    nonsense = [
        *(b"", b"<html><body>502 Bad Gateway</body></html>", b"<rtmp/>", b"<rtmp><server/></rtmp>"),
        *(stat[: len(stat) // 2], stat.replace(b"<bytes_in>", b"<bytes_in>x"), b"\xff\xfe\x00"),
        *(stat.replace(b"<width>640", b"<width>wide"), b"<stat/>"),
    ]
    until(lambda: age_s(world, channel) > 6, 10, "the session is old enough to be missed")
    for body in nonsense:
        asked = threading.Event()
        world.nginx.lie = lambda xml, body=body, asked=asked: (asked.set(), body)[1]
        ring(world)
        assert asked.wait(5), "the worker looks"
    world.nginx.lie = None
    assert channel.shown()["status"] == "live"
    [session] = world.insist("GET", f"{channel.path}/session").data["data"]
    assert session["stopTime"] is None


@fault("lie")
def the_media_server_hangs_for_a_while(world: World, chance: Random) -> None:
    """It hesitates: who is live stays so, and webhooks, timers and new publishers do not wait for it."""
    channel, comes = (Channel(world).make() for _ in range(2))
    channel.go_live()
    hanging = threading.Event()
    world.nginx.lie = lambda xml: (hanging.wait(20), xml)[1]
    world.fault("hangs")
    began = time.monotonic()
    assert comes.publish()
    world.receiver.wait(4)
    assert time.monotonic() - began < 2
    some_time(chance, 0.5, 4.0)
    world.nginx.lie = None
    hanging.set()
    assert channel.shown()["status"] == "live"


@fault("lie")
def the_media_server_never_comes_to_an_end(world: World, chance: Random) -> None:
    """It drips, or sends ever more: who is live stays so; timers, webhooks and publishers do not wait for it."""
    channel, comes, leaves = (
        Channel(world).make(),
        Channel(world).make(),
        Channel(world, stopTimeout=1).make(),
    )
    channel.go_live()
    leaves.go_live()
    done = threading.Event()
    pieces, pause = chance.choice([(0, 0.3), (65536, 0.001)])
    asked = threading.Event()

    def lie(xml: bytes) -> Iterator[bytes]:
        asked.set()
        for number in itertools.count():
            yield b" " * pieces or xml[number : number + 1]
            if done.wait(pause):
                return

    world.nginx.lie = lie
    world.fault("never comes to an end", pieces=pieces)
    assert asked.wait(5), "the worker looks"
    before = len(world.receiver.requests)
    assert comes.publish()
    world.receiver.wait(before + 1)
    leaves.leave()
    until(lambda: leaves.shown()["status"] == "ended", 6, "its time is over")
    assert channel.shown()["status"] == "live"
    world.nginx.lie = None
    done.set()


def age_s(world: World, channel: Channel) -> float:
    [(start_ms,)] = world.rows(
        "SELECT session.start_time FROM session JOIN channel ON channel.pk = channel_id WHERE channel.id = ?",
        channel.id,
    )
    return time.time() - start_ms / 1000


def ring(world: World) -> None:
    """Something happens, so that the worker looks at once."""
    Channel(world).make()
