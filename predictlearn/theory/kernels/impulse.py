"""Linear networks after an impulse: loss and derivative at a cost that hardly grows with time.

After the first bin nothing enters, so k follows a linear recurrence; so do targets that are sums of
(damped, oscillating) exponentials. Stack both, s_{t+1} = F s_t. The error is a reading C s_t, and
with X the sum over bins and trials of s_t s_t'::

    loss = tr(C' w C X),    X_{2n} = X_n + F^n X_n F^n',    X_{n+1} = X_1 + F X_n F'

which reaches n bins in log2(n) products of small matrices; the derivative runs back through them.

For one input, rank one and one target state nearly all cases take the sums of
`predictlearn.theory.kernels.impulse_rank_one`, whose cost does not grow with n at all. Other sizes
keep the doublings: the eigenvalues of their F are roots of polynomials, complex or, as at many
starts of learning, next to each other, and sums over eigenvalues then cancel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictlearn.checks import as_float_array
from predictlearn.compiled import FAST, compiled
from predictlearn.errors import InputError
from predictlearn.theory.kernels.arguments import Impulse
from predictlearn.theory.kernels.impulse_rank_one import single_impulse

__all__ = [
    "TargetLaw",
    "compiled_work",
    "impulse_by_doubling",
    "impulse_loss_and_derivative",
    "impulse_state",
    "impulse_work",
    "is_impulse",
]


@dataclass(frozen=True)
class TargetLaw:
    """Targets that follow a linear recurrence: y*_t = read step^t start.

    Parameters
    ----------
    step : array_like, (q, q)
        What a bin does to the state.
    read : array_like, (n_out, q)
        How the target is read from the state.
    start : array_like, (trials, q)
        State in bin 0.

    Raises
    ------
    InputError
        If the shapes do not fit each other.

    Examples
    --------
    >>> law = TargetLaw([[0.9]], [[1.0]], [[2.0]])
    >>> law.targets(3)[0, :, 0].round(2).tolist()
    [2.0, 1.8, 1.62]
    """

    step: np.ndarray
    read: np.ndarray
    start: np.ndarray

    def __post_init__(self) -> None:
        step = as_float_array("step", self.step, 2, axes="(q, q)")
        q = step.shape[0]
        if step.shape[1] != q:
            raise InputError(f"step must be square, (q, q); got {step.shape}.")
        object.__setattr__(self, "step", step)
        read = as_float_array("read", self.read, shape=(None, q), axes="(n_out, q)")
        object.__setattr__(self, "read", read)
        start = as_float_array("start", self.start, shape=(None, q), axes="(trials, q)")
        object.__setattr__(self, "start", start)

    def targets(self, n_steps: int) -> np.ndarray:
        """Return the targets, (trials, time, n_out)."""
        state = self.start
        rows = []
        for _ in range(n_steps):
            rows.append(state @ self.read.T)
            state = state @ self.step.T
        return np.stack(rows, axis=1)


def is_impulse(inputs: np.ndarray, weights: np.ndarray) -> bool:
    """Return whether inputs, (trials, time, n_in), end with bin 0 and weights are all the same.

    The same in every bin and trial; outputs may differ.
    """
    return not np.any(inputs[:, 1:]) and bool(np.all(weights == weights[:1, :1]))


def impulse_state(inputs: np.ndarray, law: TargetLaw, a: float, rank: int) -> np.ndarray:
    """Return X_1, the sum over trials of s_0 s_0', s = (k_m, k_u, state of the target)."""
    first = a * inputs[:, 0]
    state = np.hstack([first, np.zeros((len(first), rank)), law.start])
    return np.ascontiguousarray(state.T @ state)


