"""What is left in the residuals of a fit: tests whose null hypothesis is independent noise.

Trials are the units throughout: a statistic is compared over trials (a t test), or with residuals
whose trials were shuffled or flipped in sign. Nothing is assumed of the shape of the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from predictlearn.arrays import Array
from predictlearn.fitting.session.pieces import pieces

__all__ = [
    "FEWEST_COINCIDENCES",
    "Found",
    "Residuals",
    "autocorrelation",
    "drift",
    "holm",
    "largest_of",
    "noise_with_level",
    "residual_means",
    "shared_directions",
    "tail_p",
]


# Above this many neurons only so many eigenvalues are drawn under the null, at most so often.
_MANY, _LEADING, _DRAWS = 200, 10, 99
# Coincidences expected of independent bins below which a lack of them cannot be told.
FEWEST_COINCIDENCES = 10.0


@dataclass(frozen=True, eq=False)
class Residuals:
    """Pearson residuals, and what they were regressed on.

    Parameters
    ----------
    values : ndarray, shape (trials, time, neurons)
        (activity - mean) / standard deviation; 0 where missing.
    seen : ndarray of bool, same shape
        Where there was activity.
    base : ndarray, shape (trials, time, p)
        Regressors: the reduced activity, and a column of ones where neurons have an offset.
    expected : callable
        From a slice of neurons to the model's mean and variance of their activity, which are not
        kept: both (trials, time, neurons of the slice).
    """

    values: Array
    seen: npt.NDArray[np.bool_]
    base: Array
    expected: Callable[[slice], tuple[Array, Array]]

    @property
    def pieces(self) -> list[slice]:
        """Neurons to take at once."""
        n_trials, n_bins, n_neurons = self.values.shape
        return pieces(n_neurons, n_trials * n_bins)

    @property
    def inverse(self) -> Array:
        """The inverse of base^T base, (p, p)."""
        flat = self.base.reshape(-1, self.base.shape[2])
        return np.asarray(np.linalg.pinv(flat.T @ flat, rcond=1e-12, hermitian=True))


@dataclass(frozen=True)
class Found:
    """The result of one test.

    Parameters
    ----------
    statistic, p, effect : float
        Test statistic, p-value, effect size.
    measure : str
        What the effect size is.
    """

    statistic: float
    p: float
    effect: float
    measure: str


def _over_trials(by_trial: Array) -> tuple[float, float]:
    """Return t and two-sided p of a mean over trials."""
    n = len(by_trial)
    error = float(by_trial.std(ddof=1)) / np.sqrt(n)
    if error == 0:
        return 0.0, 1.0
    t = float(by_trial.mean()) / error
    return t, float(2 * stats.t.sf(abs(t), n - 1))


def holm(p: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Array:
    """Return p-values corrected for their number (Holm 1979), some with more weight if asked.

    Examples
    --------
    >>> holm([0.01, 0.5, 0.02]).round(3).tolist()
    [0.03, 0.5, 0.04]
    >>> holm([0.01, 0.5, 0.02], [1, 1, 2]).round(3).tolist()
    [0.04, 0.5, 0.04]
    """
    values = np.asarray(p, dtype=float)
    shares = np.ones_like(values) if weights is None else np.asarray(weights, dtype=float)
    order = np.argsort(values / shares, kind="stable")
    left = np.cumsum(shares[order][::-1])[::-1]
    out = np.empty_like(values)
    out[order] = np.minimum(np.maximum.accumulate((values / shares)[order] * left), 1.0)
    return out


def tail_p(seen: float, null: Array) -> float:
    """Return the upper p-value of a statistic among draws of its null distribution.

    Their share, as long as ten of them lie above; beyond, the tail of a gamma distribution with
    their mean, variance and skewness. So p is not bounded by the number of draws, and can stand
    correction for many tests.

    Parameters
    ----------
    seen : float
        The statistic.
    null : ndarray, shape (draws,)
        Its draws.

    Returns
    -------
    float
        p.

    References
    ----------
    Knijnenburg et al. (2009), Bioinformatics 25, i161 (tails of permutations); Winkler et al.
    (2016), NeuroImage 141, 502 (gamma with three moments).

    Examples
    --------
    >>> null = np.random.default_rng(0).chisquare(5, size=199)
    >>> bool(0.2 < tail_p(40.0, null) / stats.chi2.sf(40.0, 5) < 5)
    True
    """
    above = int(np.sum(null >= seen - 1e-12 * abs(seen)))
    share = (1 + above) / (len(null) + 1)
    sd = float(null.std(ddof=1))
    if above >= 10 or sd == 0:
        return share
    skewness = max(float(stats.skew(null, bias=False)), 0.05)
    tail = float(stats.pearson3.sf((seen - null.mean()) / sd, skewness))
    return min(max(tail, 1e-300), share)


def autocorrelation(residuals: Residuals, lags: int) -> tuple[Found, pd.DataFrame, pd.DataFrame]:
    """Test for correlation between the residuals of nearby bins of a trial.

    Parameters
    ----------
    residuals : Residuals
        Residuals.
    lags : int
        Largest lag, bins.

    Returns
    -------
    tuple of Found and two DataFrame
        The lag-one correlation pooled over neurons, its t over trials; by neuron lag1, ljung_box
        (sum over lags of squared, studentised correlations, chi-square of as many degrees of
        freedom), p, p_holm and coincidences (of sparse counts, about the bins with a spike that one
        with a spike follows, were bins independent; at most the bins); and by lag the mean over
        neurons with low and high (95%, over trials).

    Notes
    -----
    Regression makes residuals of white noise correlate by -tr(H S_l) / (n - p), H the hat matrix
    and S_l the shift by l bins. It is added back.

    The squares by which a neuron's products are studentised vary with their sum where residuals
    are skewed. Of sparse counts without a coincidence all products are small, and their sum beside
    them far out: -sqrt(n) for n rate^2 coincidences expected. So what the squares lack with a
    negative sum (by regression, the squared ratio of third and second moment) is put back. The test
    then holds at any rate, but few spikes can show bursts only, no lack of coincidences.

    References
    ----------
    Ljung & Box (1978), Biometrika 65, 297; Lobato, Nankervis & Savin (2001), Int. Econ. Rev. 42,
    187 (studentised products).
    """
    z, inverse = residuals.base, residuals.inverse
    n_trials, n_bins, n_neurons = residuals.values.shape
    studentised = np.zeros((lags, n_neurons))
    first, together = np.zeros((2, n_neurons))
    by_trial, pairs = np.zeros((lags, n_trials)), np.zeros(lags)
    shifted = [np.einsum("pta,ptb->ab", z[:, :-lag], z[:, lag:]) for lag in range(1, lags + 1)]
    for some in residuals.pieces:
        r, seen = residuals.values[:, :, some], residuals.seen[:, :, some]
        count = seen.sum(axis=(0, 1)).astype(float)
        power = np.einsum("ptn,ptn->n", r, r)
        per_degree = power / np.maximum(count - z.shape[2], 1.0)
        scale = np.maximum(per_degree, 1e-300)
        # third moment over second: of sparse counts, the residual of a spike
        skew = np.sum(r**3, axis=(0, 1)) / np.maximum(power, 1e-300)
        for lag in range(1, lags + 1):
            product = r[:, :-lag] * r[:, lag:]
            both = (seen[:, :-lag] & seen[:, lag:]).sum(axis=(0, 1))
            back = per_degree * float(np.sum(inverse * shifted[lag - 1].T))
            back = back * both / max(n_trials * (n_bins - lag), 1)
            total = product.sum(axis=(0, 1)) + back
            squares = np.einsum("ptn,ptn->n", product, product) + skew**2 * np.maximum(-total, 0.0)
            studentised[lag - 1, some] = total / np.sqrt(np.maximum(squares, 1e-300))
            by_trial[lag - 1] += (product.sum(axis=1) / scale).sum(axis=1)
            by_trial[lag - 1] += np.sum(back / scale) / n_trials
            pairs[lag - 1] += both.sum()
            if lag == 1:
                first[some] = total / np.maximum(both * scale, 1e-300)
                share = per_degree / np.maximum(skew**2, scale)
                together[some] = both * share**2
    curve = []
    pooled = Found(0.0, 1.0, 0.0, "lag-one correlation")
    for lag in range(1, lags + 1):
        of_trials, n_pairs = by_trial[lag - 1], max(float(pairs[lag - 1]), 1.0)
        rho = float(of_trials.sum()) / n_pairs
        half = stats.t.ppf(0.975, n_trials - 1) * of_trials.std(ddof=1) * np.sqrt(n_trials)
        curve.append((lag, rho, rho - half / n_pairs, rho + half / n_pairs))
        if lag == 1:
            pooled = Found(*_over_trials(of_trials), rho, "lag-one correlation")
    box = np.sum(studentised**2, axis=0)
    table = pd.DataFrame({"lag1": first, "ljung_box": box, "p": stats.chi2.sf(box, lags)})
    table["p_holm"] = holm(table["p"].to_numpy())
    table["coincidences"] = together
    return pooled, table, pd.DataFrame(curve, columns=["lag", "mean", "low", "high"])


def shared_directions(
    residuals: Residuals, draws: int, rng: np.random.Generator
) -> tuple[Found, pd.DataFrame, float]:
    """Test whether residuals of different neurons vary together.

    The largest eigenvalue of their correlation matrix, beside that after the trials of every
    neuron were shuffled on their own. That keeps what each neuron does within a trial.

    Parameters
    ----------
    residuals : Residuals
        Residuals.
    draws : int
        Number of shuffles; 99 are enough, and taken, for more than 200 neurons, whose largest
        eigenvalue hardly varies.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    tuple of Found, DataFrame and float
        The test; by rank of the eigenvalue the eigenvalue, null_median and null_high (95%; of the
        ten largest only, where there are more than 200 neurons), and the upper edge of Marchenko
        & Pastur's law, (1 + sqrt(neurons / bins))^2.

    References
    ----------
    Horn (1965), Psychometrika 30, 179; Marchenko & Pastur (1967), Math. USSR-Sb. 1, 457.
    """
    n_trials, n_bins, n_neurons = residuals.values.shape
    # single precision is ample for correlations, and twice as fast; a neuron's trial is one block
    r = np.ascontiguousarray(np.moveaxis(residuals.values, 2, 0), dtype=np.float32)
    rows = np.arange(n_neurons)[:, None]
    values = _eigenvalues(r)
    leading = n_neurons
    if n_neurons > _MANY:
        leading, draws = _LEADING, min(draws, _DRAWS)
    null = np.full((draws, n_neurons), np.nan)
    for draw in null:
        order = rng.permuted(np.tile(np.arange(n_trials), (n_neurons, 1)), axis=1)
        draw[:leading] = _eigenvalues(r[rows, order], leading)
    p = tail_p(float(values[0]), null[:, 0])
    middle, high = np.median(null, axis=0), np.quantile(null, 0.95, axis=0)
    edge = float((1 + np.sqrt(n_neurons / (n_trials * n_bins))) ** 2)
    effect = float(max(values[0] - middle[0], 0.0) / n_neurons)
    table = pd.DataFrame({"eigenvalue": values, "null_median": middle, "null_high": high})
    measure = "share of residual variance in the largest direction, beyond chance"
    return Found(float(values[0]), p, effect, measure), table, edge


def _eigenvalues(r: npt.NDArray[np.float32], leading: int | None = None) -> Array:
    """Return the eigenvalues of the correlation across neurons (first axis), largest first.

    Where only the ``leading`` ones are asked for, by Lanczos from a fixed start: a tenth of the
    time of all, for a thousand neurons.
    """
    flat = r.reshape(len(r), -1)
    second = flat @ flat.T
    scale = 1 / np.sqrt(np.maximum(np.diag(second).astype(float), 1e-300))
    if leading is not None and leading < len(r):
        start = np.random.default_rng(0).normal(size=len(r)).astype(np.float32)
        scaled = (second * scale[:, None] * scale).astype(np.float32)
        try:
            some = eigsh(
                scaled, leading, ncv=6 * leading, v0=start, tol=1e-3, return_eigenvectors=False
            )
            return np.asarray(np.sort(some)[::-1], dtype=float)
        except ArpackNoConvergence:  # many equal eigenvalues: all of them, then
            return np.asarray(np.linalg.eigvalsh(scaled)[: -leading - 1 : -1], dtype=float)
    return np.asarray(np.linalg.eigvalsh(second.astype(float) * np.outer(scale, scale))[::-1])


def residual_means(
    residuals: Residuals,
    groups: npt.NDArray[np.intp],
    draws: int,
    rng: np.random.Generator,
    block: int = 1024,
) -> tuple[Found, Array]:
    """Test whether residuals have a mean left in some bin of some group of trials.

    The sum of squares of the means over trials, beside that with the signs of whole trials drawn
    at random, projected off the regressors as the residuals themselves are.

    Parameters
    ----------
    residuals : Residuals
        Residuals.
    groups : ndarray of int, shape (trials,)
        Group of each trial, such as its condition; all zero for one group.
    draws : int
        Number of draws.
    rng : numpy.random.Generator
        Draws them.
    block : int
        Columns taken at once, to bound memory.

    Returns
    -------
    tuple of Found and ndarray, shape (groups, time, neurons)
        The test, and the means, in standard deviations of a bin.
    """
    n_trials, n_bins, n_neurons = residuals.values.shape
    r, z = residuals.values, residuals.base
    sign = np.concatenate([np.ones((1, n_trials)), rng.choice([-1.0, 1.0], (draws, n_trials))])
    flat = z.reshape(-1, z.shape[2])
    members = [np.flatnonzero(groups == g) for g in range(int(groups.max()) + 1)]
    explained = np.zeros(draws + 1)
    means = np.zeros((len(members), n_bins, n_neurons))
    left_out = residuals.inverse
    for some in pieces(n_neurons, n_bins, block):
        part = r[:, :, some]
        width = part.shape[2]
        inner = np.einsum("pta,ptn->pan", z, part).reshape(n_trials, -1)
        coefficients = (sign @ inner).reshape(len(sign), flat.shape[1], width)
        coefficients = np.einsum("ab,sbn->san", left_out, coefficients)
        # the residuals themselves are left as they are
        coefficients[0] = 0.0
        for g, which in enumerate(members):
            mean = sign[:, which] @ part[which].reshape(len(which), -1) / len(which)
            mean -= (z[which].mean(axis=0) @ coefficients).reshape(mean.shape)
            explained += len(which) * np.einsum("sk,sk->s", mean, mean)
            means[g, :, some] = mean[0].reshape(n_bins, width)
    total = float(np.einsum("ptn,ptn->", r, r))
    p = tail_p(float(explained[0]), explained[1:])
    effect = float(max(explained[0] - explained[1:].mean(), 0.0) / total)
    measure = "share of residual variance in the means, beyond chance"
    return Found(float(explained[0] / explained[1:].mean()), p, effect, measure), means


def noise_with_level(residuals: Residuals) -> tuple[Found, pd.DataFrame]:
    """Test whether the size of the residuals follows the predicted level.

    Parameters
    ----------
    residuals : Residuals
        Residuals.

    Returns
    -------
    tuple of Found and DataFrame
        The correlation of the squared residual with the model's mean, pooled over neurons, its t
        over trials; by neuron correlation, p and p_holm.

    Notes
    -----
    The squared residual less its regression on the residual. Squares of skewed noise, such as few
    spikes, follow the residual itself, and with it the level wherever loadings are shrunk.
    """
    n_trials, _, n_neurons = residuals.values.shape
    single, error = np.zeros((2, n_neurons))
    by_trial = np.zeros(n_trials)
    for some in residuals.pieces:
        r, seen = residuals.values[:, :, some], residuals.seen[:, :, some]
        count = np.maximum(seen.sum(axis=(0, 1)), 1)
        power = np.maximum((r**2).sum(axis=(0, 1)), 1e-300)
        squared = np.where(seen, r**2 - (r**3).sum(axis=(0, 1)) / power * r, 0.0)
        squared = np.where(seen, squared - squared.sum(axis=(0, 1)) / count, 0.0)
        level = np.where(seen, residuals.expected(some)[0], 0.0)
        level = np.where(seen, level - level.sum(axis=(0, 1)) / count, 0.0)
        scale = np.sqrt((squared**2).sum(axis=(0, 1)) * (level**2).sum(axis=(0, 1)))
        products = (squared * level).sum(axis=1) / np.maximum(scale, 1e-300)
        single[some] = products.sum(axis=0)
        error[some] = np.sqrt(n_trials) * np.maximum(products.std(axis=0, ddof=1), 1e-300)
        by_trial += products.sum(axis=1)
    p = 2 * stats.t.sf(np.abs(single / error), n_trials - 1)
    table = pd.DataFrame({"correlation": single, "p": p})
    table["p_holm"] = holm(p)
    t, pooled = _over_trials(by_trial)
    effect = float(single.mean())
    return Found(t, pooled, effect, "correlation of squared residual and level"), table


def drift(
    residuals: Residuals,
    groups: npt.NDArray[np.intp],
    draws: int,
    rng: np.random.Generator,
) -> Found:
    """Test whether offset or gain of the neurons change slowly over the trials.

    Of every trial and neuron the mean residual (offset) and its product with the predicted signal
    in standard deviations of a bin (gain; also summed over neurons), less their means in the
    condition of the trial, are taken along four slow cosines of the trial's number. Compared with
    trials in random order, within conditions.

    Parameters
    ----------
    residuals : Residuals
        Residuals, their trials in the order of the recording.
    groups : ndarray of int, shape (trials,)
        Condition of each trial.
    draws : int
        Number of orders.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    Found
        The largest of the three statistics in units of its null; the effect is the correlation of
        the gain, summed over neurons, with the trial's number.
    """
    n_trials, _, n_neurons = residuals.values.shape
    offset, gain = np.zeros((2, n_trials, n_neurons))
    pooled_gain = np.zeros((n_trials, 1))
    for some in residuals.pieces:
        r, seen = residuals.values[:, :, some], residuals.seen[:, :, some]
        mean, variance = residuals.expected(some)
        level = mean / np.sqrt(np.maximum(variance, 1e-300))
        centred = np.where(seen, level - level.mean(axis=(0, 1)), 0.0)
        bins = np.maximum(seen.sum(axis=1), 1)
        offset[:, some], moved = r.sum(axis=1) / np.sqrt(bins), (r * centred).sum(axis=1)
        size = np.sqrt((centred**2).sum(axis=1).mean(axis=0))
        gain[:, some] = moved / np.maximum(size, 1e-300)
        pooled_gain += moved.sum(axis=1, keepdims=True)
    parts = [offset, gain, pooled_gain]
    slow = np.cos(np.pi * np.arange(1, 5)[:, None] * (np.arange(n_trials) + 0.5) / n_trials)
    for part in parts:
        for g in np.unique(groups):
            part[groups == g] -= part[groups == g].mean(axis=0)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    order = np.tile(np.arange(n_trials), (draws + 1, 1))
    for which in members:
        order[1:, which] = rng.permuted(np.tile(which, (draws, 1)), axis=1)
    table = np.zeros((draws + 1, 3))
    grams = [part @ part.T for part in parts]
    back = np.argsort(order, axis=1)
    for wave in slow:
        moved = wave[back]
        for j, gram in enumerate(grams):
            table[:, j] += np.einsum("dp,dp->d", moved @ gram, moved)
    pooled = parts[2][:, 0]
    effect = float(np.corrcoef(np.arange(n_trials), pooled)[0, 1]) if pooled.std() > 0 else 0.0
    measure = "correlation of gain and trial number"
    return largest_of(table, effect, measure)


def largest_of(table: Array, effect: float, measure: str) -> Found:
    """Return one test of statistics drawn together: the largest in units of its null.

    Parameters
    ----------
    table : ndarray, shape (draws + 1, statistics)
        The first row that of the data.
    effect : float
        The effect.
    measure : str
        What it is.
    """
    null = table[1:]
    sd = null.std(axis=0)
    used = sd > 1e-12 * np.maximum(np.abs(null).max(axis=0), 1e-300)
    if not used.any():
        return Found(0.0, 1.0, effect, measure)
    largest = ((table - null.mean(axis=0)) / np.where(used, sd, np.inf)).max(axis=1)
    return Found(float(largest[0]), tail_p(float(largest[0]), largest[1:]), effect, measure)
