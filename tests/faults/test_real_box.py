"""The same judge over a box with a real nginx, and real encoders, each part of which is killed."""

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest

from config import from_env
from tests.box import Box, Encoder
from tests.faults.checker import violations
from tests.faults.rounds import prepare
from tests.faults.witness import Witness
from tests.waiting import until

pytestmark = [pytest.mark.box, pytest.mark.both]


class BoxWitness(Witness):
    def __init__(self, box: Box) -> None:
        super().__init__(box.folder, from_env(box.environment), box.http_port)
        self.box = box

    def log(self) -> str:
        return Path(self.box.log).read_text(errors="replace")


def truth(box: Box, made: dict, publishing: bool) -> bool:
    shown = box.channel(made["id"])
    return (shown["publishing"], shown["status"]) == (publishing, "live" if publishing else "init")


def test_every_part_of_a_real_box_killed_in_turn_breaks_no_promise(own_box):
    chance = Random(1)
    witness = BoxWitness(own_box)
    with witness.receiver:
        prepare(witness)
        made = [
            witness.insist("POST", "/v1/live", {"name": f"Channel {n}", "metadata": {"number": n}}).data[
                "data"
            ]
            for n in range(2)
        ]
        with Encoder(own_box, made[0]["streamToken"], stubborn=True):
            with Encoder(own_box, made[1]["streamToken"]) as leaves:
                until(lambda: all(truth(own_box, each, True) for each in made), 20, "both are live")
                for part in chance.sample(["web", "worker", "packager", "media"], 4):
                    pid = own_box.pid(part)
                    witness.fault("kill -9", part=part)
                    os.kill(pid, signal.SIGKILL)
                    if part == "media":
                        leaves.stop()
                    own_box.await_pid(part, pid)
            until(own_box.ready, 20, "every part is well")
            healed = time.monotonic()
            until(lambda: truth(own_box, made[0], True), 20, "who connects again is live again")
            until(lambda: truth(own_box, made[1], False), 10, "who left has left")
            witness.history.write("agreed", took=round(time.monotonic() - healed, 2))
            witness.insist("DELETE", f"/v1/live/{made[0]['id']}")
            witness.insist("DELETE", f"/v1/live/{made[1]['id']}?delete=true")
        videos = "SELECT count(*) FROM event WHERE name = 'video_ready'"
        until(
            lambda: witness.rows(videos) != [(0,)],
            60,
            "the first's catch-up is made, which is the last event",
        )
        pending = "SELECT count(*) FROM delivery WHERE status = 'pending'"
        until(lambda: witness.rows(pending) == [(0,)], 90, "every webhook is told")
        assert own_box.stop() == 0
        assert violations(witness) == []
    witness.history.close()
