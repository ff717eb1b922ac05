"""Channels in the console: roles and accounts as in the API, every field, nothing typed is lost."""

import json
from datetime import timedelta

import pytest

from db import utcnow
from live.snapshot import channel_object
from models import Channel, Session
from models_access import AuditEntry
from schemas import ChannelCreate
from tests.person import Fields
from wire import iso

LIST = "/console/channels"
NEW = f"{LIST}/new"
EVERYTHING = {
    "name": "A <match> & more",
    "description": "First line\r\nsecond line",
    "accountId": "club",
    "tags": "football, derby",
    "mode": "low-latency",
    "catchup": "false",
    "record": ["false", "true"],
    "dvr": ["false", "true"],
    "thumbnail": ["false", "true"],
    "thumbWidth": "320",
    "thumbHeight": "180",
    "thumbInterval": "5",
    "expire": "3600",
    "transcodeProfile": ["", "720p", "360p"],
    "stopTimeout": "0",
    "streamToken": "an-earlier-token",
    "startAt": "2126-11-24T19:30",
    "playback": "signed",
    "region": "north",
    "metadata": '{"order": 7}',
}


def only(rows=None) -> Channel:
    [channel] = rows or Channel.select()
    return channel


def at(channel: dict, part: str = "") -> str:
    return f"{LIST}/{channel['id']}{part}"


def values(reply, address) -> dict:
    return Fields(reply.text, address).values


def test_the_form_of_a_new_channel_has_every_field_of_the_api(person):
    form = values(person.get(NEW), NEW)
    assert form.keys() - {"csrf"} == {each.data_key for each in ChannelCreate().load_fields.values()}
    assert EVERYTHING.keys() == form.keys() - {"csrf"}


def test_a_new_channel_is_what_the_form_said(person, db):
    reply = person.send(NEW, **EVERYTHING)
    channel = only()
    assert (reply.status_code, reply.location) == (303, f"{LIST}/{channel.id}?done=created")
    assert channel.stream_token == "an-earlier-token"
    shown = channel_object(channel, None, person.application.extensions["livestream"].links, utcnow())
    wanted = {
        "name": "A <match> & more",
        "description": "First line\nsecond line",
        "accountId": "club",
        "tags": ["football", "derby"],
        "mode": "low-latency",
        "catchup": False,
        "record": True,
        "dvr": True,
        "thumbnail": True,
        "thumbWidth": 320,
        "thumbHeight": 180,
        "thumbInterval": 5,
        "expire": 3600,
        "transcodeProfile": ["720p", "360p"],
        "stopTimeout": 0,
        "startAt": "2126-11-24T19:30:00.000Z",
        "playback": "signed",
        "metadata": {"order": 7},
    }
    assert {name: shown[name] for name in wanted} == wanted


def test_a_form_as_it_comes_makes_what_the_api_makes_of_a_name_alone(person, client, db):
    client.post("/v1/live", json={"name": "Plain"})
    person.send(NEW, name="Plain")
    by_api, by_form = Channel.select().order_by(Channel.pk)
    own = {"pk", "id", "stream_token", "created_at", "updated_at", "listed_at", "due_at"}
    assert {name: value for name, value in by_api.__data__.items() if name not in own} == {
        name: value for name, value in by_form.__data__.items() if name not in own
    }


WRONG = {
    "name": "",
    "tags": "x" * 51,
    "thumbWidth": "49",
    "expire": "soon",
    "stopTimeout": "",
    "startAt": "2020-01-01T00:00",
    "metadata": "{not json",
    "streamToken": "short",
    "accountId": "a b",
}


