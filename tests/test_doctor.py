"""flask --app app doctor: what is wrong is found, said in one line, and told what to do; nothing is changed."""

import json
import os
import shutil
import socket
from dataclasses import replace
from datetime import timedelta

import pytest

import doctor
from config import nginx_program
from db import connection, database, run, utcnow
from doctor import machine
from doctor.finding import Finding
from models import Event
from tests.box import PROJECT
from tests.conftest import installation
from tests.test_backup import ruin

pytestmark = pytest.mark.sqlite

MIN_FREE_MB = 1


def examined(config, min_free_mb=MIN_FREE_MB) -> list[Finding]:
    return doctor.examine(config, utcnow(), min_free_mb=min_free_mb)


def of(check: str, found: list[Finding]) -> list[Finding]:
    return [each for each in found if each.check == check]


def failures(found: list[Finding]) -> dict[str, str]:
    return {each.check: each.found for each in found if each.state == "failed"}


def test_a_box_that_is_down_is_said_to_be_down_and_all_else_is_looked_at(config, app):
    found = examined(config)
    assert failures(found) == {"box": f"nothing runs with DATA_DIR {config.data_dir}"}
    assert of("box", found)[0].do == "Start it: script/server."
    assert {"python", "sqlite", "ffmpeg", "disk", "folders", "database", "ports", "clock"} <= {
        each.check for each in found if each.state == "ok"
    }


def test_people_get_a_line_each_and_programs_one_document(config, app):
    call = app.test_cli_runner().invoke
    told, for_programs = call(args=["doctor"]), call(args=["doctor", "--json"])
    assert told.exit_code == for_programs.exit_code == 1, "the box is down"
    result = json.loads(for_programs.stdout)
    assert result["ok"] is False
    assert all(each.keys() == {"check", "state", "found", "do"} for each in result["checks"])
    assert all(bool(each["do"]) == (each["state"] != "ok") for each in result["checks"])
    lines = told.stdout.splitlines()
    assert len(lines) == len(result["checks"]) + 1
    assert [line.split()[0] for line in lines[:-1]] == [each["state"] for each in result["checks"]]
    assert lines[-1].startswith("1 failed, ")


def test_where_nothing_is_nothing_is_made(tmp_path):
    config = installation(tmp_path)
    found = examined(config)
    assert [each.state for each in found if each.check in ("folders", "database")] == ["warning", "warning"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["keys", "run/private", "keys/hook", "livestream.db"])
def test_what_is_open_to_others_is_found(config, app, hooks, name):
    path = config.data_dir / name
    was = path.stat().st_mode & 0o777
    path.chmod(was | 0o044)
    [wrong] = of("folders", examined(config))
    assert (wrong.state, wrong.do) == ("failed", f"chmod {was:o} {path}")
    assert path.stat().st_mode & 0o777 == was | 0o044, "looked at, not changed"


def test_a_folder_that_shuts_the_media_server_out_is_found(config, app):
    config.media_dir.chmod(0o700)
    assert of("folders", examined(config))[0].do == f"chmod 755 {config.media_dir}"


def test_to_somebody_else_a_box_is_not_said_to_be_down(config, app, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    found = examined(config)
    assert failures(found).keys() == {"folders"}
    assert "Run this as" in of("folders", found)[0].do


def test_a_port_in_use_is_found_with_who_uses_it(config, app):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        [taken] = of("ports", examined(replace(config, port=port)))
        [free] = of("ports", examined(replace(config, port=port, host="127.0.0.7")))
    assert (taken.state, free.state) == ("failed", "ok")
    assert f"PORT {port} is in use by " in taken.found
    assert f"(pid {os.getpid()})" in taken.found
    assert taken.do == "Stop that, or set PORT."


def test_a_damaged_database_is_found_and_left_as_it_is(config, app, client):
    for number in range(50):
        client.post("/v1/live", json={"name": f"Channel {number}", "description": "x" * 4000})
    database.close()
    path = config.data_dir / "livestream.db"
    with connection():
        run("PRAGMA wal_checkpoint(TRUNCATE)")
    ruin(path)
    before = path.read_bytes()
    [wrong] = of("database", examined(config))
    assert wrong.state == "failed"
    assert "restore the newest backup" in wrong.do
    assert path.read_bytes() == before


def test_an_index_that_does_not_know_its_rows_is_found(config, app, client):
    client.post("/v1/live", json={"name": "x"})
    with connection():
        [(table,)] = run("SELECT rootpage FROM sqlite_master WHERE name = 'channel_tag'")
        run("PRAGMA writable_schema = 1")
        changed = run(
            "UPDATE sqlite_master SET rootpage = ? WHERE type = 'index' AND tbl_name = 'session' RETURNING 1",
            table,
        )
    assert changed
    assert of("database", examined(config))[0].state == "failed"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "is not there, but"), (b"", "is empty, but"), (b"x" * 5000, "is not a SQLite")],
)
def test_a_database_that_is_none_is_found(config, app, hooks, content, said):
    database.close()
    path = config.data_dir / "livestream.db"
    for each in path.parent.glob("livestream.db*"):
        each.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    [wrong] = of("database", examined(config))
    assert (wrong.state, said in wrong.found) == ("failed", True)


