"""The compiled loops of the fit to erf rates: normal equations of every neuron, trial by trial."""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.phi import fill_erf

__all__ = ["accumulate_erf", "theta_by_theta"]


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def _add_rows(by, w0, row0, w1, row1, w2, row2, w3, row3, out):  # type: ignore[no-untyped-def]
    """Add by times a weighed sum of rows, four at a time since memory is what takes time."""
    for t in range(len(out)):
        out[t] += by[t] * (w0 * row0[t] + w1 * row1[t] + w2 * row2[t] + w3 * row3[t])


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
    end,
    per_trial,
    pairs,
    normal,
    scores,
    slope,
    squares,
):
    """Accumulate J^T J, J^T r and r^T r of neurons first..last, one trial at a time.

    Bins run innermost, over contiguous rows of the Jacobian, so that the loops vectorise. The rate
    of a bin is the mean over its nodes, which follow each other as blocks of all bins in k. Rates
    that fade, c(t) = fading c(t-1) + rate(t), are filtered in each trial with their derivatives.
    J_theta^T J_theta of each neuron, most of the work, only where `pairs` asks for it.
    """
    n_base, q, length = dk.shape
    rows = y.shape[1]
    nodes = length // rows
    share = 1.0 / nodes
    p = phi.shape[1]
    lead = p - n_base
    last = n_base - 1
    longest = 1
    for trial in range(len(trial_start) - 1):
        longest = max(longest, trial_start[trial + 1] - trial_start[trial])
    jac = np.zeros((p + q, longest))
    res = np.zeros(longest)
    bend = np.zeros(longest)
    scratch = np.zeros(longest)
    slopes = np.zeros(longest)
    for i in range(first, end):
        c_gain = phi[i, 1 if offset else 0] if gain else 1.0
        shift = phi[i, 0] if offset else 0.0
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
                    # four bases at once, those that are missing with no weight
                    for c in range(0 if j >= at_time else n_in, n_base, 4):
                        c1, c2, c3 = min(c + 1, last), min(c + 2, last), min(c + 3, last)
                        w0 = phi[i, lead + c]
                        w1 = phi[i, lead + c1] if c1 > c else 0.0
                        w2 = phi[i, lead + c2] if c2 > c1 else 0.0
                        w3 = phi[i, lead + c3] if c3 > c2 else 0.0
                        _add_rows(
                            bend[:m], w0, dk[c, j, at : at + m], w1, dk[c1, j, at : at + m],
                            w2, dk[c2, j, at : at + m], w3, dk[c3, j, at : at + m], jac[p + j, :m],
                        )  # fmt: skip
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
                res[t] = y[i, start + t] - shift - c_gain * res[t]
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
                    for b in range(a + 1 if pairs else min(a + 1, p)):
                        dot = 0.0
                        for t in range(m):
                            dot += jac[a, t] * jac[b, t]
                        normal[i, a, b] += dot
        squares[i] = total
        for a in range(p + q):
            for b in range(a):
                normal[i, b, a] = normal[i, a, b]


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def theta_by_theta(  # type: ignore[no-untyped-def]
    seen, masked, rows, k, dk, phi, weights, lead, at_gain, n_in, at_time, first, end
):
    """Return the weighted sum over neurons of J_theta^T J_theta, of bins first..end.

    In a bin a neuron's row of J_theta is sum_c w_c dk_c with w_c = slope load_c. So w_c w_d are
    summed over neurons first, and parameters meet once for all neurons. Nodes count as bases of
    their own; `at_gain` is the gain's place in phi, -1 for none.
    """
    n_base, q, length = dk.shape
    nodes = length // rows
    m = end - first
    # without times of their own to fit, inputs do not move
    begin = n_in if at_time >= q else 0
    width = n_base - begin
    n = nodes * width
    both = np.zeros((n, n, m))
    slopes, h = np.zeros((nodes, m)), np.zeros(m)
    product, scratch = np.zeros(m), np.zeros(m)
    for i in range(len(phi)):
        scale = (phi[i, at_gain] if at_gain >= 0 else 1.0) / nodes
        for node in range(nodes):
            at = node * rows + first
            for t in range(m):
                h[t] = 0.0
            for c in range(n_base):
                load = phi[i, lead + c]
                for t in range(m):
                    h[t] += load * k[c, at + t]
            fill_erf(h, scratch, slopes[node])
        for a in range(nodes):
            for b in range(a + 1):
                for t in range(m):
                    product[t] = slopes[a, t] * slopes[b, t]
                if masked:
                    for t in range(m):
                        if not seen[i, first + t]:
                            product[t] = 0.0
                for c in range(width):
                    by = weights[i] * scale * scale * phi[i, lead + begin + c]
                    for d in range(c + 1 if a == b else width):
                        pair = by * phi[i, lead + begin + d]
                        for t in range(m):
                            both[a * width + c, b * width + d, t] += pair * product[t]
    total, row = np.zeros((q, q)), np.zeros(m)
    for a in range(n):
        at = a // width * rows + first
        for j in range(q):
            for t in range(m):
                row[t] = 0.0
            for b in range(n):
                later, earlier = max(a, b), min(a, b)
                base, behind = begin + b % width, b // width * rows + first
                for t in range(m):
                    row[t] += both[later, earlier, t] * dk[base, j, behind + t]
            for other in range(j + 1):
                dot = 0.0
                for t in range(m):
                    dot += row[t] * dk[begin + a % width, other, at + t]
                total[j, other] += dot
    for j in range(q):
        for other in range(j):
            total[other, j] = total[j, other]
    return total
