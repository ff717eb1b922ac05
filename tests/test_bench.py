"""script/bench: it prints a table for docs/measured.md, and notices what is decided wrongly. No times here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import postgres
from tests.bench import hooks, storm
from tests.bench.storm import Publisher, Told
from tests.documents import ROOT, rows

# What is measured must be durable; what is only tried may be fast.
MEMORY = Path("/dev/shm")


@pytest.mark.sqlite
def test_a_quick_run_of_all_that_needs_no_box_makes_one_table(tmp_path):
    fast = {"TMPDIR": str(MEMORY if MEMORY.is_dir() else tmp_path)}
    ran = subprocess.run(
        [sys.executable, ROOT / "script/bench", "all", "--quick", "--rounds", "1"],
        env=os.environ | fast,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    table = rows(ran.stdout)
    assert {row[0].partition(":")[0] for row in table} == {"api", "hooks", "scrape", "search", "webhooks"}
    assert all(float(row[3]) > 0 for row in table)
    assert f"{os.cpu_count()} cores" in ran.stdout.splitlines()[0]


@pytest.mark.skipif(not postgres.WANTED, reason="the run above has it on SQLite")
def test_on_postgresql_publishers_that_come_together_are_told_what_they_must_be(tmp_path):
    assert len(hooks.rows(tmp_path, 1, hooks.QUICK, postgres.url_for(tmp_path))) == 9


RIGHT = {
    "valid": [302, 302],
    "busy": [302, 403],
    "limited": [302, 403, 403],
    "too early": [403],
    "ended": [403],
    "unknown": [403],
}


def told(answers: dict[str, list[int]]) -> list[Told]:
    each = [(kind, status) for kind, statuses in answers.items() for status in statuses]
    return [
        Told(Publisher(kind, kind, n), status, f"ses_{n}" if status == 302 else "", 1.0)
        for n, (kind, status) in enumerate(each)
    ]


def test_what_is_decided_rightly_is_right():
    assert storm.wrong(told(RIGHT)) == []


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("valid", [302, 403]),
        ("valid", [302, 500]),
        ("busy", [302, 302]),
        ("busy", [403, 403]),
        ("limited", [302, 302, 403]),
        ("limited", [403, 403, 403]),
        ("too early", [302]),
        ("ended", [302]),
        ("unknown", [302]),
    ],
)
def test_what_is_decided_wrongly_is_found(kind, statuses):
    assert storm.wrong(told(RIGHT | {kind: statuses}))


def test_two_publishers_with_one_session_are_found():
    assert storm.wrong([each._replace(name="ses_1" if each.name else "") for each in told(RIGHT)])


@pytest.mark.parametrize("asked", ["True", "False"])
def test_a_script_in_the_background_of_a_shell_hears_ctrl_c(asked):
    """As everything is started that stands before a `&`; what it starts then hears it, too."""
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    hears = "from tests.interrupts import hear_ctrl_c; hear_ctrl_c(); " if asked == "True" else ""
    child = "import signal; print(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)"
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    ran = subprocess.run(
        [sys.executable, "-c", deaf + hears + starts], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == asked
