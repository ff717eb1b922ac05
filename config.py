"""Settings: read once from the environment, checked as a whole, then frozen (contract, section 9)."""

import os
import re
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from database_url import is_on_server
from environment import Reader

MEDIA_SERVERS = ("nginx-rtmp", "srs", "none")
MOST_WEB_PROCESSES = 32
MOST_PUBLISHERS = 100_000
LOG_FORMATS = ("auto", "text", "json")
SRS_BUILT_AT = "/usr/local/srs/objs/srs"  # where its own instructions put it
SRS_HOOK_PORT = 8001
NGINX_MODULES = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")


class ConfigError(Exception):
    """Everything that is wrong with the settings, at once: one sentence per variable."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class StoreSettings:
    """The S3-compatible store that finished videos move to (docs/storage.md). Without keys boto3 looks for some."""

    bucket: str
    public_url: str  # of the bucket's root, as viewers reach it; without a slash at its end
    prefix: str  # of every object; empty, or with a slash at its end
    endpoint: str | None
    region: str | None
    access_key: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)

    @property
    def url(self) -> str:
        """What an address of a moved file begins with, as /play does for the others."""
        return f"{self.public_url}/{self.prefix}".rstrip("/")


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
    node: str = "main"  # "" for a box that is none: beside a database on a server, without a media server
    region: str = ""
    capacity: int | None = None  # publishers
    web_processes: int = 1
    log_format: str = "auto"
    user_limits: Mapping[str, int | None] = field(default_factory=dict)  # of an account without a user
    kept_for: Mapping[str, timedelta | None] = field(default_factory=dict)  # by kind of row; None is for ever
    disk_min_free: int | None = None  # MB; None: see media/disk.py
    store: StoreSettings | None = None
    tls_cert: Path | None = None  # with it the public port speaks HTTPS, and there is RTMPS
    tls_key: Path | None = None
    rtmps_port: int = 1936
    srs: str | None = None  # its program; with MEDIA_SERVER=srs only, as all of these
    srs_api_port: int = 1985
    srs_srt_port: int | None = None  # None: its build has no SRT
    srs_whip_port: int | None = None  # where WHIP's media comes in (UDP); None: its build has no WebRTC
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
    def shares_database(self) -> bool:
        """Other boxes may use the same one."""
        return is_on_server(self.database_url)

    @property
    def box_file(self) -> Path:
        """What tells this installation's folder from one that was made elsewhere."""
        return self.data_dir / "box"

    @property
    def has_rtmps(self) -> bool:
        """It is nginx that speaks TLS, and it can tell no SRS whose connection it passes on."""
        return self.tls_cert is not None and self.media_server == "nginx-rtmp"

    @property
    def rtmps_url(self) -> str | None:
        return f"rtmps://{_host_of(self.rtmp_url)}:{self.rtmps_port}/live" if self.has_rtmps else None

    @property
    def srt_url(self) -> str | None:
        if self.media_server != "srs" or self.srs_srt_port is None:
            return None
        return f"srt://{_host_of(self.rtmp_url)}:{self.srs_srt_port}"

    @property
    def whip_url(self) -> str | None:
        if self.media_server != "srs" or self.srs_whip_port is None:
            return None
        return f"{self.public_url}/rtc/v1/whip/"

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
    env = Reader(environ)
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
    database_url = env.database(
        "DATABASE_URL",
        data_dir / "livestream.db",
        env.secret("DATABASE_PASSWORD", r"[\x21-\x7e]{1,256}"),
    )
    node = env.word("NODE", "main")
    if node != "main" and not is_on_server(database_url):
        env.problems.append(f"NODE={node} needs DATABASE_URL=postgresql://..., which all nodes have.")
    if media_server == "none" and is_on_server(database_url):
        node = ""
    config = Config(
        host=host,
        port=port,
        http_port=http_port,
        rtmp_port=rtmp_port,
        hook_port=env.port("HOOK_PORT", SRS_HOOK_PORT if media_server == "srs" else None),
        media_bind=env.address("MEDIA_BIND"),
        public_url=public_url,
        rtmp_url=rtmp_url,
        trusted_proxy=env.address("TRUSTED_PROXY"),
        data_dir=data_dir,
        database_url=database_url,
        media_server=media_server,
        worker=env.choice("WORKER", ("inside", "apart"), "inside"),
        webhook_allow_private=env.switch("WEBHOOK_ALLOW_PRIVATE", True),
        ffmpeg=env.program("FFMPEG"),
        sqlite_any_version=env.switch("SQLITE_ANY_VERSION", False),
        transcode_cores=env.cores("TRANSCODE_CORES", max(0.5, usable_cores() - 1.0)),
        node=node,
        region=env.word("REGION", ""),
        capacity=env.count("CAPACITY", None, MOST_PUBLISHERS),
        web_processes=env.count("WEB_PROCESSES", 1, MOST_WEB_PROCESSES),
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
        store=_store(env),
        tls_cert=tls_cert,
        tls_key=tls_key,
        rtmps_port=env.port("RTMPS_PORT", 1936),
        srs=env.program("SRS") or srs_program(),
        srs_api_port=env.port("SRS_API_PORT", 1985),
        srs_srt_port=env.port("SRS_SRT_PORT", None),
        srs_whip_port=env.port("SRS_WHIP_PORT", None),
        token_id=env.secret("LIVE_TOKEN_ID", r"[A-Za-z0-9._-]{1,64}"),
        token_secret=env.secret("LIVE_TOKEN_SECRET", r"[\x21-\x7e]{16,256}"),
    )
    env.together("LIVE_TOKEN_ID", config.token_id, "LIVE_TOKEN_SECRET", config.token_secret)
    env.together("TLS_CERT", tls_cert, "TLS_KEY", tls_key)
    ports = {"PORT": port}
    if media_server != "none":
        ports |= {"HTTP_PORT": http_port, "RTMP_PORT": rtmp_port}
        ports |= {"RTMPS_PORT": config.rtmps_port} if config.has_rtmps else {}
    elif tls_cert:
        env.problems.append(
            "TLS_CERT needs a MEDIA_SERVER: it is nginx that speaks TLS. Without one, put a proxy in front."
        )
    if config.store and public_url.startswith("https:") and not config.store.public_url.startswith("https:"):
        env.problems.append("S3_PUBLIC_URL must be https, as PUBLIC_URL is: browsers refuse to mix them.")
    if media_server == "srs":
        ports |= {"SRS_API_PORT": config.srs_api_port}
        # Of UDP, where the numbers of the others are free.
        env.distinct({"SRS_SRT_PORT": config.srs_srt_port, "SRS_WHIP_PORT": config.srs_whip_port})
        if config.srs is None and not env.text("SRS", ""):
            env.problems.append(
                f"MEDIA_SERVER=srs needs SRS 5 or 6: it is not at {SRS_BUILT_AT}, nor is there a program srs. "
                "Install it, and set SRS to where it is."
            )
        if config.media_bind and (config.srs_srt_port or config.srs_whip_port):
            env.problems.append(
                "MEDIA_BIND cannot be kept with SRS_SRT_PORT or SRS_WHIP_PORT: SRS listens everywhere for these."
            )
    env.distinct(ports | {"HOOK_PORT": config.hook_port})
    if env.problems:
        raise ConfigError(sorted(set(env.problems)))
    return config


