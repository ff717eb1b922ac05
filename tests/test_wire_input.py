"""What comes in, right and wrong: contract section 1, and the bad-input matrix for the channel resource."""

import json
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from marshmallow import ValidationError

from config import Config
from tests.box import short_folder
from tests.conftest import installation, prepared_app
from tests.envelope import refused, wrong
from wire import Number, Wire

MIB = 1024 * 1024
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def config() -> Iterator[Config]:
    """One installation for the whole file: nothing here depends on what is in it."""
    with short_folder() as folder:
        yield installation(folder)


@pytest.fixture(scope="module")
def app(config) -> Flask:
    return prepared_app(config)


# Content types and bodies.


def test_a_form_is_read_like_a_json_body(client):
    fields = {
        "name": "Tên & kênh = 100%",
        "tags": "a, b,a",
        "record": "true",
        "dvr": "1",
        "catchup": "false",
        "thumbnail": "0",
        "thumbWidth": "640",
        "accountId": "7",
        "metadata": '{"a": [1, "x"]}',
        "transcodeProfile": "720p,360p",
        "startAt": "2099-01-01T00:00:00Z",
        "description": "two\r\nlines",
    }
    made = client.post("/v1/live", data=fields)
    assert made.status_code == 201
    found = client.get(f"/v1/live/{made.json['data']['id']}").json["data"]
    assert found["name"] == "Tên & kênh = 100%"
    assert found["tags"] == ["a", "b"]
    assert [found[name] for name in ("record", "dvr", "catchup", "thumbnail")] == [True, True, False, False]
    assert (found["thumbWidth"], found["accountId"]) == (640, "7")
    assert found["metadata"] == {"a": [1, "x"]}
    assert found["transcodeProfile"] == ["720p", "360p"]
    assert found["startAt"] == "2099-01-01T00:00:00.000Z"
    assert found["description"] == "two\r\nlines"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("record", "yes"), ("record", "True"), ("record", ""), ("thumbWidth", "60.5"), ("thumbWidth", "")),
        *(("thumbWidth", " 60"), ("thumbWidth", "٦٠"), ("thumbWidth", "6_0"), ("thumbWidth", "+60")),
        *(("metadata", "{"), ("metadata", "[]"), ("metadata", ""), ("metadata", '{"a":1,"a":2}')),
        *(("startAt", ""), ("startAt", "null"), ("nothing", "x"), ("thumbWidth", "9" * 5000)),
    ],
)
def test_a_wrong_value_in_a_form_is_422_by_its_name(client, name, value):
    assert wrong(client.post("/v1/live", data={"name": "x", name: value})) == {name}


@pytest.mark.parametrize("body", ["name=%FF", "name=x&&a=b", "name", "&".join(f"f{n}=1" for n in range(200))])
def test_a_form_that_cannot_be_read_is_400(client, body):
    refused(client.post("/v1/live", data=body, content_type=FORM), 400, 40000)


def test_a_form_field_given_twice_is_named(client):
    reply = client.post("/v1/live", data="name=x&name=y", content_type=FORM)
    assert wrong(reply) == {"name"}


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=UTF-8", "Application/JSON;charset=utf8"]
)
def test_json_may_say_that_it_is_utf8(client, kind):
    reply = client.post("/v1/live", data='{"name": "ü"}'.encode(), content_type=kind)
    assert reply.status_code == 201


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "application/vnd.api+json", "text/json", "multipart/form-data; boundary=x", "", "x"),
        *("application/json; charset=latin-1", "application/json; charset=utf-16", "application/xml"),
        "application/x-www-form-urlencoded; charset=latin-1",
    ],
)
def test_another_content_type_is_400(client, kind):
    body = b"name=x" if "form-url" in kind else b'{"name": "x"}'
    refused(client.post("/v1/live", data=body, content_type=kind), 400, 40000)


def test_no_body_and_an_empty_object_ask_the_same(client):
    for reply in (
        client.post("/v1/live"),
        client.post("/v1/live", json={}),
        client.post("/v1/live", data={}),
    ):
        assert wrong(reply, 400, 40001) == {"name"}


def test_answers_are_json_whatever_is_accepted(client, channel):
    reply = client.get("/v1/live", headers={"Accept": "text/xml"})
    assert (reply.status_code, reply.content_type) == (200, "application/json")


