"""Distributions by name: what differs between animals, between sessions, or not at all."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy  # scipy.stats when it is first used: a fifth of what a worker loads

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, positive
from predictlearn.errors import InputError, nearest

__all__ = ["DISTRIBUTIONS", "Constant", "as_distribution", "draws_of", "median_of"]

DISTRIBUTIONS = {
    "constant": ("value",),
    "lognormal": ("median", "sd_log"),
    "normal": ("mean", "sd"),
    "uniform": ("low", "high"),
}
"""Distributions with the parameters by which they are described; scipy.stats has the others."""


class Constant:
    """A value that does not vary, with the methods of a frozen distribution that are used here.

    Parameters
    ----------
    value : float
        The value.

    Examples
    --------
    >>> Constant(2.0).rvs(size=2).tolist()
    [2.0, 2.0]
    """

    def __init__(self, value: float) -> None:
        self.value = value

    def rvs(self, size: Any = None, random_state: Any = None) -> Array:
        """Return the value, as many times as asked."""
        return np.full(() if size is None else size, self.value)

    def median(self) -> float:
        """Return the value."""
        return self.value


@functools.cache
def _scipy_names() -> tuple[str, ...]:
    """Return the names of the distributions of scipy.stats."""
    stats = scipy.stats
    kinds = (stats.rv_continuous, stats.rv_discrete)
    return tuple(name for name in dir(stats) if isinstance(getattr(stats, name), kinds))


def as_distribution(name: str, spec: Any) -> Any:
    """Return a frozen distribution of scipy.stats from a number, a mapping, or one.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    spec : float, mapping or frozen scipy distribution
        A number is the same for all. A mapping names a distribution: ``{"distribution":
        "lognormal", "median": 1e-3, "sd_log": 0.5}``, ``normal`` (mean, sd), ``uniform`` (low,
        high), ``constant`` (value), or any of scipy.stats by its name and parameters there, for
        example ``{"distribution": "beta", "a": 2, "b": 50}``.

    Returns
    -------
    frozen distribution
        With ``rvs`` and ``median``.

    Raises
    ------
    InputError
        If the name is unknown (the nearest is given), or the parameters are not its.

    Examples
    --------
    >>> rate = as_distribution("rate", {"distribution": "lognormal", "median": 2.0, "sd_log": 0.5})
    >>> round(float(rate.median()), 12), round(float(rate.ppf(0.84134474607)), 3)
    (2.0, 3.297)
    """
    if hasattr(spec, "rvs") and hasattr(spec, "median"):
        return spec
    if isinstance(spec, numbers.Real) and not isinstance(spec, bool | np.bool_):
        return Constant(float(as_float_array(name, spec, ndim=0)))
    if not isinstance(spec, Mapping):
        raise InputError(
            f"{name} must be a number, or name a distribution such as "
            "{'distribution': 'lognormal', 'median': 1.0, 'sd_log': 0.5}; "
            f"got {type(spec).__name__}."
        )
    given = dict(spec)
    kind = given.pop("distribution", None)
    if kind is None:
        raise InputError(f"{name} must have the key 'distribution'; got {', '.join(given)}.")
    if kind in DISTRIBUTIONS:
        return _described(name, str(kind), given)
    if kind not in _scipy_names():
        close = nearest(kind, (*DISTRIBUTIONS, *_scipy_names()))
        hint = f" Did you mean {close!r}?" if close else ""
        raise InputError(
            f"the distribution of {name} must be one of {', '.join(DISTRIBUTIONS)}, or one of "
            f"scipy.stats; got {kind!r}.{hint}"
        )
    stats = scipy.stats
    family = getattr(stats, kind)
    shapes = [] if family.shapes is None else family.shapes.replace(" ", "").split(",")
    allowed = [*shapes, "loc", *(["scale"] if isinstance(family, stats.rv_continuous) else [])]
    _only(name, kind, given, allowed, shapes)
    frozen = family(**given)
    if not np.isfinite(frozen.median()):
        raise InputError(f"{name}: scipy.stats.{kind} has no such parameters, {_listed(given)}.")
    return frozen


def _described(name: str, kind: str, given: dict[str, Any]) -> Any:
    """Return one of the distributions described by parameters of our own."""
    _only(name, kind, given, DISTRIBUTIONS[kind], DISTRIBUTIONS[kind])
    value = {key: float(as_float_array(f"{name}: {key}", x, ndim=0)) for key, x in given.items()}
    if kind == "constant":
        return Constant(value["value"])
    stats = scipy.stats
    if kind == "uniform":
        if value["high"] < value["low"]:
            raise InputError(f"{name}: high must be at least low; got {_listed(given)}.")
        return stats.uniform(value["low"], value["high"] - value["low"])
    spread = "sd_log" if kind == "lognormal" else "sd"
    if value[spread] < 0:
        raise InputError(f"{name}: {spread} must be zero or more; got {value[spread]:g}.")
    if kind == "normal":
        return stats.norm(value["mean"], value["sd"]) if value["sd"] else Constant(value["mean"])
    middle = positive(f"{name}: median", value["median"])
    return stats.lognorm(value["sd_log"], scale=middle) if value["sd_log"] else Constant(middle)


def draws_of(
    name: str,
    spec: Any,
    size: int | tuple[int, ...],
    rng: np.random.Generator,
    low: float = -np.inf,
    high: float = np.inf,
) -> Array:
    """Draw from a distribution, and raise if a draw is outside of what the argument may be.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    spec : float, mapping or frozen distribution
        As of `as_distribution`.
    size : int or tuple of int
        How many.
    rng : numpy.random.Generator
        Source of randomness.
    low, high : float
        What a draw must not be below, and must be below.

    Returns
    -------
    numpy.ndarray
        The draws.

    Raises
    ------
    InputError
        If a draw is not within low to high, with the first of them.

    Examples
    --------
    >>> import numpy as np
    >>> draws_of("lapse", 0.02, 3, np.random.default_rng(0)).tolist()
    [0.02, 0.02, 0.02]
    """
    drawn = np.asarray(as_distribution(name, spec).rvs(size=size, random_state=rng), dtype=float)
    bad = ~((drawn >= low) & (drawn < high))
    if np.any(bad):
        where = f"at least {low:g}" + (f" and below {high:g}" if np.isfinite(high) else "")
        raise InputError(
            f"{name} must be {where}; {np.count_nonzero(bad)} of {bad.size} draws of its "
            f"distribution are not, the first is {drawn[bad].flat[0]:g}. A lognormal has no "
            "negative draws, and scipy.stats.truncnorm has limits."
        )
    return drawn


def median_of(name: str, spec: Any) -> float:
    """Return the median of a distribution, as of `as_distribution`."""
    return float(as_distribution(name, spec).median())


def _only(name: str, kind: str, given: Mapping[str, Any], allowed: Any, needed: Any) -> None:
    """Raise unless the parameters are those of the distribution."""
    for key in given:
        if key not in allowed:
            close = nearest(key, allowed)
            hint = f" Did you mean {close!r}?" if close else ""
            raise InputError(
                f"{name}: {kind} has the parameters {', '.join(allowed)}; got {key!r}.{hint}"
            )
    missing = [key for key in needed if key not in given]
    if missing:
        raise InputError(f"{name}: {kind} needs {', '.join(missing)} as well.")


def _listed(given: Mapping[str, Any]) -> str:
    """Return parameters in words."""
    return ", ".join(f"{key} = {value!r}" for key, value in given.items())