def _store(env: Reader) -> StoreSettings | None:
    bucket = env.matching("S3_BUCKET", r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", "the name of a bucket")
    if bucket is None:
        return None
    access_key = env.secret("S3_ACCESS_KEY", r"[\x21-\x7e]{1,512}")
    secret_key = env.secret("S3_SECRET_KEY", r"[\x21-\x7e]{1,512}")
    env.together("S3_ACCESS_KEY", access_key, "S3_SECRET_KEY", secret_key)
    if not find_spec("boto3"):
        env.problems.append(
            "S3_BUCKET needs boto3: pip install -r requirements-s3.txt (script/server does it)."
        )
    endpoint = env.text("S3_ENDPOINT", "") and env.url("S3_ENDPOINT", "", ("http", "https"))
    name = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
    prefix = env.matching("S3_PREFIX", f"{name}(/{name})*/?", "a path")
    public_url = env.url("S3_PUBLIC_URL", "", ("http", "https"))
    if re.search(r"[;{}'\"$\\]", public_url):
        env.problems.append("S3_PUBLIC_URL must not hold quotes or any of ; { } $ \\ (nginx reads it).")
    return StoreSettings(
        bucket=bucket,
        public_url=public_url,
        prefix=f"{prefix.rstrip('/')}/" if prefix else "",
        endpoint=endpoint or None,
        region=env.matching("S3_REGION", r"[A-Za-z0-9-]+", "the name of a region"),
        access_key=access_key,
        secret_key=secret_key,
    )


def usable_cores() -> int:
    """Those that this process may run on: a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0))


def default_media_server() -> str:
    """nginx-rtmp where it is installed, else none."""
    return "nginx-rtmp" if nginx_program() and nginx_rtmp_module() else "none"


def srs_program() -> str | None:
    """First where SRS builds itself: `srs` on PATH may be Debian's program of that name, which rewrites addresses."""
    return shutil.which(SRS_BUILT_AT) or shutil.which("srs")


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
