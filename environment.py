"""The environment, read by type: each setting checked by itself, what is wrong collected (contract, section 9)."""

import ipaddress
import re
import shutil
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from database_url import problem_of, with_password

SOCKET_PATH_MAX = 107  # sockaddr_un holds 108 bytes, the last of them a NUL
LONGEST_SOCKET = "run/private/ctl.4194304"  # supervisord binds it with its pid behind it


class Reader:
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

    def word(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if value and not re.fullmatch(r"[a-z0-9-]{1,32}", value):
            self.problems.append(f"{name} must be up to 32 of a-z, 0-9 and -, not {value!r}.")
            return default
        return value

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

    def count(self, name: str, default: int | None, most: int) -> int | None:
        value = self.text(name, "")
        if not value:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", value) or not 1 <= int(value) <= most:
            self.problems.append(f"{name} must be a whole number from 1 to {most}, not {value!r}.")
            return default
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

    def database(self, name: str, default: Path, password: str | None) -> str:
        value = self.text(name, f"sqlite:///{default}")
        if problem := problem_of(value):
            self.problems.append(f"{name} {problem}")
        elif password:
            complete = with_password(value, password)
            if complete is None:
                self.problems.append(
                    f"DATABASE_PASSWORD is set, so {name} must name a user without one: "
                    "postgresql://user@host/database."
                )
            return complete or value
        return value

    def program(self, name: str) -> str | None:
        value = self.text(name, "")
        if not value:
            return None
        found = shutil.which(value)
        if not found:
            self.problems.append(f"{name} must be a program that can be run; {value!r} is not.")
        return found

    def matching(self, name: str, pattern: str, what: str) -> str | None:
        value = self.text(name, "")
        if not value:
            return None
        if not re.fullmatch(pattern, value):
            self.problems.append(f"{name} must be {what}, matching {pattern}, not {value!r}.")
        return value

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
