"""The log's and the metrics' share of a timeline: each entry is one line, and one more of its kind, once committed.

A timeline is shown to tokens that only read, so nothing in it is a secret.
"""

import logging
from functools import partial
from typing import Any

from db import after_commit
from together import counts

log = logging.getLogger(__name__)

# All there are, so that each has a count from the beginning: Prometheus sees no increase from nothing to one.
KINDS = (
    *("created", "scheduled", "updated", "token_reset", "published", "reconnected", "refused", "unpublished"),
    *("live", "error", "unstable", "stable", "limit_near", "ladder", "ended"),
    *("video_ready", "video_failed", "storage_low", "storage_enough"),
)
# What an operator may have to act on; all else is the ordinary life of a channel.
UNUSUAL = {"refused", "error", "unstable", "limit_near", "video_failed", "storage_low"}
UNUSUAL_REASONS = ("lost", "limit", "no_storage")

COUNTED = "told\t"


def told() -> dict[str, int]:
    """How many entries of each kind this process has written since it began; of web, all of its processes."""
    found = {name.removeprefix(COUNTED): numbers[0] for name, numbers in counts.total().items()}
    return {kind: int(found.get(kind, 0)) for kind in KINDS}


def tell_later(kind: str, channel_id: str | None, detail: dict[str, Any]) -> None:
    """After the commit of the transaction that this is called in; not at all if it is rolled back."""
    after_commit(partial(_tell, kind, channel_id, detail))


def _tell(kind: str, channel_id: str | None, detail: dict[str, Any]) -> None:
    counts.add(COUNTED + kind)
    known = {name: value for name, value in detail.items() if value is not None}
    unusual = kind in UNUSUAL or str(known.get("reason", "")).startswith(UNUSUAL_REASONS)
    about = {"event": kind} | ({"channelId": channel_id} if channel_id else {})
    log.log(
        logging.WARNING if unusual else logging.INFO,
        *("%s: %s%s", channel_id or "no channel", kind, "".join(map(_words, known.items()))),
        extra=about | known,
    )


def _words(fact: tuple[str, Any]) -> str:
    name, value = fact
    if isinstance(value, list):
        value = " ".join(each["name"] if isinstance(each, dict) else str(each) for each in value) or "-"
    return f", {value}" if name in ("sessionId", "reason") else f", {name} {value}"
