"""Settings: read once from the environment, checked as a whole, then frozen (contract, section 9)."""

import ipaddress
import os
import re
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from database_url import problem_of

MEDIA_SERVERS = ("nginx-rtmp", "none")
LOG_FORMATS = ("auto", "text", "json")
NGINX_MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")
SOCKET_PATH_MAX = 107  # sockaddr_un holds 108 bytes, the last of them a NUL
LONGEST_SOCKET = "run/private/ctl.4194304"  # supervisord binds it with its pid behind it


class ConfigError(Exception):
    """Everything that is wrong with the settings, at once: one sentence per variable."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Config:
    """One installation's settings. Paths are absolute; the port numbers are as bound."""

    host: str
    port: int
    http_port: int
    rtmp_port: int
    hook_port: int | None
    media_bind: str | None
    public_url: str
    rtmp_url: str
    trusted_proxy: str | None
    data_dir: Path
    database_url: str = field(repr=False)  # may hold a password
    media_server: str
    worker: str
    webhook_allow_private: bool
    ffmpeg: str | None
    sqlite_any_version: bool
    transcode_cores: float
    log_format: str = "auto"
    user_limits: Mapping[str, int | None] = field(default_factory=dict)  # of an account without a user
    kept_for: Mapping[str, timedelta | None] = field(default_factory=dict)  # by kind of row; None is for ever
    disk_min_free: int | None = None  # MB; None: see media/disk.py
    tls_cert: Path | None = None  # with it the public port speaks HTTPS, and there is RTMPS
    tls_key: Path | None = None
    rtmps_port: int = 1936
    token_id: str | None = None
    token_secret: str | None = field(default=None, repr=False)

    @property
    def run_dir(self) -> Path:
        """Sockets, pid files and generated configuration."""
        return self.data_dir / "run"

    @property
    def keys_dir(self) -> Path:
        return self.data_dir / "keys"

    @property
    def backups_dir(self) -> Path:
        """The backups that upgrades take."""
        return self.data_dir / "backups"

    @property
    def last_backup_file(self) -> Path:
        """Written by each `flask backup`: its age is the age of the last one."""
        return self.backups_dir / "last.json"

    @property
    def media_dir(self) -> Path:
        """What the media server may serve, and nothing else."""
        return self.data_dir / "media"

    @property
    def ingest_dir(self) -> Path:
        """Where the media server finds the folder of each session that may be written to, by streamToken."""
        return self.data_dir / "ingest"

    @property
    def transcoders_dir(self) -> Path:
        """The logs of running transcoders, for the worker that comes after this one."""
        return self.data_dir / "transcoders"

    @property
    def rtmps_url(self) -> str | None:
        return f"rtmps://{_host_of(self.rtmp_url)}:{self.rtmps_port}/live" if self.tls_cert else None

    @property
    def tls_file(self) -> Path:
        """The media server's own copy of certificate and key, for the user of its workers alone."""
        return self.run_dir / "tls.pem"

    @property
    def hook_socket(self) -> Path:
        return self.run_dir / "hooks.sock"

    @property
    def wake_socket(self) -> Path:
        return self.run_dir / "worker.sock"

    @property
    def pulse_file(self) -> Path:
        """The worker's last sign of life and what it saw of the media server."""
        return self.run_dir / "worker.json"

    @property
    def play_log(self) -> Path:
        """The media server's log of playback requests, which viewers are counted from."""
        return self.run_dir / "play.log"

    @property
    def media_socket(self) -> Path:
        """The media server's /stat and /control; in a folder that only its owner can enter."""
        return self.run_dir / "private" / "media.sock"


