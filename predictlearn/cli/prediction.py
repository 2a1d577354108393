"""``predictlearn predict``: from a recording to a report, in one command."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from predictlearn.cli.console import (
    checked_seed,
    guarded,
    interruptible,
    jobs_or_all,
    output,
    stages,
)
from predictlearn.cli.reading import (
    Gain,
    Latency,
    Nonlinearity,
    Observed,
    Read,
    Tau,
    fit_settings,
    read_file,
    read_options,
)
from predictlearn.errors import InputError

if TYPE_CHECKING:
    from predictlearn.reporting.report import Report

__all__ = ["predict"]

DEFAULT_OUTPUT = Path("predictlearn-report")


@guarded
def predict(
    recording: Annotated[
        Path | None,
        typer.Argument(
            help="An .npz, .nwb, .mat or .csv recording of your own.", show_default=False
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Instead, a data set by name; see `predictlearn datasets`.", show_default=False
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="With --dataset: another file in the format of that data set.",
            show_default=False,
        ),
    ] = None,
    nonlinearity: Nonlinearity = None,
    observed: Observed = None,
    tau: Tau = None,
    latency: Latency = None,
    gain: Gain = None,
    read: Read = None,
    folder: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the report.")
    ] = DEFAULT_OUTPUT,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace files there that predictlearn did not make."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(help="Processes; all processors if not given.", show_default=False),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(help="Draws of what the recording hides.", show_default=False),
    ] = None,
) -> None:
    """Fit a recording, predict two learning experiments from it, and write a report.

    Without arguments, for the simulated recording that ships with predictlearn.
    """
    n_jobs, seed = jobs_or_all(jobs), checked_seed(seed)
    # no --noise: the report speaks of R2, and models of counts are scored in bits per spike
    settings = fit_settings(nonlinearity, observed, tau, latency, gain)
    options = read_options(read)
    if options and (recording is None or dataset is not None):
        name = dataset or "simulated-learning"
        raise InputError(f"--read is for files; {name} is a data set that is read as a whole.")
    if recording is not None and dataset is not None:
        raise InputError(
            f"give a recording or a data set, not both; got {recording} and {dataset!r}. Another "
            f"file in the format of a data set is read with --dataset {dataset} --file {recording}."
        )
    if file is not None and dataset is None:
        raise InputError("--file goes with --dataset, the data set in whose format it is.")
    from predictlearn.reporting.folder import check_folder

    # before minutes of work, rather than after
    check_folder(folder, overwrite)
    with stages() as tell, interruptible(f"nothing was written to {folder}."):
        tell("loading predictlearn")
        from predictlearn import pipeline

        more: dict[str, Any] = settings if draws is None else {"n_draws": draws, **settings}
        source = file if recording is None else read_file(recording, options)
        run = pipeline.predict(source, dataset, seed=seed, n_jobs=n_jobs, progress=tell, **more)
        tell("drawing the report")
        given: dict[str, list[Any]] = {
            "--file": [file],
            "--nonlinearity": [nonlinearity],
            "--observed": [observed],
            "--tau": [tau],
            "--latency": [latency],
            "--gain": [gain],
            "--read": read or [],
            "--seed": [seed],
            "--draws": [draws],
        }
        report = _with_command(run.report(), recording, dataset, given)
        page = report.write(folder, overwrite)
    _summary(report, page)


def _with_command(
    report: Report, recording: Path | None, dataset: str | None, given: dict[str, list[Any]]
) -> Report:
    """Return the report with the command that makes it again, if it does not have one."""
    if "command" in report.reproduce:
        return report
    words = ["predictlearn", "predict"]
    words += [] if recording is None else [str(recording)]
    words += [] if dataset is None else ["--dataset", dataset]
    for option, values in given.items():
        for value in values:
            words += [] if value is None else [option, str(value)]
    return dataclasses.replace(report, reproduce={"command": shlex.join(words), **report.reproduce})


def _summary(report: Report, page: Path) -> None:
    """Print the key findings and where the report is."""
    from rich.padding import Padding
    from rich.text import Text

    console = output()
    console.print()
    console.print(Text(report.title, style="bold"))
    if report.simulated:
        console.print(Text("Simulated data, not measured in an animal.", style="yellow"))
    for finding in report.lead:
        plain = re.sub(r"`([^`]+)`|\*\*([^*]+)\*\*", r"\1\2", finding)
        console.print(Padding(Text(f"• {plain}"), (0, 0, 0, 1)))
    console.print()
    console.print(Text.assemble("Report: ", (str(page), "bold")), soft_wrap=True)
