"""The documents hold together: every link leads somewhere, every name is there, every call and setting is listed."""

import ast
import json
import os
import re
import subprocess

import pytest

from config import from_env
from routes.docs import document
from tests.box import FFMPEG
from tests.documents import DOCS, DOCUMENTS, ROOT, anchors, code, links, prose, rows
from tests.serving import served

README = ROOT / "README.md"
ARCHITECTURE = DOCS / "architecture.md"
ALTOGETHER = 100  # lines of a README that is read to its end


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    nowhere = []
    for link in links(path.read_text()):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            nowhere.append(link)
    assert nowhere == []


def test_the_readme_is_short_and_leads_to_every_document():
    text = README.read_text()
    assert len(text.splitlines()) <= ALTOGETHER
    ours = {path.relative_to(ROOT) for path in DOCS.glob("*.md")}
    assert {str(path) for path in ours} <= set(links(text))


def test_every_call_is_listed_and_nothing_else(app):
    listed = {
        (method, re.sub(r"\{\w+\}", "{}", path))
        for call, paths, *_ in rows((DOCS / "api.md").read_text())
        for method in code(call)
        for path in code(paths)
    }
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, methods in document(app)["paths"].items()
        for method in methods
        if not path.startswith("/livestream/")
    }
    assert listed == described


def test_every_query_shown_is_of_parameters_that_the_call_takes(app):
    paths = {re.sub(r"\{\w+\}", "{}", path): methods for path, methods in document(app)["paths"].items()}
    shown = 0
    for call, path, text, *_ in rows((DOCS / "api.md").read_text()):
        for query in re.findall(r"\?([^`]+)`", text):
            [method] = [each.lower() for each in code(call)]
            described = paths[re.sub(r"\{\w+\}", "{}", code(path)[0])][method]
            known = {parameter.get("name") for parameter in described["parameters"]}
            assert {pair.partition("=")[0] for pair in query.split("&")} <= known, path
            shown += 1
    assert shown > 7


def test_the_settings_have_the_defaults_shown(monkeypatch):
    monkeypatch.setattr("config.default_media_server", lambda: "none")
    config = from_env({})
    looked_at = []
    for variables, default, *_ in rows((DOCS / "settings.md").read_text()):
        if not re.fullmatch(r"`[\w.]+`(, `[\w.]+`)*", default) or "_FILE" in variables:
            continue
        for name, shown in zip(code(variables), code(default), strict=True):
            kept = re.fullmatch(r"RETENTION_(\w+)_DAYS", name)
            value = config.kept_for[kept[1].lower()] if kept else getattr(config, name.lower())
            if kept:
                value = value.days if value else "never"
            value = int(value) if isinstance(value, bool) else value
            if name != "DATA_DIR":
                assert str(value) == shown, name
            looked_at.append(name)
    assert {"HTTP_PORT", "PORT", "RETENTION_CHANNELS_DAYS", "WEBHOOK_ALLOW_PRIVATE"} <= set(looked_at)


def in_the_readme(word: str) -> list[str]:
    """The indented ones, too: steps of a list have blocks."""
    found = re.findall(r"^ *```sh\n(.*?)^ *```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return [each for each in found if word in each]


def test_the_calls_of_the_readme_are_answered(config):
    with served(config) as port:
        fields = {"LIVE_TOKEN_ID": config.token_id, "LIVE_TOKEN_SECRET": config.token_secret}
        for command in in_the_readme("curl"):
            here = command.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("curl ", "curl -sS ")
            ran = subprocess.run(
                ["bash", "-c", here], env=os.environ | fields, capture_output=True, check=True, timeout=30
            )
            assert json.loads(ran.stdout)["ec"] == 0
    assert len(in_the_readme("curl")) == 2


def test_the_encoder_of_the_readme_encodes(tmp_path):
    [command] = in_the_readme("ffmpeg")
    here = command.replace('"$streamUrl/$streamToken"', f"-t 1 {tmp_path}/out.flv").replace("-re ", "")
    assert "out.flv" in here
    quiet = here.replace("ffmpeg ", f"{FFMPEG} -nostdin -loglevel error ", 1)
    subprocess.run(["bash", "-c", quiet], check=True, timeout=60)
    assert (tmp_path / "out.flv").stat().st_size > 100_000


def names_in(file: str) -> set[str]:
    """Its functions, classes, methods (Class.method) and constants."""
    found = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        match node:
            case ast.ClassDef(name=name, body=body):
                methods = (each for each in body if isinstance(each, ast.FunctionDef))
                found |= {name, *(f"{name}.{each.name}" for each in methods)}
            case ast.FunctionDef(name=name):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found


def test_what_the_architecture_names_is_there():
    named = [
        each for each in code(prose(ARCHITECTURE.read_text())) if re.fullmatch(r"[\w./-]+(::[\w.]+)?", each)
    ]
    assert len([each for each in named if "::" in each]) > 40
    missing = []
    for each in named:
        file, _, name = each.partition("::")
        looks_like_a_file = "/" in file.strip("/") or file.endswith(("/", ".py", ".md"))
        if file.startswith("/") or not looks_like_a_file:
            continue
        if not (ROOT / file).exists() or (name and name not in names_in(file)):
            missing.append(each)
    assert missing == []


def test_the_architecture_has_a_place_for_every_part():
    """Each file and folder of the product at the top level."""
    text = ARCHITECTURE.read_text()
    parts = {f"{path.parent.name}/" for path in ROOT.glob("*/__init__.py")}
    parts |= {path.name for path in ROOT.glob("*.py") if not path.name.startswith(("models_", "schemas_"))}
    assert {part for part in parts if f"`{part}" not in text} - {"release.py", "logs.py", "wake.py"} == set()
