"""Health and limits on the real box, by real encoders with real faults."""

import signal

import pytest

from tests.box import Encoder
from tests.waiting import until

pytestmark = pytest.mark.box

GOOD = {"size": "640x360", "gop": 50}


def encoder(box, channel, *, speed: float = 1.0, **settings) -> Encoder:
    made = Encoder(box, channel["streamToken"], **GOOD | settings)
    made.argv[made.argv.index("-re")] = "-readrate"
    made.argv.insert(made.argv.index("-readrate") + 1, str(speed))
    return made


def await_health(box, channel, word: str, reasons: list[str], timeout_s: float) -> None:
    def reached() -> bool:
        found = box.channel(channel["id"])
        return (found["health"], found["healthReasons"]) == (word, reasons)

    until(reached, timeout_s, f"{channel['name']} is {word} because of {reasons}")


def kinds(box, channel) -> list[str]:
    return [entry["event"] for entry in box.timeline(channel["id"])]


def test_each_encoder_has_the_health_that_its_fault_makes(box):
    names = ("well", "rare key frames", "too slow", "frozen")
    well, rare, slow, frozen = channels = [box.create(name=name) | {"name": name} for name in names]
    with (
        encoder(box, well),
        encoder(box, rare, gop=125),
        encoder(box, slow, speed=0.6),
        encoder(box, frozen) as stopping,
    ):
        for each in channels:
            box.await_status(each["id"], "live", 20)
        for each in (well, frozen):
            received = until(lambda each=each: measured(box, each), 20, "it is measured")
            assert received["video"] | {"bitrate": 0, "fps": 25} == {
                "codec": "H264",
                "profile": "Constrained Baseline",
                "width": 640,
                "height": 360,
                "fps": 25,
                "bitrate": 0,
                "keyframeInterval": 2.0,
            }
            assert received["video"]["fps"] == pytest.approx(25, rel=0.1)
            assert received["video"]["bitrate"] == pytest.approx(600, rel=0.4)
            assert received["audio"]["bitrate"] == pytest.approx(96, rel=0.4)
            await_health(box, each, "excellent", [], 5)

        stopping.process.send_signal(signal.SIGSTOP)
        await_health(box, frozen, "unstable", ["starved"], 20)
        stopping.process.send_signal(signal.SIGCONT)
        await_health(box, rare, "acceptable", ["keyframe_interval"], 30)
        await_health(box, slow, "unstable", ["starved"], 30)
        await_health(box, frozen, "excellent", [], 40)
        await_health(box, well, "excellent", [], 1)

        assert kinds(box, frozen) == ["created", "published", "live", "unstable", "stable"]
        assert kinds(box, slow) == ["created", "published", "live", "unstable"]
        for each in (well, rare):
            assert kinds(box, each) == ["created", "published", "live"]
    for each in channels:
        until(lambda each=each: box.channel(each["id"])["health"] is None, 5, "who is not live has no health")
        box.call("DELETE", f"/v1/live/{each['id']}?delete=true")


def measured(box, channel) -> dict | None:
    received = box.read(f"/v1/live/{channel['id']}/metadata")
    return received if (received["video"] or {}).get("keyframeInterval") else None


def test_a_picture_that_is_too_high_is_warned_and_then_cut(box):
    box.call("PUT", "/v1/user/low", {"limits": {"maxHeight": 240}})
    made = box.create(accountId="low")
    with encoder(box, made) as cut:
        until(lambda: "limit_near" in kinds(box, made), 10, "a warning is in the timeline")
        assert box.channel(made["id"])["publishing"]
        assert cut.refused(20)
    assert [entry["endReason"] for entry in box.sessions(made["id"])] == ["limit_height"]
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")
    box.call("DELETE", "/v1/user/low")
