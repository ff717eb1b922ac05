"""A PostgreSQL of the tests' own, on a Unix socket in a short folder, and a database of its own for each installation.

The suite runs on it with TEST_DATABASE=postgresql; a test that is about SQLite's file asks for the mark `sqlite`.
"""

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from db import bind, database, migrate
from tests.waiting import until

WANTED = os.environ.get("TEST_DATABASE", "sqlite") == "postgresql"
# What a crash of this cluster would lose is lost anyway.
FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "max_connections=200",
)
QUIET = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
MEMORY = Path("/dev/shm")
TEMPLATE = "template_live"
DURABLE = ("max_connections=200",)  # for figures: as PostgreSQL comes
numbers = itertools.count(1)
folders: dict[str, Path] = {}  # by database: the installation that it belongs to


def url_for(folder: Path) -> str:
    """A migrated and empty database for an installation in this folder; it goes some time after the folder."""
    for name in [name for name, place in folders.items() if not place.exists()]:
        _ask(f'DROP DATABASE "{name}" WITH (FORCE)')
        del folders[name]
    name = f"live_{next(numbers)}"
    _template()
    _ask(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}')
    folders[name] = folder
    return _url(name)


def empty_url() -> str:
    """A database without tables."""
    name = f"empty_{next(numbers)}"
    _ask(f'CREATE DATABASE "{name}"')
    return _url(name)


def be_durable(folder: Path) -> None:
    """For figures, before the first database: on disk, in this folder, and nothing is lost by a crash."""
    global FAST, MEMORY
    FAST, MEMORY = DURABLE, folder


@cache
def _template() -> None:
    before = database.obj
    _ask(f"CREATE DATABASE {TEMPLATE}")
    bind(_url(TEMPLATE))
    migrate()
    database.initialize(before)


def _url(name: str) -> str:
    return f"postgresql://live@/{name}?host={_cluster()}"


def _ask(sql: str) -> None:
    import psycopg

    with psycopg.connect(_url("postgres"), autocommit=True) as asking:
        asking.execute(sql)


@cache
def _cluster() -> Path:
    """Started once for each process of the tests, and ended with it."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=MEMORY if MEMORY.is_dir() else None))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        folder.chmod(0o755)
    options = ("-U", "live", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
    subprocess.run(_command("initdb", "-D", folder / "data", *options), check=True, cwd="/", **QUIET)
    settings = [f"-c{each}" for each in (*FAST, "listen_addresses=", f"unix_socket_directories={folder}")]
    server = subprocess.Popen(_command("postgres", "-D", folder / "data", *settings), cwd="/", **QUIET)
    atexit.register(_end, server, folder, os.getpid())
    until(lambda: _answers(folder), 30, "PostgreSQL answers")
    return folder


def _answers(folder: Path) -> bool:
    import psycopg

    try:
        psycopg.connect(f"postgresql://live@/postgres?host={folder}").close()
    except psycopg.OperationalError:
        return False
    return True


def _end(server: subprocess.Popen, folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # not what a test has forked
        server.send_signal(signal.SIGQUIT)
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)  # what it is in may be gone already


def _command(program: str, *arguments: str | Path) -> list[str | Path]:
    """As somebody else than root, whom PostgreSQL refuses; ended with the tests, however those end."""
    [*_, newest] = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    other = ["--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *other, "--pdeathsig=QUIT", newest / program, *arguments]
