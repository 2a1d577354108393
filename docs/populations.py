"""Measure what one and two populations do on the context task: the numbers of docs/populations.md.

    python docs/populations.py starts one     one population, many starts and rates (10 min)
    python docs/populations.py starts two     two populations (5 min)
    python docs/populations.py networks       networks of N neurons from one and two populations
    python docs/populations.py closure        theory against networks, two populations
    python docs/populations.py figure         docs/populations.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

import predictlearn as pl
from predictlearn.theory.loadings import Loadings, particles_of
from predictlearn.theory.populations import PopulationLoadings

TASK = pl.ContextDecision()
# Rate, and a fifth of it once the loss has been below 0.01.
DROP = pl.RateDrop(factor=5.0, below=0.01)


def start_of(n_populations: int, seed: int) -> pl.Populations:
    """Return a random start for the task."""
    return pl.Populations.random(n_populations, n_in=4, seed=seed)


def test_trials(n: int = 2000, task: pl.ContextDecision = TASK) -> pl.Trials:
    """Return trials with noise that no training saw."""
    settings = {name: getattr(task, name) for name in task.__dataclass_fields__}
    return pl.ContextDecision(**{**settings, "trials": n}).sample(np.random.default_rng(12345))


def along(trajectory, task: pl.ContextDecision = TASK) -> pd.DataFrame:
    """Return loss, accuracy and bound on trials without noise along learning."""
    trials, conflict = task.every_trial(), task.conditions["conflict"].to_numpy()
    asked = trials.targets[:, -1, 0]
    counts = trials.weights[0, :, 0] > 0
    rows = []
    for epoch, array in zip(trajectory.epochs, trajectory.array, strict=True):
        now = pl.Populations.from_array(trajectory.fractions, array, trajectory.sizes)
        outputs = pl.simulate_populations(now, trials).outputs
        right = outputs[:, counts, 0].mean(axis=1) * asked > 0
        row = {
            "epoch": epoch,
            "loss": trials.loss(outputs),
            "accuracy": right.mean(),
            "conflict": right[conflict].mean(),
        }
        if now.n_populations == 1 and task.cue == "stimulus":
            row["bound"] = task.one_population_bound(now.overlaps[0])
        rows.append(row)
    return pd.DataFrame(rows)


def starts_table(
    n_populations: int,
    rates: tuple[float, ...],
    starts: int,
    epochs: int,
    task: pl.ContextDecision = TASK,
) -> pd.DataFrame:
    """Return one row a start and rate: what learning reached, on trials without noise."""
    rows = []
    for rate in rates:
        for seed in range(starts):
            rule = pl.GradientDescent(rate, schedule=DROP)
            row = {"populations": n_populations, "rate": rate, "start": seed}
            try:
                learned = pl.learn_populations(
                    start_of(n_populations, seed), task, rule, epochs, every=epochs // 100
                )
            except pl.DivergenceError as error:
                rows.append({**row, "diverged at": error.epoch})
                continue
            course = along(learned, task)
            best = course.loc[course["loss"].idxmin()]
            row |= {
                "best loss": best["loss"],
                "at epoch": best["epoch"],
                "last loss": course["loss"].iloc[-1],
                "best accuracy": course["accuracy"].max(),
                "best conflict": course["conflict"].max(),
            }
            if "bound" in course:
                held = course["bound"] > 0.1
                row |= {
                    "bound there": best["bound"],
                    "least margin": (course["loss"] - course["bound"]).min(),
                    "best loss, bound > 0.1": course.loc[held, "loss"].min(),
                    "conflict, bound > 0.1": course.loc[held, "conflict"].max(),
                }
            rows.append(row)
            print(rows[-1], flush=True)  # noqa: T201
    return pd.DataFrame(rows)


def network_row(
    n_populations: int, seed: int, n_neurons: int, rate: float, epochs: int, trials: int = 32
) -> dict[str, object]:
    """Return a network's course beside that of the theory from the same start."""
    task = pl.ContextDecision(trials=trials)
    rule = pl.GradientDescent(rate, schedule=DROP)
    network = start_of(n_populations, seed).loadings(n_neurons, seed=0)
    theory = pl.learn_populations(network.populations(), task, rule, epochs, every=20)
    trained = pl.train_population_network(network, task, rule, epochs, every=20)
    test = test_trials()
    row: dict[str, object] = {"populations": n_populations, "start": seed, "N": n_neurons}
    for name, outputs in {
        "theory": pl.simulate_populations(theory.final, test).outputs,
        "network": pl.run_network(trained.network.loadings, test, "erf").outputs,
    }.items():
        share = pl.decision_accuracy(test, outputs)
        row[f"loss, {name}"] = test.loss(outputs)
        row[f"accuracy, {name}"] = (
            f"{share['accuracy']:.4f} ({share['low']:.4f}, {share['high']:.4f})"
        )
    fall = {k: int(np.argmax(t.losses < 0.1)) for k, t in (("t", theory), ("n", trained))}
    row |= {"below 0.1, theory": fall["t"], "below 0.1, network": fall["n"]}
    every = TASK.every_trial()
    for parts in (1, 2, 3, 4):
        found = pl.fit_populations(trained.network, parts).populations
        outputs = pl.simulate_populations(found, every).outputs
        row[f"resampled from {parts}"] = (
            f"{every.loss(outputs):.3f}, {pl.decision_accuracy(every, outputs)['accuracy']:.3f}"
        )
    return row


