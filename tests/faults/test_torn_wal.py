"""What a power cut may leave: the database file, and its WAL up to any byte (F35).

Whatever the cut, the file is whole, and holds what was written up to some moment: the first of the channels and
nothing of the later ones. What was synced at an answered commit is there, because `synchronous` is FULL.
"""

import shutil
from random import Random

import pytest

from db import bind, connection, database, migrate
from media.storage import make_folders
from models import Channel, Event
from tests.box import short_folder
from tests.conftest import installation, prepared_app
from tests.story import arrival, new

pytestmark = pytest.mark.sqlite

CHANNELS = 12


@pytest.fixture
def short():
    with short_folder() as folder:
        yield folder


@pytest.fixture
def written(config, now):
    """A database whose writes are all in its WAL still, and the WAL's length after each of them."""
    app = prepared_app(config)
    lifecycle = app.extensions["livestream"].lifecycle
    file = config.data_dir / "livestream.db"
    wal = file.with_name("livestream.db-wal")
    with connection():
        database.execute_sql("PRAGMA wal_autocheckpoint = 0")
        database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        lengths = []
        for number in range(CHANNELS):
            channel = new(lifecycle, now, name=f"Channel {number}", tags="a,b")
            lifecycle.publish(channel.stream_token, arrival(number + 1), now)
            lengths.append(wal.stat().st_size)
        copies = config.data_dir / "copies"
        copies.mkdir()
        for path in (file, wal):
            shutil.copy(path, copies / path.name)
    return copies, lengths


def test_whatever_a_power_cut_leaves_of_the_wal_is_a_whole_beginning(written, short):
    copies, lengths = written
    chance = Random(35)
    cuts = {0, 31, 32, 33, *lengths, *(length - 1 for length in lengths)}
    cuts |= {chance.randrange(lengths[-1]) for _ in range(40)}
    for cut in sorted(cuts):
        torn = installation(short / str(cut))
        make_folders(torn)
        for path in copies.iterdir():
            shutil.copy(path, torn.data_dir / path.name)
        with open(torn.data_dir / "livestream.db-wal", "r+b") as wal:
            wal.truncate(cut)
        sqlite = bind(torn.database_url)
        migrate()
        with connection():
            assert sqlite.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert sqlite.execute_sql("PRAGMA foreign_key_check").fetchall() == []
            names = [row.name for row in Channel.select().order_by(Channel.pk)]
            told = [event.channel_id for event in Event.select().order_by(Event.id)]
            published = [row.id for row in Channel.select().where(Channel.published_at.is_null(False))]
        synced = sum(length <= cut for length in lengths)
        assert names == [f"Channel {number}" for number in range(len(names))]
        assert synced <= len(names) <= synced + 1, "no answered write is missing"
        assert told == published, "a change and its event are there together or not at all"
        shutil.rmtree(torn.data_dir.parent)


def test_a_damaged_wal_frame_ends_the_beginning_and_spoils_nothing_before_it(written, short):
    copies, lengths = written
    torn = installation(short / "x")
    make_folders(torn)
    for path in copies.iterdir():
        shutil.copy(path, torn.data_dir / path.name)
    wal = bytearray((torn.data_dir / "livestream.db-wal").read_bytes())
    wal[lengths[4] + 100] ^= 0xFF
    (torn.data_dir / "livestream.db-wal").write_bytes(wal)
    sqlite = bind(torn.database_url)
    with connection():
        assert sqlite.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert Channel.select().count() == 5
