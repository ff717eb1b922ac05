"""What DATABASE_URL may be: a file of SQLite's, or a database on a server of PostgreSQL's, which machines can share."""

import re
from importlib.util import find_spec
from urllib.parse import quote

SERVER = "postgresql://"
UNCODED = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


def is_on_server(url: str) -> bool:
    return url.startswith(SERVER)


def problem_of(url: str) -> str | None:
    """What is wrong with it, as what follows the setting's name. It may hold a password, and is never told."""
    if is_on_server(url):
        if not re.fullmatch(rf"{SERVER}[^/?#\s]*/[^/?#\s]+(\?[^#\s]*)?", url):
            return "must name a database, as in postgresql://user@host/database."
        # The driver would repeat the password, or the end of it as a host that it does not find.
        if UNCODED.search(url) or url.partition("?")[0].count("@") > 1:
            return "has a % or @ in its password that has to be written as %25 or %40."
        if find_spec("psycopg") is None:
            return (
                "names a PostgreSQL database, for which psycopg is missing: "
                "pip install -r requirements-postgresql.txt (script/server does it)."
            )
        return None
    # sqlite://x.db and sqlite:/// quietly mean a database in memory, which would forget everything.
    if not re.fullmatch(r"sqlite:///[^?#]+", url) or url.endswith(":memory:"):
        return "must look like sqlite:///path/to/file.db or postgresql://user@host/database."
    return None


def with_password(url: str, password: str) -> str | None:
    """The address with the password of its user; None where it names no user, or has a password already."""
    user, at, rest = url.removeprefix(SERVER).partition("@")
    if not is_on_server(url) or not at or not user or ":" in user:
        return None
    return f"{SERVER}{user}:{quote(password, safe='')}@{rest}"
