"""Many at the same moment: on threads of one process, and in processes of their own."""

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

from werkzeug.test import Client

from config import Config
from tests.conftest import ROOT_ID, ROOT_SECRET, basic, prepared_app


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """What these answer, in their order, when all of them begin at the same moment, each on a thread of its own."""
    barrier, answers = threading.Barrier(len(acts)), [None] * len(acts)

    def run(number: int) -> None:
        barrier.wait(30)
        answers[number] = acts[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def processes_at_once(config: Config, processes: int, calls: list[dict[str, Any]]) -> list[Any]:
    """The statuses and bodies of these POSTs of channels, sent at the same moment through several API processes."""
    context = multiprocessing.get_context("spawn")  # a fork would share SQLite connections
    barrier = context.Barrier(processes)
    shares = [(config, calls[number::processes]) for number in range(processes)]
    with context.Pool(processes, _remember, (barrier,)) as pool:
        answers = pool.map_async(_post_all, shares, chunksize=1).get(120)
    return [answer for share in answers for answer in share]


def _remember(barrier: Any) -> None:
    global together
    together = barrier


def _post_all(share: tuple[Config, list[dict[str, Any]]]) -> list[Any]:
    config, calls = share
    app = prepared_app(config)

    def post(call: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": basic(ROOT_ID, ROOT_SECRET)} | call.get("headers", {})
        reply = Client(app).post("/v1/live", json=call["json"], headers=headers)
        return reply.status_code, reply.get_json()

    together.wait(60)
    return at_once([lambda call=call: post(call) for call in calls])
