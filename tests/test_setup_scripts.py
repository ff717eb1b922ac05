"""Set-up and start: what can be held without a network or a fresh machine. Each test is a sentence."""

import configparser
import json
import os
import re
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.box import free_ports

ROOT = Path(__file__).resolve().parent.parent
BASH_FILES = sorted(
    [ROOT / "script/server", ROOT / "script/test", ROOT / ".ci/run", *ROOT.glob("script/lib/*.sh")]
)


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def prepare(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(ROOT / ".venv/bin/python", ROOT / "script/prepare", *arguments, **environment)


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def settings(tmp_path) -> dict[str, str]:
    """An installation without a media server, on a port of its own."""
    return {"DATA_DIR": str(tmp_path / "data"), "MEDIA_SERVER": "none", "PORT": str(free_ports(1)[0])}


@pytest.fixture
def bare_machine(tmp_path) -> Path:
    """A copy of the set-up without a .venv, and a PATH (bin/) that has neither apt-get, sudo nor npm."""
    tree, tools = tmp_path / "tree", tmp_path / "tree/bin"
    shutil.copytree(ROOT / "script", tree / "script")
    tools.mkdir()
    for name in ("bash", "cat", "dirname", "env", "flock", "grep", "mktemp", "readlink", "rm", "tail"):
        (tools / name).symlink_to(shutil.which(name))
    return tree


def start_on(bare_machine: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(
        bare_machine / "bin/bash",
        bare_machine / "script/server",
        **{"PATH": str(bare_machine / "bin"), **environment},
    )


@pytest.mark.parametrize("path", BASH_FILES, ids=lambda path: path.name)
def test_every_shell_script_is_valid_bash(path):
    assert run("bash", "-n", path).stderr == ""


@pytest.mark.parametrize("name", ["script/server", "script/test", ".ci/run"])
def test_what_a_person_starts_is_executable_and_stops_at_the_first_error(name):
    path = ROOT / name
    assert path.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in path.read_text() or len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.txt")), ids=lambda path: path.name)
def test_every_requirement_is_pinned_exactly_and_names_no_place(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    loose = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)]
    assert loose in ([], ["-r requirements.txt"])


def test_the_lock_file_has_hashes_and_no_addresses():
    text = (ROOT / "web/package-lock.json").read_text()
    packages = {name: each for name, each in json.loads(text)["packages"].items() if name}
    assert "resolved" not in text
    assert "://" not in text
    assert packages
    assert [name for name, each in packages.items() if not each["integrity"].startswith("sha512-")] == []


def test_the_player_asks_for_exact_versions():
    wanted = json.loads((ROOT / "web/package.json").read_text())["dependencies"]
    assert [version for version in wanted.values() if not re.fullmatch(r"[0-9.]+", version)] == []


def test_another_program_of_srs_s_name_is_refused_before_anything_starts(tmp_path):
    program(tmp_path, "srs", "echo 'usage: srs [options] address' >&2; exit 64")
    ports = dict(
        zip(
            ("PORT", "HTTP_PORT", "RTMP_PORT", "SRS_API_PORT", "HOOK_PORT"),
            map(str, free_ports(5)),
            strict=True,
        )
    )
    own = {"DATA_DIR": str(tmp_path / "data"), "MEDIA_SERVER": "srs", "SRS": str(tmp_path / "srs")} | ports
    assert prepare("folders", **own).returncode == 0
    answer = prepare(**own)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"SRS must be SRS 5 or 6; {tmp_path}/srs says")


def test_wrong_settings_are_all_named_one_per_line(tmp_path):
    answer = prepare("folders", DATA_DIR=str(tmp_path / "data"), PORT="0", HTTP_PORT="x", MEDIA_SERVER="what")
    assert answer.returncode == 2
    assert [line.split()[0] for line in answer.stderr.splitlines()] == ["HTTP_PORT", "MEDIA_SERVER", "PORT"]
    assert answer.stdout == ""
    assert not (tmp_path / "data").exists()


def test_a_data_dir_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    answer = prepare("folders", DATA_DIR=str(tmp_path / "file/data"), MEDIA_SERVER="none")
    assert (answer.returncode, answer.stderr.split()[0]) == (2, "DATA_DIR")
    assert "Traceback" not in answer.stderr


def test_a_taken_port_is_named_before_anything_starts(settings):
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings["PORT"] = str(other.getsockname()[1])
        prepare("folders", **settings)
        answer = prepare(**settings)
    assert (answer.returncode, answer.stderr.split()[0]) == (2, "PORT")
    assert settings["PORT"] in answer.stderr


def test_what_an_srs_has_left_does_not_hide_a_port_that_nginx_is_to_have(tmp_path):
    """Nobody ends an SRS, or forgets its pid, once MEDIA_SERVER is another."""
    web, http = map(str, free_ports(2))
    own = {"DATA_DIR": str(tmp_path / "data"), "MEDIA_SERVER": "nginx-rtmp", "PORT": web, "HTTP_PORT": http}
    assert prepare("folders", **own, RTMP_PORT="1").returncode == 0
    (tmp_path / "data/run/srs").mkdir()
    (tmp_path / "data/run/srs/srs.pid").write_text("4194304")
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = prepare(**own, RTMP_PORT=port)
    assert answer.returncode == 2
    assert answer.stderr.startswith(f"RTMP_PORT cannot be {port}: nothing can listen on")


