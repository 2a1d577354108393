"""Power by simulation: data as an experiment would give them, and the test that will be made."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from predictlearn.checks import non_negative, positive_int
from predictlearn.errors import InputError
from predictlearn.kept import keeping
from predictlearn.progress import bar
from predictlearn.statistics.comparisons import check_level
from predictlearn.statistics.families import TableTest, named_tests, tested
from predictlearn.statistics.results import bare_results
from predictlearn.workers import Parallel, delayed

__all__ = ["SimulatedPower", "power_by_simulation"]

Simulate = Callable[..., pd.DataFrame]

# Simulations that one task makes: few enough that an interruption costs little.
_BATCH = 50
# Redrawn curves behind the interval of the smallest number of animals.
_REDRAWN = 1000
TARGETS = (0.8, 0.95)


@dataclass
class _Counted:
    """What some simulations of one design came to, by test."""

    positive: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    boundary: Counter[str] = field(default_factory=Counter)
    why: dict[str, str] = field(default_factory=dict)
    animals: float = 0.0
    with_animals: int = 0
    made: int = 0

    def add(self, other: _Counted) -> None:
        """Add what other simulations came to."""
        self.positive.update(other.positive)
        self.failed.update(other.failed)
        self.boundary.update(other.boundary)
        self.why = {**other.why, **self.why}
        self.animals += other.animals
        self.with_animals += other.with_animals
        self.made += other.made


def _chosen(name: str, table: pd.DataFrame, row: str | None) -> pd.Series:
    """Return the row of a test's table that is asked about."""
    if row is None:
        if len(table) > 1:
            raise InputError(
                f"test {name!r} gives several rows, {', '.join(map(repr, table['name']))}; say "
                f"which with rows={{{name!r}: ...}}."
            )
        return table.iloc[0]
    names = table["name"].tolist()
    if row not in names:
        raise InputError(
            f"rows[{name!r}] must be one of {', '.join(map(repr, names))}; got {row!r}."
        )
    return table.iloc[names.index(row)]


def _batch(
    simulate: Simulate,
    tests: Mapping[str, TableTest],
    rows: Mapping[str, str],
    n: int,
    settings: Mapping[str, Any],
    alpha: float,
    seeds: Sequence[np.random.SeedSequence],
) -> _Counted:
    """Simulate some experiments of one design and make every test of each."""
    total = _Counted()
    for seed in seeds:
        data = simulate(n, np.random.default_rng(seed), **settings)
        if not isinstance(data, pd.DataFrame):
            raise InputError(
                f"simulate must return a DataFrame, one row an observation; got "
                f"{type(data).__name__}."
            )
        total.made += 1
        animals = 0
        for name, test in tests.items():
            try:
                with bare_results():
                    table = tested(name, test, data)
            except (InputError, np.linalg.LinAlgError) as error:
                # an experiment whose data cannot be tested has not shown anything
                total.failed[name] += 1
                total.why.setdefault(name, str(error))
                continue
            found = _chosen(name, table, rows.get(name))
            animals = max(animals, int(found.get("n_animals") or 0))
            if found["failed"]:
                total.failed[name] += 1
                total.why.setdefault(name, str(found["failed"]))
            elif math.isfinite(found["p"]):
                total.positive[name] += bool(found["p"] < alpha)
            else:
                total.positive[name] += found["verdict"] in ("different", "equivalent")
            total.boundary[name] += str(found.get("degenerate", "")).startswith("boundary")
        total.animals += animals
        total.with_animals += animals > 0
    return total


@dataclass(frozen=True)
class SimulatedPower:
    """Power over sizes of an experiment, and the smallest that are enough.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a test and design: ``test``, ``n`` as given to `simulate`, the settings, ``animals``
        (those of the simulated tables, mean), ``power`` with ``low`` and ``high`` (Clopper &
        Pearson), ``simulations``, ``failed`` (in the denominator), ``boundary`` (fits with a
        variance at zero), ``why_failed``, ``cost`` where given.
    needed : pandas.DataFrame
        A row a test, settings and target: smallest ``n`` with ``low`` and ``high``; infinite where
        the largest n that was simulated is not enough; ``flag`` says a flat or falling curve.
    alpha : float
        Level of the tests.
    statement : str
        In words.
    """

    table: pd.DataFrame
    needed: pd.DataFrame
    alpha: float
    statement: str


