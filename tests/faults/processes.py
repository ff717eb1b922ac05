"""Faults of our own processes: killed, asked to stop, doubled, without open files, with a clock that jumps (F1..F4,
F29, F34, F40); and backups beside them (F37)."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import psutil

from tests.box import free_ports
from tests.faults.rounds import fault, some_time
from tests.faults.traffic import Channel, Traffic
from tests.faults.world import Part, World
from tests.race import at_once
from tests.receiver import Answer, Request
from tests.waiting import until
from upkeep import archive


@fault("F1")
def web_killed_at_a_statement(world: World, chance: Random) -> None:
    """Of a create, a change, a new token, a stop; whoever asks again gets what was done or has it done once."""
    for _ in range(3):
        where = chance.choice([f"statement:{chance.randint(1, 30)}", "reply"])
        channel = Channel(world)
        world.call("POST", "/v1/live", channel.body, key=channel.key, kill_at=where)
        start_again_if_dead(world)
        channel.make()
        method, rest, body = chance.choice(
            [
                ("PUT", "", {"name": "Renamed", "tags": "a,b"}),
                ("POST", "/token", {"disconnect": True}),
                ("DELETE", "", None),
                ("DELETE", "?delete=true", None),
            ]
        )
        channel.publish()
        where = chance.choice([f"statement:{chance.randint(1, 40)}", "reply"])
        world.call(method, channel.path + rest, body, kill_at=where)
        start_again_if_dead(world)
        world.insist(method, channel.path + rest, body)


@fault("F1")
def web_killed_at_a_statement_of_a_hook(world: World, chance: Random) -> None:
    for _ in range(3):
        channel = Channel(world).make()
        where = chance.choice([f"statement:{chance.randint(1, 30)}", "reply"])
        channel.encoder = world.nginx.publish(channel.token, kill_at=where)
        start_again_if_dead(world)
        channel.go_live()  # at once, or when the lost one is seen not to be there
        world.nginx.leave(channel.encoder, kill_at=f"statement:{chance.randint(1, 30)}")
        start_again_if_dead(world)


@fault("F1")
def web_killed_at_a_random_moment(world: World, chance: Random) -> None:
    with Traffic(world, chance):
        for _ in range(2):
            some_time(chance, 0.2, 1.0)
            world.kill(world.web)
            world.start_web()


@fault("F1", WEB_PROCESSES="3")
def one_of_several_webs_killed_at_a_random_moment(world: World, chance: Random) -> None:
    """Nobody has to start it again; the others answer meanwhile."""
    with Traffic(world, chance):
        for _ in range(5):
            some_time(chance, 0.1, 0.5)
            victim = chance.choice(psutil.Process(world.web.process.pid).children())
            world.fault("kill -9", part="one process of web")
            victim.kill()
    assert world.web.running


@fault("F2")
def worker_killed_while_a_webhook_is_on_its_way(world: World, chance: Random) -> None:
    world.answers = lambda request, number: Answer(delay=0.5)
    channel = Channel(world).make().go_live()
    world.insist("DELETE", channel.path)
    world.receiver.wait(1)
    world.kill(world.worker)
    world.answers = lambda request, number: Answer()
    world.start_worker()


@fault("F2")
def worker_killed_at_a_chosen_point(world: World, chance: Random) -> None:
    """Before it sends, when it was answered and has not written it down, before any statement at all."""
    world.worker.end()
    points = [f"send:{chance.randint(1, 4)}", f"sent:{chance.randint(1, 4)}"]
    for where in [*points, f"statement:{chance.randint(15, 250)}"]:
        worker = world.start_worker(where)
        channel = Channel(world).make()
        channel.publish()
        channel.leave()
        channel.publish()
        until(lambda dead=worker: not dead.running, 30, f"the worker dies at {where}")
        world.fault("died", where=where)
        worker.wait()
    world.start_worker()


@fault("F2")
def worker_killed_at_a_random_moment(world: World, chance: Random) -> None:
    with Traffic(world, chance):
        for _ in range(2):
            some_time(chance, 0.2, 1.0)
            world.kill(world.worker)
            world.start_worker()


@fault("F3")
def both_killed_between_the_change_and_its_webhook(world: World, chance: Random) -> None:
    world.kill(world.worker)
    channel = Channel(world).make()
    channel.publish()
    world.call("DELETE", channel.path, kill_at="reply")
    world.web.wait()
    assert not world.receiver.requests
    world.start_web()
    world.start_worker()
    world.receiver.wait(3)


@fault("F4")
def web_asked_to_stop_with_requests_in_it(world: World, chance: Random) -> None:
    with Traffic(world, chance, channels=4):
        some_time(chance, 0.2, 0.8)
        world.fault("TERM", part="web")
        assert world.web.end() == 0
        world.start_web()


@fault("F4")
def worker_asked_to_stop_with_webhooks_on_their_way(world: World, chance: Random) -> None:
    world.answers = lambda request, number: Answer(delay=chance.uniform(0.1, 0.5))
    channel = Channel(world).make().go_live()
    channel.leave()
    world.receiver.wait(1)
    world.fault("TERM", part="worker")
    assert world.worker.end() == 0
    world.start_worker()


@fault("F30")
def packager_killed_at_a_random_moment(world: World, chance: Random) -> None:
    """Who is live stays so, and the next packager goes on."""
    channel = Channel(world).make().go_live()
    for _ in range(2):
        some_time(chance, 0.0, 1.5)
        world.kill(world.packager)
        some_time(chance, 0.0, 1.0)
        world.packager = world.start_part("packager")
    Channel(world).make().go_live()
    assert channel.shown()["status"] == "live"


@fault("F29")
def the_clock_jumps_ahead(world: World, chance: Random) -> None:
    world.answers = at_first_failing
    jump(world, chance, 3600)


@fault("F29")
def the_clock_jumps_back(world: World, chance: Random) -> None:
    world.answers = at_first_failing
    jump(world, chance, -3600)


def at_first_failing(request: Request, number: int) -> Answer:
    return Answer(delay=0.2, status=500 if number < 3 else 200)


def jump(world: World, chance: Random, seconds: int) -> None:
    running = Channel(world, stopTimeout=1800).make().go_live()
    with Traffic(world, chance):
        some_time(chance, 0.2, 0.6)
        world.fault("clock", seconds=seconds)
        fresh = world.clock.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.rename(world.clock)
        some_time(chance, 0.5, 1.0)
    assert running.shown()["status"] == "live", "a broadcast is cut by no clock"


@fault("F29")
def the_clock_jumps_ten_years_ahead(world: World, chance: Random) -> None:
    """Whatever has waited for a time is due; nothing is lost for that, and no broadcast is cut."""
    world.answers = lambda request, number: Answer(delay=0.2)
    jump(world, chance, 10 * 365 * 86400)


@fault("F34")
def two_workers_at_once(world: World, chance: Random) -> None:
    """The second waits for its turn, and has it when the first is killed."""
    first = world.worker
    with Traffic(world, chance):
        second = world.start_part("worker")
        until(lambda: any("another worker is at work" in line for line in second.lines), 10, "it waits")
        world.fault("kill -9", part="worker")
        first.end(9)
        world.worker = second
    until(lambda: world.call("GET", "/readyz").status == 200, 15, "the second one works")


@fault("F34")
def two_webs_at_once(world: World, chance: Random) -> None:
    """The second is refused and takes nothing away from the first; when that is killed, the next one is let in."""
    port, socket = free_ports(1)[0], world.config.hook_socket
    with Traffic(world, chance):
        before = socket.stat().st_ino
        second = world.start_part("app", PORT=str(port))
        assert second.wait() == 1
        assert [line for line in second.lines if "Another web is running" in line] == second.lines
        assert socket.stat().st_ino == before
        some_time(chance, 0.1, 0.5)
        world.kill(world.web)
        world.start_web()
    Channel(world).make().go_live()


@fault("F37")
def backups_while_everything_goes_on(world: World, chance: Random) -> None:
    """One is killed at any moment; the next is whole, and all that is left."""
    folder = world.folder / "backups"
    folder.mkdir()
    with Traffic(world, chance):
        killed = world.command("backup", str(folder / "killed.tar"))
        some_time(chance, 0.2, 1.2)
        world.fault("kill -9", part="backup")
        killed.end(9)
        for _ in range(2):
            made = world.command("backup", str(folder / "whole.tar"), "--force")
            assert made.wait() == 0, made.lines
    assert archive.manifest_of(folder / "whole.tar")["counts"]["channel"] >= 3
    assert {each.name for each in folder.iterdir()} <= {"whole.tar", "killed.tar"}


@fault("F40")
def web_has_no_open_files_left(world: World, chance: Random) -> None:
    """Whoever asks is answered or refused, nobody hangs, and it recovers by itself."""
    channels = [Channel(world).make() for _ in range(12)]
    with few_files(world, world.web, chance.randint(0, 8)):
        acts = [lambda each=each: world.call("PUT", each.path, {"name": "Named again"}) for each in channels]
        acts += [channel.publish for channel in channels[:4]]
        at_once(acts)
    for channel in channels[:4]:
        channel.go_live()


@fault("F40")
def worker_has_no_open_files_left(world: World, chance: Random) -> None:
    with Traffic(world, chance), few_files(world, world.worker, chance.randint(0, 3)):
        some_time(chance, 0.5, 2.0)


@contextmanager
def few_files(world: World, part: Part, more: int) -> Iterator[None]:
    """This process may open as many more files and connections, and no more."""
    process = psutil.Process(part.process.pid)
    before = process.rlimit(psutil.RLIMIT_NOFILE)
    world.fault("few files", more=more)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + more, before[1]))
    yield
    process.rlimit(psutil.RLIMIT_NOFILE, before)
    world.fault("enough files")


def start_again_if_dead(world: World) -> None:
    """The point may lie beyond the request's last statement; then it was answered."""
    asked = [record for record in world.history.records if record["kind"] in ("lost", "reply", "decision")]
    if asked[-1]["kind"] == "reply" or asked[-1].get("status"):
        return
    world.fault("died")
    world.web.wait()
    world.start_web()
