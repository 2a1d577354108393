"""Do the intervals hold? Fit many simulated recordings of known overlaps and count."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import positive_int
from predictlearn.errors import (
    ConvergenceWarning,
    MisfitWarning,
    SilentNeuronsWarning,
    UndeterminedWarning,
)
from predictlearn.fitting.session.estimator import LowRankRNN
from predictlearn.simulation.recordings import random_inputs, simulate_recording
from predictlearn.theory.overlaps import Overlaps
from predictlearn.workers import Parallel, delayed

__all__ = ["Coverage", "interval_coverage"]


@dataclass(frozen=True, eq=False)
class Coverage:
    """How often intervals held the truth.

    Parameters
    ----------
    summary : DataFrame
        One row a quantity: kind ("overlap" or "gauge invariant"), name, truth, covered (count),
        n, share, mean_estimate, mean_sd (of the intervals), actual_sd (of the estimates).
        Overlaps that the gauge fixes are left out.
    table : DataFrame
        One row a quantity and simulation: kind, name, simulation, truth, low, high, estimate,
        covered.
    not_converged : int
        Fits that did not converge; they are counted like the others.
    settings : dict
        Settings and seed.
    """

    summary: pd.DataFrame
    table: pd.DataFrame
    not_converged: int
    settings: dict[str, Any]

    def share(self, kind: str | None = None) -> float:
        """Share of intervals that held the truth, over all quantities or those of one kind."""
        table = self.table if kind is None else self.table[self.table["kind"] == kind]
        return float(table["covered"].mean())


def interval_coverage(
    overlaps: Overlaps,
    nonlinearity: str = "linear",
    n_simulations: int = 100,
    *,
    observed: str = "rate",
    noise: str = "gaussian",
    link: str = "exp",
    rate: float = 1.0,
    n_neurons: int = 200,
    network_size: int | None = None,
    n_trials: int = 50,
    n_bins: int = 60,
    dt: float = 0.1,
    tau: float = 1.0,
    r2: float = 0.6,
    seed: int = 0,
    n_jobs: int = 1,
    **settings: Any,
) -> Coverage:
    """Count how often 95% intervals hold the true overlaps.

    Parameters
    ----------
    overlaps : Overlaps
        The true network.
    nonlinearity : {"linear", "erf"}
        phi, of the simulation and the fit.
    n_simulations : int
        Recordings to simulate and fit.
    observed : {"rate", "current"}
        What is recorded.
    noise : {"gaussian", "poisson", "negative-binomial"}
        Of the simulation and the fit.
    link : {"exp", "softplus"}
        For counts, of the simulation and the fit.
    rate : float
        For counts, spikes per bin at rest, see `simulate_recording`.
    n_neurons : int
        Recorded neurons.
    network_size : int, optional
        Neurons of the simulated network; default: infinitely many. Truth is the overlaps of the
        network, so that neurons recorded from a small erf network also show the error of the
        closure.
    n_trials, n_bins : int
        Size of each recording.
    dt, tau : float
        Bin and time constant, seconds.
    r2 : float
        Share of a bin's variance that is signal, for Gaussian noise.
    seed : int
        Seed.
    n_jobs : int
        Processes.
    **settings : object
        Further settings of `LowRankRNN`.

    Returns
    -------
    Coverage
        Counts by quantity.

    Raises
    ------
    InputError
        Settings that cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> o = Overlaps(np.eye(4)).replace(vm=0.6, vu=0.4)
    >>> c = interval_coverage(o, n_simulations=3, n_neurons=40, n_trials=10, n_bins=30)
    >>> sorted(c.summary["kind"].unique())
    ['gauge invariant', 'overlap']
    """
    positive_int("n_simulations", n_simulations)
    simulation = {
        "dt": dt,
        "tau": tau,
        "nonlinearity": nonlinearity,
        "observed": observed,
        "noise": noise,
        "link": link,
        "rate": rate,
        "n_neurons": n_neurons,
        "network_size": network_size,
        "r2": r2,
    }
    size = (n_trials, n_bins, overlaps.n_in, dt)
    children = np.random.SeedSequence(seed).spawn(n_simulations)
    results = Parallel(n_jobs=n_jobs)(
        delayed(_one)(i, overlaps, child, size, simulation, settings)
        for i, child in enumerate(children)
    )
    table = pd.concat([frame for frame, _ in results], ignore_index=True)
    summary = (
        table.groupby(["kind", "name"], sort=False)
        .agg(
            truth=("truth", "first"),
            covered=("covered", "sum"),
            n=("covered", "size"),
            share=("covered", "mean"),
            mean_estimate=("estimate", "mean"),
            mean_sd=("sd", "mean"),
            actual_sd=("estimate", "std"),
        )
        .reset_index()
    )
    return Coverage(
        summary=summary,
        table=table,
        not_converged=sum(not converged for _, converged in results),
        settings={**simulation, **settings, "size": size, "seed": seed},
    )


def _one(
    number: int,
    overlaps: Overlaps,
    seed: np.random.SeedSequence,
    size: tuple[int, int, int, float],
    simulation: dict[str, Any],
    settings: dict[str, Any],
) -> tuple[pd.DataFrame, bool]:
    """Simulate and fit one recording."""
    first, second = (int(s) for s in seed.generate_state(2))
    inputs = random_inputs(*size, seed=first)
    recording = simulate_recording(overlaps, inputs, seed=second, **simulation)
    with warnings.catch_warnings():
        # Counted in the result instead.
        for counted in (
            ConvergenceWarning,
            MisfitWarning,
            SilentNeuronsWarning,
            UndeterminedWarning,
        ):
            warnings.simplefilter("ignore", counted)
        fit = LowRankRNN(
            rank=overlaps.rank,
            nonlinearity=simulation["nonlinearity"],
            dt=simulation["dt"],
            tau=simulation["tau"],
            observed=simulation["observed"],
            noise=simulation["noise"],
            link=simulation["link"],
            **{"seed": number, "bin": "euler", **settings},
        ).fit(recording.activity, recording.inputs, recording.outputs)
    true = overlaps.canonical()
    frames = []
    for kind, found, truth in (
        ("overlap", fit.intervals_, true.to_series()),
        ("gauge invariant", fit.gauge_invariants_, true.gauge_invariants()),
    ):
        # What the gauge fixes has no interval; what is unseen has none either.
        rows = found[found["sd"] > 1e-9].join(truth.rename("truth"), how="inner")
        frames.append(rows.rename_axis("name").reset_index().assign(kind=kind))
    table = pd.concat(frames, ignore_index=True)
    table["simulation"] = number
    table["covered"] = (table["low"] <= table["truth"]) & (table["truth"] <= table["high"])
    return table, bool(fit.converged_)
