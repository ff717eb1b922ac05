"""docs/webhooks.md: each way to verify takes what the box signs and refuses the rest; bodies and numbers are real."""

import json
import os
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from db import connection, utcnow
from delivery import queue, schedule, signature, webhooks
from delivery.sender import AGENT, DEADLINE_S
from models import EventName
from tests.documents import DOCS, block, blocks_of, code, flat, rows, section
from tests.outbox import dispatching
from tests.receiver import Receiver

DOCUMENT = DOCS / "webhooks.md"
NOW = 1_795_632_551
NEW, OLD = signature.new_secret(), signature.new_secret()
NO_TEXT = "bytes that are no text"
BODY = '{"event":"channel_live","name":"Đà Nẵng\\n","n":1.0}'.encode()


class Case(NamedTuple):
    what: str
    right: bool
    secret: str
    headers: dict[str, str]
    body: bytes


def cases(now: int) -> list[Case]:
    """What a receiver whose clock says `now` may be sent."""

    def signed(*keys: str, at: int = now, body: bytes = BODY) -> dict[str, str]:
        return signature.headers("msg_7_wh_1", at, body, keys)

    def changed(name: str, value: str) -> dict[str, str]:
        return signed(NEW) | {f"webhook-{name}": value}

    return [
        Case("what the box signs", True, NEW, signed(NEW), BODY),
        Case(NO_TEXT, True, NEW, signed(NEW, body=b"\xff\x00{"), b"\xff\x00{"),
        Case("while it is replaced: the new secret", True, NEW, signed(NEW, OLD), BODY),
        Case("while it is replaced: the old secret", True, OLD, signed(NEW, OLD), BODY),
        Case("a clock that is 4 minutes behind", True, NEW, signed(NEW, at=now + 240), BODY),
        Case("another body", False, NEW, signed(NEW), BODY + b" "),
        Case("another secret", False, OLD, signed(NEW), BODY),
        Case("another id", False, NEW, changed("id", "msg_8_wh_1"), BODY),
        Case("an old timestamp", False, NEW, signed(NEW, at=now - 310), BODY),
        Case("a timestamp to come", False, NEW, signed(NEW, at=now + 310), BODY),
        Case("a changed timestamp", False, NEW, changed("timestamp", str(now + 1)), BODY),
        Case("a timestamp that is none", False, NEW, changed("timestamp", "soon"), BODY),
        Case("no timestamp", False, NEW, changed("timestamp", ""), BODY),
        Case("no signature", False, NEW, changed("signature", ""), BODY),
        Case("a signature cut short", False, NEW, changed("signature", "v1,"), BODY),
        Case("no header at all", False, NEW, {}, BODY),
    ]


PYTHON = """
import base64, json, sys
from verify import verified
for case in map(json.loads, sys.stdin):
    print(int(verified(case["secret"], case["headers"], base64.b64decode(case["body"]), case["now"])))
"""
NODE = """
import { createInterface } from 'node:readline'
import { verified } from './verify.mjs'
for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body, now } = JSON.parse(line)
  console.log(Number(verified(secret, headers, Buffer.from(body, 'base64'), now)))
}
"""
PHP = """<?php
require 'verify.php';
while ($line = fgets(STDIN)) {
    $case = json_decode($line, true);
    echo (int) verified($case['secret'], $case['headers'], base64_decode($case['body']), $case['now']), "\\n";
}
"""
GO = """package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"check/webhook"
)

func main() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var one struct {
			Secret  string
			Headers map[string]string
			Body    []byte
			Now     int64
		}
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			panic(err)
		}
		headers := http.Header{}
		for name, value := range one.Headers {
			headers.Set(name, value)
		}
		fmt.Println(map[bool]int{true: 1}[webhook.Verified(one.Secret, headers, one.Body, time.Unix(one.Now, 0))])
	}
}
"""
# A body comes to the shell as a file.
SHELL = """
source ./verify.sh
while IFS=$'\\t' read -r secret id sent_at signatures body now; do
    printf %s "$body" | base64 -d > body
    verified "$secret" "${id#=}" "${sent_at#=}" "${signatures#=}" body "$now" && echo 1 || echo 0
done
"""


