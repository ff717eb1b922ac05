"""docs/errors.md has every `ec` with its status, and each sentence that it shows is one that the API gives."""

import ast
import json
import re
from collections.abc import Callable
from typing import Any

import peewee
import pytest

from auth import FailedLogins
from openapi.examples import FAILURES
from tests.documents import DOCS, ROOT, blocks_of, code, rows

DOCUMENT = DOCS / "errors.md"
ROWS = {int(code(cells[0])[0]): cells for cells in rows(DOCUMENT.read_text())}
GONE = "ch_30894e0cef2c3c2c9b40"


def told() -> set[tuple[int, int]]:
    """Each `ec` of errors.py with its status: what classes say, and what is answered in place."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "errors.py").read_text())):
        match node:
            case ast.Assign(targets=[ast.Tuple()], value=ast.Tuple([ast.Constant(status), ast.Constant(ec)])):
                found.add((ec, status))
            case ast.Call(func=ast.Name("_failure"), args=[ast.Constant(status), ast.Constant(ec), *_]):
                found.add((ec, status))
    return found


def test_every_failure_is_in_the_document_and_nothing_else():
    assert len(told()) > 12
    assert {(ec, int(cells[1])) for ec, cells in ROWS.items()} == told()


def test_the_description_of_the_api_knows_no_other():
    assert FAILURES.keys() <= ROWS.keys()
    assert {ec: each.status for ec, each in FAILURES.items()}.items() <= {
        ec: int(cells[1]) for ec, cells in ROWS.items()
    }.items()


def an_ended_channel(client) -> str:
    made = client.post("/v1/live", json={"name": "Over"}).json["data"]["id"]
    client.delete(f"/v1/live/{made}")
    return f"/v1/live/{made}/token"


def the_same_token_twice(client, **kw) -> Any:
    client.post("/v1/live", json={"name": "One", "streamToken": "a-token-of-mine"})
    return client.post("/v1/live", json={"name": "Two", "streamToken": "a-token-of-mine"})


def the_same_key_twice(client) -> Any:
    key = {"Idempotency-Key": "lesson-1"}
    client.post("/v1/live", json={"name": "One"}, headers=key)
    return client.post("/v1/live", json={"name": "Two"}, headers=key)


def at_the_limit(client) -> Any:
    client.put("/v1/user/acme", json={"limits": {"maxChannels": 0}})
    return client.post("/v1/live", json={"name": "One", "accountId": "acme"})


def guessing(client) -> Any:
    wrong = {"Authorization": "Basic cm9vdDp3cm9uZw=="}
    for _ in range(FailedLogins.MOST - 1):
        client.get("/v1/live", headers=wrong)
    return client.get("/v1/live", headers=wrong)


WAYS: dict[int, Callable[[Any, Any], Any]] = {
    40000: lambda client, holder: client.post("/v1/live", json=[]),
    40001: lambda client, holder: client.post("/v1/live", json={}),
    40100: lambda client, holder: client.get("/v1/live", headers={"Authorization": ""}),
    40300: lambda client, holder: holder(role="read").post("/v1/live", json={"name": "One"}),
    40301: lambda client, holder: at_the_limit(client),
    40400: lambda client, holder: client.get(f"/v1/live/{GONE}"),
    40500: lambda client, holder: client.delete("/v1/live"),
    42200: lambda client, holder: client.get("/v1/live?page2=1"),
    42201: lambda client, holder: client.post(an_ended_channel(client)),
    42202: lambda client, holder: the_same_token_twice(client),
    42203: lambda client, holder: the_same_key_twice(client),
    42900: lambda client, holder: guessing(client),
}


def test_there_is_a_way_to_each_but_to_those_that_are_ours():
    assert ROWS.keys() - WAYS.keys() == {50000, 50300}


@pytest.mark.parametrize("ec", WAYS)
def test_the_sentence_shown_is_what_the_api_says(ec, client, holder):
    answer = WAYS[ec](client, holder)
    assert (answer.json["ec"], answer.status_code) == (ec, int(ROWS[ec][1]))
    assert answer.json["msg"] == code(ROWS[ec][3])[0]


@pytest.mark.parametrize(
    ("ec", "error"), [(50300, peewee.OperationalError("database is locked")), (50000, RuntimeError("a bug"))]
)
def test_so_are_those_of_failures_of_ours(ec, error, app, client, monkeypatch):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("routes.live.listing.channels", fail)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    answer = client.get("/v1/live", headers={"X-Request-Id": "abc"})
    assert (answer.json["ec"], answer.json["msg"]) == (ec, code(ROWS[ec][3])[0])
    assert answer.headers["X-Request-Id"] == "abc"
    assert ("Retry-After" in answer.headers) == (ec == 50300)


def test_the_block_is_an_answer(client):
    [shown] = [json.loads(each.text) for each in blocks_of(DOCUMENT.read_text())]
    assert client.post("/v1/live", json={"name": "One", "expire": 5}).json == shown


def test_what_can_be_sent_again_is_said_of_each():
    assert all(re.fullmatch(r"no|yes.*|after .+|once.*", cells[5]) for cells in ROWS.values())
