"""All fixed points of fitted reduced dynamics under constant inputs, and their stability.

With constant input x: k_m = x, and k_u = g (S_vm x + S_vu k_u), where g is one number. So

    k_u(g) = g (1 - g S_vu)^-1 S_vm x,     g^2 (1 + pi/2 Delta(g)) = 1,    Delta = k^T S_bb k,

which, times det(1 - g S_vu)^2, is a polynomial in g of degree 2 rank + 2: its roots in (0, 1] are
all fixed points, but for those where 1 - g S_vu is singular and yet the equation can be solved,
k_u = a particular solution + c e, with c from Delta. For a linear network g = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, positive
from predictlearn.errors import InputError, choice
from predictlearn.fitting.session.rollout import fitted_dynamics
from predictlearn.theory.names import table_pairs

__all__ = ["FixedPoint", "fitted_fixed_points", "fixed_points"]


_SAME = 1e-6
_SOLVED = 1e-9
_COLUMNS = (
    "size", "stable", "stable_euler", "eigenvalue", "time_constant", "frequency", "size_low",
    "size_high", "time_constant_low", "time_constant_high", "frequency_low", "frequency_high",
    "found",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """One fixed point of the reduced dynamics.

    Parameters
    ----------
    k : ndarray, shape (n_in + rank,)
        Where: k_m = the input, then k_u.
    size : float
        sqrt(k^T S_bb k), the root mean square of h over neurons; no gauge changes it.
    eigenvalues : ndarray of complex, shape (rank,)
        Of the Jacobian of k_u, 1/s, the slowest first.
    stable : bool
        Whether all real parts are negative.
    stable_euler : bool
        Whether ``|1 + dt eigenvalue| < 1`` for all: stable in forward Euler steps of dt too.
    time_constants : ndarray, shape (rank,)
        -1 / real part, seconds; negative where the direction grows.
    frequencies : ndarray, shape (rank,)
        ``|imaginary part| / (2 pi)``, Hz.
    """

    k: Array
    size: float
    eigenvalues: npt.NDArray[np.complex128]
    stable: bool
    stable_euler: bool
    time_constants: Array
    frequencies: Array


def fixed_points(
    vm: npt.ArrayLike,
    vu: npt.ArrayLike,
    bb: npt.ArrayLike,
    inputs: npt.ArrayLike,
    *,
    nonlinearity: str = "linear",
    tau: float = 1.0,
    dt: float = 0.05,
) -> list[FixedPoint]:
    """Find every fixed point under one constant input.

    Parameters
    ----------
    vm, vu : array_like, shapes (rank, n_in), (rank, rank)
        S_vm and S_vu.
    bb : array_like, shape (n_in + rank, n_in + rank)
        The (m, u) block of S.
    inputs : array_like, shape (n_in,)
        The constant input.
    nonlinearity : {"linear", "erf"}
        phi.
    tau, dt : float
        Time constant, and the step of forward Euler, seconds.

    Returns
    -------
    list of FixedPoint
        In order of size, then of k_u. Empty for a linear network with 1 - S_vu singular.

    Raises
    ------
    InputError
        Shapes that do not fit.

    Notes
    -----
    Where a fixed point lies on a ring (S_vu has an eigenvalue above 1 twice, with two
    eigenvectors), two points of the ring stand for it, with an eigenvalue of zero.

    Examples
    --------
    >>> three = fixed_points([[0.5]], [[2.0]], np.eye(2), [0.0], nonlinearity="erf")
    >>> [round(float(point.k[1]), 4) for point in three]
    [0.0, -1.382, 1.382]
    >>> [point.stable for point in three]
    [False, True, True]
    """
    choice("nonlinearity", nonlinearity, ("linear", "erf"))
    s_vu = as_float_array("vu", vu, ndim=2)
    rank = len(s_vu)
    s_vu = as_float_array("vu", s_vu, shape=(rank, rank))
    s_vm = as_float_array("vm", vm, shape=(rank, None))
    n_in = s_vm.shape[1]
    s_bb = as_float_array("bb", bb, shape=(n_in + rank, n_in + rank))
    x = as_float_array("inputs", inputs, shape=(n_in,))
    tau, dt = positive("tau", tau), positive("dt", dt)
    push = s_vm @ x
    if nonlinearity == "linear":
        system = np.eye(rank) - s_vu
        if np.linalg.cond(system) > 1e12:
            return []
        found = [np.linalg.solve(system, push)]
    else:
        found = [
            point
            for point in (
                _polished(k_u, x, s_vm, s_vu, s_bb) for k_u in _candidates(x, push, s_vu, s_bb)
            )
            if point is not None
        ]
    points = [
        _described(np.concatenate([x, k_u]), s_vm, s_vu, s_bb, nonlinearity == "erf", tau, dt)
        for k_u in _distinct(found)
    ]
    return sorted(points, key=lambda point: (round(point.size, 9), tuple(point.k[n_in:])))


def _candidates(x: Array, push: Array, vu: Array, bb: Array) -> list[Array]:
    """Return k_u at every root of the polynomial, and on every singular branch."""
    rank, n_in = len(vu), len(x)
    nodes = 0.5 + 0.5 * np.cos(np.pi * (np.arange(2 * rank + 3) + 0.5) / (2 * rank + 3))
    values = []
    for g in nodes:
        system = np.eye(rank) - g * vu
        determinant = np.linalg.det(system)
        # the adjugate, which stays finite where the system is singular
        scaled = np.concatenate([x * determinant, g * _adjugate(system) @ push])
        delta = scaled @ bb @ scaled
        values.append(g**2 * (determinant**2 + np.pi / 2 * delta) - determinant**2)
    scale = max(np.max(np.abs(values)), 1e-300)
    polynomial = np.polynomial.Chebyshev.fit(
        nodes, np.array(values) / scale, 2 * rank + 2, domain=[0.0, 1.0]
    )
    found = []
    for root in (complex(each) for each in polynomial.roots()):
        # a double root, at the birth of two fixed points, comes out as a close complex pair
        if abs(root.imag) > 1e-3 or not -1e-6 < root.real < 1 + 1e-6:
            continue
        g = float(np.clip(root.real, 1e-9, 1.0))
        solved = np.linalg.lstsq(np.eye(rank) - g * vu, g * push, rcond=None)[0]
        found.append(np.asarray(solved))
    for value in (complex(each) for each in np.linalg.eigvals(vu)):
        if abs(value.imag) > 1e-9 * max(abs(value), 1.0) or value.real <= 1:
            continue
        g = 1 / float(value.real)
        system = np.eye(rank) - g * vu
        left, singular, right = np.linalg.svd(system)
        null = singular < 1e-7 * max(singular[0], 1.0)
        if rank == 1:
            null = np.array([True])
        if np.abs(left[:, null].T @ push).max(initial=0.0) > _SOLVED * max(
            float(np.linalg.norm(push)), 1e-6
        ):
            continue
        base = np.concatenate([x, np.linalg.pinv(system, rcond=1e-7) @ (g * push)])
        if rank == 1:
            base[n_in:] = 0.0
        for direction in right[null]:
            along = np.concatenate([np.zeros(n_in), direction])
            # k^T S_bb k of base + c along, less what g asks for
            wanted = [
                along @ bb @ along,
                2 * base @ bb @ along,
                base @ bb @ base - (1 / g**2 - 1) * 2 / np.pi,
            ]
            if wanted[0] > 0 and wanted[1] ** 2 >= 4 * wanted[0] * wanted[2]:
                found += [(base + c * along)[n_in:] for c in np.roots(wanted).real]
    return found


def _adjugate(matrix: Array) -> Array:
    """Return the adjugate, adj(A) A = det(A) 1."""
    u, s, vt = np.linalg.svd(matrix)
    others = np.array([np.prod(np.delete(s, i)) for i in range(len(s))])
    sign = np.linalg.det(u) * np.linalg.det(vt)
    return np.asarray(sign * (vt.T * others) @ u.T)


def _gain(k: Array, bb: Array) -> float:
    """Return g at k."""
    return float(1 / np.sqrt(1 + np.pi / 2 * max(float(k @ bb @ k), 0.0)))


def _jacobian(k: Array, vm: Array, vu: Array, bb: Array) -> Array:
    """Return the derivative of -k_u + g (S_vm k_m + S_vu k_u) in k_u."""
    n_in = vm.shape[1]
    g = _gain(k, bb)
    drive = vm @ k[:n_in] + vu @ k[n_in:]
    # dg/dDelta = -pi/4 g^3, dDelta/dk_u = 2 S_u. k
    slope = -np.pi / 2 * g**3 * (bb @ k)[n_in:]
    return np.asarray(-np.eye(len(vu)) + g * vu + np.outer(drive, slope))


def _polished(k_u: Array, x: Array, vm: Array, vu: Array, bb: Array) -> Array | None:
    """Sharpen a candidate by Newton steps; None where it is no fixed point."""
    size = 1.0 + np.linalg.norm(k_u)
    first = k_u
    for _ in range(30):
        k = np.concatenate([x, k_u])
        miss = -k_u + _gain(k, bb) * (vm @ x + vu @ k_u)
        if np.linalg.norm(miss) < 1e-14 * size:
            break
        step = np.linalg.lstsq(_jacobian(k, vm, vu, bb), miss, rcond=1e-10)[0]
        k_u = k_u - step
        if not np.isfinite(k_u).all() or np.linalg.norm(k_u - first) > size:
            return None
    k = np.concatenate([x, k_u])
    miss = -k_u + _gain(k, bb) * (vm @ x + vu @ k_u)
    return k_u if np.linalg.norm(miss) < _SOLVED * size else None


def _distinct(points: list[Array]) -> list[Array]:
    """Leave out points that stand there already."""
    kept: list[Array] = []
    for point in points:
        near = [np.linalg.norm(point - other) for other in kept]
        if not near or min(near) > _SAME * (1 + np.linalg.norm(point)):
            kept.append(point)
    return kept


def _described(
    k: Array, vm: Array, vu: Array, bb: Array, erf: bool, tau: float, dt: float
) -> FixedPoint:
    """Return a fixed point with its stability."""
    jacobian = _jacobian(k, vm, vu, bb) if erf else vu - np.eye(len(vu))
    values = np.asarray(np.linalg.eigvals(jacobian) / tau, dtype=np.complex128)
    values = values[np.argsort(-values.real, kind="stable")]
    with np.errstate(divide="ignore"):
        constants = np.where(values.real == 0, np.inf, -1 / values.real)
    return FixedPoint(
        k=k,
        size=float(np.sqrt(max(float(k @ bb @ k), 0.0))),
        eigenvalues=values,
        stable=bool((values.real < 0).all()),
        stable_euler=bool((np.abs(1 + dt * values) < 1).all()),
        time_constants=constants,
        frequencies=np.abs(values.imag) / (2 * np.pi),
    )


def fitted_fixed_points(
    fit: Any, inputs: npt.ArrayLike | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Find the fixed points of a fit under constant inputs, with intervals.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted.
    inputs : array_like, shape (points, n_in), optional
        Constant inputs, one row each. Default: no input.
    level : float
        Of the intervals.

    Returns
    -------
    DataFrame
        One row a fixed point and eigenvalue: input (row of inputs), point, k_u1 ... (canonical
        gauge), size, stable, stable_euler, eigenvalue (number, slowest first), time_constant
        (s), frequency (Hz); then size_low, size_high, time_constant_low, time_constant_high,
        frequency_low, frequency_high, and found, the share of bootstrap replicates that have as
        many fixed points and this one (the nearest) as stable as here. NaN without replicates.
        Intervals are low to high over the replicates (quantiles), given tau. No row where the
        recording does not determine the overlaps of the dynamics (`LowRankRNN.unseen_`).

    Raises
    ------
    InputError
        Inputs that do not fit.

    Examples
    --------
    >>> from predictlearn.fitting import LowRankRNN
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(30, 30, 1)).cumsum(axis=1)
    >>> k, h, loadings = np.zeros((30, 2)), np.zeros((30, 30, 40)), rng.normal(size=(40, 2))
    >>> for t in range(30):
    ...     k = 0.95 * k + 0.05 * np.stack([x[:, t, 0], 0.9 * k[:, 0] + 0.8 * k[:, 1]], axis=1)
    ...     h[:, t] = k @ loadings.T
    >>> fit = LowRankRNN(rank=1, dt=0.05, tau=1.0, n_bootstrap=20).fit(h, x)
    >>> float(fitted_fixed_points(fit)["time_constant"].iloc[0].round(3))  # tau / (1 - vu)
    5.0
    """
    vm, vu, bb = fitted_dynamics(fit)
    n_in, rank = vm.shape[1], len(vu)
    x = np.zeros((1, n_in)) if inputs is None else as_float_array("inputs", inputs, ndim=2)
    if x.shape[1] != n_in:
        raise InputError(f"inputs must have shape (points, {n_in}); got {x.shape}")
    if not 0 < positive("level", level) < 1:
        raise InputError(f"level must lie in (0, 1); got {level}")
    how = {"nonlinearity": fit.nonlinearity, "tau": float(fit.tau_), "dt": float(fit.dt)}
    if fit.overlaps_[list(_dynamics_pairs(n_in, rank))].isna().any():
        axes = [f"k_u{r + 1}" for r in range(rank)]
        return pd.DataFrame(columns=["input", "point", *axes, *_COLUMNS])
    draws = _replicated(fit, n_in, rank)
    rows = []
    for at, drive in enumerate(x):
        points = fixed_points(vm, vu, bb, drive, **how)
        others = [fixed_points(*draw, drive, **how) for draw in draws]
        for number, point in enumerate(points):
            matched = [_nearest(point, other) for other in others if len(other) == len(points)]
            alike = [other for other in matched if other.stable == point.stable]
            found = len(alike) / len(draws) if draws else np.nan
            for j in range(rank):
                row: dict[str, Any] = {"input": at, "point": number}
                row |= {f"k_u{r + 1}": float(point.k[n_in + r]) for r in range(rank)}
                row |= {"size": point.size, "stable": point.stable}
                row |= {"stable_euler": point.stable_euler, "eigenvalue": j}
                row |= {
                    "time_constant": float(point.time_constants[j]),
                    "frequency": float(point.frequencies[j]),
                }
                row |= _interval("size", [m.size for m in matched], level)
                row |= _interval(
                    "time_constant", [float(m.time_constants[j]) for m in matched], level
                )
                row |= _interval("frequency", [float(m.frequencies[j]) for m in matched], level)
                rows.append(row | {"found": found})
    return pd.DataFrame(rows)


