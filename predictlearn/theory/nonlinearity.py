"""The nonlinearity phi and its gain g(Delta) = E[phi'(sqrt(Delta) xi)], xi standard normal.

The gain is all that the overlap equations need of phi. By Stein's lemma it is also
``E[xi phi(sqrt(Delta) xi)] / sqrt(Delta)``, which needs no slope and is integrated here once, by
adaptive quadrature, to the more exact of two forms. One is the root of a ratio of polynomials in
Delta: that of a smooth phi which saturates, such as tanh. The other is a polynomial in
``w = 1 / (offset + sqrt(shift + scale Delta))``, a variable in which a gain is smooth from
Delta = 0 (w = 1) to infinity (w = 0) for a phi with a kink too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from scipy import integrate, special

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.theory.kernels.gain import (
    DEGREE,
    N_COEFFICIENTS,
    RATIONAL_SIZE,
    tabulated_gain,
)
from predictlearn.theory.names import NONLINEARITIES, nonlinearity_name

__all__ = [
    "NONLINEARITIES",
    "Nonlinearity",
    "gain",
    "network_phi",
    "phi",
    "phi_slope",
    "resolve",
]

# The largest error of a tabulated gain, relative to its largest value, that is accepted.
_TOLERANCE = 1e-6
# The error that is that of the numbers themselves.
_EXACT = 1e-14
# Rounds of reweighting of a rational fit: it has settled after these.
_ROUNDS = 3
# The power of two of sqrt(A B) at Delta = 0: A B, which grows as Delta^15, is then a number at 0 as
# at Delta = 1e35.
_EXPONENT = -460
# Currents up to which phi is tabulated for networks, and how many points.
_REACH, _POINTS = 64.0, 16385


@dataclass(frozen=True)
class Nonlinearity:
    """Any odd nonlinearity phi, with its gain tabulated once.

    Parameters
    ----------
    name : str
        How results call it; not one of the built-in names.
    function : callable
        phi, from an array of currents to an array of rates of the same shape. Odd, finite, with a
        gain that stays bounded; a function at the top level of a module if runs are to be spread
        over processes.
    slope : callable, optional
        phi'; by central differences if not given. Only N-neuron networks need it.

    Raises
    ------
    InputError
        If phi is not odd, not finite, or its gain cannot be tabulated to 1e-6.

    Notes
    -----
    ``gain_error`` is the largest error of the table relative to the largest gain, measured between
    its nodes: 7e-12 for tanh, below 1e-7 for phi with a kink.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> soft = pl.Nonlinearity("soft", lambda x: x / np.sqrt(1 + x**2))
    >>> soft.gain_error < 1e-7
    True
    """

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray] | None = field(default=None)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"name must be a text; got {self.name!r}.")
        if not callable(self.function) or not (self.slope is None or callable(self.slope)):
            raise InputError("function and slope must be callables from arrays to arrays.")
        if self.name in NONLINEARITIES:
            if self.function is not _BUILT_IN[self.name][0]:
                raise InputError(
                    f"name must not be one of the built-in {', '.join(NONLINEARITIES)}; "
                    f"got {self.name!r}."
                )
            return
        x = np.concatenate([[0.0], np.geomspace(1e-3, _REACH, 60)])
        up, down = self.phi(x), self.phi(-x)
        scale = max(float(np.abs(up).max()), 1e-300)
        if np.abs(up + down).max() > 1e-9 * scale:
            worst = x[np.argmax(np.abs(up + down))]
            raise InputError(
                f"function must be odd, phi(-x) = -phi(x); at x = {worst:g} it is "
                f"{self.phi(np.array([worst]))[0]:g} and {self.phi(np.array([-worst]))[0]:g}."
            )
        if self.gain_error > _TOLERANCE:
            raise InputError(
                f"function must have a bounded gain that can be tabulated to {_TOLERANCE:g}; that "
                f"of {self.name!r} is off by {self.gain_error:.2g}. phi must not grow faster than "
                "its argument, and its width must lie between about 0.1 and 10."
            )

    def phi(self, x: np.ndarray) -> np.ndarray:
        """Return phi(x)."""
        x = np.asarray(x, dtype=float)
        rates = np.asarray(self.function(x), dtype=float)
        if rates.shape != x.shape or not np.all(np.isfinite(rates)):
            raise InputError(
                f"function must return finite rates of the shape of its argument, {x.shape}; "
                f"got shape {rates.shape}."
            )
        return rates

    def phi_slope(self, x: np.ndarray) -> np.ndarray:
        """Return phi'(x)."""
        x = np.asarray(x, dtype=float)
        if self.slope is not None:
            return np.asarray(self.slope(x), dtype=float)
        h = 1e-3
        near = self.phi(x + h) - self.phi(x - h)
        far = self.phi(x + 2 * h) - self.phi(x - 2 * h)
        return (8 * near - far) / (12 * h)

    @cached_property
    def _table(self) -> tuple[np.ndarray, float]:
        """The gain for the compiled loops, and its error."""
        if self.name == "linear":
            return np.empty(0), 0.0
        if self.name == "erf":
            return np.ones(1), 0.0
        return _tabulate(self.phi)

    @property
    def gain_table(self) -> np.ndarray:
        """The gain as the compiled loops take it: empty (linear), of one number (erf), a table."""
        return self._table[0]

    @property
    def gain_error(self) -> float:
        """Largest error of the tabulated gain, relative to its largest value."""
        return self._table[1]

    def __repr__(self) -> str:
        return f"Nonlinearity({self.name!r})"

    def __reduce__(self) -> tuple:
        if self.name in NONLINEARITIES:
            return _built_in, (self.name,)
        return Nonlinearity, (self.name, self.function, self.slope)


