"""A Dockerfile in parts: the instructions that ours has, and no others; what of the folder goes into a build."""

import fnmatch
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

WORDS = (
    "FROM",
    "RUN",
    "COPY",
    "ENV",
    "USER",
    "WORKDIR",
    "VOLUME",
    "EXPOSE",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "CMD",
)


@dataclass(frozen=True)
class Instruction:
    """COPY --from=made a b: word, flags, and the rest as it stands."""

    word: str
    flags: dict[str, str]
    rest: str

    def command(self) -> list[str]:
        """The exec form, which is the only one that passes signals on; a shell would stand between."""
        return json.loads(self.rest.removeprefix("CMD "))


@dataclass
class Stage:
    """From one FROM to the next."""

    origin: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        return [each for each in self.instructions if each.word == word]

    def only(self, word: str) -> Instruction:
        [found] = self.all(word)
        return found


def stages(text: str) -> list[Stage]:
    found: list[Stage] = []
    for line in _lines(text):
        word, _, rest = line.partition(" ")
        if word not in WORDS:
            raise ValueError(f"An instruction that is not known here: {line}")
        flags = dict(re.findall(r"--([a-z-]+)=(\S+) ", re.match(r"((?:--\S+ +)*)", rest)[1]))
        rest = re.sub(r"^(--\S+ +)*", "", rest)
        if word == "FROM":
            origin, _, name = re.fullmatch(r"(\S+)( AS (\S+))?", rest).groups(default="")
            found.append(Stage(origin, name))
        else:
            found[-1].instructions.append(Instruction(word, flags, rest))
    return found


def _lines(text: str) -> Iterator[str]:
    """Without comments, which may stand between the lines of one instruction; those put together."""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return (line.strip() for line in re.sub(r"\\\n\s*", "", kept).splitlines() if line.strip())


def environment(instruction: Instruction) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in instruction.rest.split())


def context(folder: Path) -> list[Path]:
    """What a build gets to see of a folder, after its .dockerignore. Links are files, as an engine has it."""
    patterns = [
        line for line in (folder / ".dockerignore").read_text().split("\n") if line and line[0] != "#"
    ]
    if odd := [each for each in patterns if each.startswith(("!", "/")) or each.endswith("/")]:
        raise ValueError(f"Patterns that are not understood here: {odd}")
    found = []
    for parent, folders, files in os.walk(folder):
        here = Path(parent).relative_to(folder)
        folders[:] = [name for name in folders if not is_left_out(here / name, patterns)]
        found += [here / name for name in files if not is_left_out(here / name, patterns)]
    return sorted(found)


def is_left_out(path: Path, patterns: list[str]) -> bool:
    """`*` does not match a slash, `**/` any number of folders, none included."""
    return any(
        fnmatch.fnmatchcase(path.name, pattern[3:]) if pattern.startswith("**/") else _matches(path, pattern)
        for pattern in patterns
    )


def _matches(path: Path, pattern: str) -> bool:
    parts, wanted = path.parts, pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))
