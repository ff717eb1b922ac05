"""The store: what is sent is there, whole and with the right headers; failures are words without secrets."""

import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from media import objects
from media.objects import Store, StoreError
from tests.object_store import BUCKET, ObjectStore

FOLDER = "ch_00000000000000000001"


@pytest.fixture(scope="module")
def far():
    with ObjectStore() as running:
        yield running


@pytest.fixture
def store(far) -> Store:
    made = Store(far.settings)
    yield made
    made.remove(FOLDER, made.listed(FOLDER))


@pytest.fixture
def files(tmp_path) -> Path:
    (tmp_path / "ses_1").mkdir()
    for name in ("ses_1/0.ts", "master_dvr.m3u8", "ses_1.mp4", "storyboard.vtt", "storyboard-0.jpg"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_sent_is_listed_by_size_read_by_anybody_and_comes_back_as_it_was(store, files, tmp_path):
    store.put(FOLDER, names(files), files)
    assert store.listed(FOLDER) == {name: len(name) * 100 for name in names(files)}
    assert store.listed("ch_1") == {}, "nor of a name that begins the same"
    with urllib.request.urlopen(f"{store.settings.url}/{FOLDER}/ses_1/0.ts", timeout=5) as reply:
        assert reply.read() == (files / "ses_1/0.ts").read_bytes()
    back = tmp_path / "back"
    store.fetch(FOLDER, ["ses_1/0.ts"], back)
    assert (back / "ses_1/0.ts").read_bytes() == (files / "ses_1/0.ts").read_bytes()
    assert store.sent == 5


def test_players_and_caches_are_told_what_it_is(store, files):
    store.put(FOLDER, names(files), files)
    told = {}
    for name in names(files):
        with urllib.request.urlopen(f"{store.settings.url}/{FOLDER}/{name}", timeout=5) as reply:
            told[name] = reply.headers["Content-Type"], reply.headers["Cache-Control"]
    assert told == {
        "ses_1/0.ts": ("video/mp2t", "public, max-age=31536000, immutable"),
        "master_dvr.m3u8": ("application/vnd.apple.mpegurl", "public, max-age=300"),
        "ses_1.mp4": ("video/mp4", "public, max-age=86400"),
        "storyboard.vtt": ("text/vtt", "public, max-age=86400"),
        "storyboard-0.jpg": ("image/jpeg", "public, max-age=86400"),
    }


def test_a_large_file_goes_up_in_parts_and_is_one(store, tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "PART", 5 * 2**20)  # the least that S3 takes
    content = bytes(range(256)) * (48 * 1024)
    (tmp_path / "ses_1.mp4").write_bytes(content)
    store.put(FOLDER, ["ses_1.mp4"], tmp_path)
    head = store.client.head_object(Bucket=BUCKET, Key=f"live/{FOLDER}/ses_1.mp4")
    assert head["ETag"].endswith('-3"'), "three parts"
    assert head["ContentType"] == "video/mp4"
    store.fetch(FOLDER, ["ses_1.mp4"], tmp_path / "back")
    assert (tmp_path / "back/ses_1.mp4").read_bytes() == content


def test_parts_that_were_never_finished_are_dropped(store):
    key = f"live/{FOLDER}/ses_1.mp4"
    store.client.create_multipart_upload(Bucket=BUCKET, Key=key)
    store.client.create_multipart_upload(Bucket=BUCKET, Key="live/ch_of-another/ses_1.mp4")
    store.drop_halves(FOLDER)
    left = store.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert [each["Key"] for each in left] == ["live/ch_of-another/ses_1.mp4"]


def test_what_is_removed_is_gone_and_to_remove_it_again_is_no_failure(store, files):
    store.put(FOLDER, names(files), files)
    for _ in range(2):
        store.remove(FOLDER, ["ses_1/0.ts", "ses_1.mp4"])
    assert sorted(store.listed(FOLDER)) == ["master_dvr.m3u8", "storyboard-0.jpg", "storyboard.vtt"]


def test_a_probe_leaves_nothing(store, far):
    with store.probe() as name:
        assert name in far.names()
    assert name not in far.names()


def test_failures_are_told_by_name_and_without_a_secret(far, files):
    nowhere = Store(replace(far.settings, bucket="not-there"))
    with pytest.raises(StoreError) as refusal:
        nowhere.put(FOLDER, names(files), files)
    assert refusal.value.code == "NoSuchBucket"
    assert "a-secret-key" not in f"{refusal.value} {far.settings!r} {refusal.value.__cause__}"
    with pytest.raises(FileNotFoundError):
        Store(far.settings).put(FOLDER, ["gone.ts"], files)


def test_a_store_that_is_down_is_a_failure_and_soon(far, monkeypatch):
    monkeypatch.setattr(objects, "TRIES", 1)
    down = Store(replace(far.settings, endpoint="http://127.0.0.1:9"))
    with pytest.raises(StoreError, match="EndpointConnectionError"):
        down.listed(FOLDER)


def test_who_stops_does_not_wait_for_the_rest(store, files):
    store.stopping.set()
    with pytest.raises(StoreError, match="stops"):
        store.put(FOLDER, names(files), files)
    assert store.listed(FOLDER) == {}
    store.stopping.clear()
