"""Addresses for viewers, and what opens a signed channel's page (contract section 2, "More on a channel")."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from live import videos
from live.signing import Signer, signed
from tests.envelope import refused, wrong

KEY = "an installation's key"
OTHER = "ch_00000000000000000000"


@pytest.fixture
def private(client) -> dict:
    return client.post("/v1/live", json={"name": "Secret party", "playback": "signed"}).json["data"]


@pytest.fixture
def signer() -> Signer:
    return Signer(lambda: KEY)


def playback(client, channel, **asked) -> dict:
    reply = client.post(f"/v1/live/{channel['id']}/playback", json=asked)
    assert reply.status_code == 201
    return reply.json["data"]


def signature_of(made: dict) -> str:
    return parse_qs(urlsplit(made["watchUrl"]).query)["signature"][0]


def test_a_signature_opens_its_channel_until_its_second_is_over(signer, now):
    made = signer.sign("ch_1", now)
    assert signer.valid("ch_1", made, now - timedelta(days=7))
    assert signer.valid("ch_1", made, now + timedelta(milliseconds=999))
    assert not signer.valid("ch_1", made, now + timedelta(seconds=1))
    assert not signer.valid("ch_2", made, now)
    assert not Signer(lambda: "another key").valid("ch_1", made, now)


def test_a_signature_whose_time_was_changed_opens_nothing(signer, now):
    expires, digest = signer.sign("ch_1", now).split("-", 1)
    assert not signer.valid("ch_1", f"{int(expires) + 1}-{digest}", now)
    assert not signer.valid("ch_1", f"0{expires}-{digest}", now)


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1795424564-", f"1795424564-{'A' * 21}", f"-{'A' * 22}", "é" * 30]
)
def test_what_is_no_signature_opens_nothing(signer, now, text):
    assert not signer.valid("ch_1", text, now)


def test_a_signed_address_has_the_signature_behind_the_channel_and_once():
    url = "http://a/play/ch_1/ses_1/play/ch_1/x.mp4"
    assert signed(url, "ch_1", "1-s") == "http://a/play/ch_1/~1-s/ses_1/play/ch_1/x.mp4"
    assert signed(None, "ch_1", "1-s") is None


@pytest.mark.parametrize("base", ["/v1/live", "/livestream/live"])
def test_a_public_channel_has_plain_addresses_that_do_not_expire(client, channel, base):
    reply = client.post(f"{base}/{channel['id']}/playback")
    assert (reply.status_code, reply.headers["Location"]) == (
        201,
        f"http://live.example/watch/{channel['id']}",
    )
    assert reply.json["data"] == {
        "livestreamUrl": f"http://live.example/play/{channel['id']}/master.m3u8",
        "dvrUrl": None,
        "videoUrl": None,
        "recordUrl": [],
        "thumbnailUrl": None,
        "storyboardUrl": None,
        "downloadUrl": None,
        "watchUrl": f"http://live.example/watch/{channel['id']}",
        "expiresAt": None,
    }


@pytest.mark.parametrize(
    ("asked", "seconds"), [({}, 3600), ({"expiresIn": 1}, 1), ({"expiresIn": 604800}, 604800)]
)
def test_a_signed_channels_addresses_carry_one_signature_that_expires(client, private, asked, seconds):
    before = datetime.now(UTC)
    made = playback(client, private, **asked)
    ends = datetime.fromisoformat(made["expiresAt"])
    assert before + timedelta(seconds=seconds - 1) < ends <= datetime.now(UTC) + timedelta(seconds=seconds)
    signature = signature_of(made)
    assert re.fullmatch(rf"{int(ends.timestamp())}-[A-Za-z0-9_-]{{22}}", signature)
    address = f"http://live.example/play/{private['id']}/~{signature}/master.m3u8"
    assert made["livestreamUrl"] == address


def test_an_ended_channel_has_no_live_address(client, private):
    client.delete(f"/v1/live/{private['id']}")
    assert playback(client, private)["livestreamUrl"] is None


def keep_everything(client, lifecycle, channel: dict, now) -> None:
    """What a broadcast leaves: a picture, a recording of each of two sessions, and the catch-up."""
    names = {"thumbnail": True, "record": True, "dvr": True}
    assert client.put(f"/v1/live/{channel['id']}", json=names).status_code == 200
    videos.pictured(channel["id"], f"{channel['id']}/thumbnail.jpg", lifecycle.links.name)
    for session in ("ses_1", "ses_2"):
        about = {"duration": 1, "size": 1, "session_id": session}
        videos.keep(channel["id"], "record", f"{channel['id']}/{session}.mp4", lifecycle.links, now, **about)
    client.delete(f"/v1/live/{channel['id']}")
    about = {"duration": 2, "size": 2}
    videos.keep(channel["id"], "catchup", f"{channel['id']}/master_dvr.m3u8", lifecycle.links, now, **about)


def test_all_that_is_left_of_a_signed_broadcast_has_an_address_that_opens_it(client, private, lifecycle, now):
    keep_everything(client, lifecycle, private, now)
    made = playback(client, private)
    below = f"http://live.example/play/{private['id']}/~{signature_of(made)}"
    assert {name: url for name, url in made.items() if name not in ("watchUrl", "expiresAt")} == {
        "livestreamUrl": None,
        "dvrUrl": None,
        "videoUrl": f"{below}/master_dvr.m3u8",
        "recordUrl": [f"{below}/ses_1.mp4", f"{below}/ses_2.mp4"],
        "thumbnailUrl": f"{below}/thumbnail.jpg",
        "storyboardUrl": f"{below}/storyboard.vtt",
        "downloadUrl": None,
    }


def test_a_catchup_that_was_made_for_downloading_has_a_signed_address_too(client, private, lifecycle, now):
    keep_everything(client, lifecycle, private, now)
    [catchup, *_] = client.get("/v1/video?type=catchup").json["data"]
    video = videos.named(catchup["id"], None)
    videos.ask_for_download(video, now)
    assert playback(client, private)["downloadUrl"] is None, "it is not there yet"
    videos.downloadable(video, 2)
    made = playback(client, private)
    assert made["downloadUrl"].endswith(f"/~{signature_of(made)}/catchup.mp4")


def test_what_is_made_of_a_live_signed_channel_has_addresses_before_it_begins(client, private):
    client.put(f"/v1/live/{private['id']}", json={"dvr": True, "thumbnail": True})
    made = playback(client, private)
    assert made["dvrUrl"].endswith(f"/~{signature_of(made)}/master_dvr.m3u8")
    assert made["thumbnailUrl"] is None, "there is no picture yet"


def test_channel_and_video_objects_stay_as_they_are_whoever_asks_and_whenever(
    client, private, lifecycle, now, holder
):
    keep_everything(client, lifecycle, private, now)
    shown = client.get(f"/v1/live/{private['id']}").json["data"]
    listed = client.get("/v1/video").json["data"]
    playback(client, private, expiresIn=1)
    assert client.get(f"/v1/live/{private['id']}").json["data"] == shown
    assert holder(role="read").get("/v1/video").json["data"] == listed
    told = [each for each in client.get("/v1/event").json["data"] if each["event"] == "video_ready"]
    assert told[-1] | shown == told[-1]
    assert told[-1]["video"] in listed
    assert "~" not in str([shown, listed, told])
    made = playback(client, private)
    opened = {url.rpartition("/")[2] for url in [made["videoUrl"], *made["recordUrl"]]}
    assert opened == {each["url"].rpartition("/")[2] for each in listed}, "a file is found by its name"


@pytest.mark.parametrize("value", [0, 604801, "60", 1.5, None, True])
def test_a_wrong_time_is_refused_by_name(client, private, value):
    path = f"/v1/live/{private['id']}/playback"
    assert wrong(client.post(path, json={"expiresIn": value})) == {"expiresIn"}


def test_another_accounts_channel_and_a_reader_get_no_address(client, private, holder):
    path = f"/v1/live/{private['id']}/playback"
    refused(holder(accountId="acme").post(path), 404, 40400)
    refused(holder(role="read").post(path), 403, 40300)
    refused(client.post(f"/v1/live/{OTHER}/playback"), 404, 40400)


def test_the_channel_object_and_its_events_carry_no_signature(client, hooks, lifecycle, private, now, db):
    playback(client, private)
    hooks.publish(private["streamToken"])
    [session] = client.get(f"/v1/live/{private['id']}/session").json["data"]
    assert lifecycle.playable(session["id"], now)
    plain = f"http://live.example/play/{private['id']}/master.m3u8"
    assert client.get(f"/v1/live/{private['id']}").json["data"]["livestreamUrl"] == plain
    [*_, told] = client.get("/v1/event").json["data"]
    assert (told["event"], told["livestreamUrl"]) == ("channel_live", plain)


# The page.


def test_the_signature_opens_the_page_and_its_state_and_the_player_gets_it_too(
    anonymous, client, hooks, lifecycle, private, now, db
):
    made = playback(client, private)
    hooks.publish(private["streamToken"])
    [session] = client.get(f"/v1/live/{private['id']}/session").json["data"]
    assert lifecycle.playable(session["id"], now)
    page = anonymous.get(made["watchUrl"].removeprefix("http://live.example"))
    assert (page.status_code, page.mimetype) == (200, "text/html")
    asked = f"/watch/{private['id']}/state?signature={signature_of(made)}"
    assert asked in page.text
    assert anonymous.get(asked).json["url"] == made["livestreamUrl"]


def test_without_a_signature_that_holds_the_page_is_closed(anonymous, client, app, private, now):
    other = client.post("/v1/live", json={"name": "Other", "playback": "signed"}).json["data"]
    expired = app.extensions["livestream"].signer.sign(private["id"], now - timedelta(days=400))
    for wrong_one in ("", "x", signature_of(playback(client, other)), expired):
        for rest in ("", "/state"):
            reply = anonymous.get(f"/watch/{private['id']}{rest}?signature={wrong_one}")
            assert reply.status_code == 403
            assert "Secret party" not in reply.text


def test_a_public_channels_page_hands_no_signature_on(anonymous, channel):
    page = anonymous.get(f"/watch/{channel['id']}?signature=1795424564-b1mYxQ0d3p7K9sVJtW2fZg").text
    assert "signature" not in page


def test_the_embedded_player_opens_with_the_signature_and_not_without(anonymous, client, private):
    signature = signature_of(playback(client, private))
    assert anonymous.get(f"/embed/{private['id']}").status_code == 403
    page = anonymous.get(f"/embed/{private['id']}?signature={signature}")
    assert page.status_code == 200
    assert f"/state?signature={signature}" in page.text


def test_the_broadcaster_sees_a_signed_channel_in_the_studio(
    anonymous, app, client, hooks, lifecycle, private, now, db
):
    link = client.post(f"/v1/live/{private['id']}/studio", json={}).json["data"]
    hooks.publish(private["streamToken"])
    [session] = client.get(f"/v1/live/{private['id']}/session").json["data"]
    assert lifecycle.playable(session["id"], now)
    url = anonymous.get(f"{urlsplit(link['studioUrl']).path}/state").json["url"]
    signature = re.search(r"/~([^/]+)/", url)[1]
    assert app.extensions["livestream"].signer.valid(private["id"], signature, datetime.now(UTC))
