"""The report of a prediction run: what was fitted, what it predicts, and how that compares."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.pipeline.report_real import bci_section, sessions_section
from predictlearn.pipeline.sessions import SessionsComparison
from predictlearn.reporting import Figure, Report, Section, Table, figures
from predictlearn.theory.names import hidden_names

if TYPE_CHECKING:
    from predictlearn.pipeline.run import PredictionRun

__all__ = ["make_report"]

_SMOOTH = 0.5


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

    real: tuple[Section, ...] = ()
    lead = [_fit_lead(run), *_experiment_lead(run)]
    if run.real is not None:
        if isinstance(run.real, SessionsComparison):
            section, sentence = sessions_section(run.real)
        else:
            section, sentence = bci_section(run.real)
        real, lead = (section,), [*lead, sentence]
    return Report(
        title=run.case.title,
        subtitle=_subtitle(run),
        lead=tuple(lead),
        highlights=_highlights(run),
        sections=(
            _fit_section(run),
            _overlap_section(run),
            _exposure_section(run),
            _order_section(run),
            *real,
        ),
        simulated=run.case.simulated,
        reproduce={
            "command": _command(run),
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


def _command(run: PredictionRun) -> str:
    """Return the command that makes the same report again."""
    own = run.case.name not in ("simulated-learning", "bci-learning")
    what = "RECORDING.npz" if own else f"--dataset {run.case.name}"
    draws = run.settings["draws of the hidden overlaps"]
    return f"predictlearn predict {what} --seed {run.settings['seed']} --draws {draws}"


def _subtitle(run: PredictionRun) -> str:
    """Return one line about the recording."""
    r = run.case.recording
    units = "latent factors" if run.case.name == "bci-learning" else "neurons"
    return (
        f"{r.n_trials} trials of {r.n_bins} bins of {1000 * r.dt:g} ms, {r.n_neurons} {units}; "
        f"{run.fitted.model.nonlinearity} network of rank {run.fitted.model.rank}"
    )


def _highlights(run: PredictionRun) -> tuple[tuple[str, str], ...]:
    """Return a few numbers to show large."""
    mean, error = run.fitted.held_out
    tiles = [(f"{mean:.3f}", f"held-out R² of rank {run.fitted.model.rank} (± {error:.3f})")]
    share = run.fitted.share_of_ceiling
    if share is not None:
        tiles.append((f"{share:.0%}", "of what the condition means explain"))
    band = run.experiments.exposure.band.iloc[0]
    tiles.append(
        (
            f"{100 * band['mean']:+.1f}%",
            "mean loss over learning, changed minus original network, in % of the first loss",
        )
    )
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
    mean, error = run.fitted.held_out
    text = (
        f"{_article(run.fitted.model.nonlinearity)} network of rank {run.fitted.model.rank} "
        f"explains {mean:.3f} ± {error:.3f} (standard error over folds) of the variance of held-out trials"
    )
    if run.fitted.ceiling is not None:
        text += (
            f", {run.fitted.share_of_ceiling:.0%} of the {run.fitted.ceiling.mean:.3f} that the "
            "training trials' mean of the same condition and bin explains"
        )
    return text + "."


def _experiment_lead(run: PredictionRun) -> list[str]:
    """Return the findings of both experiments, each in a sentence with its band."""
    design = run.experiments.design
    band = run.experiments.exposure.band.iloc[0]
    faster = "less" if band["mean"] < 0 else "more"
    clear = max(band["share_positive"], 1 - band["share_positive"])
    first = (
        "Perturbation exposure: two networks that this recording cannot tell apart, one with every "
        f"|v|² doubled, learn to {design.labels['exposing']} with {faster} loss for the second "
        f"({100 * band['mean']:+.2f}% of the first loss on average over learning; "
        f"{100 * band['low']:+.2f} to {100 * band['high']:+.2f}% over what the recording cannot "
        f"tell, the same sign in {clear:.0%} of {int(band['n_draws'])} draws)."
    )
    rows = run.experiments.order.band.set_index("name")
    forget = rows.loc["forgetting of A, loss after B minus before"]
    if isinstance(forget, pd.DataFrame):
        forget = forget.iloc[0]
    second = (
        f"Training order: learning B ({design.labels['B']}) after A ({design.labels['A']}) changes "
        f"the loss on A by {forget['mean']:+.3g} of its loss before learning "
        f"({forget['low']:+.3g} to {forget['high']:+.3g} over what the recording cannot tell)."
    )
    return [first, second]


def _fit_section(run: PredictionRun) -> Section:
    """Return how well the network describes the recording."""
    fit, model = run.fitted, run.fitted.model
    ceiling = None if fit.ceiling is None else fit.ceiling.mean
    recorded, fitted, time, what = _example(run)
    timing = [f"the time constant is {1000 * model.tau_:.0f} ms"]
    timing.append("fitted" if model.tau == "fit" else "given")
    if model.latency == "fit":
        timing.append(f"the inputs arrive after {1000 * model.latency_:.0f} ms, fitted")
    paragraphs = [
        "Activity is modelled as h = M k_m + U k_u: once the few dynamical overlaps, the time "
        "constant and the latency are given, the reduced activity k(t) is known and every neuron "
        f"is a regression on it. Here {', '.join(timing)}.",
        f"The rank is the smallest within one standard error of the best held-out R²: "
        f"**{model.rank}** (best: {fit.ranks.best_rank}).",
    ]
    if fit.ceiling is not None:
        paragraphs.append(
            "The ceiling is what the mean of the training trials with the same condition explains "
            "of the same held-out trials; no model of the condition alone can do much better."
        )
    caveats = ()
    if run.case.recording.observed == "counts":
        caveats = (
            "Single bins hold few spikes, so most of the variance is counting noise that no model "
            "of the rate can explain; a low R² is no sign of a bad fit by itself.",
        )
    table = fit.ranks.summary.assign(chosen=fit.ranks.summary["rank"] == model.rank)
    return Section(
        "What was fitted, and how well",
        tuple(paragraphs),
        (
            Figure(
                "rank",
                "Held-out share of variance by rank, mean and standard error over folds.",
                figures.rank_curve(fit.ranks.summary, model.rank, ceiling=ceiling),
                "Held-out R squared against rank, with the chosen rank marked.",
            ),
            Figure(
                "activity",
                f"Recorded and fitted activity, {what}; neurons from the best fitted to the worst.",
                figures.fitted_activity(recorded, fitted, time, ylabel=_activity_label(run)),
                "Traces of example neurons, recorded and fitted, and a histogram of R squared.",
            ),
        ),
        (Table("ranks", "Held-out R² by rank.", table),),
        caveats=caveats,
    )


def _activity_label(run: PredictionRun) -> str:
    """Return the label of an activity axis."""
    if run.case.recording.observed == "counts":
        return "Spikes per bin"
    return "Latent factor" if run.case.name == "bci-learning" else "Activity"


def _example(run: PredictionRun) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Return recorded and fitted activity of an example, its times, and what it is."""
    r, model = run.case.recording, run.fitted.model
    predicted = model.predict(r.inputs)
    time = r.dt * np.arange(1, r.n_bins + 1)
    if run.case.conditions is not None:
        first = np.unique(run.case.conditions)[0]
        chosen = run.case.conditions == first
        return (
            r.activity[chosen].mean(axis=0),
            predicted[chosen].mean(axis=0),
            time,
            f"mean over the {int(chosen.sum())} trials of one condition ({first:g})",
        )
    width = max(1, round(_SMOOTH / r.dt))
    kernel = np.ones(width) / width

    def smooth(x: np.ndarray) -> np.ndarray:
        return np.apply_along_axis(lambda y: np.convolve(y, kernel, mode="valid"), 0, x)

    # the neurons' common trial of the strongest modulation, so that there is something to see
    best = int(np.argmax(np.var(predicted, axis=1).sum(axis=1)))
    middle = time[width - 1 :] - (width - 1) / 2 * r.dt
    return (
        smooth(r.activity[best]),
        smooth(predicted[best]),
        middle,
        f"one trial, both averaged over {width * r.dt:g} s",
    )


