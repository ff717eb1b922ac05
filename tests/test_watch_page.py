"""The page to watch a channel: what it says in each state, and what it never says."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from live.links import Links
from live.videos import keep
from models import Session
from models_search import VideoType
from routes.pages import content_policy

STATIC = Path(__file__).parent.parent / "web" / "static"
AT_SET_UP = {
    "vendor/hls.min.js",
    "vendor/uPlot.iife.min.js",
    "vendor/uPlot.min.css",
}  # script/server puts it there, from npm
ADDRESSES = {"src", "href", "action", "poster", "srcset", "data-state-url"}


class Page(HTMLParser):
    """The addresses and the inline code of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if ("rel", "alternate") not in attrs:  # for programs that look for one: loaded by nobody here
            self.addresses += [value for name, value in attrs if name in ADDRESSES and value]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in dict(attrs)):
            self.inline.append(tag)


def state_of(client, channel) -> dict:
    reply = client.get(f"/watch/{channel['id']}/state")
    assert reply.status_code == 200
    return reply.json


def playing(hooks, lifecycle, channel, now) -> Session:
    hooks.publish(channel["streamToken"])
    session = Session.get(Session.stop_time.is_null())
    assert lifecycle.playable(session.id, now)
    return session


def test_a_channel_without_a_signal_is_not_live_yet(anonymous, channel):
    assert state_of(anonymous, channel) == {
        "status": "init",
        "label": "Not live",
        "headline": "Not live yet",
        "detail": "It starts here by itself as soon as it is.",
        "startAt": None,
        "mode": "normal",
        "url": None,
        "dvrUrl": None,
        "onAir": 0,
        "videoUrl": None,
        "storyboardUrl": None,
    }
    assert "Not live yet" in anonymous.get(f"/watch/{channel['id']}").text


def test_a_scheduled_channel_says_when_it_starts(anonymous, client):
    reply = client.post("/v1/live", json={"name": "Later", "startAt": "2126-11-24T19:30:00Z"})
    state = state_of(anonymous, reply.json["data"])
    page = anonymous.get(f"/watch/{reply.json['data']['id']}").text
    assert (state["status"], state["startAt"]) == ("coming", "2126-11-24T19:30:00.000Z")
    assert 'datetime="2126-11-24T19:30:00.000Z"' in page
    assert "2126-11-24 19:30 UTC" in page


def test_a_live_channel_names_its_playlist(anonymous, hooks, lifecycle, channel, now):
    playing(hooks, lifecycle, channel, now)
    state = state_of(anonymous, channel)
    assert state["status"] == "live"
    assert state["url"] == f"http://live.example/play/{channel['id']}/master.m3u8"


def test_a_channel_whose_signal_cannot_be_played_looks_like_one_without(
    anonymous, hooks, lifecycle, channel, now
):
    before = state_of(anonymous, channel)
    hooks.publish(channel["streamToken"])
    assert lifecycle.unplayable(Session.get().id, "no video", now)
    assert state_of(anonymous, channel) == before


def test_a_channel_whose_publisher_has_left_is_back_in_a_moment(anonymous, hooks, lifecycle, channel, now):
    session = playing(hooks, lifecycle, channel, now)
    lifecycle.unpublish(session.connection, "left", now + timedelta(minutes=1))
    state = state_of(anonymous, channel)
    assert (state["status"], state["headline"], state["url"]) == ("init", "Back in a moment", None)


def test_an_ended_channel_is_over(anonymous, client, channel):
    client.delete(f"/v1/live/{channel['id']}")
    assert state_of(anonymous, channel)["status"] == "ended"
    assert "This broadcast is over" in anonymous.get(f"/watch/{channel['id']}").text


def test_previews_are_named_where_pictures_are_taken_only(anonymous, client, now, db):
    links = Links("http://live.example", "rtmp://live.example/live")
    for thumbnail in (True, False):
        made = client.post("/v1/live", json={"name": "Over", "thumbnail": thumbnail}).json["data"]
        keep(made["id"], VideoType.CATCHUP, f"{made['id']}/catchup.m3u8", links, now, duration=60, size=1)
        client.delete(f"/v1/live/{made['id']}")
        state = state_of(anonymous, made)
        assert state["videoUrl"]
        expected = f"http://live.example/play/{made['id']}/storyboard.vtt" if thumbnail else None
        assert state["storyboardUrl"] == expected


def test_neither_the_page_nor_its_state_tells_what_is_not_for_viewers(
    anonymous, client, hooks, lifecycle, now
):
    private = {"accountId": "acct-4711", "metadata": {"order": "meta-4711"}, "tags": "tag-4711"}
    made = client.post("/v1/live", json={"name": "Open", **private}).json["data"]
    session = playing(hooks, lifecycle, made, now)
    for address in (f"/watch/{made['id']}", f"/watch/{made['id']}/state"):
        text = anonymous.get(address).text
        assert "4711" not in text
        assert made["streamToken"] not in text
        assert session.id not in text


def test_the_channels_text_is_text_and_its_name_is_the_title(anonymous, client):
    name = '<script>alert(1)</script> & "Café"'
    made = client.post("/v1/live", json={"name": name, "description": "<img src=x onerror=y>"}).json["data"]
    page = anonymous.get(f"/watch/{made['id']}").text
    assert "<title>&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;Café&#34;</title>" in page
    assert "<img" not in page
    assert Page(page).inline == []


