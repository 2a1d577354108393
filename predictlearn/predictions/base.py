"""What every prediction is, and how a cohort of networks and draws is analysed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.errors import InputError
from predictlearn.statistics.comparisons import number, paired_comparison
from predictlearn.statistics.corrections import family_table
from predictlearn.statistics.results import TestResult, tests_table
from predictlearn.theory.overlaps import Overlaps

__all__ = ["Cohort", "Prediction", "as_cohort", "compare_outcomes", "curve_bands", "outcome_band"]

_MOST_POINTS = 401


@runtime_checkable
class Prediction(Protocol):
    """A testable prediction: what is claimed, what to measure, and the tests that decide.

    Attributes
    ----------
    name : str
        Short name.
    paragraphs : tuple of str
        The prediction in plain words with numbers, a thought a paragraph.
    statement : str
        The same in one piece.
    observable : str
        What an experimenter has to measure.
    tests : pandas.DataFrame
        One row a test: family, name, estimate, interval, effect size and its interval, p, corrected
        p, verdict, assumptions, statement.
    table : pandas.DataFrame
        Tidy outcomes, one row a value.
    curves : pandas.DataFrame
        Curves with bands: arm, quantity, epoch, mean, low, high, kind.
    settings : mapping
        Everything that was set.
    seed : int
        Seed of whatever was random.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def paragraphs(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def statement(self) -> str: ...  # noqa: D102
    @property
    def observable(self) -> str: ...  # noqa: D102
    @property
    def tests(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def table(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def curves(self) -> pd.DataFrame: ...  # noqa: D102
    @property
    def settings(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Cohort:
    """Networks to predict for, and which draw of the unseen overlaps each belongs to.

    Parameters
    ----------
    starts : tuple of Overlaps
        Overlaps before learning.
    draw, network : numpy.ndarray of int, (starts,)
        Draw (one completion of what a recording could not see) and network (animal) of each start.

    Examples
    --------
    >>> cohort = as_cohort([[Overlaps(np.eye(4))] * 3] * 2)
    >>> cohort.n_draws, cohort.n_networks
    (2, 3)
    """

    starts: tuple[Overlaps, ...]
    draw: np.ndarray
    network: np.ndarray

    @property
    def n_draws(self) -> int:
        """Number of draws."""
        return int(self.draw.max()) + 1

    @property
    def n_networks(self) -> int:
        """Number of networks."""
        return int(self.network.max()) + 1

    def grid(self, values: np.ndarray) -> np.ndarray:
        """Return values (starts, ...) as (draws, networks, ...), NaN where there is none."""
        out = np.full((self.n_draws, self.n_networks, *np.shape(values)[1:]), np.nan)
        out[self.draw, self.network] = values
        return out

    def by_network(self, values: np.ndarray) -> np.ndarray:
        """Average values (starts, ...) over draws: (networks, ...), NaN for networks with none."""
        return _mean_without_nan(self.grid(values), axis=0)

    def by_draw(self, values: np.ndarray) -> np.ndarray:
        """Average values (starts, ...) over networks: (draws, ...), NaN for draws with none."""
        return _mean_without_nan(self.grid(values), axis=1)


def _mean_without_nan(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean over what is there, NaN (without a warning) where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def as_cohort(
    starts: Sequence[Overlaps] | Sequence[Sequence[Overlaps]],
    draw: Sequence[Any] | None = None,
    network: Sequence[Any] | None = None,
) -> Cohort:
    """Return starts as a Cohort.

    Parameters
    ----------
    starts : sequence of Overlaps, or of sequences of Overlaps
        Networks before learning; nested, the outer level is the draw and the inner the network.
    draw : sequence, optional
        Label of the draw of each start. Starts that differ only in what a recording could not see
        belong to different draws of the same network. Without it all starts are one draw.
    network : sequence, optional
        Label of the network (animal) of each start. By default the position within its draw.

    Returns
    -------
    Cohort
        With draws and networks numbered from 0.

    Raises
    ------
    InputError
        If there is no start, sizes disagree, labels do not match the starts, or a network occurs
        twice in a draw.
    """
    try:
        items: list[Any] = list(starts)
    except TypeError as error:
        raise InputError(
            f"starts must be a sequence of Overlaps; got {type(starts).__name__}."
        ) from error
    if items and all(isinstance(item, list | tuple) for item in items):
        if draw is not None or network is not None:
            raise InputError("draw and network cannot be given for nested starts.")
        draw = [index for index, inner in enumerate(items) for _ in inner]
        items = [start for inner in items for start in inner]
    if not items:
        raise InputError("starts must hold at least one Overlaps; got none.")
    for item in items:
        if not isinstance(item, Overlaps):
            raise InputError(f"starts must hold Overlaps; got {type(item).__name__}.")
        if item.sizes != items[0].sizes:
            raise InputError(
                "all starts must have the same n_in, rank and n_out; "
                f"got {items[0].sizes} and {item.sizes}."
            )
    labels = [0] * len(items) if draw is None else list(draw)
    if len(labels) != len(items):
        raise InputError(f"draw must have one label per start, {len(items)}; got {len(labels)}.")
    draws = pd.factorize(pd.Series(labels))[0]
    if network is None:
        networks = pd.Series(draws).groupby(draws).cumcount().to_numpy()
    else:
        if len(network) != len(items):
            raise InputError(
                f"network must have one label per start, {len(items)}; got {len(network)}."
            )
        networks = pd.factorize(pd.Series(list(network)))[0]
    if len(set(zip(draws.tolist(), networks.tolist(), strict=True))) < len(items):
        raise InputError("a network may occur only once in each draw; check draw and network.")
    return Cohort(tuple(items), np.asarray(draws, dtype=int), np.asarray(networks, dtype=int))


def _not_tested(name: str, values: np.ndarray, n: int, seed: int) -> TestResult:
    """Return the labelled row of a comparison that cannot be tested: draws are not animals."""
    nan = (float("nan"), float("nan"))
    mean = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
    reason = (
        f"{n} network: no test; draws of what a recording could not see are not animals, and "
        "their spread is reported as a band instead"
    )
    return TestResult(
        name=name,
        statement=f"{name}: mean difference {number(mean)}; not tested ({reason}).",
        verdict="not tested",
        method="none",
        statistic=float("nan"),
        p=float("nan"),
        estimate=mean,
        interval=nan,
        level=float("nan"),
        effect_name="none",
        effect=float("nan"),
        effect_interval=nan,
        n=(n,),
        assumptions=(),
        degenerate=reason,
        seed=seed,
    )


def compare_outcomes(
    cohort: Cohort,
    outcomes: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    family: str,
    correction: str = "holm",
    alpha: float = 0.05,
    method: str = "t",
    seed: int = 0,
) -> pd.DataFrame:
    """Test paired outcomes over networks, with correction within the family.

    The network (animal) is the unit: values are first averaged over the draws of each network, so
    that draws never count as animals.

    Parameters
    ----------
    cohort : Cohort
        Networks and draws.
    outcomes : mapping of str to (first, second)
        Two arrays (starts,) each; NaN marks a start that was dropped, in both.
    family : str
        Name of the family.
    correction : {"holm", "fdr_bh", "none"}
        Correction within it.
    alpha : float
        Level.
    method : {"t", "wilcoxon", "permutation"}
        The test, see `paired_comparison`.
    seed : int
        Seed of resampling.

    Returns
    -------
    pandas.DataFrame
        As `family_table`, with ``simultaneous_low`` and ``simultaneous_high``: t intervals at
        Bonferroni's level, which hold together for the whole family.
    """
    results = []
    for name, (first, second) in outcomes.items():
        x, y = cohort.by_network(first), cohort.by_network(second)
        there = np.isfinite(x) & np.isfinite(y)
        x, y = x[there], y[there]
        if x.size < 2:
            results.append(_not_tested(name, x - y, int(x.size), seed))
        else:
            results.append(
                paired_comparison(x, y, name=name, method=method, level=1 - alpha, seed=seed)
            )
    tested = [result for result in results if result.verdict != "not tested"]
    untested = [result for result in results if result.verdict == "not tested"]
    parts = []
    if tested:
        table = family_table(tested, family=family, method=correction, alpha=alpha)
        size = np.array([result.n[0] for result in tested])
        error = np.array([result["sd"] for result in tested]) / np.sqrt(size)
        half = stats.t.ppf(1 - alpha / (2 * len(tested)), size - 1) * error
        table["simultaneous_low"] = table["estimate"] - half
        table["simultaneous_high"] = table["estimate"] + half
        parts.append(table)
    if untested:
        table = tests_table(untested)
        table.insert(0, "family", family)
        table["significant"] = False
        parts.append(table)
    return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)


def outcome_band(
    cohort: Cohort, outcomes: Mapping[str, tuple[np.ndarray, np.ndarray]], *, level: float = 0.95
) -> pd.DataFrame:
    """Separate what the recording could not tell from variation between networks.

    Parameters
    ----------
    cohort : Cohort
        Networks and draws.
    outcomes : mapping of str to (first, second)
        As for `compare_outcomes`.
    level : float
        Central share of the draws between ``low`` and ``high``.

    Returns
    -------
    pandas.DataFrame
        A row an outcome (first minus second): ``mean`` over draws of the draw's mean over networks,
        its quantiles over draws ``low`` and ``high``, ``sd_between_draws``,
        ``sd_between_networks`` (within a draw, averaged), ``share_positive`` of the draws,
        ``n_draws`` and ``n_networks``. With one draw there is no band: low = high = mean.
    """
    rows = []
    tail = (1 - level) / 2
    for name, (first, second) in outcomes.items():
        gap = np.asarray(first) - np.asarray(second)
        per_draw = cohort.by_draw(gap)
        per_draw = per_draw[np.isfinite(per_draw)]
        spreads = [
            float(np.std(row[np.isfinite(row)], ddof=1))
            for row in cohort.grid(gap)
            if np.isfinite(row).sum() > 1
        ]
        rows.append(
            {
                "name": name,
                "mean": float(per_draw.mean()),
                "low": float(np.quantile(per_draw, tail)),
                "high": float(np.quantile(per_draw, 1 - tail)),
                "sd_between_draws": float(per_draw.std(ddof=1)) if per_draw.size > 1 else 0.0,
                "sd_between_networks": float(np.mean(spreads)) if spreads else float("nan"),
                "share_positive": float(np.mean(per_draw > 0)),
                "n_draws": int(per_draw.size),
                "n_networks": cohort.n_networks,
            }
        )
    return pd.DataFrame(rows)


def thin(n: int, most: int = _MOST_POINTS) -> np.ndarray:
    """Return the positions of at most `most` rows, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def curve_bands(
    cohort: Cohort,
    curves: Mapping[str, np.ndarray],
    epochs: np.ndarray,
    *,
    quantity: str = "loss",
    level: float = 0.95,
) -> pd.DataFrame:
    """Summarise learning curves of a cohort as means with bands.

    Parameters
    ----------
    cohort : Cohort
        Networks and draws.
    curves : mapping of str to array, (starts, epochs)
        Curves by arm; a row of NaN marks a start that was dropped.
    epochs : numpy.ndarray, (epochs,)
        Their epochs.
    quantity : str
        What the curves are of.
    level : float
        Level of the bands.

    Returns
    -------
    pandas.DataFrame
        Columns ``arm``, ``quantity``, ``epoch``, ``mean``, ``low``, ``high``, ``kind``. Kinds:
        ``"networks"``, central share of the networks, averaged over draws; ``"mean"``, t interval
        of the mean over networks (where there are at least two); ``"draws"``, central share of the
        draws, averaged over networks: what the recording could not tell (where there are several).
    """
    rows = thin(len(epochs))
    tail = (1 - level) / 2
    parts: list[pd.DataFrame] = []
    for arm, curve in curves.items():
        kept = np.asarray(curve)[:, rows]
        nets = cohort.by_network(kept)
        nets = nets[np.isfinite(nets).all(axis=1)]
        draws = cohort.by_draw(kept)
        draws = draws[np.isfinite(draws).all(axis=1)]
        mean = nets.mean(axis=0)
        bands = {"networks": np.quantile(nets, [tail, 1 - tail], axis=0)}
        if len(nets) > 1:
            error = nets.std(axis=0, ddof=1) / np.sqrt(len(nets))
            half = stats.t.ppf(1 - tail, len(nets) - 1) * error
            bands["mean"] = np.array([mean - half, mean + half])
        if len(draws) > 1:
            bands["draws"] = np.quantile(draws, [tail, 1 - tail], axis=0)
        parts.extend(
            pd.DataFrame(
                {
                    "arm": arm,
                    "quantity": quantity,
                    "epoch": epochs[rows],
                    "mean": mean,
                    "low": low,
                    "high": high,
                    "kind": kind,
                }
            )
            for kind, (low, high) in bands.items()
        )
    return pd.concat(parts, ignore_index=True)