def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(person, db):
    typed = EVERYTHING | WRONG
    reply = person.send(NEW, **typed)
    assert reply.status_code == 422
    again = values(reply, NEW)
    assert {name: again[name] for name in typed} == typed | {"description": "First line\nsecond line"}
    for name in WRONG.keys() - {"startAt"}:  # which only the domain knows to be wrong, when all else is right
        assert f'id="{name}-wrong"' in reply.text, name
        assert f'href="#{name}"' in reply.text
    assert 'id="record-wrong"' not in reply.text
    assert "Must be at least" in reply.text or "greater than or equal to 50" in reply.text
    assert Channel.select().count() == 0


def test_so_does_what_only_the_domain_knows_to_be_wrong(person, client):
    client.post("/v1/live", json={"name": "First", "streamToken": "taken-already"})
    reply = person.send(NEW, name="Second", streamToken="taken-already")
    assert reply.status_code == 422
    assert "This streamToken is taken" in reply.text
    assert values(reply, NEW)["name"] == "Second"
    late = person.send(NEW, name="Late", startAt="2020-01-01T00:00")
    assert 'id="startAt-wrong">Must be in the future.' in late.text


def test_a_limit_of_the_account_is_said_in_the_form(person, client):
    client.post("/v1/user", json={"id": "small", "limits": {"maxChannels": 0}})
    reply = person.send(NEW, name="One more", accountId="small")
    assert reply.status_code == 403
    assert "has its 0 channels" in reply.text
    assert values(reply, NEW)["accountId"] == "small"


def test_a_field_that_there_is_not_is_refused(person, db):
    assert person.send(NEW, name="Odd", status="live").status_code == 422
    assert Channel.select().count() == 0


def test_only_what_was_changed_is_changed(person, client, channel, db):
    client.put(
        f"/v1/live/{channel['id']}", json={"startAt": "2126-11-24T19:30:00.123Z", "metadata": {"a": 1.0}}
    )
    before = Channel.get().__data__ | {}
    reply = person.send(at(channel, "/edit"), name="Renamed")
    assert reply.location == f"{at(channel)}?done=saved"
    after = Channel.get().__data__
    assert {name for name in after if repr(after[name]) != repr(before[name])} == {
        *("name", "name_folded", "updated_at")
    }
    entry = client.get(f"/v1/live/{channel['id']}/event").json["data"][0]
    assert entry["detail"] == {"fields": ["name"]}


def test_what_somebody_else_changed_meanwhile_stays(person, client, channel, db):
    address = at(channel, "/edit")
    open_form = values(person.get(address), address)
    client.put(f"/v1/live/{channel['id']}", json={"description": "By the API", "record": True})
    wrong = person.post(address, data=open_form | {"name": "By hand", "thumbWidth": "1"})
    assert wrong.status_code == 422
    assert person.post(address, data=values(wrong, address) | {"thumbWidth": "400"}).status_code == 303
    assert (only().name, only().description, only().record) == ("By hand", "By the API", True)


@pytest.mark.parametrize("was", ["", "{", "[]", "null", '{"name": 1}'])
def test_a_form_that_does_not_say_what_it_showed_is_taken_whole(person, channel, was, db):
    assert person.send(at(channel, "/edit"), name="New", was=was).status_code == 303
    assert only().name == "New"


def test_a_field_that_was_emptied_is_empty(person, client, db):
    made = client.post("/v1/live", json={"name": "Full", "tags": "a", "startAt": "2126-01-01T00:00:00Z"}).json
    person.send(at(made["data"], "/edit"), tags="", startAt="", metadata="", transcodeProfile="")
    channel = only()
    assert (channel.tags, channel.start_at, channel.metadata, channel.transcode_profile) == ([], None, {}, [])


def test_wrong_changes_are_shown_and_change_nothing(person, channel, db):
    reply = person.send(at(channel, "/edit"), name="New name", thumbHeight="9999")
    assert reply.status_code == 422
    assert 'id="thumbHeight-wrong"' in reply.text
    assert values(reply, at(channel, "/edit"))["name"] == "New name"
    assert only().name == "A channel"


