"""The documents hold together: every link leads somewhere, every name is there, every call and setting is listed."""

import ast
import re

import pytest

from routes.docs import document
from tests.documents import DOCS, DOCUMENTS, ROOT, anchors, code, links, prose, rows

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
