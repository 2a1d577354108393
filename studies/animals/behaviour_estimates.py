"""Estimators of `behaviour_defaults.py`: spread between animals with sampling noise taken out.

Written apart from the package: numpy, scipy and statsmodels alone.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from scipy import optimize, special, stats

FEW, FEW_SHARES = np.polynomial.hermite_e.hermegauss(5)
FEW_SHARES = FEW_SHARES / FEW_SHARES.sum()
Z = stats.norm.ppf(0.975)


def wald(value, error, log=False):
    """Return value and 95% interval; of a positive number on the scale of its logarithm."""
    if log:
        return value, value * np.exp(-Z * error), value * np.exp(Z * error)
    return value, value - Z * error, value + Z * error


def hessian(function, at, step=1e-3):
    """Return the matrix of second derivatives by central differences."""
    n = len(at)
    found = np.empty((n, n))
    e = np.eye(n) * step
    for i in range(n):
        for j in range(i, n):
            four = [function(at + a * e[i] + b * e[j]) for a in (1, -1) for b in (1, -1)]
            found[i, j] = found[j, i] = (four[0] - four[1] - four[2] + four[3]) / (4 * step**2)
    return found


def percentiles(draws):
    """Return the limits between which 95% of draws lie."""
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


def learning_curves(table, alike=False):
    """Fit learning curves of animals that differ, by maximum marginal likelihood.

    A row of `table` is an animal's session: animal, x (trials before the middle of the session),
    n and k (trials, correct). The log odds of a correct choice rise linearly up to a lapse rate,
    p = lapse + (1 - 2 lapse) expit(a_i + r_i x + e_s), with a_i normal and r_i lognormal over
    animals, correlated, and e_s normal over sessions: all three integrated out, a and r on a grid
    that is finer than what one animal's data say, e by Gauss-Hermite quadrature. So binomial noise
    is in none of the spreads. With `alike` all animals have
    one start, and the rate alone differs.
    """
    animals = [own for _, own in table.groupby("animal")]
    data = [(o.x.to_numpy(float), o.k.to_numpy(float), o.n.to_numpy(float)) for o in animals]
    coefficient = sum(
        float(np.sum(special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)))
        for _, k, n in data
    )
    starts = np.zeros(1) if alike else np.arange(-3.6, 3.61, 0.4)
    rates = np.arange(-3.6, 3.61, 0.1 if alike else 0.2)
    log_pairs = stats.norm.logpdf(starts)[:, None] + stats.norm.logpdf(rates)
    log_pairs -= special.logsumexp(log_pairs)

    def loss(theta):
        a, sd_a, r, sd_r, lapse, sd_e, together = theta
        lapse, together = 0.5 * special.expit(lapse), np.tanh(together)
        apart = np.sqrt(1 - together**2)
        start = a + np.exp(sd_a) * (apart * starts[:, None] + together * rates)
        rate = np.exp(r + np.exp(sd_r) * rates)
        total = coefficient
        for x, k, n in data:
            log_odds = (
                start[:, :, None, None]
                + rate[None, :, None, None] * x[:, None]
                + np.exp(sd_e) * FEW
            )
            p = lapse + (1 - 2 * lapse) * special.expit(log_odds)
            each = k[:, None] * np.log(p) + (n - k)[:, None] * np.log1p(-p)
            top = each.max(axis=-1)
            session = top + np.log(np.exp(each - top[..., None]) @ FEW_SHARES)
            total += special.logsumexp(session.sum(axis=-1) + log_pairs)
        return -total

    span = float(table.x.max())
    first = float(
        np.clip(table[table.x <= table.x.quantile(0.15)].eval("k.sum() / n.sum()"), 0.05, 0.9)
    )
    start = np.array(
        [
            special.logit(first),
            np.log(0.5),
            np.log(4 / span),
            np.log(0.4),
            special.logit(0.1),
            np.log(0.4),
            -0.1,
        ]
    )
    bounds = [(-6, 4), (-5, 1.5), (None, None), (-5, 1), (-7, 1), (-5, 1), (-2, 2)]
    if alike:
        start[[1, 6]] = -12.0, 0.0
        bounds[1], bounds[6] = (-12, -12), (0, 0)
    with np.errstate(all="ignore"):
        best = optimize.minimize(
            loss,
            start,
            method="L-BFGS-B",
            bounds=bounds,
        )
    covariance = np.linalg.pinv(hessian(loss, best.x))
    error = np.sqrt(np.maximum(np.diag(covariance), 0))
    lapse = [0.5 * special.expit(x) for x in wald(best.x[4], error[4])]
    return {
        "start_log_odds": wald(best.x[0], error[0]),
        "start_sd": wald(np.exp(best.x[1]), error[1], log=True),
        "rate": wald(np.exp(best.x[2]), error[2], log=True),
        "rate_sd_log": wald(np.exp(best.x[3]), error[3], log=True),
        "lapse": tuple(lapse),
        "session_noise": wald(np.exp(best.x[5]), error[5], log=True),
        "correlation": tuple(np.tanh(x) for x in wald(best.x[6], error[6])),
        "log_likelihood": -best.fun,
        "animals": len(data),
        "trials": int(table.n.sum()),
    }


def session_noise(table, rng, draws=200):
    """Return the standard deviation of sessions' log odds beyond binomial noise and learning.

    Every animal has a quadratic trend of its own in session number. Williams (1982, Applied
    Statistics 31:144): Var(k) = n p (1 - p) (1 + (n - 1) sd^2 p (1 - p)), sd such that Pearson's
    chi squared is its degrees of freedom. Interval by a bootstrap of animals.
    """
    fits = []
    for _, own in table.groupby("animal"):
        if len(own) < 6:
            continue
        t = np.linspace(-1, 1, len(own))
        fits.append(
            (
                np.stack([np.ones_like(t), t, t**2 - np.mean(t**2)], axis=1),
                own.k.to_numpy(float),
                own.n.to_numpy(float),
            )
        )

    def pearson(variance):
        """Return chi squared and degrees of freedom of every animal."""
        rows = []
        for design, k, n in fits:
            # a third of a trial of each kind keeps log odds finite
            k, n = k + 1 / 3, n + 2 / 3
            b = np.linalg.lstsq(design, special.logit(k / n), rcond=None)[0]
            for _ in range(25):
                p = special.expit(np.clip(design @ b, -8, 8))
                inflation = 1 + (n - 1) * variance * p * (1 - p)
                w = n * p * (1 - p) / inflation
                curvature = design.T @ (w[:, None] * design)
                step = np.linalg.lstsq(
                    curvature, design.T @ ((k - n * p) / inflation), rcond=1e-10
                )[0]
                b = b + np.clip(step, -1, 1)
                if np.max(np.abs(step)) < 1e-9:
                    break
            p = special.expit(np.clip(design @ b, -8, 8))
            w = n * p * (1 - p) * (1 + (n - 1) * variance * p * (1 - p))
            rows.append((np.sum((k - n * p) ** 2 / w), len(k) - design.shape[1]))
        return np.array(rows)

    grid = np.exp(np.linspace(np.log(0.02), np.log(2.0), 40))
    over = np.array([pearson(sd**2) for sd in grid])  # (grid, animals, 2)

    def solved(which):
        ratio = over[:, which, 0].sum(axis=1) / over[:, which, 1].sum(axis=1)
        return float(np.exp(np.interp(0.0, -np.log(ratio), np.log(grid))))

    n = len(fits)
    again = [solved(rng.integers(n, size=n)) for _ in range(draws)]
    return (solved(np.arange(n)), *percentiles(again)), n, int(sum(len(k) for _, k, _ in fits))


def nested_log(table, value):
    """Return median, spread between animals and within of the log of a count, by REML."""
    table = table.assign(y=np.log(table[value]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = smf.mixedlm("y ~ 1", table, groups="animal").fit(reml=True)
    between, within = np.sqrt(float(fit.cov_re.iloc[0, 0])), np.sqrt(fit.scale)
    return float(np.exp(fit.fe_params.iloc[0])), float(between), float(within)


def bootstrapped(table, statistic, rng, draws=200):
    """Return the statistics of a table, and their intervals by a bootstrap of its animals."""
    animals = [own for _, own in table.groupby("animal")]
    again = []
    for _ in range(draws):
        chosen = [
            animals[i].assign(animal=j)
            for j, i in enumerate(rng.integers(len(animals), size=len(animals)))
        ]
        again.append(statistic(pd.concat(chosen)))
    again = np.array(again)
    return [(float(value), *percentiles(again[:, c])) for c, value in enumerate(statistic(table))]


def spread_of_log_sd(series, rng, draws=1000):
    """Return the typical standard deviation of series, and its spread over subjects as sd of log.

    Noise is that of successive differences (von Neumann: learning and drift cancel). The log of
    an estimated variance with d degrees of freedom has the variance trigamma(d / 2), which is
    taken out of the spread.
    """
    logs, errors = [], []
    for parts in series:
        squares = np.concatenate([np.diff(p) ** 2 / 2 for p in parts])
        # differences share trials: two thirds as many degrees of freedom (von Neumann 1941)
        freedom = 2 * len(squares) / 3
        variance = squares.mean()
        # the mean of the log is too low by digamma(d / 2) - log(d / 2)
        logs.append(0.5 * (np.log(variance) - special.digamma(freedom / 2) + np.log(freedom / 2)))
        errors.append(0.25 * special.polygamma(1, freedom / 2))
    logs, errors = np.array(logs), np.array(errors)

    def both(which):
        spread = np.var(logs[which], ddof=1) - np.mean(errors[which])
        return np.exp(np.mean(logs[which])), np.sqrt(max(spread, 0.0))

    n = len(logs)
    again = np.array([both(rng.integers(n, size=n)) for _ in range(draws)])
    value = both(np.arange(n))
    return (value[0], *percentiles(again[:, 0])), (value[1], *percentiles(again[:, 1]))


def adaptation_rates(series, correlated=False):
    """Fit exponential adaptation of people who differ, by maximum marginal likelihood.

    y_t = a_i (1 - exp(-r_i t)) + noise, t in cycles from 1: the asymptote a_i normal over people,
    integrated out in closed form, the rate r_i lognormal, integrated out on a grid. The noise of
    each person is that of successive differences. a_i and log r_i are independent unless
    `correlated`: then their correlation is fitted as well.
    """
    rows = np.array(series)
    logs = np.linspace(np.log(1e-3), np.log(3.0), 121)
    t = np.arange(1, rows.shape[1] + 1)
    shapes = 1 - np.exp(-np.exp(logs)[:, None] * t)
    noise = np.mean(np.diff(rows, axis=1) ** 2, axis=1, keepdims=True) / 2
    xx, xy, yy = np.sum(shapes**2, axis=1), rows @ shapes.T, np.sum(rows**2, axis=1)[:, None]

    def loss(theta):
        mean, sd_a, r, sd_r = theta[:4]
        both = np.tanh(theta[4]) if correlated else 0.0
        z = (logs - r) / np.exp(sd_r)
        # of people with one rate
        a, variance = mean + both * np.exp(sd_a) * z, np.exp(2 * sd_a) * (1 - both**2)
        # N(a x, noise 1 + variance x x'): by the matrix determinant and inversion lemmas
        grown = 1 + variance * xx / noise
        rest = yy - 2 * a * xy + a**2 * xx
        along = xy - a * xx
        each = -0.5 * (rest / noise - variance * along**2 / noise**2 / grown + np.log(grown))
        prior = -0.5 * z**2
        prior = prior - special.logsumexp(prior)
        return -np.sum(special.logsumexp(each + prior, axis=1))

    start = np.array(
        [
            *(rows[:, -20:].mean(), np.log(rows[:, -20:].mean(axis=1).std()), np.log(0.1), 0.0),
            *([-0.3] if correlated else []),
        ]
    )
    best = optimize.minimize(
        loss, start, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-5, "fatol": 1e-6}
    )
    error = np.sqrt(np.maximum(np.diag(np.linalg.pinv(hessian(loss, best.x))), 0))
    return {
        "asymptote": wald(best.x[0], error[0]),
        "asymptote_sd": wald(np.exp(best.x[1]), error[1], log=True),
        "rate": wald(np.exp(best.x[2]), error[2], log=True),
        "rate_sd_log": wald(np.exp(best.x[3]), error[3], log=True),
        "correlation": tuple(np.tanh(wald(best.x[4], error[4])) if correlated else np.zeros(3)),
        "log_likelihood": -best.fun,
        "people": len(rows),
    }


def reversal_rates(table):
    """Return the spread between animals of the log rate of relearning, by REML.

    `table` has animal, reversal, x, n, k by block of trials. The rate of every reversal is that of
    log odds that rise linearly, fitted by itself; animals are a random effect beside the number of
    reversals before, so that what varies from reversal to reversal, sampling noise with it, is in
    the residual.
    """
    rows = []
    for (animal, reversal), own in table.groupby(["animal", "reversal"]):
        if len(own) < 4:
            continue
        x, k, n = (own[c].to_numpy(float) for c in ("x", "k", "n"))

        def loss(theta, x=x, k=k, n=n):
            p = 0.02 + 0.96 * special.expit(theta[0] + np.exp(theta[1]) * x)
            return -np.sum(k * np.log(p) + (n - k) * np.log1p(-p))

        best = optimize.minimize(loss, [-0.5, -6.0], method="Nelder-Mead")
        if -12 < best.x[1] < 0:
            rows.append((animal, reversal, best.x[1]))
    found = pd.DataFrame(rows, columns=["animal", "reversal", "log_rate"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = smf.mixedlm("log_rate ~ reversal", found, groups="animal").fit(reml=True)
    return found, float(np.sqrt(fit.cov_re.iloc[0, 0])), float(np.sqrt(fit.scale))
