"""Fit what baselines.md compares, all on the same splits, and write its table and figure.

python studies/baselines/baselines.py run [SET ...]   fit; adds to baselines.csv (one row a fold)
python studies/baselines/baselines.py race [SET ...]  backpropagation by time; baselines_race.csv
python studies/baselines/baselines.py why  ranks, and why a baseline wins; baselines_why.csv
python studies/baselines/baselines.py tables  put the tables of these files into baselines.md
python studies/baselines/baselines.py figure          baselines.png

Needs dynamax and optax (pip install "predictlearn[baselines]"). Everything runs on one thread.
"""

from __future__ import annotations

import os

# Before numpy and jax are imported: one thread for everything that is timed.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
_FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ.setdefault("XLA_FLAGS", _FLAGS)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import sys  # noqa: E402
import warnings  # noqa: E402
from itertools import product  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from baselines_data import SETS, Set, standard  # noqa: E402
from baselines_methods import RANKS, Method, Settled, backprop, methods  # noqa: E402

from predictlearn.fitting import trial_folds  # noqa: E402
from predictlearn.fitting.session.scoring import count_log_likelihood  # noqa: E402

HERE = Path(__file__).resolve().parent
SCORES, RACE = HERE / "baselines.csv", HERE / "baselines_race.csv"
CURVES = HERE / "baselines_race_curves.csv"
FOLDS = 5
CLIP = 0.1  # least predicted rate, as a share of the neuron's mean, where counts are scored


def r2(y, prediction, train) -> float:
    """Return R2 pooled over neurons, about the training mean of each."""
    centre = train.mean(axis=(0, 1))
    return float(1 - ((y - prediction) ** 2).sum() / ((y - centre) ** 2).sum())


def bits(y, prediction, train) -> float:
    """Return bits per spike over constant rates; predicted means are clipped from below."""
    centre = train.mean(axis=(0, 1))
    kept = centre > 0
    y, prediction, centre = y[..., kept], prediction[..., kept], centre[kept]
    none = np.zeros(kept.sum())
    gain = count_log_likelihood(y, np.maximum(prediction, CLIP * centre), none)
    gain = gain - count_log_likelihood(y, np.broadcast_to(centre, y.shape), none)
    return float(gain.sum() / (y.sum() * np.log(2)))


def score_all(model, y, x, train, data: Set, past: bool) -> dict[str, float]:
    """Return every score of a fitted model."""
    out = {}
    predictions = {"": model.open_loop(x)} | ({" one step": model.one_step(y, x)} if past else {})
    for task, prediction in predictions.items():
        out["r2" + task] = r2(y, prediction, train)
        if data.counts:
            out["bits" + task] = bits(y, prediction, train)
    return out


def split(data: Set, fold: int):
    """Return training and held-out trials of a fold, and the inner split of the training ones."""
    folds = trial_folds(len(data.activity), FOLDS, seed=0, groups=None)
    train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    inner = trial_folds(len(train), FOLDS, seed=1)
    return train, test, train[inner != 0], train[inner == 0]


def run_method(data: Set, method: Method, fold: int) -> list[dict]:
    """Choose among the candidates on the inner split, fit all training trials, score."""
    y, x = data.activity, data.inputs
    train, test, learn, check = split(data, fold)
    inner = {}
    for label, make in method.candidates.items():
        model = make().fit(y[learn], x[learn])
        inner[label] = score_all(model, y[check], x[check], y[learn], data, method.past)
    rows = []
    for task in ["", " one step"] if method.past else [""]:
        label = max(inner, key=lambda name: inner[name][method.chosen_by + task])
        model = method.candidates[label]().fit(y[train], x[train])
        scores = score_all(model, y[test], x[test], y[train], data, method.past)
        rows.append(
            {
                "method": method.name,
                "task": task.strip() or "open loop",
                "chosen": label,
                "r2": scores["r2" + task],
                "bits": scores.get("bits" + task, np.nan),
                "seconds": model.seconds,
                "parameters": model.n_parameters,
            }
        )
    return rows


