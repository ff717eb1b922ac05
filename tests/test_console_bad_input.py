"""Whatever is sent to the console's addresses, it is answered: never with a failure of ours."""

import re
from urllib.parse import quote

import pytest

from tests.test_console_rooms import mark_of

JUNK = (
    "",
    "\0",
    "a" * 70_000,
    "-1",
    "9" * 30,
    "1e9",
    "[1,2]",
    "{",
    '{"a":' * 200,
    "\u202e\ud7ff",
    "' OR 1=1 --",
    "on",
)
RAW = (b"\xff\xfe=\xff", b"name=%ff%00&csrf=%F0%28", b"=&=&&", b"a" * 2_000_000)


@pytest.fixture
def ids(client, channel) -> dict[str, str]:
    hook = client.post("/v1/webhook", json={"uri": "http://127.0.0.1:9/", "event": "all"}).json["data"]
    delivery = client.post(f"/v1/webhook/{hook['id']}/test").json["data"]
    client.post("/v1/user", json={"id": "club"})
    token = client.post("/v1/token", json={"role": "read"}).json["data"]
    return {
        "channel_id": channel["id"],
        "webhook_id": hook["id"],
        "delivery_id": delivery["id"],
        "account_id": "club",
        "token_id": token["id"],
        "video_id": "vid_0",
        "rest": "x",
    }


def addresses(app, ids: dict[str, str], method: str) -> list[str]:
    rules = [
        each
        for each in app.url_map.iter_rules()
        if each.rule.startswith("/console") and method in each.methods
    ]
    assert len(rules) > 15

    def filled(found: re.Match) -> str:
        return "stop" if found[1] else ids[found[2]]

    return [re.sub(r"<(?:(any)[^>]*:|path:)?(\w+)>", filled, each.rule) for each in rules]


def test_filters_that_mean_nothing_are_answered(app, person, ids):
    for address in addresses(app, ids, "GET"):
        for junk in JUNK:
            for name in (
                "page",
                "length",
                "status",
                "tags",
                "from",
                "accountId",
                "channelId",
                "span",
                "odd",
                "done",
            ):
                status = person.get(f"{address}?{name}={quote(junk)}").status_code
                assert status < 500, (address, name, junk[:20])


def test_forms_that_mean_nothing_are_answered(app, person, ids):
    mark = mark_of(person)
    names = (
        *(
            "name",
            "tags",
            "metadata",
            "startAt",
            "expire",
            "transcodeProfile",
            "uri",
            "event",
            "since",
            "was",
        ),
        *("maxLive", "role", "id", "expiresAt", "active", "odd"),
    )
    deleting = (
        "/delete",
        "/revoke",
        "/reset",
        "/stop",
    )  # at the end, or there would be nothing left to send to
    for address in sorted(addresses(app, ids, "POST"), key=lambda each: each.endswith(deleting)):
        for junk in JUNK:
            status = person.post(address, data=mark | dict.fromkeys(names, junk)).status_code
            assert status < 500, (address, junk[:20])


def test_bodies_that_are_no_forms_are_refused(app, person, ids):
    kinds = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json", "")
    for address in [*addresses(app, ids, "POST"), "/", "/sign-out"]:
        for raw in RAW:
            for kind in kinds:
                status = person.post(address, data=raw, content_type=kind).status_code
                assert 400 <= status < 500, (address, raw[:20], kind)


def test_ids_that_mean_nothing_are_answered(app, person, ids):
    for method in ("GET", "POST"):
        for junk in ("%00", "a b", "%F0%28", "é", "x" * 300, "..", "%2e%2e"):
            odd = dict.fromkeys(ids, junk)
            for address in addresses(app, odd, method):
                assert person.open(address, method=method).status_code < 500, address
