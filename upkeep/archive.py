"""The one file that a backup is: a tar of a manifest, the database and the keys. What is read from it is checked."""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "livestream.db"
KEYS = "keys"
# No name that this allows leads out of a folder, whatever a stranger's tar may hold.
PART = re.compile(r"livestream\.db|keys/[A-Za-z0-9_-][A-Za-z0-9._-]*")
MANIFEST_MAX = 1024 * 1024
AT_ONCE = 1024 * 1024


class BackupError(Exception):
    """A backup cannot be made, or what should be one cannot be used; the sentence says why and what to do."""


def write(file: Path, parts: Mapping[str, Path], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write a tar that only its owner reads and that is on the disk when this returns; returns its manifest."""
    sums = {name: {"size": path.stat().st_size, "sha256": sha256(path)} for name, path in parts.items()}
    manifest = {"format": FORMAT, **about, "parts": sums}
    text = json.dumps(manifest, indent=2).encode()
    with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b") as raw:
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(_member(MANIFEST, len(text)), BytesIO(text))
            for name, path in parts.items():
                with open(path, "rb") as part:
                    tar.addfile(_member(name, sums[name]["size"]), part)
        raw.flush()
        os.fsync(raw.fileno())
    return manifest


def manifest_of(file: Path) -> dict[str, Any]:
    """What a backup says of itself; its parts are not looked at."""
    with _opened(file) as tar:
        return _manifest(tar, file)


def unpack(file: Path, places: Mapping[str, Path]) -> dict[str, Any]:
    """Copy the parts of a backup to where `places` wants them: the database's path under its name, the folder of
    the keys under "keys". Raises BackupError unless each is there, whole and as the manifest says."""
    with _opened(file) as tar:
        manifest = _manifest(tar, file)
        for name, said in manifest["parts"].items():
            member = tar.next()
            if member is None or member.name != name or not member.isreg() or member.size != said["size"]:
                raise damaged(file, f"{name} is not where it should be")
            folder, _, key = name.partition("/")
            place = places[folder] / key if key else places[name]
            if _copy(tar.extractfile(member), place) != said["sha256"]:
                raise damaged(file, f"the checksum of {name} is another one")
        if tar.next() is not None:
            raise damaged(file, "it holds more than its manifest says")
    return manifest


def damaged(file: Path, why: str) -> BackupError:
    return BackupError(f"{file} is damaged: {why}. Nothing was changed; take another backup.")


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    """An open tar, whose failures are sentences."""
    try:
        tar = tarfile.open(file, "r:")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror or error}.") from error
    except tarfile.TarError as error:
        raise _strange(file) from error
    with tar:
        try:
            yield tar
        except tarfile.TarError as error:
            raise damaged(file, f"it is cut short or changed ({error})") from error


def _manifest(tar: tarfile.TarFile, file: Path) -> dict[str, Any]:
    member = tar.next()
    if member is None or member.name != MANIFEST or not member.isreg() or member.size > MANIFEST_MAX:
        raise _strange(file)
    try:
        manifest = json.loads(tar.extractfile(member).read())
        version, parts = manifest["format"], manifest["parts"]
        known = all(
            PART.fullmatch(name) and said.keys() == {"size", "sha256"} for name, said in parts.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _strange(file) from error
    if version != FORMAT:
        raise BackupError(
            f"{file} is a backup of format {version}; this release reads {FORMAT}. Use a newer one."
        )
    if not known or DATABASE not in parts:
        raise _strange(file)
    return manifest


def _strange(file: Path) -> BackupError:
    return BackupError(f"{file} is not a backup that flask --app app backup has made.")


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _copy(source: IO[bytes], place: Path) -> str:
    """Copy to a new file that only its owner reads, and to the disk; returns the checksum of what was copied."""
    seen = hashlib.sha256()
    with open(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as target:
        while chunk := source.read(AT_ONCE):
            seen.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    return seen.hexdigest()
