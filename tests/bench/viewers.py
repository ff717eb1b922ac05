"""`script/bench viewers`: what is counted beside what is true, and what counting costs."""

import subprocess
import sys
import time
from pathlib import Path

from config import Config
from db import bind, database, migrate, utcnow
from live.audience import Count
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import Links
from media.playlog import Playlog, make_private, parse
from media.storage import make_folders
from models_analytics import AudienceHour
from tests.audience import crowd, play
from tests.bench.table import Row
from tests.box import Encoder, running_box
from tests.conftest import installation
from tests.story import new
from tests.waiting import until
from worker import COUNT_EVERY_S

SECONDS, SIZE = 64, 200
COST_S, VIEWERS, CHANNELS = 20, 2000, 20
# 2,000 viewers ask for a playlist every 2 s, and for a segment every 4 s.
FEEDER = f"""
import sys, time
began, written = time.time(), 0
with open(sys.argv[1], "a") as log:
    while (now := time.time()) < began + {COST_S}:
        for number in range(written, int((now - began) * 1500)):
            kind = "segment" if number % 3 == 2 else "playlist"
            viewer = (number // 3 * 2 + number % 3 if kind == "playlist" else number // 3) % {VIEWERS}
            channel = sys.argv[2 + viewer % {CHANNELS}]
            log.write(f'{{now:.3f}} 0.002 200 900 {{kind}} {{channel}} 192.0.2.{{viewer % 250}} '
                      f'"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) {{viewer}}"\\n')
            written = number + 1
        log.flush()
        time.sleep(0.1)
"""


def rows(folder: Path, rounds: int) -> list[Row]:
    return cost_rows(folder / "cost", rounds) + true_rows(folder / "true", rounds)


def true_rows(folder: Path, rounds: int) -> list[Row]:
    """200 viewers of a broadcast for a minute: a quarter leaves early, a quarter is away for longer and comes again."""
    counted: dict[str, list[float]] = {"ccu": [], "watchTime": [], "views": []}
    true: dict[str, list[float]] = {"ccu": [], "watchTime": [], "views": []}
    folder.mkdir()
    with running_box(folder) as box:
        for number in range(rounds):
            made = box.create(accountId=f"round-{number}")
            with Encoder(box, made["streamToken"]):
                box.await_status(made["id"], "live", 20)
                truth = play(box.http_port, made["id"], crowd(SIZE, SECONDS, seed=number))
                time.sleep(2 * COUNT_EVERY_S + 1)  # nginx has written, the worker has read
            totals = box.read(f"/v1/analytics?channelId={made['id']}")["totals"]
            for name, value in (
                ("ccu", truth.peak()),
                ("watchTime", truth.watched),
                ("views", len(truth.presences)),
            ):
                counted[name].append(totals[name])
                true[name].append(value)
    peer = "as the viewers saw it"
    return [
        ("most viewers at the same moment", counted["ccu"], true["ccu"], "", peer),
        ("watch time", counted["watchTime"], true["watchTime"], "s", peer),
        ("views", counted["views"], true["views"], "", peer),
    ]


def cost_rows(folder: Path, rounds: int) -> list[Row]:
    """The worker's step on a log that grows by 1,000 playlist and 500 segment requests a second."""
    folder.mkdir()
    ours, bare = [], []
    for number in range(rounds):
        config = installation(folder / str(number))
        make_folders(config)
        bind(config.database_url)
        migrate()
        with database.connection_context():
            ours.append(cost(config))
        bare.append(bare_cost(config.play_log))
    return [("1,000 playlist requests a second, share of a core", ours, bare, "%", "a loop that parses")]


def cost(config: Config) -> float:
    lifecycle = Lifecycle(Links(config.public_url, config.rtmp_url), Limits(config.user_limits), lambda: None)
    channels = [new(lifecycle, utcnow(), accountId=str(number % 5)).id for number in range(CHANNELS)]
    make_private(config.play_log)
    count = Count(Playlog(config.play_log, config.run_dir / "nginx.pid"))
    with subprocess.Popen([sys.executable, "-c", FEEDER, str(config.play_log), *channels]) as feeder:
        spent = 0.0
        while feeder.poll() is None:
            began = time.process_time()
            count.step(utcnow())
            spent += time.process_time() - began
            time.sleep(COUNT_EVERY_S)
    until(lambda: count.step(utcnow()) or count.log.caught_up, 10, "the rest is counted")
    written = config.play_log.read_bytes().count(b"\n")
    whole = AudienceHour.select().where(AudienceHour.account_id == "")
    assert sum(row.bytes for row in whole) == 900 * written, "each line is counted once"
    assert written >= 0.95 * 1500 * COST_S
    return 100 * spent / COST_S


def bare_cost(log: Path) -> float:
    began = time.process_time()
    for line in log.read_bytes().splitlines():
        parse(line)
    return 100 * (time.process_time() - began) / COST_S
