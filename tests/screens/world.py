"""A believable installation at work: channels in every state, webhooks, tokens, viewers."""

import http.client
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from config import from_env
from db import database, utcnow
from models import Attempt, Delivery, DeliveryStatus, Webhook
from tests import audience
from tests.box import TOKEN_ID, TOKEN_SECRET, Box, Encoder
from tests.encoders import Custom, hevc, with_sound, without_sound
from tests.receiver import Answer, Receiver
from tests.screens.pages import NEWCOMER, READER, ROOT
from tests.screens.past import lengthen, write_past
from tests.waiting import until

AUDIENCE = 23
LIVE_S = 30
WAIT_S = 60
ENDED_S = 12
BROKEN = Answer(503, body=b"<html><head><title>503 Service Temporarily Unavailable</title></head></html>")
PAUSES_S = (0, 5, 300, 1800, 7200, 18_000, 36_000, 36_000)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class World:
    """`names`: what stands in braces in the pages' paths."""

    box: Box
    names: dict[str, str]
    cookies: dict[str, dict[str, Any]]


@contextmanager
def world(folder: Path, *, on_air: bool) -> Iterator[World]:
    """A box with a past. `on_air`: and with all that is made while it runs, which takes a minute."""
    box = Box(folder)
    config = from_env(box.environment)
    say("Writing a month of broadcasts ...")
    write_past(config, utcnow())
    say("Starting the box ...")
    with ExitStack() as stack:
        box.start()
        stack.callback(box.stop)
        here = World(box, {}, {ROOT: signed_in(box, TOKEN_ID, TOKEN_SECRET)})
        fill_tokens(here)
        if on_air:
            stack.enter_context(database.connection_context())
            fill(here, stack)
        yield here


def signed_in(box: Box, token_id: str, secret: str) -> dict[str, Any]:
    """The cookie of somebody who has signed in, as a browser takes it."""
    connection = http.client.HTTPConnection("127.0.0.1", box.http_port, timeout=10)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/", urlencode({"id": token_id, "secret": secret}), kind)
    reply = connection.getresponse()
    name, _, value = reply.headers["Set-Cookie"].partition(";")[0].partition("=")
    connection.close()
    return {"name": name, "value": value, "path": "/", "httpOnly": True, "sameSite": "Strict"}


def fill_tokens(here: World) -> None:
    def made(**fields: Any) -> dict[str, Any]:
        return here.box.call("POST", "/v1/token", fields)[1]["data"]

    server = made(role="app", name="App Server")
    later = (utcnow() + timedelta(days=20)).isoformat()
    made(role="app", name="Sports club", accountId="sport", expiresAt=later)
    reader = made(role="read", name="Wallboard in the control room")
    newcomer = made(role="app", name="Book club", accountId="bookclub")
    here.names["token"] = server["id"]
    here.cookies[READER] = signed_in(here.box, reader["id"], reader["secret"])
    here.cookies[NEWCOMER] = signed_in(here.box, newcomer["id"], newcomer["secret"])


def fill(here: World, stack: ExitStack) -> None:
    """Everything that needs real parts; what waits for each other least comes first."""
    say("Going on air ...")
    box = here.box
    healthy = stack.enter_context(Receiver())
    broken = stack.enter_context(Receiver(lambda request, number: BROKEN))
    hooks = {
        "webhook": {"uri": f"{healthy.url}/livestream/events", "description": "App Server"},
        "failing": {
            "uri": f"{broken.url}/hooks",
            "event": "channel_live,channel_ended",
            "description": "Old CMS",
        },
        "off": {"uri": "https://receiver.example/a/rather/long/path/to/the/receiver", "active": False},
    }
    for name, fields in hooks.items():
        here.names[name] = box.call("POST", "/v1/webhook", {"event": "all"} | fields)[1]["data"]["id"]
    channels = make_channels(box)
    here.names |= {name: made["id"] for name, made in channels.items()}

    def key(name: str) -> str:
        return channels[name]["streamToken"]

    def on_air(name: str, words: list[str]) -> Encoder:
        return stack.enter_context(Custom(box, key(name), words))

    on_air("live", with_sound("854x480", 25, 50, "-b:v", "1800k"))
    on_air("troubled", without_sound("640x360", 25, 250))
    stack.enter_context(hevc(box, key("error")))
    leaving = {name: on_air(name, with_sound("640x360", 25, 50)) for name in ("ended", "interrupted")}
    for name in ("live", "troubled", *leaving):
        box.await_status(here.names[name], "live", 40)
    began = time.monotonic()
    watching(box, here.names["live"], stack)
    lengthen(here.names["live"], 47, 260, utcnow())
    fill_studio(here)
    until(lambda: time.monotonic() - began > ENDED_S, 30, "there is something to see again")
    for encoder in leaving.values():
        encoder.stop()
    for name in leaving:
        box.await_status(here.names[name], "init")
    box.call("DELETE", f"/v1/live/{here.names['ended']}")
    say("Waiting for what takes its time: replays, health, tries ...")
    await_all(here)
    fill_deliveries(here)