def _overlap_section(run: PredictionRun) -> Section:
    """Return the overlaps by what can be seen."""
    fit, model = run.fitted, run.fitted.model
    frame = fit.overlaps
    drawn = _drawn_hidden(run)
    shown = frame.copy()
    for name in drawn.index:
        shown.loc[name, ["estimate", "low", "high"]] = drawn.loc[name, ["estimate", "low", "high"]]
    truth = run.case.recording.metadata.get("truth")
    caption = "Overlaps with 95% intervals, in the canonical gauge (uu = 1). "
    if truth is not None:
        # the truth of a simulation, brought to the gauge of the fit
        shown["truth"] = truth.canonical().to_series().reindex(shown.index)
        caption += "Black bars: the ground truth of the simulated network. "
    reasons = model.unseen_.to_dict()
    paragraphs = [
        "**Loss-visible** overlaps decide what the network does now. A **recording** also shows "
        "the other overlaps of m and u. The **hidden** ones act only on learning, so no single "
        f"session shows them; they are drawn from a stated prior ({run.prior.statement()}) among "
        "those that some network can have, and every prediction below carries the spread of these draws.",
        "U → U Q, V → V Q⁻ᵀ changes no activity, so u and v are reported in the gauge U'U / N = 1. "
        "The table of gauge-invariant combinations holds what does not depend on that choice.",
    ]
    if reasons:
        words = "; ".join(f"`{name}`: {reason}" for name, reason in list(reasons.items())[:4])
        paragraphs.append(f"Unseen: {words}.")
    return Section(
        "Overlaps: what this recording shows and what it hides",
        tuple(paragraphs),
        (
            Figure(
                "overlaps",
                caption + "Open diamonds: hidden overlaps, mean and 95% of the prior draws.",
                figures.overlap_intervals(shown.reset_index()),
                "Dots with intervals for each overlap, grouped by what can see it.",
            ),
        ),
        (
            Table("overlaps", "Overlaps, canonical gauge, by what can see them.", frame),
            Table(
                "gauge-invariants",
                "Combinations that no gauge changes, and fitted times (s).",
                model.gauge_invariants_.rename_axis("name"),
            ),
        ),
    )


