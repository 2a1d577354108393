"""Measure what one and two populations do on the context task: the numbers of populations.md.

python studies/theory/populations.py starts one      one population, many starts and rates (15 min)
python studies/theory/populations.py starts two      two populations (10 min)
python studies/theory/populations.py throughout      one and two, the cue on throughout the trial
python studies/theory/populations.py networks  networks of N neurons from one and two populations
python studies/theory/populations.py closure         theory against networks, two populations
python studies/theory/populations.py figure          studies/theory/populations.png
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import predictlearn as pl
from predictlearn.reporting.style import COLOURS, INK, SOFT, new_figure, png, styled
from predictlearn.theory.loadings import Loadings, particles_of
from predictlearn.theory.populations.populations import PopulationLoadings

TASK = pl.ContextDecision()
# Rate, and a fifth of it once the loss has been below 0.01.
DROP = pl.RateDrop(factor=5.0, below=0.01)


def start_of(n_populations: int, seed: int) -> pl.Populations:
    """Return a random start for the task."""
    return pl.Populations.random(n_populations, n_in=4, seed=seed)


def new_trials() -> pl.Trials:
    """Return trials with noise that no training saw."""
    return dataclasses.replace(TASK, trials=2000).sample(np.random.default_rng(12345))


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
    return pd.DataFrame(rows)


def first_below(losses: np.ndarray, level: float, window: int = 20) -> int | None:
    """Return the epoch at which the mean loss of a window is first below a level."""
    means = np.convolve(losses, np.full(window, 1 / window), "valid")
    return int(np.argmax(means < level)) + window if np.any(means < level) else None


def even_points(start: pl.Populations, n: int = 1024) -> PopulationLoadings:
    """Return n Sobol points for each population, which stand for infinitely many neurons."""
    children = np.random.SeedSequence(0).spawn(start.n_populations)
    parts = [
        particles_of(item.matrix, start.sizes, n, child).stacked
        for item, child in zip(start.overlaps, children, strict=True)
    ]
    n_in, rank, _ = start.sizes
    theta = np.split(np.concatenate(parts), np.cumsum([n_in, rank, rank]), axis=1)
    return PopulationLoadings(Loadings(*theta), np.repeat(np.arange(start.n_populations) + 1, n))


def network_row(
    n_populations: int,
    seed: int,
    n_neurons: int | None,
    trials: int = 128,
    rate: float = 0.05,
    epochs: int = 1500,
) -> dict[str, object]:
    """Return a network's course beside that of the theory; without a size, Sobol points."""
    task = pl.ContextDecision(trials=trials)
    rule = pl.GradientDescent(rate, schedule=DROP)
    start = start_of(n_populations, seed)
    network = even_points(start, 2048) if n_neurons is None else start.loadings(n_neurons, seed=0)
    theory = pl.learn_populations(network.populations(), task, rule, epochs, every=20)
    trained = pl.train_population_network(network, task, rule, epochs, every=20)
    test = new_trials()
    row: dict[str, object] = {
        "populations": n_populations,
        "start": seed,
        "N": n_neurons or "2048 points",
        "trials": trials,
    }
    for name, outputs in {
        "theory": pl.simulate_populations(theory.final, test).outputs,
        "network": pl.run_network(trained.network.loadings, test, "erf").outputs,
    }.items():
        share = pl.decision_accuracy(test, outputs)
        row[f"loss, {name}"] = f"{test.loss(outputs):.6f}"
        row[f"accuracy, {name}"] = (
            f"{share['accuracy']:.4f} ({share['low']:.4f}, {share['high']:.4f})"
        )
    row |= {
        "below 0.1, theory": first_below(theory.losses, 0.1),
        "below 0.1, network": first_below(trained.losses, 0.1),
    }
    for parts in (1, 2, 3, 4):
        loss, accuracy = of_mixture(trained.network, parts)
        row[f"redrawn as {parts}"] = f"{loss:.3f}, {accuracy:.3f}"
    return row


def of_mixture(network: PopulationLoadings, parts: int) -> tuple[float, float]:
    """Return loss and accuracy, without noise, of so many populations fitted to a network."""
    every = TASK.every_trial()
    found = pl.fit_populations(network, parts, starts=16).populations
    outputs = pl.simulate_populations(found, every).outputs
    return every.loss(outputs), float(pl.decision_accuracy(every, outputs)["accuracy"])


