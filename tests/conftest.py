"""Fixtures that every test may use. Real parts: a database file, the real app, the real hook app."""

import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode
from zlib import crc32

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app, create_hook_app
from config import Config, from_env
from db import bind, database, migrate
from live.lifecycle import Lifecycle
from media.storage import hook_secret, make_folders
from tests import postgres
from tests.box import Box, running_box, short_folder
from tests.interrupts import hear_ctrl_c
from tests.person import Person

ROOT_ID, ROOT_SECRET = "root", "a-root-secret-for-tests"
DIFFERING = {
    *("test_postgresql", "test_side_by_side", "test_scale_postgresql", "test_moving", "test_delivery_queue"),
    *("test_search", "test_event", "test_nodes", "test_nodes_files", "test_nodes_box"),
}
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


def installation(folder: Path, **settings: str) -> Config:
    """An installation in a folder of its own, without a media server."""
    if postgres.WANTED and "DATABASE_URL" not in settings:
        settings["DATABASE_URL"] = postgres.url_for(folder)
    return from_env(
        settings
        | {
            "DATA_DIR": str(folder / "data"),
            "MEDIA_SERVER": "none",
            "PUBLIC_URL": "http://live.example",
            "LIVE_TOKEN_ID": ROOT_ID,
            "LIVE_TOKEN_SECRET": ROOT_SECRET,
        }
    )


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are read as if PostgreSQL's driver were there, which tests on SQLite go without; nothing connects."""
    monkeypatch.setattr("database_url.find_spec", lambda _: True)


def prepared_app(config: Config) -> Flask:
    """The real app on a real database file."""
    make_folders(config)
    bind(config.database_url, config.sqlite_any_version)
    migrate()
    return create_app(config)


@pytest.fixture
def config() -> Iterator[Config]:
    with short_folder() as folder:
        yield installation(folder)


@pytest.fixture
def app(config) -> Flask:
    return prepared_app(config)


@pytest.fixture
def db(app) -> Iterator[None]:
    """A connection for a test that asks the models or the lifecycle itself."""
    with database.connection_context():
        yield


@pytest.fixture
def lifecycle(app, db) -> Lifecycle:
    return app.extensions["livestream"].lifecycle


class RootClient(FlaskClient):
    """A test client that sends the root token unless told otherwise (headers={"Authorization": ...})."""

    def open(self, *args, **kwargs) -> TestResponse:
        root = basic(ROOT_ID, ROOT_SECRET)
        kwargs["headers"] = {"Authorization": root} | dict(kwargs.get("headers") or {})
        return super().open(*args, **kwargs)


@pytest.fixture
def client(app) -> RootClient:
    app.test_client_class = RootClient
    return app.test_client()


@pytest.fixture
def anonymous(app) -> FlaskClient:
    return FlaskClient(app)


@pytest.fixture
def holder(client) -> Callable[..., FlaskClient]:
    """Makes clients that send a token of their own: holder(role="app", accountId="acme")."""

    def made(**fields) -> FlaskClient:
        token = client.post("/v1/token", json={"role": "app"} | fields).json["data"]
        return HolderClient(client.application, token)

    return made


class HolderClient(FlaskClient):
    """A test client that sends one token."""

    def __init__(self, app: Flask, token: dict) -> None:
        super().__init__(app, app.response_class)
        self.token = token
        self.authorization = basic(token["id"], token["secret"])

    def open(self, *args, **kwargs) -> TestResponse:
        kwargs["headers"] = {"Authorization": self.authorization} | dict(kwargs.get("headers") or {})
        return super().open(*args, **kwargs)


@pytest.fixture
def person(app) -> Person:
    """Somebody who is signed in to the console with the root token."""
    someone = Person(app)
    assert someone.sign_in(ROOT_ID, ROOT_SECRET).status_code == 303
    return someone


@pytest.fixture
def visitor(app, client) -> Callable[..., Person]:
    """Makes people who are signed in with a token of their own: visitor(role="read", accountId="acme")."""

    def made(**fields) -> Person:
        token = client.post("/v1/token", json={"role": "app"} | fields).json["data"]
        someone = Person(app)
        someone.token = token
        assert someone.sign_in(token["id"], token["secret"]).status_code == 303
        return someone

    return made


def basic(token_id: str, secret: str) -> str:
    """The header of HTTP Basic."""
    return "Basic " + b64encode(f"{token_id}:{secret}".encode()).decode()


@dataclass
class NginxHooks:
    """Calls the hooks as nginx-rtmp does: its own fields first, then the publisher's query as it came."""

    client: FlaskClient
    path: str

    def publish(
        self, token: str, clientid: int = 1, *, query: str = "", instance: str = "aa"
    ) -> TestResponse:
        return self.call("publish", token, clientid, query=query, instance=instance)

    def publish_done(self, token: str, clientid: int = 1, *, instance: str = "aa") -> TestResponse:
        return self.call("publish_done", token, clientid, instance=instance)

    def call(
        self, call: str, name: str, clientid: int, *, query: str = "", instance: str = "aa"
    ) -> TestResponse:
        fields = {
            "app": "live",
            "flashver": "FMLE/3.0 (compatible; Lavf59.27",
            "swfurl": "",
            "tcurl": "rtmp://127.0.0.1:1935/live",
            "pageurl": "",
            "addr": "127.0.0.1",
            "clientid": clientid,
            "call": call,
            "name": name,
        }
        body = urlencode(fields) + (f"&{query}" if query else "")
        return self.client.post(
            f"{self.path}?instance={instance}", data=body, content_type="application/x-www-form-urlencoded"
        )


@pytest.fixture
def hooks(config, app) -> NginxHooks:
    return NginxHooks(create_hook_app(config).test_client(), f"/hooks/nginx-rtmp/{hook_secret(config)}")


@pytest.fixture
def channel(client) -> dict:
    """A channel just made: the answer to create."""
    return client.post("/v1/live", json={"name": "A channel"}).json["data"]


@pytest.fixture(scope="session")
def box() -> Iterator[Box]:
    """The whole box, really running; shared by all tests of one process."""
    with short_folder() as folder, running_box(folder) as running:
        yield running


@pytest.fixture
def own_box() -> Iterator[Box]:
    """A box for one test alone, because that test ends it."""
    with short_folder() as folder, running_box(folder) as running:
        yield running


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A module's tests of the running box stay in one process: two of its boxes at once are too much for two cores."""
    if (half := config.getoption("half")) is not None:
        others = [item for item in items if not in_half(item, half)]
        items[:] = [item for item in items if in_half(item, half)]
        config.hook.pytest_deselected(items=others)
    for item in items:
        if item.get_closest_marker("box"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        if postgres.WANTED and item.get_closest_marker("sqlite"):
            item.add_marker(pytest.mark.skip(reason="about SQLite's file"))


def in_half(item: pytest.Item, half: int) -> bool:
    """By its name, so that it is the same for every process. What differs between the databases is in both."""
    return item.path.stem in DIFFERING or crc32(item.nodeid.encode()) % 2 == half


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        hear_ctrl_c()
    # Threads keep their connections for as long as they live, and the next test binds another database.
    config.addinivalue_line("filterwarnings", "ignore:<psycopg.Connection object:ResourceWarning")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--half", type=int, choices=(0, 1), help="every other test, and those of the databases' differences"
    )
    parser.addoption("--races", type=int, default=50, help="how often each race is run")
    parser.addoption(
        "--fuzz", type=int, metavar="N", help="schemathesis: N examples per call, with a new seed"
    )


@pytest.fixture
def races(request) -> int:
    return request.config.getoption("races")
