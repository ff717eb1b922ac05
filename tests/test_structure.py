"""The arrows of the design, held: who imports whom, who reads the environment, who assigns a status."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.routing import Rule

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ROOT / "docs/settings.md"
ARCHITECTURE = ROOT / "docs/architecture.md"
LONGEST_FILE = 400

# May import: design.md, "Where code lives". A package stands for all of its files.
ARROWS = {
    "config": {"database_url", "environment"},
    "environment": {"database_url"},
    "release": set(),
    "wake": set(),
    "logs": set(),
    "wire": set(),
    "database_url": set(),
    "db": {"database_url", "db_sqlite", "db_postgresql"},
    "db_postgresql": set(),
    "db_sqlite": set(),
    "migrations": set(),
    "schemas": {"wire"},
    "schemas_admin": {"schemas", "schemas_webhook", "wire"},
    "metrics": {"together", "live", "config", "database_url", "db", "db_sqlite", "media", "models_chores"},
    "commands": {
        *("auth", "config", "db", "delivery", "errors", "live", "media", "models", "upkeep", "wire"),
        *("schemas", "schemas_admin", "schemas_webhook", "doctor", "db_sqlite", "models_access"),
        "models_nodes",
    },
    "demo": {"auth", "config", "db", "media", "upkeep"},
    "doctor": {
        *("config", "database_url", "db", "db_sqlite", "delivery", "live", "media", "models", "release"),
        *("upkeep", "wire"),
    },
    "errors": {"wire"},
    "listeners": {"config"},
    "processes": {"together"},
    "together": set(),
    "row": {"db"},
    "models": {"db", "row"},
    "models_access": {"db", "row"},
    "models_analytics": {"db", "models", "row"},
    "models_search": {"db", "models", "row"},
    "schemas_analytics": {"schemas", "wire"},
    "models_studio": {"db", "models", "row"},
    "models_chores": {"db", "row"},
    "models_nodes": {"db", "row"},
    "schemas_search": {"schemas", "wire"},
    "schemas_studio": {"wire"},
    "schemas_webhook": {"schemas", "wire"},
    "openapi": {"wire", "schemas", "schemas_webhook", "errors", "release"},
    "audit": {"models_access"},
    "auth": {"together", "config", "db", "errors", "models", "models_access", "audit"},
    "live": {
        *("models", "models_chores", "models_search", "schemas", "schemas_search", "wire", "errors", "db"),
        *("audit", "config", "release", "models_access", "models_nodes", "models_studio", "together"),
    },
    "delivery": {"models", "db", "errors", "config", "wire", "release", "audit"},
    "media": {"config"},
    "upkeep": {
        *("config", "database_url", "db", "db_sqlite", "delivery", "media", "release", "wire"),
    },
    "routes": {
        *("live", "delivery", "schemas", "wire", "auth", "errors"),
        *("models", "db", "config", "release", "media", "audit", "metrics", "schemas_admin", "openapi"),
        *("models_search", "schemas_search", "schemas_webhook", "schemas_analytics"),
        *("models_access", "models_studio", "schemas_studio", "together"),
    },
    "packager": {"config", "logs", "media", "wake"},
    "keeper": {
        *(
            "live",
            "media",
            "models",
            "models_chores",
            "models_nodes",
            "models_search",
            "mover",
            "db",
            "config",
        ),
    },
    "mover": {"live", "media", "models", "models_chores", "models_search", "db", "config"},
    "worker": {"keeper", "live", "delivery", "media", "models", "db", "config", "wake", "logs", "upkeep"},
    "app": {
        *("routes", "live", "media", "auth", "errors", "config", "db", "logs", "wake", "worker", "delivery"),
        *("audit", "commands", "listeners", "metrics", "packager", "processes", "together", "upkeep"),
    },
}
FLASK_IN = {"app.py", "auth.py", "errors.py"}
ENVIRONMENT_IN = {"app.py", "packager.py", "worker.py", "demo/__main__.py"}
# Contract, section 1. "/" and "/sign-out" are the console's door.
PUBLIC = {"/", "/oembed", "/sign-out", "/v1", "/healthz", "/readyz", "/openapi.json", "/docs", "/metrics"}
PUBLIC_BELOW = {"docs", "watch", "embed", "play", "static", "studio"}


def sources() -> list[Path]:
    """Every Python file of the product, scripts without a .py name included; tests are not product."""
    own = [path for name in ARROWS for path in [ROOT / f"{name}.py", *(ROOT / name).rglob("*.py")]]
    return [path for path in own if path.exists()] + python_scripts()


def scripts() -> list[Path]:
    """What people start: the files of script/, without what those include or render."""
    return [path for path in (ROOT / "script").iterdir() if path.is_file() and path.suffix != ".j2"]


def python_scripts() -> list[Path]:
    return [path for path in scripts() if re.match(r"#!.*python", path.read_text())]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def test_every_module_of_the_product_has_its_arrows():
    modules = {path.stem for path in ROOT.glob("*.py")} | {
        path.parent.name for path in ROOT.glob("*/__init__.py")
    }
    assert modules - {"tests"} <= ARROWS.keys()


@pytest.mark.parametrize("module", ARROWS)
def test_imports_point_one_way(module):
    paths = [path for path in [ROOT / f"{module}.py", *(ROOT / module).rglob("*.py")] if path.exists()]
    assert paths
    wrong = {
        f"{name_of(path)} imports {name}"
        for path in paths
        for name in imported(path)
        if (top := name.partition(".")[0]) in ARROWS and top not in {module, *ARROWS[module]}
    }
    assert wrong == set()


def test_only_the_hooks_know_a_media_server():
    knowing = {
        name_of(path)
        for path in (ROOT / "routes").rglob("*.py")
        if any(name.partition(".")[0] == "media" for name in imported(path))
    }
    assert knowing == {"routes/hooks.py"}


def test_nobody_imports_app():
    importing = {name_of(path) for path in sources() if "app" in set(imported(path))}
    assert importing == set()


def test_flask_is_imported_where_http_is_spoken_only():
    flasks = ("flask", "flask_httpauth", "werkzeug")
    importing = {
        name_of(path)
        for path in sources()
        if any(name.partition(".")[0] in flasks for name in imported(path))
    }
    assert {name for name in importing if not name.startswith("routes/")} == FLASK_IN


def test_the_environment_is_read_where_a_process_starts_only():
    reading = {
        name_of(path)
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb"))
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    assert {name for name in reading if not name.startswith("script/")} == ENVIRONMENT_IN


def test_only_lifecycle_assigns_a_channels_status():
    assigning = {name_of(path) for path in sources() if assigns_a_channel_status(ast.parse(path.read_text()))}
    assert assigning == {"live/lifecycle.py"}


def assigns_a_channel_status(tree: ast.AST) -> bool:
    """`x.status = ...`, `setattr(x, "status", ...)`, `Channel.update(status=...)`, `Channel.create(...)` and kin."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            leaves = [leaf for target in targets for leaf in ast.walk(target)]
            if any(isinstance(leaf, ast.Attribute) and leaf.attr == "status" for leaf in leaves):
                return True
        if isinstance(node, ast.Call) and writes_a_channel(node):
            return True
    return False


