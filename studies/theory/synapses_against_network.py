"""Measure N neurons whose synapses learn: the tables of synapses_against_network.md.

python studies/theory/synapses_against_network.py closure  the closed equations for erf (20 minutes)
python studies/theory/synapses_against_network.py rules      alignment, delays (5 minutes)
python studies/theory/synapses_against_network.py reward     node perturbation (15 minutes)
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


def scatter_rows() -> pd.DataFrame:
    """Return how far factors of N neurons are from 4096 particles in the loss, over eight draws."""
    task, rate, epochs = CASES["decision"]
    rule = pl.GradientDescent(rate)

    def losses(loadings):
        return pl.train_network(loadings, task, rule, epochs, "erf").losses

    field = losses(particles_of(START.matrix, START.sizes, 4096, np.random.SeedSequence(0)))

    def share(course):
        return np.abs(course - field).max() / field[0]

    rows = [
        {"level": "closure", "largest": share(pl.learn(START, task, rule, epochs, "erf").losses)}
    ]
    for n in (200, 800, 3200):
        far = np.array([share(losses(START.loadings(n, seed=seed))) for seed in range(8)])
        row = {"level": f"N = {n}", "root mean square": np.sqrt(np.mean(far**2))}
        rows.append(row | {"largest": far.max(), "its draw": far.argmax()})
    return pd.DataFrame(rows)


def alignment_rows() -> pd.DataFrame:
    """Return alignment and loss by rule, feedback and what learns; linear, so of any N neurons."""
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
                        t = pl.learn(start, task, rule, 1500, learns=learns)
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


def reward_rows() -> pd.DataFrame:
    """Return how many of four draws learn by node perturbation, by neurons and rate.

    Learned is what ends below a tenth of the first loss; rate times epochs is 2.
    """
    task = pl.Filter(duration=5.0, dt=0.1)
    rows = []
    for n in (25, 50, 100, 200, 400):
        for rate in 0.08 / 1.5 ** np.arange(2, 9):
            epochs, learned = int(2.0 / rate), 0
            for seed in range(4):
                try:
                    t = pl.train_network(
                        START.loadings(n, seed=seed),
                        task,
                        pl.NodePerturbation(rate),
                        epochs,
                        seed=seed,
                        every=epochs,
                        learns="synapses",
                    )
                except pl.DivergenceError:
                    continue
                learned += t.losses[-max(1, epochs // 10) :].mean() < 0.1 * t.losses[0]
            rows.append({"N": n, "rate": rate, "learned": learned})
            if learned == 4:
                break
    return pd.DataFrame(rows)


if __name__ == "__main__":
    pd.set_option("display.width", 200, "display.max_columns", 20)
    studies = {
        "closure": [closure_rows, scatter_rows],
        "rules": [alignment_rows, delay_rows],
        "reward": [reward_rows],
    }
    for study in [study for name in sys.argv[1:] for study in studies[name]]:
        print(study().to_string(index=False), flush=True)  # noqa: T201
