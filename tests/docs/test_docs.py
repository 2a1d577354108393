"""The documentation: its Python and YAML run, and its links and tables are true of the code."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import predictlearn as pl
from predictlearn.cli import app
from predictlearn.protocol import schema
from predictlearn.tasks.registry import TASKS, task_settings

ROOT = Path(__file__).resolve().parents[2]
DOCS, STUDIES = ROOT / "docs", ROOT / "studies"
GUIDES = [page for page in sorted(DOCS.glob("*.md")) if page.stem not in ("architecture", "index")]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.rglob("*.md")),
    *sorted(STUDIES.rglob("*.md")),
]
# Top-level names of the repository that a path in the text may begin with.
PROGRAM = typer.main.get_command(app)
ROOTED = ("predictlearn", "docs", "studies", "tests", "benchmarks", "protocols", "datasets")


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


# Pages of what has long tests of its own, and takes long to compile.
LONG = (
    *("closure", "populations", "fitting", "predictions"),
    *("what-learns", "what-learning-reveals", "your-own-recording"),
)
WITH_PYTHON = [
    pytest.param(page, marks=[pytest.mark.slow] if page.stem in LONG else [], id=named(page))
    for page in PAGES
    if blocks(page, "python")
]


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # dataclasses look their module up by name
    module = types.ModuleType(f"docs_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for line, code in blocks(page, "python"):
        # blank lines in front give errors the line of the page
        exec(compile("\n" * line + code, named(page), "exec"), vars(module))


def imported(module: str, name: str) -> Any:
    """Return what ``from module import name`` gives."""
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        return importlib.import_module(f"{module}.{name}")


def called(tree: ast.AST) -> Iterator[tuple[Any, list[str]]]:
    """Return what a page names of what it imports, and the keywords that it calls it with."""
    known: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                module = importlib.import_module(name.name)
                known[name.asname or name.name.partition(".")[0]] = module
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                known[name.asname or name.name] = imported(str(node.module), name.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call | ast.Attribute):
            path, root = [], node.func if isinstance(node, ast.Call) else node
            while isinstance(root, ast.Attribute):
                path.append(root.attr)
                root = root.value
            if isinstance(root, ast.Name) and root.id in known:
                thing = functools.reduce(getattr, reversed(path), known[root.id])
                given = node.keywords if isinstance(node, ast.Call) else []
                yield thing, [key.arg for key in given if key.arg]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.stem in LONG and blocks(p, "python")], ids=named
)
def test_what_a_long_page_calls_exists_and_takes_its_keywords(page):
    """The quick part of what running the page shows, see LONG."""
    found = list(called(ast.parse("\n".join(code for _, code in blocks(page, "python")))))
    assert len(found) > 2
    for thing, keywords in found:
        if keywords:
            taken = inspect.signature(thing).parameters.values()
            free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken)
            names = {parameter.name for parameter in taken}
            assert free or set(keywords) <= names, (thing, keywords)


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


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_a_guide_is_short(page):
    assert len(page.read_text(encoding="utf-8").split()) <= 1250


@pytest.mark.parametrize("page", sorted(STUDIES.rglob("*.md")), ids=named)
def test_a_study_says_when_it_was_measured(page):
    top = page.read_text(encoding="utf-8")[:2500]
    assert page.stem == "README" or re.search(r"(?i)put here.*2026-\d\d-\d\d", top, re.DOTALL)


def commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every command below a group with its full name."""
    yield name, group
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


@pytest.mark.parametrize(
    ("name", "command"),
    [pytest.param(*found, id=found[0]) for found in commands(PROGRAM, "predictlearn")],
)
def test_every_option_of_the_command_line_is_documented(name, command):
    text = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    heading = re.search(rf"^#+ `{name}`\n", text, re.MULTILINE)
    assert heading, name
    section = text[heading.end() :].partition("\n## ")[0].partition("\n### ")[0]
    section = " ".join(section.split())
    options = [each for each in command.params if each.param_type_name == "option"]
    for option in options:
        assert f"* `{', '.join(sorted(option.opts, key=len))}" in section
        assert " ".join((option.help or "").split()) in section
    # and none that is no longer there
    written = set(re.findall(r"\* `(?:-\w, )?(--[\w-]+)", section))
    assert written == {max(option.opts, key=len) for option in options} | {"--help"}


def test_every_key_of_a_protocol_is_documented():
    text = (
        (DOCS / "reference" / "protocols.md")
        .read_text(encoding="utf-8")
        .partition("## Every key")[2]
    )
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
    """The numbers of studies/bci/bci.md that need no fit."""
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
    text = (STUDIES / "bci" / "bci.md").read_text(encoding="utf-8")
    for row, value in values.items():
        assert f"| {row} | {value:.1f} |" in text
    assert f"Mean progress of the last two thirds is {after[third:].mean():.1f} mm/s" in text
    assert (first.n_trials, second.n_trials, len(after) - third) == (191, 583, 389)
    ceiling = condition_mean_ceiling(first.activity, shown, cv=5, seed=0)
    assert f"is {ceiling.mean:.3f} (standard error {ceiling.standard_error:.3f})" in text
