"""Idempotency-Key: a create sent again answers the same and makes nothing (contract, section 2)."""

from datetime import timedelta

import pytest

from db import utcnow
from live.retention import forget
from models import Channel
from models_access import KeptAnswer
from tests.envelope import refused, wrong
from tests.race import at_once, processes_at_once

BODY = {"name": "Once", "tags": "a,b", "metadata": {"n": 1}}


def create(client, key: str, path: str = "/v1/live", **more):
    return client.post(path, headers={"Idempotency-Key": key}, **({"json": BODY} | more))


def test_the_same_key_answers_the_first_response_again(client, db):
    first, again = create(client, "k"), create(client, "k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json == first.json
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert Channel.select().count() == 1


def test_another_body_with_the_same_key_is_a_mistake(client, db):
    create(client, "k")
    refused(create(client, "k", json=BODY | {"name": "Twice"}), 422, 42203)
    assert Channel.select().count() == 1


def test_a_form_that_says_the_same_is_the_same(client):
    first = create(client, "k")
    form = {"name": "Once", "tags": " a, b ", "metadata": '{"n":1}'}
    assert create(client, "k", json=None, data=form).json == first.json


def test_each_token_has_keys_of_its_own(client, holder, db):
    ids = {create(each, "k").json["data"]["id"] for each in (client, holder(), holder())}
    assert len(ids) == Channel.select().count() == 3


def test_a_failure_is_not_kept(client):
    refused(create(client, "k", json={"name": ""}), 422, 42200)
    refused(create(client, "k", json={}), 400, 40001)
    reply = create(client, "k")
    assert reply.status_code == 201
    assert "Idempotent-Replayed" not in reply.headers


def test_the_answer_outlives_its_channel(client):
    first = create(client, "k")
    client.delete(f"/v1/live/{first.json['data']['id']}?delete=true")
    assert create(client, "k").json == first.json


def test_a_key_is_forgotten_after_a_day(config, client, monkeypatch, db):
    create(client, "k")
    tomorrow = utcnow() + timedelta(hours=24)
    monkeypatch.setattr("routes.live.utcnow", lambda: tomorrow)
    assert "Idempotent-Replayed" not in create(client, "k").headers
    assert (Channel.select().count(), KeptAnswer.select().count()) == (2, 1)
    assert forget(config.kept_for, tomorrow + timedelta(hours=25)) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
def test_a_key_that_cannot_be_one_is_refused(client, key):
    assert wrong(create(client, key)) == {"Idempotency-Key"}


def test_the_longest_key_is_taken(client):
    assert create(client, "~" * 255).status_code == 201


def test_duplicates_at_the_same_moment_make_one_channel(app, client, db, races):
    for race in range(races):
        replies = at_once([lambda: create(app.test_client(), f"race{race}")] * 24)  # noqa: B023
        assert {reply.status_code for reply in replies} == {201}
        assert len({reply.json["data"]["id"] for reply in replies}) == 1
        assert sum("Idempotent-Replayed" in reply.headers for reply in replies) == 23
    assert Channel.select().count() == races


def test_duplicates_in_several_processes_make_one_channel(config, client):
    call = {"json": BODY, "headers": {"Idempotency-Key": "k"}}
    answers = processes_at_once(config, 4, [call] * 12)
    assert {status for status, _ in answers} == {201}
    assert len({body["data"]["id"] for _, body in answers}) == 1
    assert client.get("/v1/live").json["total"] == 1


def test_one_stream_token_asked_for_at_the_same_moment_is_given_once(app, client, races):
    for race in range(races):
        body = {"name": "x", "streamToken": f"reused-token-{race}"}
        acts = [lambda: app.test_client().post("/v1/live", json=body)] * 12  # noqa: B023
        replies = at_once(acts)
        assert sorted(reply.status_code for reply in replies) == [201] + [422] * 11
        assert {reply.json["ec"] for reply in replies} == {0, 42202}
