"""Loss and derivative of one or two trials of any size; the equations are those of `rollout`."""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import FAST, compiled
from predictlearn.theory.kernels.arguments import Shown
from predictlearn.theory.kernels.gain import gain_and_slope, judge

__all__ = ["few"]


@compiled(fastmath=FAST)
def few(
    s: np.ndarray,
    sizes: tuple[int, int, int],
    shown: Shown,
    ku: np.ndarray,
    g: np.ndarray,
    slope: np.ndarray,
    y: np.ndarray,
    grad: np.ndarray,
) -> float:
    """Loss and derivative for a few trials, time innermost.

    With one trial there is nothing to vectorise over, and the short loops of the block kernel cost
    more than their arithmetic.
    """
    n_in, rank, n_out = sizes
    a, gain, km, judging = shown
    n_steps, _, n_trials = km.shape
    b = n_in + rank
    keep = 1.0 - a
    curved = gain.size > 0
    total = 0.0
    k = np.empty(b)
    lam = np.empty(rank)
    new = np.empty(rank)
    for p in range(n_trials):
        for r in range(rank):
            ku[r, 0] = 0.0
        for t in range(n_steps):
            for j in range(n_in):
                k[j] = km[t, j, p]
            for r in range(rank):
                k[n_in + r] = ku[t * rank + r, 0]
            gt = 1.0
            if curved:
                delta = 0.0
                for i in range(b):
                    c = 0.0
                    for j in range(b):
                        c += s[i, j] * k[j]
                    delta += k[i] * c
                gt, twice = gain_and_slope(gain, delta)
                g[t, 0] = gt
                slope[t, 0] = twice
            for o in range(rank + n_out):
                c = 0.0
                for j in range(b):
                    c += s[b + o, j] * k[j]
                c *= gt
                if o >= rank:
                    y[t, o - rank, 0] = c
                elif t < n_steps - 1:
                    ku[(t + 1) * rank + o, 0] = keep * k[n_in + o] + a * c
        total += judge(y, judging, np.uintp(p), np.uintp(1))
        for r in range(rank):
            lam[r] = 0.0
        for t in range(n_steps - 1, -1, -1):
            for j in range(n_in):
                k[j] = km[t, j, p]
            for r in range(rank):
                k[n_in + r] = ku[t * rank + r, 0]
                new[r] = keep * lam[r]
            gt = g[t, 0] if curved else 1.0
            dot = 0.0
            for o in range(rank + n_out):
                q = a * lam[o] if o < rank else y[t, o - rank, 0]
                gq = gt * q
                for j in range(b):
                    w = s[b + o, j]
                    dot += w * k[j] * q
                    grad[b + o, j] += gq * k[j]
                    if j >= n_in:
                        new[j - n_in] += w * gq
            if curved:
                dot *= slope[t, 0]  # 2 g'(Delta) (q . c)
                for i in range(b):
                    c = 0.0
                    for j in range(b):
                        c += s[i, j] * k[j]
                        if j <= i:
                            grad[i, j] += dot * k[i] * k[j]
                    if i >= n_in:
                        new[i - n_in] += dot * c
            for r in range(rank):
                lam[r] = new[r]
    return total
