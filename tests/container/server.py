"""PostgreSQL of this machine's packages in the place of compose.yml's postgres service.

What the postgres image does at its first start is done as it does it: initdb with the password of
POSTGRES_PASSWORD_FILE, then each file of /docker-entrypoint-initdb.d with that password in the environment, on a server
that listens on its socket only; then the server, whose healthcheck is asked. Who comes by TCP needs the password.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.container.compose import mounts, seconds
from tests.waiting import until

SUPERUSER = "postgres"
INIT = "/docker-entrypoint-initdb.d/"


@dataclass
class Server:
    """One service of compose.yml, its data below `folder`."""

    service: Mapping[str, Any]
    project: Path
    folder: Path
    password: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        shutil.chown(self.folder, SUPERUSER)
        file = self.folder / "password"
        file.write_text(self.password)
        shutil.chown(file, SUPERUSER)
        initdb = (
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            f"--pwfile={file}",
            f"--username={SUPERUSER}",
        )
        self._run("initdb", "-D", self.folder / "data", *initdb, "--encoding=UTF8", "--locale=C.UTF-8")
        self._serve("listen_addresses=")
        until(
            lambda: self._run("pg_isready", f"--host={self.folder}", check=False).returncode == 0,
            30,
            "it runs",
        )
        for place, source in mounts(self.service).items():
            if place.startswith(INIT):
                text = (self.project / source).read_text()
                self._run(
                    *(
                        "psql",
                        "--set=ON_ERROR_STOP=1",
                        "--no-psqlrc",
                        "--no-password",
                        f"--host={self.folder}",
                    ),
                    *(f"--username={SUPERUSER}", f"--dbname={SUPERUSER}"),
                    text=text,
                )
        self.end()
        self._serve("listen_addresses=127.0.0.1")

    def _serve(self, *settings: str) -> None:
        options = [f"-c{each}" for each in (*settings, f"unix_socket_directories={self.folder}")]
        with open(self.folder / "server.log", "ab") as out:
            self.process = subprocess.Popen(
                self._command("postgres", "-D", self.folder / "data", *options),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd="/",
            )

    def await_healthy(self) -> None:
        check = self.service["healthcheck"]
        kind, *command = check["test"]
        assert kind == "CMD"
        tries = seconds(check["start_period"]) + check["retries"] * seconds(check["interval"])
        until(lambda: self._run(*command, check=False).returncode == 0, tries, "postgres is healthy")

    def refuses(self, user: str, password: str, database: str) -> bool:
        """By TCP."""
        address = f"host=127.0.0.1 user={user} dbname={database}"
        ran = self._run("psql", "--no-password", address, "-c", "SELECT 1", check=False, PGPASSWORD=password)
        return bool(re.search("authentication failed", ran.stderr))

    def ask(self, database: str, sql: str) -> str:
        """The superuser, in the container."""
        words = (
            "--no-psqlrc",
            "-At",
            f"--host={self.folder}",
            f"--username={SUPERUSER}",
            f"--dbname={database}",
        )
        return self._run("psql", *words, "-c", sql).stdout.strip()

    def dump(self, database: str) -> bytes:
        words = (f"--host={self.folder}", f"--username={SUPERUSER}", "--format=custom", database)
        return subprocess.run(
            self._command("pg_dump", *words), capture_output=True, check=True, cwd="/"
        ).stdout

    def restore(self, database: str, dump: bytes) -> None:
        words = (
            f"--host={self.folder}",
            f"--username={SUPERUSER}",
            "--clean",
            "--if-exists",
            "--exit-on-error",
        )
        command = self._command("pg_restore", *words, f"--dbname={database}")
        subprocess.run(command, input=dump, check=True, cwd="/")

    def end(self) -> None:
        """As the postgres image is stopped."""
        if self.process and self.process.poll() is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def _run(
        self, program: str, *arguments: object, text: str | None = None, check: bool = True, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            self._command(program, *arguments),
            env=os.environ | {"POSTGRES_PASSWORD": self.password} | environ,
            input=text or "",
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if check and ran.returncode:
            raise RuntimeError(f"{program}: {ran.stderr[-2000:]}")
        return ran

    def _command(self, program: str, *arguments: object) -> list[str]:
        other = ("--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=INT")
        return ["setpriv", *other, str(_programs() / program), *map(str, arguments)]


def _programs() -> Path:
    [*_, newest] = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return newest
