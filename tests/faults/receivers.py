"""Faults of receivers (F20..F25). How each kind of bad answer is dealt with is in tests/test_delivery.py; here they
come while everything else goes on, and nothing may be lost, doubled in the books or out of order for it.
"""

import threading
from random import Random

from tests.faults.rounds import fault, some_time
from tests.faults.traffic import Channel, Traffic
from tests.faults.world import World
from tests.receiver import Answer, Request
from tests.waiting import until


@fault("F20..F25")
def receivers_fail_at_random(world: World, chance: Random) -> None:
    """Every third first try fails in one way or another; second ones succeed."""
    kinds = [
        Answer(status=500),
        Answer(status=302, headers={"Location": f"{world.receiver.url}/elsewhere"}),
        Answer(status=429, headers={"Retry-After": "1"}),
        Answer(status=503, headers={"Retry-After": "soon"}),
        Answer(reset=True),
        Answer(raw=b"nonsense\r\n\r\n"),
        Answer(delay=0.7),
        Answer(endless=True),
    ]
    seen: set[tuple[str, str]] = set()
    lock = threading.Lock()

    def answers(request: Request, number: int) -> Answer:
        with lock:
            tried = (request.path, request.headers["webhook-id"])
            first = tried not in seen
            seen.add(tried)
            return chance.choice(kinds) if first and chance.random() < 1 / 3 else Answer()

    world.answers = answers
    with Traffic(world, chance):
        some_time(chance, 1, 3)
    assert not [request for request in world.receiver.requests if request.path == "/elsewhere"]


@fault("F21")
def a_receiver_is_gone_for_good(world: World, chance: Random) -> None:
    """410 turns off that webhook alone, and what waited for it is cancelled, not lost."""
    world.unreachable.add("/some")
    world.answers = lambda request, number: Answer(status=410 if request.path == "/some" else 200)
    channels = [Channel(world).make() for _ in range(4)]
    for channel in channels:
        channel.go_live()
        channel.leave()
        world.insist("DELETE", channel.path)
    until(
        lambda: world.rows("SELECT count(*) FROM webhook WHERE NOT active") == [(1,)], 10, "it is turned off"
    )
    statuses = {
        status
        for (status,) in world.rows(
            "SELECT status FROM delivery WHERE webhook_id IN (SELECT id FROM webhook WHERE NOT active)"
        )
    }
    assert statuses <= {"failed", "cancelled"}


@fault("F24")
def a_receiver_never_answers(world: World, chance: Random) -> None:
    """Its own queue waits for it, up to the deadline; nobody else's does."""
    silent = chance.choice([Answer(silent=True), Answer(drip="body"), Answer(drip="header")])
    hung: list[str] = []

    def answers(request: Request, number: int) -> Answer:
        if request.path == "/some" and not hung:
            hung.append(request.headers["webhook-id"])
            return silent
        return Answer()

    world.answers = answers
    channel = Channel(world).make().go_live()
    channel.leave()
    world.insist("DELETE", channel.path)
    until(
        lambda: sum(request.path == "/all" for request in world.receiver.requests) >= 4,
        9,  # before the silent one is given up, after 10 s
        "all is told the others",
    )
