"""The keeper, over what a packager has left on disk: what is made, what stays, what goes."""

import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import peewee
import pytest

import keeper as keeping
from db import database, run, utcnow
from keeper import Keeper
from live import videos
from live.retention import forget
from media import index, playlists
from media.index import Index
from media.ladder import Picture, plan
from media.playlists import parse
from media.renditions import write_ladder
from models import Channel
from models_chores import Chore
from models_search import Video
from tests.broadcasts import broadcast_over
from tests.story import again, events, payload, timeline


@pytest.fixture
def keeper(config, lifecycle, monkeypatch):
    """One whose loops are stepped by hand; viewers get no time after the end."""
    monkeypatch.setattr(keeping, "LIVE_STAYS_S", 0.0)
    monkeypatch.setattr(keeping, "PACKAGER_LATE_S", 0.0)
    return Keeper(config, lifecycle.links, lambda: None)


@pytest.fixture
def broadcast(config, lifecycle) -> Callable[..., Channel]:
    return partial(broadcast_over, config, lifecycle)


def kinds(channel: Channel) -> list[str]:
    return [video.type for video in Video.select().where(Video.channel == channel.pk).order_by(Video.pk)]


def work(keeper: Keeper, rounds: int = 6) -> None:
    for _ in range(rounds):
        keeper.do_chores()
        keeper.do_a_job()