def from_env(environ: Mapping[str, str]) -> Config:
    """Read and check all settings; raises ConfigError that names every bad variable."""
    env = _Reader(environ)
    data_dir = env.folder("DATA_DIR", "var")
    host, port = env.host("HOST", "127.0.0.1"), env.port("PORT", 8000)
    http_port, rtmp_port = env.port("HTTP_PORT", 8080), env.port("RTMP_PORT", 1935)
    media_server = env.choice("MEDIA_SERVER", MEDIA_SERVERS, default_media_server())
    tls_cert, tls_key = env.file("TLS_CERT"), env.file("TLS_KEY")
    schemes = ("https",) if tls_cert and media_server != "none" else ("http", "https")
    own_url = (
        f"{schemes[0]}://{own_address()}:{http_port}"
        if media_server != "none"
        else f"http://{bracketed(host)}:{port}"
    )
    public_url = env.url("PUBLIC_URL", own_url, schemes)
    rtmp_url = env.url("RTMP_URL", f"rtmp://{_host_of(public_url)}:{rtmp_port}/live", ("rtmp", "rtmps"))
    config = Config(
        host=host,
        port=port,
        http_port=http_port,
        rtmp_port=rtmp_port,
        hook_port=env.port("HOOK_PORT", None),
        media_bind=env.address("MEDIA_BIND"),
        public_url=public_url,
        rtmp_url=rtmp_url,
        trusted_proxy=env.address("TRUSTED_PROXY"),
        data_dir=data_dir,
        database_url=env.database("DATABASE_URL", data_dir / "livestream.db"),
        media_server=media_server,
        worker=env.choice("WORKER", ("inside", "apart"), "inside"),
        webhook_allow_private=env.switch("WEBHOOK_ALLOW_PRIVATE", True),
        ffmpeg=env.program("FFMPEG"),
        sqlite_any_version=env.switch("SQLITE_ANY_VERSION", False),
        transcode_cores=env.cores("TRANSCODE_CORES", max(0.5, usable_cores() - 1.0)),
        log_format=env.choice("LOG_FORMAT", LOG_FORMATS, "auto"),
        user_limits={
            "max_channels": env.limit("USER_MAX_CHANNELS"),
            "max_live": env.limit("USER_MAX_LIVE"),
            "max_duration": env.limit("USER_MAX_DURATION"),
            "max_bitrate": env.limit("USER_MAX_BITRATE"),
            "max_height": env.limit("USER_MAX_HEIGHT"),
            "max_storage": env.limit("USER_MAX_STORAGE"),
        },
        kept_for={
            "events": env.days("RETENTION_EVENTS_DAYS", 30),
            "audit": env.days("RETENTION_AUDIT_DAYS", 90),
            "sessions": env.days("RETENTION_SESSIONS_DAYS", 365),
            "channels": env.days("RETENTION_CHANNELS_DAYS", None),
            "analytics": env.days("RETENTION_ANALYTICS_DAYS", 90),
            "analytics_hourly": env.days("RETENTION_ANALYTICS_HOURLY_DAYS", 1095),
            "videos": env.days("RETENTION_VIDEOS_DAYS", None),
        },
        disk_min_free=env.limit("DISK_MIN_FREE"),
        tls_cert=tls_cert,
        tls_key=tls_key,
        rtmps_port=env.port("RTMPS_PORT", 1936),
        token_id=env.secret("LIVE_TOKEN_ID", r"[A-Za-z0-9._-]{1,64}"),
        token_secret=env.secret("LIVE_TOKEN_SECRET", r"[\x21-\x7e]{16,256}"),
    )
    env.together("LIVE_TOKEN_ID", config.token_id, "LIVE_TOKEN_SECRET", config.token_secret)
    env.together("TLS_CERT", tls_cert, "TLS_KEY", tls_key)
    ports = {"PORT": port}
    if media_server != "none":
        ports |= {"HTTP_PORT": http_port, "RTMP_PORT": rtmp_port}
        ports |= {"RTMPS_PORT": config.rtmps_port} if tls_cert else {}
    elif tls_cert:
        env.problems.append(
            "TLS_CERT needs MEDIA_SERVER=nginx-rtmp: it is nginx that speaks TLS. Without it, put a proxy in front."
        )
    env.distinct(ports | {"HOOK_PORT": config.hook_port})
    if env.problems:
        raise ConfigError(sorted(set(env.problems)))
    return config


def usable_cores() -> int:
    """Those that this process may run on: a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0))


def default_media_server() -> str:
    """nginx-rtmp where it is installed, else none."""
    return "nginx-rtmp" if nginx_program() and nginx_rtmp_module() else "none"


def nginx_program() -> str | None:
    # Debian puts nginx into /usr/sbin, which an ordinary user's PATH leaves out.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def nginx_rtmp_module() -> str | None:
    return _nginx_module("ngx_rtmp_module.so")


def nginx_stream_module() -> str | None:
    return _nginx_module("ngx_stream_module.so")


def _nginx_module(name: str) -> str | None:
    return next((path for folder in NGINX_MODULES if Path(path := f"{folder}/{name}").exists()), None)


def own_address() -> str:
    """The address this host would use to reach others; nothing is sent to find it (UDP connect only)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: reserved for documentation, never a real host
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"


def _host_of(url: str) -> str:
    return bracketed(urlsplit(url).hostname or "127.0.0.1")


def bracketed(host: str) -> str:
    """As a host stands in a URL."""
    return f"[{host}]" if ":" in host else host


