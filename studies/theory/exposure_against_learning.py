"""Measure how long the closed form ranks tasks as learning does: the table of predictions.md.

    python studies/theory/exposure_against_learning.py

Families of 20 tasks, four pairs of equivalent networks each, linear and erf. Tasks are ranked by
the closed form (`most_exposing`) and by integrated gradient flow: how far the two losses are apart
when the first network's has fallen by some share of what it will fall, as a share of that fall.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

import predictlearn as pl

SHARES = (0.02, 0.1, 0.3, 0.6, 0.9)
FLOW = pl.GradientFlow(rtol=1e-8, atol=1e-10)


def random_start(seed: int, n_in: int, rank: int, n_out: int) -> pl.Overlaps:
    """Return random overlaps with norms between 0.7 and 1.3."""
    rng = np.random.default_rng(seed)
    dim = n_in + 2 * rank + n_out
    x = rng.normal(size=(dim, dim))
    x /= np.linalg.norm(x, axis=0)
    scale = np.sqrt(rng.uniform(0.7, 1.3, dim))
    return pl.Overlaps(
        (0.5 * x.T @ x + 0.5 * np.eye(dim)) * scale * scale[:, None], n_in, rank, n_out
    )


def smooth_task(rng: np.random.Generator, width: int, mixed: bool) -> pl.ArrayTask:
    """Return a random linear filter of smooth inputs; if mixed, pathways count differently."""
    time = np.arange(200) * 0.05
    x = 0.05 * rng.normal(size=(4, 200, width)).cumsum(axis=1)
    x *= rng.uniform(0, 1, width) if mixed else 1.0
    y = np.zeros((4, 200, width))
    for o in range(width):
        for i in range(width):
            kernel = rng.normal() * np.exp(-rng.uniform(0.2, 3) * time)
            wave = np.cos(rng.uniform(0, 4) * time)
            kernel += rng.normal() * np.exp(-rng.uniform(0.2, 2) * time) * wave
            y[..., o] += [0.05 * np.convolve(trial, kernel)[:200] for trial in x[..., i]]
    weights = 0.0125 * (rng.uniform(0, 1, width) ** 2 if mixed else np.ones(width))
    return pl.ArrayTask(x, y, np.broadcast_to(weights, y.shape), 0.05)


def narrow_family() -> dict[str, pl.ArrayTask]:
    """Return 20 tasks of one input and one output: filters, oscillations, random filters."""
    rng = np.random.default_rng(0)
    tasks = {f"filter {c}": pl.Filter(decay=c, duration=10.0) for c in (0.1, 0.2, 0.8, 1.2)}
    tasks |= {f"filter {a}x": pl.Filter(0.4, amplitude=a, duration=10.0) for a in (-1.0, 3.0)}
    tasks |= {
        f"oscillation {w}": pl.DampedOscillation(frequency=w, duration=10.0)
        for w in (0.5, 1.0, 2.0, 4.0)
    }
    return tasks | {f"arrays {k}": smooth_task(rng, 1, False) for k in range(10)}


def wide_family() -> dict[str, pl.ArrayTask]:
    """Return 20 tasks of two inputs and two outputs that use these to different degrees."""
    rng = np.random.default_rng(1)
    return {f"arrays {k}": smooth_task(rng, 2, True) for k in range(20)}


def agreement(
    tasks: Mapping[str, pl.ArrayTask], first: pl.Overlaps, second: pl.Overlaps, nonlinearity: str
) -> dict[str, float]:
    """Return Spearman's correlation of the two rankings at each share of learning."""
    ranking = pl.most_exposing(tasks, first, second, nonlinearity=nonlinearity)
    measured = []
    for row in ranking.itertuples():
        one, other = (
            pl.learn(o, tasks[row.task], FLOW, 20 * row.horizon, nonlinearity)
            for o in (first, second)
        )
        falls = np.array(SHARES) * (one.losses[0] - one.losses[-1])
        times = [one.reached(one.losses[0] - fall) for fall in falls]
        gaps = [other.loss_at(t) - one.loss_at(t) for t in times]
        measured.append(np.abs(gaps) / falls)
    predicted = ranking["relative_slope"].abs()
    table = pd.DataFrame(measured, columns=[f"{share:g}" for share in SHARES])
    found = table.corrwith(predicted, method="spearman")
    return {
        "least": float(predicted.min()),
        "most": float(predicted.max()),
        **{f"at {share}": float(found[share]) for share in found.index},
    }


def main() -> None:
    """Print the agreement of every family, and its range over four pairs of networks."""
    narrow, wide = narrow_family(), wide_family()
    rows = []
    for nonlinearity in ("linear", "erf"):
        for seed in range(4):
            start = random_start(seed, 2, 2, 2)
            name = "m1m1" if nonlinearity == "linear" else "z1z1"
            twin = pl.functionally_equivalent(start, nonlinearity, **{name: 1.8 * start[name]})
            found = agreement(wide, start, twin, nonlinearity)
            rows.append({"family": "two inputs", "phi": nonlinearity, **found})
            start = random_start(seed, 1, 1, 1)
            trained = pl.learn(start, pl.Filter(0.4, duration=10.0), FLOW, 3.0, nonlinearity).final
            grown = ("uu", "vv", "mm") if nonlinearity == "linear" else ("zz", "vv")
            for family, one in (("one input, trained", trained), ("one input, naive", start)):
                twin = pl.functionally_equivalent(
                    one, nonlinearity, **{name: 1.4 * one[name] for name in grown}
                )
                found = agreement(narrow, one, twin, nonlinearity)
                rows.append({"family": family, "phi": nonlinearity, **found})
    table = pd.DataFrame(rows)
    print(table.groupby(["family", "phi"]).agg(["min", "max"]).round(2).T.to_string())  # noqa: T201


if __name__ == "__main__":
    main()
