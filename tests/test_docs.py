"""The documentation: its Python and YAML run, and its links and tables are true of the code."""

from __future__ import annotations

import ast
import re
import sys
import types
from pathlib import Path

import pytest

import predictlearn as pl
from predictlearn.protocol import schema
from predictlearn.tasks.registry import TASKS, task_settings

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
# Top-level names of the repository that a path in the text may begin with.
ROOTED = ("predictlearn", "docs", "tests", "benchmarks", "protocols", "datasets")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Return the code blocks of a page with the line on which each begins."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n"), match.group(1)) for match in found]


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page give."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=named)
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # dataclasses look their module up by name
    module = types.ModuleType(f"docs_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for line, code in blocks(page, "python"):
        # blank lines in front give errors the line of the page
        exec(compile("\n" * line + code, named(page), "exec"), vars(module))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "yaml")], ids=named)
def test_protocols_of_a_page_run(page, tmp_path):
    for number, (line, text) in enumerate(blocks(page, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        result = pl.Protocol.load(file).run()
        assert result.failed.empty, f"{named(page)}, line {line}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_and_files_exist(page):
    text = prose(page)
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            missing.append(target)
    for mention in re.findall(r"`([\w./-]+)`", text):
        is_path = "/" in mention and mention.split("/")[0] in ROOTED
        is_module = re.fullmatch(r"[\w-]+\.py", mention) is not None
        places = (ROOT / mention,) if is_path else ROOT.glob(f"predictlearn/**/{mention}")
        if (is_path or is_module) and not any(place.exists() for place in places):
            missing.append(mention)
    assert not missing


def test_architecture_names_every_module():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    modules = [
        path
        for path in (ROOT / "predictlearn").glob("*/*.py")
        if path.stem != "__init__" and path.parent.name not in ("cli", "reporting")
    ]
    assert modules
    assert [str(path) for path in modules if f"{path.name}`" not in text] == []


def imported_rooms() -> dict[str, set[str]]:
    """Return which rooms each room imports, by the import statements in the code."""
    rooms: dict[str, set[str]] = {}
    for path in (ROOT / "predictlearn").glob("*/*.py"):
        here = rooms.setdefault(path.parent.name, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"relative import in {path}"
                module = node.module or ""
                is_top = module == "predictlearn"
                names = [f"{module}.{a.name}" for a in node.names] if is_top else [module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            here |= {n.split(".")[1] for n in names if n.startswith("predictlearn.")}
        here -= {path.parent.name}
    ground = {"errors", "checks", "compiled", "doors", "files", "kept", "npz", "plain_yaml"}
    ground |= {"progress", "workers"}
    return {room: found - {*ground, "__version__"} for room, found in rooms.items()}


def test_architecture_tells_who_imports_whom():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("## Who imports")[2].partition("The intended")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    written = {room: set(re.findall(r"`(\w+)`", cell)) for room, cell in rows}
    assert written == imported_rooms()


def test_rooms_have_no_cycle():
    left = imported_rooms()
    while left:
        ground = [room for room, uses in left.items() if not uses & left.keys()]
        assert ground, f"a cycle among {sorted(left)}"
        for room in ground:
            del left[room]


def test_every_key_of_a_protocol_is_documented():
    text = (DOCS / "protocols.md").read_text(encoding="utf-8").partition("## Every key")[2]
    models = (
        schema.ProtocolSpec,
        schema.CohortSpec,
        schema.DistributionSpec,
        schema.RuleSpec,
        schema.ArmSpec,
        schema.PhaseSpec,
    )
    keys = {key for model in models for key in model.model_fields}
    keys |= {key for task in TASKS for key in (task, *task_settings(task))}
    assert sorted(key for key in keys if f"`{key}`" not in text) == []


def test_numbers_of_the_bci_page(shared_data):
    """The numbers of docs/bci.md that need no fit."""
    from predictlearn.fitting import condition_mean_ceiling
    from predictlearn.recordings import load_bci_learning, progress

    folder = shared_data / "bci-learning-hennig2021"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    session = load_bci_learning(folder).first_bins(12)
    first, second = session.intuitive, session.perturbed
    shown, later = (block.trials["target"].to_numpy() for block in (first, second))
    after = progress(second.activity, session.perturbed_readout, later)
    third = len(after) // 3
    through = progress(first.activity, session.perturbed_readout, shown).mean()
    values = {
        "intuitive mapping, block 1 | recorded": progress(
            first.activity, session.intuitive_readout, shown
        ).mean(),
        "block 1 activity through the perturbed mapping | recorded": through,
        "perturbed mapping, first 30 trials of block 2 | recorded": after[:30].mean(),
        "perturbed mapping, first third of block 2 | recorded": after[:third].mean(),
        "perturbed mapping, last third of block 2 | recorded": after[-third:].mean(),
    }
    text = (DOCS / "bci.md").read_text(encoding="utf-8")
    for row, value in values.items():
        assert f"| {row} | {value:.1f} |" in text
    assert f"Mean progress of the last two thirds is {after[third:].mean():.1f} mm/s" in text
    assert (first.n_trials, second.n_trials, len(after) - third) == (191, 583, 389)
    ceiling = condition_mean_ceiling(first.activity, shown, cv=5, seed=0)
    assert f"is {ceiling.mean:.3f} (standard error {ceiling.standard_error:.3f})" in text