def test_of_an_ended_channel_its_words_can_be_changed(person, client, channel, db):
    client.delete(f"/v1/live/{channel['id']}")
    form = values(person.get(at(channel, "/edit")), at(channel, "/edit"))
    assert form.keys() == {"csrf", "was", "name", "description", "tags", "metadata"}
    assert person.send(at(channel, "/edit"), name="What it was").status_code == 303
    assert only().name == "What it was"


@pytest.mark.parametrize("verb", ["stop", "delete", "reset"])
def test_what_cannot_be_undone_asks_first(person, channel, verb, db):
    token = only().stream_token
    page = person.get(at(channel, f"/{verb}"))
    assert page.status_code == 200
    assert (only().status, only().stream_token) == ("init", token), "to look is not to do"
    reply = person.send(at(channel, f"/{verb}"))
    assert reply.status_code == 303
    match verb:
        case "stop":
            assert only().status == "ended"
        case "delete":
            assert Channel.select().count() == 0
        case _:
            assert only().stream_token != token


def test_the_stream_key_is_shown_to_whoever_asks_and_that_is_written_down(person, channel, db):
    key = channel["streamToken"]
    for address in (at(channel), at(channel, "/state"), at(channel, "/edit"), at(channel, "/timeline"), LIST):
        assert key not in person.get(address).text, address
    assert AuditEntry.select().where(AuditEntry.action == "read_stream_token").count() == 0
    mark = {"csrf": values(person.get(at(channel)), at(channel, "/key"))["csrf"]}
    assert key in person.post(at(channel, "/key"), data=mark).text
    as_json = person.post(at(channel, "/key"), data=mark, headers={"Accept": "application/json"})
    assert as_json.json == {"key": key}
    assert AuditEntry.select().where(AuditEntry.action == "read_stream_token").count() == 2


def test_who_may_only_read_sees_no_stream_key_and_changes_nothing(visitor, channel, db):
    reader = visitor(role="read")
    page = reader.get(at(channel))
    assert page.status_code == 200
    for word in ("/key", "/stop", "/delete", "/edit"):
        assert f"{channel['id']}{word}" not in page.text
    assert NEW not in reader.get(LIST).text
    mark = {"csrf": page.text.partition('name="csrf" value="')[2].partition('"')[0]}
    for part in ("/key", "/stop", "/delete", "/reset", "/edit"):
        reply = reader.post(at(channel, part), data=mark)
        assert reply.status_code == 403, part
        assert channel["streamToken"] not in reply.text
    assert reader.post(NEW, data=mark | {"name": "No"}).status_code == 403
    assert only().status == "init"


def test_a_token_of_an_account_sees_and_changes_that_account_only(visitor, client, channel, db):
    someone = visitor(accountId="acme")
    mine = client.post("/v1/live", json={"name": "Ours", "accountId": "acme"}).json["data"]
    page = someone.get(LIST).text
    assert "Ours" in page
    assert "A channel" not in page
    assert someone.get(at(mine)).status_code == 200
    mark = {"csrf": page.partition('name="csrf" value="')[2].partition('"')[0]}
    for part in ("", "/state", "/edit", "/stop", "/timeline", "/sessions", "/videos"):
        assert someone.get(at(channel, part)).status_code == 404, part
    for part in ("/key", "/edit", "/stop", "/delete", "/reset"):
        assert someone.post(at(channel, part), data=mark).status_code == 404, part
    assert someone.get(f"{LIST}?accountId=1").status_code == 403
    assert "accountId" not in values(someone.get(NEW), NEW)
    someone.send(NEW, name="One more")
    assert Channel.get(Channel.name == "One more").account_id == "acme"
    assert someone.post(NEW, data=mark | {"name": "Theirs", "accountId": "1"}).status_code == 403