def test_a_body_of_a_mebibyte_is_read_and_one_more_byte_is_not(client):
    start, end = b'{"name": "x"', b"}"
    room = MIB - len(start) - len(end)
    post = {"content_type": "application/json"}
    assert client.post("/v1/live", data=start + b" " * room + end, **post).status_code == 201
    refused(client.post("/v1/live", data=start + b" " * (room + 1) + end, **post), 400, 40000)
    refused(client.post("/v1/live", data="name=" + "x" * MIB, content_type=FORM), 400, 40000)


def test_the_body_of_a_delete_is_ignored(client, channel):
    reply = client.delete(f"/v1/live/{channel['id']}", data=b"{not json", content_type="text/weird")
    assert (reply.status_code, reply.json["data"]["status"]) == (200, "ended")


# Names that are not known, missing, or given twice.


def test_unknown_fields_are_422_and_all_named(client):
    assert wrong(client.post("/v1/live", json={"name": "x", "nmae": 1, "status": "live", "id": "ch_1"})) == {
        "nmae",
        "status",
        "id",
    }


def test_names_are_camel_case_only(client):
    assert wrong(client.post("/v1/live", json={"name": "x", "thumb_width": 60})) == {"thumb_width"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(
            ("GET", "/v1?x=1"),
            ("GET", "/v1/live?x=1"),
            ("POST", "/v1/live?x=1"),
            ("GET", "/v1/live/{id}?x=1"),
        ),
        *(("GET", "/v1/live/{id}/rtmp?x=1"), ("PUT", "/v1/live/{id}?x=1"), ("DELETE", "/v1/live/{id}?x=1")),
        *(("POST", "/v1/live/{id}/token?x=1"), ("GET", "/v1/live/{id}/session?x=1")),
        *(("GET", "/v1/live/{id}/event?x=1"), ("GET", "/v1/live?x=1&page=0")),
    ],
)
def test_an_unknown_query_parameter_is_named(client, channel, method, path):
    reply = client.open(
        path.format(id=channel["id"]), method=method, json={"name": "x"} if method != "GET" else None
    )
    assert wrong(reply) == {"x"}
    assert client.get(f"/v1/live/{channel['id']}").json["data"]["status"] == "init"


@pytest.mark.parametrize("query", ["page=0&page=0", "page=0&page=1", "status=live&status=init"])
def test_a_query_parameter_given_twice_is_named(client, query):
    assert wrong(client.get(f"/v1/live?{query}")) == {query.partition("=")[0]}


@pytest.mark.parametrize(
    "body",
    ['{"name":"x","name":"x"}', '{"name":"x","metadata":{"a":1,"a":1}}', '{"name":"x","na\\u006de":"y"}'],
)
def test_a_key_given_twice_in_json_is_400(client, body):
    refused(client.post("/v1/live", data=body, content_type="application/json"), 400, 40000)


def test_missing_and_wrong_at_once_is_400_and_lists_both(client):
    reply = client.post("/v1/live", json={"thumbWidth": 1, "nothing": 2})
    assert wrong(reply, 400, 40001) == {"name", "thumbWidth", "nothing"}
    assert "name" in reply.json["msg"]


def test_null_is_present_and_wrong(client):
    body = {
        "name": None,
        "tags": None,
        "record": None,
        "thumbWidth": None,
        "streamToken": None,
        "metadata": None,
    }
    assert wrong(client.post("/v1/live", json=body)) == body.keys()


def test_null_is_a_value_of_start_at(client):
    assert client.post("/v1/live", json={"name": "x", "startAt": None}).status_code == 201


# Numbers and lists, where two readings are near.


@pytest.mark.parametrize(("given", "kept"), [(60.0, 60), (60, 60)])
def test_a_json_number_without_a_fraction_is_an_integer(client, given, kept):
    made = client.post("/v1/live", json={"name": "x", "thumbWidth": given, "accountId": given})
    found = client.get(f"/v1/live/{made.json['data']['id']}").json["data"]
    assert json.dumps([found["thumbWidth"], found["accountId"]]) == json.dumps([kept, str(kept)])


@pytest.mark.parametrize(("given", "status"), [(10**64 - 1, 201), (-7, 201), (10**64, 422), (0.5, 422)])
def test_an_account_may_be_an_integer_of_as_many_digits_as_the_text_has(client, given, status):
    reply = client.post("/v1/live", json={"name": "x", "accountId": given})
    assert reply.status_code == status
    if status == 201:
        found = client.get(f"/v1/live/{reply.json['data']['id']}").json["data"]
        assert found["accountId"] == str(given)


def test_every_integer_of_a_database_fits_into_a_query():
    class Query(Wire):
        after = Number(0, 2**63 - 1)

    assert Query().load_text({"after": "9223372036854775807"}) == {"after": 2**63 - 1}
    for beyond in ("9223372036854775808", "-1", "9" * 5000):
        with pytest.raises(ValidationError):
            Query().load_text({"after": beyond})


