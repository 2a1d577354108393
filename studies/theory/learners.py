"""Which claims of the theory hold whatever learns: factors, synapses, each rule.

    python studies/theory/learners.py [equivalent aba history oscillation] [--networks 10]
    python studies/theory/learners.py long-history --learner "synapses, descent" --trials 32

Writes learners.csv: one row a claim, learner and network, with what was measured. The table
of docs/what-learns.md is made of it (`--table` prints it).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import predictlearn as pl
from predictlearn.published.twin_history.history_decoding import decode_history
from predictlearn.workers import Parallel, delayed

HERE = Path(__file__).parent
RANDOM = pl.Feedback(decoder=0.0, private=1.0)

# name: (what learns, rule from rate and further settings)
LEARNERS: dict[str, tuple[str, Callable[..., Any]]] = {
    "factors, descent": ("factors", pl.GradientDescent),
    "factors, feedback alignment": ("factors", pl.FeedbackAlignment),
    "factors, RFLO": ("factors", pl.RFLO),
    "synapses, descent": ("synapses", pl.GradientDescent),
    "synapses, feedback alignment": ("synapses", pl.FeedbackAlignment),
    "synapses, RFLO": ("synapses", pl.RFLO),
}


def begin(overlaps: pl.Overlaps, learner: str) -> Any:
    """Return the network in its span, with random feedback that all learners but descent use."""
    kind = pl.Synapses if LEARNERS[learner][0] == "synapses" else pl.Factors
    return kind.from_overlaps(overlaps, RANDOM)


def after(network: Any, task: Any, learner: str, rate: float, epochs: int, **more: Any) -> Any:
    """Return the network after learning, and the losses."""
    settings = {k: more.pop(k) for k in ("target_noise",) if k in more}
    rule = LEARNERS[learner][1](rate, **settings)
    t = pl.learn(network, task, rule, epochs, every=epochs, **more)
    return (t.final if isinstance(t, pl.SynapticTrajectory) else t.end), t.losses


def weights(network: Any) -> dict[str, np.ndarray]:
    """Return M, W and Z of a network in its span."""
    w = network.w if isinstance(network, pl.Synapses) else network.u @ network.v.T
    return {"M": network.m, "W": w, "Z": network.z}


def random_start(seed: int, rank: int = 1, norms: tuple[float, ...] = (1, 1, 1, 1)) -> pl.Overlaps:
    """Return overlaps of 500 random neurons with given mean squares of m, u, v and z."""
    rng = np.random.default_rng(seed)
    parts = []
    for columns, norm in zip((1, rank, rank, 1), norms, strict=True):
        x = rng.standard_normal((500, columns))
        parts.append(x * np.sqrt(norm * x.size / np.sum(x**2)))
    return pl.Overlaps.from_loadings(*parts)


def equivalent(networks: int) -> list[dict[str, Any]]:
    """Return epochs to a loss of 0.01 for networks that do the same at first."""
    task, rows = pl.Filter(decay=0.2), []
    changes = {
        "reference": {},
        "uu, mu": {"uu": 2.05, "mu": 0.8},
        "vv, zv": {"vv": 2.05, "zv": 0.8},
        "gauge": None,
    }
    for learner in LEARNERS:
        for seed in range(networks):
            start = random_start(seed)
            for name, change in changes.items():
                if change is None:
                    other = start.gauge(np.sqrt(2.05))
                else:
                    other = pl.functionally_equivalent(start, **change) if change else start
                _, losses = after(begin(other, learner), task, learner, 5e-3, 3000, stop_at=0.01)
                rows.append(
                    {
                        "claim": "equivalent networks",
                        "learner": learner,
                        "network": seed,
                        "what": name,
                        "value": len(losses) - 1 if losses[-1] <= 0.01 else np.nan,
                    }
                )
    return rows


def aba(networks: int) -> list[dict[str, Any]]:
    """Measure what of B is left after A-B-A, of what B moved, without noise and with it."""
    a, b, rows = pl.Filter(decay=0.2), pl.Filter(decay=0.4), []
    for learner in LEARNERS:
        for seed in range(networks):
            start = begin(random_start(seed).replace(uu=2.05, mu=0.8), learner)
            for noisy in (False, True):
                more = {"target_noise": 0.1} if noisy else {}
                epochs = 6000 if noisy else 24000
                first, _ = after(start, a, learner, 5e-3, epochs)
                moved, _ = after(first, b, learner, 5e-3, epochs)
                last, losses = after(moved, a, learner, 5e-3, epochs, seed=1, **more)
                longer, _ = after(first, a, learner, 5e-3, epochs)
                never, _ = after(longer, a, learner, 5e-3, epochs, seed=1, **more)
                parts = [weights(x) for x in (first, moved, last, never)]
                for part in "MWZ":
                    w1, w2, w3, w4 = (np.asarray(p[part]) for p in parts)
                    size = np.linalg.norm(w2 - w1)
                    for what, gap in (("first A", w3 - w1), ("never B", w3 - w4)):
                        rows.append(
                            {
                                "claim": "A-B-A with noise" if noisy else "A-B-A",
                                "learner": learner,
                                "network": seed,
                                "what": f"{part} from {what}",
                                "value": np.linalg.norm(gap) / size,
                            }
                        )
                rows.append(
                    {
                        "claim": "A-B-A with noise" if noisy else "A-B-A",
                        "learner": learner,
                        "network": seed,
                        "what": "loss at the end",
                        "value": losses[-1],
                    }
                )
        print(learner, flush=True)  # noqa: T201
    return rows


def _seen_and_not(network: Any) -> tuple[list[float], list[float]]:
    """Return what the function shows, and what else learning sees."""
    m, w, z = weights(network).values()
    n = pl.Synapses(m, w, z)
    q = n.quantities()
    seen = [float(x) for x in n.function(3).ravel()]
    return seen, [q[k] for k in ("mm", "zz", "ww")] + [
        float(m[:, 0] @ w @ m[:, 0]),
        float(z[:, 0] @ w @ z[:, 0]),
        float(np.sum((w @ m) ** 2)),
        float(np.sum((w.T @ z) ** 2)),
    ]


def history(networks: int) -> list[dict[str, Any]]:
    """Decode what was learned first, after a third task that both histories share.

    Smaller than the published one: 32 trials an epoch, 6,000 and then 6,000 epochs.
    """
    first, rows = _first_tasks(32), []
    for learner in LEARNERS:
        ends: dict[str, list[tuple[list[float], list[float]]]] = {name: [] for name in first}
        for name, task in first.items():
            for seed in range(networks):
                network, _ = after(
                    begin(_twins(seed), learner), task, learner, 0.01, 6000,
                    nonlinearity="erf", seed=seed,
                )  # fmt: skip
                network, later = after(
                    network, _teacher(32), learner, 1e-3, 6000, nonlinearity="erf", seed=100 + seed
                )
                ends[name].append(_seen_and_not(network))
                rows.append(
                    {
                        "claim": "twin history",
                        "learner": learner,
                        "network": seed,
                        "what": f"loss of the third task after {name}",
                        "value": later[-1],
                    }
                )
        for k, what in enumerate(("function", "all else")):
            one, two = (np.array([end[k] for end in ends[name]]) for name in first)
            found = decode_history(one, two, noise=0.3)
            for said, value in (("decoded from", found.accuracy), ("p, decoding", found.p)):
                rows.append(
                    {
                        "claim": "twin history",
                        "learner": learner,
                        "network": -1,
                        "what": f"{said} {what}",
                        "value": value,
                    }
                )
        print(learner, [r["value"] for r in rows[-4:]], flush=True)  # noqa: T201
    return rows


def _twins(seed: int) -> pl.Overlaps:
    """Return the start of a pair of twins, drawn again until a network has it."""
    rng = np.random.default_rng(seed)
    while True:
        s = np.diag(rng.uniform(0.5, 2.0, size=4))
        upper = np.triu_indices(4, 1)
        s[upper] = np.abs(rng.normal(0, 0.4, size=6))
        s = np.triu(s) + np.triu(s, 1).T
        if np.linalg.eigvalsh(s)[0] > 0:
            return pl.Overlaps(s)


def _first_tasks(trials: int) -> dict[str, Any]:
    """Return the two first tasks, those of the published experiment."""
    flip_flop = pl.FlipFlop(
        wait=(1.0, 2.0), input_amplitude=2.0, target_amplitude=1.0, dt=0.05, trials=trials
    )
    return {"flip-flop": flip_flop, "decision": pl.DecisionMaking(dt=0.05, trials=trials)}


def _teacher(trials: int) -> pl.Teacher:
    """Return the third task, that of the published experiment."""
    return pl.Teacher(dt=0.05, trials=trials)


def _both_ends(seed: int, learner: str, task: Any, trials: int) -> tuple[Any, Any, float]:
    """Return what is seen and not after the first task and after the third, and the last loss."""
    learns, kind = LEARNERS[learner]
    network, states = begin(_twins(seed), learner), []
    for rule, what, at in (
        (kind(0.01, schedule=pl.RateDrop(factor=5.0, below=0.015)), task, seed),
        (kind(1e-3), _teacher(trials), 100 + seed),
    ):
        t = pl.learn(network, what, rule, 30000, "erf", seed=at, every=30000)
        network = t.final if learns == "synapses" else t.end
        states.append(_seen_and_not(network))
    print(learner, type(task).__name__, seed, t.losses[-1], flush=True)  # noqa: T201
    return states[0], states[1], float(t.losses[-1500:].mean())


def long_history(networks: int, learner: str, trials: int, jobs: int) -> list[dict[str, Any]]:
    """Decode history after as many epochs as published: 30,000 of each task, ten pairs.

    Rates and their drop are the published ones; the published experiment shows 128 trials an epoch.
    """
    tasks = _first_tasks(trials)
    found = iter(
        Parallel(n_jobs=jobs)(
            delayed(_both_ends)(seed, learner, task, trials)
            for task in tasks.values()
            for seed in range(networks)
        )
    )
    by_task = {name: [next(found) for _ in range(networks)] for name in tasks}
    claim, rows = f"twin history, 30,000 epochs, {trials} trials", []

    def row(what: str, value: float, network: int = -1) -> None:
        values = (claim, learner, network, what, value)
        names = ("claim", "learner", "network", "what", "value")
        rows.append(dict(zip(names, values, strict=True)))

    for name, all_ends in by_task.items():
        for seed, (_, _, loss) in enumerate(all_ends):
            row(f"loss of the third task after {name}", loss, seed)
    middles, ends = ({n: [e[k] for e in all_] for n, all_ in by_task.items()} for k in (0, 1))
    for when, states in (("after the first", middles), ("after the third", ends)):
        for k, what in enumerate(("function", "all else")):
            one, two = (np.array([end[k] for end in states[name]]) for name in states)
            told = decode_history(one, two, noise=0.3)
            row(f"{when}, decoded from {what}", told.accuracy)
            row(f"{when}, p, decoding {what}", told.p)
    return rows


def oscillation(networks: int) -> list[dict[str, Any]]:
    """Return the loss of a damped oscillation learned from rank two, and what W is then."""
    task, rows = pl.DampedOscillation(decay=0.3, frequency=2.0), []
    for learner in LEARNERS:
        for seed in range(networks):
            start = begin(random_start(seed, 2, (1.0, 0.5, 0.5, 1.0)), learner)
            end, losses = after(start, task, learner, 5e-3, 10000)
            w = weights(end)["W"]
            values = np.linalg.svd(w, compute_uv=False)
            known = {"share of the first loss": losses[-1] / losses[0]}
            known["share of W outside two directions"] = np.sum(values[2:] ** 2) / np.sum(values**2)
            poles = np.linalg.eigvals(w) - 1.0
            known["frequency of the slowest pole"] = abs(poles[np.argmax(poles.real)].imag)
            for what, value in known.items():
                rows.append(
                    {
                        "claim": "damped oscillation",
                        "learner": learner,
                        "network": seed,
                        "what": what,
                        "value": value,
                    }
                )
        print(learner, flush=True)  # noqa: T201
    return rows


CLAIMS = {f.__name__: f for f in (equivalent, aba, history, oscillation)}


def table() -> pd.DataFrame:
    """Return medians and ranges over networks of all that was measured."""
    found = pd.read_csv(HERE / "learners.csv")
    grouped = found.groupby(["claim", "what", "learner"], sort=False)["value"]
    return grouped.agg(["median", "min", "max", "count"]).reset_index()


def main() -> None:
    """Run what was asked for and put it into the table."""
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    if "--table" in sys.argv:
        print(table().round(4).to_string())  # noqa: T201
        return
    networks = 10
    if "--networks" in sys.argv:
        networks = int(sys.argv[sys.argv.index("--networks") + 1])
        words = [w for w in words if w != str(networks)]
    given = {"--learner": "synapses, descent", "--trials": "128", "--jobs": "1"}
    for option in given:
        if option in sys.argv:
            given[option] = sys.argv[sys.argv.index(option) + 1]
            words.remove(given[option])
    path = HERE / "learners.csv"
    for name in words or CLAIMS:
        if name == "long-history":
            found = long_history(
                networks, given["--learner"], int(given["--trials"]), int(given["--jobs"])
            )
        else:
            found = CLAIMS[name](networks)
        rows = pd.DataFrame(found)
        if path.exists():
            old = pd.read_csv(path)
            done = old["claim"].isin(set(rows["claim"])) & old["learner"].isin(set(rows["learner"]))
            rows = pd.concat([old[~done], rows])
        rows.to_csv(path, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
