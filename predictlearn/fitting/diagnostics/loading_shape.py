"""Whether the loadings are jointly Gaussian with mean zero, as the theory of erf networks assumes.

Estimated loadings are true ones plus estimation error, and the error of a noisy neuron is larger: a
mixture, which has heavy tails even where the true loadings are Gaussian. So the null distribution
is drawn with each neuron's own error, and effect sizes are of the loadings less their error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import InputError
from predictlearn.fitting.diagnostics.residuals import tail_p
from predictlearn.fitting.session.loading_moments import positive_part
from predictlearn.theory.populations.gaussianity import measures, two_sided_p, upper_p

__all__ = ["LoadingShape", "fewest_neurons", "loading_shape"]


@dataclass(frozen=True, eq=False)
class LoadingShape:
    """How far loadings are from jointly Gaussian.

    Parameters
    ----------
    tests : DataFrame
        Index: "mean m1", "skewness m1", "kurtosis m1", ..., then "joint skewness" and "joint
        kurtosis" (Mardia) and "joint distance" (Henze & Zirkler). Columns: statistic (of the
        estimated loadings), p, p_family (corrected for the number of tests: where its standardised
        departure stands among the largest of each Gaussian draw), effect. The effect of a column's
        mean is mean / sd, of its skewness and excess kurtosis those of the loadings less their
        estimation error; of the joint ones the statistic less its mean in Gaussian draws.
    quantiles : DataFrame
        Q-Q data: column, expected (normal quantile), seen (standardised), low, high (the band that
        holds each sorted value in 95% of Gaussian draws).
    error_share : Series
        Share of each column's second moment that is estimation error.
    """

    tests: pd.DataFrame
    quantiles: pd.DataFrame
    error_share: pd.Series


def fewest_neurons(columns: int) -> int:
    """Return how many neurons the shape of so many columns of loadings needs."""
    return max(2 * columns, 8)


def _columns(theta: Array) -> Array:
    """Return mean / sd, skewness and excess kurtosis of every column, (3, columns)."""
    mean, sd = theta.mean(axis=0), theta.std(axis=0)
    standard = (theta - mean) / sd
    return np.stack([mean / sd, np.mean(standard**3, axis=0), np.mean(standard**4, axis=0) - 3])


def _joint_skewness(theta: Array) -> float:
    """Return Mardia's skewness, the mean cube of inner products of whitened rows."""
    centred = theta - theta.mean(axis=0)
    white = np.linalg.solve(np.linalg.cholesky(centred.T @ centred / len(theta)), centred.T).T
    # the mean over pairs of (w_i . w_j)^3 is the square of the third moments
    third = np.einsum("ia,ib,ic->abc", white, white, white, optimize=True) / len(theta)
    return float(np.sum(third**2))


def _statistics(theta: Array) -> Array:
    """Return all statistics in one row."""
    joint = measures(theta)
    return np.concatenate(
        [
            _columns(theta).ravel(),
            [_joint_skewness(theta), joint.joint_kurtosis, joint.joint_distance],
        ]
    )


def _family(seen: Array, reference: Array) -> Array:
    """Return p-values corrected for the number of tests, by the largest departure of each draw."""
    centre, sd = reference.mean(axis=0), reference.std(axis=0)
    null = np.abs((reference - centre) / sd)
    departure = np.abs((seen - centre) / sd)
    # small values of these two are no departure
    for j in (-3, -1):
        null[:, j] = np.maximum((reference[:, j] - centre[j]) / sd[j], 0.0)
        departure[j] = max((seen[j] - centre[j]) / sd[j], 0.0)
    largest = null.max(axis=1)
    return np.array([tail_p(float(each), largest) for each in departure])


