"""Takes a picture of every page, light and dark, on a desk and on a telephone, of a believable installation that it
makes for this. Exit status 1 if a page is wider than its window, cuts text off, lacks a file or has an error in it."""

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.box import short_folder
from tests.interrupts import hear_ctrl_c
from tests.screens.camera import camera
from tests.screens.pages import PAGES, Page
from tests.screens.world import World, say, world

FOLDER = Path(__file__).resolve().parents[2] / "var" / "screenshots"


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="default: var/screenshots")
    parser.add_argument(
        "--only", default="", metavar="NAMES", help="pages whose names begin so: watch,channel-new"
    )
    parser.add_argument(
        "--list", action="store_true", help="print the names of the pages, and take no picture"
    )
    asked = parser.parse_args()
    pages = [page for page in PAGES if page.name.startswith(tuple(asked.only.split(",")))]
    if asked.list or not pages:
        print(*(page.name for page in pages or PAGES), sep="\n")
        return 0 if pages else 2
    hear_ctrl_c(signal.SIGTERM)
    try:
        with short_folder() as own, world(own, on_air=any("{" in page.path for page in pages)) as here:
            wrong = photograph(here, pages, asked.folder)
    except KeyboardInterrupt:
        return 130
    print(*wrong, f"{len(pages)} pages are in {asked.folder}, {len(wrong)} findings.", sep="\n")
    return 1 if wrong else 0


def photograph(here: World, pages: list[Page], folder: Path) -> list[str]:
    wrong, began = [], time.monotonic()
    with camera(here.box.url, folder, here.cookies) as taking:
        for page in pages:
            wrong += taking.photograph(page, page.path.format(**here.names))
    say(f"Taken in {time.monotonic() - began:.0f} s.")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