@compiled(fastmath=FAST)
def _left(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Fill out with a b."""
    n = a.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += a[i, k] * b[k, j]
            out[i, j] = total


@compiled(fastmath=FAST)
def _right(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Fill out with a b'."""
    n = a.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += a[i, k] * b[j, k]
            out[i, j] = total


@compiled(fastmath=FAST)
def _inner(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Fill out with a' b."""
    n = a.shape[0]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += a[k, i] * b[k, j]
            out[i, j] = total


@compiled()
def _keep(x: np.ndarray, g: np.ndarray, xs: np.ndarray, gs: np.ndarray, k: int) -> None:
    """Copy x and g into xs[k] and gs[k]."""
    n = x.shape[0]
    for i in range(n):
        for j in range(n):
            xs[k, i, j] = x[i, j]
            gs[k, i, j] = g[i, j]


@compiled()
def _levels(n_steps: int) -> int:
    """Return how many binary digits a number of bins has."""
    levels = 1
    while (1 << levels) <= n_steps:
        levels += 1
    return levels


def impulse_work(impulse: Impulse) -> np.ndarray:
    """Return scratch space for `impulse_loss_and_derivative`; none if there is no impulse."""
    n = impulse.first.shape[0]
    return np.empty((4 * _levels(impulse.n_steps) + 9 if n > 0 else 0, n, n))


compiled_work = compiled()(impulse_work)


@compiled(fastmath=FAST)
def impulse_loss_and_derivative(
    s: np.ndarray,
    sizes: tuple[int, int, int],
    impulse: Impulse,
    work: np.ndarray,
    grad: np.ndarray,
) -> float:
    """Return the loss and fill `grad` with A, (D, D).

    `work` comes from `impulse_work`.
    """
    n_in, rank, n_out = sizes
    if n_in == 1 and rank == 1 and impulse.first.shape[0] == 3:
        value, done = single_impulse(s, n_out, impulse, grad)
        if done:
            return value
    return impulse_by_doubling(s, sizes, impulse, work, grad)


@compiled(fastmath=FAST)
def impulse_by_doubling(
    s: np.ndarray,
    sizes: tuple[int, int, int],
    impulse: Impulse,
    work: np.ndarray,
    grad: np.ndarray,
) -> float:
    """Return the loss and fill `grad`; arguments as in `impulse_loss_and_derivative`."""
    n_in, rank, n_out = sizes
    a, first, step, read, weights, n_steps = impulse
    n = first.shape[0]
    b = n_in + rank
    levels = _levels(n_steps)
    # for every doubling and every step by one in turn, what went into it: X and F^n
    xs, gs = work[: 2 * levels], work[2 * levels : 4 * levels]
    k = 4 * levels
    f, x, g, xb, gb, fb = work[k], work[k + 1], work[k + 2], work[k + 3], work[k + 4], work[k + 5]
    t1, t2, t3 = work[k + 6], work[k + 7], work[k + 8]
    for i in range(n):
        for j in range(n):
            f[i, j] = 0.0
    for i in range(n_in):
        f[i, i] = 1.0 - a
    for r in range(rank):
        for j in range(b):
            f[n_in + r, j] = a * s[b + r, j]
        f[n_in + r, n_in + r] += 1.0 - a
    for i in range(b, n):
        for j in range(b, n):
            f[i, j] = step[i - b, j - b]
    for i in range(n):
        for j in range(n):
            x[i, j] = first[i, j]
            g[i, j] = f[i, j]
            xb[i, j] = gb[i, j] = fb[i, j] = 0.0
    used = 0
    for level in range(levels - 2, -1, -1):
        _keep(x, g, xs, gs, used)
        used += 1
        _left(g, x, t1)
        _right(t1, g, t2)
        for i in range(n):
            for j in range(n):
                x[i, j] += t2[i, j]
        _left(g, g, t1)
        for i in range(n):
            for j in range(n):
                g[i, j] = t1[i, j]
        if (n_steps >> level) & 1:
            _keep(x, g, xs, gs, used)
            used += 1
            _left(f, x, t1)
            _right(t1, f, t2)
            for i in range(n):
                for j in range(n):
                    x[i, j] = first[i, j] + t2[i, j]
            _left(f, g, t1)
            for i in range(n):
                for j in range(n):
                    g[i, j] = t1[i, j]

    for i in range(grad.shape[0]):
        for j in range(grad.shape[1]):
            grad[i, j] = 0.0
    total = 0.0
    for o in range(n_out):
        w = weights[o]
        for i in range(n):
            c_i = s[b + rank + o, i] if i < b else -read[o, i - b]
            cx = 0.0
            for j in range(n):
                c_j = s[b + rank + o, j] if j < b else -read[o, j - b]
                cx += c_j * x[j, i]
                xb[i, j] += w * c_i * c_j
            total += w * cx * c_i
            if i < b:
                grad[b + rank + o, i] = 2.0 * w * cx

    for level in range(levels - 1):
        if (n_steps >> level) & 1:
            used -= 1
            old_x, old_g = xs[used], gs[used]
            # X' = X_1 + F X F', G' = F G
            _left(f, old_x, t1)
            _left(xb, t1, t2)
            _right(gb, old_g, t1)
            for i in range(n):
                for j in range(n):
                    fb[i, j] += 2.0 * t2[i, j] + t1[i, j]
            _inner(f, gb, t1)
            for i in range(n):
                for j in range(n):
                    gb[i, j] = t1[i, j]
            _left(xb, f, t1)
            _inner(f, t1, t2)
            for i in range(n):
                for j in range(n):
                    xb[i, j] = t2[i, j]
        used -= 1
        old_x, old_g = xs[used], gs[used]
        # X' = X + G X G', G' = G G
        _left(old_g, old_x, t1)
        _left(xb, t1, t2)
        _right(gb, old_g, t1)
        _inner(old_g, gb, t3)
        for i in range(n):
            for j in range(n):
                gb[i, j] = 2.0 * t2[i, j] + t1[i, j] + t3[i, j]
        _left(xb, old_g, t1)
        _inner(old_g, t1, t2)
        for i in range(n):
            for j in range(n):
                xb[i, j] += t2[i, j]
    for r in range(rank):
        for j in range(b):
            grad[b + r, j] = a * (fb[n_in + r, j] + gb[n_in + r, j])
    for i in range(grad.shape[0]):
        for j in range(i):
            grad[j, i] = grad[i, j]
    # a sum of squares, but for rounding
    return max(total, 0.0)
