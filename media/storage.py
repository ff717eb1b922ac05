"""The folders of an installation: who may read what, and what is swept away."""

import os
import pwd
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from config import Config

CHANNEL, SESSION = "ch_", "ses_"
# A file of this name in a channel's folder: nginx serves nothing of it without a signature.
SIGNED = "signed"
# With one of this name, it sends whoever asks for what is not there (any more) to the store.
MOVED = "moved"


def folders(config: Config) -> tuple[tuple[Path, int], ...]:
    """Every folder with its mode. nginx's workers may enter run/ (for the hook socket) and media/ only."""
    return (
        (config.data_dir, 0o711),
        (config.run_dir, 0o711),
        (config.run_dir / "private", 0o700),
        (config.run_dir / "tmp", 0o711),
        (config.keys_dir, 0o700),
        (config.backups_dir, 0o700),
        (config.transcoders_dir, 0o700),
        (config.media_dir, 0o755),
        (config.ingest_dir, 0o711),  # nobody else may list it: its names are streamTokens
    )


def make_folders(config: Config) -> None:
    for folder, mode in folders(config):
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


def write_for_media_server(path: Path, content: bytes) -> None:
    """The same for a secret of the media server's: its workers read it, and nobody else but root."""
    with (
        _draft_of(path) as fresh,
        os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file,
    ):
        own_by_media_server(fresh)
        file.write(content)


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
    return _made_once(config.keys_dir / "hook")


def session_key(config: Config) -> str:
    """What signs the console's cookies; made once per installation. Without the file everybody signs in again."""
    return _made_once(config.keys_dir / "session")


def playback_key(config: Config) -> str:
    """What addresses of signed channels are signed with; without the file a new one is made, and the old ones end."""
    return _made_once(config.keys_dir / "playback")


def box_id(config: Config) -> str:
    """No secret: which DATA_DIR a node in the database belongs to."""
    return _made_once(config.box_file)


def _made_once(path: Path) -> str:
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        write_private(draft, secrets.token_hex(24))
        # Web and media start at the same moment: the first link wins, and there is never half a secret.
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


def share_socket(path: Path) -> None:
    """Let nginx's workers, another user where root starts it, connect to a socket; nobody else."""
    if os.geteuid() == 0:
        user = media_server_user()
        if user.pw_name == "nobody":
            path.chmod(0o666)  # its group is everybody's; the secret in the path guards
            return
        os.chown(path, -1, user.pw_gid)
    path.chmod(0o660)


def open_for(config: Config, channel_id: str, session_id: str, stream_token: str) -> Path:
    """A folder for a session, and the link by which the media server finds it.

    nginx's HLS module takes the name that the encoder sent, not the one that the hook gives the stream.
    """
    folder = config.media_dir / channel_id / session_id
    folder.mkdir(parents=True, exist_ok=True)
    own_by_media_server(folder)
    fresh = config.ingest_dir / f".{session_id}.{secrets.token_hex(4)}"  # a hook may come twice at once
    fresh.symlink_to(folder)
    link = config.ingest_dir / stream_token
    if link.is_dir() and not link.is_symlink():  # made by a media server that wrote on when its link was gone
        shutil.rmtree(link)
    fresh.rename(link)
    return folder


def taken_in(ingest_dir: Path) -> dict[str, Path]:
    """The folder of each session that the media server may write to, by session, and the link to it."""
    found = {}
    for name in os.listdir(ingest_dir):
        with suppress(OSError):  # gone, or made by nginx itself for a publisher that nobody let in
            if not name.startswith("."):
                found[(ingest_dir / name).readlink().name] = ingest_dir / name
    return found


def close_for(ingest_dir: Path, session_ids: Iterable[str]) -> None:
    """Nothing more is taken in for these; their folders stay."""
    links = taken_in(ingest_dir)
    for session_id in session_ids:
        if link := links.get(session_id):
            link.unlink(missing_ok=True)


def mark_signed(channel: Path, *, signed: bool) -> None:
    """With the mark, nginx serves nothing of a channel without a signature."""
    mark = channel / SIGNED
    if signed == mark.exists():
        return
    if not signed:
        mark.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):  # the channel is being deleted
        mark.touch()


def mark_moved(channel: Path) -> None:
    """Addresses from before its videos moved to the store go on: see the media server's configuration."""
    channel.mkdir(parents=True, exist_ok=True)
    (channel / MOVED).touch()


def unmark_moved(channel: Path) -> None:
    (channel / MOVED).unlink(missing_ok=True)


def own_by_media_server(path: Path) -> None:
    """nginx's workers write or read there; where root starts it, they are another user."""
    if os.geteuid() == 0:
        user = media_server_user()
        os.chown(path, user.pw_uid, user.pw_gid)


@cache  # asked when the hooks' socket is shared: later, without a file descriptor left, nobody would be found
def media_server_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("www-data")
    except KeyError:
        return pwd.getpwnam("nobody")


def channels_on_disk(media_dir: Path) -> list[str]:
    return [entry.name for entry in os.scandir(media_dir) if entry.name.startswith(CHANNEL)]


def sessions_on_disk(channel: Path) -> list[Path]:
    return [path for path in channel.glob(f"{SESSION}*") if path.is_dir()]


def bytes_below(folder: Path) -> int:
    """What the files below take, as they are now: files that go meanwhile count or not."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total