def make_channels(box: Box) -> dict[str, dict[str, Any]]:
    tonight = (utcnow() + timedelta(hours=3, minutes=20)).isoformat()
    asked = {
        "coming": {"name": "Sunday service, with the choir", "accountId": "church", "startAt": tonight},
        "waiting": {"name": "Backyard camera", "tags": "garden"},
        "signed": {"name": "General meeting of the members", "accountId": "sport", "playback": "signed"},
        "live": {
            "name": "Derby: Northside against Southside, the whole match with commentary and replays",
            "description": "The whole match, from half past seven.\nThe replay follows within a minute of the end.",
            "accountId": "sport",
            "tags": "football,derby,women,second-league,floodlight",
            "dvr": True,
            "record": True,
            "transcodeProfile": "360p",
        },
        "troubled": {"name": "Lecture hall 3", "accountId": "university", "tags": "lecture"},
        "error": {"name": "Radio room", "accountId": "university"},
        "ended": {
            "name": "Town council, session 6",
            "description": "With the budget of next year.",
            "accountId": "council",
            "tags": "council,public",
            "record": True,
            "thumbnail": True,
        },
        "interrupted": {"name": "Market square", "accountId": "council", "stopTimeout": 1800},
    }
    plain = {"transcodeProfile": ""}
    return {name: box.create(**plain | fields) for name, fields in asked.items()}


def watching(box: Box, channel_id: str, stack: ExitStack) -> None:
    """An audience that stays until the end of the block."""
    leaving = threading.Event()

    def watch() -> None:
        while not leaving.is_set():
            audience.play(box.http_port, channel_id, [[(0, LIVE_S)]] * AUDIENCE)

    thread = threading.Thread(target=watch, name="audience", daemon=True)
    thread.start()
    stack.callback(thread.join, LIVE_S + 10)
    stack.callback(leaving.set)


def fill_studio(here: World) -> None:
    for name in ("live", "troubled", "waiting", "coming", "interrupted", "ended"):
        reply = here.box.call("POST", f"/v1/live/{here.names[name]}/studio", {})
        here.names[f"studio_{name}"] = reply[1]["data"]["studioUrl"].rpartition("/")[2]


def await_all(here: World) -> None:
    box, names = here.box, here.names

    def tried_again() -> bool:
        found = deliveries(here, "failing")
        return bool(found) and found[-1]["attempts"] > 1

    until(lambda: box.channel(names["ended"])["videoUrl"], WAIT_S, "the replay is there")
    until(lambda: box.channel(names["ended"])["recordUrl"], WAIT_S, "the recording is there")
    until(lambda: box.get(f"/play/{names['ended']}/storyboard.vtt"), WAIT_S, "the storyboard is there")
    until(lambda: len(box.channel(names["troubled"])["healthReasons"]) > 1, WAIT_S, "there is advice")
    until(lambda: box.channel(names["error"])["status"] == "error", WAIT_S, "a signal is not understood")
    until(tried_again, WAIT_S, "what failed was tried again")
    names["video"] = box.read("/v1/video?length=1")[0]["id"]


def deliveries(here: World, webhook: str) -> list[dict[str, Any]]:
    """Newest first."""
    return here.box.read(f"/v1/webhook/{here.names[webhook]}/delivery?length=100")


def fill_deliveries(here: World) -> None:
    here.names["delivered"] = deliveries(here, "webhook")[0]["id"]
    failing = deliveries(here, "failing")
    here.names["tried"] = failing[-1]["id"]
    here.names["given_up"] = give_up(failing[0]["id"], here.names["failing"])


def give_up(delivery_id: str, webhook_id: str) -> str:
    """Tries of two days, which nobody waits for."""
    with database.atomic():
        delivery = Delivery.one("id = ?", delivery_id)
        time = utcnow() - timedelta(seconds=sum(PAUSES_S))
        Webhook.update(failing_since=time).where(Webhook.id == webhook_id).execute()
        Attempt.delete().where(Attempt.delivery == delivery.pk).execute()
        delivery.created_at = time
        for number, pause in enumerate(PAUSES_S, 1):
            time += timedelta(seconds=pause)
            refused = (
                {"error": "Connection refused"}
                if number % 3 == 0
                else {
                    "status_code": BROKEN.status,
                    "latency_ms": 20 + 7 * number,
                    "answer": BROKEN.body,
                }
            )
            Attempt.create(delivery=delivery, number=number, time=time, **refused)
        delivery.status, delivery.attempts, delivery.next_at = DeliveryStatus.FAILED, len(PAUSES_S), None
        delivery.keep()
    return delivery_id
