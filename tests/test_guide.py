"""docs/guide.md: every block is run in its order, by the real bash, against the real box, and prints what it shows."""

import contextlib
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.box import PROJECT, free_ports
from tests.documents import Block, blocks_of

GUIDE = PROJECT / "docs/guide.md"
END = "\036"
# What is different every time.
VARYING = {
    r"\b(ch|wh|tok|dlv)_[0-9a-f]{20}\b": r"\1_",
    r"\bin \d+ ms\b": "in N ms",
}


def blocks(account: str = "school") -> list[Block]:
    return blocks_of(GUIDE.read_text().replace("school", account))


def alike(text: str) -> str:
    for pattern, same in VARYING.items():
        text = re.sub(pattern, same, text)
    return text


def bash(script: str, environment: dict[str, str]) -> str:
    """What it prints; fails with all that it said. Whatever it started in the background ends with it."""
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, errors = shell.communicate(timeout=90)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, f"{said}\n{errors}"
    return said


def run_guide(box, folder: Path, *, receiver: str, account: str) -> None:
    written: list[str] = []
    shown: list[Block | None] = []
    for block in blocks(account):
        if block.language == "sh":
            text = block.text.replace("python3 receiver.py", receiver)
            written.append(f"{text}\nprintf '{END}'\n")
            shown.append(None)
        elif block.file:
            (folder / block.file).write_text(block.text)
            written.append(f'cp "$FILES/{block.file}" .\n')
        else:
            assert shown[-1] is None, "two outputs of one block"
            shown[-1] = block
    [port] = free_ports(1)
    own = {"API": box.url, "LIVESTREAM": str(PROJECT), "RECEIVER_PORT": str(port), "FILES": str(folder)}
    own |= {"TMPDIR": str(folder)}
    environment = {
        name: value for name, value in box.environment.items() if not name.startswith("LIVE_TOKEN")
    }
    printed = bash("".join(written), environment | own).split(END)[:-1]
    assert len(printed) == len(shown)
    for block, output in zip(shown, printed, strict=True):
        match block:
            case None:
                assert output == ""
            case Block("json"):
                assert json.loads(output) == json.loads(block.text)
            case _:
                assert alike(output) == alike(block.text)


@pytest.mark.box
@pytest.mark.parametrize("receiver", ["python3 receiver.py", "node receiver.mjs"])
def test_every_block_of_the_guide_does_what_it_shows(box, tmp_path, receiver):
    """Each time for an account of its own: the box is shared, and its feed remembers."""
    run_guide(box, tmp_path, receiver=receiver, account=f"school-{receiver.split()[0]}")


def test_the_guide_has_nothing_that_is_not_run():
    languages = {block.language for block in blocks()}
    assert languages == {"sh", "python", "js", "json", "text"}
    assert GUIDE.read_text().count("\n```") == 2 * len(blocks())
    assert all(block.file for block in blocks() if block.language in ("python", "js"))
