"""What was said and done in a round, in order, one JSON object to a line: what the checker judges by."""

import itertools
import json
import threading
import time
from pathlib import Path
from typing import Any


class History:
    """Written by many threads; every record has a number, the time and a kind."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "w")  # noqa: SIM115  closed with the round
        self.records: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)

    def write(self, kind: str, **said: Any) -> int:
        with self.lock:
            record = {"n": next(self.numbers), "t": round(time.monotonic(), 4), "kind": kind} | said
            self.records.append(record)
            self.file.write(json.dumps(record) + "\n")
        return record["n"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        with self.lock:
            return [record for record in self.records if record["kind"] == kind]

    def exchanges(self, asked: str, answered: str) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
        """Every request with its answer, None where none came, in the order of asking."""
        answers = {record["to"]: record for record in self.of(answered)}
        return [(record, answers.get(record["n"])) for record in self.of(asked)]

    def close(self) -> None:
        self.file.close()
