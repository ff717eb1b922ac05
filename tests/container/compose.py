"""compose.yml as an engine reads it: variables put in, secrets and volumes by name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

VARIABLE = re.compile(r"\$\{(\w+)(?:(:\?|:-)([^}]*))?\}")


def load(file: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    return yaml.safe_load(VARIABLE.sub(lambda found: _value(found, environ), file.read_text()))


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str:
    name, kind, text = found.groups()
    if environ.get(name):
        return environ[name]
    if kind == ":?":
        raise ValueError(f"required variable {name} is missing a value: {text}")
    return text or ""


def mounts(service: Mapping[str, Any]) -> dict[str, str]:
    """What is mounted, by the place in the container."""
    return {each.split(":")[1]: each.split(":")[0] for each in service["volumes"]}


def seconds(text: str) -> float:
    [(number, unit)] = re.findall(r"^(\d+)(s|m)$", text)
    return int(number) * {"s": 1, "m": 60}[unit]
