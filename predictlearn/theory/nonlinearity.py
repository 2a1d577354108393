"""The nonlinearity phi and its gain g(Delta) = E[phi'(sqrt(Delta) xi)], xi standard normal.

The gain is all that the overlap equations need of phi. By Stein's lemma it is also
``E[xi phi(sqrt(Delta) xi)] / sqrt(Delta)``, which needs no slope and is integrated here once, by
adaptive quadrature, to a polynomial in ``w = 1 / (offset + sqrt(shift + scale Delta))``. In this
variable the gain of a saturating phi is smooth from Delta = 0 (w = 1) to infinity (w = 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.polynomial import chebyshev
from scipy import integrate, special

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError
from predictlearn.theory.gain_kernels import N_COEFFICIENTS, tabulated_gain
from predictlearn.theory.names import NONLINEARITIES, nonlinearity_name

__all__ = [
    "NONLINEARITIES",
    "Nonlinearity",
    "gain",
    "gain_slope",
    "network_phi",
    "phi",
    "phi_slope",
    "resolve",
]

# The largest error of a tabulated gain, relative to its largest value, that is accepted.
_TOLERANCE = 1e-6
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
    its nodes: 2e-11 for tanh, below 1e-7 for phi with a kink.

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


def _tabulate(function: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, float]:
    """Return the best table of a gain, as `tabulated_gain` reads it, and its relative error."""
    k = np.arange(N_COEFFICIENTS)
    nodes = (np.cos(np.pi * (k + 0.5) / N_COEFFICIENTS) + 1) / 2
    between = np.linspace(nodes.min(), nodes.max(), 97)
    w = np.concatenate([nodes, between])
    variables = [
        (shift, offset, scale)
        for shift, offset in ((1.0, 0.0), (1e-30, 1.0))
        for scale in 2.0 ** np.arange(-6, 7)
    ]
    gains = _gains(function, np.concatenate([_variance(w, *v) for v in variables]))
    best, least = np.empty(0), np.inf
    for v, g in zip(variables, gains.reshape(len(variables), -1), strict=True):
        fit = chebyshev.chebfit(2 * nodes - 1, g[:N_COEFFICIENTS], N_COEFFICIENTS - 1)
        power = chebyshev.cheb2poly(fit)[::-1]
        wrong = np.abs(np.polyval(power, 2 * between - 1) - g[N_COEFFICIENTS:]).max()
        error = float(wrong / max(np.abs(g).max(), 1e-300))
        if error < least:
            best, least = np.concatenate([v, power]), error
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


def gain_slope(
    delta: np.ndarray | float, nonlinearity: str | Nonlinearity = "linear"
) -> np.ndarray:
    """Return dg/dDelta; for erf, -(pi/4) g^3. See `gain`."""
    return _gain_and_slope(delta, nonlinearity)[1]


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
