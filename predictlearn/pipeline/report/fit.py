"""The part of the report on the fit: how good it is, and what it shows and hides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.pipeline.checked import is_counts
from predictlearn.reporting import Figure, Section, Table, figures
from predictlearn.theory.names import hidden_names

if TYPE_CHECKING:
    from predictlearn.fitting.diagnostics.diagnose import Diagnostics
    from predictlearn.pipeline.cases import Case
    from predictlearn.pipeline.checked import Checks
    from predictlearn.pipeline.fitted import FittedNetwork
    from predictlearn.theory.hidden_prior import HiddenPrior

__all__ = ["checks_section", "fit_section", "overlap_section"]

_SMOOTH = 0.5


def fit_section(case: Case, fit: FittedNetwork) -> Section:
    """Return how well the network describes the recording."""
    model = fit.model
    ceiling = None if fit.ceiling is None else fit.ceiling.mean
    recorded, fitted, time, what = _example(case, fit)
    timing = [f"the time constant is {1000 * model.tau_:.0f} ms"]
    timing.append("fitted" if model.tau == "fit" else "given")
    if model.latency == "fit":
        timing.append(f"the inputs arrive after {1000 * model.latency_:.0f} ms, fitted")
    paragraphs = [
        "Activity is modelled as h = M k_m + U k_u: once the few dynamical overlaps, the time "
        "constant and the latency are given, the reduced activity k(t) is known and every neuron "
        f"is a regression on it. Here {', '.join(timing)}.",
        f"The rank is the smallest whose held-out {fit.score_name} falls short of the best by no "
        "more than one standard error of that difference over folds: "
        f"**{model.rank}** (best: {fit.ranks.best_rank})."
        if len(fit.ranks.summary) > 1
        else f"The rank, **{model.rank}**, was given.",
    ]
    if fit.ceiling is not None:
        paragraphs.append(
            "The ceiling is what the mean of the training trials with the same condition explains "
            "of the same held-out trials; no model of the condition alone can do much better."
        )
    caveats: tuple[str, ...] = ()
    if is_counts(fit) and fit.score_name == "R²":
        caveats = (
            "Single bins hold few spikes, so most of the variance is counting noise that no model "
            "of the rate can explain; a low R² is no sign of a bad fit by itself.",
        )
    table = fit.ranks.summary.assign(chosen=fit.ranks.summary["rank"] == model.rank)
    ranked: tuple[Figure, ...] = ()
    if len(fit.ranks.summary) > 1:
        ranked = (
            Figure(
                "rank",
                f"Held-out {fit.score_name} by rank. Bars: standard error of the difference from "
                "the best rank on the same folds.",
                figures.rank_curve(
                    fit.ranks.summary,
                    model.rank,
                    ceiling=ceiling,
                    ylabel=f"Held-out {fit.score_name}",
                ),
                "Held-out score against rank, with the chosen rank marked.",
            ),
        )
    return Section(
        "What was fitted, and how well",
        tuple(paragraphs),
        (
            *ranked,
            Figure(
                "activity",
                f"Recorded and fitted activity, {what}; neurons from the best fitted to the worst.",
                figures.fitted_activity(recorded, fitted, time, ylabel=_activity_label(case, fit)),
                "Traces of example neurons, recorded and fitted, and a histogram of R squared.",
            ),
        ),
        (
            Table(
                "ranks",
                f"Held-out {fit.score_name} by rank, and by how much less than that of the best "
                "rank on the same folds.",
                table,
                labels={
                    "short": "less than the best by",
                    "short_error": "standard error of that",
                    "standard_error": "standard error",
                    "determined": "folds that determine vm and vu",
                },
            ),
        ),
        caveats=caveats,
    )


def checks_section(diagnostics: Diagnostics | None, checks: Checks) -> Section:
    """Return what the residuals and loadings say about the fit, in words, with the tests."""
    pictures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    if diagnostics is not None:
        pictures = (
            Figure(
                "diagnostics",
                "What is left in the residuals: correlation by lag; eigenvalues of the "
                "correlation between neurons beside shuffled trials; means by bin; loadings "
                "against a normal distribution; recorded and predicted trajectories; time "
                "constants around the fixed points.",
                figures.fit_diagnostics(diagnostics),
                "Six panels of diagnostics of the fit.",
            ),
        )
        tables = (
            Table(
                "diagnostics",
                "Tests of the fit; p is corrected for their number.",
                checks.table,
                columns=("test", "holds", "p_corrected", "measure", "effect"),
                labels={"p_corrected": "p, corrected", "measure": "effect is"},
            ),
        )
    return Section("Does the model hold?", checks.sentences, pictures, tables)


def _activity_label(case: Case, fit: FittedNetwork) -> str:
    """Return the label of an activity axis."""
    if case.recording.observed == "counts" or is_counts(fit):
        return "Spikes per bin"
    return "Latent factor" if case.columns == "latent factors" else "Activity"


def _example(case: Case, fit: FittedNetwork) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Return recorded and fitted activity of an example, its times, and what it is."""
    r, model = case.recording, fit.model
    predicted = model.predict(r.inputs)
    time = r.dt * np.arange(1, r.n_bins + 1)
    if case.conditions is not None:
        first = np.unique(case.conditions)[0]
        chosen = case.conditions == first
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


