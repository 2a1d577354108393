"""What a fit of one session tells: its tables, its loadings and what `predict` needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.fitting import bootstrap
from predictlearn.fitting.counts import log_likelihood_constant
from predictlearn.fitting.entry import counts, known_gain
from predictlearn.fitting.moments import noise_variance
from predictlearn.fitting.solver import Problem, Solution
from predictlearn.fitting.summary import Raw, canonical, invariants, named, unseen_reasons
from predictlearn.fitting.trials import spread_out

__all__ = ["set_fitted"]

Array = npt.NDArray[np.float64]


def set_fitted(
    model: Any,
    problem: Problem,
    solution: Solution,
    outputs: Array | None,
    readout: Array | None,
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
    """
    linear = bootstrap.linearise(problem, solution) if model.n_bootstrap else None
    error = linear.error if linear else bootstrap.loading_error(problem, solution)
    output_fit, phi = None, solution.at.phi
    zb = np.full((1, problem.layout.n_base), np.nan)
    zz = np.full((1, 1), np.nan)
    loadings = phi[:, problem.data.n_lead :]
    kept = ~model.silent_
    whole = readout
    if readout is not None:
        readout = readout[kept]
        zb, zz = readout.T @ loadings / len(loadings), readout.T @ readout / len(loadings)
    elif outputs is not None:
        output_fit = bootstrap.fit_outputs(problem, solution.theta, outputs)
        zb, zz = output_fit.zb, np.full((outputs.shape[2],) * 2, np.nan)
    vm, vu, _ = problem.layout.unpack(solution.theta)
    times = problem.dynamics.times(solution.theta)
    raw = Raw(vm, vu, bootstrap.moments(problem, phi, error), zb, zz, times)
    best, q = canonical(raw)
    draws = []
    if linear is not None:
        drawn = bootstrap.replicates(
            problem, linear, output_fit, readout, model.n_bootstrap, model.seed
        )
        draws = [canonical(r)[0] for r in drawn]
    _set_tables(model, best, draws, problem, outputs is not None, readout is not None)
    _set_fit(model, problem, solution, best, q)
    model.z_ = whole
    if readout is None and outputs is not None:
        base = np.concatenate([model.m_, model.u_], axis=1)
        model.z_ = base @ np.linalg.lstsq(best.bb, best.zb.T, rcond=1e-12)[0]


def _set_tables(
    model: Any, best: Raw, draws: list[Raw], problem: Problem, outputs: bool, readout: bool
) -> None:
    """Set overlaps, intervals and the reasons for what is unseen."""
    degrees = problem.data.n_trials - 1
    if problem.sampled:
        degrees = min(degrees, problem.data.n_neurons - 1)
    overlaps = named(best)
    model.overlaps_ = pd.Series(overlaps, name="overlap")
    model.replicates_ = pd.DataFrame([named(r) for r in draws], columns=list(overlaps))
    model.unseen_ = pd.Series(
        unseen_reasons(problem.layout.n_in, model.rank, len(best.zb), outputs, readout),
        name="reason",
        dtype=object,
    )
    model.intervals_ = bootstrap.interval_table(overlaps, [named(r) for r in draws], 0.95, degrees)
    timed = [
        name
        for name, fitted in (
            ("tau", problem.layout.fit_tau),
            ("latency", problem.layout.fit_latency),
        )
        if fitted
    ]

    def free(raw: Raw) -> dict[str, float]:
        times = dict(zip(("tau", "latency"), raw.times, strict=True))
        return invariants(raw) | {name: times[name] for name in timed}

    model.gauge_invariants_ = bootstrap.interval_table(
        free(best), [free(r) for r in draws], 0.95, degrees
    )


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
    k = problem.dynamics.activity(model._theta)
    k = np.zeros((layout.n_base, data.n_trials, problem.dynamics.n_bins)) if k is None else k
    k = np.moveaxis(k, 0, 2)
    model.k_ = (k[:, :, :n_in], k[:, :, n_in:])
    model.converged_, model.n_iter_ = solution.converged, solution.iterations
