"""``predictlearn run``, and two arms of a protocol compared: experiments from protocol files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from predictlearn.cli.console import (
    as_command,
    checked_seed,
    guarded,
    interruptible,
    jobs_or_all,
    output,
    output_path,
    say,
)
from predictlearn.errors import DivergenceError, choice

if TYPE_CHECKING:
    import pandas as pd

    from predictlearn.protocol import Protocol, ProtocolResult

__all__ = [
    "METHODS",
    "UNPAIRED",
    "EpochsScale",
    "Folder",
    "Jobs",
    "Networks",
    "Seed",
    "Trust",
    "compare_two_arms",
    "load_protocol",
    "run",
    "run_protocol",
]

ProtocolName = Annotated[
    str, typer.Argument(help="A protocol file, or the name of one that ships.", metavar="PROTOCOL")
]
Seed = Annotated[int | None, typer.Option(help="Seed.", show_default="the protocol's")]
Jobs = Annotated[
    int | None, typer.Option(help="Processes; all processors if not given.", show_default=False)
]
Networks = Annotated[
    int | None, typer.Option(help="Number of networks.", show_default="the protocol's")
]
EpochsScale = Annotated[
    float, typer.Option(help="Multiply the epochs of every phase, for a quick look.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust", help="Run the functions that tasks of type python name; know what they do."
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        parser=output_path,
        metavar="DIRECTORY",
        help="Folder for the results. Interrupted, the same command goes on from there.",
        show_default=False,
    ),
]


@guarded
def run(
    protocol: ProtocolName,
    seed: Seed = None,
    jobs: Jobs = None,
    folder: Folder = None,
    networks: Networks = None,
    epochs_scale: EpochsScale = 1.0,
    trust: Trust = False,
) -> None:
    """Run every network of a protocol through every arm."""
    loaded, result = run_protocol(protocol, seed, jobs, folder, networks, epochs_scale, trust)
    from rich.table import Table

    from predictlearn.reporting.page import format_value

    console = output()
    console.print(
        f"\n{loaded.name}: {result.n_networks} networks, seed {result.seed}", markup=False
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("arm", "phase", "measure"):
        table.add_column(name)
    for name in ("first", "last", "sd of last"):
        table.add_column(name, justify="right")
    for row in _losses(result).to_dict("records"):
        numbers = (format_value(row[key], 4) for key in ("first", "last", "sd"))
        table.add_row(*(str(row[key]) for key in ("arm", "phase", "quantity")), *numbers)
    console.print(table)
    _say_criteria(result)
    if folder is None:
        say("Note", "nothing was kept; --output DIR keeps the table of all networks.", "yellow")
    else:
        console.print(f"\nTables: {folder.resolve()}", markup=False, soft_wrap=True)


def compare_two_arms(
    protocol: str,
    arms: tuple[str, str] | None,
    epoch: float | None,
    method: str,
    correction: str,
    seed: int | None,
    jobs: int | None,
    folder: Path | None,
    networks: int | None,
    epochs_scale: float,
    trust: bool,
) -> None:
    """Compare two arms of a protocol in losses and overlaps, and print what came out.

    Parameters
    ----------
    protocol, arms, epoch, method, correction, seed, jobs, folder, networks, epochs_scale, trust
        As of `predictlearn compare`.
    """
    looked_at = load_protocol(protocol, networks, epochs_scale, trust)
    pair = _pair(looked_at.arms, arms, method, correction)
    if looked_at.spec.cohort.design == "between":
        choice("--method for arms of different animals", method, UNPAIRED)
    loaded, result = run_protocol(protocol, seed, jobs, folder, networks, epochs_scale, trust)
    from predictlearn.predictions.arms import comparable_quantities, compare_arms

    at = "last" if epoch is None else epoch
    paired = result.design == "within"
    names = comparable_quantities(result.table, pair, at)
    taken, censored = _criterion(result, pair, names)
    families = {
        "losses": [name for name in names if name.startswith("loss")],
        "overlaps": [name for name in names if not name.startswith("loss") and name not in _ENDS],
        "criterion": taken,
    }
    table = compare_arms(
        result.table,
        pair,
        quantities=families,
        epoch=at,
        method=method if paired else UNPAIRED[method],
        correction=correction,
        seed=result.seed,
        paired=paired,
    )
    waits, said = _waits(loaded, result, pair) if censored else (None, [])
    if waits is not None:
        table = _with_waits(table, waits, correction)
    first = table.iloc[0]
    n_left_out = int(first["n_left_out"])
    # of groups of different animals, those of other arms are no part of it
    n_networks = int(result.table.loc[result.table["arm"].isin(pair), "network"].nunique())
    from rich.table import Table
    from rich.text import Text

    from predictlearn.reporting.page import format_value
    from predictlearn.statistics.comparisons import number, span

    console = output()
    design = "paired" if paired else "different animals"
    console.print(
        f"\n{loaded.name}: {pair[0]} minus {pair[1]}, {n_networks - n_left_out} networks, "
        f"at epoch {first['epoch_first']:g} of {pair[0]} and epoch {first['epoch_second']:g} of "
        f"{pair[1]}; {design}, p corrected by {correction} within losses and within overlaps.",
        markup=False,
        soft_wrap=True,
    )
    if n_left_out:
        message = "did not get through both arms and are left out"
        say("Note", f"{n_left_out} of {n_networks} networks {message}.", "yellow")
    for sentence in said:
        say("Note", sentence, "yellow")
    if "loss" not in names:
        say(
            "Note",
            "the loss in training is left out, since the arms do not train the same task there; "
            "`evaluate` in the protocol tests the same tasks in both.",
            "yellow",
        )
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("outcome", overflow="fold")
    for name in ("difference", "95% interval", "effect", "p", "animals"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("verdict")
    for row in table.to_dict("records"):
        animals = row["animals_needed"]
        shown.add_row(
            Text(str(row["quantity"])),
            number(row["estimate"]),
            Text(span(row["low"], row["high"])),
            number(row["effect"]),
            format_value(row["p_corrected"], 4, probability=True),
            str(int(animals)) if math.isfinite(animals) else "–",
            "different" if row["significant"] else "not shown",
        )
    console.print(shown)
    console.print(
        f"\nAnimals: {'pairs' if paired else 'as many in each group,'} that give a power of 0.8 to "
        "see an effect of that size at level 0.05, if animals vary as these networks do. Not "
        "shown: not shown to differ, which is not the same as equal."
    )
    if folder is not None:
        from predictlearn.comparing.arms_page import arms_report
        from predictlearn.files import csv_bytes
        from predictlearn.reporting.folder import write_files
        from predictlearn.reporting.page import report_files

        title = f"{loaded.name}: {pair[0]} minus {pair[1]}"
        settings = {"networks": n_networks, "epochs scale": epochs_scale, "method": method}
        options = {"arms": arms, "epoch": epoch, "method": method, "seed": result.seed,
                   "correction": correction, "networks": networks, "trust": trust,
                   "epochs-scale": None if epochs_scale == 1 else epochs_scale}  # fmt: skip
        command = as_command(["predictlearn", "compare", protocol], options)
        report = arms_report(table, title, design, seed=result.seed, settings=settings,
                             command=command, notes=said)  # fmt: skip
        files = report_files(report) | {"comparison.csv": csv_bytes(table)}
        place = write_files(folder, files)
        console.print(f"Page: {place / 'index.html'}", markup=False, soft_wrap=True)
        console.print(f"Tables: {place}", markup=False, soft_wrap=True)


# What is measured of a phase that trains to a criterion.
_ENDS = ("epochs_to_criterion", "criterion_reached")


def _criterion(
    result: ProtocolResult, pair: tuple[str, str], names: Sequence[str]
) -> tuple[list[str], int]:
    """Return epochs to the criterion where all of two arms have them, and how many do not.

    Of the last phase of each arm, as all that is compared.
    """
    if _ENDS[0] not in names:
        return [], 0
    rows = result.table[result.table["quantity"] == _ENDS[0]]
    ends = rows.groupby(["arm", "network"])["value"].last()
    reached = [int(ends[arm].notna().sum()) for arm in pair]
    censored = sum(int(ends[arm].isna().sum()) for arm in pair)
    taken = [_ENDS[0]] if min(reached) >= 2 and not censored else []
    return taken, censored


def _waits(
    loaded: Protocol, result: ProtocolResult, pair: tuple[str, str]
) -> tuple[pd.DataFrame | None, list[str]]:
    """Return two arms compared in epochs to a criterion that some do not reach, and in words."""
    from predictlearn.comparing.protocols import ProtocolRun, compare_protocols
    from predictlearn.errors import InputError

    starts = [start.matrix for start in result.starts]
    run = ProtocolRun(loaded.name, result.table, starts, {}, result.seed)
    try:
        found = compare_protocols([run], _ENDS[0], arms=pair, seed=result.seed)
    except InputError as error:
        return None, [str(error)]
    said = found.tests["statement"].tolist()
    return found.asked_rows, [*found.notes[1:], *said[:2]]


def _with_waits(table: pd.DataFrame, waits: pd.DataFrame, correction: str) -> pd.DataFrame:
    """Return comparisons of arms with that of waits, a family of its own."""
    import pandas as pd

    row = waits.iloc[0]
    own = {name: row[name] for name in table.columns if name in waits}
    labels = {name: table[name].iloc[0] for name in ("first", "second", "epoch_first",
                                                    "epoch_second")}  # fmt: skip
    own |= labels | {
        "quantity": _ENDS[0],
        "family": "criterion",
        "family_size": 1,
        "p_corrected": row["p"],
        "correction": correction,
        "significant": bool(row["p"] < 0.05),
        "n_left_out": 0,
        "mean_first": float("nan"),
        "mean_second": float("nan"),
        "animals_needed": float("nan"),
    }
    return pd.concat([table, pd.DataFrame([own])], ignore_index=True)


METHODS = ("t", "wilcoxon", "permutation")
# What they are where the arms are different animals.
UNPAIRED = {"t": "welch", "permutation": "permutation"}


def _pair(
    known: Sequence[str], arms: tuple[str, str] | None, method: str, correction: str
) -> tuple[str, str]:
    """Return the two arms to compare, or raise before anything is run."""
    from predictlearn.errors import InputError
    from predictlearn.statistics.corrections import CORRECTIONS

    choice("--method", method, METHODS)
    choice("--correction", correction, CORRECTIONS)
    if arms is None:
        if len(known) < 2:
            raise InputError(
                f"this protocol has one arm, {known[0]!r}; a comparison needs two. Add an arm."
            )
        return known[0], known[1]
    first, second = (choice("--arms", name, known) for name in arms)
    if first == second:
        raise InputError(f"--arms must be two different arms; got {first!r} twice.")
    return first, second


def load_protocol(name: str, networks: int | None, epochs_scale: float, trust: bool) -> Protocol:
    """Read a protocol, with another number of networks or other epochs if asked."""
    from predictlearn.checks import positive
    from predictlearn.protocol import Protocol

    positive("--epochs-scale", epochs_scale)
    protocol = Protocol.load(name, trust=trust)
    if networks is not None:
        cohort = {**protocol.to_dict()["cohort"], "networks": networks}
        cohort.pop("sizes", None)  # as many in every arm, for a quick look
        protocol = protocol.replace(cohort=cohort)
    return protocol.with_epochs(epochs_scale)


def run_protocol(
    name: str,
    seed: int | None,
    jobs: int | None,
    folder: Path | None,
    networks: int | None,
    epochs_scale: float,
    trust: bool,
) -> tuple[Protocol, ProtocolResult]:
    """Read and run a protocol."""
    n_jobs = jobs_or_all(jobs)
    seed = None if seed is None else checked_seed(seed)
    kept = "nothing was kept; with --output DIR, finished networks would have been."
    if folder is not None:
        kept = f"finished networks are kept in {folder}; the same command goes on from there."
    with interruptible(kept):
        protocol = load_protocol(name, networks, epochs_scale, trust)
        result = protocol.run(seed=seed, n_jobs=n_jobs, output=folder, progress=True)
    for row in result.failed.to_dict("records"):
        say(
            "Warning",
            f"network {row['network']} did not get through arm {row['arm']}, phase "
            f"{row['phase']}: {row['reason']}",
            "yellow",
        )
    diverged = ~result.failed["reason"].str.startswith("dropped out")
    if len(result.failed) >= result.n_courses and diverged.any():
        raise DivergenceError("no network got through any arm; try a smaller rate.", 0)
    return protocol, result


def _say_criteria(result: ProtocolResult) -> None:
    """Say how many epochs it took to the criterion of every phase that has one."""
    rows = result.table[result.table["quantity"] == _ENDS[0]]
    if rows.empty:
        return
    from rich.table import Table

    from predictlearn.reporting.page import format_value

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("arm", "phase"):
        table.add_column(name)
    for name in ("epochs to criterion", "sd", "reached"):
        table.add_column(name, justify="right")
    for (arm, phase), values in rows.groupby(["arm", "phase"], sort=False)["value"]:
        mean, sd = (format_value(found, 4) for found in (values.mean(), values.std()))
        reached = f"{int(values.notna().sum())} of {len(values)}"
        table.add_row(str(arm), str(phase), mean, sd, reached)
    output().print()
    output().print(table)


def _losses(result: ProtocolResult) -> pd.DataFrame:
    """Return first and last losses of every arm and phase, averaged over networks."""
    import numpy as np

    table = result.table
    loss = table[table["quantity"].str.startswith("loss") & np.isfinite(table["value"])]
    keys = ["arm", "phase", "quantity"]
    ends = loss.groupby([*keys, "network"], sort=False)["value"].agg(["first", "last"])
    found = ends.groupby(keys, sort=False).agg(
        first=("first", "mean"), last=("last", "mean"), sd=("last", "std")
    )
    return found.reset_index()