def overlap_section(case: Case, fit: FittedNetwork, prior: HiddenPrior, seed: int) -> Section:
    """Return the overlaps by what can be seen."""
    model = fit.model
    frame = fit.overlaps
    drawn = _drawn_hidden(fit, prior, seed)
    shown = frame.copy()
    for name in drawn.index:
        shown.loc[name, ["estimate", "low", "high"]] = drawn.loc[name, ["estimate", "low", "high"]]
    truth = case.recording.metadata.get("truth")
    caption = "Overlaps with 95% intervals, in the canonical gauge (uu = 1). "
    if truth is not None:
        # the truth of a simulation, brought to the gauge of the fit
        shown["truth"] = truth.canonical().to_series().reindex(shown.index)
        caption += "Black bars: the ground truth of the simulated network. "
    reasons = model.unseen_.to_dict()
    paragraphs = [
        "**Loss-visible** overlaps decide what the network does now. A **recording** also shows "
        "the other overlaps of m and u. The **hidden** ones act only on learning, so no single "
        f"session shows them; they are drawn from a stated prior ({prior.statement()}) among "
        "those that some network can have, and every prediction below carries the spread of "
        "these draws.",
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
            Table(
                "overlaps",
                "Overlaps, canonical gauge, by what can see them.",
                frame,
                columns=("name", "estimate", "low", "high", "sd", "visibility"),
                labels={"low": "95% from", "high": "to"},
            ),
            Table(
                "gauge-invariants",
                "Combinations that no gauge changes, and fitted times (s).",
                model.gauge_invariants_.rename_axis("name"),
            ),
        ),
    )


def _drawn_hidden(fit: FittedNetwork, prior: HiddenPrior, seed: int) -> pd.DataFrame:
    """Return mean and band of the prior draws of the hidden overlaps, canonical gauge."""
    if fit.sizes[2] == 0:
        # without a readout no whole network can be drawn
        return pd.DataFrame(columns=["estimate", "low", "high"])
    draws = prior.draw(fit.model.overlaps_, *fit.sizes, n=200, seed=seed)
    table = pd.DataFrame([draw.canonical().to_series() for draw in draws])
    unseen = [n for n in hidden_names(*fit.sizes) if not np.isfinite(fit.model.overlaps_[n])]
    return pd.DataFrame(
        {
            "estimate": table[unseen].mean(),
            "low": table[unseen].quantile(0.025),
            "high": table[unseen].quantile(0.975),
        }
    )
