"""docs/scale.md: its figures stand in docs/measured.md, its formula is run, and its tables say what that says."""

import ast
import contextlib
import io
import re
from typing import Any

import pytest

from tests.documents import DOCS, block, code, flat, rows, section

SCALE, MEASURED = DOCS / "scale.md", DOCS / "measured.md"


def headings() -> dict[str, str]:
    """The headings of measured.md by their anchors."""
    found = re.findall(r"^## (.+)$", MEASURED.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"): heading for heading in found}


FIGURES = rows(section(SCALE, "What was measured"))
PROFILES = rows(section(SCALE, "What breaks first"))


@pytest.fixture(scope="module")
def formula() -> dict[str, Any]:
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(block(SCALE, "scale.py"), names)  # the document's own
    return names | {"printed": printed.getvalue()}


@pytest.mark.parametrize("row", FIGURES, ids=[row[0] for row in FIGURES])
def test_every_figure_stands_where_its_link_leads(row):
    [figure] = code(row[1])
    [anchor] = re.findall(r"\]\(measured\.md#(\S+)\)", row[3])
    assert re.search(rf"(?<![\d.,]){re.escape(figure)}", flat(section(MEASURED, headings()[anchor])))


def test_every_figure_of_the_formula_is_one_that_was_measured(formula):
    told = dict(each.split(" = ") for row in FIGURES for each in code(row[2]))
    assert {name: formula[name] for name in told} == {name: ast.literal_eval(v) for name, v in told.items()}
    assert set(told) == {"CHANNEL", "LADDER", "PLAYLIST", "SEGMENT_300_KB", "COUNTED", "DELIVERIES"}


@pytest.mark.parametrize("row", PROFILES, ids=[row[0] for row in PROFILES])
def test_what_a_box_holds_of_a_profile_is_what_the_formula_says(row, formula):
    [load] = code(row[1])
    assert eval(f"fits({load})", formula) == (int(row[2]), row[3])


def test_the_example_is_what_the_formula_says(formula):
    example = block(SCALE, "example.py").removeprefix("print(").rstrip(")\n") + ")"
    parts = eval(example, formula)
    text = flat(section(SCALE, "A worked example"))
    for part in ("network", "disk", "processor"):
        assert f"{parts[part]:.2f} of the {part}" in text
    assert f"the box keeps a day: {parts['disk'] / 30:.2f}" in text
    behind = eval("share(channels=60, mbit=2.5, viewers=2)", formula)
    assert f"{behind['network']:.2f} of the box" in text


def test_the_formula_prints_the_first_profile(formula):
    assert formula["printed"].strip() == f"({PROFILES[0][2]}, '{PROFILES[0][3]}')"
