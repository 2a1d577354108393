"""The compiled loop of the fit to spike counts: Fisher scoring of every neuron, trial by trial."""

from __future__ import annotations

import math

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.fitting.session.kernels.vector_math import fill_exp

__all__ = ["accumulate_counts", "fill_link"]


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def fill_link(eta, softplus, rate, slope, scratch, bits, m):  # type: ignore[no-untyped-def]
    """Write the expected counts and their derivative in eta."""
    if not softplus:
        fill_exp(eta, rate, bits, m)
        for t in range(m):
            slope[t] = rate[t]
        return
    for t in range(m):
        scratch[t] = -abs(eta[t])
    fill_exp(scratch, slope, bits, m)
    for t in range(m):
        u = slope[t]
        # log(1 + u) = 2 artanh(s), s at most 1/3
        s = u / (2.0 + u)
        z = s * s
        series = 1.0 / 31.0
        series = series * z + 1.0 / 29.0
        series = series * z + 1.0 / 27.0
        series = series * z + 1.0 / 25.0
        series = series * z + 1.0 / 23.0
        series = series * z + 1.0 / 21.0
        series = series * z + 1.0 / 19.0
        series = series * z + 1.0 / 17.0
        series = series * z + 1.0 / 15.0
        series = series * z + 1.0 / 13.0
        series = series * z + 1.0 / 11.0
        series = series * z + 1.0 / 9.0
        series = series * z + 1.0 / 7.0
        series = series * z + 1.0 / 5.0
        series = series * z + 1.0 / 3.0
        rate[t] = max(eta[t], 0.0) + 2.0 * (s + s * z * series)
        slope[t] = (1.0 if eta[t] > 0.0 else u) / (1.0 + u)


@compiled(nogil=True, fastmath=FAST, error_model="numpy")
def accumulate_counts(  # type: ignore[no-untyped-def]
    y,
    seen,
    masked,
    pieces,
    k,
    dk,
    phi,
    gain,
    known_gain,
    saturating,
    softplus,
    dispersion,
    n_in,
    at_time,
    first,
    last,
    per_trial,
    normal,
    scores,
    slope,
    losses,
):
    """Accumulate Fisher information, score and -2 log likelihood of neurons first..last.

    Pieces are runs of bins (trials, where scores are wanted by trial). Bins run innermost, over
    contiguous rows of the Jacobian of the rate, so that the loops vectorise. The rate of a bin
    is the mean over its nodes, which follow each other as blocks of all bins in k. The likelihood
    leaves out what does not depend on the expected counts.
    """
    n_base, q, length = dk.shape
    rows = y.shape[1]
    nodes = length // rows
    p = phi.shape[1]
    lead = p - n_base
    longest = 1
    for piece in range(len(pieces) - 1):
        longest = max(longest, pieces[piece + 1] - pieces[piece])
    jac = np.zeros((p + q, longest))
    weighted = np.zeros(longest)
    eta = np.zeros(longest)
    lam = np.zeros(longest)
    value = np.zeros(longest)
    bend = np.zeros(longest)
    rate = np.zeros(longest)
    rise = np.zeros(longest)
    score = np.zeros(longest)
    info = np.zeros(longest)
    scratch = np.zeros(longest)
    bits = np.zeros(longest, np.int64)
    for i in range(first, last):
        c_gain = phi[i, 1] if gain else known_gain
        base = phi[i, 0]
        alpha = dispersion[i]
        total = 0.0
        for piece in range(len(pieces) - 1):
            start = pieces[piece]
            m = pieces[piece + 1] - start
            for t in range(m):
                lam[t] = 0.0
            for a in range(p + q):
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
                if saturating:
                    for t in range(m):
                        scratch[t] = -0.7853981633974483 * bend[t] * bend[t]
                    for t in range(m):
                        value[t] = math.erf(0.886226925452758 * bend[t])
                        eta[t] = base + c_gain * value[t]
                    fill_exp(scratch, bend, bits, m)
                    for t in range(m):
                        bend[t] *= c_gain
                else:
                    for t in range(m):
                        eta[t] = base + c_gain * bend[t]
                        bend[t] = c_gain
                fill_link(eta, softplus, rate, rise, scratch, bits, m)
                for t in range(m):
                    lam[t] += rate[t] / nodes
                    rise[t] /= nodes
                    jac[0, t] += rise[t]
                    bend[t] *= rise[t]
                if gain:
                    for t in range(m):
                        jac[1, t] += rise[t] * value[t]
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
            # a rate of nearly 0 does no harm: what it divides goes to 0 with it
            for t in range(m):
                lam[t] = max(lam[t], 1e-300)
                info[t] = 1.0 / (lam[t] * (1.0 + alpha * lam[t]))
                score[t] = (y[i, start + t] - lam[t]) * info[t]
            if nodes > 1 or softplus:
                for t in range(m):
                    eta[t] = math.log(lam[t])
            if masked:
                for t in range(m):
                    if not seen[i, start + t]:
                        score[t] = 0.0
                        info[t] = 0.0
                        lam[t] = 0.0
            if alpha > 0.0:
                for t in range(m):
                    total += (y[i, start + t] + 1.0 / alpha) * math.log1p(alpha * lam[t])
            else:
                for t in range(m):
                    total += lam[t]
            for t in range(m):
                total -= y[i, start + t] * eta[t]
            for a in range(p + q):
                dot = 0.0
                for t in range(m):
                    dot += jac[a, t] * score[t]
                slope[i, a] += dot
                if per_trial:
                    scores[piece, i, a] = dot
                else:
                    for t in range(m):
                        weighted[t] = jac[a, t] * info[t]
                    for b in range(a + 1):
                        dot = 0.0
                        for t in range(m):
                            dot += weighted[t] * jac[b, t]
                        normal[i, a, b] += dot
        losses[i] = 2.0 * total
        for a in range(p + q):
            for b in range(a):
                normal[i, b, a] = normal[i, a, b]
