"""`script/bench signed`: requests a second of a signed channel's files beside a public one's. Needs wrk."""

import re
import subprocess
from pathlib import Path

from tests.bench.table import Row
from tests.box import Box, running_box

SECONDS, CONNECTIONS = 3, 16
SESSION = "ses_00000000000000000000"
FILES = {"a playlist of 1 kB": "source.m3u8", "a segment of 16 kB": f"{SESSION}/0.ts"}


def rows(folder: Path, rounds: int) -> list[Row]:
    """Both in turns, so that what else the machine does meets both."""
    with running_box(folder) as box:
        public, signed = [channel(box, playback) for playback in ("public", "signed")]
        found = {name: ([], []) for name in FILES}
        for _ in range(rounds):
            for name, file in FILES.items():
                for base, rates in zip((signed, public), found[name], strict=True):
                    rates.append(requests_a_second(f"{base}{file}"))
    return [(name, ours, peer, "/s", "the same, public") for name, (ours, peer) in found.items()]


def channel(box: Box, playback: str) -> str:
    """A channel with files, though nobody has published; returns where they are."""
    made = box.create(playback=playback)
    folder = box.data_dir / "media" / made["id"]
    (folder / SESSION).mkdir(parents=True)
    (folder / "source.m3u8").write_text("#EXTINF:1.000,\nses_0/0.ts\n" * 40)
    (folder / SESSION / "0.ts").write_bytes(b"G" * 16384)
    if playback == "signed":
        (folder / "signed").touch()
    reply = box.call("POST", f"/v1/live/{made['id']}/playback")[1]
    return reply["data"]["livestreamUrl"].removesuffix("master.m3u8")


def requests_a_second(url: str) -> float:
    argv = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS}s", url]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in told, told
    return float(re.search(r"Requests/sec:\s*([0-9.]+)", told)[1])
