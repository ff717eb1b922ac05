"""The state of the whole installation: statistics, readiness, metrics (contract, sections 6 and 7)."""

import json
import re
import time

import peewee
from prometheus_client.parser import text_string_to_metric_families

from db import database
from live.reconcile import reconcile
from live.system import PULSE_TOO_OLD_S
from media.servers import Publisher
from models import Webhook
from tests.story import after, arrival, new


def read(client) -> dict:
    reply = client.get("/v1/statistics")
    assert reply.status_code == 200, reply.text
    return reply.json["data"]


def pulse(config, **more) -> None:
    config.pulse_file.write_text(
        json.dumps({"at": time.time(), "media": "none", "cpu": 0.5, "stored": 7} | more)
    )


def test_channels_and_sessions_are_counted(client, lifecycle, now):
    live, _, over = (
        new(lifecycle, now),
        new(lifecycle, now, startAt="2100-01-01T00:00:00Z"),
        new(lifecycle, now),
    )
    session = lifecycle.publish(live.stream_token, arrival(1), now)
    lifecycle.playable(session.id, now)
    lifecycle.stop(over.id, now)
    found = read(client)
    assert found["channels"] == {"coming": 1, "init": 0, "live": 1, "ended": 1, "error": 0}
    assert found["sessions"] == 1


def test_what_publishers_send_is_summed_up(client, lifecycle, now):
    for number in (1, 2):
        session = lifecycle.publish(new(lifecycle, now).stream_token, arrival(number), now)
        for second, sent in ((0, 0), (10, 1_250_000)):
            seen = Publisher(session.connection, "1", session.id, sent, {}, {})
            reconcile(lifecycle, "nginx-rtmp/bb", [seen], now + after(seconds=second))
    assert read(client)["bitrateIn"] == 1_000_000, "the second one; the first is gone by then"


def test_deliveries_that_wait_or_failed_are_counted(client, lifecycle, now):
    hook = {"uri": "http://a.example/", "event": "all"}
    client.post("/v1/webhook", json=hook)
    lifecycle.publish(new(lifecycle, now).stream_token, arrival(1), now)
    assert read(client)["deliveries"] == {"pending": 1, "failed": 0}
    assert Webhook.select().count() == 1


def test_the_box_says_how_it_is(client, config):
    pulse(config)
    found = read(client)
    assert found["cpu"] == 0.5
    assert found["storage"]["used"] == 7
    assert found["storage"]["free"] > 0
    assert 0 < found["memory"]["used"] < found["memory"]["total"]
    assert found["uptime"] >= 0
    assert found["versions"].keys() == {"livestream", "python", database.kind}
    assert found["parts"] == {"database": "ok", "worker": "ok", "media": "none"}


def test_what_nobody_measured_is_null_and_not_a_number(client):
    found = read(client)
    assert (found["cpu"], found["storage"]["used"], found["viewers"], found["bitrateOut"]) == (None,) * 4


def test_a_worker_that_gives_no_sign_of_life_is_not_running(client, config):
    assert read(client)["parts"]["worker"] == "not running"
    pulse(config)
    assert read(client)["parts"]["worker"] == "ok"
    pulse(config, at=time.time() - PULSE_TOO_OLD_S - 1)
    assert read(client)["parts"]["worker"] == "not running"


def test_a_media_server_that_does_not_answer_is_named_in_every_place(client, anonymous, config):
    pulse(config, media="nginx does not answer")
    assert read(client)["parts"]["media"] == "nginx does not answer"
    ready = anonymous.get("/readyz")
    assert (ready.status_code, ready.json["data"]["media"]) == (503, "nginx does not answer")
    assert metrics(anonymous)["livestream_part_up", ("media",)] == 0
    pulse(config)
    assert anonymous.get("/readyz").status_code == 200
    assert metrics(anonymous)["livestream_part_up", ("media",)] == 1


def test_a_database_that_is_gone_is_not_ready_and_the_process_alive(anonymous, config, monkeypatch):
    pulse(config)

    def gone(*_):
        raise peewee.OperationalError("disk I/O error")

    monkeypatch.setattr("live.system.database.obj.execute_sql", gone)
    reply = anonymous.get("/readyz")
    assert (reply.status_code, reply.json["data"]["database"]) == (503, "unreachable: OperationalError")
    assert anonymous.get("/healthz").status_code == 200


def metrics(client) -> dict:
    """Values by name and the values of the labels, as Prometheus itself reads them."""
    reply = client.get("/metrics")
    assert reply.status_code == 200
    assert reply.content_type.startswith("text/plain")
    families = text_string_to_metric_families(reply.text)
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for each in families
        for sample in each.samples
    }


def test_prometheus_reads_what_is_true_now(client, anonymous, lifecycle, now):
    lifecycle.publish(new(lifecycle, now).stream_token, arrival(1), now)
    found = metrics(anonymous)
    assert found["livestream_channels", ("init",)] == 1
    assert found["livestream_sessions_open", ()] == 1
    assert found["livestream_deliveries", ("pending",)] == 0
    assert found["livestream_data_free_bytes", ()] > 0


def test_requests_are_counted_by_route_and_never_by_path_or_a_method_of_the_askers_own(
    client, anonymous, channel
):
    def count(status: str) -> float:
        return metrics(anonymous).get(
            ("livestream_http_requests_total", ("GET", "/v1/live/<channel_id>", status)), 0
        )

    before = count("200"), count("404")
    client.get(f"/v1/live/{channel['id']}")
    client.get("/v1/live/ch_x")
    assert (count("200"), count("404")) == (before[0] + 1, before[1] + 1)
    for number in range(3):
        anonymous.open("/v1", method=f"ANYTHING{number}")
    text = anonymous.get("/metrics").text
    assert 'method="other"' in text
    assert "ANYTHING" not in text, "whoever asks could make series without end"
    assert channel["id"] not in text
    assert not re.search(r"ch_[0-9a-f]{20}", text)
