"""The machine: versions, programs, disk, clock."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import peewee

from config import nginx_program, nginx_rtmp_module, nginx_stream_module
from db import connection, from_ms, run, utcnow
from db_sqlite import wal_is_safe
from doctor.finding import Finding, Patient, failed, ok, warning
from media import ffmpeg as packaging
from media.servers import srs
from wire import iso

OLDEST_PYTHON = (3, 11)
REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
INSTALL_NGINX = "Install nginx and libnginx-mod-rtmp, or set MEDIA_SERVER=none."
ENCODERS = ("libx264", "aac")
PROGRAM_S = 15.0
FEW_INODES = 10_000
# Receivers by the Standard Webhooks specification refuse what was signed more than 5 minutes ago.
CLOCK_WARNS_S, CLOCK_FAILS_S = 5.0, 300.0


def versions(patient: Patient) -> Iterator[Finding]:
    python = platform.python_version()
    if sys.version_info >= OLDEST_PYTHON:
        yield ok("python", python)
    else:
        yield failed("python", f"{python} is too old", "Install Python 3.11 or newer, and remove .venv.")
    sqlite = peewee.sqlite3.sqlite_version
    if wal_is_safe(peewee.sqlite3.sqlite_version_info):
        yield ok("sqlite", sqlite)
    else:
        can = f"{sqlite} can lose commits in WAL mode"
        do = "Install pysqlite3 as requirements.txt has it: script/server does."
        yield (warning if patient.config.sqlite_any_version else failed)("sqlite", can, do)
    if wrong := other_packages(REQUIREMENTS.read_text()):
        yield warning(
            "packages", f"not as in requirements.txt: {', '.join(wrong)}", "script/server installs them."
        )
    else:
        yield ok("packages", "as in requirements.txt")


def other_packages(requirements: str) -> list[str]:
    """What is installed in another version than the one that was tested, or not at all."""
    pinned = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", requirements, re.MULTILINE))
    return [
        f"{name} {there or 'missing'}"
        for name, version in pinned.items()
        if (there := _version(name)) != version
    ]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def nginx(patient: Patient) -> Iterator[Finding]:
    if patient.config.media_server == "none":
        yield ok("nginx", "not needed: MEDIA_SERVER is none")
        return
    program, module = nginx_program(), nginx_rtmp_module()
    if patient.config.media_server == srs.KIND:
        yield from _beside_srs(program, patient.config.srs)
        return
    if not program or not module:
        yield failed("nginx", f"{'its RTMP module' if program else 'nginx'} is not installed", INSTALL_NGINX)
        return
    if patient.config.tls_cert and not nginx_stream_module():
        yield failed("nginx", "its stream module is not installed", "Install libnginx-mod-stream, for RTMPS.")
        return
    version = _told([program, "-v"]).rpartition("/")[2].strip()
    if problem := module_problem(program, module):
        yield failed(
            "nginx", f"{version} does not load {module}: {problem}", "Install both from the same source."
        )
    else:
        yield ok("nginx", f"{version} with the RTMP module")


def _beside_srs(program: str | None, srs_program: str | None) -> Iterator[Finding]:
    if program:
        yield ok("nginx", _told([program, "-v"]).rpartition("/")[2].strip())
    else:
        yield failed("nginx", "is not installed", "Install nginx, which serves what SRS takes in.")
    if version := srs.version(srs_program or ""):
        yield ok("srs", version)
    else:
        yield failed("srs", f"{srs_program or 'srs'} is no SRS 5 or 6", "Install it, and set SRS.")


def module_problem(program: str, module: str) -> str:
    """What nginx says of the smallest configuration that loads this module; "" if it does."""
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "nginx.conf"
        conf.write_text(f"pid {folder}/pid;\nload_module {module};\nevents {{}}\n")
        done = subprocess.run(
            [program, "-t", "-q", "-e", "stderr", "-p", folder, "-c", str(conf)],
            capture_output=True,
            text=True,
            timeout=PROGRAM_S,
            check=False,
        )
    told = re.sub(r"^.*#\d+: ", "", done.stderr.strip())  # time, level and pid
    return "" if done.returncode == 0 else told.partition("\n")[0] or "no reason given"


def ffmpeg(patient: Patient) -> Iterator[Finding]:
    try:
        program = packaging.program(patient.config.ffmpeg)
        version = _told([program, "-version"]).split(" ")[2]
        encoders = _told([program, "-hide_banner", "-encoders"]).split()
    except (OSError, RuntimeError, IndexError, subprocess.SubprocessError) as error:
        yield failed(
            "ffmpeg", f"cannot be run: {error}", "Set FFMPEG, or remove .venv: script/server makes it anew."
        )
        return
    if missing := [name for name in ENCODERS if name not in encoders]:
        yield failed(
            "ffmpeg",
            f"{version} has no {' and no '.join(missing)}",
            "Set FFMPEG to one that has; unset, it is the one of pip.",
        )
    else:
        yield ok("ffmpeg", f"{version} with {', '.join(ENCODERS)}")


def _told(argv: list[str]) -> str:
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PROGRAM_S, check=False
    )
    return done.stdout


def disk(patient: Patient) -> Iterator[Finding]:
    place = _existing(patient.config.data_dir)
    usage, inodes = shutil.disk_usage(place), os.statvfs(place)
    free_mb = usage.free // 10**6
    found = f"{free_mb:,} MB of {usage.total // 10**6:,} free at {place}"
    do = "Remove videos and ended channels (flask channel delete), old backups and *.replaced-*."
    if free_mb < patient.min_free_mb:
        yield failed("disk", found, do)
    elif free_mb < 5 * patient.min_free_mb:
        yield warning("disk", found, do)
    elif inodes.f_files and inodes.f_favail < FEW_INODES:
        yield failed("disk", f"{inodes.f_favail} files more can be made at {place}", do)
    else:
        yield ok("disk", found)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.is_dir())


def clock(patient: Patient) -> Iterator[Finding]:
    """Last, so that a clock that is being put right moves while the other checks are made."""
    do = "Have it kept by NTP: timedatectl set-ntp true."
    moved = (time.time() - patient.began) - (time.monotonic() - patient.began_mono)
    if abs(moved) > 0.5:
        yield failed("clock", f"moved by {moved:+.1f} s while this was looked at", do)
    elif (ahead := _newest_ahead_s(patient)) > CLOCK_WARNS_S:
        found = f"now is {iso(patient.now)}, but what happened last is {ahead:,.0f} s ahead of that"
        yield failed("clock", f"{found}: it was put back", do)
    elif patient.dates:
        yield from _beside_receivers(patient.dates, do)
    else:
        yield ok("clock", f"{iso(patient.now)}, and no receiver to compare it with")


def _newest_ahead_s(patient: Patient) -> float:
    if not patient.database_is_well:
        return 0.0
    with connection():
        [(newest,)] = run(
            "SELECT MAX(time) FROM (SELECT time FROM event ORDER BY id DESC LIMIT 100) AS newest"
        )
    return (from_ms(newest) - utcnow()).total_seconds() if newest else 0.0


def _beside_receivers(dates: dict[str, float], do: str) -> Iterator[Finding]:
    """The one in the middle: a single receiver may be wrong itself."""
    where, ahead = sorted(dates.items(), key=lambda each: each[1])[len(dates) // 2]
    found = f"{abs(ahead):,.0f} s {'behind' if ahead > 0 else 'ahead of'} that of {where}"
    if abs(ahead) > CLOCK_FAILS_S:
        yield failed("clock", f"{found}: receivers refuse what we sign", do)
    elif abs(ahead) > CLOCK_WARNS_S:
        yield warning("clock", found, do)
    else:
        yield ok("clock", f"within {CLOCK_WARNS_S:.0f} s of that of {where}")
