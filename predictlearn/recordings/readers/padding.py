"""Trials that were padded with zeros: how long they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.errors import InputError

__all__ = ["trial_lengths", "zero_tails"]

# How improbable it must be that all neurons are zero by chance in as many last bins.
_CHANCE, _LONGER = 1e-8, 3.0


def zero_tails(activity: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Count the last bins of each trial in which all neurons are zero.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Activity; a trial may end with NaN before.

    Returns
    -------
    ndarray of int, shape (trials,)
        Numbers of bins.

    Examples
    --------
    >>> zero_tails(np.array([[[1.0], [0.0], [0.0]], [[1.0], [0.0], [np.nan]]])).tolist()
    [2, 1]
    """
    there = ~np.isnan(activity).all(axis=2)
    active = there & (np.nan_to_num(activity) != 0).any(axis=2)
    n_bins = activity.shape[1]
    last = np.where(active.any(axis=1), n_bins - 1 - np.argmax(active[:, ::-1], axis=1), -1)
    return np.asarray((there & (np.arange(n_bins) > last[:, None])).sum(axis=1), dtype=np.int64)


def _beyond_chance(
    activity: npt.NDArray[np.float64], zeros: npt.NDArray[np.int64], inner: npt.NDArray[np.int64]
) -> bool:
    """Say whether there are more last bins of zeros than if silence were as frequent as before.

    Runs of silent bins have geometric lengths, their sum over trials a negative binomial one. Where
    silence is frequent, and may become more so, they must be several times as long, too.
    """
    from scipy.stats import nbinom

    silent = (np.nan_to_num(activity) == 0).all(axis=2)
    bins = np.arange(activity.shape[1])
    # activity may decline in a trial: the last third of what comes before, or all of it
    shares = []
    for first in (np.zeros_like(inner), inner - (inner + 2) // 3):
        # the last bin that is not silent is so by choice
        part = (bins >= first[:, None]) & (bins < inner[:, None] - 1)
        shares.append((int((silent & part).sum()) + 1) / (int(part.sum()) + 2))
    share = max(shares)
    longer = zeros.mean() > _LONGER * share / (1 - share)
    return bool(longer and nbinom.sf(zeros.sum() - 1, len(zeros), 1 - share) < _CHANCE)


def trial_lengths(
    activity: npt.NDArray[np.float64], lengths: Any, n_trials: int
) -> npt.NDArray[np.int64] | None:
    """Find how many bins each trial has, where shorter ones were padded.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Activity.
    lengths : object
        None: zeros that can only be padding are asked about; "full": zeros are activity; "zeros": a
        trial ends where all neurons stay zero; or the number of bins of each trial.
    n_trials : int
        Number of trials.

    Returns
    -------
    ndarray of int, shape (trials,), or None
        Numbers of bins, or None where all are there.

    Raises
    ------
    InputError
        Trials end with zeros and nothing says what they are, or lengths that cannot be.
    """
    n_bins = activity.shape[1]
    if isinstance(lengths, str) and lengths == "full":
        return None
    if lengths is None or isinstance(lengths, str):
        zeros = zero_tails(activity)
        there = (~np.isnan(activity).all(axis=2)).sum(axis=1)
        if lengths is not None:
            return there - zeros
        if zeros.any() and _beyond_chance(activity, zeros, there - zeros):
            raise InputError(
                f"activity: {int((zeros > 0).sum())} of {n_trials} trials end with bins in which "
                f"all neurons are zero (up to {int(zeros.max())} of {n_bins}), as if they were "
                "padded. Say lengths='zeros' if they are, or give the number of bins of each trial "
                "(lengths=); lengths='full' says that this is activity."
            )
        return None
    given = np.asarray(lengths).ravel()
    if given.shape != (n_trials,) or given.dtype.kind not in "iuf":
        raise InputError(
            f"lengths must be the number of bins of each of {n_trials} trials, 'zeros' or 'full'; "
            f"got {given.size} values of {given.dtype}."
        )
    whole = np.rint(given)
    if not ((np.abs(given - whole) < 1e-6) & (whole >= 1) & (whole <= n_bins)).all():
        raise InputError(
            f"lengths must be whole numbers of bins from 1 to {n_bins}; got "
            f"{np.nanmin(given):g} to {np.nanmax(given):g}."
        )
    return whole.astype(np.int64)
