"""How well held-out neurons are predicted from the reduced activity of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError, choice
from predictlearn.fitting.session.observation import Observation, regress_neuron
from predictlearn.fitting.session.rollout import paired_trials, reduced_activity
from predictlearn.fitting.session.scoring import bits_gained

__all__ = ["cosmooth", "needs_counts"]


METRICS = ("r2", "bits-per-spike")


def needs_counts(metric: str, noise: str) -> None:
    """Refuse bits per spike of what is not a model of counts."""
    choice("metric", metric, METRICS)
    if metric == "bits-per-spike" and noise not in ("poisson", "negative-binomial"):
        raise InputError(
            "metric='bits-per-spike' needs a model of counts; got noise='gaussian'. Set "
            "noise='poisson' or 'negative-binomial', or use metric='r2'"
        )


def cosmooth(
    fit: Any,
    activity: npt.ArrayLike,
    inputs: npt.ArrayLike,
    test_activity: npt.ArrayLike,
    test_inputs: npt.ArrayLike,
    metric: str = "r2",
) -> float:
    """Score neurons that a fit has not seen, on trials that it has not seen (co-smoothing).

    The neurons are regressed on the reduced activity k of the training trials and predicted on
    the test trials. Where a model without known inputs has to infer its state on the test trials
    from the held-in neurons, this one has k from the inputs alone, and needs no neuron there.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted to other neurons of the training trials.
    activity : array_like, shape (trials, time, neurons)
        Held-out neurons on the training trials; NaN where missing.
    inputs : array_like, shape (trials, time, n_in)
        Inputs of the training trials.
    test_activity, test_inputs : array_like
        The same neurons on the test trials, and the inputs there.
    metric : {"r2", "bits-per-spike"}
        Share of variance about each neuron's training mean, pooled; or, for counts, the
        Poisson log likelihood of the predicted rates beyond that of the training mean, in bits,
        over the number of spikes (whatever noise the fit has: see `scoring.bits_gained`).

    Returns
    -------
    float
        Score.

    Raises
    ------
    InputError
        Shapes that do not fit, or bits per spike of a Gaussian fit.

    References
    ----------
    Macke et al. (2011), NeurIPS 24 (co-smoothing); Pei et al. (2021), arXiv:2109.04463 (bits per
    spike).

    Examples
    --------
    >>> from predictlearn.fitting import LowRankRNN
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 20, 1)).cumsum(axis=1)
    >>> y = x * rng.normal(size=30) + rng.normal(size=(20, 20, 30))
    >>> fit = LowRankRNN(dt=0.05, tau=0.06, n_bootstrap=0).fit(y[:15, :, :25], x[:15])
    >>> score = cosmooth(fit, y[:15, :, 25:], x[:15], y[15:, :, 25:], x[15:])
    >>> 0.5 < score < 1
    True
    """
    y, x = paired_trials(activity, inputs)
    held, drive = paired_trials(test_activity, test_inputs)
    held = as_float_array("test_activity", held, shape=(None, None, y.shape[2]), finite=False)
    observation = Observation.of(fit)
    needs_counts(metric, observation.noise)
    k = reduced_activity(fit, x).reshape(-1, fit.n_in_ + fit.rank)
    ahead = reduced_activity(fit, drive).reshape(-1, k.shape[1])
    train, test = y.reshape(len(k), -1), held.reshape(len(ahead), -1)
    gained = total = 0.0
    for i in range(train.shape[1]):
        seen, there = ~np.isnan(train[:, i]), ~np.isnan(test[:, i])
        level = float(train[seen, i].mean()) if seen.any() else 0.0
        if seen.sum() <= observation.n_lead + k.shape[1] or not there.any():
            raise InputError(
                f"activity: held-out neuron {i} has {int(seen.sum())} training and "
                f"{int(there.sum())} test bins, too few to regress and score it; drop it"
            )
        target = test[there, i]
        if metric == "bits-per-spike" and level == 0:
            # without a training spike neither model has a rate, and the ratio no meaning
            continue
        found, _ = regress_neuron(train[seen, i], k[seen], observation)
        mean = observation.mean(found, ahead[there])
        if metric == "r2":
            total += float(np.sum((target - level) ** 2))
            gained += float(np.sum((target - level) ** 2) - np.sum((target - mean) ** 2))
            continue
        gained += bits_gained(target, mean, level)
        total += float(target.sum())
    if total <= 0:
        raise InputError("test_activity holds nothing to predict: no spike, or no variance")
    return gained / total
