"""What is in a document: its blocks, its tables, its headings, its links."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])


class Block(NamedTuple):
    """A fenced block; `file` is what stands behind its language."""

    language: str
    file: str
    text: str


def blocks_of(text: str) -> list[Block]:
    found = re.findall(r"^```(\w*) ?(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(*each) for each in found]


def block(document: Path, file: str) -> str:
    [found] = [each.text for each in blocks_of(document.read_text()) if each.file == file]
    return found


def prose(text: str) -> str:
    """What is not a block."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def flat(text: str) -> str:
    """On one line, so that a sentence is found wherever its lines end."""
    return re.sub(r"\s+", " ", text)


def section(document: Path, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    text = document.read_text()
    [start] = re.finditer(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    below = text[start.end() :]
    end = re.search(rf"^#{{1,{len(start[1])}}} ", below, re.MULTILINE)
    return below[: end.start()] if end else below


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, without their heads."""
    found, in_a_table = [], False
    for line in text.splitlines():
        if re.fullmatch(r"\|( :?-+:? \|)+", line):
            in_a_table = True
        elif not line.startswith("|"):
            in_a_table = False
        elif in_a_table:
            found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def code(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def anchors(text: str) -> set[str]:
    """Of its headings, as GitHub makes them: lower case, no punctuation, a dash for a space."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text: str) -> list[str]:
    """Those that lead to files and headings of ours."""
    without_code = re.sub(r"`[^`]*`", "", prose(text))
    found = re.findall(r"\]\(([^)\s]+)\)", without_code)
    return [each for each in found if not re.match(r"https?:|mailto:", each)]
