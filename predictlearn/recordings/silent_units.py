"""Units that fall silent partway through a session."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, positive
from predictlearn.errors import InputError

__all__ = ["fallen_silent", "mask_silent"]


def fallen_silent(counts: npt.ArrayLike, p: float = 1e-6) -> npt.NDArray[np.bool_]:
    """Find units that stop firing and never do so again.

    Of P trials a unit fires in K, the last of them trial L. If the trials are exchangeable, the
    chance that all K lie among the first L, and so the rest of the session is silent, is

        C(L, K) / C(P, K).

    It holds whatever the unit does within a trial, however bursty it is, and whatever its rate is;
    a rate that drifts down makes it too small.

    Parameters
    ----------
    counts : array_like, shape (trials, time, neurons)
        Spikes per bin, trials in the order in which they were run; NaN where missing. Trials in
        which a unit is missing throughout are passed over.
    p : float, default 1e-6
        A unit is taken for lost where the chance is below this.

    Returns
    -------
    ndarray of bool, shape (trials, time, neurons)
        True from the first trial after the last spike of a lost unit. A unit that never fires is
        not among them: it did not fall silent.

    Raises
    ------
    InputError
        Shapes that cannot be used, negative counts, or p outside (0, 1).

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(1.0, size=(60, 5, 2)).astype(float)
    >>> counts[40:, :, 1] = 0
    >>> fallen_silent(counts).any(axis=1).sum(axis=0).tolist()  # silent trials of each unit
    [0, 20]
    """
    y = as_float_array("counts", counts, ndim=3, finite=False, axes="(trials, time, neurons)")
    if np.isinf(y).any() or (y < 0).any():
        raise InputError("counts must be finite and not negative, or NaN where missing")
    if not positive("p", p) < 1:
        raise InputError(f"p must lie in (0, 1); got {p}")
    n_trials, _, n_neurons = y.shape
    seen = ~np.isnan(y).all(axis=1)
    fired = np.where(np.isnan(y), 0.0, y).sum(axis=1) > 0
    out = np.zeros(y.shape, dtype=bool)
    for i in range(n_neurons):
        trials = np.flatnonzero(seen[:, i])
        active = np.flatnonzero(fired[trials, i])
        if active.size and _log_chance(int(active[-1]) + 1, len(active), len(trials)) < np.log(p):
            out[trials[active[-1]] + 1 : n_trials, :, i] = True
    return out


def _log_chance(last: int, active: int, trials: int) -> float:
    """Return log C(last, active) / C(trials, active)."""
    return float(
        gammaln(last + 1) - gammaln(last - active + 1)
        - gammaln(trials + 1) + gammaln(trials - active + 1)
    )  # fmt: skip


def mask_silent(counts: npt.ArrayLike, p: float = 1e-6) -> Array:
    """Return counts with NaN, that is missing, where a unit has fallen silent.

    Parameters
    ----------
    counts : array_like, shape (trials, time, neurons)
        Spikes per bin, trials in order; see `fallen_silent`.
    p : float, default 1e-6
        Level of `fallen_silent`.

    Returns
    -------
    ndarray, shape (trials, time, neurons)
        A copy.

    Raises
    ------
    InputError
        As `fallen_silent`.

    Examples
    --------
    >>> counts = np.ones((30, 2, 1))
    >>> counts[15:] = 0
    >>> int(np.isnan(mask_silent(counts)).sum())
    30
    """
    lost = fallen_silent(counts, p)
    return np.where(lost, np.nan, np.asarray(counts, dtype=float))
