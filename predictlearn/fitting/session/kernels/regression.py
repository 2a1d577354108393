"""The compiled loops of the fit to erf rates: normal equations of every neuron, trial by trial."""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.phi import fill_erf, fill_erf_slopes

__all__ = ["accumulate_erf", "theta_by_theta"]


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def _add_rows(by, weights, dk, begin, j, at, out):  # type: ignore[no-untyped-def]
    """Add by times the sum over bases from begin of weights dk_j, up to three in one pass."""
    m, end = len(out), len(dk)
    for c in range(begin, end, 3):
        row0 = dk[c, j, at : at + m]
        row1 = dk[min(c + 1, end - 1), j, at : at + m]
        row2 = dk[min(c + 2, end - 1), j, at : at + m]
        w0 = weights[c]
        w1, w2 = weights[min(c + 1, end - 1)], weights[min(c + 2, end - 1)]
        if end - c == 1:
            for t in range(m):
                out[t] += by[t] * (w0 * row0[t])
        elif end - c == 2:
            for t in range(m):
                out[t] += by[t] * (w0 * row0[t] + w1 * row1[t])
        else:
            for t in range(m):
                out[t] += by[t] * (w0 * row0[t] + w1 * row1[t] + w2 * row2[t])


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def _add_products(rows, at, out_at, n, m, out):  # type: ignore[no-untyped-def]
    """Add to two rows of out the products of rows at and at + 1 with the first n, an even number.

    Four products a pass, since memory is what takes time.
    """
    x0, x1 = rows[at, :m], rows[at + 1, :m]
    for b in range(0, n, 2):
        y0, y1 = rows[b, :m], rows[b + 1, :m]
        s00, s01, s10, s11 = 0.0, 0.0, 0.0, 0.0
        for t in range(m):
            s00 += x0[t] * y0[t]
            s01 += x0[t] * y1[t]
            s10 += x1[t] * y0[t]
            s11 += x1[t] * y1[t]
        out[out_at, b] += s00
        out[out_at, b + 1] += s01
        out[out_at + 1, b] += s10
        out[out_at + 1, b + 1] += s11


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
    """Accumulate J^T J, J^T r and r^T r of neurons first..end, one trial at a time.

    Bins run innermost, over contiguous rows of the Jacobian, so that the loops vectorise. The rate
    of a bin is the mean over its nodes, which follow each other as blocks of all bins in k. Rates
    that fade, c(t) = fading c(t-1) + rate(t), are filtered in each trial with their derivatives.
    J_theta^T J_theta of each neuron, most of the work, only where `pairs` asks for it; else two
    rows of J_theta are at hand at a time.
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
    # the rows of phi, the residuals, a row of zeros where these are odd, and the rows of theta
    even = p + 1 + (p + 1) % 2
    # a length that is no power of two, so that rows do not share their places in fast memory
    jac = np.zeros((even + (q + q % 2 if pairs else 2), longest + 8))
    bend = np.zeros((nodes, longest))
    scratch, slopes = np.zeros(longest), np.zeros(longest)
    # products of these rows, neuron by neuron
    found = np.zeros((end - first, even + q + q % 2, even + (q + q % 2 if pairs else 0)))
    # neurons inside, so that what a trial gives stays in fast memory
    for trial in range(len(trial_start) - 1):
        start = trial_start[trial]
        m = trial_start[trial + 1] - start
        res = jac[p, :m]
        for i in range(first, end):
            sums = found[i - first]
            c_gain = phi[i, 1 if offset else 0] if gain else 1.0
            shift = phi[i, 0] if offset else 0.0
            for a in range(lead, p + 1):
                for t in range(m):
                    jac[a, t] = 0.0
            for node in range(nodes):
                at = node * rows + start
                by = bend[node, :m]
                for t in range(m):
                    by[t] = 0.0
                for c in range(n_base):
                    load = phi[i, lead + c]
                    for t in range(m):
                        by[t] += load * k[c, at + t]
                # the rate, erf(sqrt(pi) h / 2), and its slope
                fill_erf(by, scratch, slopes)
                for t in range(m):
                    res[t] += share * scratch[t]
                    by[t] = slopes[t] * share * c_gain
                for c in range(n_base):
                    for t in range(m):
                        jac[lead + c, t] += by[t] * k[c, at + t]
            if fading > 0.0:
                for a in range(lead, p + 1):
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
                        for a in range(p + 1):
                            jac[a, t] = 0.0
            for a in range(0, even, 2):
                _add_products(jac, a, a, even, m, sums)
            for j in range(q):
                to = even + (j if pairs else j % 2)
                row = jac[to, :m]
                for t in range(m):
                    row[t] = 0.0
                begin = 0 if j >= at_time else n_in
                for node in range(nodes):
                    _add_rows(bend[node, :m], phi[i, lead:], dk, begin, j, node * rows + start, row)
                if fading > 0.0:
                    for t in range(1, m):
                        row[t] += fading * row[t - 1]
                if masked:
                    for t in range(m):
                        if not seen[i, start + t]:
                            row[t] = 0.0
                if j % 2 or j == q - 1:
                    pair = j - j % 2
                    last = even + pair + 2 if pairs else even
                    _add_products(jac, to - j % 2, even + pair, last, m, sums)
            if per_trial:
                squares[i] += sums[p, p]
                for a in range(p + q):
                    scores[trial, i, a] = sums[a if a < p else even + a - p, p]
                    slope[i, a] += scores[trial, i, a]
                sums[:, :] = 0.0
    for i in range(first, end):
        sums = found[i - first]
        squares[i] += sums[p, p]
        for a in range(0 if per_trial else p + q):
            at = a if a < p else even + a - p
            slope[i, a] += sums[at, p]
            for b in range(a + 1 if pairs else min(a + 1, p)):
                normal[i, a, b] += sums[at, b if b < p else even + b - p]
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
    product = np.zeros(m)
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
            fill_erf_slopes(h, slopes[node])
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