def _nearest(point: FixedPoint, others: list[FixedPoint]) -> FixedPoint:
    """Return the fixed point that lies nearest."""
    return min(others, key=lambda other: float(np.linalg.norm(other.k - point.k)))


def _interval(name: str, values: list[float], level: float) -> dict[str, float]:
    """Return the two ends of the middle `level` of the values."""
    if len(values) < 2:
        return {f"{name}_low": np.nan, f"{name}_high": np.nan}
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _dynamics_pairs(n_in: int, rank: int) -> dict[str, tuple[int, int]]:
    """Return where in S the overlaps lie that the dynamics go by: all but those of z, and vv."""
    base = n_in + rank
    return {
        name: (i, j)
        for name, (i, j) in table_pairs(n_in, rank, 1).items()
        if max(i, j) < base + rank and not (i >= base and j >= base)
    }


def _replicated(fit: Any, n_in: int, rank: int) -> list[tuple[Array, Array, Array]]:
    """Return S_vm, S_vu and S_bb of every bootstrap replicate."""
    frame = fit.replicates_
    if not len(frame):
        return []
    base = n_in + rank
    names = _dynamics_pairs(n_in, rank)
    out = []
    for values in frame[list(names)].to_numpy():
        s = np.zeros((base + rank, base + rank))
        for (i, j), value in zip(names.values(), values, strict=True):
            s[i, j] = s[j, i] = value
        out.append((s[base:, :n_in], s[base:, n_in:base], s[:base, :base]))
    return out