def _grid(settings: object) -> list[dict[str, Any]]:
    """Return every combination of settings."""
    if settings is None:
        return [{}]
    if not isinstance(settings, Mapping):
        raise InputError(
            "settings must map names of arguments of simulate to lists of values, as "
            f"{{'sessions': [5, 10]}}; got {type(settings).__name__}."
        )
    values = []
    for name, several in settings.items():
        if isinstance(several, str) or not isinstance(several, Sequence | np.ndarray):
            values.append([several])
        elif len(several) == 0:
            raise InputError(f"settings[{name!r}] must hold at least one value; got none.")
        else:
            values.append(list(several))
    return [dict(zip(settings, each, strict=True)) for each in itertools.product(*values)]


def _sizes(n_animals: object) -> list[int]:
    """Return numbers of animals in rising order."""
    several = n_animals if isinstance(n_animals, Sequence | np.ndarray | range) else [n_animals]
    if isinstance(several, str) or len(several) == 0:
        raise InputError(f"n_animals must be a whole number or several; got {n_animals!r}.")
    return sorted({positive_int("n_animals", n, minimum=1) for n in several})


def _cost(cost: Mapping[str, float], animals: float, setting: Mapping[str, Any]) -> float:
    """Return what animals with so many sessions, of so many trials each, cost."""
    sessions = float(setting.get("sessions", 1))
    trials = float(setting.get("trials", 1))
    return animals * (
        cost.get("animal", 0.0)
        + sessions * (cost.get("session", 0.0) + trials * cost.get("trial", 0.0))
    )


def _checked_cost(cost: object) -> dict[str, float] | None:
    """Return costs by kind, or raise InputError."""
    if cost is None:
        return None
    kinds = ("animal", "session", "trial")
    if not isinstance(cost, Mapping) or not cost or set(cost) - set(kinds):
        raise InputError(f"cost must map some of {', '.join(kinds)} to numbers; got {cost!r}.")
    return {kind: non_negative(f"cost[{kind!r}]", value) for kind, value in cost.items()}


def _crossing(ns: np.ndarray, power: np.ndarray, simulations: np.ndarray, target: float) -> float:
    """Return where a curve, made monotone, first reaches a target; infinite if nowhere."""
    rising = optimize.isotonic_regression(power, weights=simulations).x
    if rising[-1] < target:
        return math.inf
    at = int(np.argmax(rising >= target))
    if at == 0:
        return float(ns[0])
    span = rising[at] - rising[at - 1]
    between = (target - rising[at - 1]) / span if span > 0 else 1.0
    return float(ns[at - 1] + between * (ns[at] - ns[at - 1]))


