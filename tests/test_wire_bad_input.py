"""What else the bad-input matrix says of a channel; test_bad_input_everywhere.py has what holds for every call."""

from base64 import b64encode
from collections.abc import Iterator

import pytest
from flask import Flask

from config import Config
from tests.box import short_folder
from tests.conftest import ROOT_ID, ROOT_SECRET, installation, prepared_app
from tests.envelope import refused, wrong


@pytest.fixture(scope="module")
def config() -> Iterator[Config]:
    """One installation for the whole file: nothing here depends on what is in it."""
    with short_folder() as folder:
        yield installation(folder)


@pytest.fixture(scope="module")
def app(config) -> Flask:
    return prepared_app(config)


@pytest.mark.parametrize(
    "value", [2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**4000, 1.5, 60.5, -0.5, 1e300]
)
@pytest.mark.parametrize("field", ["thumbWidth", "expire", "stopTimeout"])
def test_a_number_out_of_every_range_is_422(client, field, value):
    assert wrong(client.post("/v1/live", json={"name": "x", field: value})) == {field}


@pytest.mark.parametrize("value", ["60", " 6_0 ", "\u0665", "", True, False, [60], {"a": 60}, "60.0", "0x40"])
def test_what_is_not_a_json_number_is_no_integer(client, value):
    assert wrong(client.post("/v1/live", json={"name": "x", "thumbWidth": value})) == {"thumbWidth"}


@pytest.mark.parametrize("value", [0, 1, "true", "1", "", [], {}, 0.0])
def test_what_is_not_a_json_boolean_is_none(client, value):
    assert wrong(client.post("/v1/live", json={"name": "x", "record": value})) == {"record"}


@pytest.mark.parametrize("value", [1, 1.5, True, [], {}, ["x"]])
@pytest.mark.parametrize("field", ["name", "description", "mode", "streamToken", "playback"])
def test_what_is_not_a_json_string_is_no_text(client, field, value):
    assert wrong(client.post("/v1/live", json={"name": "x"} | {field: value})) == {field}


CONTROL = [*map(chr, range(32)), "\x7f", "\x80", "\x85", "\x9f"]


@pytest.mark.parametrize("field", ["name", "description", "tags", "query"])
def test_text_with_control_characters_or_half_a_pair_is_422(client, channel, field):
    allowed = "\n\r\t" if field == "description" else ""
    for char in [*CONTROL, "\ud800", "\udfff"]:
        if char in allowed or (field == "query" and char >= "\ud800"):
            continue
        text = f"a{char}b"
        if field == "query":
            assert wrong(client.get("/v1/live", query_string={"query": text})) == {"query"}, repr(char)
            continue
        for reply in (
            client.post("/v1/live", json={"name": "x"} | {field: text}),
            client.put(f"/v1/live/{channel['id']}", json={field: text}),
        ):
            assert wrong(reply) == {field}, repr(char)


def test_half_a_pair_in_metadata_or_a_name_of_a_field_is_422_in_readable_json(client):
    assert wrong(client.post("/v1/live", json={"name": "x", "metadata": {"a": "\ud800"}})) == {"metadata"}
    assert wrong(client.post("/v1/live", json={"name": "x", "metadata": {"\udc00": 1}})) == {"metadata"}
    assert wrong(client.post("/v1/live", json={"name": "x", "\ud800": 1})) == {"\ud800"}


ODD = [
    "\u202egnihtemos",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "e\u0301 \u00e9",
    "a\u200bb",
    "\ufeffbom",
    "\ufffd",
    "a\u2028b\u2029c",
    "\U0010ffff",
    "đĐ Nguyễn",
    "<script>alert(1)</script>",
    "%s %d {0} ${x} `id` ; rm -rf",
    "'; DROP TABLE channel; --",
    "../../etc/passwd",
    "-i concat:",
    "\\ \" ' /",
]


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_other_text_is_returned_byte_for_byte(client, text):
    sent = {"name": text, "description": text, "tags": [text], "metadata": {text: text}}
    made = client.post("/v1/live", json=sent)
    assert made.status_code == 201
    found = client.get(f"/v1/live/{made.json['data']['id']}").json["data"]
    assert {name: found[name] for name in sent} == sent


def test_an_id_is_exact(client, channel):
    for other in (
        channel["id"].upper(),
        channel["id"][:-1],
        channel["id"] + "0",
        f"%20{channel['id']}",
        f"{channel['id']}%00",
    ):
        refused(client.get(f"/v1/live/{other}"), 404, 40400)


def basic(text: bytes | str) -> str:
    return "Basic " + b64encode(text if isinstance(text, bytes) else text.encode()).decode()


CREDENTIALS = [
    *(
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic ====",
        "basic",
        "Bearer x",
        f"Bearer {ROOT_SECRET}",
        "Digest x=y",
    ),
    *(
        basic(""),
        basic(":"),
        basic("no-colon"),
        basic(f":{ROOT_SECRET}"),
        basic(f"{ROOT_ID}:"),
        basic(ROOT_ID),
    ),
    *(basic(f"{ROOT_ID}:wrong"), basic(f"other:{ROOT_SECRET}"), basic(f"{ROOT_ID}\0:{ROOT_SECRET}")),
    *(
        basic(f"{ROOT_ID}:{ROOT_SECRET}\0"),
        basic(f"{ROOT_ID.upper()}:{ROOT_SECRET}"),
        basic(f" {ROOT_ID}:{ROOT_SECRET}"),
    ),
    *(
        basic("x" * 8000 + ":y"),
        basic("x:" + "y" * 8000),
        basic(b"\xff\xfe:\xff"),
        basic("ü:ü".encode("latin-1")),
    ),
    *(
        basic(f"{ROOT_ID}:{ROOT_SECRET}")[:-8],
        f"Basic {ROOT_ID}:{ROOT_SECRET}",
        basic("😀:😀"),
        basic("%:%"),
        "Basic \xff",
    ),
]


@pytest.mark.parametrize("credentials", CREDENTIALS, ids=lambda text: ascii((text or "none")[:32]))
def test_wrong_credentials_are_401_and_all_the_same(anonymous, channel, credentials):
    headers = {} if credentials is None else {"Authorization": credentials}
    said = set()
    for method, path in (("GET", "/v1/live"), ("POST", "/v1/live"), ("DELETE", f"/v1/live/{channel['id']}")):
        reply = anonymous.open(path, method=method, headers=headers)
        said.add(refused(reply, 401, 40100)["msg"])
        assert reply.headers["WWW-Authenticate"] == 'Basic realm="livestream"'
    assert len(said) == 1
    assert ROOT_SECRET not in said.pop()


def test_a_right_header_behind_a_wrong_one_is_not_looked_for(anonymous):
    pair = [("Authorization", basic("x:y")), ("Authorization", basic(f"{ROOT_ID}:{ROOT_SECRET}"))]
    refused(anonymous.get("/v1/live", headers=pair), 401, 40100)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_right_credentials_are_right(anonymous, scheme):
    credentials = basic(f"{ROOT_ID}:{ROOT_SECRET}").replace("Basic", scheme)
    assert anonymous.get("/v1/live", headers={"Authorization": credentials}).status_code == 200


def test_a_wrong_url_or_body_tells_nothing_without_a_token(anonymous):
    for path in ("/v1/live/ch_none", "/v1/live?page=x", "/v1/live/ch_none/rtmp"):
        refused(anonymous.get(path), 401, 40100)
    refused(anonymous.post("/v1/live", data=b"{", content_type="application/json"), 401, 40100)
