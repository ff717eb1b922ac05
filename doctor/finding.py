"""What a check says, and what all checks know."""

import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

from config import Config
from doctor import sockets


@dataclass(frozen=True)
class Finding:
    """`found` is a phrase, `do` a sentence; nothing to do where all is well."""

    check: str
    state: Literal["ok", "warning", "failed"]
    found: str
    do: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(check, "ok", found)


def warning(check: str, found: str, do: str) -> Finding:
    return Finding(check, "warning", found, do)


def failed(check: str, found: str, do: str) -> Finding:
    return Finding(check, "failed", found, do)


@dataclass
class Patient:
    """A box. `dates` are how far the clocks of receivers are ahead of ours, in seconds."""

    config: Config
    now: datetime
    min_free_mb: int
    database_is_well: bool = False
    dates: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.time)
    began_mono: float = field(default_factory=time.monotonic)

    @property
    def may_be_looked_at(self) -> bool:
        """By its owner or by root: to anybody else a box that runs looks like one that is down."""
        data_dir = self.config.data_dir
        return not data_dir.exists() or os.geteuid() in (0, data_dir.stat().st_uid)

    @cached_property
    def supervised(self) -> list[sockets.Program] | None:
        """What supervisor runs; None where there is none."""
        return sockets.programs(self.config.run_dir / "private" / "ctl")

    @cached_property
    def listening(self) -> set[str]:
        """Which of web and media have their Unix socket open: those of this DATA_DIR and of no other."""
        known = {"web": self.config.hook_socket, "media": self.config.media_socket}
        return {name for name, path in known.items() if sockets.listens(path)}

    @property
    def runs(self) -> bool:
        return self.supervised is not None or bool(self.listening)
