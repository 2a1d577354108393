"""Measure N neurons whose synapses learn: the tables of synapses_against_network.md.

python studies/synapses_against_network.py closure    the closed equations for erf (20 minutes)
python studies/synapses_against_network.py rules      alignment, delays (5 minutes)
python studies/synapses_against_network.py reward     node perturbation (15 minutes)
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

import predictlearn as pl
from predictlearn.theory.loadings import particles_of

START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.3, vm=0.3)
CASES = {
    "filter": (pl.Filter(duration=5.0, dt=0.1), 0.02, 400),
    "decision": (
        pl.DecisionMaking(
            duration=6.0, fixation=0.4, stimulus=3.0, delay=0.6, dt=0.2, trials=6
        ).freeze(0),
        0.05,
        300,
    ),
}
NETWORKS = [("N = 200", 4), ("N = 800", 2)]


def closure_rows() -> pd.DataFrame:
    """Return how far erf networks and their closed equations are from Sobol particles."""
    rows = []
    for name, (task, rate, epochs) in CASES.items():
        how = {"nonlinearity": "erf", "learns": "synapses", "every": epochs // 4}
        rule = pl.GradientDescent(rate)
        theory = pl.learn(START, task, rule, epochs, **how)

        def trained(loadings, rule=rule, task=task, epochs=epochs, how=how):
            return pl.train_network(loadings, task, rule, epochs, **how)

        def particles(n, seed):
            sequence = np.random.SeedSequence(seed)
            return trained(particles_of(START.matrix, START.sizes, n, sequence))

        field = particles(1024, 0)
        levels = {"closure": [theory], "512 particles": [particles(512, 1)]}
        for level, draws in NETWORKS:
            n = int(level.split()[-1])
            levels[level] = [trained(START.loadings(n, seed=s)) for s in range(draws)]
        for level, courses in levels.items():
            for draw, course in enumerate(courses):
                rows.append({"case": name, "level": level, "draw": draw} | apart(course, field))
    return pd.DataFrame(rows)


def apart(course, field) -> dict[str, float]:
    """Return distances of one course from the mean field."""
    first = field.losses[0]
    names = ["zm", "zwm", "mm", "zz", "ww", "w1"]
    gap = course.quantities[names].to_numpy() - field.quantities[names].to_numpy()
    moved = np.abs(field.quantities[names].to_numpy() - field.quantities[names].to_numpy()[0])
    half = (first + field.losses.min()) / 2

    def when(losses):
        k = int(np.argmax(losses <= half))
        return k - (half - losses[k]) / (losses[k - 1] - losses[k])

    return {
        "loss, share of the first": np.abs(course.losses - field.losses).max() / first,
        "loss at the end": course.losses[-1] / first,
        "later": when(course.losses) - when(field.losses),
        "quantities": np.abs(gap).max(),
        "worst": names[int(np.abs(gap).max(axis=0).argmax())],
        "moved": moved.max(),
    }


def alignment_rows() -> pd.DataFrame:
    """Return alignment and loss of N = 200 neurons by rule, feedback and what learns."""
    task = pl.Filter(duration=8.0, dt=0.1)
    start = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.1)
    feedbacks = {
        "random": pl.Feedback(),
        "readout of the start": pl.Feedback(1.0, 0.0),
        "its opposite": pl.Feedback(-1.0, 0.0),
    }
    rows = []
    for learns in ("synapses", "factors"):
        for kind in (pl.FeedbackAlignment, pl.RFLO):
            for name, feedback in feedbacks.items():
                for fixed in (False, True):
                    rule = kind(0.01, feedback, pathway_rates={"z": 0.0} if fixed else None)
                    row = {"learns": learns, "rule": kind.__name__, "feedback": name}
                    row["readout"] = "fixed" if fixed else "learns"
                    try:
                        t = pl.train_network(
                            start.loadings(200), task, rule, 1500, learns=learns, every=50
                        )
                        row["alignment"] = " ".join(
                            f"{t.alignment.loc[e]:.2f}" for e in (0, 50, 100, 300, 1500)
                        )
                        row["loss"] = f"{t.losses[-1] / t.losses[0]:.1e}"
                    except pl.DivergenceError as error:
                        row["alignment"], row["loss"] = "", f"diverges, epoch {error.epoch}"
                    rows.append(row)
    return pd.DataFrame(rows)


def bump(delay: float, dt: float = 0.1) -> pl.ArrayTask:
    """Return the task to answer an impulse by a bump that peaks after a delay, in seconds."""
    n = round(3 * delay / dt)
    t = dt * np.arange(1, n + 1)
    x = np.zeros((1, n, 1))
    x[0, 0, 0] = 1 / dt
    target = ((t / delay) ** 3 * np.exp(3 * (1 - t / delay)))[None, :, None]
    return pl.ArrayTask(x, target, np.full((1, n, 1), 1 / n), dt)


def delay_rows() -> pd.DataFrame:
    """Return the loss that is left after 3000 epochs, by rule and delay, at the best rate."""
    g = 0.3 * np.random.default_rng(0).normal(size=(8, 8))
    start = pl.Overlaps(np.eye(8) + g @ g.T, 1, 3, 1)
    rules = {
        "descent": pl.GradientDescent,
        "feedback alignment": pl.FeedbackAlignment,
        "RFLO": pl.RFLO,
        "RFLO, readout of the start": lambda r: pl.RFLO(r, pl.Feedback(1.0, 0.0)),
    }
    rows = []
    for delay in (0.5, 1.0, 2.0, 4.0, 8.0):
        row = {"delay": delay}
        for name, rule in rules.items():
            left = [np.inf]
            for rate in (0.003, 0.01, 0.03, 0.1):
                try:
                    t = pl.learn(start, bump(delay), rule(rate), 3000, learns="synapses")
                    left.append(t.losses[-1] / t.losses[0])
                except pl.DivergenceError:
                    continue
            row[name] = min(left)
        rows.append(row)
    return pd.DataFrame(rows)


def largest_rate(rates, learns, draws: int) -> float:
    """Return the largest of falling rates at which most draws learn, between two where half do."""
    last = None
    for rate in rates:
        share = np.mean([learns(rate, seed) for seed in range(draws)])
        if share >= 0.5:
            return rate if last is None or share == 0.5 else np.sqrt(rate * last)
        last = rate
    return np.nan


def reward_rows() -> pd.DataFrame:
    """Return the largest rate of node perturbation that learns, by neurons and by outputs."""
    task = pl.Filter(duration=5.0, dt=0.1)
    rates = 0.03 / 1.25 ** np.arange(20)
    rows = []
    for n in (25, 50, 100, 200, 400):

        def learns(rate, seed, n=n):
            rule, epochs = pl.NodePerturbation(rate), int(2.0 / rate)
            start = START.loadings(n, seed=seed)
            try:
                t = pl.train_network(
                    start, task, rule, epochs, seed=seed, every=epochs, learns="synapses"
                )
            except pl.DivergenceError:
                return False
            return bool(t.losses[-epochs // 10 :].mean() < 0.1 * t.losses[0])

        rows.append({"N": n, "outputs": 1, "largest rate": largest_rate(rates, learns, 4)})
    for outputs in (4, 8, 16, 32, 64):
        start, shown = many_outputs(outputs, 100)

        def learns(rate, seed, start=start, shown=shown):
            rule = pl.NodePerturbation(rate, 1e-3, pathway_rates={"w": 0.0, "z": 0.0})
            try:
                t = pl.train_network(start, shown, rule, int(20 / rate), seed=seed, every=10**6)
            except pl.DivergenceError:
                return False
            return bool(t.losses[-1] < 0.1 * t.losses[0])

        found = largest_rate(2.0 / 1.15 ** np.arange(50), learns, 6)
        rows.append({"N": 100, "outputs": outputs, "largest rate": found})
    return pd.DataFrame(rows)


def many_outputs(outputs: int, n: int) -> tuple[pl.SynapticNetwork, pl.ArrayTask]:
    """Return neurons without recurrence, outputs that each hear other ones, and one bin to learn.

    As in Werfel, Xie & Seung (2005): the loss has as many directions as there are outputs.
    """
    rng = np.random.default_rng(0)
    z, _ = np.linalg.qr(rng.normal(size=(n, outputs)))
    start = pl.SynapticNetwork(np.zeros((n, 1)), np.zeros((n, n)), np.sqrt(n) * z)
    target = np.ones((1, 1, outputs))
    return start, pl.ArrayTask(np.ones((1, 1, 1)), target, np.ones(target.shape), dt=1.0)


if __name__ == "__main__":
    pd.set_option("display.width", 200, "display.max_columns", 20)
    studies = {
        "closure": [closure_rows],
        "rules": [alignment_rows, delay_rows],
        "reward": [reward_rows],
    }
    for study in [study for name in sys.argv[1:] for study in studies[name]]:
        print(study().to_string(index=False), flush=True)  # noqa: T201
