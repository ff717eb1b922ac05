"""Settings: contract section 9. Wrong ones stop the start with a sentence that names the variable."""

import os
from pathlib import Path

import pytest

from config import ConfigError, from_env

SECRET = "s3cret-s3cret-s3cret"


def problems(**environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_env({"MEDIA_SERVER": "none"} | environ)
    return caught.value.problems


def test_nothing_set_means_the_defaults_of_the_contract(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = from_env({"MEDIA_SERVER": "none"})
    assert (config.host, config.port, config.http_port, config.rtmp_port) == ("127.0.0.1", 8000, 8080, 1935)
    assert config.data_dir == tmp_path / "var"
    assert config.database_url == f"sqlite:///{tmp_path}/var/livestream.db"
    assert config.public_url == "http://127.0.0.1:8000"
    assert config.rtmp_url == "rtmp://127.0.0.1:1935/live"
    assert (config.worker, config.web_processes) == ("inside", 1)
    assert config.webhook_allow_private is True
    assert config.transcode_cores == max(0.5, len(os.sched_getaffinity(0)) - 1)
    assert (config.hook_port, config.media_bind, config.trusted_proxy, config.ffmpeg) == (None,) * 4
    assert (config.token_id, config.token_secret) == (None, None)


def test_empty_means_not_set(tmp_path):
    names = ("HOST", "PORT", "PUBLIC_URL", "DATABASE_URL", "WORKER", "LIVE_TOKEN_ID", "LIVE_TOKEN_SECRET")
    config = from_env({"MEDIA_SERVER": "none", "DATA_DIR": str(tmp_path)} | dict.fromkeys(names, ""))
    assert (config.host, config.port, config.worker, config.token_id) == ("127.0.0.1", 8000, "inside", None)


def test_the_public_address_is_the_media_servers_when_there_is_one():
    config = from_env({"MEDIA_SERVER": "nginx-rtmp", "HTTP_PORT": "8081", "RTMP_PORT": "1936"})
    assert config.public_url.endswith(":8081")
    assert config.rtmp_url == config.public_url.replace("http:", "rtmp:").replace(":8081", ":1936/live")


@pytest.mark.parametrize("installed", [True, False])
def test_the_media_server_is_nginx_where_it_is_installed(monkeypatch, installed):
    monkeypatch.setattr("config.nginx_program", lambda: "/usr/sbin/nginx")
    monkeypatch.setattr("config.nginx_rtmp_module", lambda: "/module.so" if installed else None)
    assert from_env({}).media_server == ("nginx-rtmp" if installed else "none")


def test_every_value_is_taken_as_given(tmp_path):
    config = from_env(
        {
            "HOST": "0.0.0.0",
            "PORT": "18000",
            "HTTP_PORT": "18080",
            "RTMP_PORT": "11935",
            "HOOK_PORT": "18001",
            "MEDIA_BIND": "192.0.2.7",
            "PUBLIC_URL": "https://live.example/base/",
            "RTMP_URL": "rtmps://in.example/live",
            "TRUSTED_PROXY": "192.0.2.8",
            "DATA_DIR": str(tmp_path),
            "DATABASE_URL": "sqlite:////elsewhere/x.db",
            "MEDIA_SERVER": "nginx-rtmp",
            "WORKER": "apart",
            "WEB_PROCESSES": "3",
            "WEBHOOK_ALLOW_PRIVATE": "0",
            "FFMPEG": "/bin/sh",
            "LIVE_TOKEN_ID": "me",
            "LIVE_TOKEN_SECRET": SECRET,
        }
    )
    assert config.public_url == "https://live.example/base"
    assert config.rtmp_url == "rtmps://in.example/live"
    assert config.database_url == "sqlite:////elsewhere/x.db"
    assert (config.hook_port, config.media_bind, config.trusted_proxy) == (18001, "192.0.2.7", "192.0.2.8")
    assert (config.worker, config.webhook_allow_private, config.ffmpeg) == ("apart", False, "/bin/sh")
    assert config.web_processes == 3
    assert (config.token_id, config.token_secret) == ("me", SECRET)


WRONG = {
    "PORT": ("0", "65536", "x", "-1", "80.0", "٨٠"),
    "CAPACITY": ("0", "-1", "100001", "many"),
    "WEB_PROCESSES": ("0", "33", "x", "-1", "1.5", "٢"),
    "HTTP_PORT": ("70000",),
    "RTMP_PORT": ("rtmp",),
    "HOOK_PORT": ("0",),
    "MEDIA_BIND": ("localhost", "1.2.3", "*"),
    "TRUSTED_PROXY": ("*", "proxy.example"),
    "PUBLIC_URL": (
        "live.example",
        "ftp://x",
        "http://",
        "http://u:p@x",
        "http://x?y=1",
        "http://x#y",
        "http://x:0",
    ),
    "RTMP_URL": ("http://x/live", "rtmp://", "rtmp://x:99999/live"),
    "MEDIA_SERVER": ("srs2", "NONE", "nginx"),
    "WORKER": ("outside", "1"),
    "WEBHOOK_ALLOW_PRIVATE": ("yes", "true", "2"),
    "FFMPEG": ("/nowhere/ffmpeg", "/etc/passwd"),
    "TRANSCODE_CORES": ("-1", "all", "1,5", "1e9"),
    "DATABASE_URL": (
        *("sqlite:///", "sqlite://", "sqlite://x.db", "sqlite:x.db", "sqlite:///:memory:", "x.db"),
        *(
            "sqlite:///file.db?mode=memory",
            "sqlite:///file.db#x",
            "postgresql://x",
            "postgresql:///",
            "postgres://x/y",
            "sqlite:////:memory:",
        ),
    ),
    "DATA_DIR": ("/etc/passwd", "/tmp/with space", "/tmp/semi;colon", "/tmp/" + "d" * 100),
    "LIVE_TOKEN_ID": ("with space", "x" * 65, "colon:"),
    "LIVE_TOKEN_SECRET": ("too-short", "ä" * 20, "with a space in the middle"),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(name, value):
    both = {"LIVE_TOKEN_ID": "me", "LIVE_TOKEN_SECRET": SECRET}
    found = problems(**both | {name: value})
    assert len(found) == 1
    assert found[0].startswith(f"{name} ")
    assert found[0].endswith((".", "\\ (nginx reads it): " + value))


@pytest.mark.parametrize("password", ["se%cret", "se@cret", "se%00cret"])
def test_a_password_that_the_driver_would_repeat_is_refused_and_not_told(password):
    [told] = problems(DATABASE_URL=f"postgresql://live:{password}@db.example/live")
    assert told.startswith("DATABASE_URL has a % or @ in its password")
    assert "cret" not in told


def test_everything_that_is_wrong_is_said_at_once():
    found = problems(**{name: values[0] for name, values in WRONG.items()})
    named = {problem.partition(" ")[0] for problem in found}
    assert named == WRONG.keys()
    with pytest.raises(ConfigError) as caught:
        from_env({name: values[0] for name, values in WRONG.items()})
    assert all(name in str(caught.value) for name in WRONG)


def test_a_data_folder_may_be_as_long_as_its_sockets_allow(tmp_path):
    room = 107 - len("/run/private/ctl.4194304")
    longest = "/tmp/".ljust(room, "d")
    assert from_env({"MEDIA_SERVER": "none", "DATA_DIR": longest}).data_dir == Path(longest)
    assert problems(DATA_DIR=longest + "d")[0].startswith("DATA_DIR is too long")


def test_one_port_for_two_listeners_is_refused():
    found = problems(MEDIA_SERVER="nginx-rtmp", PORT="8080", HTTP_PORT="8080", RTMP_PORT="8080")
    assert found == [
        "HTTP_PORT and PORT are the same port, 8080.",
        "RTMP_PORT and HTTP_PORT are the same port, 8080.",
    ]
    assert problems(PORT="8001", HOOK_PORT="8001") == ["HOOK_PORT and PORT are the same port, 8001."]


def test_a_hook_port_that_the_media_server_listens_on_is_refused():
    found = problems(MEDIA_SERVER="nginx-rtmp", HOOK_PORT="8080")
    assert found == ["HOOK_PORT and HTTP_PORT are the same port, 8080."]


def test_the_two_halves_of_the_root_token_go_together():
    assert problems(LIVE_TOKEN_ID="me") == [
        "LIVE_TOKEN_ID and LIVE_TOKEN_SECRET go together; LIVE_TOKEN_SECRET is missing."
    ]
    assert problems(LIVE_TOKEN_SECRET=SECRET) == [
        "LIVE_TOKEN_ID and LIVE_TOKEN_SECRET go together; LIVE_TOKEN_ID is missing."
    ]


def test_a_secret_may_come_from_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    config = from_env({"MEDIA_SERVER": "none", "LIVE_TOKEN_ID": "me", "LIVE_TOKEN_SECRET_FILE": str(file)})
    assert config.token_secret == SECRET


def test_a_secret_and_its_file_at_once_are_refused(tmp_path):
    file = tmp_path / "secret"
    file.write_text(SECRET)
    found = problems(LIVE_TOKEN_ID="me", LIVE_TOKEN_SECRET=SECRET, LIVE_TOKEN_SECRET_FILE=str(file))
    assert found == ["LIVE_TOKEN_SECRET and LIVE_TOKEN_SECRET_FILE are both set; keep one."]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00" * 8])
def test_a_secret_file_that_cannot_be_read_is_named(tmp_path, content):
    file = tmp_path / "secret"
    if content:
        file.write_bytes(content)
    found = problems(LIVE_TOKEN_ID="me", LIVE_TOKEN_SECRET_FILE=str(file))
    assert any(problem.startswith("LIVE_TOKEN_SECRET_FILE cannot be read") for problem in found)


def test_the_secret_is_in_no_text_of_the_configuration(tmp_path):
    config = from_env({"MEDIA_SERVER": "none", "LIVE_TOKEN_ID": "me", "LIVE_TOKEN_SECRET": SECRET})
    assert SECRET not in repr(config)
    assert SECRET not in str(config)


def test_a_wrong_secret_is_not_shown_in_what_is_said_about_it():
    wrong = "a wrong secret with spaces"
    assert wrong not in " ".join(problems(LIVE_TOKEN_ID="me", LIVE_TOKEN_SECRET=wrong))


def test_a_configuration_does_not_change():
    with pytest.raises(AttributeError):
        from_env({"MEDIA_SERVER": "none"}).port = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("HOST", "a b"), ("HOST", "x;y"), ("PUBLIC_URL", "http://h ost"), ("PUBLIC_URL", "http://höst")],
)
def test_an_address_that_would_break_a_configuration_or_a_header_is_refused(name, value):
    [problem] = problems(**{name: value})
    assert problem.startswith(name)


def test_every_address_may_be_listened_on_without_a_media_server():
    assert from_env({"MEDIA_SERVER": "none", "HOST": "::"}).public_url == "http://[::]:8000"


def test_the_databases_password_may_be_apart_from_its_address(tmp_path, driver):
    file = tmp_path / "password"
    file.write_text("p@ss/w%rd\n")
    url = "postgresql://live@db.example/live?sslmode=require"
    config = from_env({"MEDIA_SERVER": "none", "DATABASE_URL": url, "DATABASE_PASSWORD_FILE": str(file)})
    assert config.database_url == "postgresql://live:p%40ss%2Fw%25rd@db.example/live?sslmode=require"


@pytest.mark.parametrize(
    "url",
    ["", "postgresql:///live", "postgresql://db.example/live", "postgresql://live:other@db.example/live"],
)
def test_a_password_of_nobody_is_refused_and_not_told(url, driver):
    [told] = problems(MEDIA_SERVER="none", DATABASE_URL=url, DATABASE_PASSWORD=SECRET)
    assert told.startswith("DATABASE_PASSWORD is set, so DATABASE_URL must name a user without one")
    assert SECRET not in told


STORE = {"S3_BUCKET": "videos", "S3_PUBLIC_URL": "https://videos.example/"}


def test_a_store_has_a_prefix_that_ends_with_a_slash_and_keys_from_files(tmp_path):
    assert from_env({"MEDIA_SERVER": "none"}).store is None
    (tmp_path / "key").write_text(f"{SECRET}\n")
    given = {"S3_PREFIX": "live/one", "S3_ACCESS_KEY": "AKIA", "S3_SECRET_KEY_FILE": str(tmp_path / "key")}
    config = from_env({"MEDIA_SERVER": "none"} | STORE | given)
    assert (config.store.prefix, config.store.secret_key) == ("live/one/", SECRET)
    assert config.store.url == "https://videos.example/live/one"
    assert (config.store.endpoint, config.store.region) == (None, None)
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("S3_BUCKET", "a b"),
        ("S3_PREFIX", "../x"),
        ("S3_PREFIX", "x" * 60 + "!"),
        ("S3_ENDPOINT", "minio:9000"),
        ("S3_PUBLIC_URL", ""),
        ("S3_PUBLIC_URL", "https://videos.example/$channel;"),
        ("S3_ACCESS_KEY", "AKIA"),
        ("PUBLIC_URL", "https://live.example"),
    ],
)
def test_a_store_that_could_not_work_stops_the_start(name, value):
    changed = {"S3_PUBLIC_URL": "http://videos.example"} if name == "PUBLIC_URL" else {}
    [problem] = problems(**STORE | changed | {name: value})
    assert problem.startswith("S3_PUBLIC_URL" if changed else name)


def test_a_store_without_its_client_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("config.find_spec", lambda _: None)
    assert problems(**STORE) == [
        "S3_BUCKET needs boto3: pip install -r requirements-s3.txt (script/server does it)."
    ]
