"""Who may call a hook, and what a publisher can write into one: contract section 8, threats T4 and T5."""

import peewee
import pytest

from db import bind, utcnow
from db_sqlite import PRAGMAS
from models import Session
from tests.story import events, new, sessions

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def live(lifecycle):
    """A channel to publish to, made now as hooks go by the clock; with it, the database can be asked."""
    return new(lifecycle, utcnow())


def refused(reply) -> bool:
    assert reply.status_code in (302, 403)
    assert reply.data == b""
    return reply.status_code == 403


# What a publisher can write into a hook.

INJECTED = "name=other&call=publish_done&app=admin&clientid=999&addr=10.9.9.9&flashver=x&instance=bb"


def test_a_publishers_query_overrides_nothing_the_server_says(hooks, live):
    assert not refused(hooks.publish(live.stream_token, 4, query=INJECTED))
    (session,) = sessions(live)
    assert (session.connection, session.client_ip) == ("nginx-rtmp/aa/4", "127.0.0.1")
    assert session.encoder.startswith("FMLE")
    assert session.stop_time is None


def test_a_publishers_query_ends_nobody_elses_session(hooks, live, lifecycle):
    hooks.publish(live.stream_token, 4)
    mine = new(lifecycle, utcnow())
    query = f"name={live.stream_token}&call=publish_done&clientid=4"
    assert not refused(hooks.publish(mine.stream_token, 5, query=query))
    assert [session.stop_time for session in sessions(live)] == [None]


def test_a_token_in_the_query_of_an_empty_name_opens_nothing(hooks, live):
    assert refused(hooks.publish("", 1, query=f"name={live.stream_token}"))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\xff\xfe\x00", b"call=publish", b"call=publish&clientid=&name={token}&app=live", b"&&&=&"),
        *(
            b"call=publish&clientid=x&name={token}&app=live",
            b"call=publish&clientid=-1&name={token}&app=live",
        ),
        *(b"call=publish&clientid=1&name={token}&app=admin", b"call=publish&clientid=1&name={token}"),
        *(b"call=publish&clientid=1%0A&name={token}&app=live", b'{"call":"publish"}'),
    ],
)
def test_a_hook_that_no_nginx_sends_lets_nobody_in(hooks, live, body):
    body = body.replace(b"{token}", live.stream_token.encode())
    assert hooks.client.post(f"{hooks.path}?instance=aa", data=body, content_type=FORM).status_code == 403
    assert Session.select().count() == 0


@pytest.mark.parametrize(
    "instance", ["", "?instance=", "?instance=xyz", "?instance=" + "a" * 33, "?instance=a/b"]
)
def test_a_hook_of_no_instance_lets_nobody_in(hooks, live, instance):
    body = f"call=publish&clientid=1&name={live.stream_token}&app=live"
    assert hooks.client.post(hooks.path + instance, data=body, content_type=FORM).status_code == 403
    assert Session.select().count() == 0


@pytest.mark.parametrize(
    "call", ["play", "play_done", "update_publish", "done", "record_done", "connect", "x", ""]
)
def test_other_calls_are_answered_and_change_nothing(hooks, live, call):
    hooks.publish(live.stream_token, 1)
    assert hooks.call(call, live.stream_token, 1).status_code == 200
    assert events(live) == ["channel_connected"]


# Who may call.


def test_a_wrong_secret_kind_or_method_is_no_hook(hooks, live):
    kind, secret = hooks.path.split("/")[2:]
    body = f"call=publish&clientid=1&name={live.stream_token}&app=live"
    for path in (
        f"/hooks/{kind}/{secret[:-1]}",
        f"/hooks/{kind}/x",
        f"/hooks/srs9/{secret}",
        f"/hooks/{kind}",
    ):
        assert hooks.client.post(f"{path}?instance=aa", data=body, content_type=FORM).status_code == 404
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        reply = hooks.client.open(f"{hooks.path}?instance=aa", method=method, data=body, content_type=FORM)
        assert reply.status_code == 405
        assert "POST" in reply.headers["Allow"]
    assert Session.select().count() == 0


def test_a_secret_that_is_not_ascii_is_no_hook(hooks, app):
    assert hooks.client.post("/hooks/nginx-rtmp/%C3%A9?instance=aa").status_code == 404


def test_hooks_are_not_on_the_public_api(hooks, client, channel):
    body = f"call=publish&clientid=1&name={channel['streamToken']}&app=live"
    reply = client.post(f"{hooks.path}?instance=aa", data=body, content_type=FORM)
    assert (reply.status_code, reply.json["ec"]) == (404, 40400)
    assert client.get(f"/v1/live/{channel['id']}").json["data"]["publishing"] is False


def test_the_api_is_not_on_the_hook_listener(hooks):
    assert hooks.client.get("/v1/live").status_code == 404


@pytest.mark.sqlite
def test_a_publisher_is_refused_while_the_database_cannot_be_written(hooks, channel, config, monkeypatch):
    monkeypatch.setitem(PRAGMAS, "busy_timeout", 0)
    bind(config.database_url)
    locking = peewee.sqlite3.connect(config.database_url.removeprefix("sqlite:///"), isolation_level=None)
    locking.execute("BEGIN EXCLUSIVE")
    reply = hooks.publish(channel["streamToken"])
    locking.execute("ROLLBACK")
    locking.close()
    assert reply.status_code == 503, "nginx refuses on anything but 2xx and 3xx"
    assert hooks.publish(channel["streamToken"]).status_code == 302


def test_no_log_line_holds_a_token_or_the_secret(hooks, live, caplog):
    caplog.set_level("DEBUG")
    hooks.publish(live.stream_token, 1)
    hooks.publish(live.stream_token, 2)
    hooks.publish_done(live.stream_token, 1)
    hooks.client.post(hooks.path, data=b"call=publish&name=" + live.stream_token.encode(), content_type=FORM)
    assert "refused, busy" in caplog.text
    lines = [record.getMessage() for record in caplog.records if record.name != "peewee"]
    assert not [line for line in lines if live.stream_token in line or hooks.path.split("/")[3] in line]


def test_a_hook_by_the_wrong_method_leaves_no_secret_in_the_log(hooks, caplog):
    caplog.set_level("INFO")
    hooks.client.get(hooks.path)
    assert hooks.path.split("/")[3] not in caplog.text
