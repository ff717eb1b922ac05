"""How much room is left on the disk, and what follows: 0 nothing, 1 nothing new is kept, 2 DVR is shortened too.

What is live goes on in every case: it needs little, and what it has shown is removed behind it.
"""

import shutil
from pathlib import Path

MB = 1_000_000
SHARE, AT_MOST = 0.05, 2_000 * MB
# Room that has just been made is not given away at once.
COMES_BACK = 1.1
FULL = 1 * MB


def least_free(configured_mb: int | None, total: int) -> int:
    """The bytes that stay free: DISK_MIN_FREE, else 5 % of the disk, and no more than 2 GB."""
    return round(min(total * SHARE, AT_MOST)) if configured_mb is None else configured_mb * MB


def tightness(free: int, least: int, before: int = 0) -> int:
    """How short of room the disk is, which was `before` at the last look."""
    for level, bound in ((2, least / 2), (1, least)):
        if free < bound * (COMES_BACK if before >= level else 1):
            return level
    return 0


def is_full(folder: Path) -> bool:
    """Whether nothing can be written any more, whatever is to stay free."""
    return shutil.disk_usage(folder).free < FULL


class Guard:
    """Watches the file system that a folder is on."""

    def __init__(self, folder: Path, configured_mb: int | None) -> None:
        self.folder = folder
        self.configured_mb = configured_mb
        self.level = 0

    def look(self) -> int:
        usage = shutil.disk_usage(self.folder)
        self.level = tightness(usage.free, least_free(self.configured_mb, usage.total), self.level)
        return self.level

    def has_room_for(self, size: int) -> bool:
        usage = shutil.disk_usage(self.folder)
        return usage.free - size >= least_free(self.configured_mb, usage.total)

    @property
    def words(self) -> str:
        """For people: what the level means."""
        usage = shutil.disk_usage(self.folder)
        return f"{usage.free // MB} MB of {usage.total // MB} MB are free where DATA_DIR is"
