"""Numbers of survival: restricted means, the log-rank test, Cox's ratio of two arms."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from itertools import combinations

import numpy as np
from scipy import optimize, stats
from statsmodels.duration.hazard_regression import PHReg

from predictlearn.arrays import Array
from predictlearn.statistics.resampling import sign_flip_test
from predictlearn.statistics.results import AssumptionCheck, bare

__all__ = [
    "hazard_ratio",
    "log_rank",
    "log_rank_pairs",
    "pair_interval",
    "proportional",
    "pseudo",
]


# Numbers of a table that is held at once; smaller ones of relabellings are kept for the next test.
_HELD = 2_000_000


def _restricted_means(time: Array, reached: np.ndarray, until: float) -> Array:
    """Return the area under Kaplan and Meier's curve up to a time, of samples (..., n)."""
    order = np.argsort(time, axis=-1, kind="stable")
    t = np.take_along_axis(time, order, -1)
    event = np.take_along_axis(reached, order, -1) & (t <= until)
    t = np.minimum(t, until)
    n = t.shape[-1]
    # animals one by one, events before censored ones of the same time: the same product
    tie = np.argsort(~event, axis=-1, kind="stable")
    back = np.argsort(np.take_along_axis(t, tie, -1), axis=-1, kind="stable")
    order = np.take_along_axis(tie, back, -1)
    t, event = np.take_along_axis(t, order, -1), np.take_along_axis(event, order, -1)
    share = np.cumprod(np.where(event, 1 - 1 / np.arange(n, 0, -1), 1.0), axis=-1)
    edges = np.concatenate([np.zeros((*t.shape[:-1], 1)), t], axis=-1)
    widths = np.diff(edges, axis=-1)
    before = np.concatenate([np.ones((*t.shape[:-1], 1)), share[..., :-1]], axis=-1)
    return np.asarray((widths * before).sum(-1) + (until - t[..., -1]) * share[..., -1])


def pseudo(time: Array, reached: np.ndarray, until: float) -> Array:
    """Return an animal's share in the restricted mean: n times all minus (n - 1) times all but it.

    Andersen, Hansen & Klein (2004, Lifetime Data Anal 10:335-350). Without censoring before `until`
    it is the animal's own time, cut there.
    """
    n = time.size
    # animals that waited alike have the same share
    _, first, which = np.unique(time + 1j * reached, return_index=True, return_inverse=True)
    every = float(_restricted_means(time[None], reached[None], until)[0])
    without = []
    for part in np.array_split(first, math.ceil(first.size * n / _HELD)):
        others = np.array([np.delete(np.arange(n), i) for i in part])
        without.append(_restricted_means(time[others], reached[others], until))
    shares = n * every - (n - 1) * np.concatenate(without)
    return np.asarray(shares[which])


@lru_cache(maxsize=8)
def _splits(n: int, first: int) -> Array:
    """Return every way in which `first` of n animals can be in one arm, as ones and zeros."""
    picks = np.array(list(combinations(range(n), first)))
    splits = np.zeros((len(picks), n))
    np.put_along_axis(splits, picks, 1.0, axis=1)
    return splits


@lru_cache(maxsize=4)
def _relabelled(size: int, first: int, n_resamples: int, seed: int) -> Array:
    """Return random ways in which `first` of some animals can be in one arm."""
    rng = np.random.default_rng(seed)
    return (np.argsort(rng.random((n_resamples, size)), axis=1) < first).astype(float)


def log_rank(
    time: Array, reached: np.ndarray, mine: np.ndarray, n_resamples: int, seed: int
) -> tuple[float, float, float, bool]:
    """Return the log-rank z (above zero: `mine` reach it sooner), two p values, and if exact.

    The statistic is a sum of scores, reached minus cumulative hazard, over animals of one arm, so
    that relabelling is one product. Its asymptotic p uses the hypergeometric variance.
    """
    order = np.unique(time[reached])
    at_risk = time[:, None] >= order
    events = (time[:, None] == order) & reached[:, None]
    n, d = at_risk.sum(0), events.sum(0)
    scores = events.sum(1) - at_risk @ (d / n)
    n1 = at_risk[mine].sum(0)
    several = n > 1
    variance = float(np.sum((d * n1 * (n - n1) * (n - d))[several] / (n**2 * (n - 1.0))[several]))
    seen = float(scores[mine].sum())
    z = seen / math.sqrt(variance) if variance > 0 else 0.0
    p_asymptotic = float(2 * stats.norm.sf(abs(z)))
    size, first = time.size, int(mine.sum())
    exact = math.comb(size, first) <= n_resamples + 1
    if exact:
        splits = _splits(size, first)
    else:
        draw = _relabelled if n_resamples * size < _HELD else _relabelled.__wrapped__
        splits = draw(size, first, n_resamples, seed)
    null = np.abs(splits @ scores)
    hits = int(np.count_nonzero(null >= abs(seen) - 1e-9))
    p = hits / len(null) if exact else (hits + 1) / (len(null) + 1)
    return z, p_asymptotic, p, exact


