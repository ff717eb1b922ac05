"""What has moved to the store goes from there with its row, counts as before, and can be downloaded."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import mover as moving
from db import run, utcnow
from keeper import Keeper
from live import videos
from live.limits import usage
from media.objects import Store
from media.storage import MOVED
from models import Channel
from models_chores import Stored
from models_search import Video
from tests.box import short_folder
from tests.conftest import installation
from tests.moves import World, here, objects, segments, work
from tests.object_store import ObjectStore
from tests.story import again


@pytest.fixture(scope="module")
def far():
    with ObjectStore() as running:
        yield running


@pytest.fixture
def config(far):
    with short_folder() as folder:
        yield installation(folder, **far.environment)


@pytest.fixture
def world(config, lifecycle, monkeypatch) -> World:
    return World(config, lifecycle, monkeypatch)


@pytest.fixture
def made(world) -> Callable[..., Keeper]:
    return world.keeper


@pytest.fixture
def ended(world) -> Callable[..., Channel]:
    return world.ended


@pytest.fixture
def keeper(world) -> Keeper:
    return world.keeper()


def test_a_video_that_is_removed_goes_from_the_store_and_the_others_stay(keeper, ended, far, config, client):
    channel = ended(2, record=True)
    work(keeper, 10)
    [catchup] = [each for each in videos.of_channel(channel.id) if each.type == "catchup"]
    assert client.delete(f"/v1/video/{catchup.id}").status_code == 204
    work(keeper)
    assert {Path(name).suffix for name in objects(far, channel)} == {".mp4"}
    shown = client.get(f"/v1/live/{channel.id}").json["data"]
    assert (shown["videoUrl"], len(shown["recordUrl"])) == (None, 2)
    for each in videos.of_channel(channel.id):
        client.delete(f"/v1/video/{each.id}")
    work(keeper)
    assert objects(far, channel) == set()
    assert Stored.named(channel.id) is None
    assert not (config.media_dir / channel.id).exists()


def test_what_is_removed_while_files_that_have_moved_stay_here_goes_from_the_store_at_once(
    keeper, ended, far, client, monkeypatch
):
    monkeypatch.setattr(moving, "STAYS", timedelta(seconds=60))
    channel = ended(record=True)
    work(keeper, 10)
    [recording] = [each for each in videos.of_channel(channel.id) if each.type == "record"]
    assert recording.path.partition("/")[2] in objects(far, channel)
    client.delete(f"/v1/video/{recording.id}")
    work(keeper)
    left = {Path(name).suffix for name in objects(far, channel)}
    assert (".mp4" in left, ".ts" in left) == (False, True)
    listings = []
    monkeypatch.setattr(keeper.mover, "_compare", listings.append)
    work(keeper)
    assert listings == [], "once is enough"


def test_a_channel_that_is_deleted_while_the_store_is_down_goes_from_it_when_it_is_back(
    made, world, ended, far, config, client, monkeypatch
):
    channel = ended()
    work(made())
    assert client.delete(f"/v1/live/{channel.id}?delete=true").status_code == 204
    work(made(**world.without()), 3)
    assert not (config.media_dir / channel.id).exists(), "old addresses are answered 404 at once"
    assert len(objects(far, channel)) == 6
    work(made(store=None))
    work(made())
    assert objects(far, channel) == set()
    assert Stored.named(channel.id) is None


def test_a_channel_that_is_deleted_while_it_moves_leaves_nothing(made, ended, far, client, monkeypatch):
    channel, moved = ended(), videos.moved

    def too_late(channel_id: str, *rest: object) -> bool:
        client.delete(f"/v1/live/{channel_id}?delete=true")
        return moved(channel_id, *rest)

    monkeypatch.setattr(videos, "moved", too_late)
    work(made())
    assert objects(far, channel) == set()
    assert Stored.select().count() == 0


def test_a_video_that_is_removed_while_it_moves_is_not_told_of_as_moved(keeper, ended, far, monkeypatch):
    channel, moved = ended(record=True), videos.moved

    def too_late(channel_id: str, node: str, seen: list[Video], now: object) -> bool:
        monkeypatch.setattr(videos, "moved", moved)
        videos.remove(next(each for each in seen if each.type == "record"), utcnow())
        return moved(channel_id, node, seen, now)

    monkeypatch.setattr(videos, "moved", too_late)
    work(keeper, 10)
    assert [name for name in objects(far, channel) if name.endswith(".mp4")] == []
    assert "moved" in again(channel).kept
    assert segments(objects(far, channel)) == 4


def test_what_is_old_goes_from_the_store_with_its_row(keeper, ended, far):
    channel = ended()
    work(keeper)
    run("DELETE FROM video WHERE channel_id = ?", channel.pk)  # as live/retention.py does
    work(keeper)
    assert objects(far, channel) == set()


def test_a_download_of_a_catch_up_in_the_store_is_made_on_the_box(keeper, ended, far, config, client):
    channel = ended(2)
    work(keeper)
    [video] = videos.of_channel(channel.id)
    path = f"/v1/video/{video.id}/download"
    assert client.post(path).json["data"]["status"] == "preparing"
    work(keeper)
    ready = client.get(path).json["data"]
    assert ready["url"] == f"http://live.example/play/{channel.id}/catchup.mp4"
    file = config.media_dir / channel.id / "catchup.mp4"
    assert (ready["status"], ready["size"]) == ("ready", file.stat().st_size)
    assert here(config, channel) == {MOVED, "catchup.mp4"}
    assert "catchup.mp4" not in objects(far, channel)
    assert not any((config.media_dir / ".fetched").iterdir())
    run("UPDATE video SET asked_at = 1")
    work(keeper)
    assert here(config, channel) == {MOVED}, "a day later"


def test_a_download_that_cannot_be_made_says_so(made, world, ended, config, client, monkeypatch):
    channel = ended()
    work(made())
    [video] = videos.of_channel(channel.id)
    path = f"/v1/video/{video.id}/download"
    client.post(path)
    work(made(**world.without()))
    assert client.get(path).json["data"]["status"] == "failed"


def test_what_has_moved_counts_as_storage_as_before(keeper, ended):
    channel = ended()
    keeper.do_chores()
    run("UPDATE video SET size = 7000000")
    work(keeper)
    assert "moved" in again(channel).kept
    assert usage("1")["storage"] == 7
    assert Stored.count()[1] > 1000


def test_without_the_store_what_was_copied_back_is_served_from_here_and_nothing_else_is_touched(
    made, ended, far, config, client
):
    back, lost = ended(2, record=True), ended()
    work(made(), 10)
    Store(config.store).fetch(back.id, objects(far, back), config.media_dir / back.id)
    alone = made(store=None)
    alone.mover.start()
    urls = client.get(f"/v1/live/{back.id}").json["data"]
    assert all(url.startswith("http://live.example/play/") for url in [urls["videoUrl"], *urls["recordUrl"]])
    assert "moved" in again(lost).kept
    [first, *_] = [each for each in videos.of_channel(back.id) if each.type == "record"]
    client.delete(f"/v1/video/{first.id}")
    work(alone)
    assert segments(here(config, back)) == 8, "a chore takes only what was removed"
    assert sum(name.endswith(".mp4") for name in here(config, back)) == 1
    work(made(), 10)
    assert here(config, back) == {MOVED}, "with the store again it moves again"
    assert sum(name.endswith(".mp4") for name in objects(far, back)) == 1


def test_what_a_lost_node_has_put_there_of_a_channel_that_is_no_more_goes(made, ended, far, client):
    channel = ended()
    work(made())
    run("UPDATE stored SET node = 'other'")
    other = {"node": "third"}
    client.delete(f"/v1/live/{channel.id}?delete=true")
    Stored.look_again(channel.id, utcnow())
    made(**other).mover.step()
    assert objects(far, channel) == set()
    assert Stored.select().count() == 0
