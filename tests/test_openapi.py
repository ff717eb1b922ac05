"""The description of the API: true, whole, valid, current, and public."""

import json
import re
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate
from selenium.webdriver.common.by import By

from routes.docs import COMMITTED, document, operations
from tests.browser import chromium, wait_for
from tests.serving import served
from wire import camel, pretty_json

# Contract, section 7: not in the envelope, so no calls. Below those of the second line are pages and files.
NO_CALLS = {"/", "/oembed", "/sign-out", "/openapi.json", "/metrics"}
NO_CALLS_BELOW = {"docs", "embed", "play", "static", "studio", "watch", "console"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def described(app) -> dict[str, Any]:
    return document(app)


@pytest.fixture
def calls(described) -> list[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of each."""
    return [
        (path, method.upper(), call)
        for path, methods in described["paths"].items()
        for method, call in methods.items()
    ]


def resolved(described: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        part = reduce(getitem, part["$ref"].removeprefix("#/").split("/"), described)
    return part


def media(described: dict[str, Any], call: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything with a schema and examples in a call: its bodies and its answers."""
    for kind, content in call.get("requestBody", {}).get("content", {}).items():
        yield f"body {kind}", content
    for status, answer in call["responses"].items():
        for content in resolved(described, answer).get("content", {}).values():
            yield status, content


def test_the_committed_copy_is_current(described):
    assert COMMITTED.read_text() == pretty_json(described), "flask --app app openapi writes it"


def test_the_command_writes_what_the_api_answers(app, anonymous, monkeypatch, tmp_path):
    monkeypatch.setattr("routes.docs.COMMITTED", tmp_path / "openapi.json")
    assert app.test_cli_runner().invoke(args=["openapi"]).exit_code == 0
    assert json.loads((tmp_path / "openapi.json").read_text()) == anonymous.get("/openapi.json").json


def test_the_document_is_valid_openapi(described):
    validate(described)
    assert described["openapi"].startswith("3.1")


def test_every_call_of_the_app_is_described(app, calls):
    there = {
        (re.sub(r"<(?:\w+:)?(\w+)>", lambda found: f"{{{camel(found[1])}}}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.rule not in NO_CALLS and rule.rule.split("/")[1] not in NO_CALLS_BELOW
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert ("/livestream/live/{channelId}", "PATCH") in there
    assert {(path, method) for path, method, _ in calls} == there


def test_every_call_has_a_summary_and_a_name_of_its_own(calls):
    assert [(path, method) for path, method, call in calls if len(call["summary"]) < 10] == []
    names = [call["operationId"] for _, _, call in calls]
    assert len(names) == len(set(names))


def test_every_example_fits_its_schema(described, calls):
    seen = 0
    for path, method, call in calls:
        for where, content in media(described, call):
            examples = [each["value"] for each in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            assert examples, (path, method, where)
            judge = Draft202012Validator(
                content["schema"] | {"components": described["components"]}, format_checker=FormatChecker()
            )
            for example in examples:
                told = [error.message for error in judge.iter_errors(example)]
                assert told == [], (path, method, where)
                seen += 1
    assert seen > 100


@pytest.mark.parametrize("kind", ["application/json", FORM])
def test_every_example_of_a_body_is_taken(calls, client, kind):
    """As far as the path leads anywhere: a create is made, the others find nothing, none is refused."""
    for path, method, call in calls:
        if "requestBody" not in call:
            continue
        example = call["requestBody"]["content"][kind]["example"]
        text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in example.items()}
        sent = {"data": text} if kind == FORM else {"json": example}
        reply = client.open(path.replace("{", "").replace("}", ""), method=method, **sent)
        assert reply.status_code in (200, 201, 404), (path, method, reply.text)


def test_every_answer_says_its_request_id_and_a_creation_where_it_is(described, calls):
    for path, method, call in calls:
        for status, answer in call["responses"].items():
            headers = resolved(described, answer)["headers"]
            assert "X-Request-Id" in headers
            assert ("Location" in headers) == (status == "201"), (path, method)


def test_what_goes_in_takes_no_more_than_is_known(described, calls):
    bodies = [call["requestBody"]["content"] for _, _, call in calls if "requestBody" in call]
    assert bodies
    for content in bodies:
        assert content.keys() == {"application/json", FORM}
        for each in content.values():
            assert resolved(described, each["schema"])["additionalProperties"] is False


def test_a_call_asks_for_a_token_where_the_description_says_so(anonymous, calls):
    for path, method, call in calls:
        reply = anonymous.open(path.replace("{", "").replace("}", ""), method=method)
        assert (reply.status_code == 401) == (call.get("security") != []), (path, method)
        assert ("401" in call["responses"]) == (call.get("security") != [])


def test_a_token_that_only_reads_is_refused_where_the_description_says_so(calls, holder):
    reading, refused = holder(role="read"), set()
    for path, method, call in calls:
        reply = reading.open(path.replace("{", "").replace("}", ""), method=method)
        if reply.status_code == 403:
            refused.add((path, method))
            assert "403" in call["responses"], (path, method)
    assert {(path, method) for path, method, _ in calls if method != "GET"} <= refused
    assert {("/v1/live/{channelId}/rtmp", "GET"), ("/v1/statistics", "GET")} <= refused


def test_a_creation_that_may_be_repeated_says_by_which_header(described):
    for path in ("/v1/live", "/livestream/live"):
        made = described["paths"][path]["post"]
        assert {"$ref": "#/components/parameters/IdempotencyKey"} in made["parameters"]
        assert "Idempotent-Replayed" in made["responses"]["201"]["headers"]


def test_a_call_names_its_own_failures_and_those_that_it_can_have(app, described):
    for each in operations(app):
        answers = described["paths"][each.path][each.method.lower()]["responses"]
        named = {
            int(ref)
            for answer in answers.values()
            for content in resolved(described, answer).get("content", {}).values()
            for ref in re.findall(r"schemas/Failure(\d{5})\b", json.dumps(content))
        }
        assert {failure.ec for failure in each.fails} <= named
        special = {40301, 42201, 42202, 42203}
        assert named & special == {failure.ec for failure in each.fails} & special
        assert (40400 in named) == ("{" in each.path or 40400 in {failure.ec for failure in each.fails})
        assert (40000 in named) == (each.method in ("POST", "PUT", "PATCH"))


def test_the_document_is_public_and_cacheable(anonymous):
    reply = anonymous.get("/openapi.json")
    assert (reply.status_code, reply.content_type) == (200, "application/json")
    assert reply.headers["Cache-Control"] == "public, max-age=300"
    again = anonymous.get("/openapi.json", headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_page_works_under_its_own_policy_and_asks_nobody_else(config):
    with served(config) as port, chromium() as driver:
        driver.get(f"http://127.0.0.1:{port}/docs")
        wait_for(driver, "return document.querySelectorAll('.opblock').length", 30)
        driver.find_element(By.CSS_SELECTOR, "#operations-live-liveCreate .opblock-summary-control").click()
        wait_for(driver, "return document.querySelector('.opblock.is-open .responses-table')", 10)
        complaints = [entry["message"] for entry in driver.get_log("browser")]
        asked = driver.execute_script(
            "return performance.getEntriesByType('resource').map(each => each.name)"
        )
    assert complaints == []
    assert {
        re.sub(r"(//[^/]+).*", r"\1", address) for address in asked if not address.startswith("data:")
    } == {f"http://127.0.0.1:{port}"}
