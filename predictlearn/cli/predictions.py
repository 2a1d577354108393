"""``predictlearn predictions``: the catalogue of predictions, and one of them put to the test."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from predictlearn.cli.console import (
    checked_seed,
    guarded,
    interruptible,
    jobs_or_all,
    output,
    output_path,
    say,
)

if TYPE_CHECKING:
    from predictlearn.predictions.laboratory import EvaluatedEntry

__all__ = ["predictions"]


@guarded
def predictions(
    name: Annotated[
        str | None,
        typer.Argument(help="A prediction; all are listed if not given.", show_default=False),
    ] = None,
    animals: Annotated[
        int | None,
        typer.Option(
            help="Animals of your experiment, in each arm where arms are groups.",
            show_default="as many as give 80% power",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(help="Processes; all processors if not given.", show_default=False)
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=output_path,
            metavar="DIRECTORY",
            help="Folder for the page, its figure and tables.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """List predictions that a laboratory can test, or simulate the animals of one."""
    if name is None:
        if animals is not None or folder is not None:
            from predictlearn.errors import InputError

            raise InputError("--animals and --output are of one prediction: give its name.")
        _print_all()
        return
    from predictlearn.predictions.laboratory import evaluate, find_entry, learners_of

    entry = find_entry(name)
    n_jobs, seed = jobs_or_all(jobs), checked_seed(seed)
    with interruptible("nothing was kept; it takes less than a minute."):
        found = evaluate(entry, animals, seed=seed, n_jobs=n_jobs)
    _print_one(found)
    if folder is None:
        say("Note", "nothing was kept; --output DIR keeps the page and the tables.", "yellow")
        return
    from predictlearn.pipeline.report.catalogue import entry_report
    from predictlearn.reporting import write

    command = f"predictlearn predictions {name} --seed {seed}"
    command += "" if animals is None else f" --animals {animals}"
    place = write(entry_report(found, learners_of(name), command), folder)
    output().print(f"\nPage: {place}", markup=False, soft_wrap=True)


def _print_all() -> None:
    """Print names, statements and effects."""
    from rich.table import Table
    from rich.text import Text

    from predictlearn.predictions.laboratory import ENTRIES
    from predictlearn.predictions.laboratory.table import effect_in_words

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("what is predicted")
    table.add_column("effect [95% interval]")
    table.add_column("animals", justify="right")
    for name, entry in ENTRIES.items():
        effect, animals = effect_in_words(name)
        table.add_row(name, entry.statement, Text(effect), animals)
    console = output()
    console.print(table)
    console.print(
        "\nAnimals: for 80% power, in each arm where arms are groups. Measured by "
        "studies/predictions/catalogue.py.\n"
        "Test one on simulated animals:  predictlearn predictions NAME",
        markup=False,
    )


def _print_one(found: EvaluatedEntry) -> None:
    """Print an entry and what simulated animals say of it."""
    from rich.table import Table
    from rich.text import Text

    from predictlearn.predictions.laboratory import learners_of
    from predictlearn.predictions.laboratory.evaluation import one_number, signed

    entry, row, console = found.entry, found.result, output()
    low, high = (one_number(entry, x) for x in found.in_experiments)
    lines = {
        "Predicted": entry.statement,
        "Do": entry.intervention,
        "Measure": entry.measure,
        "Correlation": entry.correlation,
        "Protocols": entry.protocol,
        "Effect": f"{found.effect_text} ({found.contrast}); {row['effect_name']} "
        f"{signed(row['effect'])} [{signed(row['effect_low'])}, {signed(row['effect_high'])}]",
        "Animals": found.animals_text,
        "Experiments": f"with {found.n_animals} {entry.animals_of} 95% find {low} to {high} "
        + entry.unit_of_effect,
        "Refuted by": entry.falsifier,
        "Or else": entry.alternatives,
        "Spread": entry.spread(),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for label, text in lines.items():
        if text:
            table.add_row(label, Text(text))
    console.print(table)
    for caution in found.cautions:
        say("Note", caution, "yellow")
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("what learns", "rule", f"effect [{100 * entry.level:.0f}% interval]", "holds"):
        shown.add_column(name)
    for one in learners_of(entry.name).itertuples():
        value, low, high = (one_number(entry, x) for x in (one.estimate, one.low, one.high))
        effect = f"{value} [{low}, {high}]" if math.isfinite(one.estimate) else "–"
        shown.add_row(one.learns, one.rule, Text(effect), one.holds)
    console.print()
    console.print(shown)
