"""The API process: create_app(config) wires, main() serves."""

import logging
import os
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from socket import socket
from typing import NamedTuple

import click
import peewee
from flask import Flask, Response, g, request

import audit
import commands
import errors
import listeners
import metrics
import packager
import processes
import worker
from auth import FailedLogins, ensure_root_token
from config import Config, ConfigError, from_env
from db import database, utcnow
from live.lifecycle import Lifecycle
from live.limits import Limits
from live.links import of_box
from live.signing import Signer
from logs import request_id, set_up_logging
from media.storage import hook_secret, playback_key, session_key, share_socket
from routes import (
    analytics,
    console,
    docs,
    elsewhere,
    event,
    hooks,
    live,
    pages,
    search,
    service,
    statistics,
    studio,
    token,
    user,
    video,
    webhook,
)
from routes import audit as audit_log
from routes.console.session import Sessions
from routes.context import Box
from together import counts
from upkeep import running
from upkeep.opening import PROBLEMS, opened
from wake import Bell

log = logging.getLogger("web")

MIB = 1024 * 1024
WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def create_app(config: Config | None = None) -> Flask:
    """The public API, the pages and nothing that runs by itself."""
    config = config or _settings_of_a_command()
    app = _base(config)
    app.register_blueprint(service.bp)
    app.register_blueprint(live.bp, url_prefix="/v1/live")
    app.register_blueprint(live.bp, url_prefix="/livestream/live", name="published")
    app.register_blueprint(studio.api, url_prefix="/v1/live")
    app.register_blueprint(studio.api, url_prefix="/livestream/live", name="published_studio")
    app.register_blueprint(webhook.bp, url_prefix="/v1/webhook")
    app.register_blueprint(event.bp, url_prefix="/v1/event")
    app.register_blueprint(user.bp, url_prefix="/v1/user")
    app.register_blueprint(token.bp, url_prefix="/v1/token")
    app.register_blueprint(audit_log.bp, url_prefix="/v1/audit")
    app.register_blueprint(statistics.bp, url_prefix="/v1/statistics")
    app.register_blueprint(analytics.bp, url_prefix="/v1/analytics")
    app.register_blueprint(search.bp, url_prefix="/v1/search")
    app.register_blueprint(video.bp, url_prefix="/v1/video")
    app.register_blueprint(pages.bp)
    app.register_blueprint(elsewhere.bp)
    app.register_blueprint(studio.bp)
    app.register_blueprint(docs.bp)
    app.extensions["failed_logins"] = FailedLogins(config.web_processes)
    app.extensions["sessions"] = Sessions(partial(session_key, config), config.web_processes)
    app.register_blueprint(console.front)
    app.register_blueprint(console.bp)
    for group in commands.GROUPS:
        app.cli.add_command(group)
    return app


def create_hook_app(config: Config) -> Flask:
    """What media servers call, on a listener of its own: slow API clients cannot hold up a publisher."""
    app = _base(config)
    app.config["HOOK_SECRET"] = hook_secret(config)
    app.register_blueprint(hooks.bp)
    return app


def _base(config: Config) -> Flask:
    app = Flask("livestream", template_folder="web/templates", static_folder="web/static", root_path=_here())
    app.config.update(LIVESTREAM=config, MAX_CONTENT_LENGTH=MIB, MAX_FORM_MEMORY_SIZE=MIB)
    app.json.sort_keys = False
    app.url_map.merge_slashes = False
    links = of_box(config)
    limits = Limits(config.user_limits)
    signer = Signer(partial(playback_key, config))
    lifecycle = Lifecycle(links, limits, Bell(config.wake_socket).ring)
    app.extensions["livestream"] = Box(lifecycle, links, limits, signer)
    app.before_request(_begin)
    app.after_request(_finish)
    app.teardown_request(_close)
    errors.register(app)
    return app


def _here() -> str:
    return os.path.dirname(os.path.abspath(__file__))


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if WELL_FORMED_ID.fullmatch(given) else secrets.token_hex(8)
    g.began = time.monotonic()
    request_id.set(g.request_id)
    if request.endpoint != "static":
        database.connect(reuse_if_open=True)  # this thread's, for as long as it lives: opening takes 0.4 ms


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    took = time.monotonic() - g.get("began", time.monotonic())
    metrics.count(
        request.method, request.url_rule.rule if request.url_rule else "none", response.status_code, took
    )
    # A hook's path holds the installation's secret, a studio's page the secret of its link.
    top = request.path.lstrip("/").partition("/")[0]
    path = f"/{top}/..." if top in ("hooks", "studio") else request.path
    log.info(
        *("%s %s %d %.0f ms", request.method, path, response.status_code, took * 1000),
        extra={
            "method": request.method,
            "path": path,
            "status": response.status_code,
            "ms": round(took * 1000),
        },
    )
    return response


