"""Checks of input at the door; everything behind it may rely on what they return."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

import numpy as np

from predictlearn.doors import LARGEST
from predictlearn.errors import InputError

__all__ = [
    "MOST_FOLDS",
    "MOST_REPLICATES",
    "as_float_array",
    "names_of",
    "non_negative",
    "one_number",
    "positive",
    "positive_int",
    "seed_sequence",
]


# of a cross-validation, and of a bootstrap: more would not end, and say nothing more
MOST_FOLDS, MOST_REPLICATES = 1000, 100_000


def as_float_array(
    name: str,
    value: object,
    ndim: int | None = None,
    shape: Sequence[int | None] | None = None,
    *,
    finite: bool = True,
    axes: str | None = None,
) -> np.ndarray:
    """Return `value` as a float64 array of the stated shape, or raise.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : array_like
        What the caller passed.
    ndim : int, optional
        Required number of axes.
    shape : sequence of int or None, optional
        Required lengths; None leaves an axis free.
    finite : bool, default True
        Refuse NaN, infinity, and numbers whose squares cannot be computed.
    axes : str, optional
        Names of the axes for the message, for example ``"(trials, time, neurons)"``.

    Returns
    -------
    numpy.ndarray
        A float64 array.

    Raises
    ------
    InputError
        If the value is not numeric, has another shape, or is not finite.
    """
    label = f" {axes}" if axes else ""
    try:
        raw = np.asarray(value)
        if raw.dtype.kind not in "biuf" and raw.size:
            raise TypeError(raw.dtype.name)
        array = np.asarray(raw, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a numeric array{label}; got {_kind(value)}.") from error
    if ndim is not None and array.ndim != ndim:
        raise InputError(
            f"{name} must have {ndim} axes{label}; got {array.ndim}, of shape {array.shape}."
        )
    if shape is not None:
        agrees = array.ndim == len(shape) and all(
            want is None or want == got for want, got in zip(shape, array.shape, strict=True)
        )
        if not agrees:
            wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ")"
            raise InputError(f"{name} must have shape {wanted}{label}; got {array.shape}.")
    if not finite or not array.size:
        return array
    # one pass, which NaN does not pass
    low, high = float(array.min()), float(array.max())
    if low >= -LARGEST and high <= LARGEST:
        return array
    if not np.all(np.isfinite(array)):
        bad = int(np.size(array) - np.count_nonzero(np.isfinite(array)))
        raise InputError(
            f"{name} must be finite; {bad} of {array.size} values are NaN or infinite."
        )
    raise InputError(
        f"{name} must be at most {LARGEST:g} in size; got {max(-low, high):g}, of which no square "
        "can be computed."
    )


def _kind(value: object) -> str:
    """Return what a value is, with its dtype if it is an array."""
    dtype = getattr(value, "dtype", None)
    return type(value).__name__ if dtype is None else f"{type(value).__name__} of {dtype}"


def _number(name: str, value: object, expected: str) -> float:
    """Return a finite real number or raise."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise InputError(f"{name} must be {expected}; got {_shown(value)}.")
    try:
        number = float(value)
    except OverflowError:  # a whole number that is too long
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name} must be {expected}; got {_shown(value)}.")
    if abs(number) > LARGEST:
        raise InputError(f"{name} must be at most {LARGEST:g} in size; got {number:g}.")
    return number


def _shown(value: object) -> str:
    """Return a value in few words."""
    try:
        words = repr(value)
    except ValueError:  # a whole number of thousands of digits
        words = f"a {type(value).__name__}"
    return words if len(words) < 100 else words[:96] + " ..."


def names_of(name: str, value: object) -> list[str]:
    """Return one or several names as a list, or raise InputError."""
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list | tuple) or not several:
        raise InputError(f"{name} must be a name, or a list of names; got {value!r}.")
    for one in several:
        if not isinstance(one, str):
            raise InputError(f"{name} must be a name, or a list of names; got {value!r}.")
    return list(several)


def one_number(name: str, value: object, what: str = "one number") -> float:
    """Return the one finite number of an array as float, or raise InputError."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise InputError(f"{name} must be {what}; got {array.dtype} of shape {array.shape}.")
    return _number(name, float(array.ravel()[0]), what)


def positive(name: str, value: object) -> float:
    """Return a positive finite number as float, or raise InputError."""
    number = _number(name, value, "a positive number")
    if number <= 0:
        raise InputError(f"{name} must be a positive number; got {value!r}.")
    return number


def non_negative(name: str, value: object) -> float:
    """Return a finite number that is zero or more as float, or raise InputError."""
    number = _number(name, value, "zero or a positive number")
    if number < 0:
        raise InputError(f"{name} must be zero or a positive number; got {value!r}.")
    return number


def positive_int(name: str, value: object, minimum: int = 1, maximum: int | None = None) -> int:
    """Return a whole number of at least `minimum`, at most `maximum`, or raise InputError."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise InputError(
            f"{name} must be a whole number of at least {minimum}; got {_shown(value)}."
        )
    if int(value) < minimum:
        raise InputError(f"{name} must be a whole number of at least {minimum}; got {value!r}.")
    if maximum is not None and int(value) > maximum:
        raise InputError(
            f"{name} must be a whole number from {minimum} to {maximum}; got {_shown(value)}."
        )
    return int(value)


def seed_sequence(seed: int | np.random.SeedSequence) -> np.random.SeedSequence:
    """Return the seed as a SeedSequence, or raise InputError if it is not a whole number."""
    if isinstance(seed, np.random.SeedSequence):
        return seed
    return np.random.SeedSequence(positive_int("seed", seed, minimum=0))
