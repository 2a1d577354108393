"""The nonlinearity phi and its gain g(Delta) = E[phi'(sqrt(Delta) xi)], xi standard normal."""

from __future__ import annotations

import numpy as np
from scipy import special

from predictlearn.checks import as_float_array
from predictlearn.errors import InputError, choice
from predictlearn.theory.names import NONLINEARITIES

__all__ = ["NONLINEARITIES", "gain", "gain_slope", "phi", "phi_slope"]


def phi(x: np.ndarray | float, nonlinearity: str = "linear") -> np.ndarray:
    """Return phi(x): x itself, or erf(sqrt(pi)/2 x), whose slope at 0 is 1.

    Parameters
    ----------
    x : array_like
        Current.
    nonlinearity : {"linear", "erf"}
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
    choice("nonlinearity", nonlinearity, NONLINEARITIES)
    x = as_float_array("x", x, finite=False)
    return x if nonlinearity == "linear" else special.erf(np.sqrt(np.pi) / 2 * x)


def phi_slope(x: np.ndarray | float, nonlinearity: str = "linear") -> np.ndarray:
    """Return phi'(x); for erf, exp(-pi x^2 / 4). See `phi`."""
    choice("nonlinearity", nonlinearity, NONLINEARITIES)
    x = as_float_array("x", x, finite=False)
    return np.ones_like(x) if nonlinearity == "linear" else np.exp(-np.pi / 4 * x**2)


def gain(delta: np.ndarray | float, nonlinearity: str = "linear") -> np.ndarray:
    """Return the mean slope of phi under a Gaussian current of variance Delta.

    Parameters
    ----------
    delta : array_like
        Variance of the current across neurons, zero or more.
    nonlinearity : {"linear", "erf"}
        Which phi.

    Returns
    -------
    numpy.ndarray
        g: 1 for linear; 1 / sqrt(1 + pi Delta / 2) for erf (Stein's lemma).

    Raises
    ------
    InputError
        If the nonlinearity is unknown or a variance is negative.

    Examples
    --------
    >>> round(float(gain(2 / np.pi, "erf")), 6)
    0.707107
    """
    choice("nonlinearity", nonlinearity, NONLINEARITIES)
    delta = as_float_array("delta", delta)
    if np.any(delta < 0):
        raise InputError(f"delta must be zero or more; the smallest is {delta.min():g}.")
    return np.ones_like(delta) if nonlinearity == "linear" else 1 / np.sqrt(1 + np.pi / 2 * delta)


def gain_slope(delta: np.ndarray | float, nonlinearity: str = "linear") -> np.ndarray:
    """Return dg/dDelta; for erf, -(pi/4) g^3. See `gain`."""
    g = gain(delta, nonlinearity)
    return np.zeros_like(g) if nonlinearity == "linear" else -np.pi / 4 * g**3
