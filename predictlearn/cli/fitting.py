"""``predictlearn fit``: the low-rank structure of one recording."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from predictlearn.cli.console import (
    checked_seed,
    guarded,
    hold_folder,
    interruptible,
    jobs_or_all,
    output,
    output_path,
    plain,
    stages,
)
from predictlearn.cli.estimator import Bin, Folds, Rank, Ridge, Starts, estimator_settings
from predictlearn.cli.reading import (
    Gain,
    Latency,
    Noise,
    Nonlinearity,
    Observed,
    Read,
    Tau,
    read_file,
    read_options,
)

if TYPE_CHECKING:
    import pandas as pd

    from predictlearn.pipeline.fitted import FittedNetwork

__all__ = ["fit"]


@guarded
def fit(
    recording: Annotated[
        str,
        typer.Argument(
            help="An .npz, .nwb, .mat or .csv recording, or a data set by name.",
            metavar="RECORDING",
        ),
    ],
    rank: Rank = "auto",
    nonlinearity: Nonlinearity = None,
    observed: Observed = None,
    tau: Tau = None,
    latency: Latency = None,
    gain: Gain = None,
    noise: Noise = None,
    ridge: Ridge = None,
    starts: Starts = None,
    bin_: Bin = None,
    folds: Folds = 5,
    read: Read = None,
    hold_out: Annotated[
        str, typer.Option(help="What is held out to choose the rank: trials, neurons or both.")
    ] = "trials",
    rule: Annotated[
        str,
        typer.Option(
            help="How the rank is chosen: paired (standard error of differences on the same folds) "
            "or one-se (of the best rank's mean; smaller ranks)."
        ),
    ] = "paired",
    bootstrap: Annotated[
        int,
        typer.Option(help="Bootstrap replicates for the intervals. In Python `n_bootstrap`."),
    ] = 200,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(help="Processes; all processors if not given.", show_default=False),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=output_path,
            metavar="DIRECTORY",
            help="Folder for the tables.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace files there that predictlearn did not make."),
    ] = False,
) -> None:
    """Fit a low-rank network to a recording and show its overlaps with intervals.

    A data set known by name brings settings of its own; those that are given here replace them.
    """
    n_jobs, seed = jobs_or_all(jobs), checked_seed(seed)
    given = estimator_settings(
        nonlinearity, observed, tau, latency, gain, noise, ridge, starts, bin_
    )
    settings: dict[str, Any] = {"n_bootstrap": bootstrap, **given}
    from predictlearn.checks import MOST_FOLDS, positive_int
    from predictlearn.files import csv_bytes
    from predictlearn.pipeline.checked import checked_fit
    from predictlearn.pipeline.fitted import ranks_of
    from predictlearn.reporting.folder import write_files

    ranks_of(rank)
    positive_int("folds", folds, minimum=2, maximum=MOST_FOLDS)
    hold_folder(folder, overwrite, command="fit")
    from predictlearn.kept import keeping

    nothing = interruptible("the fit was not finished and nothing was written;")
    with stages() as tell, nothing, keeping("the same command"):
        tell("reading the recording")
        selection = {"rank": rank, "hold_out": hold_out, "rule": rule, "cv": folds}
        fitted = _fit(recording, read_options(read), settings, selection, seed, n_jobs, tell)
        tell("diagnosing the fit")
        checks = checked_fit(fitted)
        tables = _tables(fitted) | {"diagnostics": checks.table}
        place = None
        if folder is not None:
            # within: where this fails, as on a full disk, the fit is kept
            files = {f"{name}.csv": csv_bytes(table) for name, table in tables.items()}
            files["settings.json"] = _settings(fitted, recording, read, seed)
            place = write_files(folder, files, overwrite, command="fit")
    _show(fitted, tables["overlaps"])
    output().print()
    for sentence in (*fitted.problems, *checks.sentences):
        output().print(f"• {plain(sentence)}", markup=False)
    if place is not None:
        output().print(f"\nTables: {place}", markup=False, soft_wrap=True)


def _fit(
    name: str,
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    selection: Mapping[str, Any],
    seed: int,
    n_jobs: int,
    tell: Any,
) -> FittedNetwork:
    """Read a recording and fit it."""
    from predictlearn.errors import InputError
    from predictlearn.pipeline.cases import case_of
    from predictlearn.pipeline.fitted import fit_recording, ranks_of
    from predictlearn.recordings.datasets.registry import datasets

    is_file = Path(name).exists() or Path(name).suffix or len(Path(name).parts) > 1
    names = [item.name for item in datasets() if item.has_case]
    if not is_file and name not in names:
        known = ", ".join(names)
        raise InputError(
            f"RECORDING must be a file (.npz, .nwb, .mat, .csv) or one of {known}; got {name!r}."
        )
    if is_file:
        case = case_of(read_file(name, options), None, **settings)
    elif options:
        raise InputError(f"--read is for files; {name} is a data set that is read as a whole.")
    else:
        case = case_of(None, name, **settings)
    how = dict(selection)
    ranks = ranks_of(how.pop("rank"), case.rank)
    many = f" of ranks {', '.join(map(str, ranks))}" if len(ranks) > 1 else ""
    tell(f"fitting{many}, with cross-validation")
    return fit_recording(
        case.recording,
        dict(case.settings),
        readout=case.readout,
        conditions=case.conditions,
        seed=seed,
        n_jobs=n_jobs,
        ranks=ranks,
        **how,
    )


def _tables(fitted: FittedNetwork) -> dict[str, pd.DataFrame]:
    """Return the tables of a fit."""
    import numpy as np
    import pandas as pd

    model = fitted.model
    overlaps = fitted.overlaps.reset_index()
    overlaps["not seen because"] = overlaps["name"].map(dict(model.unseen_)).fillna("")
    columns = ["name", "estimate", "low", "high", "sd", "visibility", "not seen because"]
    loadings = {"neuron": np.arange(1, model.m_.shape[0] + 1)}
    for letter, values in (("m", model.m_), ("u", model.u_), ("z", model.z_)):
        if values is not None:
            loadings |= {f"{letter}{k + 1}": column for k, column in enumerate(values.T)}
    return {
        "overlaps": overlaps[columns],
        "gauge-invariants": model.gauge_invariants_.rename_axis("name").reset_index(),
        "loadings": pd.DataFrame(loadings),
        "ranks": fitted.ranks.summary,
    }


def _settings(fitted: FittedNetwork, recording: str, read: list[str] | None, seed: int) -> bytes:
    """Return what the fit was made with, as JSON."""
    from predictlearn import __version__

    model = fitted.model
    content = {
        "recording": recording,
        "read": read or [],
        "version": __version__,
        "seed": seed,
        "rank": int(model.rank),
        "rule": fitted.ranks.settings["rule"],
        "tau": float(model.tau_),
        "latency": float(model.latency_),
        "converged": bool(model.converged_),
        "settings": fitted.settings,
    }
    return (json.dumps(content, indent=2, default=str) + "\n").encode()


def _show(fitted: FittedNetwork, overlaps: pd.DataFrame) -> None:
    """Print the fit."""
    from rich.table import Table

    from predictlearn.reporting.page import format_value

    model, recording = fitted.model, fitted.recording
    console = output()
    mean, error = fitted.held_out
    console.print(
        f"\nRank {model.rank}, {model.nonlinearity}; {recording.n_trials} trials, "
        f"{recording.n_bins} bins of {recording.dt:g} s, {recording.n_neurons} neurons. "
        f"tau {model.tau_:.3g} s, latency {model.latency_:.3g} s."
    )
    ceiling = fitted.share_of_ceiling
    share = "" if ceiling is None else f", {ceiling:.2f} of the ceiling set by condition means"
    score = "R²" if fitted.ranks.settings["metric"] == "r2" else "bits per spike"
    held = "neurons" if fitted.ranks.settings["hold_out"] == "neurons" else "trials"
    console.print(f"Held-out {held}: {score} {mean:.3f} (standard error {error:.3f}){share}.\n")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("overlap", no_wrap=True)
    for name in ("estimate", "95% interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for row in overlaps.to_dict("records"):
        reason = row["not seen because"]
        seen = [] if reason else [format_value(row[key]) for key in ("estimate", "low", "high")]
        note = f"not seen: {reason}" if reason else str(row["visibility"])
        shown = [seen[0], f"[{seen[1]}, {seen[2]}]"] if seen else ["–", ""]
        table.add_row(str(row["name"]), *shown, note)
    console.print(table)
