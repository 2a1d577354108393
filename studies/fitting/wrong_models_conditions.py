"""The conditions of wrong_models.py, one run of each, and the summary of the runs."""

from __future__ import annotations

import time
import warnings
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from wrong_models_simulator import Recording, World, simulate

import predictlearn as pl
from predictlearn.errors import SilentNeuronsWarning

NUMBERS = ("vm", "vu", "mm", "mu", "zm", "zu")
COMBINED = ("zu*vm", "zu*vu*vm", "mu*vm", "vm*uu*vm", "tau", "latency")
QUANTITIES = NUMBERS + COMBINED
# Always unseen where outputs are given: no recording shows them, whatever the model.
HIDDEN = {"zv", "vv", "zz"}
COURSES = 10


@dataclass(frozen=True)
class Condition:
    """One way to be wrong.

    Parameters
    ----------
    says : str
        What is wrong.
    world : World
        What is simulated.
    model : dict
        Settings of LowRankRNN besides dt, tau and seed.
    tau : float or "fit"
        The time constant that is given, relative to the true one.
    """

    says: str
    world: World = field(default_factory=World)
    model: dict[str, Any] = field(default_factory=dict)
    tau: float | str = 1.0


ERF = {"nonlinearity": "erf"}
COUNTS = {"noise": "poisson", "observed": "current"}
OFFSET = {"offset": True}


def _poisson(**settings: Any) -> World:
    """Return counts of neurons whose log rate is the current, 10 a second."""
    return World(noise="poisson", amplitude=0.5, **settings)


def _erf(**settings: Any) -> World:
    """Saturating rates."""
    return World(phi="erf", **settings)


def _network(**settings: Any) -> World:
    """Return recordings of a finite network of saturating neurons."""
    return World(phi="erf", **{"bins": 40, **settings})


CONDITIONS = {
    "linear": Condition("nothing: linear rates"),
    "poisson": Condition("nothing: counts, linear currents", _poisson(), COUNTS),
    "erf": Condition("nothing: saturating rates", _erf(), ERF),
    "linear-tau": Condition("nothing; tau fitted", tau="fit"),
    "poisson-tau": Condition("nothing: counts; tau fitted", _poisson(), COUNTS, "fit"),
    "erf-tau": Condition("nothing: saturating rates; tau fitted", _erf(), ERF, "fit"),
    "bin-0.1": Condition("bins of tau / 10", World(bin=0.01)),
    "bin-0.5": Condition("bins of tau / 2", World(bin=0.05)),
    "bin-1": Condition("bins of tau", World(bin=0.1)),
    "bin-2": Condition("bins of 2 tau", World(bin=0.2)),
    "tau-long": Condition("tau given twice too long", tau=2.0),
    "tau-short": Condition("tau given half", tau=0.5),
    "tau-long-counts": Condition("counts; tau given twice too long", _poisson(), COUNTS, 2.0),
    "tau-long-erf": Condition("saturating rates; tau given twice too long", _erf(), ERF, 2.0),
    "inputs-late": Condition("inputs given one bin late", World(shift=1)),
    "inputs-early": Condition("inputs given one bin early", World(shift=-1)),
    "correlated-noise": Condition("half of the noise is shared and slow", World(shared_noise=0.5)),
    "gain-drift": Condition("gains fall from 1.3 to 0.7 over trials", World(drift=0.6)),
    "sparse": Condition("a fifth of the neurons take part (erf)", _erf(loadings="sparse"), ERF),
    "clustered": Condition("loadings in eight clusters (erf)", _erf(loadings="clustered"), ERF),
    "two-populations": Condition(
        "two populations, one with vm, one with vu (erf)", _erf(loadings="two populations"), ERF
    ),
    "sparse-linear": Condition(
        "a fifth of the neurons take part (linear)", World(loadings="sparse")
    ),
    "clustered-linear": Condition(
        "loadings in eight clusters (linear)", World(loadings="clustered")
    ),
    "tanh": Condition("rates tanh, fitted as erf", World(phi="tanh"), ERF),
    "relu": Condition("rates rectified, fitted as linear with offsets", World(phi="relu"), OFFSET),
    "erf-as-linear": Condition("saturating rates, fitted as linear", _erf()),
    "linear-as-erf": Condition("linear rates, fitted as erf", World(amplitude=0.5), ERF),
    "random-0.8": Condition(
        "random connections, g 0.8 (100 of 400 neurons, erf)",
        _network(network=400, neurons=100, random=0.8),
        ERF,
    ),
    "random-1.5": Condition(
        "random connections, g 1.5 (100 of 400 neurons, erf)",
        _network(network=400, neurons=100, random=1.5),
        ERF,
    ),
    "low-counts": Condition("counts, one spike a second", _poisson(rate=1.0), COUNTS),
    "duplicates": Condition("20 of 80 neurons recorded twice", World(duplicates=20)),
    "neurons-20": Condition("20 neurons", World(neurons=20)),
    "neurons-1000": Condition("1000 neurons", World(neurons=1000)),
    "network-20": Condition(
        "a network of 20 neurons, all recorded (erf)", _network(network=20, neurons=20), ERF
    ),
    "network-1000": Condition(
        "a network of 1000 neurons, 100 recorded (erf)", _network(network=1000, neurons=100), ERF
    ),
    "overdispersed": Condition(
        "counts of variance lam + 2 lam^2, fitted as Poisson",
        _poisson(rate=20.0, dispersion=2.0),
        COUNTS,
    ),
    "counts-as-gaussian": Condition(
        "counts (30 +/- 20 a second) fitted as Gaussian (erf)",
        _erf(noise="poisson", rate=30.0, linear_counts=20.0),
        ERF | OFFSET | {"gain": 0.4},
    ),
    "no-offset": Condition("neurons have a baseline, offset=False", World(baseline=1.0)),
    "second-input": Condition("a second input is not given", World(second_input=0.7)),
    "latent-noise": Condition("the recurrent state is noisy", World(latent_noise=0.4)),
    "start": Condition("trials start anywhere", World(start=0.7)),
    "fluorescence": Condition("fluorescence (decay = 2 tau) taken for rates", World(decay=0.2)),
}


