"""How well any model of the conditions could do: the training mean of each condition and bin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.checks import MOST_FOLDS, as_float_array, positive_int
from predictlearn.errors import InputError

__all__ = ["Ceiling", "condition_mean_ceiling", "trial_folds"]


@dataclass(frozen=True, eq=False)
class Ceiling:
    """Held-out R2 of the condition means.

    Parameters
    ----------
    by_fold : ndarray, shape (folds,)
        R2 of each fold.
    folds : ndarray of int, shape (trials,)
        Fold of each trial.
    """

    by_fold: Array
    folds: npt.NDArray[np.intp]

    @property
    def mean(self) -> float:
        """Mean over folds."""
        return float(self.by_fold.mean())

    @property
    def standard_error(self) -> float:
        """Standard error over folds."""
        return float(self.by_fold.std(ddof=1) / np.sqrt(len(self.by_fold)))


def trial_folds(
    n_trials: int, cv: int, seed: int, groups: npt.ArrayLike | None = None
) -> npt.NDArray[np.intp]:
    """Split trials into folds at random, trials of one group staying together.

    Parameters
    ----------
    n_trials : int
        Number of trials.
    cv : int
        Number of folds.
    seed : int
        Seed of the split.
    groups : array_like, shape (trials,), optional
        Group of each trial, such as a block. Default: every trial for itself.

    Returns
    -------
    ndarray of int, shape (trials,)
        Fold of each trial.

    Raises
    ------
    InputError
        Fewer trials or groups than folds.

    Examples
    --------
    >>> import numpy as np
    >>> np.bincount(trial_folds(10, 5, seed=0)).tolist()
    [2, 2, 2, 2, 2]
    """
    cv = positive_int("cv", cv, minimum=2, maximum=MOST_FOLDS)
    labels = np.arange(n_trials) if groups is None else np.asarray(groups)
    if labels.shape != (n_trials,):
        raise InputError(f"groups must have one label a trial ({n_trials}); got {labels.shape}")
    names, which = np.unique(labels, return_inverse=True)
    if len(names) < cv:
        raise InputError(
            f"cv must be at most the number of trials or groups ({len(names)}); got {cv}"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    fold = np.empty(len(names), dtype=np.intp)
    fold[order] = np.arange(len(names)) % cv
    return np.asarray(fold[which.ravel()])


def condition_mean_ceiling(
    activity: npt.ArrayLike,
    conditions: npt.ArrayLike,
    cv: int = 5,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
) -> Ceiling:
    """Held-out R2 of the training trials' mean for each condition and bin.

    No model that knows only the condition can beat the true condition means; with few trials a
    model may come near or above their noisy estimates. With the same ``cv``, ``seed`` and
    ``groups`` the folds are those of `select_rank`.

    Parameters
    ----------
    activity : array_like, shape (trials, time, neurons)
        Activity; NaN where missing.
    conditions : array_like, shape (trials,)
        Condition of each trial, such as its target.
    cv : int
        Number of folds.
    seed : int
        Seed of the split.
    groups : array_like, optional
        See `trial_folds`.

    Returns
    -------
    Ceiling
        R2 of each fold, pooled over neurons, about the training mean of each neuron.

    Raises
    ------
    InputError
        Shapes that do not fit, or a condition that some training set lacks.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.repeat(np.arange(4.0), 5)[:, None, None] * np.ones((20, 3, 2))
    >>> condition_mean_ceiling(y, np.repeat(np.arange(4), 5)).mean
    1.0
    """
    y = as_float_array("activity", activity, ndim=3, finite=False)
    labels = np.asarray(conditions)
    if labels.shape != (len(y),):
        raise InputError(f"conditions must have one label a trial ({len(y)}); got {labels.shape}")
    folds = trial_folds(len(y), cv, seed, groups)
    scores = []
    for fold in range(cv):
        train, test = folds != fold, folds == fold
        missing = set(labels[test].tolist()) - set(labels[train].tolist())
        if missing:
            raise InputError(
                f"conditions: {sorted(missing)[:5]} have no training trial in some fold; use fewer "
                "folds or drop rare conditions"
            )
        prediction = np.zeros_like(y[test])
        for label in np.unique(labels[test]):
            prediction[labels[test] == label] = _mean(y[train & (labels == label)], axis=0)
        centre = _mean(y[train].reshape(-1, y.shape[2]), axis=0)
        seen = ~np.isnan(prediction)
        held = np.where(seen, y[test], np.nan)
        error = np.nansum((held - np.where(seen, prediction, 0.0)) ** 2)
        scores.append(1 - error / np.nansum((held - centre) ** 2))
    return Ceiling(np.array(scores), folds)


def _mean(values: Array, axis: int) -> Array:
    """Mean that ignores NaN and is NaN, silently, where nothing was seen."""
    seen = ~np.isnan(values)
    count = seen.sum(axis=axis)
    total = np.where(seen, values, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
