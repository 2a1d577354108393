"""Activity, inputs and condition labels of the network with process noise, checked."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.checks import (
    MOST_FOLDS,
    MOST_REPLICATES,
    as_float_array,
    non_negative,
    positive,
    positive_int,
)
from predictlearn.errors import InputError, SilentNeuronsWarning, choice
from predictlearn.fitting.diagnostics.copies import copied_units, told
from predictlearn.fitting.session.unequal_trials import padded
from predictlearn.recordings.validation import check_activity, check_leading_axes, extent

__all__ = [
    "Labels",
    "check_settings",
    "enough_data",
    "in_order",
    "neurons_to_predict",
    "read_activity",
    "read_inputs",
    "read_outside",
    "usable_units",
]


def in_order(outputs: Any, readout: Any) -> tuple[Any, Any]:
    """Return outputs and readout, also where they were given in the order of before."""
    first = not isinstance(outputs, list | tuple) and np.ndim(outputs) == 2
    if first and (readout is None or np.ndim(readout) != 2):
        warnings.warn(
            "fit takes outputs before readout, as LowRankRNN.fit does; an array (neurons, n_out) "
            "in the place of outputs is taken as readout in this version only. Say readout=...",
            DeprecationWarning,
            stacklevel=3,
        )
        return readout, outputs
    return outputs, readout


@dataclass(frozen=True, eq=False)
class Labels:
    """Conditions of trials.

    Parameters
    ----------
    known : ndarray or None
        The distinct labels, sorted; None where none were given.
    index : ndarray of int, shape (trials,)
        Condition of each trial.
    """

    known: npt.NDArray[Any] | None
    index: npt.NDArray[np.int64]

    @classmethod
    def of(cls, conditions: Any, trials: int) -> Labels:
        """Read labels, one a trial, or None."""
        if conditions is None:
            return cls(None, np.zeros(trials, dtype=np.int64))
        labels = np.asarray(conditions)
        if labels.shape != (trials,):
            raise InputError(
                f"conditions must have one label a trial ({trials}); got {labels.shape}"
            )
        if labels.dtype.kind == "f" and not np.isfinite(labels).all():
            raise InputError("conditions must not hold NaN; give such trials a label or drop them")
        known, index = np.unique(labels, return_inverse=True)
        return cls(known, index.astype(np.int64))

    @property
    def count(self) -> int:
        """Number of conditions."""
        return 1 if self.known is None else len(self.known)

    @property
    def names(self) -> list[str]:
        """Labels for tables."""
        return ["all"] if self.known is None else [str(label) for label in self.known]

    def enough_trials(self) -> None:
        """Refuse conditions of one trial each, whose inputs would explain them altogether."""
        if np.bincount(self.index).max() < 2:
            raise InputError(
                "inputs='estimate' needs conditions of two trials or more: what repeats is input, "
                f"what does not is noise; got {len(self.index)} trials of {self.count} conditions"
            )

    def again(self, conditions: Any, trials: int) -> Labels:
        """Read labels of new trials, which must be among these."""
        new = Labels.of(conditions, trials)
        if self.known is None:
            if conditions is not None:
                raise InputError("conditions were not given to fit; leave them out")
            return new
        if new.known is None:
            raise InputError("conditions were given to fit; give those of these trials")
        strange = [label for label in new.known.tolist() if label not in self.known.tolist()]
        if strange:
            raise InputError(
                f"conditions {strange[:5]} were not in fit, which had {self.known.tolist()[:10]}"
            )
        index = np.searchsorted(self.known, new.known)[new.index]
        return Labels(self.known, index.astype(np.int64))


def read_activity(activity: Any) -> Array:
    """Return activity (trials, time, neurons), NaN where missing; short trials of a list padded."""
    y = as_float_array("activity", padded("activity", activity), ndim=3, finite=False)
    if np.isnan(y).all(axis=(1, 2)).any():
        raise InputError("activity: some trials have no value at all; drop them")
    return y


def read_inputs(
    inputs: Any, y: Array, lengths: npt.NDArray[np.int64], n_in: int | None = None
) -> Array:
    """Return known inputs (trials, time, n_in), zero after the end of a trial.

    Parameters
    ----------
    inputs : array_like or None
        None for no inputs.
    y : ndarray, shape (trials, time, neurons)
        Activity.
    lengths : ndarray of int, shape (trials,)
        Bins of the trials.
    n_in : int, optional
        The number of inputs that there must be.

    Returns
    -------
    ndarray
        Inputs; without any, of shape (trials, time, 0).
    """
    if inputs is None:
        x = np.zeros((*y.shape[:2], 0))
    else:
        x = as_float_array("inputs", inputs, ndim=3, finite=False)
        check_leading_axes("inputs", x, y, "n_in")
    if n_in is not None and x.shape[2] != n_in:
        raise InputError(f"inputs must be the {n_in} of fit; got {x.shape[2]}")
    used = np.arange(y.shape[1]) < lengths[:, None]
    if not np.isfinite(x[used]).all():
        raise InputError("inputs must be finite up to the last bin of each trial with activity")
    if n_in is None and x.shape[2]:
        _told_apart(x[used])
    return np.where(used[:, :, None], x, 0.0)


def _told_apart(x: Array) -> None:
    """Refuse inputs (bins, n_in) that say nothing, or the same as others do."""
    size = np.sqrt(np.mean(x**2, axis=0))
    silent = np.flatnonzero(size == 0)
    if silent.size:
        raise InputError(f"inputs: columns {silent.tolist()} are zero throughout; drop them")
    values, vectors = np.linalg.eigh((x / size).T @ (x / size) / len(x))
    if values[0] < 1e-12:
        same = np.flatnonzero(np.abs(vectors[:, 0]) > 1e-3)
        raise InputError(
            f"inputs: columns {same.tolist()} are sums or multiples of each other, so that nobody "
            "can tell what each of them drives; drop one of them"
        )


def neurons_to_predict(held_out: Any, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Check which neurons to predict from the others; return their places among those kept."""
    n = len(kept)
    if held_out is None:
        raise InputError("metric='co-smoothing' needs held_out, indices of neurons")
    given = np.asarray(held_out)
    if given.dtype.kind not in "iu" or not np.isin(given, np.arange(n)).all() or not given.size:
        raise InputError(f"held_out must be indices below {n}; got {held_out!r}")
    aside = [int(i) for i in np.unique(given) if not kept[i]]
    if aside:
        raise InputError(
            f"held_out must be neurons of the fit; {aside[:10]} were set aside (silent_, copies_)"
        )
    out = (np.cumsum(kept) - 1)[np.unique(given)].astype(np.int64)
    if len(out) == kept.sum():
        raise InputError("held_out must leave some neurons to predict from")
    return out


