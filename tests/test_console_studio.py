"""Studio links from the console: made, shown once, taken back."""

import re
from html import unescape
from urllib.parse import urlsplit


def made(person, channel) -> str:
    at = f"/console/channels/{channel['id']}"
    shown = person.send(f"{at}/studio", page=at, expiresIn="3600").text
    return urlsplit(unescape(re.search(r'id="studio-url" value="([^"]+)"', shown).group(1))).path


def test_a_link_opens_the_studio_until_it_is_taken_back(person, anonymous, channel):
    at = f"/console/channels/{channel['id']}"
    link = made(person, channel)
    assert anonymous.get(link).status_code == 200
    assert link not in person.get(at).text
    assert person.send(f"{at}/studio/back", page=at).status_code in (200, 303)
    assert anonymous.get(link).status_code == 404


def test_an_ended_channel_and_a_token_that_only_reads_have_none(person, visitor, client, channel):
    at = f"/console/channels/{channel['id']}"
    assert "/studio" not in visitor(role="read").get(at).text
    client.delete(f"/v1/live/{channel['id']}")
    assert "/studio" not in person.get(at).text
