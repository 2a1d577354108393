"""Why a baseline wins: what harmonics of the target and a filter in place of dynamics change."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from baselines_data import SETS, Set
from baselines_linear import PCARegression, ResidualRegression
from baselines_methods import Ours

import predictlearn as pl
from predictlearn.errors import ConvergenceWarning

WHICH = ("learning", "redundancy")


def with_harmonics(data: Set, most: int) -> Set:
    """Return the set with cosine and sine of multiples of the target's angle as further inputs."""
    angle = np.deg2rad(data.conditions)
    columns = [f(k * angle) for k in range(2, most + 1) for f in (np.cos, np.sin)]
    # with few targets some harmonics are the same as others, or zero
    kept, seen = [], [np.ones_like(angle), *data.inputs[:, 0, :2].T]
    for column in columns:
        if np.linalg.matrix_rank(np.stack([*seen, column]), tol=1e-6) > len(seen):
            kept.append(column)
            seen.append(column)
    more = np.repeat(np.stack(kept, axis=1)[:, None, :], data.inputs.shape[1], axis=1)
    return replace(data, inputs=np.concatenate([data.inputs, more], axis=2))


def experiments(split, r2, folds: int) -> pd.DataFrame:
    """Return open-loop and one-step R2 with one thing changed at a time, one row a fold."""
    rows = []
    for name in WHICH:
        plain = SETS[name]()
        n = plain.activity.shape[2]
        dims, bins = min(n, 10), plain.activity.shape[1]
        rich = with_harmonics(plain, 4)
        cases = {"cosine and sine of the target": plain, "all harmonics of the target": rich}
        for what, data in cases.items():
            models = {
                f"low-rank network, rank {r}": (lambda r=r, d=data: Ours(r, d.settings, d.dt))
                for r in (1, 3, 5)
            }
            models[f"filter, {dims} components, {bins - 1} past inputs"] = partial(
                PCARegression, dims, 0, bins - 1
            )
            for label, make in models.items():
                for fold in range(folds):
                    train, test, _, _ = split(data, fold)
                    y, x = data.activity, data.inputs
                    model = ResidualRegression(make(), dims).fit(y[train], x[train])
                    open_loop = r2(y[test], model.open_loop(x[test]), y[train])
                    one_step = r2(y[test], model.one_step(y[test], x[test]), y[train])
                    row = {"set": data.name, "inputs": what, "model": label, "fold": fold}
                    rows.append(row | {"r2": open_loop, "r2 one step": one_step})
    return pd.concat([pd.DataFrame(rows), residual_dimensions(split, r2, folds)])


def residual_dimensions(split, r2, folds: int) -> pd.DataFrame:
    """Return what the past adds by the number of dimensions in which it may, bci-learning."""
    data, rows = SETS["learning"](), []
    y, x = data.activity, data.inputs
    for fold in range(folds):
        train, test, _, _ = split(data, fold)
        fitted = Ours(3, data.settings, data.dt)
        for dim in (1, 2, 4, 6, 8):
            model = ResidualRegression(fitted, dim).fit(y[train], x[train])
            rows.append(
                {
                    "set": data.name,
                    "inputs": "cosine and sine of the target",
                    "model": f"low-rank network, rank 3, past of {dim} components of residuals",
                    "fold": fold,
                    "r2": r2(y[test], model.open_loop(x[test]), y[train]),
                    "r2 one step": r2(y[test], model.one_step(y[test], x[test]), y[train]),
                }
            )
    return pd.DataFrame(rows).sort_values("model", kind="stable")


def ranks(seed: int = 0) -> pd.DataFrame:
    """Return what `select_rank` chooses on the folds of the comparison, by both rules."""
    rows = []
    for make in SETS.values():
        data = make()
        if data.static:
            continue
        for rule in ("one-se", "paired"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                found = pl.select_rank(
                    data.activity, data.inputs, cv=5, seed=seed, rule=rule, dt=data.dt,
                    **data.settings,
                )  # fmt: skip
            table = found.summary.set_index("rank")
            rows.append(
                {
                    "set": data.name,
                    "rule": rule,
                    "rank": found.rank,
                    "r2": table.loc[found.rank, "mean"],
                    "standard error": table.loc[found.rank, "standard_error"],
                    "best rank": found.best_rank,
                    "best r2": table.loc[found.best_rank, "mean"],
                }
            )
    return pd.DataFrame(rows)