def log_rank_pairs(
    time: Array, reached: np.ndarray, n_resamples: int, seed: int
) -> tuple[float, float, float, bool]:
    """Return the log-rank z of two arms of the same animals, two p values, and if exact.

    Parameters
    ----------
    time, reached : numpy.ndarray, (animals, 2)
        The first column is the arm of which z above zero says that it reaches it sooner.
    n_resamples, seed : int
        Of swapping arms within animals; all ways where there are no more.

    Returns
    -------
    (float, float, float, bool)
        z from the differences of scores within animals, its asymptotic p, p by swapping, if exact.
    """
    t, event = time.ravel(), reached.ravel()
    order = np.unique(t[event])
    at_risk = t[:, None] >= order
    events = (t[:, None] == order) & event[:, None]
    scores = (events.sum(1) - at_risk @ (events.sum(0) / at_risk.sum(0))).reshape(-1, 2)
    d = scores[:, 0] - scores[:, 1]
    size = math.sqrt(float(d @ d))
    z = float(d.sum()) / size if size > 0 else 0.0
    _, p, exact = sign_flip_test(d, n_resamples=n_resamples, seed=seed)
    return z, float(2 * stats.norm.sf(abs(z))), p, exact


def pair_interval(time: Array, reached: np.ndarray, level: float) -> tuple[float, float]:
    """Return the interval of the log hazard ratio of two arms of the same animals.

    The variance is that of Lee, Wei & Amato (1992): of scores added up by animal. Arrays are
    (animals, 2) as in `log_rank_pairs`; infinite ends where there is none.
    """
    n = len(time)
    arm, owner = np.tile([1.0, 0.0], n), np.repeat(np.arange(n), 2)
    model = PHReg(time.ravel(), arm[:, None], reached.ravel().astype(int), ties="efron")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            fit = model.fit(groups=owner, disp=0)
        except np.linalg.LinAlgError:  # one arm was done before the other began
            return -math.inf, math.inf
    error = float(fit.bse[0])
    if not (math.isfinite(error) and 0 < error < 1e3):
        return -math.inf, math.inf
    half = float(stats.norm.isf((1 - level) / 2)) * error
    return float(fit.params[0]) - half, float(fit.params[0]) + half


def hazard_ratio(
    time: Array, reached: np.ndarray, mine: np.ndarray, level: float
) -> tuple[float, tuple[float, float], float]:
    """Return Cox's log hazard ratio, its profile likelihood interval, and the p of the ratio.

    For two arms the partial likelihood needs counts only; statsmodels' PHReg takes some twenty
    times as long, and a test compares.
    """
    order = np.unique(time[reached])
    at_risk, now = time[:, None] >= order, (time[:, None] == order) & reached[:, None]
    d1, d = now[mine].sum(0), now.sum(0)
    n1, n0 = at_risk[mine].sum(0), at_risk[~mine].sum(0)
    # Efron: of d animals at one time the l-th finds l / d of them gone
    where = np.repeat(np.arange(order.size), d)
    gone = np.concatenate([np.arange(k) / k for k in d])
    ones, zeros = n1[where] - gone * d1[where], n0[where] - gone * (d - d1)[where]
    total = float(d1.sum())

    def height(b: float) -> float:
        return total * b - float(np.log(zeros + ones * math.exp(b)).sum())

    best = optimize.minimize_scalar(
        lambda b: -height(b), bounds=(-20, 20), method="bounded", options={"xatol": 1e-8}
    )
    b, top = float(best.x), -float(best.fun)
    drop = float(stats.chi2.isf(1 - level, 1)) / 2

    def crossing(side: int) -> float:
        far = 20.0 * side
        if height(far) > top - drop:
            return math.inf * side
        return float(optimize.brentq(lambda x: height(x) - top + drop, *sorted((b, far))))

    p = float(stats.chi2.sf(max(2 * (top - height(0.0)), 0.0), 1))
    if bare():
        return b, (math.nan, math.nan), p
    low, high = crossing(-1), crossing(1)
    if math.isinf(low) or math.isinf(high):
        # the likelihood rises for ever where one arm is done before the other begins; it is flat
        # where the arms are never seen at the same time
        rises = [height(far) >= top - 1e-6 for far in (-20, 20)]
        b = 0.0 if all(rises) else low if rises[0] else high if rises[1] else b
    return b, (low, high), p


def proportional(
    time: Array, reached: np.ndarray, mine: np.ndarray, log_ratio: float
) -> AssumptionCheck:
    """Return the check of Grambsch & Therneau (1994, Biometrika 81:515-526), on ranks of time."""
    what, instead = "proportional hazards", "use the restricted mean difference, which needs none"
    if not math.isfinite(log_ratio):
        return AssumptionCheck(what, "the hazard ratio has no finite estimate", False, instead)
    order = np.unique(time[reached])
    weight = np.exp(log_ratio * mine)
    residuals, variances, when = [], [], []
    for rank, t in enumerate(order):
        risk = time >= t
        mean = float((weight * mine)[risk].sum() / weight[risk].sum())
        for one in np.flatnonzero((time == t) & reached):
            residuals.append(float(mine[one]) - mean)
            variances.append(mean * (1 - mean))
            when.append(float(rank))
    g = np.array(when) - np.mean(when)
    spread = float(np.mean(variances)) * float(g @ g)
    if spread <= 0:
        return AssumptionCheck(what, "too few times at which it was reached", False, instead)
    p = float(stats.chi2.sf(float(g @ np.array(residuals)) ** 2 / spread, 1))
    return AssumptionCheck(what, f"Grambsch-Therneau p = {p:.2g}", p >= 0.05, instead)
