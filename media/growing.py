"""The file that a segment is being written to: nginx-rtmp gives it its name at once, SRS when it is whole."""

import os
import re
from pathlib import Path

UNFINISHED = ".tmp"  # what SRS puts behind the name until then
NAME = re.compile(rf"(?P<number>\d+)\.ts({re.escape(UNFINISHED)})?")


def read(folder: Path, number: int, offset: int = 0, most: int = -1) -> bytes:
    """What there is of a segment's file from `offset` on; FileNotFoundError where there is none yet."""
    name = f"{number}.ts"
    for each in (name, f"{name}{UNFINISHED}"):
        try:
            return _read(folder / each, offset, most)
        except FileNotFoundError:
            continue
    return _read(folder / name, offset, most)  # it may have been given its name in between


def first_number(folder: Path) -> int:
    """The number of the oldest file that there is, 0 where there is none."""
    return min(
        (int(found["number"]) for name in os.listdir(folder) if (found := NAME.fullmatch(name))), default=0
    )


def _read(path: Path, offset: int, most: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(most)
