"""Finished videos move to the store: what is there, what is here, what addresses say; whatever is killed or refused."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import mover as moving
from db import run
from keeper import Keeper
from live import videos
from media import playlists
from media.objects import Store, StoreError
from media.storage import MOVED
from models import Channel
from models_chores import Chore, Stored
from tests.box import short_folder
from tests.broadcasts import broadcast_over
from tests.conftest import installation
from tests.moves import World, get, here, objects, segments, work
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


def test_all_that_is_left_moves_and_every_address_leads_to_it(keeper, ended, far, config, client):
    channel = ended(2, record=True)
    before = client.get(f"/v1/live/{channel.id}").json["data"]
    work(keeper, 10)
    shown = client.get(f"/v1/live/{channel.id}").json["data"]
    base = f"{far.url}/videos/live/{channel.id}"
    assert shown["videoUrl"] == f"{base}/master_dvr.m3u8"
    assert len(shown["recordUrl"]) == 2
    assert all(url.startswith(f"{base}/ses_") for url in shown["recordUrl"])
    listed = {each["type"]: each for each in client.get(f"/v1/video?channelId={channel.id}").json["data"]}
    assert listed["catchup"]["url"] == shown["videoUrl"]
    assert listed["record"]["url"] in shown["recordUrl"]
    found = client.get(f"/v1/search?type=video&query={shown['name'].split()[-1]}").json["data"]
    assert {each["url"] for each in found} == {shown["videoUrl"], *shown["recordUrl"]}
    opened = client.post(f"/v1/live/{channel.id}/playback", json={}).json["data"]
    assert [opened["videoUrl"], *opened["recordUrl"]] == [shown["videoUrl"], *shown["recordUrl"]]
    master = get(shown["videoUrl"]).decode()
    assert "source_dvr.m3u8" in master
    source = playlists.parse(get(f"{base}/source_dvr.m3u8").decode())
    assert len(source.entries) == 8
    assert all(get(f"{base}/{entry.uri}")[:1] == b"G" for entry in source.entries), "transport streams"
    assert all(get(url)[4:8] == b"ftyp" for url in shown["recordUrl"])
    assert here(config, channel) == {MOVED}, "of the files here the mark is left"
    assert before["updatedAt"] == shown["updatedAt"], "to an App Server nothing has changed but addresses"


def test_pictures_move_too(keeper, ended, far, config, client):
    channel = ended(thumbnail=True)
    folder = config.media_dir / channel.id
    for name in ("thumbnail.jpg", "storyboard-0.jpg", "storyboard.vtt"):
        (folder / name).write_bytes(b"x")
    videos.pictured(channel.id, f"{channel.id}/thumbnail.jpg", config.node)
    work(keeper)
    assert {"thumbnail.jpg", "storyboard-0.jpg", "storyboard.vtt"} <= objects(far, channel)
    base = f"{far.url}/videos/live/{channel.id}"
    opened = client.post(f"/v1/live/{channel.id}/playback", json={}).json["data"]
    assert opened["thumbnailUrl"] == f"{base}/thumbnail.jpg"
    assert opened["storyboardUrl"] == f"{base}/storyboard.vtt"
    [video] = client.get(f"/v1/video?channelId={channel.id}").json["data"]
    assert video["thumbnailUrl"] == opened["thumbnailUrl"]


def test_the_players_page_plays_from_the_store_and_its_policy_lets_it(keeper, ended, far, anonymous):
    channel = ended()
    work(keeper)
    page = anonymous.get(f"/watch/{channel.id}")
    state = anonymous.get(f"/watch/{channel.id}/state").json
    assert state["videoUrl"] == f"{far.url}/videos/live/{channel.id}/master_dvr.m3u8"
    policy = page.headers["Content-Security-Policy"]
    for part in ("media-src", "connect-src", "img-src"):
        [rule] = [each for each in policy.split("; ") if each.startswith(part)]
        assert far.url in rule.split()
    assert far.url not in policy.partition("script-src")[2].partition(";")[0]


def test_what_has_just_moved_stays_for_who_is_watching(keeper, ended, config, monkeypatch):
    monkeypatch.setattr(moving, "STAYS", timedelta(seconds=60))
    channel = ended()
    work(keeper)
    assert "moved" in again(channel).kept
    assert segments(here(config, channel)) == 4
    assert channel.id in Chore.waiting(config.node)
    monkeypatch.setattr(moving, "STAYS", timedelta(0))
    work(keeper)
    assert here(config, channel) == {MOVED}
    assert Chore.waiting(config.node) == {}


def test_a_channel_that_runs_or_is_signed_stays_on_the_box(keeper, world, ended, far, config, client):
    running, private = (
        broadcast_over(config, world.lifecycle, 2, running=True, record=True),
        ended(playback="signed"),
    )
    work(keeper)
    assert (objects(far, running), objects(far, private)) == (set(), set())
    assert client.get(f"/v1/live/{private.id}").json["data"]["videoUrl"].startswith("http://live.example/")
    changed = client.put(f"/v1/live/{private.id}", json={"playback": "public"})
    assert changed.status_code == 422, "it cannot become another after its end, nor can one that has moved"


def test_what_was_finished_before_there_was_a_store_moves_when_there_is_one(made, ended, far, config):
    channel = ended()
    work(made(store=None))
    assert Stored.select().count() == 0
    work(made())
    assert segments(objects(far, channel)) == 4
    assert here(config, channel) == {MOVED}


class Killed(BaseException):
    """As abrupt as it gets within one process."""


@pytest.mark.parametrize("at", [0, 2, 4, 5])
def test_killed_while_it_sends_it_sends_the_rest_later_and_plays_meanwhile(
    made, ended, far, config, client, monkeypatch, at
):
    channel, put, left = ended(), Store._put, iter(range(at, -1, -1))

    def dies(self: Store, path: Path, key: str) -> None:
        if next(left, 0) == 0:
            raise Killed
        put(self, path, key)

    monkeypatch.setattr(Store, "_put", dies)
    with pytest.raises(Killed):
        work(made())
    sent = objects(far, channel)
    assert len(sent) < 6
    if "master_dvr.m3u8" in sent or "source_dvr.m3u8" in sent:
        assert segments(sent) == 4, "no playlist is there before what it names"
    assert segments(here(config, channel)) == 4
    assert client.get(f"/v1/live/{channel.id}").json["data"]["videoUrl"].startswith("http://live.example/")
    again_sent = []
    monkeypatch.setattr(
        Store, "_put", lambda self, path, key: (again_sent.append(path.name), put(self, path, key))
    )
    work(made())
    assert len(again_sent) == 6 - len(sent), "only what was missing"
    assert here(config, channel) == {MOVED}


def test_killed_between_the_last_object_and_the_row_nothing_is_sent_twice(made, ended, far, monkeypatch):
    channel, moved = ended(), videos.moved

    def dies(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(videos, "moved", dies)
    with pytest.raises(Killed):
        work(made())
    assert len(objects(far, channel)) == 6
    monkeypatch.setattr(videos, "moved", moved)
    later = made()
    work(later)
    assert later.mover.store.sent == 0
    assert "moved" in again(channel).kept


def test_killed_between_the_row_and_the_removal_the_files_go_later(made, ended, config, monkeypatch):
    channel, before = ended(), made()
    for _ in range(3):
        before.do_chores()
    while "moved" not in again(channel).kept:
        before.mover.step()
    assert segments(here(config, channel)) == 4
    work(made())
    assert here(config, channel) == {MOVED}


def test_a_file_that_is_cut_short_in_the_store_is_sent_again(made, ended, far, config):
    channel = ended()
    [name] = [name for name in here(config, channel) if name.endswith("/2.ts")]
    far.client.put_object(Bucket="videos", Key=f"live/{channel.id}/{name}", Body=b"half")
    work(made())
    size = far.client.head_object(Bucket="videos", Key=f"live/{channel.id}/{name}")["ContentLength"]
    assert size > 1000


def test_while_the_store_is_down_videos_stay_and_play_and_move_when_it_is_back(
    made, world, ended, far, config, client, monkeypatch, caplog
):
    one, other = ended(), ended()
    down = made(**world.without())
    pauses = []
    for _ in range(4):
        down.do_chores()
        pauses.append(down.mover.step())
    assert pauses == [5.0, 10.0, 20.0, 40.0], "it is asked ever more rarely"
    assert down.mover.counted() == {"uploads": 0, "failures": 4}
    assert Stored.count()[0] == 2
    told = [each for each in caplog.records if getattr(each, "event", "") == "store_failed"]
    assert [each.levelname for each in told if each.levelname == "ERROR"] == ["ERROR"], "once"
    for channel in (one, other):
        assert segments(here(config, channel)) == 4
        assert "/play/" in client.get(f"/v1/live/{channel.id}").json["data"]["videoUrl"]
    work(made())
    assert Stored.count()[0] == 0
    assert here(config, one) == here(config, other) == {MOVED}


def test_one_channel_that_the_store_refuses_holds_up_no_other(keeper, ended, monkeypatch):
    bad, good = ended(), ended()
    put = Store.put

    def refuses(self: Store, folder: str, names: list[str], source: Path) -> None:
        if folder == bad.id:
            raise StoreError("the store answers PutObject with AccessDenied", "AccessDenied")
        put(self, folder, names, source)

    monkeypatch.setattr(moving, "SOON", timedelta(seconds=10))
    monkeypatch.setattr(Store, "put", refuses)
    work(keeper)
    assert "moved" not in again(bad).kept
    assert "moved" in again(good).kept
    assert (keeper.mover.failures, Stored.named(bad.id).tries) == (1, 1)


def test_a_restored_box_has_its_marks_again_and_finds_what_moved_after_the_backup(made, ended, far, config):
    moved, late = ended(), ended()
    work(made())
    run("UPDATE video SET moved_at = NULL WHERE channel_id = ?", late.pk)
    late = again(late)
    late.kept = {"catchup": late.kept["catchup"]}
    late.keep()
    run("DELETE FROM stored WHERE channel_id = ?", late.id)
    for channel in (moved, late):
        (config.media_dir / channel.id / MOVED).unlink()
        (config.media_dir / channel.id).rmdir()
    work(made())
    assert here(config, moved) == here(config, late) == {MOVED}
    assert "moved" in again(late).kept


def test_a_video_that_is_nowhere_is_left_alone_and_said(made, ended, config, caplog):
    channel = ended()
    work(made(store=None))
    for path in (config.media_dir / channel.id).rglob("*.m3u8"):
        path.unlink()
    work(made())
    assert "moved" not in again(channel).kept
    assert [each.event for each in caplog.records if hasattr(each, "event")].count("video_lost") == 1


def test_a_recording_that_is_made_while_the_catch_up_moves_is_not_taken_for_moved(
    keeper, ended, far, config, monkeypatch
):
    channel, moved, said = ended(record=True), videos.moved, []
    keeper.do_chores()

    def meanwhile(*asked: object) -> bool:
        monkeypatch.setattr(videos, "moved", moved)
        keeper.do_a_job()
        keeper.do_chores()
        assert Chore.waiting(config.node) == {}
        said.append(moved(*asked))
        return said[0]

    monkeypatch.setattr(videos, "moved", meanwhile)
    keeper.mover.step()
    assert said == [False]
    work(keeper)
    assert sum(name.endswith(".mp4") for name in objects(far, channel)) == 1
    assert here(config, channel) == {MOVED}