@pytest.mark.parametrize(
    "address",
    [
        *("/watch/ch_00000000000000000000", "/watch", "/watch/", "/watch/a/b"),
        *("/embed/ch_00000000000000000000", "/embed", "/embed/"),
    ],
)
def test_an_address_without_a_channel_is_a_page_that_says_so(anonymous, address):
    reply = anonymous.get(address)
    assert reply.status_code == 404
    assert reply.mimetype == "text/html"
    assert "There is no broadcast at this address" in reply.text


def test_a_signed_channel_is_not_shown_without_a_signature(anonymous, client):
    made = client.post("/v1/live", json={"name": "Secret party", "playback": "signed"}).json["data"]
    for player in ("watch", "embed"):
        page = anonymous.get(f"/{player}/{made['id']}")
        assert (page.status_code, page.mimetype) == (403, "text/html")
        assert "Secret party" not in page.text
    assert oembed(anonymous, f"/watch/{made['id']}").status_code == 403
    assert anonymous.get(f"/watch/{made['id']}/state").status_code == 403


def test_the_state_of_an_unknown_channel_is_a_failure_that_a_program_reads(anonymous):
    reply = anonymous.get("/watch/ch_00000000000000000000/state")
    assert (reply.status_code, reply.json["ec"]) == (404, 40400)


def test_nothing_about_a_channel_is_kept_by_a_cache(anonymous, channel):
    for address in (f"/watch/{channel['id']}", f"/watch/{channel['id']}/state", "/watch/nobody"):
        assert anonymous.get(address).headers["Cache-Control"] == "no-store"


def test_pages_load_only_files_that_are_here(anonymous, channel):
    for address in (f"/watch/{channel['id']}", "/watch/nobody"):
        page = Page(anonymous.get(address).text)
        assert page.inline == []
        for found in page.addresses:
            parts = urlsplit(found)
            assert parts.scheme == "data" or not (parts.scheme or parts.netloc), found
            name = parts.path.removeprefix("/static/")
            if name != parts.path:
                assert name in AT_SET_UP or (STATIC / name).is_file(), found


def test_our_own_script_and_style_name_no_other_place():
    for file in (*sorted(path.name for path in STATIC.glob("*.js")), "style.css"):
        assert not re.search(r"https?:|@import|url\([^$]|//\w+\.", (STATIC / file).read_text()), file


def test_the_pages_policy_forbids_whatever_is_not_ours(anonymous, channel):
    for address in (f"/watch/{channel['id']}", "/watch/nobody"):
        headers = anonymous.get(address).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "*" not in policy
        assert set(re.findall(r"https?://[^ ;]+", policy)) == {"http://live.example"}
        assert headers["Referrer-Policy"] == "same-origin"


def test_the_embedded_player_may_be_framed_anywhere_and_the_page_may_not(anonymous, channel):
    policies = {
        player: anonymous.get(f"/{player}/{channel['id']}").headers["Content-Security-Policy"]
        for player in ("watch", "embed")
    }
    assert policies["embed"].endswith("frame-ancestors *")
    assert policies["watch"].endswith("frame-ancestors 'self'")
    assert "unsafe" not in policies["embed"]


def oembed(client, path: str, **more: str):
    return client.get("/oembed", query_string={"url": f"http://live.example{path}"} | more)


def test_a_watch_page_says_how_it_is_embedded(anonymous, client):
    made = client.post("/v1/live", json={"name": 'A "name" <b>'}).json["data"]
    page = anonymous.get(f"/watch/{made['id']}").text
    [address] = re.findall(r'type="application/json\+oembed" href="http://live.example([^"]+)"', page)
    told = anonymous.get(address.replace("&amp;", "&")).json
    assert (told["version"], told["type"], told["title"]) == ("1.0", "video", 'A "name" <b>')
    assert f'src="http://live.example/embed/{made["id"]}"' in told["html"]
    assert "<b>" not in told["html"]
    assert told == oembed(anonymous, f"/embed/{made['id']}").json


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({}, (640, 360)),
        ({"maxwidth": "320"}, (320, 180)),
        ({"maxwidth": "1280", "maxheight": "270"}, (480, 270)),
        ({"maxwidth": "many"}, (640, 360)),
    ],
)
def test_an_embedded_player_is_no_larger_than_asked_for(anonymous, channel, asked, size):
    told = oembed(anonymous, f"/watch/{channel['id']}", **asked).json
    assert (told["width"], told["height"]) == size


@pytest.mark.parametrize(
    "url", ["", "http://elsewhere.example/watch/x", "http://live.example/docs", "http://[", "::"]
)
def test_what_is_no_player_here_cannot_be_embedded(anonymous, url):
    assert anonymous.get("/oembed", query_string={"url": url}).status_code == 404


def test_oembed_speaks_json_only(anonymous, channel):
    assert oembed(anonymous, f"/watch/{channel['id']}", format="xml").status_code == 501


def test_a_page_at_the_public_address_needs_no_other():
    assert "http" not in content_policy("live.example", ["https://live.example"])
    assert "media-src 'self' blob: https://cdn.example:8443;" in content_policy(
        "live.example", ["https://cdn.example:8443/live"]
    )
