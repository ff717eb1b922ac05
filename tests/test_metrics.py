"""/metrics: what Prometheus is told, and that it stays bounded, honest and cheap to keep."""

import ast
import os
import re
import time
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

import metrics
import worker
from delivery import queue, tally
from delivery.queue import Outcome
from live import health, system, telling
from models import DeliveryStatus, Status
from tests.outbox import T0, happen, hook
from tests.story import after

ROOT = Path(__file__).resolve().parent.parent


def families(client) -> dict[str, Metric]:
    found = list(text_string_to_metric_families(client.get("/metrics").text))
    names = [family.name for family in found]
    assert len(names) == len(set(names)), "each once, or Prometheus refuses all of it"
    return {family.name: family for family in found}


def values(client) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families(client).values()
        for sample in family.samples
    }


@pytest.fixture
def pulsed(app, config):
    """A worker that has given a sign of life."""
    made = worker.build(config)
    made._pulse()
    return made


def test_every_family_is_explained_and_named_as_prometheus_wants(anonymous, pulsed):
    found = families(anonymous)
    assert len(found) > 40
    unexplained = {
        name for name, family in found.items() if len(family.documentation.split()) < 3 and "web_" not in name
    }
    assert unexplained == set()
    ours = {name: family for name, family in found.items() if not name.startswith("process_")}
    assert {name for name in ours if not re.fullmatch(r"livestream_[a-z_]+", name)} == set()
    units = ("ms", "milliseconds", "minutes", "kb", "mb", "percent", "kbit")
    assert {name for name in ours if name.endswith(units)} == set(), "seconds, bytes and ratios"


def test_label_values_are_of_sets_that_nobody_who_asks_can_enlarge(app, client, anonymous, hooks, pulsed):
    client.post("/v1/live", json={"name": "One"})
    hooks.publish("a-token-of-nobody")
    hooks.client.post("/hooks/other-kind/x")
    for path in ("/v1/live/ch_1?x=y", "/nothing/at/all", "/v1/search?query=zzz", "/watch/ch_2"):
        anonymous.open(path, method="BREW")
        client.get(path)
    routes = {rule.rule for each in (app, hooks.client.application) for rule in each.url_map.iter_rules()}
    allowed = {
        "method": metrics.METHODS | {"other"},
        "route": routes | {"none"},
        "result": set(metrics.RESULTS),
        "event": set(telling.KINDS),
        "process": {"web", "worker"},
        "outcome": set(tally.OUTCOMES),
        "state": {"ok", "failing", "off"},
        "status": {*Status, *DeliveryStatus, *map(str, range(100, 600))},
        "health": {*health.Health},
        "part": {"database", "worker", "media"},
    }
    free = {"le", "livestream", "python", "sqlite", "postgresql"}  # buckets, and what is installed
    unknown = {
        (family.name, label, value)
        for family in families(anonymous).values()
        for sample in family.samples
        for label, value in sample.labels.items()
        if label not in free and value not in allowed.get(label, ())
    }
    assert unknown == set()


def test_every_decision_of_a_publisher_has_its_count_from_the_beginning(anonymous, hooks, channel):
    before = values(anonymous)
    hooks.publish(channel["streamToken"])
    hooks.publish("a-token-of-nobody", 2)
    hooks.publish(channel["streamToken"], 3)
    found = values(anonymous)
    counted = {
        result: found["livestream_publish_decisions_total", result]
        - before["livestream_publish_decisions_total", result]
        for result in metrics.RESULTS
    }
    assert {result for result, times in counted.items() if times} == {"accepted", "unknown_token", "busy"}
    took = ("livestream_publish_decision_duration_seconds_count",)
    assert found[took] - before[took] == 3


def test_every_reason_to_refuse_is_among_the_results():
    returned = set()
    for file, name in (("live/lifecycle.py", "_refusal"), ("live/limits.py", "refusal")):
        [function] = [
            node
            for node in ast.walk(ast.parse((ROOT / file).read_text()))
            if isinstance(node, ast.FunctionDef) and node.name == name
        ]
        given = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
        returned |= {
            part.value
            for each in given
            for part in ast.walk(each)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        }
    assert {"ended", "limit_live", "limit_duration"} <= returned
    assert {word for word in returned if word.isidentifier()} - {"max_live"} <= set(metrics.RESULTS)


