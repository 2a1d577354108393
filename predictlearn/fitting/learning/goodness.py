"""Tests of the assumed rule of learning against the sessions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.errors import InputError
from predictlearn.fitting.learning.likelihood import SessionsProblem
from predictlearn.fitting.learning.sessions import Sessions

__all__ = ["GoodnessOfFit", "chi_square", "smooth_misfit", "tested"]


@dataclass(frozen=True)
class GoodnessOfFit:
    """A test of the fitted model against the sessions.

    Parameters
    ----------
    test : str
        "chi-square" (are the residuals as large as the errors say?) or "smooth misfit" (do they
        drift over sessions?).
    statistic : float
        Chi-square, or F.
    degrees : tuple of float
        Degrees of freedom.
    p_value : float
        Probability of a statistic at least as large if the model holds.
    effect : float
        Chi-square: root mean square of the residuals in units of the errors, 1 if all is well.
        Smooth misfit: root mean square of the drift in units of the noise, 0 if all is well.
    by_column : pandas.Series
        Root mean square of the residuals of every column, in units of the noise.
    """

    test: str
    statistic: float
    degrees: tuple[float, ...]
    p_value: float
    effect: float
    by_column: pd.Series


def tested(
    problem: SessionsProblem, x: Array, group_sd: Array, n_residual: int, test: str
) -> GoodnessOfFit:
    """Test a fit; see `LearningFit.goodness_of_fit`.

    Parameters
    ----------
    problem : SessionsProblem
        What was fitted.
    x : numpy.ndarray
        Parameters of the fit.
    group_sd : numpy.ndarray, (2,)
        Noise.
    n_residual : int
        Measurements beyond the parameters that are identified.
    test : {"auto", "chi-square", "smooth misfit"}
        Which test.

    Returns
    -------
    GoodnessOfFit
        The test.
    """
    data = problem.model.data
    known = data.noise.known
    if test == "chi-square" and not known:
        raise InputError("test 'chi-square' needs errors=; without them use 'smooth misfit'.")
    if test == "chi-square" or (test == "auto" and known):
        if n_residual < 1:
            raise InputError("sessions hold no more measurements than the fit has parameters.")
        residuals, rank = problem.squares(x, group_sd, n_residual)
        return chi_square(residuals, rank, _by_column(problem.white(x, group_sd), data))
    order = min(4, (len(data.epochs) - 1) // 4)
    white, moves = problem.parts(x, group_sd)
    basis, values, _ = np.linalg.svd(moves, full_matrices=False)
    absorbed = basis[:, values > 1e-8 * values[0]]
    if data.n - absorbed.shape[1] - len(data.columns) * (order + 1) < 3:
        raise InputError(
            f"sessions hold too few measurements ({data.n}) to test for drifts beside "
            f"{absorbed.shape[1]} parameters."
        )
    return smooth_misfit(white, absorbed, data, order, known)


def chi_square(residuals: Array, rank: int, by_column: pd.Series) -> GoodnessOfFit:
    """Return the chi-square test of standardised residuals, (n,), from `rank` parameters.

    NaN where as many are determined as there are measurements: nothing is left to test.
    """
    degrees = len(residuals) - rank
    statistic = float(np.sum(residuals**2))
    return GoodnessOfFit(
        "chi-square",
        statistic,
        (float(degrees),),
        float(stats.chi2.sf(statistic, degrees)) if degrees > 0 else np.nan,
        float(np.sqrt(statistic / degrees)) if degrees > 0 else np.nan,
        by_column,
    )


def smooth_misfit(
    residuals: Array, slopes: Array, data: Sessions, order: int, known: bool
) -> GoodnessOfFit:
    """Return the test of drifts over sessions that the model cannot make.

    Every column may drift by `order` cosines over the sessions. What the parameters could have
    absorbed, the span of the slopes, is taken out of them, so that in the linear approximation the
    test is exact: F where the noise is estimated, chi-square where it is known.

    Parameters
    ----------
    residuals : numpy.ndarray, (n,)
        Standardised residuals.
    slopes : numpy.ndarray, (n, r)
        Whitened slopes along identified directions.
    data : Sessions
        The measurements.
    order : int
        Cosines a column.
    known : bool
        Whether the noise is known.

    Returns
    -------
    GoodnessOfFit
        The test.
    """
    n_sessions = len(data.epochs)
    phase = np.pi * (np.arange(n_sessions) + 0.5) / n_sessions
    waves = np.cos(np.outer(phase, np.arange(order + 1)))
    drifts = np.zeros((data.n, len(data.columns) * waves.shape[1]))
    for c in range(len(data.columns)):
        rows = data.column == c
        drifts[rows, c * waves.shape[1] : (c + 1) * waves.shape[1]] = waves[data.session[rows]]
    absorbed, _ = np.linalg.qr(slopes)
    residuals_left = residuals - absorbed @ (absorbed.T @ residuals)
    drifts = drifts - absorbed @ (absorbed.T @ drifts)
    left, sizes, _ = np.linalg.svd(drifts, full_matrices=False)
    left = left[:, sizes > 1e-6 * sizes[0]]
    q, rest = left.shape[1], data.n - absorbed.shape[1] - left.shape[1]
    explained = float(np.sum((left.T @ residuals_left) ** 2))
    remaining = float(np.sum(residuals_left**2)) - explained
    degrees: tuple[float, ...]
    if known:
        statistic, degrees = explained, (float(q),)
        p_value, variance = float(stats.chi2.sf(explained, q)), 1.0
    else:
        variance = remaining / rest
        statistic, degrees = explained / q / variance, (float(q), float(rest))
        p_value = float(stats.f.sf(statistic, q, rest))
    effect = np.sqrt(max(explained - q * variance, 0.0) / data.n / variance)
    return GoodnessOfFit(
        "smooth misfit", statistic, degrees, p_value, float(effect), _by_column(residuals, data)
    )


def _by_column(residuals: Array, data: Sessions) -> pd.Series:
    """Return the root mean square of the residuals of every column."""
    values = [
        np.sqrt(np.mean(residuals[data.column == c] ** 2)) if np.any(data.column == c) else np.nan
        for c in range(len(data.columns))
    ]
    return pd.Series(values, index=list(data.columns), name="rms")
