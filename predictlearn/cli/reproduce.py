"""``predictlearn reproduce``: the published results, rebuilt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from predictlearn import __version__
from predictlearn.cli.console import (
    checked_seed,
    guarded,
    hold_folder,
    interruptible,
    jobs_or_all,
    output,
    output_path,
    say,
    stages,
)
from predictlearn.errors import InputError

if TYPE_CHECKING:
    from predictlearn.published import Published, Reproduced

__all__ = ["reproduce"]

_RUNS = "runs"
_STYLES = {"agrees": "green", "differs": "red", "undecided": "yellow", "ours only": "dim"}


@guarded
def reproduce(
    figure: Annotated[
        str | None,
        typer.Argument(help="A result; without one, all are listed.", show_default=False),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=output_path,
            metavar="DIRECTORY",
            help="Folder for figures, tables and numbers, one folder a result in it. Interrupted, "
            "the same command goes on from there.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Rebuild every result.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(help="Processes; all processors if not given.", show_default=False)
    ] = None,
    scale: Annotated[
        float, typer.Option(help="Multiply the epochs of every phase, for a quick look.")
    ] = 1.0,
) -> None:
    """Rebuild a published result: its figure, and the numbers that decide it."""
    from predictlearn.checks import positive
    from predictlearn.published import published, published_names

    if figure is not None and every:
        raise InputError(f"either a figure or --all; got {figure!r} and --all.")
    n_jobs, seed = jobs_or_all(jobs), checked_seed(seed)
    positive("--scale", scale)
    if figure is None and not every:
        _list([published(name) for name in published_names()])
        return
    names = published_names() if figure is None else (figure,)
    results = [published(name) for name in names]
    if folder is not None:
        for result in results:
            _refuse_strangers(folder / result.name)
            hold_folder(folder, name=result.name)
    for result in results:
        _one(result, folder, n_jobs, seed, scale)


def _list(results: Sequence[Published]) -> None:
    """Print the results that can be rebuilt."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("what is claimed")
    table.add_column("takes", no_wrap=True)
    for result in results:
        table.add_row(result.name, result.claim, result.takes)
    console = output()
    console.print(table)
    console.print("\nRebuild one:  predictlearn reproduce NAME -o FOLDER      all:  --all")


def _refuse_strangers(place: Path) -> None:
    """Raise, before any work, if files there are not ours to replace."""
    from predictlearn.reporting.folder import MANIFEST

    if not (place / MANIFEST).exists():
        for name in ("README.md", "numbers.csv"):
            if (place / name).exists():
                raise InputError(
                    f"{place} holds files that would be lost: {name} (not made by predictlearn). "
                    "Choose another folder, or move them away."
                )


def _one(result: Published, folder: Path | None, n_jobs: int, seed: int, scale: float) -> None:
    """Rebuild one result, print its numbers, and write it."""
    runs, kept = None, "nothing was kept; with --output DIR, finished networks would have been."
    if folder is not None:
        # another seed or scale has runs of its own, so they never stand in each other's way
        runs = folder / result.name / _RUNS / f"seed-{seed}-scale-{scale:g}"
        kept = f"finished networks are kept in {runs}; the same command goes on from there."
    with interruptible(kept), stages() as announce:
        made = result.run(seed=seed, n_jobs=n_jobs, scale=scale, folder=runs, progress=announce)
    _print(result, made)
    if scale < 1.0:
        say("Note", "this run was shortened; findings are stated for full runs.", "yellow")
    if folder is None:
        say("Note", "nothing was kept; --output DIR keeps figures and tables.", "yellow")
        return
    from predictlearn.published.files import files_of
    from predictlearn.reporting.folder import write_files

    settings = {"seed": seed, "scale": f"{scale:g}", "version": __version__}
    place = write_files(folder / result.name, files_of(result, made, settings))
    output().print(f"Figures and tables: {place}\n", markup=False, soft_wrap=True)


def _print(result: Published, made: Reproduced) -> None:
    """Print the numbers that decide a result, and the findings."""
    from rich.table import Table
    from rich.text import Text

    console = output()
    console.print(Text(f"\n{result.title}", style="bold"))
    console.print(Text(result.claim))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("quantity", "published", "ours"):
        table.add_column(name)
    table.add_column("verdict", no_wrap=True)
    for row in made.numbers.to_dict("records"):
        cells = [Text(str(row[name])) for name in ("quantity", "published", "ours")]
        table.add_row(*cells, Text(row["verdict"], style=_STYLES[row["verdict"]]))
    console.print(table)
    for finding in made.findings:
        console.print(Text(f"Finding: {finding}"), soft_wrap=True)