def test_what_the_worker_counts_comes_by_its_pulse_and_is_left_out_without_one(anonymous, config, pulsed):
    ours = "livestream_delivery_tries_total", "ok"
    assert values(anonymous)[ours] >= 0
    assert values(anonymous)["livestream_worker_start_time_seconds",] <= time.time()
    config.pulse_file.write_text(config.pulse_file.read_text().replace('"at": ', '"at": 1000, "was": '))
    found = values(anonymous)
    assert ours not in found
    assert found["livestream_part_up", "worker"] == 0
    assert found["livestream_worker_pulse_age_seconds",] > 1e6, "for how long is what one wants to know"
    config.pulse_file.unlink()
    assert ("livestream_worker_pulse_age_seconds",) not in values(anonymous)


def test_one_process_is_counted_once_and_two_are_two(anonymous, config, pulsed, channel):
    made = "livestream_channel_events_total", "created"
    assert ((*made, "web") in (found := values(anonymous)), (*made, "worker") in found) == (True, False)
    text = config.pulse_file.read_text().replace(f'"pid": {os.getpid()}', '"pid": 1')
    config.pulse_file.write_text(text)
    assert (*made, "worker") in values(anonymous)


def test_a_delivery_that_waits_has_an_age_and_one_that_failed_is_not_late(app, db, config):
    assert (system.oldest_pending_s(T0), system.overdue_s(T0)) == (0, 0)
    receiver = hook(config, "http://a.example/")
    happen(receiver)
    assert system.oldest_pending_s(T0 + after(seconds=90)) == 90
    assert system.overdue_s(T0 + after(seconds=90)) == 90
    [job] = queue.claim({receiver.id: 1}, T0).jobs
    assert system.overdue_s(T0 + after(seconds=50)) == 0, "it is on its way"
    queue.record([(job, Outcome(T0, status_code=500))], T0, lambda: 0.5)
    assert system.oldest_pending_s(T0 + after(hours=1)) == 3600
    assert system.overdue_s(T0 + after(hours=1)) == 0, "its receiver fails: that is another alert's"
    assert system.webhooks() == {"ok": 0, "failing": 1, "off": 0}


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Outcome(T0, status_code=204), "ok"),
        (Outcome(T0, status_code=301, error="redirects are not followed"), "status_3xx"),
        (Outcome(T0, status_code=404), "status_4xx"),
        (Outcome(T0, status_code=503), "status_5xx"),
        (Outcome(T0, status_code=999), "other"),
        (Outcome(T0, error="timeout: Operation timed out"), "timeout"),
        (Outcome(T0, error="no connection: refused"), "no_connection"),
        (Outcome(T0, error="certificate: expired"), "no_connection"),
        (Outcome(T0, error="answer cut short: "), "other"),
    ],
)
def test_a_try_is_counted_by_what_came_of_it(outcome, kind):
    assert tally.kind(outcome) == kind


def test_tries_what_is_given_up_and_who_is_turned_off_are_counted_and_told(app, db, config, caplog):
    receiver = hook(config, "http://a.example/")
    happen(receiver)
    before = tally.tally.tell()
    [job] = queue.claim({receiver.id: 1}, T0).jobs
    caplog.clear()
    queue.record([(job, Outcome(T0, status_code=410, latency_ms=250))], T0, lambda: 0.5)
    found = tally.tally.tell()
    assert found["tries"]["status_4xx"] - before["tries"]["status_4xx"] == 1
    assert found["waited_ms"] - before["waited_ms"] == 250
    assert found["given_up"] - before["given_up"] == found["turned_off"] - before["turned_off"] == 1
    told = [record for record in caplog.records if record.name == "delivery.tally"]
    assert [record.event for record in told] == ["try_failed", "delivery_failed", "webhook_disabled"]
    assert {record.webhookId for record in told} == {receiver.id}
    assert {record.deliveryId for record in told[:2]} == {job.delivery_id}


@pytest.mark.sqlite
def test_the_age_of_the_last_backup_is_known_once_there_is_one(app, anonymous, tmp_path):
    name = ("livestream_backup_last_timestamp_seconds",)
    assert name not in values(anonymous)
    began = time.time()
    answer = app.test_cli_runner().invoke(args=["backup", str(tmp_path / "box.tar")])
    assert answer.exit_code == 0, answer.output
    assert began - 1 <= values(anonymous)[name] <= time.time() + 1


def test_the_disk_is_told_in_bytes_with_what_stays_free(anonymous, pulsed):
    found = values(anonymous)
    assert 0 < found["livestream_data_reserved_bytes",] < found["livestream_data_size_bytes",]
    assert 0 < found["livestream_data_free_bytes",] < found["livestream_data_size_bytes",]
    assert found["livestream_disk_level",] in (0, 1, 2)