def test_the_list_is_filtered_as_the_apis(person, client):
    for name, fields in {"Café": {"tags": "a"}, "Tea": {"accountId": "x"}, "Milk": {"tags": "a,b"}}.items():
        client.post("/v1/live", json={"name": name} | fields)
    ended = client.post("/v1/live", json={"name": "Water"}).json["data"]
    client.delete(f"/v1/live/{ended['id']}")

    def found(query: str) -> set[str]:
        page = person.get(f"{LIST}?{query}").text
        return {name for name in ("Café", "Tea", "Milk", "Water") if f">{name}</a>" in page}

    assert found("") == {"Café", "Tea", "Milk", "Water"}
    assert found("query=cafe&status=&tags=&accountId=") == {"Café"}
    assert found("tags=a") == {"Café", "Milk"}
    assert found("accountId=x") == {"Tea"}
    assert found("status=ended") == {"Water"}
    assert found("status=init&tags=b") == {"Milk"}
    assert found("query=wine") == set()
    assert 'role="alert"' in person.get(f"{LIST}?status=odd").text


def test_the_list_has_pages_and_keeps_its_filters_in_them(person, client):
    for number in range(25):
        client.post("/v1/live", json={"name": f"Number {number}", "tags": "many"})
    first = person.get(f"{LIST}?tags=many").text
    assert "1\N{EN DASH}20 of 25" in first
    assert f'rel="next" href="{LIST}?page=1&amp;tags=many"' in first
    second = person.get(f"{LIST}?page=1&tags=many").text
    assert "21\N{EN DASH}25 of 25" in second
    assert 'rel="prev"' in second
    assert 'rel="next"' not in second


def test_the_page_of_a_channel_says_what_is_on_the_air(person, hooks, lifecycle, channel, now):
    assert "No encoder has connected yet." in person.get(at(channel)).text
    hooks.publish(channel["streamToken"])
    assert "An encoder is connected; the picture is about to come." in person.get(at(channel, "/state")).text
    session = Session.get()
    lifecycle.playable(session.id, utcnow())
    page = person.get(at(channel, "/state")).text
    assert "It can be watched now." in page
    assert "Encoder connected" in page
    lifecycle.unpublish(session.connection, "left", utcnow())
    assert (
        "The encoder has left. It goes on if it comes back within 10 min."
        in person.get(at(channel, "/state")).text
    )
    sessions = person.get(at(channel, "/sessions")).text
    assert "the encoder disconnected" in sessions
    assert "127.0.0.1" in sessions


def test_the_timeline_is_told_in_words_and_has_pages(person, lifecycle, hooks, channel):
    hooks.publish(channel["streamToken"], 1)
    for number in range(2, 5):
        hooks.publish(channel["streamToken"], number)
    page = person.get(at(channel, "/timeline")).text
    assert "another encoder is publishing (127.0.0.1, 3 times)" in page
    for number in range(25):
        lifecycle.update(channel["id"], {"name": f"Name {number}"}, utcnow() + timedelta(seconds=number))
    assert 'rel="next"' in person.get(at(channel, "/timeline")).text
    assert "Created" in person.get(at(channel, "/timeline?page=1")).text


def test_times_are_told_to_programs_too(person, channel, db):
    assert f'<time datetime="{iso(only().created_at)}">' in person.get(at(channel)).text


def test_the_channels_text_is_text(person, client):
    name = "<script>alert(1)</script> \"' &"
    fields = {
        "name": name,
        "description": "</textarea><script>",
        "tags": ["<b>"],
        "metadata": {"a": "</textarea>"},
    }
    made = client.post("/v1/live", json=fields).json["data"]
    for address in (LIST, at(made), at(made, "/edit"), at(made, "/stop"), at(made, "/timeline")):
        page = person.get(address).text
        assert "<script>" not in page
        assert "<b>" not in page
        assert "&lt;script&gt;alert(1)" in page
    form = values(person.get(at(made, "/edit")), at(made, "/edit"))
    assert json.loads(form["metadata"]) == {"a": "</textarea>"}
    assert form["name"] == name