def _close(error: BaseException | None) -> None:
    audit.acting.set(None)  # this thread goes on with somebody else's request


class Sockets(NamedTuple):
    """Where web listens: the API; hooks on the Unix socket, and on HOOK_PORT for media servers that cannot use one."""

    public: list[socket]
    hooks: list[list[socket]]

    @property
    def all(self) -> list[socket]:
        return self.public + [each for found in self.hooks for each in found]


def _open_sockets(config: Config) -> Sockets:
    made = Sockets(listeners.at_address(config.host, config.port), [listeners.at_path(config.hook_socket)])
    share_socket(config.hook_socket)
    if config.hook_port:
        made.hooks.append(listeners.at_address("127.0.0.1", config.hook_port))
    return made


def _settings_of_a_command() -> Config:
    """For `flask --app app`; each command opens the database by itself, or leaves it closed."""
    try:
        return from_env(os.environ)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


def _show_root_token(config: Config) -> None:
    with database.connection_context():
        made = ensure_root_token(config, utcnow())
    if made:
        print(
            f"Root token, shown once:\n  LIVE_TOKEN_ID={made[0]}\n  LIVE_TOKEN_SECRET={made[1]}", flush=True
        )


def _run_inside(inside: worker.Worker) -> None:
    """The worker as a thread. If it fails, so does the process: an API whose events go nowhere would mislead."""
    try:
        inside.run()
    except Exception:
        log.exception("the worker has failed; stopping")
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    with ExitStack() as at_work:
        try:
            config = from_env(os.environ)
            set_up_logging("web", config.log_format)
            check_processes(config)
            # Under script/server somebody has looked through the database already, and hooks wait for us.
            at_work.enter_context(opened(config, utcnow(), thorough=config.worker == "inside"))
            at_work.enter_context(running.only_web(config))
        except (ConfigError, *PROBLEMS) as error:
            sys.exit(str(error))
        except (OSError, peewee.DatabaseError) as error:
            sys.exit(f"DATA_DIR or DATABASE_URL cannot be used: {error}.")
        _serve_all(config)


def check_processes(config: Config) -> None:
    """Here and not in config.py: commands read the same settings without those that script/server gives its parts."""
    if config.web_processes > 1 and config.worker == "inside":
        raise ConfigError(
            ["WEB_PROCESSES needs WORKER=apart (script/server sets it): each would have a worker inside."]
        )


def _serve_all(config: Config) -> None:
    _show_root_token(config)
    listeners.allow_open_files()
    counts.divide(config.web_processes)
    app, hook_app = create_app(config), create_hook_app(config)
    try:
        sockets = _open_sockets(config)
    except OSError as error:
        sys.exit(f"HOST, PORT or HOOK_PORT cannot be used: {error}.")
    serve = partial(_serve, config, app, hook_app, sockets)
    log.info("listening on http://%s:%d", config.host, config.port, extra={"event": "part_started"})
    if config.web_processes > 1:
        processes.keep(config.web_processes, serve, sockets.all)
    else:
        serve()
    log.info("stopped", extra={"event": "part_stopped"})


def _serve(config: Config, app: Flask, hook_app: Flask, sockets: Sockets) -> None:
    """What one process does, until it is asked to stop."""
    public = listeners.public(app, config, sockets.public)
    behind = [listeners.hooks(hook_app, each) for each in sockets.hooks]
    _on_signals(lambda: [each.stop() for each in (public, *behind)])
    threads = [threading.Thread(target=each.run, name="hooks", daemon=True) for each in behind]
    for thread in threads:
        thread.start()
    inside = worker.build(config) if config.worker == "inside" else None
    if inside:
        threading.Thread(target=_run_inside, args=(inside,), name="worker").start()
        if config.media_server != "none":
            threading.Thread(target=packager.build(config).run, name="packager", daemon=True).start()
    public.run()
    for thread in threads:
        thread.join(listeners.FINISH_S)
    if inside:
        inside.stop()


def _on_signals(stop: Callable[[], object]) -> None:
    """SIGTERM and Ctrl-C end in peace what is in flight; whoever asks twice does not want to wait."""

    def on_signal(number: int, frame: object) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, on_signal)
    processes.listen_to_signals()


if __name__ == "__main__":
    main()