def _variance(w: np.ndarray, shift: float, offset: float, scale: float) -> np.ndarray:
    """Return Delta from w = 1 / (offset + sqrt(shift + scale Delta))."""
    return ((1 / w - offset) ** 2 - shift) / scale


def _gains(function: Callable[[np.ndarray], np.ndarray], delta: np.ndarray) -> np.ndarray:
    """Return g at variances above zero, by adaptive quadrature over the current x.

    g = 2 / sqrt(2 pi) integral of (x / r) (phi(x) / r) exp(-x^2 / 2 r^2) dx / r, r = sqrt(Delta).
    All variances share the nodes, so that a kink of phi is found once for all.
    """
    r = np.sqrt(delta)

    def integrand(x: float) -> np.ndarray:
        rate = float(function(np.array([x]))[0])
        return x * rate / r**3 * np.exp(-0.5 * (x / r) ** 2)

    reach = 12 * r.max()
    edges = np.concatenate([[0.0], reach * 2.0 ** -np.arange(24.0, -1.0, -1.0)])
    total, _ = integrate.quad_vec(
        integrand, 0.0, reach, epsabs=1e-12, epsrel=1e-12, points=edges[1:-1], norm="max"
    )
    return 2 / np.sqrt(2 * np.pi) * total


def _fit_ratio(y: np.ndarray, g: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Return P and R, Chebyshev series in 2 y - 1, with g^2 = y P / R as nearly as they can.

    The error of g itself, not that of g^2 R, is what is least: R of the round before is in the
    weights.
    """
    basis = chebyshev.chebvander(2 * y - 1, degree)
    low = np.ones_like(y)
    both = np.empty(2 * (degree + 1))
    for _ in range(_ROUNDS):
        # R may be zero at a node while it is not yet near
        below = g * low
        floor = 1e-12 * max(float(np.abs(below).max()), 1e-300)
        weight = (y / np.where(np.abs(below) < floor, floor, below))[:, np.newaxis]
        rows = np.hstack([weight * basis, -weight * (g**2 / y)[:, np.newaxis] * basis])
        size = np.linalg.norm(rows, axis=0)
        both = np.linalg.svd(rows / size, full_matrices=False)[2][-1] / size
        low = basis @ both[degree + 1 :]
    return both[: degree + 1], both[degree + 1 :]


def _in_variance(series: np.ndarray, degree: int, scale: float) -> np.ndarray:
    """Return (1 + scale Delta)^degree P as coefficients of powers of Delta, lowest first.

    P is a Chebyshev series in 2 y - 1, with y = 1 / (1 + scale Delta).
    """
    down, up = np.array([1.0, -scale]), np.array([1.0, scale])
    total = np.zeros(degree + 1)
    for k, c in enumerate(chebyshev.cheb2poly(series)):
        total += c * polynomial.polymul(
            polynomial.polypow(down, k), polynomial.polypow(up, degree - k)
        )
    return total


def _rational(g: np.ndarray, w: np.ndarray, scale: float, degree: int) -> np.ndarray:
    """Return a rational table of gains g at w = 1 / sqrt(1 + scale Delta), empty if there is none.

    Its coefficients must not be below zero: nothing cancels then, and A B is above zero at every
    variance.
    """
    top, low = _fit_ratio(w**2, g, degree)
    b = _in_variance(top / low.sum(), degree, scale)
    a = polynomial.polymul(_in_variance(low / low.sum(), degree, scale), [1.0, scale])
    if not (np.all(a >= 0) and np.all(b >= 0) and a[0] * b[0] > 0):
        return np.empty(0)
    common = 2.0 ** (_EXPONENT - np.round(np.log2(a[0] * b[0]) / 2))
    table = np.zeros(RATIONAL_SIZE)
    table[DEGREE + 1 - b.size : DEGREE + 1] = common * b[::-1]
    table[RATIONAL_SIZE - a.size :] = common * a[::-1]
    return table


def _tabulate(function: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, float]:
    """Return the best table of a gain, see `gain`, and its relative error.

    Each is fitted at the nodes of one variable, and judged at the variances between those of all.
    """
    k = np.arange(N_COEFFICIENTS)
    nodes = (np.cos(np.pi * (k + 0.5) / N_COEFFICIENTS) + 1) / 2
    between = np.linspace(nodes.min(), nodes.max(), 97)
    scales = 2.0 ** np.arange(-6, 6.5, 0.5)
    variables = [(1.0, 0.0, scale) for scale in scales]
    variables += [(1e-30, 1.0, scale) for scale in scales[::2]]
    w = np.concatenate([nodes, between])
    delta = np.array([_variance(w, *v) for v in variables])
    gains = _gains(function, delta.ravel()).reshape(delta.shape)
    judged, true = delta[:, N_COEFFICIENTS:].ravel(), gains[:, N_COEFFICIENTS:].ravel()
    largest = max(float(np.abs(gains).max()), 1e-300)
    slope = np.empty((1, judged.size))

    def error(table: np.ndarray) -> float:
        if table.size == 0:
            return np.inf
        made = judged.reshape(1, -1).copy()
        tabulated_gain(table, made, slope, 0, np.uintp(judged.size))
        return float(np.abs(made[0] - true).max()) / largest

    tables = []
    for v, g in zip(variables, gains[:, :N_COEFFICIENTS], strict=True):
        fit = chebyshev.chebfit(2 * nodes - 1, g, N_COEFFICIENTS - 1)
        tables.append(np.concatenate([v, chebyshev.cheb2poly(fit)[::-1]]))
    errors = [error(table) for table in tables]
    least = min(errors)
    best = tables[errors.index(least)]
    if gains.min() <= 0:  # not the root of a ratio
        return best, least
    for degree in range(DEGREE + 1):
        for scale, g in zip(scales, gains[:, :N_COEFFICIENTS], strict=False):
            table = _rational(g, nodes, scale, degree)
            wrong = error(table)
            if wrong <= max(least, _EXACT):
                best, least = table, wrong
        if least <= _EXACT and best.size == RATIONAL_SIZE:
            break  # of a higher degree A and B would have a factor in common, which can be any
    return best, least


_BUILT_IN: dict[str, tuple[Callable, Callable]] = {
    "linear": (lambda x: x, np.ones_like),
    "erf": (
        lambda x: special.erf(np.sqrt(np.pi) / 2 * x),
        lambda x: np.exp(-np.pi / 4 * x**2),
    ),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
}


@lru_cache
def _built_in(name: str) -> Nonlinearity:
    """Return a built-in nonlinearity."""
    return Nonlinearity(name, *_BUILT_IN[name])


def resolve(nonlinearity: str | Nonlinearity) -> Nonlinearity:
    """Return the nonlinearity of a name, or the one given.

    Parameters
    ----------
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.

    Returns
    -------
    Nonlinearity
        phi, its slope and its gain.

    Raises
    ------
    InputError
        If the name is unknown.

    Examples
    --------
    >>> resolve("tanh").gain_error < 1e-10
    True
    """
    if isinstance(nonlinearity, Nonlinearity):
        return nonlinearity
    return _built_in(nonlinearity_name(nonlinearity))


def network_phi(nonlinearity: str | Nonlinearity) -> tuple[int, np.ndarray]:
    """Return phi as the compiled loops of networks take it.

    Parameters
    ----------
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.

    Returns
    -------
    kind : int
        0 linear, 1 erf, 2 tanh, 3 tabulated.
    table : numpy.ndarray
        Empty unless tabulated; then the largest current x_max, and phi and phi' on a uniform grid
        from 0 to x_max.

    Examples
    --------
    >>> network_phi("tanh")[0]
    2
    """
    resolved = resolve(nonlinearity)
    if resolved.name in NONLINEARITIES:
        return NONLINEARITIES.index(resolved.name), np.empty(0)
    x = np.linspace(0.0, _REACH, _POINTS)
    return 3, np.concatenate([[_REACH], resolved.phi(x), resolved.phi_slope(x)])


def phi(x: np.ndarray | float, nonlinearity: str | Nonlinearity = "linear") -> np.ndarray:
    """Return phi(x): x itself, erf(sqrt(pi)/2 x), tanh(x), or one's own; slope 1 at 0 for these.

    Parameters
    ----------
    x : array_like
        Current.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.

    Returns
    -------
    numpy.ndarray
        Rates, of the shape of x.

    Raises
    ------
    InputError
        If the nonlinearity is unknown.

    Examples
    --------
    >>> float(phi(0.5, "linear"))
    0.5
    """
    chosen = resolve(nonlinearity)
    return (
        _BUILT_IN[chosen.name][0](as_float_array("x", x, finite=False))
        if (chosen.name in _BUILT_IN)
        else chosen.phi(as_float_array("x", x))
    )


def phi_slope(x: np.ndarray | float, nonlinearity: str | Nonlinearity = "linear") -> np.ndarray:
    """Return phi'(x); for erf, exp(-pi x^2 / 4). See `phi`."""
    return resolve(nonlinearity).phi_slope(as_float_array("x", x, finite=False))


def gain(delta: np.ndarray | float, nonlinearity: str | Nonlinearity = "linear") -> np.ndarray:
    """Return the mean slope of phi under a Gaussian current of variance Delta.

    Parameters
    ----------
    delta : array_like
        Variance of the current across neurons, zero or more.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.

    Returns
    -------
    numpy.ndarray
        g: 1 for linear; 1 / sqrt(1 + pi Delta / 2) for erf (Stein's lemma); else the table's.

    Raises
    ------
    InputError
        If the nonlinearity is unknown or a variance is negative.

    Examples
    --------
    >>> round(float(gain(2 / np.pi, "erf")), 6)
    0.707107
    >>> round(float(gain(1.0, "tanh")), 6)
    0.605706
    """
    return _gain_and_slope(delta, nonlinearity)[0]


def _gain_and_slope(
    delta: np.ndarray | float, nonlinearity: str | Nonlinearity
) -> tuple[np.ndarray, np.ndarray]:
    """Return g and dg/dDelta."""
    table = resolve(nonlinearity).gain_table
    delta = as_float_array("delta", delta)
    if np.any(delta < 0):
        raise InputError(f"delta must be zero or more; the smallest is {delta.min():g}.")
    if table.size == 0:
        return np.ones_like(delta), np.zeros_like(delta)
    if table.size == 1:
        g = 1 / np.sqrt(1 + np.pi / 2 * delta)
        return g, -np.pi / 4 * g**3
    g, twice = delta.reshape(1, -1).copy(), np.empty((1, delta.size))
    tabulated_gain(table, g, twice, 0, np.uintp(delta.size))
    return g.reshape(delta.shape), twice.reshape(delta.shape) / 2
