"""flask --app app doctor: what is wrong, and what to do."""

from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import click

import doctor
from commands.base import Command, command, settings
from commands.text import aligned
from db import utcnow

MIN_FREE_MB = 1000


def told(result: dict[str, Any]) -> str:
    rows = [
        [each["state"], each["check"], " ".join(f"{each['found']}. {each['do']}".split())]
        for each in result["checks"]
    ]
    states = [each["state"] for each in result["checks"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("failed", "warning", "ok"))
    return f"{aligned(rows)}\n{counts}."


@click.command(
    "doctor",
    cls=Command,
    examples="""
        doctor
        doctor --json --min-free 5000""",
)
@click.option(
    "--min-free",
    "min_free_mb",
    type=click.IntRange(0),
    default=MIN_FREE_MB,
    show_default=True,
    help="MB that have to be free on the disk; less than five times as many is a warning.",
)
@command(told, fails=lambda result: not result["ok"], within=lambda config: nullcontext())
def doctor_command(min_free_mb: int) -> dict[str, Any]:
    """Look at every part of the box and say what to do: one line each, ok, warning or failed.

    It works on a box that runs and on one that does not, and changes nothing. Run it with the settings of the box
    (DATA_DIR above all) and as its user. Exit status 1 if anything has failed. docs/operations.md goes on from there.
    """
    found = doctor.examine(settings(), utcnow(), min_free_mb=min_free_mb)
    return {"ok": all(each.state != "failed" for each in found), "checks": [asdict(each) for each in found]}
