"""The compiled expansion of spike counts about a course of every neuron."""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.fitting.session.kernels.counts import fill_link

__all__ = ["expand_counts"]


# Steps to an offset, and the step, in units of the link's argument, that ends them: an error of
# this size is made good to first order.
_STEPS, _SETTLED = 30, 1e-6
# Longest step of an offset or a course: where spikes are few a whole one can be much too far.
_LONGEST = 2.0


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def expand_counts(  # type: ignore[no-untyped-def]
    counts, before, softplus, dispersion, course, offset, weight, pull, whole, values
):
    """Expand the counts of every neuron, (n, bins), to second order about its course.

    `course` comes in as what is aimed at, and goes out as what is reached from `before`; `offset`
    as a first guess, and as the most likely one. Written are the weights w, their sums over bins,
    w z with z the working course about its mean, and the log likelihood of a course less the
    quadratic form, and less what depends on the counts and the dispersion alone.
    """
    n, m = counts.shape
    eta, rate = np.zeros(m), np.zeros(m)
    slope, scratch = np.zeros(m), np.zeros(m)
    bits = np.zeros(m, np.int64)
    for i in range(n):
        y, h, alpha = counts[i], course[i], dispersion[i]
        farthest, total = _LONGEST, 0.0
        for t in range(m):
            farthest = max(farthest, abs(h[t] - before[i, t]))
            total += y[t]
        share = _LONGEST / farthest
        for t in range(m):
            h[t] = before[i, t] + share * (h[t] - before[i, t])
        if total == 0.0:
            # a silent neuron says nothing
            weight[i], pull[i] = 0.0, 0.0
            whole[i], values[i] = 1e-300, 0.0
            continue
        w, left = weight[i], pull[i]
        for _ in range(_STEPS):
            for t in range(m):
                eta[t] = offset[i] + h[t]
            fill_link(eta, softplus, rate, slope, scratch, bits, m)
            held, score = 0.0, 0.0
            for t in range(m):
                lam = max(rate[t], 1e-300)
                by = slope[t] / (lam * (1.0 + alpha * lam))
                w[t] = by * slope[t]
                left[t] = by * (y[t] - lam)
                held += w[t]
                score += left[t]
            held = max(held, 1e-300)
            step = score / held
            if abs(step) < _SETTLED:
                break
            if softplus or alpha > 0.0:
                offset[i] += min(max(step, -_LONGEST), _LONGEST)
            else:
                # of a Poisson with a log link the offset is known at once
                offset[i] += math.log(total / held)
        # the mean of the course, and a last step of the offset
        mean = 0.0
        for t in range(m):
            mean += w[t] * h[t]
        mean /= held
        value = 0.5 * score * step
        for t in range(m):
            left[t] -= w[t] * step
            centred = h[t] - mean
            value -= (0.5 * w[t] * centred + left[t]) * centred
            left[t] += w[t] * centred
        for t in range(m):
            value -= _cost(y[t], eta[t], max(rate[t], 1e-300), softplus, alpha)
        whole[i], values[i] = held, value


@compiled(inline="always", fastmath=FAST, error_model="numpy")
def _cost(y, eta, rate, softplus, alpha):  # type: ignore[no-untyped-def]
    """Return minus the log likelihood of a bin."""
    log_rate = eta if not softplus else (math.log(rate) if y > 0.0 else 0.0)
    if alpha == 0.0:
        return rate - y * log_rate
    more = math.log1p(alpha * rate)
    return more / alpha - y * (log_rate - more)