def _drawn_hidden(run: PredictionRun) -> pd.DataFrame:
    """Return mean and band of the prior draws of the hidden overlaps, canonical gauge."""
    fit = run.fitted
    draws = run.prior.draw(fit.model.overlaps_, *fit.sizes, n=200, seed=run.settings["seed"])
    table = pd.DataFrame([draw.canonical().to_series() for draw in draws])
    unseen = [n for n in hidden_names(*fit.sizes) if not np.isfinite(fit.model.overlaps_[n])]
    return pd.DataFrame(
        {
            "estimate": table[unseen].mean(),
            "low": table[unseen].quantile(0.025),
            "high": table[unseen].quantile(0.975),
        }
    )


def _exposure_section(run: PredictionRun) -> Section:
    """Return the perturbation-exposure experiment."""
    p, design = run.experiments.exposure, run.experiments.design
    tests = p.tests.assign(label=p.tests["name"], group=p.tests["family"])
    apart = tests[tests["family"] == "divergence during learning"]
    effects = pd.DataFrame(
        {
            "label": apart["label"],
            "estimate": apart["effect"],
            "low": apart["effect_low"],
            "high": apart["effect_high"],
            "p": apart["p_corrected"],
        }
    )
    return Section(
        "Experiment 1: perturbation exposure",
        (
            f"Two groups of animals with the same recordings learn to {design.labels['exposing']}. "
            "In the second group every |v|² is doubled, which changes no activity, no output, and "
            "no response to any input before learning.",
            *_paragraphs(p.statement),
            f"**What to measure.** {p.observable}",
            f"An epoch below is one unit of learning time ({design.unit}).",
        ),
        (
            Figure(
                "exposure-curves",
                "Predicted learning curves of the original and the changed network. Filled: spread "
                "between animals; hatched: what the recording could not tell.",
                figures.learning_curves(
                    p.curves,
                    arms=["original", "changed"],
                    xlabel=_xlabel(design.unit),
                    ylabel="Loss (share of the loss before learning)",
                ),
                "Two learning curves with bands.",
            ),
            Figure(
                "exposure-effects",
                "Effect sizes of the differences, changed minus original, with 95% intervals and "
                "corrected p values.",
                figures.effect_sizes(effects, xlabel="Hedges-corrected dz (95% interval)"),
                "Forest plot of effect sizes.",
            ),
        ),
        (
            Table(
                "exposure-tests",
                "Equivalence before learning (all three must hold) and divergence during it.",
                p.tests,
                columns=_TEST_COLUMNS,
            ),
            Table(
                "exposure-band",
                "The differences with what the recording could not tell, apart from the spread "
                "between animals.",
                p.band,
                columns=_BAND_COLUMNS,
            ),
            Table(
                "exposure-account",
                "Which overlap accounts for the difference in the speed of learning at its start.",
                p.account_summary,
                columns=("overlap", "contribution", "low", "high", "share"),
            ),
            Table(
                "animals",
                "Animals needed for a power of 0.8 (pairs, or animals in each of two groups).",
                p.animals,
                decimals={"effect": 2, "n": 0, "power": 2},
                columns=_ANIMAL_COLUMNS,
            ),
        ),
        caveats=(
            "The spread between animals is an assumption (each vector changed at random by "
            f"{run.settings['spread between animals']:.0%}), and simulated animals carry no "
            "measurement noise; real ones need more animals than the table says.",
        ),
    )