def test_a_broadcast_with_catch_up_is_kept_as_it_is_and_told_of_when_it_has_ended(
    keeper, broadcast, config, lifecycle
):
    channel = broadcast(2)
    work(keeper)
    assert kinds(channel) == [], "it may go on"
    lifecycle.stop(channel.id, utcnow())
    work(keeper)
    assert kinds(channel) == ["catchup"]
    folder = config.media_dir / channel.id
    found = parse((folder / playlists.SOURCE_DVR).read_text())
    assert [entry.broken for entry in found.entries] == [
        False,
        False,
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert all((folder / entry.uri).exists() for entry in found.entries)
    assert events(channel)[-2:] == ["channel_ended", "video_ready"]
    told = payload(channel, "video_ready")
    assert (
        told["video"]["url"] == told["videoUrl"] == f"http://live.example/play/{channel.id}/master_dvr.m3u8"
    )
    assert Chore.waiting(keeper.node) == {}, "nothing is left to do"


def test_renditions_that_were_made_are_part_of_the_catch_up_and_the_source_stands_in_for_the_rest(
    keeper, broadcast, config, lifecycle
):
    channel = broadcast(2)
    folder = config.media_dir / channel.id
    (first, _), _ = index.sessions(folder)
    picture = Picture(1280, 720, 25.0)
    write_ladder(first, plan(picture, ["480p"], ultra=False, cores=8, free=8))
    (first / "480p").mkdir()
    shutil.copyfile(first / "1.ts", first / "480p/1.ts")
    lifecycle.stop(channel.id, utcnow())
    work(keeper)
    master = (folder / playlists.MASTER_DVR).read_text()
    assert [line for line in master.splitlines() if line.endswith(".m3u8")] == [
        "source_dvr.m3u8",
        "480p_dvr.m3u8",
    ]
    found = parse((folder / "480p_dvr.m3u8").read_text())
    source = parse((folder / playlists.SOURCE_DVR).read_text())
    assert [entry.uri for entry in found.entries if "480p" in entry.uri] == [f"{first.name}/480p/1.ts"]
    assert len(found.entries) == len(source.entries) == 8
    assert "#EXT-X-ENDLIST" in (folder / "480p_dvr.m3u8").read_text()
    [video] = videos.of_channel(channel.id)
    assert video.size == sum(path.stat().st_size for path in folder.glob("*/**/*.ts"))


def test_catch_up_counts_as_it_stands_at_the_end(keeper, broadcast, config, lifecycle):
    on, off = broadcast(catchup=False), broadcast()
    lifecycle.update(on.id, {"catchup": True}, utcnow())
    lifecycle.update(off.id, {"catchup": False}, utcnow())
    for channel in (on, off):
        lifecycle.stop(channel.id, utcnow())
    work(keeper)
    assert (kinds(on), kinds(off)) == (["catchup"], [])
    assert not (config.media_dir / off.id).exists(), "nothing that is not kept is left"


def test_a_recording_is_made_when_a_session_is_over_or_when_it_is_wanted_later(
    keeper, broadcast, config, lifecycle
):
    channel = broadcast(2, running=True, record=True, catchup=False)
    work(keeper)
    assert kinds(channel) == ["record"], "of the session that is over"
    over = next(path for path in index.sessions(config.media_dir / channel.id))[0]
    assert not index.read_job(over).keep, "its segments were the recording's alone"
    late = broadcast(2, running=True)
    work(keeper)
    lifecycle.update(late.id, {"record": True}, utcnow())
    work(keeper)
    assert kinds(late) == ["record"]
    lifecycle.stop(late.id, utcnow())
    for session in (config.media_dir / late.id).glob("ses_*/"):
        assert index.read_job(session).keep
    work(keeper)
    assert sorted(kinds(late)) == ["catchup", "record", "record"]


def test_after_three_failures_a_recording_is_given_up_with_a_word_of_why(
    keeper, broadcast, lifecycle, config
):
    keeper.ffmpeg = "/bin/false"
    channel = broadcast(record=True)
    lifecycle.stop(channel.id, utcnow())
    work(keeper)
    assert kinds(channel) == ["catchup"]
    assert timeline(channel).count("video_failed") == 1
    assert again(channel).kept["record"] != {}
    assert [*(config.media_dir / channel.id).glob("*.mp4*")] == []
    assert Chore.waiting(keeper.node) == {}


def test_a_recording_that_was_whole_when_the_worker_was_killed_is_not_made_again(keeper, broadcast, config):
    keeper.ffmpeg = "/bin/false"
    channel = broadcast(record=True)
    [(session, _)] = index.sessions(config.media_dir / channel.id)
    (session.parent / f"{session.name}.mp4").write_bytes(b"x" * 1000)
    work(keeper)
    [video] = videos.of_channel(channel.id)
    assert (video.type, video.size, video.duration) == ("record", 1000, 4)


def test_what_a_packager_that_had_died_left_unlisted_is_taken_in(keeper, broadcast, lifecycle, config):
    channel = broadcast(seen=False)
    folder = next((config.media_dir / channel.id).glob("ses_*/"))
    index.begin(folder, Index())
    index.write_signal(folder, {"over": False})
    lifecycle.stop(channel.id, utcnow())
    work(keeper)
    assert kinds(channel) == ["catchup"]
    assert len(parse((config.media_dir / channel.id / playlists.SOURCE_DVR).read_text()).entries) == 4


def test_a_removed_catch_up_is_not_made_again_and_recordings_that_are_to_come_keep_their_segments(
    keeper, broadcast, lifecycle, config
):
    channel = broadcast(record=True)
    lifecycle.stop(channel.id, utcnow())
    keeper.do_chores()
    [video] = videos.of_channel(channel.id)
    videos.remove(video, utcnow())
    keeper.do_chores()
    folder = config.media_dir / channel.id
    assert (folder / playlists.SOURCE_DVR).exists() is False
    assert len([*folder.glob("ses_*/*.ts")]) == 4
    work(keeper)
    assert kinds(channel) == ["record"]
    assert [path.suffix for path in folder.iterdir()] == [".mp4"]


def test_videos_that_are_too_old_go_with_their_files(keeper, broadcast, lifecycle, config):
    channel = broadcast(record=True)
    lifecycle.stop(channel.id, utcnow())
    work(keeper)
    assert len(kinds(channel)) == 2
    settings = {"events": None, "audit": None, "sessions": None, "channels": None, "analytics": None}
    settings |= {"analytics_hourly": None, "videos": timedelta(days=7)}
    assert forget(settings, utcnow() + timedelta(days=6)) == 0
    assert forget(settings, utcnow() + timedelta(days=8)) == 2
    work(keeper)
    assert not (config.media_dir / channel.id).exists()
    shown = again(channel).kept
    assert (shown["catchup"], set(shown["record"].values())) == (None, {None})


def test_a_download_is_made_when_asked_for_and_goes_a_day_later(
    keeper, broadcast, lifecycle, config, client, monkeypatch
):
    channel = broadcast(2)
    lifecycle.stop(channel.id, utcnow())
    work(keeper)
    [video] = client.get("/v1/video").json["data"]
    path = f"/v1/video/{video['id']}/download"
    assert client.get(path).status_code == 422
    asked = client.post(path).json["data"]
    assert (asked["status"], asked["url"]) == ("preparing", None)
    work(keeper)
    ready = client.get(path).json["data"]
    file = config.media_dir / channel.id / "catchup.mp4"
    assert (ready["status"], ready["size"]) == ("ready", file.stat().st_size)
    assert ready["url"] == f"http://live.example/play/{channel.id}/catchup.mp4"
    before = file.stat().st_mtime_ns
    assert client.post(path).json["data"]["status"] == "ready"
    work(keeper)
    assert file.stat().st_mtime_ns == before, "once"
    monkeypatch.setattr(videos, "DOWNLOAD_KEPT", timedelta(0))
    work(keeper)
    assert not file.exists()
    assert client.get(path).status_code == 422
    assert kinds(channel) == ["catchup"]


def test_a_download_that_cannot_be_made_says_so_and_can_be_asked_for_again(
    keeper, broadcast, lifecycle, client
):
    channel = broadcast()
    lifecycle.stop(channel.id, utcnow())
    work(keeper)
    path = f"/v1/video/{videos.of_channel(channel.id)[0].id}/download"
    works, keeper.ffmpeg = keeper.ffmpeg, "/bin/false"
    client.post(path)
    work(keeper)
    assert client.get(path).json["data"]["status"] == "failed"
    keeper.ffmpeg = works
    assert client.post(path).json["data"]["status"] == "preparing"
    work(keeper)
    assert client.get(path).json["data"]["status"] == "ready"


def test_a_recording_is_its_own_download(keeper, broadcast, lifecycle, client):
    channel = broadcast(record=True, catchup=False)
    work(keeper)
    [video] = client.get("/v1/video").json["data"]
    for ask in (client.post, client.get):
        assert ask(f"/v1/video/{video['id']}/download").json["data"]["url"] == video["url"]
    assert again(channel).kept["record"]


def test_folders_of_channels_that_are_no_more_go(keeper, broadcast, lifecycle, config):
    stays = broadcast()
    lost = config.media_dir / "ch_00000000000000000000"
    (lost / "ses_1").mkdir(parents=True)
    keeper.find_orphans()
    work(keeper)
    assert not lost.exists()
    assert (config.media_dir / stays.id).exists()


def test_what_is_known_to_be_on_disk_is_not_written_down_again(keeper, broadcast, monkeypatch):
    """Thousands of folders are looked at every ten minutes, in the thread that sees to publishers."""
    mine = broadcast()
    run("DELETE FROM channel_node")
    keeper.find_orphans()
    assert run("SELECT channel_id, node FROM channel_node") == [(mine.id, keeper.node)]
    execute, said = database.obj.execute_sql, []
    monkeypatch.setattr(
        database.obj, "execute_sql", lambda sql, *more: said.append(sql) or execute(sql, *more)
    )
    keeper.find_orphans()
    assert said
    assert all(sql.startswith("SELECT") for sql in said)


def test_what_one_channel_fails_at_holds_up_no_other(keeper, broadcast, lifecycle, monkeypatch):
    bad, good = broadcast(), broadcast()
    for channel in (bad, good):
        lifecycle.stop(channel.id, utcnow())
    tend = keeper._tend

    def failing(channel_id: str) -> bool:
        if channel_id == bad.id:
            raise PermissionError("no")
        return tend(channel_id)

    monkeypatch.setattr(keeper, "_tend", failing)
    work(keeper)
    assert (kinds(bad), kinds(good)) == ([], ["catchup"])


def test_a_running_broadcast_that_is_kept_counts_as_storage(broadcast, client):
    channel = broadcast(running=True)
    session = channel.sessions.get()
    session.bytes_in = 7_000_000
    session.keep()
    client.put("/v1/user/1", json={"limits": {"maxStorage": 7}})
    assert client.get("/v1/user/1").json["data"]["usage"]["storage"] == 7
    assert client.post("/v1/live", json={"name": "x"}).status_code == 403
    client.put(f"/v1/live/{channel.id}", json={"catchup": False})
    assert client.post("/v1/live", json={"name": "x"}).status_code == 201


def test_a_loop_that_finds_no_database_when_it_begins_tries_again(app, monkeypatch):
    """The beat of a node is one: without it the node is lost, however well it is."""
    tries, done, stopping = [], threading.Event(), threading.Event()
    connect = database.obj.connect

    def away_at_first(**how) -> bool:
        tries.append(how)
        if len(tries) == 1:
            raise peewee.OperationalError("too many connections")
        return connect(**how)

    monkeypatch.setattr(database.obj, "connect", away_at_first)
    monkeypatch.setattr(keeping, "IDLE_S", 0.01)
    loop = keeping.Loop("beat", lambda: done.set() or 0.01, stopping)
    loop.start()
    assert done.wait(10)
    stopping.set()
    loop.join(10)
