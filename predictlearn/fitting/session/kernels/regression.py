"""The compiled loop of the fit to erf rates: normal equations of every neuron, trial by trial."""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.phi import fill_erf

__all__ = ["accumulate_erf"]


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def accumulate_erf(  # type: ignore[no-untyped-def]
    y,
    seen,
    masked,
    trial_start,
    k,
    dk,
    phi,
    offset,
    gain,
    fading,
    n_in,
    at_time,
    first,
    last,
    per_trial,
    normal,
    scores,
    slope,
    squares,
):
    """Accumulate J^T J, J^T r and r^T r of neurons first..last, one trial at a time.

    Bins run innermost, over contiguous rows of the Jacobian, so that the loops vectorise. The rate
    of a bin is the mean over its nodes, which follow each other as blocks of all bins in k. Rates
    that fade, c(t) = fading c(t-1) + rate(t), are filtered in each trial with their derivatives.
    """
    n_base, q, length = dk.shape
    rows = y.shape[1]
    nodes = length // rows
    share = 1.0 / nodes
    p = phi.shape[1]
    lead = p - n_base
    longest = 1
    for trial in range(len(trial_start) - 1):
        longest = max(longest, trial_start[trial + 1] - trial_start[trial])
    jac = np.zeros((p + q, longest))
    res = np.zeros(longest)
    bend = np.zeros(longest)
    scratch = np.zeros(longest)
    slopes = np.zeros(longest)
    for i in range(first, last):
        c_gain = phi[i, 1 if offset else 0] if gain else 1.0
        base = phi[i, 0] if offset else 0.0
        total = 0.0
        for trial in range(len(trial_start) - 1):
            start = trial_start[trial]
            m = trial_start[trial + 1] - start
            for t in range(m):
                res[t] = 0.0
            for a in range(lead, p + q):
                for t in range(m):
                    jac[a, t] = 0.0
            for node in range(nodes):
                at = node * rows + start
                for t in range(m):
                    bend[t] = 0.0
                for c in range(n_base):
                    load = phi[i, lead + c]
                    for t in range(m):
                        bend[t] += load * k[c, at + t]
                # the rate, erf(sqrt(pi) h / 2), and its slope
                fill_erf(bend[:m], scratch, slopes)
                for t in range(m):
                    res[t] += share * scratch[t]
                    bend[t] = slopes[t] * share * c_gain
                for c in range(n_base):
                    for t in range(m):
                        jac[lead + c, t] += bend[t] * k[c, at + t]
                for j in range(q):
                    for t in range(m):
                        scratch[t] = 0.0
                    for c in range(0 if j >= at_time else n_in, n_base):
                        load = phi[i, lead + c]
                        for t in range(m):
                            scratch[t] += load * dk[c, j, at + t]
                    for t in range(m):
                        jac[p + j, t] += bend[t] * scratch[t]
            if fading > 0.0:
                for t in range(1, m):
                    res[t] += fading * res[t - 1]
                for a in range(lead, p + q):
                    for t in range(1, m):
                        jac[a, t] += fading * jac[a, t - 1]
            for t in range(m):
                if offset:
                    jac[0, t] = 1.0
                if gain:
                    jac[lead - 1, t] = res[t]
                res[t] = y[i, start + t] - base - c_gain * res[t]
            if masked:
                for t in range(m):
                    if not seen[i, start + t]:
                        res[t] = 0.0
                        for a in range(p + q):
                            jac[a, t] = 0.0
            for t in range(m):
                total += res[t] * res[t]
            for a in range(p + q):
                dot = 0.0
                for t in range(m):
                    dot += jac[a, t] * res[t]
                slope[i, a] += dot
                if per_trial:
                    scores[trial, i, a] = dot
                else:
                    for b in range(a + 1):
                        dot = 0.0
                        for t in range(m):
                            dot += jac[a, t] * jac[b, t]
                        normal[i, a, b] += dot
        squares[i] = total
        for a in range(p + q):
            for b in range(a):
                normal[i, b, a] = normal[i, a, b]
