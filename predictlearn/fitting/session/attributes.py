"""What a fit of one session tells: its tables, its loadings and what `predict` needs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.errors import UndeterminedWarning
from predictlearn.fitting.session import bootstrap
from predictlearn.fitting.session.count_noise import log_likelihood_constant
from predictlearn.fitting.session.determined import UNREAD, undetermined
from predictlearn.fitting.session.loading_moments import noise_variance
from predictlearn.fitting.session.optima import Timing
from predictlearn.fitting.session.overlap_table import (
    Raw,
    canonical,
    interval_table,
    invariants,
    named,
    never_negative,
    unseen_reasons,
)
from predictlearn.fitting.session.search.levenberg_marquardt import Problem, Solution
from predictlearn.fitting.session.search.starts import as_fitted
from predictlearn.fitting.session.unequal_trials import spread_out
from predictlearn.fitting.session.validation import counts, known_gain

__all__ = ["set_fitted"]


# An interval stays where the profile moves a number by less than its half width over this.
_BEYOND = 1.3


def set_fitted(
    model: Any,
    problem: Problem,
    solution: Solution,
    outputs: Array | None,
    readout: Array | None,
    timing: Timing | None,
) -> None:
    """Bring the solution to the canonical gauge and set the fitted attributes.

    Parameters
    ----------
    model : LowRankRNN
        Whose attributes are set.
    problem : Problem
        What was fitted.
    solution : Solution
        Where the search ended.
    outputs : ndarray, shape (trials, time, n_out), or None
        Outputs, NaN where missing.
    readout : ndarray, shape (neurons, n_out), or None
        Readout.
    timing : Timing or None
        Other optima of tau and latency, where they were fitted.
    """
    kept = ~model.silent_
    shown = _Shown(outputs, None if readout is None else readout[kept], model)
    linear = timing.linear if timing else None
    if linear is None and model.n_bootstrap:
        linear = bootstrap.linearise(problem, solution, shown.readout)
    error = linear.error if linear else bootstrap.loading_error(problem, solution)
    raw, output_fit = shown.raw(problem, solution, error)
    best, q = canonical(raw)
    draws = shown.draws(problem, linear, output_fit) if linear else []
    reasons = unseen_reasons(
        problem.layout.n_in, model.rank, len(best.zb), outputs is not None, readout is not None
    )
    open_ = undetermined(problem, solution, raw)
    unread = [name for name, reason in open_.items() if reason == UNREAD]
    if unread:
        warnings.warn(
            f"{', '.join(unread)} are given no number (unseen_): {UNREAD}",
            UndeterminedWarning,
            stacklevel=3,
        )
    reasons |= open_
    model.unseen_ = pd.Series(reasons, name="reason", dtype=object)
    _set_tables(model, problem, best, draws)
    if timing:
        _set_optima(model, problem, timing, shown)
    _hide(model)
    _set_fit(model, problem, solution, best, q)
    model.z_ = readout
    if readout is None and outputs is not None:
        base = np.concatenate([model.m_, model.u_], axis=1)
        model.z_ = base @ np.linalg.lstsq(best.bb, best.zb.T, rcond=1e-12)[0]


@dataclass(frozen=True, eq=False)
class _Shown:
    """What shows the readout, and how draws are made: from solutions to blocks of S."""

    outputs: Array | None
    readout: Array | None
    model: Any

    def raw(
        self, problem: Problem, solution: Solution, error: Array | None = None
    ) -> tuple[Raw, bootstrap.OutputFit | None]:
        """Return the blocks of S at a solution, and the regression of the outputs."""
        if error is None:
            error = bootstrap.loading_error(problem, solution)
        bb, zb, zz = bootstrap.moments(problem, solution.at, error, self.readout)
        output_fit = None
        if self.readout is None and self.outputs is not None:
            output_fit = bootstrap.fit_outputs(problem, solution.theta, self.outputs)
            zb, zz = output_fit.zb, np.full((self.outputs.shape[2],) * 2, np.nan)
        vm, vu, _ = problem.layout.unpack(solution.theta)
        times = problem.dynamics.times(solution.theta)
        return Raw(vm, vu, bb, zb, zz, times), output_fit

    def draws(
        self,
        problem: Problem,
        linear: bootstrap.Linearised,
        output_fit: bootstrap.OutputFit | None,
    ) -> list[Raw]:
        """Return bootstrap replicates, canonical gauge."""
        drawn = bootstrap.replicates(
            problem, linear, output_fit, self.readout, self.model.n_bootstrap, self.model.seed
        )
        return [canonical(r)[0] for r in drawn]


def _free(problem: Problem, raw: Raw) -> dict[str, float]:
    """Return what no gauge changes, with the times that were fitted."""
    layout = problem.layout
    times = zip(("tau", "latency"), raw.times, (layout.fit_tau, layout.fit_latency), strict=True)
    return invariants(raw) | {name: value for name, value, fitted in times if fitted}


def _degrees(problem: Problem) -> int:
    """Return the degrees of freedom of intervals."""
    degrees = problem.data.n_trials - 1
    return min(degrees, problem.data.n_neurons - 1) if problem.sampled else degrees


def _set_tables(model: Any, problem: Problem, best: Raw, draws: list[Raw]) -> None:
    """Set overlaps and intervals, of one optimum."""
    degrees, overlaps = _degrees(problem), named(best)
    model.overlaps_ = pd.Series(overlaps, name="overlap")
    model.replicates_ = pd.DataFrame([named(r) for r in draws], columns=list(overlaps))
    model.intervals_ = _table(overlaps, [named(r) for r in draws], degrees)
    model.gauge_invariants_ = _table(
        _free(problem, best), [_free(problem, r) for r in draws], degrees
    )


def _table(estimate: dict[str, float], draws: list[dict[str, float]], degrees: int) -> pd.DataFrame:
    """Return intervals, those of squares never negative."""
    return interval_table(estimate, draws, 0.95, degrees, never_negative(estimate))


def _set_optima(model: Any, problem: Problem, timing: Timing, shown: _Shown) -> None:
    """Set the table of optima, widen intervals to what they span, and warn."""
    tables = (
        (model.intervals_, named),
        (model.gauge_invariants_, partial(_free, problem)),
    )
    rows = []
    for i, (solution, within) in enumerate(zip(timing.optima, timing.within, strict=True)):
        tau, latency = problem.dynamics.times(solution.theta)
        vu = problem.layout.unpack(solution.theta)[1]
        rows.append((tau, latency, np.trace(vu), -solution.objective, within))
        if i == 0 or not within or not model.n_bootstrap:
            continue
        fitted = as_fitted(problem, solution)
        linear = bootstrap.linearise(fitted, solution, shown.readout)
        raw, output_fit = shown.raw(fitted, solution, linear.error)
        draws = shown.draws(fitted, linear, output_fit)
        there, degrees = canonical(raw)[0], _degrees(problem)
        for table, of in tables:
            other = _table(of(there), [of(r) for r in draws], degrees)
            table["low"] = np.fmin(table["low"], other["low"])
            table["high"] = np.fmax(table["high"], other["high"])
    columns = ["tau", "latency", "vu", "log_likelihood", "within"]
    model.optima_ = pd.DataFrame(rows, columns=columns)
    points = [
        canonical(shown.raw(as_fitted(held, there), there)[0])[0] for held, there in timing.profile
    ]
    for table, of in tables:
        _widen(table, [of(raw) for raw in points])
    said = _open_times(model, timing)
    if said:
        warnings.warn(said, UndeterminedWarning, stacklevel=4)


def _widen(table: pd.DataFrame, points: list[dict[str, float]]) -> None:
    """Widen intervals where the profile of tau moves a number more than its interval allows.

    What the profile moves adds to what else scatters by squares. The latter is no more than the
    whole, so a number that hardly follows tau hardly changes.
    """
    squares = never_negative(list(table.index))
    for name, row in table.iterrows():
        for side, sign in (("low", -1.0), ("high", 1.0)):
            moved = max((sign * (p[name] - row["estimate"]) for p in points), default=0.0)
            reach = sign * (row[side] - row["estimate"])
            if moved > reach / _BEYOND:
                end = row["estimate"] + sign * np.hypot(moved, reach)
                table.loc[name, side] = max(end, 0.0) if name in squares else end


def _open_times(model: Any, timing: Timing) -> str | None:
    """Say what of the times is left open, and what would decide."""
    table = model.optima_[model.optima_["within"]]
    said = []
    if len(table) > 1:
        each = "; ".join(
            f"tau {r.tau:.3g} s, latency {r.latency:.3g} s, vu {r.vu:.3g} (log likelihood "
            f"{r.log_likelihood:.2f})"
            for r in table.itertuples()
        )
        said.append(f"the recording does not tell these apart: {each}; intervals span them")
    if timing.open_below or timing.open_above:
        where = "shorter" if timing.open_below else "longer"
        said.append(f"tau may be any {where} than {model.optima_['tau'][0]:.3g} s as well")
    if not said:
        return None
    return (
        " and ".join(said) + " (optima_). Give tau where it is known from elsewhere; more inputs "
        "than the rank, that change independently, or narrower bins and faster inputs would "
        "decide it"
    )


def _hide(model: Any) -> None:
    """Give no number for what is unseen."""
    hidden = [name for name in model.unseen_.index if name in model.overlaps_.index]
    model.overlaps_[hidden] = np.nan
    model.intervals_.loc[hidden] = np.nan
    if len(model.replicates_):
        model.replicates_[hidden] = np.nan
    letters = {"".join(c for c in name if c.isalpha()) for name in hidden}
    for name in model.gauge_invariants_.index:
        parts = name.split("[")[0].split("*")
        if any(part in letters for part in parts) and name not in ("tau", "latency"):
            model.gauge_invariants_.loc[name] = np.nan


def _set_fit(model: Any, problem: Problem, solution: Solution, best: Raw, q: Array) -> None:
    """Set loadings, noise and what `predict` needs."""
    data, layout = problem.data, problem.layout
    lead, n_in = data.n_lead, layout.n_in
    phi = solution.at.phi.copy()
    phi[:, lead + n_in :] = phi[:, lead + n_in :] @ q
    # Only the flags are needed to predict; the activity itself is not kept.
    model._data = replace(
        data,
        activity=np.zeros((data.n_neurons, 0)),
        seen=None,
        rows=data.rows[:0],
        trial_start=data.trial_start[:1],
    )
    model._phi, model._layout = phi, layout
    model._theta = layout.regauge(solution.theta, q)
    model.n_in_ = n_in
    unit = 1.0 if counts(model) else known_gain(model)
    ones, kept = np.ones(data.n_neurons), ~model.silent_
    loadings = spread_out(phi[:, lead:], kept)
    model.m_, model.u_ = loadings[:, :n_in], loadings[:, n_in:]
    gain = phi[:, int(data.offset)] if data.gain else known_gain(model) * ones
    variance = noise_variance(data, solution.at) * unit**2
    dispersion = np.nan * ones
    model.log_likelihood_ = -solution.objective
    if data.count is not None:
        variance, dispersion = np.nan * ones, data.count.dispersion
        constant = log_likelihood_constant(data.activity, dispersion)
        model.log_likelihood_ = float(constant.sum() - 0.5 * solution.at.squares.sum())
    model.offset_ = spread_out(phi[:, 0] * unit if data.offset else 0.0 * ones, kept)
    model.gain_ = spread_out(gain, kept)
    model.noise_variance_ = spread_out(variance, kept)
    model.dispersion_ = spread_out(dispersion, kept)
    model.activity_mean_ = spread_out(data.sums / data.counts * unit, kept)
    model.tau_, model.latency_ = problem.dynamics.times(solution.theta)
    model.vm_, model.vu_, model.bb_ = best.vm, best.vu, best.bb
    k = replace(problem.dynamics, nodes=1).activity(model._theta)
    k = np.zeros((layout.n_base, data.n_trials, problem.dynamics.n_bins)) if k is None else k
    k = np.moveaxis(k, 0, 2)
    model.k_ = (k[:, :, :n_in], k[:, :, n_in:])
    model.converged_, model.n_iter_ = solution.converged, solution.iterations
