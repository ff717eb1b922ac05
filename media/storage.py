"""The folders of an installation: who may read what, and what is swept away."""

import os
import pwd
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from config import Config


def make_folders(config: Config) -> None:
    """Every folder with its mode. nginx's workers may enter run/ (for the hook socket) and media/ only."""
    for folder, mode in (
        (config.data_dir, 0o711),
        (config.run_dir, 0o711),
        (config.run_dir / "private", 0o700),
        (config.run_dir / "tmp", 0o711),
        (config.keys_dir, 0o700),
        (config.backups_dir, 0o700),
        (config.packagers_dir, 0o700),
        (config.media_dir, 0o755),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o777 != mode:
            folder.chmod(mode)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, all at once: whoever reads it sees the old text or the new."""
    with (
        _draft_of(path) as fresh,
        os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file,
    ):
        file.write(text)


def write_public(path: Path, text: str) -> None:
    """The same for a file that the media server serves."""
    with _draft_of(path) as fresh:
        fresh.write_text(text)
        fresh.chmod(0o644)


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A file beside it that takes its place when it is whole. On a full disk nothing is left of it."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield fresh
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def hook_secret(config: Config) -> str:
    """The secret in the path of every media server callback; made once per installation."""
    path = config.keys_dir / "hook"
    if not path.exists():
        draft = config.keys_dir / f".hook.{secrets.token_hex(4)}"
        write_private(draft, secrets.token_hex(24))
        # Web and media start at the same moment: the first link wins, and there is never half a secret.
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


def share_socket(path: Path) -> None:
    """Let nginx's workers, another user where root starts it, connect to a socket; nobody else."""
    if os.geteuid() == 0:
        try:
            os.chown(path, -1, pwd.getpwnam("www-data").pw_gid)
        except KeyError:
            path.chmod(0o666)  # no www-data: the workers are nobody, and the secret in the path guards
            return
    path.chmod(0o660)


def channels_on_disk(media_dir: Path) -> list[str]:
    return [entry.name for entry in os.scandir(media_dir) if entry.is_dir()]


def remove_channels(media_dir: Path, channel_ids: Iterable[str]) -> None:
    for channel_id in channel_ids:
        shutil.rmtree(media_dir / channel_id, ignore_errors=True)


def bytes_below(folder: Path) -> int:
    """What the files below take, as they are now: files that go meanwhile count or not."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
