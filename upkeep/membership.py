"""Several boxes with one database: all of them have the same keys, and each node a name of its own (docs/nodes.md)."""

import hashlib
import time

from config import Config
from db import database, run
from delivery.secretbox import FILE, SecretBox
from media.storage import box_id, playback_key, session_key

SHARED_KEYS = ("playback", "session", FILE)
# Another box that is alive has beaten within this time.
LISTEN_S = 3.0
KEYS = "keys"


class StrangerError(Exception):
    """This box does not fit to the others; the sentence says what to do."""


def check(config: Config) -> None:
    """Before a box starts beside others. Raises StrangerError."""
    with database.connection_context():
        check_keys(config)
        if config.node:
            check_name(config)


def check_keys(config: Config) -> None:
    """What one box has signed or encrypted the others have to understand. The first box's keys are the ones."""
    agreed = _agreed()
    if agreed and any(not (config.keys_dir / name).exists() for name in SHARED_KEYS):
        raise StrangerError(_copy_keys(config, "are not all here"))
    mine = fingerprint(config)
    if not agreed:
        run(
            "INSERT INTO installation (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
            *(KEYS, mine),
        )
        agreed = _agreed()
    if agreed != mine:
        raise StrangerError(_copy_keys(config, "are others than those here"))


def adopt_keys(config: Config) -> None:
    """The keys of this box are the ones from now on: after one of them was replaced on purpose."""
    run(
        """INSERT INTO installation (name, value) VALUES (?, ?)
           ON CONFLICT (name) DO UPDATE SET value = excluded.value""",
        *(KEYS, fingerprint(config)),
    )


def fingerprint(config: Config) -> str:
    """Of the keys that all boxes share, which are made if they are not there. They are random, so that nothing of
    them can be guessed from it."""
    playback_key(config), session_key(config), SecretBox(config.keys_dir)
    digest = hashlib.sha256(b"the keys of an installation")
    for name in SHARED_KEYS:
        digest.update(b"\0" + (config.keys_dir / name).read_bytes().strip())
    return digest.hexdigest()


def check_name(config: Config) -> None:
    """That what is here is of no other name, and that no other box that is alive is the node of this one."""
    for (other,) in run("SELECT name FROM node WHERE box = ? AND name != ?", box_id(config), config.node):
        raise StrangerError(
            f"{config.data_dir} is that of the node {other}, under whose name its sessions and videos are found. Set "
            f"NODE={other}; or, where it was copied to make another node, leave nothing in it but keys."
        )
    if (beats := _beats_of_another(config)) is None:
        return
    until = time.monotonic() + LISTEN_S
    while time.monotonic() < until:
        time.sleep(0.1)
        if _beats_of_another(config) != beats:
            raise StrangerError(
                f"Another box is running with this database and NODE={config.node}. Set NODE to a name of this "
                "one's own, or stop the other one."
            )


def _beats_of_another(config: Config) -> int | None:
    rows = run("SELECT beats FROM node WHERE name = ? AND box != ?", config.node, box_id(config))
    return rows[0][0] if rows else None


def _agreed() -> str | None:
    rows = run("SELECT value FROM installation WHERE name = ?", KEYS)
    return rows[0][0] if rows else None


def _copy_keys(config: Config, how: str) -> str:
    return (
        f"The keys of the boxes that use this database {how}. Copy {', '.join(SHARED_KEYS)} from DATA_DIR/keys of one "
        f"of them to {config.keys_dir}; or, where a key was replaced on purpose: flask --app app node keys --adopt."
    )
