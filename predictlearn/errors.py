"""Errors and warnings that predictlearn raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ConvergenceWarning",
    "DivergenceError",
    "InputError",
    "MisfitWarning",
    "OffsetWarning",
    "SilentNeuronsWarning",
    "UndeterminedWarning",
    "choice",
    "nearest",
]


class InputError(ValueError):
    """Input that cannot be used: the message says which, what was expected and what came.

    Examples
    --------
    >>> import predictlearn as pl
    >>> pl.GradientDescent(rate=-1.0)
    Traceback (most recent call last):
    ...
    predictlearn.errors.InputError: rate must be a positive number; got -1.0.
    """


class DivergenceError(RuntimeError):
    """Learning left the region in which numbers are finite.

    Parameters
    ----------
    message : str
        What happened and what to try.
    epoch : int
        The first epoch at which the loss or an overlap was not finite.
    """

    def __init__(self, message: str, epoch: int) -> None:
        super().__init__(message, epoch)
        self.message = message
        self.epoch = epoch

    def __str__(self) -> str:
        return self.message


class ConvergenceWarning(UserWarning):
    """A fit stopped before it converged; the message says what to try."""


class OffsetWarning(UserWarning):
    """Activity has offsets that a fit leaves out; the message says of how many neurons."""


class SilentNeuronsWarning(UserWarning):
    """Neurons that never change, or hardly spike, were set aside; the message says which."""


class MisfitWarning(UserWarning):
    """What a fit was given, or supposes, disagrees with the recording; the message says what."""


class UndeterminedWarning(UserWarning):
    """The recording leaves something open; the message says what, and what would decide it."""


def nearest(value: object, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that is spelled most like `value`, or None if none is close."""
    match = difflib.get_close_matches(str(value), list(allowed), n=1, cutoff=0.5)
    return match[0] if match else None


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of the allowed names, else raise.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : object
        What the caller passed.
    allowed : iterable of str
        The valid names.

    Returns
    -------
    str
        The value, unchanged.

    Raises
    ------
    InputError
        If the value is not allowed; the message lists the choices and the nearest one.

    Examples
    --------
    >>> choice("nonlinearity", "erf", ["linear", "erf"])
    'erf'
    """
    options = list(allowed)
    if isinstance(value, str) and value in options:
        return value
    close = nearest(value, options)
    hint = f" Did you mean {close!r}?" if close else ""
    raise InputError(f"{name} must be one of {', '.join(map(repr, options))}; got {value!r}.{hint}")
