"""A client that knows the published pages only: their curl lines, run by the real curl against the running API."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT_ID, ROOT_SECRET
from tests.serving import served

PAGES = sorted((Path(__file__).parent / "published").glob("*.txt"))


class Step(NamedTuple):
    command: str
    status: int
    shape: str


def steps(page: Path) -> Iterator[Step]:
    """The commands of a page with what they answer; a block without either is prose."""
    for block in re.split(r"\n\s*\n", page.read_text()):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines:
            status, _, shape = lines[-1].partition(" ")
            yield Step("\n".join(lines[:-1]), int(status), shape)


def filled(text: str, known: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], found[0]), text)


def curl(command: str, port: int, folder: Path) -> tuple[int, str]:
    """Status and body, from the command as a shell would split it."""
    told = command.replace("HOST", f"127.0.0.1:{port}")
    told = told.replace("LIVE_TOKEN_ID", ROOT_ID).replace("LIVE_TOKEN_SECRET", ROOT_SECRET)
    program, *arguments = shlex.split(told.replace("\\\n", " "))
    assert program == "curl"
    body = folder / "body"
    body.unlink(missing_ok=True)
    # -q first: no ~/.curlrc; the rest is only about where the answer goes.
    done = subprocess.run(
        ["curl", "-q", "-sS", "--noproxy", "*", "-m", "20", "-o", body, "-w", "%{http_code}", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout), body.read_text() if body.exists() else ""


def differences(shape: Any, found: Any, where: str = "") -> list[str]:
    """Where an answer is not what the page shows; fields that the page does not show may be there."""
    if isinstance(shape, dict) and isinstance(found, dict):
        lacking = [f"{where}.{name} is not there" for name in shape.keys() - found.keys()]
        there = [name for name in shape if name in found]
        return lacking + [
            each for name in there for each in differences(shape[name], found[name], f"{where}.{name}")
        ]
    if isinstance(shape, list) and isinstance(found, list) and len(shape) == len(found):
        return [
            each
            for place, (one, other) in enumerate(zip(shape, found, strict=True))
            for each in differences(one, other, f"{where}[{place}]")
        ]
    if shape == "...":
        return [] if isinstance(found, str) and found else [f"{where} is {found!r}, which is no text"]
    same = type(shape) is type(found) and shape == found
    return [] if same else [f"{where} is {found!r}, not {shape!r}"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_the_published_pages_print_works_as_they_print_it(config, tmp_path, page):
    known: dict[str, str] = {}
    seen = 0
    with served(config) as port:
        for step in steps(page):
            status, body = curl(filled(step.command, known), port, tmp_path)
            assert status == step.status, f"{step.command}\n{body}"
            if step.shape:
                answer = json.loads(body)
                assert differences(json.loads(filled(step.shape, known)), answer) == [], step.command
                if status == 201:
                    known = {name: value for name, value in answer["data"].items() if isinstance(value, str)}
            else:
                assert body == ""
            seen += 1
    assert seen == page.read_text().count("\ncurl ")


def test_a_difference_is_seen():
    shown = {"ec": 0, "data": [{"id": "...", "on": True}]}
    assert differences(shown, {"ec": 0, "data": [{"id": "x", "on": True, "more": 1}], "total": 1}) == []
    for other in (
        {"ec": False, "data": [{"id": "x", "on": True}]},
        {"ec": 0, "data": []},
        {"ec": 0, "data": [{"id": "", "on": True}]},
        {"ec": 0, "data": [{"id": None, "on": True}]},
        {"ec": 0, "data": [{"on": True}]},
        {"ec": 0, "data": [{"id": "x", "on": 1}]},
        {"ec": 0, "data": {"id": "x"}},
    ):
        assert differences(shown, other) != [], other