def recording_of(name: str, run: int) -> Recording:
    """Simulate one run; in odd runs every trial has inputs of its own, in even ones ten courses."""
    kinds = None if run % 2 else COURSES
    return simulate(CONDITIONS[name].world, [zlib.crc32(name.encode()), run], kinds)


def truth_of(world: World, overlaps: dict[str, float]) -> dict[str, float]:
    """Return the true value of every quantity of rank one, uu = 1."""
    o = overlaps
    return o | {
        "zu*vm": o["zu"] * o["vm"],
        "zu*vu*vm": o["zu"] * o["vu"] * o["vm"],
        "mu*vm": o["mu"] * o["vm"],
        "vm*uu*vm": o["vm"] ** 2,
        "tau": world.tau,
        "latency": 0.0,
    }


def measured(name: str, run: int) -> dict[str, Any]:
    """Simulate, fit and diagnose once; return one row of the table of runs."""
    condition, begin = CONDITIONS[name], time.perf_counter()
    world, model = condition.world, fitted_model(condition, run)
    with threadpool_limits(1):  # one thread a process
        row = examined(recording_of(name, run), world, model)
    return {"condition": name, "run": run, **row, "seconds": time.perf_counter() - begin}


def fitted_model(condition: Condition, seed: int) -> pl.LowRankRNN:
    """Return the model that is fitted."""
    given, world = condition.tau, condition.world
    tau = given if isinstance(given, str) else given * world.tau
    return pl.LowRankRNN(dt=world.bin, tau=tau, seed=seed, **condition.model)


def examined(
    data: Recording, world: World, model: pl.LowRankRNN, diagnosed: bool = True
) -> dict[str, Any]:
    """Fit and diagnose; return what happened, and which intervals hold the truth.

    Parameters
    ----------
    data : Recording
        What is fitted.
    world : World
        What it was simulated from.
    model : LowRankRNN
        The model, not fitted.
    diagnosed : bool
        Whether to diagnose the fit too.

    Returns
    -------
    dict
        status ("fitted", "refused" or "crashed"), message, warned, unseen, optima, failed (what was
        noticed, by kind; "" where nothing was), and by quantity estimate and whether its interval
        holds the truth (NaN where no interval was given).
    """
    row: dict[str, Any] = dict.fromkeys(("message", "warned", "unseen", "failed"), "")
    row |= {"status": "fitted", "optima": 1}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit = model.fit(data.activity, data.inputs, data.outputs)
            row["unseen"] = " ".join(sorted(set(fit.unseen_.index) - HIDDEN))
            row["optima"] = len(getattr(fit, "optima_", [0]))
            row |= intervals(fit, truth_of(world, data.truth))
            if diagnosed:
                still = np.zeros((1, data.inputs.shape[2]))  # fixed points are not tested
                found = pl.diagnose(fit, data.activity, data.inputs, constant_inputs=still).tests
                row["failed"] = "; ".join(found.index[found["p_holm"] < 0.05])
        except pl.InputError as error:
            row |= {"status": "refused", "message": str(error)[:120]}
        except Exception as error:  # noqa: BLE001 - a crash is a result here, and is counted
            row |= {"status": "crashed", "message": f"{type(error).__name__}: {error}"[:120]}
    row["warned"] = "; ".join(sorted({_kind(w) for w in caught} - {""}))
    return row


