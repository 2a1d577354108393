"""Measure the theory against trained networks: the table of theory_against_network.md.

    python studies/theory/theory_against_network.py

Linear networks: three shapes, 2000 epochs. erf: flip-flop learning from exactly the same overlaps,
for several N and draws of the loadings; the loss is that of the theory.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import predictlearn as pl


def linear_rows() -> pd.DataFrame:
    """Return the largest difference in any overlap over 2000 epochs, for three linear networks."""
    rng = np.random.default_rng(0)
    targets = 0.03 * rng.normal(size=(3, 100, 2)).cumsum(axis=1)
    arrays = pl.ArrayTask(
        rng.normal(size=(3, 100, 2)), targets, np.full(targets.shape, 1 / targets.size), 0.1
    )
    cases = {
        "rank 1, filter": (pl.Overlaps(np.eye(4)), pl.Filter(), 5e-3),
        "rank 2, damped oscillation": (
            pl.Overlaps(np.eye(6), rank=2),
            pl.DampedOscillation(),
            5e-3,
        ),
        "rank 2, 2 inputs, 2 outputs": (pl.Overlaps(np.eye(8), 2, 2, 2), arrays, 2e-2),
    }
    rows = []
    for name, (overlaps, task, rate) in cases.items():
        rng = np.random.default_rng(1)
        spread = 0.1 * rng.normal(size=(overlaps.dim, overlaps.dim))
        overlaps = pl.Overlaps(overlaps.matrix + (spread + spread.T) / 2, *overlaps.sizes)
        rule = pl.GradientDescent(rate)
        theory = pl.learn(overlaps, task, rule, 2000)
        network = pl.train_network(overlaps.loadings(500, seed=1), task, rule, 2000)
        rows.append(
            {
                "case": name,
                "N": 500,
                "largest difference": np.abs(theory.array - network.array).max(),
                "loss, start": theory.losses[0],
                "loss, end": theory.losses[-1],
            }
        )
    return pd.DataFrame(rows)


def erf_rows(sizes: tuple[int, ...] = (250, 1000, 4000), draws: int = 3) -> pd.DataFrame:
    """Return the largest |S_network - S_theory| before and after the loss falls, by N."""
    task = pl.FlipFlop(dt=0.05, trials=8).freeze(0)
    overlaps = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.1)
    rule = pl.GradientDescent(0.05)
    epochs = 600
    theory = pl.learn(overlaps, task, rule, epochs, "erf")
    fall = int(np.argmax(theory.losses < 0.9 * theory.losses[0]))
    rows = []
    for n in sizes:
        for seed in range(draws):
            network = pl.train_network(overlaps.loadings(n, seed=seed), task, rule, epochs, "erf")
            error = np.abs(network.array - theory.array).max(axis=(1, 2))
            final = network.loadings.stacked
            standard = (final - final.mean(axis=0)) / final.std(axis=0)
            rows.append(
                {
                    "N": n,
                    "draw": seed,
                    "loss falls at epoch": fall,
                    "before": error[:fall].max(),
                    "after": error[fall:].max(),
                    "loss, theory": theory.losses[-1],
                    "loss, network": network.losses[-1],
                    "kurtosis m": (standard[:, 0] ** 4).mean() - 3,
                    "kurtosis u": (standard[:, 1] ** 4).mean() - 3,
                }
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    pd.set_option("display.width", 160)
    print(linear_rows().to_string(index=False))  # noqa: T201
    print(erf_rows().to_string(index=False))  # noqa: T201