def closure_table(
    sizes: tuple[int, ...] = (250, 1000, 4000), draws: int = 3, seed: int = 2, epochs: int = 1500
) -> pd.DataFrame:
    """Return the largest |S_network - S_theory| before and after the loss falls, by N."""
    task = pl.ContextDecision(trials=16).freeze(0)
    rule = pl.GradientDescent(0.02)
    start = start_of(2, seed)
    theory = pl.learn_populations(start, task, rule, epochs)
    fall = int(np.argmax(theory.losses < 0.9))
    parts = [
        particles_of(item.matrix, start.sizes, 1024, child).stacked
        for item, child in zip(start.overlaps, np.random.SeedSequence(0).spawn(2), strict=True)
    ]
    theta = np.concatenate(parts)
    points = PopulationLoadings(
        Loadings(theta[:, :4], theta[:, 4:5], theta[:, 5:6], theta[:, 6:]), np.repeat([1, 2], 1024)
    )
    cases = [("mean field", points)]
    cases += [(f"N = {n}, draw {k + 1}", start.loadings(n, seed=k)) for n in sizes for k in range(draws)]
    rows, field = [], None
    for name, network in cases:
        trained = pl.train_population_network(network, task, rule, epochs)
        field = trained if field is None else field
        gap = np.abs(trained.array - theory.array).max(axis=(1, 2, 3))
        away = np.abs(trained.array - field.array).max(axis=(1, 2, 3))
        rows.append(
            {
                "network": name,
                "before": gap[:fall].max(),
                "after": gap[fall:].max(),
                "end": gap[-1],
                "from the mean field, before": away[:fall].max(),
                "from the mean field, end": away[-1],
                "loss, theory": theory.losses[-1],
                "loss, network": trained.losses[-1],
                "falls, theory": fall,
                "falls, network": int(np.argmax(trained.losses < 0.9)),
            }
        )
        print(rows[-1], flush=True)  # noqa: T201
    return pd.DataFrame(rows)


if __name__ == "__main__":
    pd.set_option("display.width", 200, "display.max_columns", 30)
    what = sys.argv[1:]
    if what[:1] == ["starts"]:
        one = what[1] == "one"
        rates = tuple(float(x) for x in what[2:]) or (0.01, 0.02, 0.05, 0.1)
        table = starts_table(1 if one else 2, rates, 12, 40000 if one else 20000)
        print(table.to_string())  # noqa: T201
    elif what[:1] == ["closure"]:
        print(closure_table().to_string())  # noqa: T201
    elif what[:1] == ["networks"]:
        rows = [network_row(*case) for case in ((1, 1, 1000, 0.05, 1500), (2, 3, 1000, 0.05, 1500))]
        print(pd.DataFrame(rows).T.to_string())  # noqa: T201
