"""What a channel leaves on the disks of several nodes: each makes and removes its own part."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

import keeper as keeping
from config import Config
from db import connection, utcnow
from errors import NotPossibleError
from keeper import Keeper
from live import fleet, videos
from live.nodes import Member
from media.storage import box_id, make_folders
from models_chores import Chore
from models_nodes import ChannelNode
from models_search import Video
from tests.broadcasts import write_session
from tests.story import again, arrival, new
from tests.test_nodes import lifecycle_of, lose
from upkeep import membership
from upkeep.membership import StrangerError

FACTS = {
    "region": "",
    "capacity": None,
    "public_url": "http://a",
    "rtmp_url": "rtmp://a/live",
    "rtmps_url": None,
    "srt_url": None,
    "whip_url": None,
}


@pytest.fixture
def boxes(config, db, tmp_path, monkeypatch):
    """Two of them, each with a folder and a keeper of its own."""
    monkeypatch.setattr(keeping, "LIVE_STAYS_S", 0.0)
    monkeypatch.setattr(keeping, "PACKAGER_LATE_S", 0.0)

    def made(name: str) -> SimpleNamespace:
        own = replace(config, data_dir=tmp_path / name, node=name)
        make_folders(own)
        lifecycle = lifecycle_of(name)
        return SimpleNamespace(
            config=own, lifecycle=lifecycle, keeper=Keeper(own, lifecycle.links, lambda: None)
        )

    return SimpleNamespace(a=made("a"), b=made("b"))


def broadcast(box: SimpleNamespace, channel, number: int) -> str:
    """A session that has come and gone."""
    one = arrival(number, instance=box.config.node)
    session = box.lifecycle.publish(channel.stream_token, one, utcnow())
    write_session(box.config.media_dir / channel.id / session.id, seen=True)
    box.lifecycle.unpublish(one.connection, "left", utcnow())
    return session.id


def work(*boxes: SimpleNamespace) -> None:
    for box in boxes:
        box.keeper.do_chores()
        while not box.keeper.do_a_job():
            box.keeper.do_chores()


def test_each_node_has_its_part_of_a_channels_chores(boxes):
    channel = new(boxes.a.lifecycle, utcnow())
    broadcast(boxes.a, channel, 1)
    broadcast(boxes.b, channel, 2)
    boxes.a.keeper.do_chores()
    boxes.b.keeper.do_chores()
    assert Chore.waiting("a") == Chore.waiting("b") == {}
    boxes.a.lifecycle.stop(channel.id, utcnow())
    assert Chore.waiting("a").keys() == Chore.waiting("b").keys() == {channel.id}
    assert Chore.waiting("c") == {}


def test_the_catch_up_is_made_where_the_last_session_was_and_recordings_where_each_was(boxes):
    channel = new(boxes.a.lifecycle, utcnow(), record=True)
    first, second = broadcast(boxes.a, channel, 1), broadcast(boxes.b, channel, 2)
    boxes.a.lifecycle.stop(channel.id, utcnow())
    work(boxes.a, boxes.b, boxes.a)
    made = {(video.type, video.node, video.session_id) for video in Video.select()}
    assert made == {("record", "a", first), ("record", "b", second), ("catchup", "b", None)}
    shown = again(channel)
    assert videos.node_of(shown, "catchup") == videos.node_of(shown, second) == "b"
    assert videos.node_of(shown, first) == "a"
    folders = [box.config.media_dir / channel.id for box in (boxes.a, boxes.b)]
    assert [path.name for path in folders[0].iterdir()] == [f"{first}.mp4"], "no catch-up is of its segments"
    assert (folders[1] / "master_dvr.m3u8").exists()


def test_of_a_channel_that_is_deleted_every_node_removes_what_it_has(boxes):
    channel = new(boxes.a.lifecycle, utcnow())
    broadcast(boxes.a, channel, 1)
    broadcast(boxes.b, channel, 2)
    boxes.a.lifecycle.delete(channel.id, utcnow())
    boxes.a.keeper.do_chores()
    folders = [box.config.media_dir / channel.id for box in (boxes.a, boxes.b)]
    assert [folder.exists() for folder in folders] == [False, True]
    boxes.b.keeper.do_chores()
    assert [folder.exists() for folder in folders] == [False, False]
    assert list(ChannelNode.select()) == []


def test_a_channel_that_nobody_published_to_is_anybodys(boxes):
    channel = new(boxes.a.lifecycle, utcnow())
    boxes.a.lifecycle.stop(channel.id, utcnow())
    boxes.b.keeper.do_chores()
    assert again(channel).kept == {"catchup": None}
    assert Chore.waiting("a") == {}


def left_on_b(boxes, **fields):
    """A channel that is over, of which the node b has something to make yet and is lost."""
    channel = new(boxes.a.lifecycle, utcnow(), **fields)
    Member("b", "box", FACTS).beat(utcnow())
    one = arrival(1, instance="b")
    session = boxes.b.lifecycle.publish(channel.stream_token, one, utcnow())
    write_session(boxes.b.config.media_dir / channel.id / session.id, seen=True)
    boxes.b.lifecycle.playable(session.id, utcnow())
    lose("b", utcnow())
    boxes.a.lifecycle.unpublish(one.connection, "lost", utcnow())
    boxes.a.lifecycle.stop(channel.id, utcnow())
    return channel, session.id


def test_a_node_with_videos_to_be_made_yet_is_forgotten_on_purpose_only(boxes):
    channel, session = left_on_b(boxes, record=True)
    with pytest.raises(
        NotPossibleError, match="2 videos are on the disk of b alone, 2 of them still to be made"
    ):
        fleet.remove("b", boxes.a.lifecycle.unpublish, utcnow())
    gone = fleet.remove("b", boxes.a.lifecycle.unpublish, utcnow(), with_videos=True)
    assert gone == {"videos": 2}
    assert again(channel).kept == {"record": {session: None}, "catchup": None}


def test_a_node_that_was_forgotten_and_is_back_tidies_its_folder(boxes):
    channel, _ = left_on_b(boxes, record=True)
    fleet.remove("b", boxes.a.lifecycle.unpublish, utcnow(), with_videos=True)
    folder = boxes.b.config.media_dir / channel.id
    work(boxes.b)
    assert folder.exists()
    boxes.b.keeper.find_orphans()
    work(boxes.b)
    assert not folder.exists()
    assert list(Video.select()) == []


def keyed(config: Config, tmp_path, name: str) -> Config:
    own = replace(config, data_dir=tmp_path / name)
    make_folders(own)
    return own


def test_all_boxes_of_a_database_have_the_same_keys(config, db, tmp_path):
    membership.check_keys(config)
    other = keyed(config, tmp_path, "other")
    with pytest.raises(StrangerError, match=f"Copy playback.* to {other.keys_dir}"):
        membership.check_keys(other)
    assert list(other.keys_dir.iterdir()) == [], "nothing is made that stands in the way of copying"
    for name in membership.SHARED_KEYS:
        (other.keys_dir / name).write_bytes((config.keys_dir / name).read_bytes())
    membership.check_keys(other)
    (other.keys_dir / "playback").write_text("another")
    with pytest.raises(StrangerError, match="are others"):
        membership.check_keys(other)


def test_keys_that_were_replaced_on_purpose_are_adopted(config, db):
    membership.check_keys(config)
    (config.keys_dir / "playback").unlink()
    with pytest.raises(StrangerError, match="not all here"):
        membership.check_keys(config)
    membership.adopt_keys(config)
    membership.check_keys(config)


def test_a_box_of_a_name_that_is_in_use_does_not_start(config, db, now, monkeypatch):
    other, ended = Member("a", "another box", FACTS), threading.Event()
    other.beat(now)

    def live() -> None:
        with connection():
            while not ended.wait(0.1):
                other.beat(now)

    alive = threading.Thread(target=live)
    alive.start()
    try:
        with pytest.raises(StrangerError, match="NODE=a"):
            membership.check_name(replace(config, node="a"))
    finally:
        ended.set()
        alive.join()
    monkeypatch.setattr(membership, "LISTEN_S", 0.3)
    membership.check_name(replace(config, node="a"))  # it is silent: its machine was replaced by this one


def test_a_box_that_was_given_another_name_is_told_which_one_it_had(config, db, now):
    """Its sessions would stay open, and its videos be looked for on another disk."""
    Member("a", box_id(config), FACTS).beat(now)
    membership.check_name(replace(config, node="a"))
    with pytest.raises(StrangerError, match="Set NODE=a;"):
        membership.check_name(replace(config, node="b"))
