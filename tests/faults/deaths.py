"""A process of its own for each death: it does one thing to a database and kills itself before its n-th statement.

The processes are forked from a server that has everything imported, so that each costs a tenth of a start.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peewee import sqlite3
from werkzeug.test import Client

from app import create_app, create_hook_app
from config import Config
from db import bind, database, migrate
from media.storage import hook_secret, make_folders
from tests.conftest import ROOT_ID, ROOT_SECRET, basic

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.deaths"])

Act = Callable[[Config], Any]


def die_at(statement: int, act: Act, config: Config) -> bool:
    """Do this in a process that dies before that statement; False if it came to its end without getting there."""
    process = CONTEXT.Process(target=_run, args=(statement, act, config))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def _run(statement: int, act: Act, config: Config) -> None:
    left = [statement]

    def count(told: str) -> None:
        left[0] -= not told.startswith(
            "--"
        )  # of triggers and of the full-text index: many, in one statement of ours
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    class Traced(sqlite3.Connection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.set_trace_callback(count)

    make_folders(config)
    bind(config.database_url).connect_params["factory"] = Traced
    act(config)
    if not database.is_closed():
        database.close()


def upgrade(config: Config) -> None:
    migrate()


@dataclass(frozen=True)
class Call:
    """A request of an App Server, answered without a network. It stands here because the other process
    imports this file only."""

    method: str
    path: str
    json: Any = None
    key: str = ""

    def __call__(self, config: Config) -> Any:
        headers = {"Authorization": basic(ROOT_ID, ROOT_SECRET)}
        headers |= {"Idempotency-Key": self.key} if self.key else {}
        return Client(create_app(config)).open(self.path, method=self.method, json=self.json, headers=headers)


def hook(config: Config, body: str) -> Any:
    path = f"/hooks/nginx-rtmp/{hook_secret(config)}?instance=aa"
    form = "application/x-www-form-urlencoded"
    return Client(create_hook_app(config)).post(path, data=body, content_type=form)