def loading_shape(
    loadings: npt.ArrayLike,
    errors: npt.ArrayLike | None = None,
    names: tuple[str, ...] | None = None,
    draws: int = 399,
    seed: int = 0,
) -> LoadingShape:
    """Test whether loadings are jointly Gaussian with mean zero.

    Parameters
    ----------
    loadings : array_like, shape (neurons, columns)
        Estimated loadings; neurons with NaN are left out.
    errors : array_like, shape (neurons, columns, columns), optional
        Estimation covariance of each neuron's loadings. Default: none.
    names : tuple of str, optional
        Names of the columns.
    draws : int
        Draws of the null distribution: Gaussian loadings with the second moments of these (less
        error), each with its own neuron's error.
    seed : int
        Seed of the draws.

    Returns
    -------
    LoadingShape
        Tests, Q-Q data and how much of the loadings is error.

    Raises
    ------
    InputError
        Shapes that do not fit, or too few neurons.

    References
    ----------
    Mardia (1970), Biometrika 57, 519; Henze & Zirkler (1990), Commun. Stat. Theory Methods 19,
    3595.

    Examples
    --------
    >>> heavy = np.random.default_rng(0).standard_t(3, size=(300, 2))
    >>> shape = loading_shape(heavy, draws=99)
    >>> bool(shape.tests.loc["joint kurtosis", "p"] < 0.05)
    True
    """
    theta = as_float_array("loadings", loadings, ndim=2, finite=False)
    kept = np.isfinite(theta).all(axis=1)
    dim = theta.shape[1]
    spread = np.zeros((len(theta), dim, dim))
    if errors is not None:
        spread = as_float_array("errors", errors, shape=spread.shape, finite=False)
        kept &= np.isfinite(spread).all(axis=(1, 2))
    theta, spread = theta[kept], spread[kept]
    n = len(theta)
    if n < fewest_neurons(dim):
        raise InputError(
            f"loadings must have at least {fewest_neurons(dim)} neurons for {dim} columns; got {n}"
        )
    positive_int("draws", draws, minimum=19)
    labels = tuple(f"column {c + 1}" for c in range(dim)) if names is None else tuple(names)
    if len(labels) != dim:
        raise InputError(f"names must name the {dim} columns; got {len(labels)}")
    second = theta.T @ theta / n
    true = positive_part(second - spread.mean(axis=0))
    root = np.linalg.cholesky(true)
    values, vectors = np.linalg.eigh(spread)
    error_root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    rng = np.random.default_rng(seed)
    null, ordered = [], np.empty((draws, n, dim))
    for draw in range(draws):
        sample = rng.standard_normal((n, dim)) @ root.T
        sample = sample + np.einsum("iab,ib->ia", error_root, rng.standard_normal((n, dim)))
        null.append(_statistics(sample))
        ordered[draw] = np.sort((sample - sample.mean(axis=0)) / sample.std(axis=0), axis=0)
    drawn = np.array(null)
    reference = np.sort(drawn, axis=0)
    seen = _statistics(theta)
    two_sided = 3 * dim
    p = [two_sided_p(reference[:, j], float(seen[j])) for j in range(two_sided)]
    p.append(upper_p(reference[:, -3], float(seen[-3])))
    p.append(two_sided_p(reference[:, -2], float(seen[-2])))
    p.append(upper_p(reference[:, -1], float(seen[-1])))
    effect = np.concatenate(
        [_without_error(theta, spread).ravel(), seen[-3:] - reference[:, -3:].mean(axis=0)]
    )
    index = [f"{what} {label}" for what in ("mean", "skewness", "kurtosis") for label in labels]
    tests = pd.DataFrame(
        {"statistic": seen, "p": p, "effect": effect},
        index=pd.Index([*index, "joint skewness", "joint kurtosis", "joint distance"], name="test"),
    )
    tests.insert(2, "p_family", _family(seen, drawn))
    low, high = np.quantile(ordered, [0.025, 0.975], axis=0)
    standard = np.sort((theta - theta.mean(axis=0)) / theta.std(axis=0), axis=0)
    expected = stats.norm.ppf((np.arange(n) + 0.5) / n)
    quantiles = pd.concat(
        [
            pd.DataFrame(
                {
                    "column": label,
                    "expected": expected,
                    "seen": standard[:, c],
                    "low": low[:, c],
                    "high": high[:, c],
                }
            )
            for c, label in enumerate(labels)
        ],
        ignore_index=True,
    )
    share = np.diag(spread.mean(axis=0)) / np.diag(second)
    return LoadingShape(tests, quantiles, pd.Series(share, index=list(labels), name="error"))


def _without_error(theta: Array, spread: Array) -> Array:
    """Return mean / sd, skewness and excess kurtosis of the loadings less their error.

    With error e of variance s_i independent of the loading t: E x^2 = E t^2 + E s, E x^3 = E t^3,
    E x^4 = E t^4 + 6 E t^2 E s + 3 E s^2. NaN where error is all there is.
    """
    mean = theta.mean(axis=0)
    centred = theta - mean
    s = np.einsum("iaa->ia", spread)
    variance = np.mean(centred**2, axis=0) - s.mean(axis=0)
    known = variance > 0.05 * np.mean(centred**2, axis=0)
    variance = np.where(known, variance, np.nan)
    fourth = np.mean(centred**4, axis=0) - 6 * variance * s.mean(axis=0)
    fourth = fourth - 3 * np.mean(s**2, axis=0)
    return np.stack(
        [
            mean / np.sqrt(variance),
            np.mean(centred**3, axis=0) / variance**1.5,
            fourth / variance**2 - 3,
        ]
    )
