"""Decoding: whether a label can be read from features in animals that were not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

from predictlearn.arrays import Array
from predictlearn.checks import names_of, non_negative, positive_int
from predictlearn.errors import InputError
from predictlearn.statistics.comparisons import check_level, p_text, span
from predictlearn.statistics.results import AssumptionCheck, TestResult, bare, tests_table
from predictlearn.statistics.tables import ColumnLabels, as_table, labels, numbers

__all__ = ["decoding"]

# Where the test found a label in more or less than 4 to 6% of 2,000 tables without one, see
# studies/statistics/test_sizes.md.
_MISSES = (
    "measured: finds 3.5% of labels of sessions that are not there (8 animals), 11% where rows of "
    "a session resemble each other and session= is left out"
)


@dataclass(frozen=True)
class _Ridge:
    """Ridge classification with the matrix that maps labels to scores, for many labellings at once.

    scikit-learn's RidgeClassifier on standardised features gives the same predictions; a test
    compares.
    """

    maps: list[tuple[np.ndarray, np.ndarray, Array]]

    @classmethod
    def of(cls, x: Array, folds: list[tuple[np.ndarray, np.ndarray]], ridge: float) -> _Ridge:
        """Return the maps of all folds."""
        maps = []
        for train, test in folds:
            mean, sd = x[train].mean(0), x[train].std(0)
            sd = np.where(sd > 1e-12 * np.maximum(np.abs(mean), 1e-300), sd, 1.0)
            a, b = (x[train] - mean) / sd, (x[test] - mean) / sd
            if a.shape[1] <= a.shape[0]:
                gram = a.T @ a + ridge * np.eye(a.shape[1])
                weights = b @ np.linalg.solve(gram, a.T)
            else:
                weights = b @ a.T @ np.linalg.inv(a @ a.T + ridge * np.eye(a.shape[0]))
            # labels are centred on the mean of the training ones, which the intercept is
            share = np.full((len(test), len(train)), 1 / len(train))
            maps.append((train, test, weights - weights.mean(1, keepdims=True) + share))
        return cls(maps)

    def predict(self, codes: np.ndarray, n_classes: int) -> np.ndarray:
        """Return predicted classes of labellings (..., rows)."""
        flat = codes.reshape(-1, codes.shape[-1])
        scores = np.empty((n_classes, *flat.shape))
        for k in range(n_classes):
            sign = np.where(flat == k, 1.0, -1.0)
            for train, test, weights in self.maps:
                scores[k][:, test] = sign[:, train] @ weights.T
        # of two classes scikit-learn takes the second where its score is above zero
        chosen = (scores[1] > 0).astype(np.intp) if n_classes == 2 else scores.argmax(axis=0)
        return chosen.reshape(codes.shape)


def _balanced(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> Array:
    """Return the mean over classes of the share decoded rightly, of labellings (..., rows)."""
    right = truth == predicted
    found = np.zeros(truth.shape[:-1])
    for k in range(n_classes):
        mine = truth == k
        found = found + (right & mine).sum(-1) / np.maximum(mine.sum(-1), 1)
    return np.asarray(found / n_classes)


def _relabelled(
    codes: np.ndarray,
    animals: ColumnLabels,
    units: np.ndarray | None,
    n: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, str]:
    """Return n labellings that are as likely under the null, and in words what was exchanged.

    Labels of whole animals move between animals; labels that change within animals move within
    each, with the sessions they belong to where these are whole.
    """
    k = len(animals.names)
    first = np.zeros(k, dtype=np.intp)
    first[animals.codes[::-1]] = codes[::-1]
    if np.array_equal(first[animals.codes], codes):
        order = np.argsort(rng.random((n, k)), axis=1)
        return first[order][:, animals.codes], "labels of animals between animals"
    inner = np.arange(codes.size) if units is None else units
    m = int(inner.max()) + 1
    label, owner = np.zeros(m, dtype=np.intp), np.zeros(m, dtype=np.intp)
    label[inner[::-1]], owner[inner[::-1]] = codes[::-1], animals.codes[::-1]
    whole = np.array_equal(label[inner], codes)
    if not whole:
        # within sessions
        label, owner, inner, units = codes, inner, np.arange(codes.size), None
        words = "labels of rows within sessions"
    else:
        words = (
            "labels of sessions within animals" if units is not None else "labels within animals"
        )
    # sorted by owner, then in random order within each: where the label of each comes from
    place = np.argsort(owner, kind="stable")
    moved = np.empty((n, label.size), dtype=np.intp)
    chosen = np.lexsort((rng.random((n, label.size)), np.broadcast_to(owner, (n, label.size))))
    moved[:, place] = label[chosen]
    return moved[:, inner], words


def decoding(
    data: pd.DataFrame,
    *,
    target: str,
    features: str | Sequence[str],
    subject: str = "subject",
    session: str | None = None,
    n_folds: int | None = None,
    estimator: Any = None,
    ridge: float = 1.0,
    level: float = 0.95,
    n_permutations: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Ask whether a label can be decoded from features of animals that were not trained on.

    Whole animals are held out. The score is balanced accuracy, which is 1 / classes by chance. p is
    by relabelling that keeps what belongs together: labels that are the same in all rows of an
    animal move between animals, others only within animals, and with whole sessions where they are
    the same within those.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an observation.
    target : str
        Column of the label: arm, history, stimulus.
    features : str or sequence of str
        Columns of numbers to decode from.
    subject : str
        Column of the animal.
    session : str, optional
        Column of sessions, whose rows follow one another and are not exchanged one by one.
    n_folds : int, optional
        Folds of animals; default one animal at a time, ten folds for more than 20.
    estimator : scikit-learn classifier, optional
        Default ridge classification of standardised features, solved once for all relabellings.
        Others are fitted to each of them.
    ridge : float
        Penalty of the default.
    level : float
        Level of the interval; "different" is concluded where p < 1 - level.
    n_permutations, seed : int
        Relabellings and their seed.

    Returns
    -------
    pandas.DataFrame
        One row, as in :func:`compare_groups`: ``estimate`` is the balanced accuracy in percent,
        with an interval over animals; ``effect`` the distance from the mean of the null in its
        standard deviations, ``chance`` that mean in percent.

    Raises
    ------
    InputError
        With the row, as in :func:`compare_groups`; if a label is in one animal only, or there are
        fewer animals than folds.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"mouse": np.repeat(range(10), 6), "side": ["left", "right"] * 30})
    >>> table["rate"] = rng.normal(0, 1, 60) + 2 * (table["side"] == "left")
    >>> found = decoding(table, target="side", features="rate", subject="mouse", n_permutations=199)
    >>> found.loc[0, "verdict"]
    'different'
    """
    table = as_table(data)
    wanted = names_of("features", features)
    level = check_level("level", level)
    n_permutations = positive_int("n_permutations", n_permutations, maximum=1_000_000)
    x = np.column_stack([numbers(table, "feature", name) for name in wanted])
    truth = labels(table, "target", target)
    animals = labels(table, "subject", subject)
    units = None
    if session is not None:
        inner = labels(table, "session", session)
        units = pd.factorize(animals.codes * len(inner.names) + inner.codes)[0]
    if len(truth.names) < 2:
        raise InputError(
            f"target {target!r} must hold two labels; every row has {truth.names[0]!r}."
        )
    for k, name in enumerate(truth.names):
        rows = np.flatnonzero(truth.codes == k)
        if np.unique(animals.codes[rows]).size < 2:
            raise InputError(
                f"every label must be in at least 2 animals; {name!r} is in one only, row "
                f"{table.index[rows[0]]}."
            )
    n = len(animals.names)
    if n_folds is None:
        n_folds = n if n <= 20 else 10
    n_folds = positive_int("n_folds", n_folds, minimum=2, maximum=n)
    splitter = LeaveOneGroupOut() if n_folds == n else GroupKFold(n_folds)
    folds = list(splitter.split(x, truth.codes, groups=animals.codes))
    rng = np.random.default_rng(seed)
    moved, words = _relabelled(truth.codes, animals, units, n_permutations, rng)
    every = np.concatenate([truth.codes[None], moved])
    if estimator is None:
        predicted = _Ridge.of(x, folds, non_negative("ridge", ridge)).predict(
            every, len(truth.names)
        )
        used = "ridge classification"
    else:
        predicted = _by_estimator(estimator, x, every, folds)
        used = type(estimator).__name__
    scores = _balanced(every, predicted, len(truth.names))
    seen, null = float(scores[0]), scores[1:]
    p = float(1 + np.count_nonzero(null >= seen - 1e-12)) / (1 + n_permutations)
    right = np.array(
        [float((predicted[0] == truth.codes)[animals.codes == k].mean()) for k in range(n)]
    )
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * right.std(ddof=1) / math.sqrt(n))
    low, high = max(seen - half, 0.0), min(seen + half, 1.0)
    spread = float(null.std(ddof=1)) if n_permutations > 1 else 0.0
    effect = (seen - float(null.mean())) / spread if spread > 0 else math.nan
    least = AssumptionCheck(
        "enough animals for p < 0.05",
        f"{np.unique(null.round(12)).size} different scores under the null",
        float(np.mean(null >= null.max() - 1e-12)) < 0.05,
        "more animals: relabelling them gives too few different scores",
    )
    method = f"{used}, animals held out, permutation test"
    result = TestResult(
        name=target,
        statement=(
            f"{target}: decoded with {100 * seen:.3g}% balanced accuracy in held-out animals, "
            f"{100 * level:.3g}% interval {span(100 * low, 100 * high)}, chance "
            f"{100 * float(null.mean()):.3g}%, {method} {p_text(p)}, n = {n} animals."
        ),
        verdict="different" if p < 1 - level else "not shown to differ",
        method=method,
        statistic=seen,
        p=p,
        estimate=100 * seen,
        interval=(100 * low, 100 * high),
        level=level,
        effect_name="standard deviations of the null",
        effect=effect,
        effect_interval=(
            (low - float(null.mean())) / spread if spread > 0 else math.nan,
            (high - float(null.mean())) / spread if spread > 0 else math.nan,
        ),
        n=(n,),
        assumptions=(
            "animals are independent",
            f"under the null these can be exchanged: {words}",
            "the interval takes animals as equally informative",
            _MISSES,
        ),
        extra=(("chance", 100 * float(null.mean())), ("exchanged", words)),
        seed=seed,
        unit="percent",
        n_animals=n,
        checked=() if bare() else (least,),
    )
    return tests_table([result])


def _by_estimator(
    estimator: Any, x: Array, every: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Return predictions of a scikit-learn classifier for labellings (labellings, rows)."""
    for name in ("fit", "predict"):
        if not isinstance(getattr(estimator, name, None), Callable):  # type: ignore[arg-type]
            raise InputError(
                f"estimator must have fit and predict; got {type(estimator).__name__}."
            )
    predicted = np.empty_like(every)
    for codes, into in zip(every, predicted, strict=True):
        for train, test in folds:
            into[test] = clone(estimator).fit(x[train], codes[train]).predict(x[test])
    return predicted
