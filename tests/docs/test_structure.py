"""The house: who imports whom, no circles, rooms of a readable size."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest

import predictlearn as pl
from predictlearn import moved

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "predictlearn"
PAGE = ROOT / "docs" / "architecture.md"


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    """The folder that a module lies in; "" on the ground floor."""
    path = MODULES[module]
    return ".".join(path.parent.relative_to(PACKAGE).parts)


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """What a file imports and defines, at any depth."""
    kinds = (ast.Import, ast.ImportFrom, ast.ClassDef)
    left, found = list(ast.parse(path.read_text(encoding="utf-8")).body), []
    while left:
        node = left.pop()
        found += [node] if isinstance(node, kinds) else []
        # of all nodes these alone hold statements, and no expression does
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            held = getattr(node, field, [])
            left += held if isinstance(held, list) else []
    return found


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, for types too."""
    found = set()
    for node in nodes(path):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if not name.startswith("predictlearn."):
                continue
            name = name.removeprefix("predictlearn.")
            # a name of a module, or the module itself
            found.add(name if name in MODULES else name.rpartition(".")[0])
    return found & MODULES.keys()


@functools.cache
def graph() -> dict[str, set[str]]:
    """Which modules each module imports."""
    return {module: imports(path) - {module} for module, path in MODULES.items()}


def test_no_circle_between_files():
    left = dict(graph())
    while left:
        free = [module for module, uses in left.items() if not uses & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for module in free:
            del left[module]


def used_rooms() -> dict[str, set[str]]:
    """Which rooms each room imports, the ground floor apart."""
    rooms: dict[str, set[str]] = {room_of(module): set() for module in MODULES}
    for module, uses in graph().items():
        rooms[room_of(module)] |= {room_of(use) for use in uses} - {room_of(module), ""}
    del rooms[""]
    return rooms


def test_the_table_of_imports_is_that_of_the_code():
    section = PAGE.read_text(encoding="utf-8").partition("## Rooms")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w./]+)/` \|[^|]*\| ([^|]*) \|$", section, re.MULTILINE)
    written = {
        room.replace("/", "."): {name.replace("/", ".") for name in re.findall(r"`([\w/]+)`", cell)}
        for room, cell in rows
    }
    assert written == used_rooms()


def related(one: str, other: str) -> bool:
    return one.startswith(f"{other}.") or other.startswith(f"{one}.")


def test_rooms_are_in_order():
    """No circle between rooms; a room and those within it may use each other, file by file."""
    left = {
        room: {use for use in uses if not related(room, use)} for room, uses in used_rooms().items()
    }
    while left:
        free = [room for room, uses in left.items() if not uses & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for room in free:
            del left[room]


def test_the_ground_floor_imports_no_room():
    # but the door of `python -m predictlearn`
    ground = {module for module in MODULES if room_of(module) == ""} - {"__main__"}
    assert all(room_of(use) == "" for module in ground for use in graph()[module])


@pytest.mark.parametrize("top", ["predictlearn", "tests", "studies", "docs", "benchmarks"])
def test_rooms_are_of_a_readable_size(top):
    for folder in [ROOT / top, *(path for path in (ROOT / top).rglob("*") if path.is_dir())]:
        files = [path for path in folder.iterdir() if path.is_file() and path.stem != "__init__"]
        files = [path for path in files if path.suffix not in (".pyc", ".code")]
        assert len(files) <= 21, f"{folder}: {len(files)} files"
        if top in ("predictlearn", "tests"):
            what = "test_" if top == "tests" else ""
            names = [path.stem.removeprefix(what) for path in folder.glob(f"{what}*.py")]
            shared = Counter(name.split("_")[0] for name in names if "_" in name.strip("_"))
            assert all(count <= 3 for count in shared.values()), f"{folder}: {shared}"


def test_files_are_of_a_readable_length():
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    }
    assert {str(path): n for path, n in lengths.items() if n > 500} == {}


def test_every_public_name_is_in_the_stub_and_loads():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    listed = {
        alias.name
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        # a type checker takes a name as public only where it is said twice
        if alias.asname == alias.name
    }
    assert {*listed, "__version__"} == set(pl.__all__)
    for name in listed:
        assert getattr(pl, name).__name__ == name


def test_what_a_user_writes_runs():
    """`mypy --strict` passes over it too, in .ci/run."""
    found = runpy.run_path(str(Path(__file__).with_name("user_script.py")))
    assert 0 < found["last"] < found["trajectory"].losses[0]


def test_no_class_name_twice():
    names = Counter(
        node.name
        for path in MODULES.values()
        for node in nodes(path)
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_modules_of_before_are_found_for_one_version():
    assert set(moved.MODULES.values()) <= MODULES.keys()
    assert not moved.MODULES.keys() & MODULES.keys()
    sys.modules.pop("predictlearn.recordings.assembly", None)
    with pytest.warns(DeprecationWarning, match=r"use predictlearn\.recordings\.readers\.assembly"):
        old = importlib.import_module("predictlearn.recordings.assembly")
    assert (
        old.select_rows
        is importlib.import_module("predictlearn.recordings.readers.assembly").select_rows
    )
    with pytest.warns(DeprecationWarning, match="descent"):
        exec("from predictlearn.theory.learning import learn", {})
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("predictlearn.recordings.assemblies")


def test_nothing_refers_to_modules_by_what_they_were_called_before():
    """Such names in text lead a reader nowhere; those of one word are words of other things too."""
    now = {part for module in MODULES for part in module.split(".")}
    before = {name.rpartition(".")[2] for name in moved.MODULES} - now
    before = {name for name in before if "_" in name}
    assert len(before) > 40
    found = [
        (module, name)
        for module, path in MODULES.items()
        for name in re.findall(r"`(\w+)[`.]", path.read_text(encoding="utf-8"))
        if name in before
    ]
    assert found == []
