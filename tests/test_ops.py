"""ops/: the unit, the alerts and the dashboard hold together with what the box really does and says."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import worker
from tests import postgres

ROOT = Path(__file__).resolve().parent.parent
OPS = ROOT / "ops"
RULES = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"][0]["rules"]
BOARD = json.loads((OPS / "grafana.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
# There only where there is something to say: a certificate, a backup; `up` and `ALERTS` are Prometheus's own.
SOMETIMES = {
    "livestream_certificate_not_after_timestamp_seconds",
    "livestream_certificate_not_before_timestamp_seconds",
    "livestream_backup_last_timestamp_seconds",
    "livestream_node_up",
    *(
        "livestream_viewers",
        "livestream_playback_bits_per_second",
        "livestream_media_bytes",
        "livestream_cpu_ratio",
    ),
}
PROMTOOL = shutil.which("promtool")
ANALYZE = shutil.which("systemd-analyze")


@pytest.fixture
def exposed(app, anonymous, config, hooks) -> set[str]:
    """The names of all samples of a box that has a worker and has been asked something."""
    worker.build(config)._pulse()
    hooks.publish("nobody")
    anonymous.get("/v1")
    found = text_string_to_metric_families(anonymous.get("/metrics").text)
    of_a_file = {"livestream_wal_bytes", "livestream_database_bytes"} if postgres.WANTED else set()
    return {sample.name for family in found for sample in family.samples} | SOMETIMES | of_a_file


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:livestream|process)_[a-z_]+\b", re.sub(r'"[^"]*"', '""', expression)))


def expressions() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def headings() -> set[str]:
    text = (ROOT / "docs/operations.md").read_text()
    return {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_says_what_is_wrong_what_to_do_and_where_it_is_written(rule):
    told = rule["annotations"]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert re.fullmatch(r"\d+[mhd]", rule["for"])
    assert len(told["summary"].split()) > 3
    assert len(told["action"].split()) > 5
    page, _, place = told["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert place in headings()


def test_every_metric_that_an_alert_or_the_dashboard_names_exists(exposed):
    named = {name for rule in RULES for name in metrics_in(rule["expr"])}
    assert len(named) > 20
    assert named - exposed == set()
    shown = {name for expression in expressions() for name in metrics_in(expression)}
    assert len(shown) > 30
    assert shown - exposed == set()


def test_the_names_of_alerts_are_all_different():
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_the_commands_that_alerts_name_exist(app):
    told = " ".join(rule["annotations"]["action"] for rule in RULES)
    commands = set(re.findall(r"`flask (\w+)", told))
    assert {"doctor", "backup", "webhook"} <= commands <= set(app.cli.commands)
    events = set(re.findall(r"`([a-z]+_[a-z]+(?:_[a-z]+)?)`", told))
    source = " ".join(path.read_text() for path in ROOT.glob("*/*.py")) + (ROOT / "worker.py").read_text()
    assert {"step_failed", "sign_in_failed"} <= events
    assert {event for event in events if f'"{event}"' not in source} == set()


@pytest.mark.skipif(not PROMTOOL, reason="promtool (Debian: prometheus) is not installed")
def test_promtool_takes_rules_and_dashboard_and_finds_the_alerts_fire_when_they_should(tmp_path):
    run(PROMTOOL, "check", "rules", OPS / "alerts.yml")
    run(PROMTOOL, "test", "rules", OPS / "alerts_test.yml")
    filled = [each.replace("$__rate_interval", "5m").replace("$instance", "box") for each in expressions()]
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(filled)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": rules}]}))
    run(PROMTOOL, "check", "rules", tmp_path / "panels.yml")


def test_the_dashboard_has_what_grafana_reads():
    assert BOARD["id"] is None, "or an import would replace somebody's"
    assert BOARD["schemaVersion"] >= 39
    variables = {each["name"]: each["type"] for each in BOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "instance": "query"}
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    rows = [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"]
    assert rows == ["On air", "Ingest", "Viewers", "Webhooks", "API", "Box"]
    for panel in PANELS:
        assert panel["type"] in ("timeseries", "stat")
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for source in (panel, *panel["targets"]):
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs))


def test_no_panel_lies_over_another():
    taken = [cell for panel in BOARD["panels"] for cell in cells(panel["gridPos"])]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


# The unit.


def unit() -> dict[str, list[str]]:
    """Its settings; one that comes twice has two values."""
    lines = (OPS / "livestream.service").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if re.match(r"[A-Z]\w+=", line)]
    return {name: [value for each, value in pairs if each == name] for name, _ in pairs}


def run(*command: Any) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def unit_here(tmp_path) -> Path:
    """The unit with the paths of this tree, as systemd looks whether the programs are there."""
    path = tmp_path / "livestream.service"
    path.write_text((OPS / "livestream.service").read_text().replace("/opt/livestream", str(ROOT)))
    return path


@pytest.mark.skipif(not ANALYZE, reason="there is no systemd here")
def test_systemd_understands_the_unit_and_finds_little_exposed(unit_here):
    assert run(ANALYZE, "verify", unit_here) == ""
    told = run(ANALYZE, "security", "--offline=true", "--no-pager", "--threshold=25", unit_here)
    assert "Overall exposure level" in told


def test_systemd_gives_the_stop_the_time_that_it_may_take():
    text = (ROOT / "script/supervisord.conf.j2").read_text()
    [each_part] = re.findall(r"^stopwaitsecs=(\d+)$", text, re.MULTILINE)
    [after_term, transcoders] = re.findall(
        r"timeout -k (\d+) (\d+) .*--end-all", (ROOT / "script/server").read_text()
    )[0]
    parts = len(re.findall(r'"name": "\w+", "script"', (ROOT / "script/prepare").read_text()))
    assert parts == 5  # SRS among them
    longest = parts * int(each_part) + int(after_term) + int(transcoders)
    assert int(unit()["TimeoutStopSec"][0]) >= longest
    assert unit()["KillMode"] == ["mixed"], (
        "a signal to all at once would end transcoders and nginx out of order"
    )


def test_the_unit_gives_a_place_to_write_to_that_data_dir_is_and_no_secret():
    settings = unit()
    assert f"DATA_DIR=/var/lib/{settings['StateDirectory'][0]}" in settings["Environment"]
    assert settings["EnvironmentFile"] == ["/etc/livestream.env"], (
        "not optional: without it, a token in the journal"
    )
    assert "SECRET" not in " ".join(settings["Environment"])
