"""The report of a prediction run: what was fitted, what it predicts, and how that compares."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from predictlearn.pipeline.checked import Checks, checks_of, noise_said
from predictlearn.pipeline.experiments import attempt
from predictlearn.pipeline.learner import RULE_NAMES
from predictlearn.pipeline.real_learning.sessions import SessionsComparison
from predictlearn.pipeline.report.catalogue import catalogue_sections
from predictlearn.pipeline.report.experiments import exposure_section, order_section
from predictlearn.pipeline.report.fit import checks_section, fit_section, overlap_section
from predictlearn.pipeline.report.protocol import left_out_section, protocol_section
from predictlearn.pipeline.report.real import bci_section, sessions_section
from predictlearn.predictions.exposure.other_learner import whether_both
from predictlearn.predictions.laboratory.table import ENTRIES, effect_in_words, entries_for
from predictlearn.predictions.runs import reasons_in_brief
from predictlearn.reporting import Report, Section

if TYPE_CHECKING:
    from predictlearn.pipeline.result import PredictionRun

__all__ = ["make_report"]

_SIMULATED = "The recording in this report was made by a computer model, not measured in an animal."


def make_report(run: PredictionRun) -> Report:
    """Return the report of a run.

    Parameters
    ----------
    run : PredictionRun
        What `predict` found.

    Returns
    -------
    Report
        One page, with its figures and tables.
    """
    from predictlearn import __version__

    checks = checks_of(run.fitted, run.diagnostics)
    problems = list(run.problems)
    lead = [_fit_lead(run), *_checks_lead(checks), *_experiment_lead(run)]
    makers: list[tuple[str, Callable[[], Section]]] = [
        ("fit", lambda: fit_section(run.case, run.fitted)),
        ("checks", lambda: checks_section(run.diagnostics, checks)),
        (
            "overlaps",
            lambda: overlap_section(run.case, run.fitted, run.prior, run.settings["seed"]),
        ),
    ]
    done, plan = run.experiments, run.protocol
    if done is not None and done.exposure is not None:
        exposure, spread = done.exposure, run.settings["spread between animals"]
        makers.append(("perturbation exposure", lambda: exposure_section(exposure, done, spread)))
    if done is not None and done.order is not None:
        order = done.order
        makers.append(("training order", lambda: order_section(order, done)))
    if plan is not None:
        makers.append(("protocol", lambda: protocol_section(plan)))
    made = [attempt(f"the section on {name}", make, problems) for name, make in makers]
    sections = [section for section in made if section is not None]
    tested = attempt("the catalogue", lambda: catalogue_sections(_outputs(run)), problems)
    lead += _lost_lead(run, problems)
    sections += tested or []
    if len(run.excluded) or problems:
        n = run.settings["draws of the hidden overlaps"] * run.settings["animals"]
        sections.append(left_out_section(run.excluded, n, problems))
    if run.real is not None:
        if isinstance(run.real, SessionsComparison):
            section, sentence = sessions_section(run.real)
        else:
            section, sentence = bci_section(run.real)
        sections.append(section)
        lead.append(sentence)
    return Report(
        title=run.case.title,
        subtitle=_subtitle(run),
        lead=tuple(lead),
        highlights=_highlights(run),
        next_steps=_next_steps(run, checks),
        sections=tuple(sections),
        simulated=_SIMULATED if run.case.simulated else False,
        reproduce={
            **_command(run),
            "version": __version__,
            "seed": run.settings["seed"],
            "date": datetime.date.today().isoformat(),
            "data source": str(
                run.case.recording.metadata.get("source", "a recording of your own")
            ),
            "settings": run.settings,
            "seconds by stage": {k: round(v, 1) for k, v in run.seconds.items()},
        },
    )


def _outputs(run: PredictionRun) -> int | None:
    """Return the number of outputs of the recorded task, None where it has none."""
    if run.case.readout is not None:
        return int(run.case.readout.shape[1])
    outputs = run.case.recording.outputs
    return None if outputs is None else int(outputs.shape[2])


def _command(run: PredictionRun) -> dict[str, str]:
    """Return the command that makes the same report again, where the data have a name."""
    if not run.case.named:
        return {}
    draws, seed = run.settings["draws of the hidden overlaps"], run.settings["seed"]
    words = f"predictlearn predict --dataset {run.case.name} --seed {seed} --draws {draws}"
    if run.settings["learns"] != "factors":
        words += f" --learns {run.settings['learns']}"
    if run.settings["rule"] in RULE_NAMES[1:]:
        words += f" --rule {run.settings['rule']}"
    if isinstance(run.settings["rate"], float):
        words += f" --rate {run.settings['rate']:g}"
    return {"command": words}


def _subtitle(run: PredictionRun) -> str:
    """Return one line about the recording."""
    r = run.case.recording
    return (
        f"{r.n_trials} trials of {r.n_bins} bins of {1000 * r.dt:g} ms, {r.n_neurons} "
        f"{run.case.columns}; "
        f"{run.fitted.model.nonlinearity} network of rank {run.fitted.model.rank}"
    )


def _next_steps(run: PredictionRun, checks: Checks) -> tuple[str, ...]:
    """Return what the reader can do next, the most useful first."""
    steps = []
    if checks.n_failed:
        steps.append(
            f"**Look at the fit first**: {checks.n_failed} of {checks.n_tests} checks failed; "
            "“Does the model hold?” says which numbers each one touches and what to try."
        )
    if noise_said(run.fitted):
        steps.append("**Fit counts as counts**: run again with `--noise poisson`.")
    for name in entries_for(_outputs(run))[:1]:
        effect, animals = effect_in_words(name)
        each = "animals in each arm" if "arm" in ENTRIES[name].animals_of else "animals"
        steps.append(
            f"**Plan an experiment**: “What a laboratory can test” holds predictions for such a "
            f"task. Of {name}, the most informative, {animals} {each} would show the effect "
            f"({effect}) with a power of 0.8: `predictlearn predictions {name}`."
        )
    if run.choice is not None and run.choice.protocol is None:
        steps.append(
            "**Predict another experiment**: `--task` with another change of the target "
            "(`recorded:change=scaled,factor=0.5`), one of the built-in tasks, or a protocol file."
        )
    steps.append(
        "**See what one session hides**: record while the animal learns, and fit the sessions with "
        "`LearningFit`; that shows zv, vv and zz, which are drawn from a prior here."
    )
    return tuple(steps)


def _highlights(run: PredictionRun) -> tuple[tuple[str, str], ...]:
    """Return a few numbers to show large."""
    mean, error = run.fitted.held_out
    score = run.fitted.score_name
    tiles = [(f"{mean:.3f}", f"held-out {score} of rank {run.fitted.model.rank} (± {error:.3f})")]
    share = run.fitted.share_of_ceiling
    if share is not None:
        tiles.append((f"{share:.0%}", "of what the condition means explain"))
    if run.experiments is not None and run.experiments.exposure is not None:
        band = run.experiments.exposure.band.iloc[0]
        tiles.append(
            (
                f"{100 * band['mean']:+.1f}%",
                "mean loss over learning, changed minus original network, in % of the first loss",
            )
        )
    if len(run.excluded):
        tiles.append((f"{len(run.excluded)}", "networks left out, see below"))
    if isinstance(run.real, SessionsComparison):
        row = run.real.inside.set_index("quantity").loc["loss"]
        tiles.append(
            (f"{row['inside']} of {row['sessions']}", "later losses inside the predicted band")
        )
    elif run.real is not None:
        drop = run.real.drop.set_index(["quantity", "source"])["estimate"]
        predicted = drop.loc["perturbed mapping, at once"].iloc[0]
        tiles.append((f"{predicted:.0f} mm/s", "predicted progress right after the change"))
    return tuple(tiles)


def _fit_lead(run: PredictionRun) -> str:
    """Return the finding about the fit."""
    fit = run.fitted
    mean, error = fit.held_out
    network = f"{_article(fit.model.nonlinearity)} network of rank {fit.model.rank}"
    if fit.score_name != "R²":
        return (
            f"{network} predicts held-out trials by {mean:.3f} ± {error:.3f} {fit.score_name} "
            "(standard error over folds) better than a constant rate."
        )
    if mean < 0:
        return (
            f"{network} predicts held-out trials worse than their mean (R² {mean:.3f} ± "
            f"{error:.3f}, standard error over folds): the fit cannot be trusted."
        )
    text = (
        f"{network} explains {mean:.3f} ± {error:.3f} (standard error over folds) of the variance "
        "of held-out trials"
    )
    if fit.ceiling is not None:
        text += (
            f", {fit.share_of_ceiling:.0%} of the {fit.ceiling.mean:.3f} that the "
            "training trials' mean of the same condition and bin explains"
        )
    return text + "."


def _checks_lead(checks: Checks) -> list[str]:
    """Return the finding about the checks of the fit."""
    if not checks.n_failed:
        return []
    failed = checks.table.loc[~checks.table["holds"].astype(bool), "test"]
    return [
        f"{checks.n_failed} of {checks.n_tests} checks of the fit failed ({', '.join(failed)}), so "
        "not every number below can be taken at its interval."
    ]


def _lost_lead(run: PredictionRun, problems: list[str]) -> list[str]:
    """Return the findings about what was left out or could not be made."""
    lost, found = run.excluded, []
    if len(lost):
        counts = lost.groupby("experiment", sort=False).size()
        where = ", ".join(f"{n} from {name}" for name, n in counts.items())
        found.append(
            f"Networks left out: {where}. Why ({len(lost)} in all): "
            f"{reasons_in_brief(lost['reason'].tolist())}."
        )
    return [*found, *(f"**Missing**: {problem}" for problem in problems)]


def _experiment_lead(run: PredictionRun) -> list[str]:
    """Return the findings of both experiments, each in a sentence with its band."""
    done = run.experiments
    if done is None:
        return []
    found = []
    if done.exposure is not None:
        band = done.exposure.band.iloc[0]
        row = done.exposure.tests[
            done.exposure.tests["family"] == "divergence during learning"
        ].iloc[0]
        faster = "less" if band["mean"] < 0 else "more"
        clear = max(band["share_positive"], 1 - band["share_positive"])
        who = f"This is where {done.design.who}" + whether_both(
            done.exposure.other_learner, done.design.learns
        )
        nothing = band["low"] == band["high"] == 0
        pair = "two networks that this recording cannot tell apart, one with every |v|² doubled"
        task = done.design.labels["exposing"]
        found.append(
            f"Perturbation exposure: {pair}, learn ({task}) alike, whatever the recording cannot "
            f"tell. {who}."
            if nothing
            else f"Perturbation exposure: {pair}, learn ({task}) with {faster} loss for "
            f"the second ({100 * band['mean']:+.2f}% of the first loss on average over learning; "
            f"{100 * band['low']:+.2f} to {100 * band['high']:+.2f}% over what the recording "
            f"cannot tell, the same sign in {clear:.0%} of {int(band['n_draws'])} draws). Over "
            f"animals: {row['verdict']}, corrected. {who}."
        )
    if done.order is not None:
        rows = done.order.band.set_index("name")
        forget = rows.loc["forgetting of A, loss after B minus before"]
        if isinstance(forget, pd.DataFrame):
            forget = forget.iloc[0]
        labels = done.design.labels
        found.append(
            f"Training order: learning B ({labels['B']}) after A ({labels['A']}) changes the loss "
            f"on A by {forget['mean']:+.3g} of its loss before learning ({forget['low']:+.3g} to "
            f"{forget['high']:+.3g} over what the recording cannot tell)."
        )
    return found


def _article(nonlinearity: str) -> str:
    """Return the nonlinearity with its indefinite article, to begin a sentence."""
    return f"{'An' if nonlinearity[0] in 'aeiou' else 'A'} {nonlinearity}"