def run_backprop(data: Set, fold: int, poisson: bool) -> list[dict]:
    """Do the same for the trained network; the inner split also says when to stop."""
    y, x = data.activity, data.inputs
    train, test, learn, check = split(data, fold)
    measure = bits if poisson else r2

    def follow(y, prediction):
        return measure(y, prediction, data.activity[learn])

    best = (-np.inf, 0, 0.0, 0)
    ranks = RANKS[:2] if poisson else RANKS
    # of a static set the rank cannot be told, and one is tried
    for rank, rate in product(RANKS[:1] if data.static else ranks, (0.03, 0.1)):
        model = backprop(data, rank, poisson)
        inside = model.model if isinstance(model, Settled) else model
        inside.learning = rate
        how = {"held_out": (y[check], x[check]), "score": follow}
        model.fit(y[learn], x[learn], patience=200 if data.static else 400, **how)
        best = max(best, (max(row[2] for row in inside.trace), rank, rate, inside.best_steps))
    _, rank, rate, steps = best
    model = backprop(data, rank, poisson, n_steps=steps)
    (model.model if isinstance(model, Settled) else model).learning = rate
    model.fit(y[train], x[train])
    scores = score_all(model, y[test], x[test], y[train], data, past=False)
    return [
        {
            "method": "backpropagation" + (", Poisson" if poisson else ""),
            "task": "open loop",
            "chosen": f"rank {rank}, rate {rate}, {steps} steps",
            "r2": scores["r2"],
            "bits": scores.get("bits", np.nan),
            "seconds": model.seconds,
            "parameters": model.n_parameters,
        }
    ]


def ceiling(data: Set, fold: int) -> list[dict]:
    """Score the training mean of each condition and bin."""
    y = data.activity
    train, test, _, _ = split(data, fold)
    conditions = data.conditions
    prediction = np.stack([y[train][conditions[train] == c].mean(axis=0) for c in conditions[test]])
    return [
        {
            "method": "condition means",
            "task": "open loop",
            "chosen": f"{len(np.unique(conditions))} conditions",
            "r2": r2(y[test], prediction, y[train]),
            "bits": bits(y[test], prediction, y[train]) if data.counts else np.nan,
            "seconds": np.nan,
            "parameters": prediction[0].size * len(np.unique(conditions)),
        }
    ]


def run(names: list[str]) -> None:
    """Fit every method on every fold of the named sets."""
    for name in names or list(SETS):
        data = SETS[name]()
        rows = []
        for fold in range(FOLDS):
            found = []
            for method in methods(data):
                found += run_method(data, method, fold)
            found += run_backprop(data, fold, poisson=False)
            if data.counts:
                found += run_backprop(data, fold, poisson=True)
            if data.conditions is not None:
                found += ceiling(data, fold)
            rows += [{"set": data.name, "fold": fold} | row for row in found]
            print(f"{data.name}: fold {fold}", flush=True)  # noqa: T201
        merge(SCORES, pd.DataFrame(rows))


def run_race(names: list[str]) -> None:
    """Race on the first fold of the named sets, at the rank that most folds chose."""
    from baselines_race import race

    for name in names or ["standard", "simulated", "learning", "redundancy"]:
        data, rank = standard() if name == "standard" else SETS[name](), 2
        if name != "standard":
            scores = pd.read_csv(SCORES)
            own = scores[(scores["set"] == data.name) & (scores["method"] == "low-rank network")]
            rank = int(own["chosen"].mode()[0].removeprefix("rank "))
        rows, curves = race(data, rank, split(data, 0), r2, limit=90.0)
        merge(RACE, pd.DataFrame(rows))
        merge(CURVES, pd.DataFrame(curves))


def merge(file: Path, rows: pd.DataFrame) -> None:
    """Put rows in a file in place of those of the same sets."""
    if file.is_file():
        old = pd.read_csv(file)
        rows = pd.concat([old[~old["set"].isin(rows["set"])], rows])
    rows.to_csv(file, index=False, float_format="%.5g")


def main() -> None:
    """Do what the command line says."""
    import jax

    jax.config.update("jax_enable_x64", True)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    command, *names = sys.argv[1:] or ["help"]
    if command == "run":
        run(names)
    elif command == "race":
        run_race(names)
    elif command == "why":
        import baselines_why

        baselines_why.ranks().to_csv(HERE / "baselines_ranks.csv", index=False)
        table = baselines_why.experiments(split, r2, FOLDS)
        table.to_csv(HERE / "baselines_why.csv", index=False, float_format="%.5g")
    elif command == "tables":
        import baselines_report

        baselines_report.write_tables()
    elif command == "figure":
        import baselines_report

        baselines_report.figure(pd.read_csv(SCORES), pd.read_csv(CURVES), pd.read_csv(RACE))
    else:
        print(__doc__)  # noqa: T201


if __name__ == "__main__":
    main()
