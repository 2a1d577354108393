"""The network of one Euler step a bin that does what a fitted one does on average in its bins."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from predictlearn.theory.names import table_pairs

__all__ = ["EulerTwin", "euler_twin"]


class EulerTwin(NamedTuple):
    """What a network of one Euler step a bin needs.

    Parameters
    ----------
    overlaps : Series
        Overlaps by name, vm and vu in place of those of continuous time.
    tau, latency : float
        Seconds.
    """

    overlaps: pd.Series
    tau: float
    latency: float


def euler_twin(fit: Any) -> EulerTwin:
    """Return the network of one Euler step a bin that stands for a fit to means over bins.

    A task that lives in bins, such as a cursor that moves once a bin, is learned by networks that
    make one step a bin. With b = dt / tau the decays over a bin and the end under a constant input
    are those of the fit,

        1 - dt / tau' = exp(-b),    1 - (1 - vu') dt / tau' = exp(-b (1 - vu)),
        vm' / (1 - vu') = vm / (1 - vu),

    and the mean of k_m over a bin is matched exactly by a longer latency.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted.

    Returns
    -------
    EulerTwin
        The fit's own overlaps and times where it was fitted in Euler steps.

    Examples
    --------
    >>> from predictlearn.fitting import LowRankRNN
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(10, 20, 1)).cumsum(axis=1)
    >>> y = x * rng.normal(size=6) + rng.normal(size=(10, 20, 6))
    >>> fit = LowRankRNN(dt=0.05, tau=0.02, bin="mean", ridge=0.1, n_bootstrap=0).fit(y, x)
    >>> twin = euler_twin(fit)
    >>> round(twin.tau, 4), twin.latency > fit.latency_
    (0.0545, True)
    """
    check_is_fitted(fit, "overlaps_")
    if fit.bin_ == "euler":
        return EulerTwin(fit.overlaps_, fit.tau_, fit.latency_)
    b = fit.dt / fit.tau_
    step = -float(np.expm1(-b))
    # of an input to the mean of its own bin; the rest comes in the next
    own = 1 - step / b
    values, vectors = np.linalg.eig(fit.vu_.astype(complex))
    rates = 1 - values
    slowed = -np.expm1(-b * rates) / step
    share = np.where(np.abs(rates) < 1e-9, b / step, slowed / np.where(rates == 0, 1, rates))
    back = np.linalg.inv(vectors)
    vu = np.asarray((vectors * (1 - slowed) @ back).real)
    vm = np.asarray((vectors * share @ back @ fit.vm_).real)
    overlaps = fit.overlaps_.copy()
    n_in, rank = fit.n_in_, fit.rank
    n_out = 1 if fit.z_ is None else fit.z_.shape[1]
    base = n_in + rank
    for name, (i, j) in table_pairs(n_in, rank, n_out).items():
        row, column = max(i, j), min(i, j)
        if base <= row < base + rank and column < base and np.isfinite(overlaps[name]):
            matrix, at = (vm, column) if column < n_in else (vu, column - n_in)
            overlaps[name] = matrix[row - base, at]
    return EulerTwin(overlaps, fit.dt / step, fit.latency_ + fit.dt * (step - own) / step)