_TEST_COLUMNS = ("name", "verdict", "estimate", "low", "high", "effect", "p_corrected")
_BAND_COLUMNS = ("name", "mean", "low", "high", "share_positive")
_ANIMAL_COLUMNS = ("outcome", "design", "effect", "n", "power")

# Where the long statement of a prediction begins a new thought.
_BREAKS = re.compile(
    r"(?<=\.) (?=During learning|At the start of|With the spread between simulated networks, "
    r"without measurement noise \(paired|With the spread between animals|Trace of A after B: "
    r"|Trace of B after A: |Averaged over|Trace of A after B, rms|Simulated networks carry)"
)


def _paragraphs(statement: str) -> list[str]:
    """Return a long statement as paragraphs."""
    return _BREAKS.split(statement)


def _article(nonlinearity: str) -> str:
    """Return the nonlinearity with its indefinite article, to begin a sentence."""
    return f"{'An' if nonlinearity[0] in 'aeiou' else 'A'} {nonlinearity}"


def _order_section(run: PredictionRun) -> Section:
    """Return the training-order experiment."""
    p, design = run.experiments.order, run.experiments.design
    shown = p.tests[p.tests["family"] == "performance"]
    effects = pd.DataFrame(
        {
            "label": shown["name"],
            "estimate": shown["effect"],
            "low": shown["effect_low"],
            "high": shown["effect_high"],
            "p": shown["p_corrected"],
        }
    )
    trace = p.tests[p.tests["family"] == "trace of A after B"]
    changes = pd.DataFrame(
        {
            "name": trace["name"],
            "arm": "A before B, minus B alone",
            "mean": trace["estimate"],
            "low": trace["low"],
            "high": trace["high"],
            "visibility": trace["visibility"],
        }
    )
    return Section(
        "Experiment 2: training order",
        (
            f"Every animal learns A ({design.labels['A']}) and B ({design.labels['B']}) in either "
            "order, from the same start.",
            *_paragraphs(p.statement),
            f"**What to measure.** {p.observable}",
        ),
        (
            Figure(
                "order-curves",
                "Predicted loss on both tasks through both phases. Filled: spread between animals; "
                "hatched: what the recording could not tell.",
                figures.learning_curves(
                    p.curves,
                    quantities=["loss on A", "loss on B"],
                    xlabel=_xlabel(design.unit),
                    ylabel="Loss (share of first)",
                ),
                "Loss on A and on B in both orders.",
            ),
            Figure(
                "order-effects",
                "Effect sizes of the order on performance, paired within animal.",
                figures.effect_sizes(effects, xlabel="Hedges-corrected dz (95% interval)"),
                "Forest plot of effect sizes.",
            ),
            Figure(
                "order-trace",
                "The trace that A leaves in the overlaps once B is learned: overlaps after A and "
                "B, minus those of the same animal after B alone.",
                figures.overlap_changes(
                    changes, xlabel="Difference of the overlap (95% interval of the mean)"
                ),
                "Differences of overlaps with intervals, grouped by visibility.",
            ),
        ),
        (
            Table(
                "order-tests",
                "All comparisons; each family is corrected by itself.",
                p.tests,
                columns=_TEST_COLUMNS,
                max_rows=14,
            ),
            Table(
                "order-band",
                "The same differences with what the recording could not tell.",
                p.band,
                columns=_BAND_COLUMNS,
                max_rows=14,
            ),
        ),
        caveats=(
            "Without noise and for small steps, the linear theory returns the visible and the "
            "invisible overlaps after A-B-A; traces here come from learning that is not finished, "
            "from finite steps, and for erf from its nonlinearity.",
        ),
    )


def _xlabel(unit: str) -> str:
    """Return the label of a learning axis."""
    return f"Learning time ({unit})"
