"""Print pip constraints: the oldest version of every dependency that pyproject.toml allows."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

_BOUND = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?>=([0-9][0-9.]*)")


def floors(project: dict[str, Any]) -> list[str]:
    """Return one line for every dependency, also of the extras."""
    extras = project.get("optional-dependencies", {})
    wanted = [*project["dependencies"], *(item for items in extras.values() for item in items)]
    lines = []
    for item in wanted:
        if item.startswith(project["name"] + "["):
            continue
        bound = _BOUND.fullmatch(item.replace(" ", ""))
        if bound is None:
            raise SystemExit(f"pyproject.toml: {item!r} does not state the oldest version")
        lines.append(f"{bound[1]}=={bound[2]}")
    return lines


if __name__ == "__main__":
    content = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    sys.stdout.write("\n".join(floors(content["project"])) + "\n")
