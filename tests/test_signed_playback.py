"""A signed channel on the real box: what nginx opens, to whom, and for how long."""

import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from live.signing import Signer
from tests.box import Encoder
from tests.browser import chromium, video_state, wait_for
from tests.test_broadcast import head, probe
from tests.waiting import until

pytestmark = pytest.mark.box


def playback(box, channel, **asked) -> dict:
    status, reply = box.call("POST", f"/v1/live/{channel['id']}/playback", asked)
    assert status == 201
    return reply["data"]


def status_of(box, url: str) -> int:
    try:
        with urllib.request.urlopen(url if url.startswith("http") else f"{box.url}{url}", timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def files_of(box, channel) -> list[str]:
    """A file of each kind that is there, below the channel's address."""
    [folder] = (box.data_dir / "media" / channel["id"]).glob("ses_*")
    segment = next(folder.glob("*.ts"))
    return ["master.m3u8", "source.m3u8", f"{folder.name}/{segment.name}"]


def test_a_signature_opens_playlists_and_segments_and_a_browser_plays_them(box):
    made = box.create(playback="signed", dvr=True, record=True, thumbnail=True)
    with Encoder(box, made["streamToken"]), chromium() as browser:
        box.await_status(made["id"], "live")
        opened = playback(box, made)
        assert {stream["codec_name"] for stream in probe(opened["livestreamUrl"])} == {"h264", "aac"}
        browser.get(opened["watchUrl"])
        wait_for(browser, "return document.querySelector('video').currentTime > 1", 20)
        assert video_state(browser)["videoWidth"] == 640

        base = opened["livestreamUrl"].removesuffix("master.m3u8")
        for file in files_of(box, made):
            assert status_of(box, f"{base}{file}") == 200, file
            assert status_of(box, f"/play/{made['id']}/{file}") == 403, f"{file} without a signature"
        segment = head(f"{base}{file}")
        assert segment["Cache-Control"] == "private, max-age=31536000, immutable"
        assert segment["Access-Control-Allow-Origin"] == "*"
        assert head(opened["livestreamUrl"])["Cache-Control"] == "no-store"
        opened |= until(lambda: (new := playback(box, made))["thumbnailUrl"] and new, 10, "a picture")
        for name in ("dvrUrl", "thumbnailUrl"):
            assert status_of(box, opened[name]) == 200, name

    box.call("DELETE", f"/v1/live/{made['id']}")
    shown = until(
        lambda: (it := box.channel(made["id"]))["recordUrl"] and it["videoUrl"] and it, 20, "videos"
    )
    left = playback(box, made)
    assert left["livestreamUrl"] is left["dvrUrl"] is None
    for plain, url in zip(
        (shown["videoUrl"], *shown["recordUrl"]), (left["videoUrl"], *left["recordUrl"]), strict=True
    ):
        assert [status_of(box, plain), status_of(box, url)] == [403, 200]
    until(lambda: status_of(box, left["storyboardUrl"]) == 200, 15, "the storyboard")
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")


def test_a_signature_that_is_wrong_or_anothers_or_over_opens_nothing(box):
    made, other = box.create(playback="signed"), box.create(playback="signed")
    signer = Signer(lambda: (box.data_dir / "keys/playback").read_text().strip())
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
        soon = datetime.now(UTC) + timedelta(seconds=1)
        good, short = signer.sign(made["id"], soon + timedelta(hours=1)), signer.sign(made["id"], soon)
        expires, digest = good.split("-", 1)
        closed = [
            signer.sign(other["id"], soon + timedelta(hours=1)),
            signer.sign(made["id"], soon - timedelta(seconds=5)),
            f"{int(expires) + 1}-{digest}",
            f"0-{digest}",
            f"{expires}-{digest[::-1]}",
        ]
        for file in files_of(box, made):
            address = f"/play/{made['id']}/~{{}}/{file}"
            assert status_of(box, address.format(good)) == 200
            assert [status_of(box, address.format(each)) for each in closed] == [403] * len(closed)
            # What is no signature at all is no address either.
            assert status_of(box, address.format("nonsense")) == 404
        address = f"/play/{made['id']}/~{short}/source.m3u8"
        until(lambda: status_of(box, address) == 403, 15, "a player is cut off when its time is over")
        assert time.time() > int(short.split("-")[0])
    for each in (made, other):
        box.call("DELETE", f"/v1/live/{each['id']}?delete=true")


def test_a_channel_that_becomes_signed_closes_at_once_and_opens_again(box):
    made = box.create()
    address = f"/play/{made['id']}/master.m3u8"
    with Encoder(box, made["streamToken"]):
        box.await_status(made["id"], "live")
        assert status_of(box, address) == 200
        box.call("PUT", f"/v1/live/{made['id']}", {"playback": "signed"})
        until(lambda: status_of(box, address) == 403, 15, "it is closed")
        signed = playback(box, made)["livestreamUrl"]
        assert status_of(box, signed) == 200
        box.call("PUT", f"/v1/live/{made['id']}", {"playback": "public"})
        until(lambda: status_of(box, address) == 200, 15, "it is open")
        assert status_of(box, signed) == 200, "whoever has a signed address watches on"
    box.call("DELETE", f"/v1/live/{made['id']}?delete=true")