def usable_units(
    y: Array, offset: bool, rank: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Tell which neurons to set aside, and warn of them.

    Parameters
    ----------
    y : ndarray, shape (trials, time, neurons)
        Activity, NaN where missing.
    offset : bool
        Whether every neuron has an offset: copies are then sought in activity less its mean.
    rank : int
        Of the network to be fitted.

    Returns
    -------
    tuple of ndarray of bool, shape (neurons,)
        Those that never change, and those that other units give exactly.

    Raises
    ------
    InputError
        Activity that no network can be fitted to.
    """
    known = extent(y)
    silent = np.asarray((known.low == known.high) & (known.seen > 0))
    if silent.all():
        silent[:] = False  # refused below, as a whole
    check_activity(y[:, :, ~silent], known.of(~silent))
    if silent.any():
        warnings.warn(
            f"{int(silent.sum())} of {len(silent)} neurons never change and were set aside "
            f"(silent_; {np.flatnonzero(silent).tolist()[:10]}). Overlaps are those of the others, "
            "which are no random sample of all",
            SilentNeuronsWarning,
            stacklevel=3,
        )
    ids = np.flatnonzero(~silent)
    found = copied_units(y[:, :, ids], offset, rank + 1)
    copies = np.zeros(len(silent), dtype=bool)
    copies[ids[[copy.unit for copy in found]]] = True
    if found:
        named = [replace(c, unit=int(ids[c.unit]), of=tuple(ids[list(c.of)])) for c in found]
        warnings.warn(
            f"{told(named)}: set aside (copies_), since of a unit that others give exactly the "
            "noise has no variance and the likelihood no maximum. Overlaps are those of the others",
            SilentNeuronsWarning,
            stacklevel=3,
        )
    return silent, copies


def enough_data(
    y: Array, lengths: npt.NDArray[np.int64], rank: int, n_in: int, estimated: bool, offset: bool
) -> None:
    """Refuse a rank that the neurons, the bins or the trials cannot hold."""
    extra = n_in if estimated else 0
    if rank + extra >= y.shape[2]:
        raise InputError(
            f"rank and estimated inputs must be fewer than the neurons ({y.shape[2]}); got "
            f"rank {rank}, n_in {extra}"
        )
    needed = rank + n_in + int(offset)
    fewest = int((~np.isnan(y)).sum(axis=(0, 1)).min())
    if fewest <= needed:
        raise InputError(
            f"activity: some neuron has {fewest} bins, and {needed} coefficients each need more; "
            "record longer, lower the rank, or drop neurons"
        )
    steps = int(np.maximum(lengths - 1, 0).sum())
    if steps <= rank + n_in:
        raise InputError(
            f"activity: {steps} pairs of successive bins are too few for the dynamics of rank "
            f"{rank} with {n_in} inputs, which need more than {rank + n_in}"
        )


def check_settings(model: Any, known: bool) -> None:
    """Check the settings of a model; ``known`` tells whether its inputs are."""
    positive_int("rank", model.rank)
    choice("neurons", model.neurons, ("sample", "all"))
    positive("dt", model.dt)
    if isinstance(model.tau, str):
        choice("tau", model.tau, ("fit",))
        if not known:
            raise InputError(
                "tau must be a number of seconds unless inputs are known; got 'fit'. Any k_m "
                "is that of some input, and k_u shows only (1-a) + a vu"
            )
    elif positive("tau", model.tau) <= model.dt / 2:
        raise InputError(f"tau must exceed half a bin; got tau {model.tau}, dt {model.dt}")
    positive("tol", model.tol)
    non_negative("smoothness", model.smoothness)
    for name in ("max_iter", "bootstrap_iter", "n_starts"):
        positive_int(name, getattr(model, name), maximum=10_000_000)
    positive_int("n_bootstrap", model.n_bootstrap, minimum=0, maximum=MOST_REPLICATES)
    if positive_int("cv", model.cv, minimum=0, maximum=MOST_FOLDS) == 1:
        raise InputError("cv must be 0 (no held-out trials) or at least 2 folds; got 1")


def read_outside(
    y: Array, readout: Any, outputs: Any, kept: npt.NDArray[np.bool_]
) -> tuple[Array | None, Array | None]:
    """Check readout (returned for the neurons kept) and outputs."""
    z = values = None
    if readout is not None:
        z = as_float_array("readout", readout, shape=(y.shape[2], None))[kept]
    if outputs is not None:
        values = as_float_array("outputs", outputs, ndim=3, finite=False)
        check_leading_axes("outputs", values, y, "n_out")
        if not np.isfinite(values).any():
            raise InputError("outputs have no value at all; leave them out")
    return z, values
