"""A DATA_DIR that cannot be used stops the start with one clear line, and nothing is made in its place (F8)."""

import os
import subprocess
import sys

import pytest

from db import bind, connection, database, migrate
from media.storage import make_folders
from tests.box import PROJECT

pytestmark = pytest.mark.sqlite

# Root may write what it may not; without this capability its files' modes count for it as well.
AS_OTHERS = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def start(config, part: str, *before: str) -> subprocess.CompletedProcess:
    environment = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(config.data_dir),
        "MEDIA_SERVER": "none",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    argv = [*before, sys.executable, PROJECT / f"{part}.py"]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=False)


def one_clear_line(ended: subprocess.CompletedProcess) -> None:
    assert ended.returncode == 1, ended.stderr
    [line] = ended.stderr.strip().splitlines()
    assert "livestream.db" in line, "it names the file"


@pytest.fixture
def database_file(config):
    make_folders(config)
    bind(config.database_url)
    migrate()
    with connection():
        database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return config.data_dir / "livestream.db"


@pytest.mark.parametrize("part", ["app", "worker"])
@pytest.mark.parametrize("at", [0, 100], ids=["header", "schema"])
def test_a_corrupt_database_is_refused_and_left_as_it_is(config, database_file, part, at):
    damaged = bytearray(database_file.read_bytes())
    damaged[at : at + 64] = b"\xa5" * 64
    database_file.write_bytes(damaged)
    one_clear_line(start(config, part))
    assert database_file.read_bytes() == damaged


@pytest.mark.parametrize("part", ["app", "worker"])
def test_a_folder_in_place_of_the_database_is_refused(config, part):
    (config.data_dir / "livestream.db").mkdir(parents=True)
    one_clear_line(start(config, part))


@pytest.mark.parametrize("part", ["app", "worker"])
def test_a_database_that_may_not_be_written_is_refused(config, database_file, part):
    before = database_file.read_bytes()
    database_file.chmod(0o444)
    one_clear_line(start(config, part, *AS_OTHERS))
    assert database_file.read_bytes() == before