def _needed(
    curve: pd.DataFrame, target: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return the smallest n of a curve, and its interval from redrawn simulations."""
    ns, power = curve["n"].to_numpy(float), curve["power"].to_numpy(float)
    m = curve["simulations"].to_numpy(float)
    # of a share of 0 or 1 redrawing would give that share for ever
    share = np.clip(power, 0.5 / m, 1 - 0.5 / m)
    redrawn = rng.binomial(m.astype(int), share, (_REDRAWN, m.size)) / m
    found = np.sort([_crossing(ns, one, m, target) for one in redrawn])
    low, high = found[int(0.025 * _REDRAWN)], found[int(0.975 * _REDRAWN) - 1]
    exact = _crossing(ns, power, m, target)
    return tuple(math.ceil(x - 1e-9) if math.isfinite(x) else x for x in (exact, low, high))  # type: ignore[return-value]


def _flag(curve: pd.DataFrame, level: float) -> str:
    """Return whether a curve over n falls or stays flat, in words; empty if it rises."""
    if len(curve) < 2:
        return ""
    power, m = curve["power"].to_numpy(float), curve["simulations"].to_numpy(float)
    pooled = np.clip(power, 0.5 / m, 1 - 0.5 / m)
    error = np.sqrt(pooled * (1 - pooled) / m)
    z = float(stats.norm.isf((1 - level) / 2 / len(curve)))
    n = curve["n"].to_numpy()
    top = int(np.argmax(power))
    if power[top] - power[-1] > z * math.hypot(error[top], error[-1]):
        return f"falling: {power[top]:.2f} at n = {n[top]}, {power[-1]:.2f} at n = {n[-1]}"
    if power[-1] - power[0] <= z * math.hypot(error[0], error[-1]) and power[0] < 0.95:
        return f"flat: {power[0]:.2f} at n = {n[0]}, {power[-1]:.2f} at n = {n[-1]}"
    return ""


def power_by_simulation(
    simulate: Simulate,
    tests: TableTest | Mapping[str, TableTest],
    *,
    n_animals: int | Sequence[int],
    settings: Mapping[str, Any] | None = None,
    rows: Mapping[str, str] | None = None,
    n_simulations: int = 1000,
    alpha: float = 0.05,
    targets: Sequence[float] = TARGETS,
    cost: Mapping[str, float] | None = None,
    level: float = 0.95,
    seed: int = 0,
    n_jobs: int = 1,
    progress: bool = False,
) -> SimulatedPower:
    """Simulate an experiment many times, make the test each time, and count how often it shows it.

    An experiment that cannot be tested or fitted counts as one that has not shown the effect: it
    stays in the denominator and is reported. All tests see the same simulated data, so that their
    curves can be compared.

    Parameters
    ----------
    simulate : callable
        ``simulate(n, rng, **setting)`` returns a tidy table of an experiment of size n; all chance
        comes from `rng`, a ``numpy.random.Generator``. What n counts, animals in all or in each
        group, is up to it.
    tests : callable or mapping from str to callable
        Functions of a table that return a table of tests, as
        ``functools.partial(compare_groups, outcome="errors")``.
    n_animals : int or sequence of int
        Values of n.
    settings : mapping, optional
        Further arguments of `simulate` with lists of values, as ``{"sessions": [5, 10], "trials":
        [100, 300]}``; all combinations are simulated.
    rows : mapping, optional
        Name of the row asked about, for tests that return several.
    n_simulations : int
        Experiments a design; 1,000 give a power within 3 points.
    alpha : float
        Level of tests with a p value; Bayes factors count where their verdict is ``"different"``.
    targets : sequence of float
        Powers for which the smallest n is looked for.
    cost : mapping, optional
        Cost of an ``"animal"``, a ``"session"`` of one, a ``"trial"`` of one; settings named
        ``sessions`` and ``trials`` say how many.
    level : float
        Level of Monte Carlo intervals.
    seed : int
        Seed; results do not depend on `n_jobs`.
    n_jobs : int
        Processes; -1 for all processors.
    progress : bool
        Show a bar.

    Returns
    -------
    SimulatedPower
        Tables of power and of numbers needed.

    Raises
    ------
    InputError
        If an argument makes no sense, or a test fails in every simulation: then with the first
        reason. Errors of `simulate` are its own.
    KeyboardInterrupt
        On Ctrl-C. Finished batches are kept where `simulate` and the tests are functions of this
        package, or partials of them, and the same call goes on from there.

    Examples
    --------
    >>> from functools import partial
    >>> from predictlearn.statistics import compare_groups
    >>> def simulate(n, rng):
    ...     arm = np.repeat(["drug", "saline"], n)
    ...     errors = rng.normal(5.0, 1.0, 2 * n) + 1.2 * (arm == "drug")
    ...     return pd.DataFrame({"subject": range(2 * n), "arm": arm, "errors": errors})
    >>> found = power_by_simulation(simulate, partial(compare_groups, outcome="errors"),
    ...                             n_animals=[6, 12, 18], n_simulations=200)
    >>> found.table["animals"].tolist()
    [12.0, 24.0, 36.0]
    """
    if not callable(simulate):
        raise InputError(f"simulate must be a function; got {type(simulate).__name__}.")
    named, ns, grid = named_tests(tests), _sizes(n_animals), _grid(settings)
    wanted = dict(rows or {})
    unknown = set(wanted) - set(named)
    if unknown:
        raise InputError(f"rows must name tests, {', '.join(named)}; got {sorted(unknown)[0]!r}.")
    positive_int("n_simulations", n_simulations, minimum=2, maximum=1_000_000)
    alpha, level = check_level("alpha", alpha), check_level("level", level)
    aims = [check_level("targets", target) for target in targets]
    costs = _checked_cost(cost)
    designs = [(setting, n) for setting in grid for n in ns]
    tasks, owner = [], []
    for at, (design, child) in enumerate(
        zip(designs, np.random.SeedSequence(seed).spawn(len(designs)), strict=True)
    ):
        seeds = child.spawn(n_simulations)
        for begin in range(0, n_simulations, _BATCH):
            part = seeds[begin : begin + _BATCH]
            tasks.append(
                delayed(_batch)(simulate, named, wanted, design[1], design[0], alpha, part)
            )
            owner.append(at)
    totals = [_Counted() for _ in designs]
    with keeping(), bar("simulated experiments", shown=progress):
        for at, counted in zip(owner, Parallel(n_jobs=n_jobs)(tasks), strict=True):
            totals[at].add(counted)
    table = _table(named, designs, totals, costs, level)
    for name, part in table.groupby("test", sort=False):
        if (part["failed"] == part["simulations"]).all():
            why = part["why_failed"].iloc[0]
            raise InputError(f"test {name!r} could be made of no simulated experiment: {why}")
    needed = _needed_table(table, list(grid[0]), aims, level, seed)
    return SimulatedPower(table, needed, alpha, _words(table, needed))


def _table(
    tests: Mapping[str, TableTest],
    designs: Sequence[tuple[dict[str, Any], int]],
    totals: Sequence[_Counted],
    costs: Mapping[str, float] | None,
    level: float,
) -> pd.DataFrame:
    """Return the table of power."""
    made = []
    for name in tests:
        for (setting, n), total in zip(designs, totals, strict=True):
            hits = int(total.positive[name])
            ends = stats.binomtest(hits, total.made).proportion_ci(level, method="exact")
            # of tables that no test could take, nobody counted the animals
            animals = total.animals / max(total.with_animals, 1)
            row = {
                "test": name,
                "n": n,
                **setting,
                "animals": animals,
                "power": hits / total.made,
                "low": float(ends.low),
                "high": float(ends.high),
                "simulations": total.made,
                "failed": int(total.failed[name]),
                "boundary": int(total.boundary[name]),
                "why_failed": total.why.get(name, ""),
            }
            if costs is not None:
                row["cost"] = _cost(costs, animals, setting)
            made.append(row)
    return pd.DataFrame(made)


def _needed_table(
    table: pd.DataFrame, names: list[str], aims: Sequence[float], level: float, seed: int
) -> pd.DataFrame:
    """Return the smallest n for each test, setting and target."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    made = []
    for key, curve in table.groupby(["test", *names], sort=False):
        flag = _flag(curve, level)
        for aim in aims:
            n, low, high = _needed(curve, aim, rng)
            row = dict(zip(["test", *names], key, strict=True))
            row |= {"target": aim, "n": n, "low": low, "high": high, "flag": flag}
            if "cost" in curve.columns:
                # cost grows in proportion to animals
                each = float((curve["cost"] / curve["n"]).iloc[-1])
                row["cost"] = each * n
            made.append(row)
    return pd.DataFrame(made)


def _words(table: pd.DataFrame, needed: pd.DataFrame) -> str:
    """Return the result in words."""
    parts = []
    known = {"test", "target", "n", "low", "high", "flag", "cost"}
    for row in needed.to_dict("records"):
        where = ", ".join(f"{name} {value}" for name, value in row.items() if name not in known)
        where = f" with {where}" if where else ""
        largest = int(table["n"].max())
        if math.isfinite(row["n"]):
            high = f"{row['high']:g}" if math.isfinite(row["high"]) else f"above {largest}"
            said = f"n = {row['n']:g} ({row['low']:g} to {high})"
        else:
            said = f"more than n = {largest}"
        flag = f"; curve {row['flag']}" if row["flag"] else ""
        parts.append(f"{row['test']}{where}: {100 * row['target']:g}% power needs {said}{flag}.")
    failed = table[table["failed"] > 0]
    for name, part in failed.groupby("test", sort=False):
        share = 100 * part["failed"].sum() / table.loc[table["test"] == name, "simulations"].sum()
        parts.append(
            f"{name}: {share:.2g}% of experiments could not be tested and count as not shown: "
            f"{part['why_failed'].iloc[0]}"
        )
    return " ".join(parts)
