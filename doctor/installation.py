"""The installation: settings, folders, database."""

import pwd
import time
from collections.abc import Iterator
from pathlib import Path

import peewee

from database_url import is_on_server
from db import SchemaError, bind, schema
from db import database as bound
from db_sqlite import file_at, path_of, wal_bytes
from doctor.finding import Finding, Patient, failed, ok, warning
from media import storage
from media.servers import nginx_rtmp
from upkeep import opening, running

INTEGRITY_S = 30.0
WAL_IS_LARGE = 256 * 2**20
RESTORE = "Stop the box and restore the newest backup: flask restore FILE."


def settings(patient: Patient) -> Iterator[Finding]:
    """Wrong ones stop every command; these are right, and may still not be those that the box has."""
    config = patient.config
    found = f"DATA_DIR {config.data_dir}, MEDIA_SERVER {config.media_server}, PUBLIC_URL {config.public_url}"
    yield ok("settings", found)


def folders(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    if not config.data_dir.exists():
        yield warning("folders", f"{config.data_dir} is not there", "Check DATA_DIR; a first start makes it.")
        return
    if not patient.may_be_looked_at:
        owner = _user(config.data_dir.stat().st_uid)
        found = f"{config.data_dir} belongs to {owner}: nothing of the box can be looked at"
        yield failed("folders", found, f"Run this as {owner}.")
        return
    wrong = [*_wrong_modes(patient), *_shut_out(patient)]
    yield from wrong or [ok("folders", "owner and modes are right")]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _wrong_modes(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    private = [config.tls_file, *config.keys_dir.glob("*")]
    if not is_on_server(config.database_url):
        database = path_of(config.database_url)
        private += [database, *database.parent.glob(f"{database.name}-*")]
    wanted = [*storage.folders(config), *((path, 0o600) for path in private)]
    for path, mode in wanted:
        try:
            there = path.stat().st_mode & 0o777
        except OSError:
            continue  # made at the next start, or not for us to see
        if there & ~mode:
            yield failed("folders", f"{path} is open to others ({there:o})", f"chmod {mode:o} {path}")
        elif path.is_dir() and there != mode:
            yield failed(
                "folders", f"{path} shuts out whom it must let in ({there:o})", f"chmod {mode:o} {path}"
            )


def _shut_out(patient: Patient) -> Iterator[Finding]:
    media_dir = patient.config.media_dir
    if patient.config.media_server != "none" and nginx_rtmp.worker_user(media_dir) == "root":
        found = f"nginx runs as root, because a folder above {media_dir} lets nobody else in"
        yield warning("folders", found, "Move it: DATA_DIR=/var/lib/livestream.")


def database(patient: Patient) -> Iterator[Finding]:
    config = patient.config
    if is_on_server(config.database_url):
        yield from _on_server(patient)
        return
    path = path_of(config.database_url)
    if not config.run_dir.exists():
        yield warning(
            "database", f"{path} is not looked at: {config.data_dir} is not in use yet", "Start the box."
        )
        return
    try:
        with running.shared(config):
            opening.check_file(config)
            yield from _looked_through(patient, path)
    except opening.PROBLEMS as error:
        yield failed("database", str(error).rstrip("."), RESTORE)


def _on_server(patient: Patient) -> Iterator[Finding]:
    """What is in its files, the server knows best."""
    try:
        if not bound.obj:
            bind(patient.config.database_url)
        known = schema(bound.obj)
    except (SchemaError, peewee.DatabaseError) as error:
        yield failed(
            "database", " ".join(str(error).split()).rstrip("."), "Check DATABASE_URL and its server."
        )
        return
    if known.pending:
        yield warning("database", f"not upgraded: {', '.join(known.pending)}", "Restart the box.")
        return
    patient.database_is_well = True
    yield ok("database", f"PostgreSQL {bound.version}, the schema is right")


def _looked_through(patient: Patient, path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield warning("database", f"{path} is not there yet", "Start the box: it is made.")
        return
    began = time.monotonic()
    try:
        found = opening.quick_check(path, INTEGRITY_S, "integrity_check")
        known = None if found else schema(file_at(path))
    except peewee.DatabaseError as error:
        found, known = str(error), None
    if found or known is None:
        yield failed("database", f"{path} is damaged: {found}", RESTORE)
        return
    took = time.monotonic() - began
    if took >= INTEGRITY_S:
        yield warning(
            "database",
            f"well as far as {INTEGRITY_S:.0f} s of looking went",
            "flask backup looks at all of it.",
        )
    if known.pending:
        yield warning(
            "database",
            f"not upgraded: {', '.join(known.pending)}",
            "Restart the box: a backup is taken first.",
        )
    else:
        yield ok(
            "database",
            f"{path.stat().st_size / 10**6:,.1f} MB, integrity and schema are right ({took:.1f} s)",
        )
        patient.database_is_well = True
        if not bound.obj:
            bind(patient.config.database_url, any_version=True)
    if (wal := wal_bytes(path)) > WAL_IS_LARGE:
        yield warning(
            "database",
            f"{wal // 2**20} MiB wait to get into the file",
            "End who reads it for so long: an open sqlite3 shell?",
        )
