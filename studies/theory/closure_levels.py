"""Measure the levels of the theory against each other: the tables and figures of closure.md.

    python studies/theory/closure_levels.py -o studies/theory --cache /tmp/closure-levels

About 40 minutes on one core the first time; courses of learning are kept in the cache, and an
interrupted run goes on from there. All levels learn from the same overlaps on the same trials.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from scipy import stats

import predictlearn as pl
from predictlearn.network.closure import _compared
from predictlearn.reporting.style import COLOURS, FAINT, new_figure, png, styled
from predictlearn.theory.loadings import particles_of

START = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.1)
# task, rate, epochs
CASES = {
    "flip-flop": (pl.FlipFlop(dt=0.05, trials=8).freeze(0), 0.05, 600),
    "filter": (pl.Filter(), 5e-3, 2000),
    "strong flip-flop": (
        pl.FlipFlop((1.0, 2.0), 2.0, 1.0, dt=0.1, trials=16).freeze(0),
        0.02,
        2000,
    ),
    "teacher": (pl.Teacher(dt=0.1, trials=16).freeze(0), 1e-3, 2000),
}
REFERENCE, CHECK = 16, 12  # points an axis
SIZES = (100, 200, 400, 800, 1600, 3200)
DRAWS = 10


def say(what: object) -> None:
    """Print a line or a table, at once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


