"""Carries the Dockerfile and compose.yml out where no engine is at hand: script/container-test [--keep FOLDER]

The image is built in a chroot that debootstrap makes of Debian's packages, and what it starts lives through a
broadcast, a stop, a second start and a kill: by itself with SQLite, then with PostgreSQL as compose.yml has it. Needs
root, what script/test installs, and debootstrap, ffmpeg, iproute2 and postgresql. Exit status 1 if anything is not as
it should be.
"""

import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.container.chroot import Build, Image, left_of_the_machine
from tests.container.dockerfile import stages
from tests.container.rounds import alone, with_compose

PROJECT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("debootstrap", "ffmpeg", "ip", "unshare", "nsenter", "setpriv")
CLONE_NEWNET = 0x40000000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where image, volumes and logs stay")
    keep = parser.parse_args().keep
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if os.geteuid() != 0 or missing:
        sys.exit(f"It needs root, and these programs: {', '.join(missing) or 'all are there'}.")
    if keep:
        keep.mkdir(parents=True)
    folder = keep.resolve() if keep else Path(tempfile.mkdtemp(prefix="container-"))
    folder.chmod(0o755)  # the users of the image and of PostgreSQL go through it
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # by way of what is to be cleared away
    try:
        image = build(folder)
        own_network()
        say("\nBy itself, with SQLite")
        token = alone(image, folder / "alone", say)
        say("\nAs compose.yml has it, with PostgreSQL")
        with_compose(image, PROJECT, folder / "alone", token, folder / "compose", say)
    finally:
        if not keep:
            shutil.rmtree(folder)
    say(f"\nAll is as it should be, after {time.monotonic() - began:.0f} s.")


def build(folder: Path) -> Image:
    image = Build(PROJECT, folder, say).all(stages((PROJECT / "Dockerfile").read_text()))
    left = left_of_the_machine(image, os.environ)
    assert left == [], left
    size = subprocess.run(["du", "-sm", image.folder], capture_output=True, text=True, check=True).stdout
    say(f"The image has {size.split()[0]} MB; {sum(1 for _ in image.folder.rglob('*'))} files.")
    return image


def own_network() -> None:
    """From here on: loopback and nothing else, where the image's ports are free and nobody is reached by chance."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network of its own")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
