"""Dockerfile, .dockerignore and compose.yml hold together with the box. script/container-test carries them out."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from config import from_env
from tests.container.compose import VARIABLE, load, mounts, seconds
from tests.container.dockerfile import context, environment, is_left_out, stages
from tests.documents import DOCS, blocks_of
from tests.serving import served
from tests.test_structure import environment_variables
from upkeep.server import FIRST

ROOT = Path(__file__).resolve().parent.parent
STAGES = stages((ROOT / "Dockerfile").read_text())
FINAL = STAGES[-1]
ENVIRONMENT = environment(FINAL.only("ENV"))
HEALTHY = [ROOT / "script/container", "healthy"]
DOCUMENT = DOCS / "container.md"
# Beyond what script/server installs: Debian's image has no authorities that receivers of webhooks could be known by.
ONLY_IN_THE_IMAGE = {"ca-certificates"}
DRIVER = "requirements-postgresql.txt"


@pytest.fixture
def services():
    return load(ROOT / "compose.yml", {"PUBLIC_URL": "https://live.example"})["services"]


@pytest.fixture
def box(services):
    return services["livestream"]


def test_the_image_has_the_packages_that_script_server_would_install():
    set_up = re.search(r"^set_up_system\(\).*?^}", (ROOT / "script/server").read_text(), re.M | re.S)[0]
    wanted = " ".join(re.findall(r"wanted\+?=\(([^)]+)\)", set_up)).split()
    [installed] = re.findall(
        r"apt-get install ((?:[\w-]+ ?)+)", STAGES[0].all("RUN")[0].rest.replace("  ", " ")
    )
    named = {each for each in installed.split() if not each.startswith("-")}
    assert named == {*wanted, *ONLY_IN_THE_IMAGE}


def test_what_the_images_begin_with_is_pinned(services):
    ours = {stage.name for stage in STAGES}
    begins = {stage.origin for stage in STAGES} - ours
    assert len(begins) == 1
    for image in (*begins, services["postgres"]["image"]):
        assert re.fullmatch(r"[a-z]+:\d+\.\d+-[a-z]+", image)


def test_the_image_is_set_up_by_script_server_with_the_driver_of_postgresql():
    [first, second] = [step.rest for step in STAGES[1].all("RUN")]
    assert re.search(r"DATABASE_URL=postgresql://\S+ script/server --set-up-only", first)
    assert second.startswith("script/server --set-up-only")
    assert DRIVER in STAGES[1].all("COPY")[0].rest


def test_the_image_runs_as_nobody_special_and_holds_no_secret():
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", FINAL.only("USER").rest)
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"\w*(?:SECRET|PASSWORD|TOKEN|KEY)\w*", text) == []


def test_the_volume_is_data_dir_and_belongs_to_the_user():
    assert FINAL.only("VOLUME").rest == ENVIRONMENT["DATA_DIR"]
    make = FINAL.all("RUN")[0].rest
    user = FINAL.only("USER").rest.partition(":")[0]
    assert f"useradd --uid {user} " in make
    assert re.search(rf"install --directory .*--owner=livestream .*{ENVIRONMENT['DATA_DIR']}", make)


def test_the_ports_are_the_defaults_of_the_settings(box):
    config = from_env({"MEDIA_SERVER": "none"})
    exposed = set(map(int, FINAL.only("EXPOSE").rest.split()))
    assert exposed == {config.http_port, config.rtmp_port, config.rtmps_port}
    assert {int(each.split(":")[1]) for each in box["ports"]} == {config.http_port, config.rtmp_port}
    assert f"PORT:-{config.port}" in HEALTHY[0].read_text()


def test_the_image_starts_and_is_asked_without_a_shell_in_between():
    started, asked = FINAL.only("CMD").command(), FINAL.only("HEALTHCHECK").command()
    assert [ROOT / started[0], "healthy"] == [ROOT / asked[0], asked[1]] == HEALTHY
    assert os.access(HEALTHY[0], os.X_OK)
    assert FINAL.only("STOPSIGNAL").rest == "SIGTERM"


def test_without_an_address_for_viewers_the_image_says_what_is_missing():
    ran = ran_with({}, HEALTHY[0])
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("PUBLIC_URL is missing")


def test_the_image_is_healthy_when_every_part_is(config, hooks):
    import worker

    worker.build(config)._pulse()
    with served(replace(config, media_server="none")) as port:
        ran = ran_with({"PORT": str(port)}, *HEALTHY)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_the_image_is_not_healthy_when_a_part_is_missing_and_says_which(config):
    with served(config) as port:
        ran = ran_with({"PORT": str(port)}, *HEALTHY)
        assert ran.returncode == 1
        assert "worker" in ran.stdout


def test_the_image_is_not_healthy_when_nothing_answers():
    assert ran_with({"PORT": "1"}, *HEALTHY).returncode != 0


def ran_with(environ: dict[str, str], *command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(each) for each in command],
        env={"PATH": os.environ["PATH"]} | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".venv/bin/python", ".env", ".dockerignore", "live/__pycache__/x.pyc", "x.pyc"),
        *("var/livestream.db", "var/keys/webhook.key", "secrets/root_token", "tls/privkey.pem"),
        *(
            "some/where/privkey.pem",
            "livestream.env",
            "web/node_modules/x/index.js",
            "web/static/vendor/x.js",
        ),
        *("tests/box.py", "docs/api.md", "compose.yml", "compose.override.yml"),
    ],
)
def test_a_build_does_not_get_to_see(path, tmp_path):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("")
    (tmp_path / "app.py").write_text("")
    (tmp_path / ".dockerignore").write_text((ROOT / ".dockerignore").read_text())
    assert context(tmp_path) == [Path("app.py")]


def test_a_build_gets_all_that_the_box_is_made_of():
    patterns = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    left_out = {
        path.parts[0]
        for path in map(Path, listed.splitlines())
        if any(is_left_out(each, patterns) for each in (path, *path.parents))
    }
    hidden = {".ci", ".gitignore", ".dockerignore"}
    assert left_out == {*hidden, "docs", "tests", "Dockerfile", "compose.yml"}


def test_what_is_set_are_settings_and_they_are_good_ones(box, tmp_path, monkeypatch, driver):
    monkeypatch.setattr("config.nginx_program", lambda: "/usr/sbin/nginx")
    names = environment_variables()
    theirs = ENVIRONMENT | box["environment"]
    assert {name.removesuffix("_FILE") for name in theirs} - {"PATH", "FLASK_APP"} <= names
    for name in [each for each in theirs if each.endswith("_FILE")]:
        theirs[name] = tmp_path / Path(theirs[name]).name
        theirs[name].write_text("a-secret-of-24-characters\n")
    config = from_env({name: str(value) for name, value in theirs.items()})
    assert config.database_url == "postgresql://livestream:a-secret-of-24-characters@postgres/livestream"
    assert (config.token_id, config.token_secret) == ("root", "a-secret-of-24-characters")
    assert config.rtmp_url == "rtmp://live.example:1935/live"


def test_compose_asks_for_the_address_of_viewers():
    with pytest.raises(ValueError, match="PUBLIC_URL is missing a value: is what viewers reach"):
        load(ROOT / "compose.yml", {})


def test_compose_mounts_what_is_there_and_gives_each_service_its_volume(services):
    told = load(ROOT / "compose.yml", {"PUBLIC_URL": "https://live.example"})
    kept = [source for service in services.values() for source in mounts(service).values()]
    assert [each for each in kept if each.startswith("./") and not (ROOT / each).exists()] == []
    assert {each for each in kept if not each.startswith("./")} == told["volumes"].keys()
    assert mounts(services["livestream"]) == {ENVIRONMENT["DATA_DIR"]: "livestream"}


def test_secrets_are_files_that_neither_git_nor_a_build_sees(services):
    told = load(ROOT / "compose.yml", {"PUBLIC_URL": "https://live.example"})
    used = {name for service in services.values() for name in service["secrets"]}
    assert used == told["secrets"].keys()
    for secret in told["secrets"].values():
        ran = subprocess.run(["git", "check-ignore", "--quiet", secret["file"]], cwd=ROOT)
        assert ran.returncode == 0, secret
    shown = (ROOT / "compose.yml").read_text()
    assert {found.group(1) for found in VARIABLE.finditer(shown)} == {"PUBLIC_URL"}
    given = {value for service in services.values() for value in service["environment"].values()}
    assert {name: f"/run/secrets/{name}" in given for name in used} == dict.fromkeys(used, True)


def test_the_box_waits_for_the_database_and_is_given_time_to_stop(services):
    box = services["livestream"]
    assert box["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    unit = (ROOT / "ops/livestream.service").read_text()
    assert seconds(box["stop_grace_period"]) == int(re.search(r"TimeoutStopSec=(\d+)", unit)[1])
    assert box["ulimits"] == {"nofile": int(re.search(r"LimitNOFILE=(\d+)", unit)[1])}


def test_the_box_writes_to_its_volume_only_and_cannot_become_more(box):
    assert (box["read_only"], box["tmpfs"], box["cap_drop"]) == (True, ["/tmp"], ["ALL"])
    assert box["security_opt"] == ["no-new-privileges:true"]


def test_the_database_is_made_with_what_an_upgrade_would_miss(box):
    text = (ROOT / "ops/postgresql.sql").read_text()
    [[user, name]] = re.findall(r"^postgresql://(\w+)@postgres/(\w+)$", box["environment"]["DATABASE_URL"])
    assert FIRST in text
    assert f"CREATE ROLE {user} LOGIN " in text
    assert f"CREATE DATABASE {name} OWNER {user} ENCODING 'UTF8'" in text


def test_the_document_sets_what_there_is():
    names = environment_variables()
    found = blocks_of(DOCUMENT.read_text())
    shell = " ".join(each.text for each in found if each.language == "sh")
    given = set(re.findall(r"(?:-e |--env |^)([A-Z_]+)=", shell, re.MULTILINE))
    assert "PUBLIC_URL" in given
    for each in (each for each in found if each.language == "yaml"):
        told = yaml.safe_load(each.text)["services"]
        assert told.keys() <= {"livestream", "postgres", "prometheus"}
        given |= set(told["livestream"].get("environment", {}))
    assert {name.removesuffix("_FILE") for name in given} - names == set()
    assert "--stop-timeout 170" in shell
    assert f":{ENVIRONMENT['DATA_DIR']} " in shell