def closure_table(
    start: pl.Populations,
    task: pl.ArrayTask,
    rate: float,
    epochs: int,
    sizes: tuple[int, ...] = (250, 1000, 4000),
    draws: int = 3,
) -> pd.DataFrame:
    """Return the largest |S_network - S_theory| of any population at some epochs, by N."""
    rule = pl.GradientDescent(rate)
    theory = pl.learn_populations(start, task, rule, epochs)
    fall = int(np.argmax(theory.losses < 0.9 * theory.losses[0]))
    cases = {"mean field": even_points(start)}
    cases |= {
        f"N = {n}, draw {k + 1}": start.loadings(n, seed=k) for n in sizes for k in range(draws)
    }
    rows, field = [], None
    for name, network in cases.items():
        trained = pl.train_population_network(network, task, rule, epochs)
        field = trained if field is None else field
        gap = np.abs(trained.array - theory.array).max(axis=(1, 2, 3))
        away = np.abs(trained.array - field.array).max(axis=(1, 2, 3))
        half = fall // 2
        rows.append(
            {
                "network": name,
                f"epoch {half}": gap[half],
                "largest": gap.max(),
                "end": gap[-1],
                "from the mean field, end": away[-1],
                "loss, theory": theory.losses[-1],
                "loss, network": trained.losses[-1],
                "falls, theory": fall,
                "falls, network": int(np.argmax(trained.losses < 0.9 * trained.losses[0])),
            }
        )
    return pd.DataFrame(rows)


def closure_cases() -> dict[str, pd.DataFrame]:
    """Return the table for flip-flop, and for the context task."""
    cross = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.1)
    other = cross.replace(mm=2.0, uu=0.5, vu=0.3)
    flip_flop = pl.Populations((0.5, 0.5), (cross, other))
    return {
        "flip-flop": closure_table(flip_flop, pl.FlipFlop(dt=0.05, trials=8).freeze(0), 0.05, 600),
        "context": closure_table(
            start_of(2, 2), pl.ContextDecision(trials=16).freeze(0), 0.02, 1500
        ),
    }