def _kind(caught: warnings.WarningMessage) -> str:
    """Return what a warning is, "" for those that say nothing about the model."""
    silent = issubclass(caught.category, SilentNeuronsWarning)
    if silent or not issubclass(caught.category, UserWarning | RuntimeWarning):
        return ""
    kind = caught.category.__name__
    if kind == "UserWarning":
        kind = " ".join(str(caught.message).split()[:6]).replace(";", ",")
    return kind


def intervals(fit: Any, truth: dict[str, float]) -> dict[str, Any]:
    """Return estimates and whether the intervals hold the truth, by quantity."""
    row: dict[str, Any] = {}
    for names, table in ((NUMBERS, fit.intervals_), (COMBINED, fit.gauge_invariants_)):
        for name in names:
            if name not in table.index:
                continue
            low, high = table.loc[name, ["low", "high"]].astype(float)
            row[f"{name} estimate"] = float(table.loc[name, "estimate"])
            if not np.isnan(low + high):
                row[f"{name} holds"] = int(low <= truth[name] <= high)
            elif np.isinf(low) and np.isinf(high):
                row[f"{name} holds"] = 1
    return row


COLUMNS = (
    ["condition", "run", "status", "message", "warned", "unseen", "optima", "failed", "seconds"]
    + [f"{q} holds" for q in QUANTITIES]
    + [f"{q} estimate" for q in QUANTITIES]
)


def noticed(runs: pd.DataFrame) -> pd.Series:
    """Return in which runs the user was told: a warning, a refusal, a failed check."""
    text = runs[["warned", "unseen", "failed"]].astype(object)
    text = text.where(text.notna(), "")
    # a crash tells nothing, and numpy's own warnings say nothing that a user can use
    told = text["warned"].str.replace("RuntimeWarning", "").str.strip("; ") != ""
    told |= (text["unseen"] != "") | (text["failed"] != "")
    return told | (runs["optima"] > 1) | (runs["status"] == "refused")


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a condition: shares that hold and are noticed, and the verdict.

    Parameters
    ----------
    runs : DataFrame
        One row a run, with COLUMNS.

    Returns
    -------
    DataFrame
        Index the conditions in the order of CONDITIONS; columns runs, holds (of all intervals that
        were given), the quantities, noticed, refused, crashed, by (what noticed it most often),
        lowest (quantity), verdict.
    """
    rows = {}
    known = [name for name in CONDITIONS if (runs["condition"] == name).any()]
    for name in known:
        some = runs[runs["condition"] == name]
        given = some[[f"{q} holds" for q in QUANTITIES]].set_axis(list(QUANTITIES), axis=1)
        share = given.mean()
        holds = float(np.nanmean(given.to_numpy(float))) if given.notna().any(axis=None) else np.nan
        told = float(noticed(some).mean())
        rows[name] = {
            "runs": len(some),
            "holds": holds,
            **share,
            "noticed": told,
            "refused": float((some["status"] == "refused").mean()),
            "crashed": float((some["status"] == "crashed").mean()),
            "by": _reasons(some),
            "lowest": "" if share.isna().all() else str(share.idxmin()),
            "verdict": verdict(holds, float(share.min()), told),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def verdict(holds: float, lowest: float, told: float) -> str:
    """Say whether a condition keeps the rule: 80% of intervals hold, or 80% of runs are noticed.

    "in part": all intervals together hold in 80%, but those of some quantity do not.
    """
    if told >= 0.8 or np.isnan(holds) or lowest >= 0.8:
        return "kept"
    return "in part" if holds >= 0.8 else "BROKEN"


def _reasons(runs: pd.DataFrame) -> str:
    """Return the two things that noticed most often, with their shares."""
    told: dict[str, int] = {}
    for _, row in runs.iterrows():
        found = {
            part.strip()
            for column in ("warned", "failed")
            for part in str(row[column]).split(";")
            if part.strip() and part.strip() != "nan"
        }
        found |= {"optima_"} if row["optima"] > 1 else set()
        found |= {"unseen_"} if str(row["unseen"]) not in ("", "nan") else set()
        found |= {"refused"} if row["status"] == "refused" else set()
        for each in found:
            told[each] = told.get(each, 0) + 1
    first = sorted(told.items(), key=lambda item: (-item[1], item[0]))[:2]
    return ", ".join(f"{name} {100 * count / len(runs):.0f}%" for name, count in first)
