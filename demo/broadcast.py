"""The story: create, publish, play, stop, end; each leg measured while it happens."""

import secrets
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

from demo.picture import Picture
from demo.place import DemoError, Place
from demo.receiver import Heard, Receiver
from demo.telling import Leg, report, table

ACCOUNT = "demo"
EVENT_S = 30.0
CATCHUP_S = 6.0  # playable within 5 s of the end, where there is any
PAUSE_S = 0.1


class Broadcast:
    """One channel of the demo's own account, and a webhook that hears of no other."""

    def __init__(self, place: Place, receiver: Receiver, picture: Picture) -> None:
        self.place = place
        self.receiver = receiver
        self.picture = picture
        self.legs: list[Leg] = []
        self.channel: dict[str, Any] = {}
        self.mark = f"demo-{secrets.token_hex(4)}"
        self.fetched: set[str] = set()
        self.bytes = 0

    @property
    def path(self) -> str:
        return f"/v1/live/{self.channel['id']}"

    def run(self, seconds: float, *, keep: bool) -> None:
        self._create()
        self._publish()
        self._watch(seconds, keep)
        self._leave()
        self._end()

    def table(self) -> str:
        heard = f"{len(self.receiver.heard)} webhooks came, each with a signature that is right."
        played = f"{len(self.fetched)} segments were fetched, {self.bytes / 1e6:.1f} MB."
        return f"\n{table(self.legs)}\n\n{heard} {played} What the demo made is removed again."

    def clean_up(self) -> None:
        """Whatever happened, and as far as it came."""
        self.picture.stop()
        for path in self._made():
            try:
                self.place.call("DELETE", path)
            except DemoError as error:
                report(f"Left behind: {error}")

    def _made(self) -> list[str]:
        """Asked for, not remembered: Ctrl-C can come between a call and its answer."""
        try:
            channels = self.place.call("GET", f"/v1/live?accountId={ACCOUNT}&tags={self.mark}")
            webhooks = [each for each in self._webhooks() if each["uri"] == self.receiver.url]
        except DemoError as error:
            report(f"What was made cannot be asked for: {error}")
            return []
        return [
            *(f"/v1/live/{each['id']}?delete=true" for each in channels),
            *(f"/v1/webhook/{each['id']}" for each in webhooks),
        ]

    def _webhooks(self) -> Iterator[dict[str, Any]]:
        for page in count():
            found = self.place.call("GET", f"/v1/webhook?length=100&page={page}")
            yield from found
            if len(found) < 100:
                return

    def _create(self) -> None:
        asked = {"uri": self.receiver.url, "event": "all", "accountId": ACCOUNT, "description": "script/demo"}
        webhook = self.place.call("POST", "/v1/webhook", asked)
        self.receiver.secret = webhook["secret"]
        began = time.time()
        asked = {"name": "Demo", "accountId": ACCOUNT, "tags": [self.mark], "expire": 600, "stopTimeout": 60}
        self.channel = self.place.call("POST", "/v1/live", asked)
        self._leg("channel created", began, time.time(), "from POST /v1/live to its answer")
        report(f"Channel {self.channel['id']} is made.")

    def _publish(self) -> None:
        self.picture.start(self.place.rtmp(self.channel["streamToken"]))
        report("ffmpeg publishes a test picture.")
        self._event("channel_connected", "encoder let in", self.picture.began, "from the start of ffmpeg")
        self._event("channel_live", "live: playable", self.picture.began, "from the start of ffmpeg")
        self._fetch_until(time.time() + EVENT_S, first=True)
        if not self.fetched:
            raise DemoError(f"It is live, but no segment can be fetched. {self._told()}")
        self._leg("first segment fetched", self.picture.began, time.time(), "from the start of ffmpeg")
        report(f"A segment is fetched. Watch: {self.place.public_url}/watch/{self.channel['id']}")

    def _watch(self, seconds: float, keep: bool) -> None:
        report("On air until Ctrl-C." if keep else f"On air for {seconds:g} s.")
        try:
            self._fetch_until(float("inf") if keep else time.time() + seconds)
        except KeyboardInterrupt:
            if not keep:
                raise
        if not self.picture.runs:
            raise DemoError(f"ffmpeg ended by itself: {self.picture.complaint(self.channel['streamToken'])}")

    def _leave(self) -> None:
        began = time.time()
        self.picture.stop()
        self._event("channel_stop", "encoder gone", began, "from asking ffmpeg to end")

    def _end(self) -> None:
        began = time.time()
        self.place.call("DELETE", self.path)
        ended = self._event("channel_ended", "ended", began, "from DELETE /v1/live/{id}")
        until = time.time() + CATCHUP_S
        while not (playable := self._catchup()) and time.time() < until:
            time.sleep(PAUSE_S)
        if playable:
            happened = ended.body["eventTime"] / 1000
            self._leg("catch-up: playable", happened, time.time(), "from channel_ended")
        else:
            self.legs.append(Leg("catch-up", None, "none was made"))

    def _event(self, name: str, what: str, began: float, since: str) -> Heard:
        """Wait for a webhook; when it happened is one leg, how long it took to get here another."""
        until = time.time() + EVENT_S
        while not (heard := self.receiver.wait(name, self.channel["id"], PAUSE_S)):
            if name in ("channel_connected", "channel_live") and not self.picture.runs:
                raise DemoError(f"ffmpeg ended: {self.picture.complaint(self.channel['streamToken'])}")
            if time.time() > until:
                raise DemoError(f"No {name} within {EVENT_S:g} s. {self._told()}")
        self._leg(what, began, heard.body["eventTime"] / 1000, since)
        self.legs.append(
            Leg(f"webhook {name}", max(0.0, heard.after_s), "from the event to its arrival here")
        )
        report(f"{name} came, {heard.after_s * 1000:.0f} ms after it happened; its signature is right.")
        return heard

    def _told(self) -> str:
        """Why something did not come, as far as the box knows."""
        if self.receiver.forged:
            return f"{self.receiver.forged} webhooks had a wrong signature."
        timeline = self.place.call("GET", f"{self.path}/event?length=3")
        said = "; ".join(f"{each['event']} {each['detail'].get('reason', '')}".strip() for each in timeline)
        return f"Its timeline, newest first: {said}. flask --app app doctor says more."

    def _fetch_until(self, moment: float, *, first: bool = False) -> None:
        """Play as a player does: the newest segments of the first rendition, each once."""
        while time.time() < moment and self.picture.runs:
            for url in self._segments():
                if url not in self.fetched and (part := self.place.get(url)):
                    self.fetched.add(url)
                    self.bytes += len(part)
                    if first:
                        return
            time.sleep(PAUSE_S)

    def _segments(self) -> list[str]:
        return _listed(self.place, f"{self.place.public_url}/play/{self.channel['id']}/master.m3u8")

    def _catchup(self) -> bool:
        video = self.place.call("GET", self.path)["videoUrl"]
        return bool(video and self.place.get(video))

    def _leg(self, what: str, began: float, ended: float, since: str) -> None:
        self.legs.append(Leg(what, max(0.0, ended - began), since))


def _listed(place: Place, url: str) -> list[str]:
    """The segments of a playlist; of a master playlist, those of its first rendition."""
    text = (place.get(url) or b"").decode()
    names = [f"{url.rpartition('/')[0]}/{line}" if "://" not in line else line for line in _names(text)]
    if "#EXT-X-STREAM-INF" in text:
        return _listed(place, names[0])
    return names


def _names(text: str) -> Iterator[str]:
    yield from (line for line in text.splitlines() if line and not line.startswith("#"))