class _Reader:
    """Typed reads that collect what is wrong instead of stopping at the first."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def text(self, name: str, default: str) -> str:
        return self.environ.get(name, "").strip() or default

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.text(name, default)
        if value not in allowed:
            self.problems.append(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
        return value

    def switch(self, name: str, default: bool) -> bool:
        value = self.text(name, "1" if default else "0")
        if value not in ("0", "1"):
            self.problems.append(f"{name} must be 0 or 1, not {value!r}.")
        return value == "1"

    def port(self, name: str, default: int | None) -> int | None:
        value = self.text(name, "")
        if not value:
            return default
        if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
            self.problems.append(f"{name} must be a port from 1 to 65535, not {value!r}.")
            return default
        return int(value)

    def limit(self, name: str) -> int | None:
        value = self.text(name, "")
        if not value:
            return None
        if not re.fullmatch(r"[0-9]{1,15}", value):
            self.problems.append(f"{name} must be a whole number of 0 or more, not {value!r}.")
            return None
        return int(value)

    def cores(self, name: str, default: float) -> float:
        value = self.text(name, str(default))
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", value):
            self.problems.append(f"{name} must be a number of processor cores, such as 1.5, not {value!r}.")
            return default
        return float(value)

    def days(self, name: str, default: int | None) -> timedelta | None:
        value = self.text(name, "never" if default is None else str(default))
        if value == "never":
            return None
        if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) == 0:
            self.problems.append(f"{name} must be a number of days, 1 to 99999, or never, not {value!r}.")
            return None
        return timedelta(days=int(value))

    def host(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if not re.fullmatch(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:.]+", value):
            self.problems.append(f"{name} must be an address or a host name to listen on, not {value!r}.")
            return default
        return value

    def address(self, name: str) -> str | None:
        value = self.text(name, "")
        if not value:
            return None
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            self.problems.append(f"{name} must be an IP address, not {value!r}.")
            return None

    def url(self, name: str, default: str, schemes: tuple[str, ...]) -> str:
        value = self.text(name, default).rstrip("/")
        try:
            parts = urlsplit(value)
            good = parts.scheme in schemes and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if not good or re.search(r"[^\x21-\x7e]", value) or parts.query or parts.fragment or parts.username:
            self.problems.append(f"{name} must be a plain {' or '.join(schemes)} URL, not {value!r}.")
            return default
        return value

    def folder(self, name: str, default: str) -> Path:
        path = Path(self.text(name, default)).expanduser().absolute()
        if path.exists() and not path.is_dir():
            self.problems.append(f"{name} must be a folder; {path} is a file.")
        if len(str(path / LONGEST_SOCKET).encode()) > SOCKET_PATH_MAX:
            self.problems.append(
                f"{name} is too long a path for the Unix sockets in it; choose a shorter one than {path}."
            )
        if re.search(r"[\s;{}'\"$\\]", str(path)):
            self.problems.append(
                f"{name} must not hold spaces, quotes or any of ; {{ }} $ \\ (nginx reads it): {path}"
            )
        return path

    def file(self, name: str) -> Path | None:
        value = self.text(name, "")
        return Path(value).expanduser().absolute() if value else None

    def database(self, name: str, default: Path) -> str:
        value = self.text(name, f"sqlite:///{default}")
        if problem := problem_of(value):
            self.problems.append(f"{name} {problem}")
        return value

    def program(self, name: str) -> str | None:
        value = self.text(name, "")
        if not value:
            return None
        found = shutil.which(value)
        if not found:
            self.problems.append(f"{name} must be a program that can be run; {value!r} is not.")
        return found

    def secret(self, name: str, pattern: str) -> str | None:
        """The variable, or the content of the file that NAME_FILE names. Its value is never printed."""
        value, file = self.environ.get(name), self.environ.get(f"{name}_FILE")
        if value and file:
            self.problems.append(f"{name} and {name}_FILE are both set; keep one.")
        if file:
            try:
                value = Path(file).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                self.problems.append(f"{name}_FILE cannot be read: {type(error).__name__}.")
                return None
        if not value:
            return None
        if not re.fullmatch(pattern, value):
            self.problems.append(f"{name} must match {pattern}.")
        return value

    def together(self, name: str, value: str | None, other: str, other_value: str | None) -> None:
        if bool(value) != bool(other_value):
            self.problems.append(f"{name} and {other} go together; {other if value else name} is missing.")

    def distinct(self, ports: dict[str, int | None]) -> None:
        taken: dict[int, str] = {}
        for name, port in ports.items():
            if port in taken:
                self.problems.append(f"{name} and {taken[port]} are the same port, {port}.")
            if port is not None:
                taken[port] = name