@styled
def figure():
    """Return the figure of studies/theory/populations.md."""
    figure = new_figure(5.6)
    axes = figure.subplots(2, 2)
    one, two = COLOURS["vermillion"], COLOURS["blue"]
    panel = axes[0, 0]
    window = np.full(50, 1 / 50)

    def curve(losses, **kwargs):
        means = np.convolve(losses, window, "valid")
        epochs = np.arange(means.size) + 50
        shown = np.unique(np.geomspace(1, means.size, 400).astype(int)) - 1
        panel.plot(epochs[shown], means[shown], **kwargs)

    learned = {}
    for count, colour in ((1, one), (2, two)):
        for seed in range(6):
            rule = pl.GradientDescent(0.05, schedule=DROP)
            learned[count, seed] = pl.learn_populations(
                start_of(count, seed), TASK, rule, 10000, every=100
            )
            label = {1: "one population", 2: "two populations"}[count] if seed == 0 else None
            curve(learned[count, seed].losses, color=colour, linewidth=1.0, label=label)
    network = start_of(1, 1).loadings(1000, seed=0)
    trained = pl.train_population_network(
        network, pl.ContextDecision(trials=64), pl.GradientDescent(0.05, schedule=DROP), 1500,
        every=100,
    )  # fmt: skip
    curve(
        trained.losses, color=INK, linewidth=1.6, linestyle=(0, (4, 1.5)),
        label="N = 1000, from one",
    )  # fmt: skip
    panel.axhline(1 / 8, color=SOFT, linewidth=1.0, linestyle=":", label="bound for one")
    panel.set(
        xscale="log", yscale="log", xlabel="epoch", ylabel="loss, mean of 50 epochs",
        title="A   Learning", xlim=(12, 1.3e4), ylim=(1e-5, 3),
    )  # fmt: skip
    panel.legend(loc="lower left", fontsize=8, handlelength=2.2)

    every, conditions = TASK.every_trial(), TASK.conditions
    time = (np.arange(every.n_steps) + 1) * TASK.dt
    pair = conditions.query("coherence_1 == 16 and coherence_2 == -16").index
    for count, colour in ((1, one), (2, two)):
        outputs = pl.simulate_populations(learned[count, 3].final, every).outputs
        for place, style in zip(pair, ("-", "--"), strict=True):
            axes[0, 1].plot(
                time, outputs[place, :, 0], color=colour, linestyle=style, linewidth=1.5,
                label=f"{ {1: 'one', 2: 'two'}[count]}, context {conditions['context'][place]}",
            )  # fmt: skip
    panel = axes[0, 1]
    respond = TASK.fixation + TASK.stimulus + TASK.delay
    panel.axvspan(TASK.fixation, TASK.fixation + TASK.stimulus, color="#eceff2", zorder=0)
    for height in (-1, 1):
        panel.plot(
            [respond, TASK.duration], [height, height], color="#c9d0d8", linewidth=6, zorder=0
        )
    panel.text(TASK.fixation + TASK.stimulus / 2, 2.05, "stimuli, cue", ha="center", fontsize=8)
    panel.text((respond + TASK.duration) / 2, 1.35, "targets", ha="center", fontsize=8)
    panel.set(
        xlabel="time (s)", ylabel="output", ylim=(-2.4, 2.4),
        title="B   Stimulus 1 is +16, stimulus 2 is -16",
    )  # fmt: skip
    panel.legend(loc="lower left", fontsize=7.5, ncols=2, columnspacing=1.0, handlelength=1.8)

    panel = axes[1, 0]
    gain = pl.simulate_populations(learned[2, 3].final, every).gain
    shown = (time > TASK.fixation) & (time <= TASK.fixation + TASK.stimulus)
    for k, colour in enumerate((COLOURS["sky"], COLOURS["green"])):
        means = [
            gain[(conditions["context"] == context).to_numpy()][:, shown, k].mean()
            for context in (1, 2)
        ]
        panel.bar(
            np.arange(2) + 0.36 * (k - 0.5), means, 0.32, color=colour, label=f"population {k + 1}"
        )
    panel.set_xticks([0, 1], ["context 1", "context 2"])
    panel.set(
        ylabel="mean gain while stimuli are on",
        ylim=(0, 1),
        title="C   Two populations after learning",
    )
    panel.legend(loc="upper right", fontsize=8)

    panel = axes[1, 1]
    counts = np.arange(1, 6)
    losses = [of_mixture(trained.network, parts)[0] for parts in counts]
    panel.plot(counts, losses, "o-", color=INK, markersize=5)
    itself = every.loss(pl.run_network(trained.network.loadings, every, "erf").outputs)
    panel.axhline(itself, color=SOFT, linewidth=1.0, linestyle=(0, (4, 1.5)))
    panel.text(1, itself * 1.35, "the network itself", fontsize=8, va="bottom")
    panel.set(
        yscale="log", xlabel="populations fitted to its loadings", ylabel="loss, equations",
        title="D   The network of A, after learning", ylim=(1e-5, 3),
    )  # fmt: skip
    panel.set_xticks(counts)
    return figure


if __name__ == "__main__":
    pd.set_option("display.width", 200, "display.max_columns", 30)
    what = sys.argv[1:]
    if what[:1] == ["starts"]:
        one = what[1] == "one"
        rates = tuple(float(x) for x in what[2:]) or (0.01, 0.02, 0.05, 0.1)
        table = starts_table(1 if one else 2, rates, 12, 40000 if one else 20000)
        print(table.to_string())  # noqa: T201
    elif what[:1] == ["throughout"]:
        task = dataclasses.replace(TASK, cue="trial", cue_amplitude=1.0)
        for count in (1, 2):
            print(starts_table(count, (0.005, 0.02), 6, 20000, task).to_string())  # noqa: T201
    elif what[:1] == ["closure"]:
        for name, table in closure_cases().items():
            print(name, table.to_string(), sep="\n")  # noqa: T201
    elif what[:1] == ["networks"]:
        cases = [(1, 0, 1000), (1, 1, 1000), (2, 2, 1000), (2, 3, 1000), (1, 1, None, 32)]
        rows = [network_row(*case) for case in cases]
        print(pd.DataFrame(rows).T.to_string())  # noqa: T201
    elif what[:1] == ["figure"]:
        Path(__file__).with_name("populations.png").write_bytes(png(figure(), dpi=150))
    else:
        sys.exit(__doc__)