def test_a_newer_schema_is_found(config, app):
    with connection():
        columns = [row[1] for row in run("PRAGMA table_info(schema_migration)")]
        values = run("SELECT * FROM schema_migration LIMIT 1")[0]
        row = dict(zip(columns, values, strict=True)) | {"name": "9999_from_the_future"}
        row.pop("id", None)
        run(
            f"INSERT INTO schema_migration ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            *row.values(),
        )
    [wrong] = of("database", examined(config))
    assert (wrong.state, "newer release" in wrong.found) == ("failed", True)


def test_a_disk_that_is_nearly_full_is_found(config, app):
    free = shutil.disk_usage(config.data_dir).free // 10**6
    assert of("disk", examined(config, free * 2))[0].state == "failed"
    assert of("disk", examined(config, free // 2))[0].state == "warning"
    told = app.test_cli_runner().invoke(args=["doctor", "--min-free", str(free * 2), "--json"])
    assert {each["check"] for each in json.loads(told.stdout)["checks"] if each["state"] == "failed"} == {
        "disk",
        "box",
    }


def test_a_clock_that_was_put_back_is_found(config, app):
    with connection():
        ahead = utcnow() + timedelta(hours=3)
        Event.create(name="channel_live", time=ahead, channel_id="ch_a", account_id="1", seq=1, payload="{}")
    [wrong] = of("clock", examined(config))
    assert (wrong.state, "it was put back" in wrong.found) == ("failed", True)
    assert "10,8" in wrong.found or "10,7" in wrong.found, "three hours in seconds"


def test_an_ffmpeg_without_encoders_is_found(config, app):
    assert failures(examined(replace(config, ffmpeg="/bin/true")))["ffmpeg"].startswith("cannot be run")
    assert failures(examined(replace(config, ffmpeg="/no/such/file")))["ffmpeg"].startswith("cannot be run")


def test_an_nginx_module_that_does_not_load_is_found(tmp_path):
    module = tmp_path / "module.so"
    module.write_text("not a library")
    assert "file too short" in machine.module_problem(nginx_program(), str(module))


def test_packages_in_other_versions_are_found():
    assert machine.other_packages("# a comment\nflask==0.1\nno-such-package==1.0\n") == [
        f"flask {machine.metadata.version('flask')}",
        "no-such-package missing",
    ]


def test_an_unsafe_sqlite_is_found(config, app, monkeypatch):
    monkeypatch.setattr(machine, "wal_is_safe", lambda version: False)
    assert "can lose commits" in failures(examined(config))["sqlite"]
    assert of("sqlite", examined(replace(config, sqlite_any_version=True)))[0].state == "warning"


def test_a_check_that_fails_itself_is_a_finding_and_the_others_are_made(config, app, monkeypatch):
    def broken(patient):
        raise ZeroDivisionError("oh")
        yield

    monkeypatch.setitem(doctor.CHECKS, "disk", broken)
    found = examined(config)
    assert failures(found)["disk"] == "the check itself failed: ZeroDivisionError: oh"
    assert of("clock", found)[0].state == "ok"


def test_every_check_is_in_the_operators_pages():
    text = (PROJECT / "docs/operations.md").read_text()
    names = doctor.CHECKS.keys() - {"versions"} | {"python", "sqlite", "packages"}
    assert {name for name in names if f"`{name}`" not in text} == set()