def writes_a_channel(call: ast.Call) -> bool:
    named = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    if isinstance(call.func, ast.Name) and call.func.id == "setattr":
        return "status" in named
    written = ("create", "update", "insert", "insert_many", "bulk_create", "bulk_update", "replace")
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr in written
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "Channel"
    )


def test_no_file_is_about_two_subjects():
    long = {
        name_of(path): lines
        for path in [*sources(), *(ROOT / "tests").rglob("*.py")]
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert long == {}


def rules(app: Flask) -> list[Rule]:
    return list(app.url_map.iter_rules())


def is_public(rule: Rule) -> bool:
    return rule.rule in PUBLIC or rule.rule.split("/")[1] in PUBLIC_BELOW


def is_console(rule: Rule) -> bool:
    return rule.rule.split("/")[1] == "console"


def filled(rule: Rule) -> str:
    return re.sub(r"<[^>]+>", "anything", rule.rule)


def test_every_route_asks_for_a_token_unless_it_is_public(app, anonymous):
    guarded = [rule for rule in rules(app) if not is_public(rule) and not is_console(rule)]
    assert any(rule.rule == "/livestream/live/<channel_id>/rtmp" for rule in guarded)
    open_to_all = {
        f"{method} {rule.rule}"
        for rule in guarded
        for method in rule.methods - {"OPTIONS"}
        if anonymous.open(filled(rule), method=method).status_code != 401
    }
    assert open_to_all == set()


def test_every_page_of_the_console_asks_for_a_session(app, client, anonymous):
    guarded = [rule for rule in rules(app) if is_console(rule)]
    assert any(rule.rule == "/console/channels/<channel_id>/key" for rule in guarded)
    let_in = {
        f"{method} {rule.rule}"
        for rule in guarded
        for method in rule.methods - {"OPTIONS"}
        for sender in (anonymous, client)  # the second sends a token, which is no session
        if sender.open(filled(rule), method=method).headers.get("Location", "").partition("?")[0] != "/"
    }
    assert let_in == set()


def test_what_is_public_answers_without_a_token(app, anonymous):
    asking = {
        rule.rule
        for rule in rules(app)
        if is_public(rule) and anonymous.get(filled(rule)).status_code in (401, 403)
    }
    assert asking == set()


def test_hooks_are_on_no_route_of_the_public_app(app):
    assert [rule.rule for rule in rules(app) if "hook" in rule.rule and "webhook" not in rule.rule] == []


def environment_variables() -> set[str]:
    """The names that config.py reads: the first argument of env.text(...), env.port(...) and kin."""
    calls = [
        node for node in ast.walk(ast.parse((ROOT / "config.py").read_text())) if isinstance(node, ast.Call)
    ]
    return {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "env"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }


def test_the_settings_document_names_every_setting():
    names = environment_variables()
    assert {"DATABASE_URL", "LIVE_TOKEN_SECRET", "MEDIA_BIND"} <= names
    text = SETTINGS.read_text()
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()


def test_the_architecture_names_every_script():
    text = ARCHITECTURE.read_text()
    assert {f"script/{path.name}" for path in scripts() if f"script/{path.name}" not in text} == set()
