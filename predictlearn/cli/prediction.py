"""``predictlearn predict``: from a recording to a report, in one command."""

from __future__ import annotations

import dataclasses
import shlex
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
from predictlearn.cli.experiments import Trust
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
from predictlearn.errors import InputError

if TYPE_CHECKING:
    from predictlearn.reporting.content import Report

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
    task: Annotated[
        str | None,
        typer.Option(
            help="What is learned: recorded (its own inputs and outputs, for example "
            "recorded:change=scaled,factor=0.5), one of ours such as filter:decay=0.3, or a "
            "protocol file (.yaml). In Python `task`.",
            show_default="recorded",
        ),
    ] = None,
    trust: Trust = False,
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
    learns: Annotated[
        str,
        typer.Option(
            help="What learns: factors, U and V of the connectivity as published, or synapses, "
            "its entries. In Python `learns`."
        ),
    ] = "factors",
    rule: Annotated[
        str | None,
        typer.Option(
            help="How: gradient-flow, gradient-descent, feedback-alignment or rflo. In Python "
            "`rule`.",
            show_default="gradient-flow, with --rate gradient-descent",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Rate of the rule; if not given, learning is in each draw's own learning time. "
            "In Python `rate`.",
            show_default=False,
        ),
    ] = None,
    read: Read = None,
    folder: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            parser=output_path,
            metavar="DIRECTORY",
            help="Folder for the report.",
        ),
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
        typer.Option(
            help="Draws of what the recording hides. In Python `n_draws`.", show_default="16"
        ),
    ] = None,
) -> None:
    """Fit a recording, predict learning experiments from it, and write a report.

    Without arguments, for the simulated recording that ships with predictlearn.

    A data set known by name brings settings of its own; those that are given here replace them.
    """
    n_jobs, seed = jobs_or_all(jobs), checked_seed(seed)
    settings = estimator_settings(
        nonlinearity, observed, tau, latency, gain, noise, ridge, starts, bin_
    )
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
    if trust and not (task or "").endswith((".yaml", ".yml")):
        raise InputError("--trust goes with --task and a protocol file (.yaml).")
    # before minutes of work, rather than after
    hold_folder(folder, overwrite, command="predict")
    from predictlearn.kept import keeping

    nothing = interruptible(f"nothing was written to {folder};")
    with stages() as tell, nothing, keeping("the same command"):
        tell("loading predictlearn")
        from predictlearn import pipeline, reporting

        more: dict[str, Any] = settings if draws is None else {"n_draws": draws, **settings}
        # two sources are refused before either is read
        source: Any = file
        if recording is not None:
            source = recording if dataset else read_file(recording, options)
        learned: Any = task
        if trust:
            from predictlearn.protocol.protocol import Protocol

            learned = Protocol.load(str(task), trust=True)
        run = pipeline.predict(
            source,
            dataset,
            task=learned,
            rank=rank,
            learns=learns,
            rule=rule,
            rate=rate,
            cv=folds,
            seed=seed,
            n_jobs=n_jobs,
            progress=tell,
            **more,
        )
        tell("drawing the report")
        given: dict[str, list[Any]] = {
            "--file": [file],
            "--task": [task],
            "--rank": [None if rank == "auto" else rank],
            "--nonlinearity": [nonlinearity],
            "--observed": [observed],
            "--tau": [tau],
            "--latency": [latency],
            "--gain": [gain],
            "--noise": [noise],
            "--ridge": [ridge],
            "--starts": [starts],
            "--bin": [bin_],
            "--folds": [None if folds == 5 else folds],
            "--learns": [None if learns == "factors" else learns],
            "--rule": [rule],
            "--rate": [rate],
            "--read": read or [],
            "--seed": [seed],
            "--draws": [draws],
        }
        flags = ["--trust"] if trust else []
        report = _with_command(pipeline.make_report(run), recording, dataset, given, flags)
        page = reporting.write(report, folder, overwrite, command="predict")
    _summary(report, page)


def _with_command(
    report: Report,
    recording: Path | None,
    dataset: str | None,
    given: dict[str, list[Any]],
    flags: list[str],
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
    words += flags
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
        console.print(Padding(Text(f"• {plain(finding)}"), (0, 0, 0, 1)))
    console.print()
    console.print(Text.assemble("Report: ", (str(page), "bold")), soft_wrap=True)
