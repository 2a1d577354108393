"""Decoding which of two histories a network had, from twins, with pairs kept together or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from predictlearn.checks import as_float_array, non_negative, positive_int, seed_sequence
from predictlearn.errors import InputError, choice

__all__ = ["Decoded", "decode_history", "logistic"]

_STEPS = 100
_ENOUGH = 1e-9
# more pairs than this have more ways to swap twins than are worth trying
_ENUMERATED = 10


@dataclass(frozen=True)
class Decoded:
    """How well histories were decoded.

    Parameters
    ----------
    accuracy : float
        Share of test networks decoded correctly, the mean over splits.
    by_pair : numpy.ndarray, (pairs,)
        The same for the twins of each pair; NaN for a pair that was never tested.
    swapped : numpy.ndarray, (swaps,)
        Accuracies where the twins of some pairs have exchanged labels: what chance gives. The
        observed labels are the first of them.
    p : float
        Share of swaps that decode at least as well; 1 if none were tried.
    """

    accuracy: float
    by_pair: np.ndarray
    swapped: np.ndarray
    p: float

    @property
    def band(self) -> tuple[float, float]:
        """The range that holds 95% of what chance gives."""
        low, high = np.quantile(self.swapped, (0.025, 0.975))
        return float(low), float(high)


def logistic(features: np.ndarray, labels: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Fit logistic regressions of several sets of labels on the same features.

    Minimises ``|w|^2 / 2 + strength * sum of log losses`` with an intercept that is not shrunk, by
    Newton steps that are halved where they do not descend.

    Parameters
    ----------
    features : numpy.ndarray, (networks, features)
        Features.
    labels : numpy.ndarray, (sets, networks)
        Labels 0 and 1.
    strength : float, default 1.0
        Weight of the data against the shrinkage, as `C` in scikit-learn.

    Returns
    -------
    numpy.ndarray, (sets, features + 1)
        Weights, the intercept last.

    Raises
    ------
    RuntimeError
        If the steps do not settle, which a convex loss should not allow.

    Examples
    --------
    >>> x = np.array([[-1.0], [-0.5], [0.5], [1.0]])
    >>> round(float(logistic(x, np.array([[0.0, 0.0, 1.0, 1.0]]))[0, 0]), 3)
    0.944
    """
    x = np.column_stack([features, np.ones(len(features))])
    shrink = np.append(np.ones(features.shape[1]), 0.0)
    weights = np.zeros((len(labels), x.shape[1]))

    def cost(w: np.ndarray) -> np.ndarray:
        score = w @ x.T
        log_loss = np.logaddexp(0.0, score) - labels * score
        return strength * log_loss.sum(axis=1) + 0.5 * (w**2 @ shrink)

    value = cost(weights)
    for _ in range(_STEPS):
        chance = special.expit(weights @ x.T)
        slope = strength * (chance - labels) @ x + weights * shrink
        if np.abs(slope).max() < _ENOUGH:
            return weights
        curve = strength * (chance * (1 - chance))[:, :, None] * x
        curve = np.swapaxes(curve, 1, 2) @ x + np.diag(shrink)
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        size = np.ones(len(labels))
        for _ in range(_STEPS):
            moved = weights - size[:, None] * step
            new = cost(moved)
            worse = new > value + 1e-12 * np.abs(value)
            if not worse.any():
                break
            size[worse] /= 2
        weights, value = moved, new
    raise RuntimeError("logistic regression did not settle in 100 Newton steps.")


def _splits(
    n_pairs: int, test_pairs: int, n_splits: int, together: bool, rng: np.random.Generator
) -> np.ndarray:
    """Return the test networks of every split, (splits, 2 test_pairs); k's twin is k + pairs."""
    if together:
        pairs = np.array([rng.permutation(n_pairs)[:test_pairs] for _ in range(n_splits)])
        return np.concatenate([pairs, pairs + n_pairs], axis=1)
    return np.array([rng.permutation(2 * n_pairs)[: 2 * test_pairs] for _ in range(n_splits)])


def _patterns(n_pairs: int, swaps: int, rng: np.random.Generator) -> np.ndarray:
    """Return which pairs swap their labels, (swaps, pairs) of 0 and 1, the first row none."""
    if swaps == 0:
        return np.zeros((1, n_pairs))
    if n_pairs <= _ENUMERATED and 2 ** (n_pairs - 1) <= swaps:
        # swapping every pair only renames the histories, so the last pair may stay as it is
        count = np.arange(2 ** (n_pairs - 1))
        return ((count[:, None] >> np.arange(n_pairs)) & 1).astype(float)
    drawn = rng.integers(0, 2, size=(swaps, n_pairs)).astype(float)
    drawn[0] = 0.0
    return drawn