class Courses:
    """Courses of learning, each computed once and kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, name: str, make: Callable[[], pl.Trajectory]) -> SimpleNamespace:
        """Return the course of that name, with the attributes of a trajectory that are used."""
        path = self.folder / f"{name.replace(' ', '-')}.npz"
        if not path.exists():
            t = make()
            extra = {}
            if hasattr(t, "kurtosis"):
                extra["kurtosis"] = t.kurtosis.to_numpy()
            np.savez(path, array=t.array, epochs=t.epochs, losses=t.losses, **extra)
            say(f"  {name}")
        with np.load(path) as stored:
            return SimpleNamespace(**dict(stored))

    def level(self, case: str, level: str, epochs: int = 0, every: int = 1) -> SimpleNamespace:
        """Return a level by its name: closure, fourth order, product n, sobol n s, network n s."""
        task, rate, usual = CASES[case]
        rule, what = pl.GradientDescent(rate), level.split()
        epochs = epochs or usual

        def make() -> pl.Trajectory:
            if what[0] == "closure":
                return pl.learn(START, task, rule, epochs, "erf", every=every)
            if what[0] == "fourth":
                return pl.learn_fourth_order(START, task, rule, epochs, every=every)
            if what[0] == "product":
                points = int(what[1])
                return pl.learn_mean_field(START, task, rule, epochs, points=points, every=every)
            n, seed = int(what[1]), int(what[2])
            loadings = START.loadings(n, seed=1000 * seed + n)
            if what[0] == "sobol":
                source = np.random.SeedSequence(seed)
                loadings = particles_of(START.matrix, START.sizes, n, source)
            return pl.train_network(loadings, task, rule, epochs, "erf", every=every)

        return self(f"{case} {level} {epochs}", make)


def summary(level: SimpleNamespace, field: SimpleNamespace) -> dict[str, float]:
    """Return the row that `closure_error` gives for one level."""
    return _compared(level, field)[1]


def slope_of(sizes: list[float], errors: list[float]) -> str:
    """Return the slope of log error on log size with its 95% interval."""
    fit = stats.linregress(np.log(sizes), np.log(errors))
    half = stats.t.ppf(0.975, len(sizes) - 2) * fit.stderr
    return f"{fit.slope:.2f} [{fit.slope - half:.2f}, {fit.slope + half:.2f}]"


def networks_approach(courses: Courses) -> pd.DataFrame:
    """Return the error of finite networks by N, and print its slope."""
    field = courses.level("flip-flop", f"product {REFERENCE}")
    rows = []
    for n, draw in itertools.product(SIZES, range(DRAWS)):
        level = courses.level("flip-flop", f"network {n} {draw}")
        rows.append({"N": n, "draw": draw, **summary(level, field)})
    table = pd.DataFrame(rows)
    say("\nFinite networks against the mean field, flip-flop: root mean square over draws")
    shown = ["largest", "at the end", "path", "later"]
    say(table.groupby("N")[shown].agg(lambda x: np.sqrt(np.mean(x**2))).to_string())
    for column in ("largest", "at the end", "path", "later"):
        say(f"slope of {column}: {slope_of(list(table['N']), list(table[column].abs()))}")
    return table


def particles_converge(courses: Courses) -> pd.DataFrame:
    """Return the error of the mean field by kind and number of particles."""
    rows = []
    for case in ("flip-flop", "filter"):
        field = courses.level(case, f"product {REFERENCE}")
        kinds = {f"product {p}": p for p in (3, 4, 5, 6, 7, 8, 10, CHECK)}
        for level, points in kinds.items():
            n = pl.gaussian_particles(START, points).loadings.n_neurons
            rows.append(
                {
                    "case": case,
                    "kind": "product",
                    "points": points,
                    "n": n,
                    **summary(courses.level(case, level), field),
                }
            )
        sizes = [256, 512, 1024, 2048, 4096] + [8192] * (case == "flip-flop")
        for n, seed in itertools.product(sizes, range(3)):
            level = courses.level(case, f"sobol {n} {seed}")
            rows.append(
                {"case": case, "kind": "sobol", "points": seed, "n": n, **summary(level, field)}
            )
    table = pd.DataFrame(rows)
    say("\nThe mean field by its particles: distance from the product rule of 16 points an axis")
    say(table.drop(columns=["loss, share of the first"]).to_string(index=False))
    sobol = table[(table["kind"] == "sobol") & (table["case"] == "flip-flop")]
    say(f"slope of sobol, flip-flop: {slope_of(list(sobol['n']), list(sobol['largest']))}")
    return table


def seconds_an_epoch(case: str) -> dict[str, float]:
    """Return the time of an epoch by level, in seconds: what more epochs take, at the least."""
    task, rate, _ = CASES[case]
    rule, few, many = pl.GradientDescent(rate), 10, 110
    levels = {
        "closure": lambda n: pl.learn(START, task, rule, n, "erf"),
        "fourth order": lambda n: pl.learn_fourth_order(START, task, rule, n),
    }
    for points in (4, 6, 8):
        levels[f"product {points}"] = lambda n, p=points: pl.learn_mean_field(
            START, task, rule, n, points=p
        )
    least = {(level, n): np.inf for level in levels for n in (few, many)}
    for _, (level, n) in itertools.product(range(5), least):
        began = time.perf_counter()
        levels[level](n)
        least[level, n] = min(least[level, n], time.perf_counter() - began)
    return {level: (least[level, many] - least[level, few]) / (many - few) for level in levels}


def levels_compared(courses: Courses) -> pd.DataFrame:
    """Return errors and costs of every level on every case."""
    rows = []
    for case in CASES:
        field = courses.level(case, f"product {REFERENCE}")
        cost = seconds_an_epoch(case)
        moved = np.abs(field.array - field.array[0]).max()
        for level in ("closure", "fourth order", "product 4", "product 6", "product 8"):
            row = summary(courses.level(case, level), field)
            ratio = cost[level] / cost["closure"]
            rows.append({"case": case, "level": level, "moved": moved, **row, "cost": ratio})
        row = summary(courses.level(case, f"product {CHECK}"), field)
        rows.append({"case": case, "level": f"product {CHECK}", "moved": moved, **row})
        for seed in range(2):
            row = summary(courses.level(case, f"sobol 512 {seed}"), field)
            rows.append({"case": case, "level": "512 Sobol", "moved": moved, **row})
        closure, fourth = (courses.level(case, x) for x in ("closure", "fourth order"))
        gap = np.abs(closure.array - fourth.array).max()
        say(f"{case}: closure against fourth order {gap:.4f}; an epoch of the closure takes "
              f"{cost['closure'] * 1e6:.0f} us")  # fmt: skip
        for name, level in (("mean field", field), ("fourth order", fourth)):
            say(f"  excess kurtosis at the end, {name}: {level.kurtosis[-1].round(2)}")
    table = pd.DataFrame(rows)
    say("\nEvery level on every case")
    say(table.round(5).to_string(index=False))
    return table


def at_equal_loss(level: SimpleNamespace, field: SimpleNamespace) -> np.ndarray:
    """Return the largest difference of any overlap at the same loss; NaN where there is none.

    Losses fall all the time here: the trials are fixed and the steps small.
    """
    order = slice(None, None, -1)
    flat = field.array.reshape(len(field.array), -1)
    there = np.array([np.interp(level.losses, field.losses[order], x[order]) for x in flat.T]).T
    gap = np.abs(level.array.reshape(len(there), -1) - there).max(axis=1)
    outside = (level.losses < field.losses[-1]) | (level.losses > field.losses[0])
    return np.where(outside, np.nan, gap)


def stages(courses: Courses) -> pd.DataFrame:
    """Return the largest errors before, while and after the loss falls."""
    rows = []
    for case, (_, _, epochs) in CASES.items():
        field = courses.level(case, f"product {REFERENCE}")
        drop = field.losses[0] - field.losses.min()
        fall = [int(np.argmax(field.losses < field.losses.min() + s * drop)) for s in (0.9, 0.1)]
        for level in ("closure", "fourth order", "product 6"):
            course = courses.level(case, level)
            table, _ = _compared(course, field)
            table["equal loss"] = at_equal_loss(course, field)
            for stage, (low, high) in {
                "before": (0, fall[0]),
                "while": (fall[0], fall[1] + 1),
                "after": (fall[1] + 1, epochs + 1),
            }.items():
                part = table.iloc[low:high]
                rows.append(
                    {
                        "case": case,
                        "level": level,
                        "stage": stage,
                        "to epoch": high - 1,
                        "equal epoch": part["overlaps"].max(),
                        "equal loss": part["equal loss"].max(),
                        "nearest moment": part["path"].max(),
                    }
                )
    table = pd.DataFrame(rows)
    say("\nBefore, while and after the loss falls (from 90% to 10% of its drop)")
    say(table.round(5).to_string(index=False))
    return table


def other_starts(courses: Courses, n: int = 8) -> pd.DataFrame:
    """Return errors of closure and fourth order from random starts, on three tasks."""
    tasks = {
        "flip-flop": (pl.FlipFlop((1.0, 3.0), 1.0, 0.5, dt=0.1, trials=6).freeze(1), 0.05, 600),
        "filter": (pl.Filter(decay=0.4, dt=0.1), 5e-3, 1000),
        "teacher": (pl.Teacher(dt=0.1, trials=6).freeze(1), 1e-3, 1000),
    }
    rng = np.random.default_rng(0)
    rows = []
    for k in range(n):
        cross = np.abs(rng.normal(0.0, 0.3, size=(4, 4)))
        norms = np.sqrt(rng.uniform(0.5, 2.0, size=4))
        matrix = (np.triu(cross, 1) + np.triu(cross, 1).T + np.eye(4)) * np.outer(norms, norms)
        if np.linalg.eigvalsh(matrix)[0] < 0.05:
            continue
        start = pl.Overlaps(matrix)
        for name, (task, rate, epochs) in tasks.items():
            rule = pl.GradientDescent(rate)
            field = courses(
                f"start {k} {name} field",
                lambda s=start, t=task, r=rule, e=epochs: pl.learn_mean_field(s, t, r, e, points=8),
            )
            closure = pl.learn(start, task, rule, epochs, "erf")
            fourth = pl.learn_fourth_order(start, task, rule, epochs)
            one, two = summary(closure, field)["largest"], summary(fourth, field)["largest"]
            guess = np.abs(closure.array - fourth.array).max()
            rows.append(
                {
                    "start": k,
                    "task": name,
                    "closure": one,
                    "fourth order": two,
                    "ratio": one / two,
                    "closure from fourth order": guess,
                }
            )
    table = pd.DataFrame(rows)
    say("\nRandom starts")
    say(table.round(4).to_string(index=False))
    say(table.groupby("task")[["closure", "fourth order", "ratio"]].median().round(4))
    say(f"ratio: median {table['ratio'].median():.1f}, least {table['ratio'].min():.1f}")
    return table


def long_training(courses: Courses, epochs: int = 20000) -> pd.DataFrame:
    """Return errors along ten times longer training."""
    rows = []
    for case in ("strong flip-flop", "teacher"):
        field = courses.level(case, "product 8", epochs, 50)
        for level in ("closure", "fourth order", "product 6"):
            course = courses.level(case, level, epochs, 50)
            gap = np.abs(course.array - field.array).max(axis=(1, 2))
            epochs_shown = np.array([500, 2000, 5000, 10000, 20000])
            part = {
                "epoch": epochs_shown,
                "error": gap[epochs_shown // 50],
                "loss": course.losses[epochs_shown],
                "loss, mean field": field.losses[epochs_shown],
            }
            rows.append(pd.DataFrame({"case": case, "level": level, **part}))
    table = pd.concat(rows)
    say("\nLong training, against the product rule of 8 points")
    say(table.round(5).to_string(index=False))
    return table


def rank_two(courses: Courses, epochs: int = 3000) -> pd.DataFrame:
    """Return the error of every level on a task for rank two, the damped oscillation."""
    spread = 0.1 * np.random.default_rng(1).normal(size=(6, 6))
    start = pl.Overlaps(np.eye(6) + (spread + spread.T) / 2, rank=2)
    task, rule = pl.DampedOscillation(dt=0.1), pl.GradientDescent(5e-3)

    def product(points: int) -> SimpleNamespace:
        return courses(
            f"rank two product {points}",
            lambda: pl.learn_mean_field(start, task, rule, epochs, every=10, points=points),
        )

    def sobol(seed: int) -> SimpleNamespace:
        loadings = particles_of(start.matrix, start.sizes, 4096, np.random.SeedSequence(seed))
        return courses(
            f"rank two sobol {seed}",
            lambda: pl.train_network(loadings, task, rule, epochs, "erf", every=10),
        )

    levels = {
        "closure": pl.learn(start, task, rule, epochs, "erf", every=10),
        "fourth order": pl.learn_fourth_order(start, task, rule, epochs, every=10),
        **{f"product {p}": product(p) for p in (4, 5, 6)},
        **{f"4096 Sobol, scramble {s}": sobol(s) for s in range(2)},
    }
    field = product(7)
    rows = [{"level": name, **summary(level, field)} for name, level in levels.items()]
    table = pd.DataFrame(rows)
    say("\nRank two, damped oscillation, against the product rule of 7 points (10,976 particles)")
    say(table.round(4).to_string(index=False))
    say(f"the largest change by learning: {np.abs(field.array - field.array[0]).max():.2f}")
    return table


@styled
def draw_networks(table: pd.DataFrame, particles: pd.DataFrame) -> object:
    """Draw errors of finite networks against N, and of the mean field against its particles."""
    figure = new_figure(3.3)
    left, right = figure.subplots(1, 2)
    for column, name, colour, mark in (
        ("largest", "same epoch", "blue", "o"),
        ("path", "nearest moment", "vermillion", "s"),
    ):
        left.plot(
            table["N"], table[column], mark, ms=3, alpha=0.35, color=COLOURS[colour], mec="none"
        )
        mean = table.groupby("N")[column].agg(lambda x: np.sqrt(np.mean(x**2)))
        left.plot(mean.index, mean, "-", color=COLOURS[colour], label=name)
    n = np.array(SIZES, dtype=float)
    level = np.sqrt(np.mean(table.loc[table["N"] == 100, "path"] ** 2))
    left.plot(n, 0.5 * level * (n / 100) ** -0.5, ":", color="black", label="slope -1/2")
    left.set(xscale="log", yscale="log", xlabel="neurons N", ylabel="largest error of an overlap")
    left.set_title("Finite networks")
    left.legend()
    part = particles[particles["case"] == "flip-flop"]
    for kind, colour, mark, name in (
        ("sobol", "purple", "o", "Sobol points"),
        ("product", "green", "s", "product rule"),
    ):
        rows = part[part["kind"] == kind]
        right.plot(rows["n"], rows["largest"], mark, ms=4, color=COLOURS[colour], label=name)
        mean = rows.groupby("n")["largest"].agg(lambda x: np.sqrt(np.mean(x**2)))
        right.plot(mean.index, mean, "-", color=COLOURS[colour])
    right.set(xscale="log", yscale="log", xlabel="particles", ylabel="largest error of an overlap")
    right.set_title("The mean field by its particles")
    right.legend()
    return figure


@styled
def draw_courses(courses: Courses) -> object:
    """Draw errors along learning by level, with the loss above."""
    figure = new_figure(4.6)
    axes = figure.subplots(2, len(CASES), sharex="col", height_ratios=(1, 2))
    for column, (case, (_, _, epochs)) in enumerate(CASES.items()):
        field = courses.level(case, f"product {REFERENCE}")
        axes[0, column].plot(field.losses / field.losses[0], color="black", lw=1.2)
        axes[0, column].set_title(case)
        axes[0, column].set_ylim(0, None)
        for level, name, colour in (
            ("closure", "Gaussian closure", "blue"),
            ("fourth order", "fourth order", "vermillion"),
            ("product 6", "162 particles", "green"),
        ):
            rows, _ = _compared(courses.level(case, level), field)
            lower = axes[1, column]
            lower.plot(rows["overlaps"][1:], color=COLOURS[colour], lw=1.4, label=name)
            lower.plot(rows["path"][1:], ":", color=COLOURS[colour], lw=1.2)
        lower.set(yscale="log", xlabel="epoch", xlim=(0, epochs), ylim=(1e-6, 1))
    axes[0, 0].set_ylabel("loss, share\nof the first")
    axes[1, 0].set_ylabel("largest error of an overlap")
    axes[1, 0].plot([], [], ":", color="black", lw=1.2, label="at the nearest moment")
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


@styled
def draw_cost(table: pd.DataFrame) -> object:
    """Draw error against cost for every case."""
    figure = new_figure(3.4)
    axes = figure.subplots(1, 1)
    marks = dict(zip(CASES, ("o", "s", "^", "D"), strict=True))
    shades = {"closure": "blue", "fourth order": "vermillion"}
    shown = table.dropna(subset="cost")
    for _, rows in shown.groupby("case"):
        axes.plot(rows["cost"], rows["largest"] / rows["moved"], color=FAINT, lw=1.0, zorder=0)
    for (case, level), row in shown.groupby(["case", "level"]):
        colour = COLOURS[shades.get(level, "green")]
        axes.plot(row["cost"], row["largest"] / row["moved"], marks[case], color=colour, ms=6)
    for case, mark in marks.items():
        axes.plot([], [], mark, color="black", label=case)
    for name, colour in (
        ("Gaussian closure", "blue"),
        ("fourth order", "vermillion"),
        ("mean field, 4, 6, 8 points", "green"),
    ):
        axes.plot([], [], "-", color=COLOURS[colour], lw=5, label=name)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="time of an epoch, in epochs of the Gaussian closure",
        ylabel="largest error, share of\nwhat learning moves",
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def main() -> None:
    """Run everything; print the tables and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--cache", type=Path, required=True, help="folder of finished courses")
    arguments = parser.parse_args()
    courses = Courses(arguments.cache)
    pd.set_option("display.width", 200)
    levels = levels_compared(courses)
    stages(courses)
    other_starts(courses)
    networks = networks_approach(courses)
    particles = particles_converge(courses)
    long_training(courses)
    rank_two(courses)
    for name, figure in (
        ("networks", draw_networks(networks, particles)),
        ("courses", draw_courses(courses)),
        ("cost", draw_cost(levels)),
    ):
        (arguments.output / f"closure-{name}.png").write_bytes(png(figure, 130))


if __name__ == "__main__":
    main()
