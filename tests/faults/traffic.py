"""What App Servers and encoders do all the while: channels are made, changed, published to and left, at random."""

import itertools
import threading
from random import Random
from typing import Any

from tests.faults.nginx import Client
from tests.faults.world import World
from tests.waiting import until

_numbers = itertools.count(1)


class Channel:
    """A channel and its encoder; one thread at a time has it."""

    def __init__(self, world: World, **fields: Any) -> None:
        self.world = world
        self.encoder: Client | None = None
        number = next(_numbers)
        body = {"name": f"Channel {number}", "metadata": {"number": number}} | fields
        self.body, self.key = body, f"key-{number}"
        self.id = self.token = ""

    def make(self) -> "Channel":
        """Made once, however often it must be asked for."""
        made = self.world.insist("POST", "/v1/live", self.body, key=self.key)
        assert made.status == 201, made
        self.id, self.token = made.data["data"]["id"], made.data["data"]["streamToken"]
        return self

    @property
    def path(self) -> str:
        return f"/v1/live/{self.id}"

    def shown(self) -> dict[str, Any]:
        return self.world.insist("GET", self.path).data["data"]

    def publish(self) -> Client | None:
        """One try of the encoder, or of a second one beside it; None where it is refused."""
        client = self.world.nginx.publish(self.token)
        self.encoder = client or self.encoder
        return client

    @property
    def on_air(self) -> bool:
        return self.encoder is not None and self.encoder.stream in self.world.nginx.publishing()

    def leave(self) -> None:
        if self.encoder:
            self.world.nginx.leave(self.encoder)
            self.encoder = None

    def go_live(self) -> "Channel":
        """Publish until let in and playable."""
        until(lambda: self.on_air or self.publish(), 20, "the encoder is let in")
        until(lambda: self.shown()["status"] == "live", 20, f"{self.id} is live")
        return self

    def reset_token(self, disconnect: bool = False) -> None:
        reply = self.world.insist("POST", f"{self.path}/token", {"disconnect": disconnect})
        if reply.status == 200:
            self.token = reply.data["data"]["streamToken"]


class Traffic:
    """Channels with a thread each, at work between `with` and its end."""

    def __init__(self, world: World, chance: Random, channels: int = 3) -> None:
        self.world = world
        self.stopping = threading.Event()
        self.channels = [Channel(world).make() for _ in range(channels)]
        self.threads = [
            threading.Thread(target=self._run, args=(channel, Random(chance.random())))
            for channel in self.channels
        ]
        self.failures: list[Exception] = []

    def __enter__(self) -> "Traffic":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(90)
        if self.failures:
            raise self.failures[0]

    def _run(self, channel: Channel, chance: Random) -> None:
        acts = [
            channel.publish,
            channel.publish,
            channel.leave,
            channel.shown,
            lambda: self.world.insist("PUT", channel.path, {"name": f"Renamed {next(_numbers)}"}),
            channel.reset_token,
            lambda: Channel(self.world).make(),
        ]
        try:
            while not self.stopping.wait(chance.uniform(0, 0.1)):
                chance.choice(acts)()
        except Exception as error:  # shown by the thread that waits for this one
            self.failures.append(error)
