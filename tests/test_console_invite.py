"""Signed channels in the console: addresses for viewers, and a preview that needs none."""

import re
from html import unescape
from urllib.parse import urlsplit

import pytest


@pytest.fixture
def signed(client) -> dict:
    return client.post("/v1/live", json={"name": "By invitation", "playback": "signed"}).json["data"]


def path_of(address: str) -> str:
    parts = urlsplit(unescape(address))
    return f"{parts.path}?{parts.query}"


def test_an_address_for_a_viewer_opens_the_page_and_the_channels_page_holds_none(person, anonymous, signed):
    at = f"/console/channels/{signed['id']}"
    assert anonymous.get(f"/watch/{signed['id']}").status_code == 403
    assert 'id="watch-url"' not in person.get(at).text
    made = person.send(f"{at}/invite", page=at, expiresIn="3600")
    address = re.search(r'id="watch-url" value="([^"]+)"', made.text).group(1)
    assert anonymous.get(path_of(address)).status_code == 200


def test_the_preview_opens_by_itself(person, anonymous, signed):
    page = person.get(f"/console/channels/{signed['id']}").text
    address = re.search(r'<iframe [^>]*src="([^"]+)"', page).group(1)
    assert anonymous.get(path_of(address)).status_code == 200


def test_who_may_only_read_and_who_is_of_another_account_makes_no_address(visitor, signed):
    reader, other = visitor(role="read"), visitor(accountId="acme")
    at = f"/console/channels/{signed['id']}"
    mark = {"csrf": other.get("/console/channels").text.partition('name="csrf" value="')[2].partition('"')[0]}
    for word in ("/invite", "signature="):
        assert word not in reader.get(at).text
    assert other.post(f"{at}/invite", data=mark).status_code == 404
