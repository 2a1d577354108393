"""``predictlearn compare``: arms of protocols, or groups of animals in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from predictlearn.cli.console import (
    as_command,
    checked_seed,
    guarded,
    hold_folder,
    interruptible,
    jobs_or_all,
    output,
    output_path,
    say,
)
from predictlearn.cli.experiments import (
    EpochsScale,
    Jobs,
    Networks,
    Seed,
    Trust,
    compare_two_arms,
    load_protocol,
    run_protocol,
)
from predictlearn.errors import InputError, choice

if TYPE_CHECKING:
    from predictlearn.comparing.question import ArmComparison
    from predictlearn.comparing.resampled import PowerAt

__all__ = ["compare"]

_TABLES = {".csv": ",", ".tsv": "\t"}
_DEFAULT_METHOD = "t"


@dataclass(frozen=True)
class _Asked:
    """What was asked of either kind of source."""

    sources: Sequence[str]
    outcome: str
    arms: tuple[str, str] | None
    test: str | None
    margin: float | None
    animals: int | None
    effect: float | None
    ratio: float | None
    simulations: int
    correction: str
    unit: str
    seed: int
    jobs: int
    folder: Path | None
    options: dict[str, Any] = field(default_factory=dict)

    def command(self) -> str:
        """Return the command that asks this."""
        return as_command(["predictlearn", "compare", *self.sources], self.options)


@guarded
def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Protocol files, or names of some that ship; or one table of animals, .csv or "
            ".tsv, one row an observation.",
            metavar="PROTOCOL...|TABLE",
        ),
    ],
    outcome: Annotated[
        str | None,
        typer.Option(
            help="What is compared: a quantity of the protocols, such as loss:A; a column of the "
            "table.",
            show_default="losses and overlaps of one protocol",
        ),
    ] = None,
    arms: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Two arms, the first minus the second; of several protocols as 'PROTOCOL: ARM'.",
            show_default="the first two of a protocol; with --outcome, all",
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="Different animals: welch, permutation, mixed, survival, equivalence or bayes; "
            "the same in both arms: t, wilcoxon, permutation, survival, equivalence or bayes.",
            show_default="by the design: welch or t, mixed with --session, survival with "
            "--censored or of epochs_to_criterion, equivalence with --margin",
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Equivalence: the largest difference that would not matter, in units of the "
            "outcome.",
            show_default=False,
        ),
    ] = None,
    animals: Annotated[
        int | None,
        typer.Option(
            help="Power with so many animals in each arm (pairs, where they are the same), and the "
            "smallest number for 80 and 95%.",
            show_default=False,
        ),
    ] = None,
    effect: Annotated[
        float | None,
        typer.Option(
            help="With --animals: power for this difference too, in units of the outcome; of "
            "survival for this hazard ratio, 2 where the first arm reaches the criterion at twice "
            "the rate of the other.",
            show_default=False,
        ),
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option(
            help="With --animals: animals of the first arm for each one of the other, which "
            "--animals counts.",
            show_default="1",
        ),
    ] = None,
    simulations: Annotated[
        int, typer.Option(help="Simulated experiments for each number of animals.")
    ] = 1000,
    unit: Annotated[
        str, typer.Option(help="Unit of the outcome, for tables and figures.", show_default=False)
    ] = "",
    arm: Annotated[
        str | None, typer.Option(help="Table: column of the arm.", show_default="arm")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Table: column of the animal.", show_default="subject")
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(help="Table: column of the session, for a mixed model.", show_default=False),
    ] = None,
    paired: Annotated[
        bool, typer.Option("--paired", help="Table: the same animals are in both arms.")
    ] = False,
    censored: Annotated[
        str | None,
        typer.Option(
            help="Table: column that is 1 where an animal had not reached the criterion by the "
            "trial in the outcome, else 0.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="Table: arm that the others are compared with.", show_default="the first"
        ),
    ] = None,
    limits: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Table: range that the outcome must lie in.", show_default=False),
    ] = None,
    epoch: Annotated[
        float | None, typer.Option(help="Protocols: epoch to compare at.", show_default="the last")
    ] = None,
    method: Annotated[
        str, typer.Option(help="One protocol without --outcome: t, wilcoxon or permutation.")
    ] = _DEFAULT_METHOD,
    correction: Annotated[
        str,
        typer.Option(
            help="holm, fdr_bh or none, over comparisons of arms; of one protocol within losses "
            "and within overlaps."
        ),
    ] = "holm",
    seed: Seed = None,
    jobs: Jobs = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=output_path,
            metavar="DIRECTORY",
            help="Folder for the page, its figure and tables, and the networks of a protocol. "
            "Interrupted, the same command goes on from there.",
            show_default=False,
        ),
    ] = None,
    networks: Networks = None,
    epochs_scale: EpochsScale = 1.0,
    trust: Trust = False,
) -> None:
    """Compare arms of protocols, or of a table of animals, and say how many animals it takes."""
    table = _is_table(sources)
    of_table = {"arm": arm, "subject": subject, "session": session, "paired": paired or None,
                "censored": censored, "reference": reference, "limits": limits}  # fmt: skip
    of_protocols = {"epoch": epoch, "networks": networks, "trust": trust or None,
                    "epochs-scale": None if epochs_scale == 1 else epochs_scale,
                    "method": None if method == _DEFAULT_METHOD else method}  # fmt: skip
    for name, value in (of_protocols if table else of_table).items():
        if value is not None:
            instead = "; the test is --test" if name == "method" else ""
            kind = "protocols, and this is a table" if table else "a table, and this is a protocol"
            raise InputError(f"--{name} is of {kind}{instead}.")
    for name, value in (("effect", effect), ("ratio", ratio)):
        if value is not None and animals is None:
            raise InputError(f"--{name} is of power: say for how many animals, with --animals.")
    if outcome is None:
        asked_more = {"test": test, "margin": margin, "animals": animals, "unit": unit or None}
        if table or len(sources) > 1 or any(v is not None for v in asked_more.values()):
            what = "a column of the table" if table else "a quantity of the protocols, as loss:A"
            raise InputError(f"--outcome must say what is compared: {what}.")
        compare_two_arms(sources[0], arms, epoch, method, correction, seed, jobs, folder,
                         networks, epochs_scale, trust)  # fmt: skip
        return
    options = {"outcome": outcome, "arms": arms, "test": test, "margin": margin,
               "animals": animals, "effect": effect, "ratio": ratio, "unit": unit or None,
               **of_table,
               **{k: v for k, v in of_protocols.items() if k != "method"}, "seed": seed,
               "simulations": None if simulations == 1000 else simulations,
               "correction": None if correction == "holm" else correction}  # fmt: skip
    if test is None and method != _DEFAULT_METHOD:
        test = options["test"] = method
    request = _Asked(sources, outcome, arms, test, margin, animals, effect, ratio, simulations,
                  correction,
                  unit, checked_seed(seed or 0), jobs_or_all(jobs), folder, options)  # fmt: skip
    hold_folder(folder, command="compare")
    if table:
        _compare_table(request, of_table)
    else:
        _compare_protocols(request, seed, epoch, networks, epochs_scale, trust)


def _is_table(sources: Sequence[str]) -> bool:
    """Return whether a table is compared, or raise InputError where there is more beside it."""
    tables = [name for name in sources if Path(name).suffix.lower() in _TABLES]
    if tables and len(sources) > 1:
        raise InputError(
            f"a table is compared by itself; got {tables[0]!r} and {len(sources) - 1} more. Put "
            "rows of several tables into one, with a column for the arm."
        )
    return bool(tables)


def _compare_table(what: _Asked, columns: dict[str, Any]) -> None:
    """Compare the arms of a table."""
    from predictlearn.comparing.question import asked, compare_table
    from predictlearn.recordings.readers.table_file import read_table

    question = asked(
        what.outcome,
        test=what.test,
        margin=what.margin,
        paired=bool(columns["paired"]),
        session=columns["session"],
        censored=columns["censored"],
        arm=columns["arm"] or "arm",
        subject=columns["subject"] or "subject",
        reference=columns["reference"],
        limits=columns["limits"] or (None, None),
        unit=what.unit,
        seed=what.seed,
    )
    path = Path(what.sources[0])
    data = read_table(path, _TABLES[path.suffix.lower()])
    # as a spreadsheet counts: the header is row 1
    data.index = range(2, len(data) + 2)
    found = compare_table(data, question, arms=what.arms, correction=what.correction)
    title = f"{path.name}: {what.outcome} by {question.arm}"
    _finish(what, found, title, simulated=False)


def _compare_protocols(
    what: _Asked,
    seed: int | None,
    epoch: float | None,
    networks: int | None,
    epochs_scale: float,
    trust: bool,
) -> None:
    """Compare the arms of protocols."""
    from predictlearn.comparing.protocols import ProtocolRun, compare_protocols

    # every protocol is read, and refused, before any is run
    stems = [Path(name).stem for name in what.sources]
    called_all = [
        stem if stems.count(stem) == 1 else f"{stem} {k + 1}" for k, stem in enumerate(stems)
    ]
    known: list[str] = []
    for name, called in zip(what.sources, called_all, strict=True):
        own = load_protocol(name, networks, epochs_scale, trust).arms
        known += own if len(stems) == 1 else [f"{called}: {arm}" for arm in own]
    for arm in what.arms or ():
        choice("--arms", arm, known)
    if what.arms is None and (len(known) < 2 or (what.animals is not None and len(known) > 2)):
        needs = "a comparison needs two" if len(known) < 2 else "--animals is of two: --arms"
        raise InputError(f"there are the arms {', '.join(map(repr, known))}; {needs}.")
    runs = []
    for name, called in zip(what.sources, called_all, strict=True):
        kept = None if what.folder is None else what.folder / "runs" / called.replace(" ", "-")
        protocol, result = run_protocol(name, seed, what.jobs, kept, networks, epochs_scale, trust)
        choice("--outcome", what.outcome, result.table["quantity"].unique().tolist())
        tasks = protocol.to_dict().get("tasks", {})
        starts = [start.matrix for start in result.starts]
        runs.append(ProtocolRun(called, result.table, starts, tasks, result.seed))
    found = compare_protocols(
        runs,
        what.outcome,
        epoch="last" if epoch is None else epoch,
        arms=what.arms,
        test=what.test,
        margin=what.margin,
        correction=what.correction,
        unit=what.unit,
        seed=what.seed,
    )
    _finish(what, found, f"{', '.join(run.name for run in runs)}: {what.outcome}", simulated=True)


def _finish(what: _Asked, found: ArmComparison, title: str, *, simulated: bool) -> None:
    """Add power if asked for, print, and write the page."""
    powers: list[PowerAt] = []
    if what.animals is not None:
        from predictlearn.comparing.resampled import resampled_power

        effects = [] if what.effect is None else [what.effect]
        with interruptible("nothing was written."):
            powers = resampled_power(
                found,
                what.animals,
                effects,
                share=1.0 if what.ratio is None else what.ratio,
                seed=what.seed,
                n_simulations=what.simulations,
                n_jobs=what.jobs,
            )
    _show(found, powers, title)
    if what.folder is None:
        say("Note", "nothing was kept; --output DIR keeps the page and the tables.", "yellow")
        return
    from predictlearn.comparing.page import comparison_report
    from predictlearn.reporting import write

    report = comparison_report(
        found, powers, title=title, command=what.command(), simulated=simulated
    )
    place = write(report, what.folder, command="compare")
    output().print(f"\nPage: {place}", markup=False, soft_wrap=True)


def _show(found: ArmComparison, powers: Sequence[PowerAt], title: str) -> None:
    """Print the tests, what was checked, and the power."""
    from rich.table import Table
    from rich.text import Text

    from predictlearn.comparing.page import said
    from predictlearn.comparing.power_page import counted, power_cautions
    from predictlearn.reporting.page import format_value
    from predictlearn.statistics.comparisons import number, span

    console, question = output(), found.question
    sizes = found.animals.groupby("arm", sort=False)["subject"].nunique()
    listed = ", ".join(f"{n} in {arm}" for arm, n in sizes.items())
    console.print(f"\n{title}; animals: {listed}.", markup=False, soft_wrap=True)
    for note in found.notes:
        console.print(note, markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("comparison")
    level = f"{100 * float(found.tests['level'].iloc[0]):.3g}% interval"
    bayes = "bf10" in found.tests
    several = len(found.asked_rows) > 1 and not bayes
    waits = question.test == "survival"
    unit = question.unit or question.outcome
    units = [str(own or unit) for own in found.tests["unit"]]
    # rows of waits are named below, by what each of them is in
    differ = len(set(units)) > 1 and not waits
    evidence = "BF10" if bayes else "p corrected" if several else "p"
    # what a terminal of 80 columns holds; effects are in the sentences below
    for name in ("estimate" if waits else "difference", level, *(["unit"] if differ else []),
                 evidence, "n"):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=name != "p corrected")
    table.add_column("verdict")
    last = ""
    for row, own in zip(found.tests.to_dict("records"), units, strict=True):
        name, p = str(row["name"]), row["p_corrected"] if several else row["p"]
        if waits:
            pair, _, kind = name.rpartition(", ")
            if pair != last:
                table.add_row(Text(pair))
            last, name = pair, f" {kind}"
        table.add_row(
            Text(name),
            number(row["estimate"]),
            Text(span(row["low"], row["high"])),
            *([Text(own)] if differ else []),
            number(row["bf10"]) if bayes else format_value(p, 4, probability=True),
            str(row["n"]),
            str(row["verdict"]),
        )
    console.print(table)
    named = f"effect: {found.tests['effect_name'].iloc[0]}; "
    if waits:
        named = f"restricted mean: difference in {unit}; other rows: ratios of hazards\n"
    console.print(f"{named}test: {found.tests['method'].iloc[0]}", markup=False)
    for row in found.tests.to_dict("records"):
        console.print(f"\n{said(found, row)}", markup=False, soft_wrap=True)
        if row["checked"]:
            console.print(f"Checked: {row['checked']}.", markup=False, soft_wrap=True)
    if not powers:
        return
    _show_power(powers, counted(found, powers), unit)
    for caution in power_cautions(found, powers):
        say("Note", caution.replace("`", ""), "yellow")


def _show_power(powers: Sequence[PowerAt], of: str, unit: str) -> None:
    """Print power with the number of animals asked about, and the numbers needed."""
    from rich.table import Table
    from rich.text import Text

    from predictlearn.comparing.power_page import power_table
    from predictlearn.statistics.comparisons import number

    made = power_table(powers)
    waits, put_in = "test" in made, str(made.columns[0])
    about = f"power with {powers[0].animals} {of}, and the {of} for 80 and 95%"
    in_unit = "" if waits else f"; differences in {unit}"
    output().print(f"\n{about}{in_unit}", markup=False)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    # cells of words are broken where a terminal is narrow
    second, gap = "test" if waits else "", " (" if powers[0].share == 1 else "\n("
    for name in (put_in, second, "power", "for 80%", "for 95%"):
        shown.add_column(name, justify="left" if name == second else "right",
                         no_wrap=name in (put_in, "power"))  # fmt: skip
    for row in made.to_dict("records"):
        low, high = (math.floor(1000 * row["low"]) / 10, math.ceil(1000 * row["high"]) / 10)
        effect, which = number(row[put_in]), str(row["which"])
        shown.add_row(
            *((f"{effect}, {which.split()[1]}", row["test"]) if waits else (effect, which)),
            Text(f"{100 * row['power']:.1f}% [{low:g}, {high:g}]"),
            *(row[key].replace(" (", gap) for key in ("for_80", "for_95")),
        )
    output().print(shown)