def test_trimming_a_list_hides_no_control_character(client):
    for tags in ("a,\x1fb", "a\n,b", "\x1c", ["a\x85"], ["\t"]):
        assert wrong(client.post("/v1/live", json={"name": "x", "tags": tags})) == {"tags"}, tags
    made = client.post("/v1/live", json={"name": "x", "tags": " a ,\u00a0b\u3000,, a"})
    assert client.get(f"/v1/live/{made.json['data']['id']}").json["data"]["tags"] == ["a", "b"]


# Paging and times.


@pytest.mark.parametrize("path", ["/v1/live", "/v1/live/{id}/session", "/v1/live/{id}/event", "/v1/webhook"])
@pytest.mark.parametrize(
    ("query", "status"),
    [
        *(("page=0", 200), ("page=1000000", 200), ("length=1", 200), ("length=100", 200)),
        *(
            ("page=1000001", 422),
            ("page=-1", 422),
            ("length=0", 422),
            ("length=101", 422),
            ("length=-1", 422),
        ),
        *(("page=", 422), ("page=x", 422), ("length=1e1", 422), ("length=5.0", 422), ("length=true", 422)),
        *(("length=%20" + "5", 422), ("length=9223372036854775808", 422), ("page=" + "9" * 5000, 422)),
    ],
)
def test_paging_has_bounds(client, channel, path, query, status):
    reply = client.get(f"{path.format(id=channel['id'])}?{query}")
    assert reply.status_code == status
    if status == 422:
        assert wrong(reply) == {query.partition("=")[0]}


def test_times_are_utc_with_milliseconds(client, channel):
    shape = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    found = client.get(f"/v1/live/{channel['id']}").json["data"]
    assert re.fullmatch(shape, channel["createdAt"])
    assert found["createdAt"] == channel["createdAt"]
    assert re.fullmatch(shape, found["updatedAt"])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2099-04-18T10:00:00Z", "2099-04-18T10:00:00.000Z"),
        ("2099-04-18t10:00:00z", "2099-04-18T10:00:00.000Z"),
        ("2099-04-18T10:00:00.0119999Z", "2099-04-18T10:00:00.011Z"),
        ("2099-04-18T10:00:00.5+07:00", "2099-04-18T03:00:00.500Z"),
        ("2099-12-31T23:30:00-01:00", "2100-01-01T00:30:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_of_any_zone_is_taken(client, given, shown):
    made = client.post("/v1/live", json={"name": "x", "startAt": given})
    assert client.get(f"/v1/live/{made.json['data']['id']}").json["data"]["startAt"] == shown


def test_a_time_long_ago_is_shown_with_four_digits_of_a_year(client, channel):
    path = f"/v1/live/{channel['id']}"
    assert (
        client.put(path, json={"startAt": "0987-06-05T04:03:02Z"}).json["data"]["startAt"]
        == "0987-06-05T04:03:02.000Z"
    )


@pytest.mark.parametrize(
    "given",
    [
        *(
            "2099-02-30T00:00:00Z",
            "2099-01-01T24:00:00Z",
            "2099-01-01T00:00:60Z",
            "2099-01-01T00:00:00",
            "now",
        ),
        *(
            "10000-01-01T00:00:00Z",
            "2099-01-01",
            "2099-01-01T00:00Z",
            "20990101T000000Z",
            4102444800000,
            True,
        ),
        *(
            "2099-W01-1T00:00:00Z",
            "٢٠٩٩-01-01T00:00:00Z",
            "9999-12-31T23:59:59-23:00",
            "2099-01-01T00:00:00+99:00",
        ),
        *(" 2099-01-01T00:00:00Z", "2099-01-01T00:00:00Z\n", "2099-01-01T00:00:00,5Z", "tomorrow", ""),
    ],
)
def test_what_is_not_a_time_is_422(client, given):
    assert wrong(client.post("/v1/live", json={"name": "x", "startAt": given})) == {"startAt"}


def test_numbers_and_text_survive_the_way_out(client):
    sent = {"a": 1, "b": -0.5, "c": "é\u2028\U0001f600", "d": None, "e": [True, {}], "z": 10**30, "A": ""}
    made = client.post("/v1/live", json={"name": "x", "metadata": sent})
    reply = client.get(f"/v1/live/{made.json['data']['id']}")
    found = json.loads(reply.data)["data"]["metadata"]
    assert json.dumps(found) == json.dumps(sent)