def decode_history(
    first: np.ndarray,
    second: np.ndarray,
    *,
    noise: float = 0.0,
    noise_in: str = "features",
    together: bool = True,
    test_pairs: int = 2,
    splits: int = 50,
    swaps: int = 512,
    seed: int = 0,
) -> Decoded:
    """Decode which twin had which history by logistic regression on standardised features.

    Parameters
    ----------
    first, second : array_like, (pairs, features)
        Features of the twins with the one and with the other history, in the same order of pairs.
    noise : float, default 0.0
        Standard deviation of normal noise on the training features.
    noise_in : {"features", "spreads"}
        Its unit: that of the features, added before they are standardised; or the spread of each
        feature over the training networks, added after.
    together : bool, default True
        Keep the twins of a pair on the same side of every split. Otherwise single networks are
        drawn, so that most test networks have their twin, with the other label, in the training
        set.
    test_pairs : int, default 2
        Half the number of test networks.
    splits : int, default 50
        Random splits.
    swaps : int, default 512
        Ways to exchange the labels within pairs, for the distribution of chance: all where they
        are no more than this, else random ones; 0 for none.
    seed : int, default 0
        Seed of splits, noise and random swaps.

    Returns
    -------
    Decoded
        Accuracy, and what chance gives.

    Raises
    ------
    InputError
        If the shapes differ, there are too few pairs, or a setting is out of range.

    Notes
    -----
    Splits share networks, so their accuracies are not independent and their spread is no standard
    error. Twins start as the same network; if their histories left no trace, their labels could be
    exchanged within any pair, which gives the p value (exact where all swaps are tried).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> start = rng.normal(size=(10, 3))
    >>> decode_history(start, start).accuracy  # identical twins
    0.5
    >>> decode_history(start + [2.0, 0, 0], start - [2.0, 0, 0]).p < 0.01
    True
    """
    first = as_float_array("first", first, ndim=2, axes="(pairs, features)")
    second = as_float_array("second", second, shape=first.shape, axes="(pairs, features)")
    noise = non_negative("noise", noise)
    choice("noise_in", noise_in, ("features", "spreads"))
    n_pairs = len(first)
    if not 1 <= positive_int("test_pairs", test_pairs) <= n_pairs - 2:
        raise InputError(
            f"test_pairs must leave at least two pairs to train on; got {test_pairs} of {n_pairs}."
        )
    splits, swaps = positive_int("splits", splits), positive_int("swaps", swaps, minimum=0)
    streams = [np.random.default_rng(child) for child in seed_sequence(seed).spawn(3)]
    x = np.concatenate([first, second])
    patterns = _patterns(n_pairs, swaps, streams[0])
    labels = np.concatenate([1.0 - patterns, patterns], axis=1)
    right = np.zeros(labels.shape)
    tested = np.zeros(len(x))
    for test in _splits(n_pairs, test_pairs, splits, together, streams[1]):
        train = np.setdiff1d(np.arange(len(x)), test)
        blur = noise * streams[2].standard_normal((len(train), x.shape[1]))
        known = x[train] + (blur if noise_in == "features" else 0.0)
        mean, spread = known.mean(axis=0), known.std(axis=0)
        # a feature that does not vary says nothing
        spread = np.where(spread > 0, spread, 1.0)
        known = (known - mean) / spread + (blur if noise_in == "spreads" else 0.0)
        weights = logistic(known, labels[:, train])
        guess = weights[:, :-1] @ ((x[test] - mean) / spread).T + weights[:, -1:] > 0
        right[:, test] += guess == labels[:, test]
        tested[test] += 1
    accuracy = right.sum(axis=1) / tested.sum()
    pair_tests = tested[:n_pairs] + tested[n_pairs:]
    pair_right = right[0, :n_pairs] + right[0, n_pairs:]
    by_pair = np.divide(pair_right, pair_tests, out=np.full(n_pairs, np.nan), where=pair_tests > 0)
    p = float(np.mean(accuracy >= accuracy[0] - 1e-12))
    return Decoded(float(accuracy[0]), by_pair, accuracy, p)