def test_the_root_token_is_shown_at_the_first_start_only(settings):
    assert prepare("folders", **settings).stdout.strip() == settings["DATA_DIR"]
    first, second = prepare(**settings), prepare(**settings)
    assert (first.returncode, first.stderr, second.returncode, second.stderr) == (0, "", 0, "")
    secret = re.search(r"LIVE_TOKEN_SECRET\s+(\S{32,})", first.stdout).group(1)
    assert re.search(rf"curl -u '?tok_\w+:{re.escape(secret)}'? .*\\\n.* \S+/v1/live\n", first.stdout)
    assert second.stdout == ""
    kept = [path for path in Path(settings["DATA_DIR"]).rglob("*") if path.is_file()]
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []


def test_a_secret_from_the_environment_is_neither_shown_nor_written(settings):
    secret = "a-secret-that-nobody-may-see"
    settings |= {"LIVE_TOKEN_ID": "me", "LIVE_TOKEN_SECRET": secret}
    prepare("folders", **settings)
    answer = prepare(**settings)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    kept = [path for path in Path(settings["DATA_DIR"]).rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []


def test_supervisor_starts_web_first_and_spares_the_transcoders_of_a_worker(settings):
    ports = dict(zip(("HTTP_PORT", "RTMP_PORT"), map(str, free_ports(2)), strict=True))
    prepare("folders", **settings)
    assert prepare(**{**settings, **ports, "MEDIA_SERVER": "nginx-rtmp"}).stderr == ""
    path = Path(settings["DATA_DIR"]) / "run/supervisord.conf"
    written = configparser.RawConfigParser()
    written.read_string(path.read_text())
    found = {name: written[f"program:{name}"] for name in ("web", "worker", "packager", "media")}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(found, key=lambda name: int(found[name]["priority"])) == [
        "web",
        "worker",
        "packager",
        "media",
    ]
    assert {name: each["killasgroup"] for name, each in found.items()} == {
        "web": "true",
        "worker": "false",
        "packager": "true",
        "media": "true",
    }
    assert all('WORKER="apart"' in each["environment"] for each in found.values())


def test_without_a_media_server_supervisor_starts_none(settings):
    prepare("folders", **settings)
    prepare(**settings)
    assert "program:media" not in (Path(settings["DATA_DIR"]) / "run/supervisord.conf").read_text()


def test_an_old_python_is_refused_with_a_sentence_that_says_what_to_do(bare_machine):
    program(bare_machine / "bin", "python3", 'case "$*" in --version) echo Python 3.9.2 ;; *) exit 1 ;; esac')
    answer = start_on(bare_machine)
    assert answer.returncode == 1
    assert "Python 3.11 or newer is needed" in answer.stderr
    assert "Python 3.9.2" in answer.stderr
    assert not (bare_machine / ".venv").exists()


def test_a_machine_that_cannot_be_set_up_is_told_what_is_missing(bare_machine):
    program(bare_machine / "bin", "python3", 'case "$*" in *ensurepip*) exit 1 ;; esac')
    answer = start_on(bare_machine)
    assert answer.returncode == 1
    assert re.search(r"^Missing: python3-venv.*Nothing can run without python3-venv", answer.stderr)


def test_half_an_installation_is_not_taken_for_a_whole_one(bare_machine):
    """pip fails: the start fails, and leaves no stamp that the next start would believe."""
    new_venv = "mkdir -p .venv/bin && cp bin/python3 .venv/bin/python"
    program(
        bare_machine / "bin",
        "python3",
        f'case "$*" in *"-m venv"*) {new_venv} ;; *"-m pip"*) echo no network; exit 1 ;; esac',
    )
    for name in ("cp", "mkdir", "sha256sum"):
        (bare_machine / "bin" / name).symlink_to(shutil.which(name))
    (bare_machine / "requirements.txt").write_text("flask==3.1.3\n")
    answer = start_on(bare_machine, MEDIA_SERVER="none")
    assert answer.returncode == 1
    assert "no network" in answer.stderr
    assert "could not be installed" in answer.stderr
    assert list((bare_machine / ".venv").glob(".installed*")) == []


def test_two_boxes_on_one_data_dir_are_refused(settings):
    data_dir = Path(prepare("folders", **settings).stdout.strip())
    with subprocess.Popen(
        ["flock", str(data_dir / "run/private"), "sh", "-c", "echo held; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        other.stdout.readline()
        answer = run(ROOT / "script/server", **settings)
        other.stdin.close()
    assert answer.returncode == 1
    assert f"already: {data_dir}" in answer.stderr


@pytest.mark.parametrize(
    ("name", "function", "wanted"),
    [
        ("postgresql", "postgresql_driver_is_set_up", {"DATABASE_URL": "postgresql://live@db.example/live"}),
        ("s3", "store_client_is_set_up", {"S3_BUCKET": "videos"}),
    ],
)
def test_without_what_its_database_or_its_store_needs_nothing_is_set_up(tmp_path, name, function, wanted):
    """A service that may not write here says so, instead of failing in the middle of an installation."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    program(tmp_path / ".venv/bin", "python", "echo cpython-311")
    wants = f"requirements-{name}.txt"
    shutil.copy(ROOT / wants, tmp_path)

    def asked(then: str = function, **environment: str) -> int:
        script = f"cd {tmp_path} && source {ROOT}/script/lib/setup.sh && {then}"
        return run("bash", "-c", script, **environment).returncode

    assert asked() == 0
    assert asked(**wanted) == 1
    asked(f'write_stamp .venv/.installed-{wants.removesuffix(".txt")} "$(python_stamp {wants})"')
    assert asked(**wanted) == 0
    assert function in (ROOT / "script/server").read_text()