def lines_of_json() -> str:
    lines = [
        {"secret": each.secret, "headers": each.headers, "body": b64encode(each.body).decode(), "now": NOW}
        for each in cases(NOW)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def lines_of_fields() -> str:
    """With a mark before what may be empty: the shell takes tabs together."""
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return "".join(
        "\t".join(
            [
                each.secret,
                *(f"={each.headers.get(name, '')}" for name in names),
                b64encode(each.body).decode(),
                str(NOW),
            ]
        )
        + "\n"
        for each in cases(NOW)
    )


class Way(NamedTuple):
    tool: str
    argv: list[str]
    driver: str
    program: str
    block: str = ""
    cases: Callable[[], str] = lines_of_json


WAYS = {
    "python": Way(sys.executable, [sys.executable, "check.py"], "check.py", PYTHON, "verify.py"),
    "node": Way("node", ["node", "check.mjs"], "check.mjs", NODE, "verify.mjs"),
    "php": Way("php", ["php", "check.php"], "check.php", PHP, "verify.php"),
    "go": Way("go", ["go", "run", "."], "main.go", GO, "verify.go"),
    "shell": Way("openssl", ["bash", "check.sh"], "check.sh", SHELL, "verify.sh", lines_of_fields),
}


def write(folder: Path, name: str) -> None:
    below = folder / ("webhook" if name.endswith(".go") else "")
    below.mkdir(exist_ok=True)
    (below / name).write_text(block(DOCUMENT, name))


@pytest.mark.parametrize("language", WAYS)
def test_each_way_to_verify_takes_what_is_right_and_nothing_else(language, tmp_path):
    way = WAYS[language]
    if not shutil.which(way.tool):
        pytest.skip(f"{way.tool} is not installed")
    write(tmp_path, way.block)
    (tmp_path / way.driver).write_text(way.program)
    if language == "go":
        (tmp_path / "go.mod").write_text("module check\n\ngo 1.19\n")
    environment = os.environ | {"GOCACHE": str(tmp_path / "cache"), "GOFLAGS": "-mod=mod", "GOPROXY": "off"}
    ran = subprocess.run(
        way.argv,
        cwd=tmp_path,
        env=environment,
        input=way.cases(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    said = {case.what: line == "1" for case, line in zip(cases(NOW), ran.stdout.split(), strict=True)}
    assert said == {case.what: case.right for case in cases(NOW)}


def test_so_does_the_library():
    names: dict[str, Any] = {}
    exec(block(DOCUMENT, "library.py"), names)
    for case in cases(int(time.time())):
        if case.what != NO_TEXT:  # it parses what it has verified
            assert names["verified"](case.secret, case.headers, case.body) == case.right, case.what


def test_what_the_shell_sends_verifies(tmp_path):
    with Receiver() as receiver:
        script = "set -eu\nsource ./verify.sh\n" + block(DOCUMENT, "send.sh")
        write(tmp_path, "verify.sh")
        environment = os.environ | {"RECEIVER": receiver.url, "WEBHOOK_SECRET": NEW}
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        (request,) = receiver.wait(1)
    assert ran.stdout == "200\n"
    sent_at = int(request.headers["webhook-timestamp"])
    ours = signature.headers("msg_1", sent_at, request.body, [NEW])
    assert {name: request.headers[name] for name in ours} == ours


def test_the_body_shown_is_one_that_arrives(config, client, lifecycle, hooks):
    [shown] = [json.loads(each.text) for each in blocks_of(section(DOCUMENT, "What arrives"))]
    with Receiver() as receiver:
        client.post("/v1/webhook", json={"uri": receiver.url, "event": "channel_live"})
        fields = {name: shown[name] for name in ("name", "accountId", "metadata")}
        made = client.post("/v1/live", json=fields).json["data"]
        hooks.publish(made["streamToken"])
        session = client.get(f"/v1/live/{made['id']}/session").json["data"][0]["id"]
        with connection():
            lifecycle.playable(session, utcnow())
        with dispatching(config):
            (request,) = receiver.wait(1)
    real = json.loads(request.body)
    shown["node"] = config.node or None
    varying = {"eventTime", "createdAt", "startTime", "updatedAt"}
    known = {shown["id"]: made["id"], shown["sessionId"]: session}
    assert b"\n" not in request.body
    assert list(shown) == list(real)
    for name, value in shown.items():
        if name in varying:
            assert type(value) is type(real[name])
        elif isinstance(value, str):
            for ours, theirs in known.items():
                value = value.replace(ours, theirs)
            assert value == real[name]
        else:
            assert value == real[name]
    headers = {name for cell, _ in rows(section(DOCUMENT, "What arrives")) for name in code(cell)}
    assert headers == {name for name in request.headers if name.startswith(("webhook-", "user-"))}


def test_its_numbers_are_those_of_the_code():
    events = [name for cell, _ in rows(section(DOCUMENT, "Ask for one")) for name in code(cell)]
    assert events == [name.value for name in EventName]
    text = flat(DOCUMENT.read_text())
    for said in (
        f"`{AGENT}`",
        f"2xx within {DEADLINE_S:.0f} s",
        f"{schedule.TRIES} tries",
        f"{schedule.JITTER:.0%}".replace("%", " %") + " earlier or later",
        f"{webhooks.OLD_SECRET_SIGNS_FOR // timedelta(hours=1)} hours",
    ):
        assert said in text
    in_words = (queue.GIVEN_UP_AFTER.days, webhooks.OLD_SECRETS, queue.ANSWER_KEPT)
    assert in_words == (5, 3, 1024)  # "Five days", "three old ones", "its first KiB"
    assert pauses() in text


def pauses() -> str:
    """5 s, 30 s, 2 min, ..."""
    words = []
    for pause in schedule.PAUSES:
        seconds = int(pause.total_seconds())
        unit, size = next((u, n) for u, n in (("h", 3600), ("min", 60), ("s", 1)) if seconds % n == 0)
        words.append(f"{seconds // size} {unit}")
    return f"{', '.join(words[:-1])} and {words[-1]}"
