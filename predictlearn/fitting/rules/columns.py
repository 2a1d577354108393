"""What sessions show of any linear network, whatever learns: its function, and its activity.

Activity after an input x is ``h_t = sum over k of W^k M phi_k,t``, with phi_k the input filtered
k + 1 times by the time constant. A recording therefore shows, by regression on phi, how its output
responds, ``z' W^k m / N``, and by how much its neurons do, ``(W^j m)' (W^k m) / N``. Both have a
meaning for every W, of any rank, and no gauge and no basis of neurons enters: unlike overlaps,
which W no longer has once its synapses have learned. Of a network of rank one they are zm, zu vm,
zu vu vm, and mm, mu vm, uu vm vm.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import positive, positive_int
from predictlearn.errors import InputError
from predictlearn.recordings.recording import Recording
from predictlearn.theory.learning.phases import LOSS

__all__ = ["column_names", "columns_of", "measured_rule_columns"]

# Powers of W that a table may hold, and those that one does if not asked otherwise.
_MOST_POWERS, _POWERS = 6, 3


def _labels(letter: str, n: int) -> list[str]:
    """Return the letter, with an index where there are several."""
    return [f"{letter}{k + 1}" if n > 1 else letter for k in range(n)]


def column_names(n_in: int, n_out: int, powers: int = _POWERS) -> tuple[str, ...]:
    """Return the names of what a session shows, the function first.

    ``zwwm`` is z' W W m; ``wm.wwm`` the product of the vectors W m and W W m over neurons.

    Examples
    --------
    >>> column_names(1, 1, 2)
    ('zm', 'zwm', 'm.m', 'm.wm', 'wm.wm')
    """
    vectors = ["w" * k + m for k in range(powers) for m in _labels("m", n_in)]
    function = [z + v for z in _labels("z", n_out) for v in vectors]
    pairs = [f"{v}.{w}" for i, v in enumerate(vectors) for w in vectors[i:]]
    return (*function, *pairs)


def columns_of(m: Array, w: Array, z: Array, columns: Sequence[str]) -> Array:
    """Return columns, (..., columns), of networks in their spans; NaN for the loss.

    Parameters
    ----------
    m, w, z : numpy.ndarray, (..., D, n_in), (..., D, D), (..., D, n_out)
        The networks.
    columns : sequence of str
        Names, see `column_names`.

    Examples
    --------
    >>> m, w, z = np.array([[1.0], [0.0]]), np.array([[0.5, 0.0], [0.1, 0.0]]), np.eye(2)[:, :1]
    >>> columns_of(m, w, z, ["zm", "zwm", "wm.wm"]).round(2).tolist()
    [1.0, 0.5, 0.26]
    """
    powers, upper, kept, taken = _places(m.shape[-1], z.shape[-1], tuple(columns))
    vectors = [m]
    for _ in range(powers - 1):
        vectors.append(w @ vectors[-1])
    stacked = np.concatenate(vectors, axis=-1)
    turned = np.swapaxes(stacked, -1, -2)
    function = np.swapaxes(z, -1, -2) @ stacked
    products = turned @ stacked
    values = np.concatenate(
        [function.reshape(*m.shape[:-2], -1), products[..., upper[0], upper[1]]], axis=-1
    )
    out = np.full((*m.shape[:-2], len(columns)), np.nan)
    out[..., kept] = values[..., taken]
    return out


@lru_cache(maxsize=64)
def _places(
    n_in: int, n_out: int, columns: tuple[str, ...]
) -> tuple[int, tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]], list[int], list[int]]:
    """Return how many powers columns need, their pairs, and which column is which value."""
    powers = 1 + max((part.count("w") for c in columns for part in c.split(".")), default=0)
    where = {name: k for k, name in enumerate(column_names(n_in, n_out, powers))}
    kept = [c for c, name in enumerate(columns) if name != LOSS]
    rows, others = (places.astype(np.intp) for places in np.triu_indices(powers * n_in))
    return powers, (rows, others), kept, [where[columns[c]] for c in kept]


def check_columns(columns: Sequence[str], n_in: int, rank: int | None, n_out: int) -> int:
    """Return the rank, or raise InputError for a column that no session has."""
    known = {*column_names(n_in, n_out, _MOST_POWERS), LOSS}
    unknown = [c for c in columns if c not in known]
    if unknown:
        raise InputError(
            f"sessions has columns that are not seen whatever learns: {', '.join(unknown)}; "
            f"these are {', '.join(column_names(n_in, n_out))}, and so on with further w, and "
            f"{LOSS}. Recordings give them: pl.measured_rule_columns(...)."
        )
    return 1 if rank is None else positive_int("rank", rank)


def measured_rule_columns(
    recordings: Sequence[Recording],
    *,
    tau: float = 1.0,
    powers: int = 3,
    terms: int = 5,
    pole: float = 0.4,
) -> tuple[pd.DataFrame, list[npt.NDArray[np.float64]]]:
    """Measure what sessions show of any linear network, whatever learns.

    Parameters
    ----------
    recordings : sequence of Recording
        One a session, with inputs and outputs: currents, or rates of linear units, with noise that
        is independent over neurons and bins; bins are steps of Euler's method.
    tau : float, default 1.0
        Time constant, seconds.
    powers : int, default 3
        How many powers of W, from none on, go into the table.
    terms : int, default 5
        Filters of the input in the regression, at least `powers`. Few leave out what the network
        does later than they reach; many make errors large.
    pole : float, default 0.4
        Where on the real axis the eigenvalues of W are thought to lie about: the filters then
        need few terms.

    Returns
    -------
    table : DataFrame
        One row a session, columns as of `column_names`.
    errors : list of ndarray
        Covariance matrix of every session's row: of the regression, with noise as large as what
        the regression leaves of neurons and of outputs.

    Raises
    ------
    InputError
        If a recording has no inputs or outputs, counts, missing bins, or too few bins.

    Notes
    -----
    With c_i the coefficients of neuron i, of covariance s^2 C, the sum over neurons of c_i c_i' / N
    lies s^2 C too high: this is taken away, and the rest has covariance
    s^2 / N (C_jl g_km + C_jm g_kl + C_kl g_jm + C_km g_jl) + s^4 / N (C_jl C_km + C_jm C_kl).
    The neurons recorded are taken for the network: a sample of n of more neurons has, besides, its
    own sums of products over neurons, by about sqrt(2 / n), and its errors must be given larger.

    Examples
    --------
    >>> import predictlearn as pl
    >>> recordings, _ = pl.simulate_learning(
    ...     pl.Overlaps(np.eye(4)).replace(zm=0.3), pl.Filter(), 10, pl.GradientDescent(5e-3),
    ...     n_sessions=2, n_neurons=50, recorded=50, learns="synapses")
    >>> table, errors = measured_rule_columns(recordings, powers=2)
    >>> table.shape, errors[0].shape, bool(abs(table["zm"][0] - 0.3) < 4 * errors[0][0, 0] ** 0.5)
    ((2, 5), (5, 5), True)
    """
    powers = positive_int("powers", powers)
    if powers > _MOST_POWERS:
        raise InputError(f"powers must be at most {_MOST_POWERS}; got {powers}.")
    terms = positive_int("terms", terms, minimum=powers)
    positive("tau", tau)
    rows, errors = [], []
    names: tuple[str, ...] = ()
    for k, recording in enumerate(recordings):
        _check(recording, k)
        values, covariance = _measured_session(recording, tau, powers, terms, float(pole))
        rows.append(values)
        errors.append(covariance)
        found = column_names(recording.n_in, recording.n_out, powers)
        if names and found != names:
            raise InputError(
                f"recordings[{k}] must have the numbers of inputs and outputs of those before it."
            )
        names = found
    return pd.DataFrame(rows, columns=list(names)), errors


def _check(recording: Any, k: int) -> None:
    """Raise unless a recording can be regressed on its inputs."""
    label = f"recordings[{k}]"
    if not isinstance(recording, Recording):
        raise InputError(f"{label} must be a Recording; got {type(recording).__name__}.")
    if recording.inputs is None or recording.outputs is None or recording.inputs.shape[2] == 0:
        raise InputError(f"{label} must have inputs and outputs.")
    if recording.observed == "counts":
        raise InputError(f"{label} holds counts; currents or rates are needed here.")
    if not (np.all(np.isfinite(recording.activity)) and np.all(np.isfinite(recording.outputs))):
        raise InputError(f"{label} has missing bins; leave out those trials or neurons.")


def _filtered(inputs: Array, a: float, terms: int, pole: float) -> Array:
    """Return inputs filtered once and more, (bins of all trials, terms * n_in), terms slowest."""
    n_trials, n_steps, n_in = inputs.shape
    out = np.empty((n_trials, n_steps, terms, n_in))
    now = np.zeros((n_trials, terms, n_in))
    keep = 1 - a + a * pole
    for t in range(n_steps):
        new = keep * now
        new[:, 0] += a * inputs[:, t]
        new[:, 1:] += a * now[:, :-1]
        out[:, t] = now = new
    return out.reshape(n_trials * n_steps, terms * n_in)


def _measured_session(
    recording: Recording, tau: float, powers: int, terms: int, pole: float
) -> tuple[Array, Array]:
    """Return a session's columns and their covariance."""
    inputs, outputs = np.asarray(recording.inputs), np.asarray(recording.outputs)
    n_in, n_out, n_neurons = inputs.shape[2], outputs.shape[2], recording.activity.shape[2]
    a = recording.dt / tau
    if not a <= 1:
        raise InputError(
            f"tau must be at least the bin width dt = {recording.dt:g} s; got {tau:g}."
        )
    phi = _filtered(inputs, a, terms, pole)
    rest = len(phi) - phi.shape[1]
    if rest < 2 or np.linalg.matrix_rank(phi) < phi.shape[1]:
        raise InputError(
            f"the inputs of a session do not tell {terms} filters of {n_in} input(s) apart: give "
            "fewer terms, or longer trials."
        )
    # (W - pole)^k in powers of W, and back
    back = np.array(
        [[comb(k, j) * pole ** (k - j) if j <= k else 0.0 for j in range(terms)]
         for k in range(powers)]
    )  # fmt: skip
    back = np.kron(back, np.eye(n_in))
    inverse = np.linalg.inv(phi.T @ phi)
    spread = back @ inverse @ back.T
    both = np.concatenate([outputs.reshape(len(phi), -1), recording.activity.reshape(len(phi), -1)],
                          axis=1)  # fmt: skip
    raw = inverse @ (phi.T @ both)
    squares = np.sum(both**2, axis=0) - np.sum(raw * (phi.T @ both), axis=0)
    coefficients, variance = back @ raw, squares / rest
    function, neurons = coefficients[:, :n_out], coefficients[:, n_out:]
    mean = float(np.mean(variance[n_out:]))
    gram = neurons @ neurons.T / n_neurons - mean * spread
    upper = np.triu_indices(len(gram))
    values = np.concatenate([function.T.ravel(), gram[upper]])
    covariance = np.zeros((len(values),) * 2)
    n = function.size
    covariance[:n, :n] = np.kron(np.diag(variance[:n_out]), spread)
    # what the noise took from it may have left it indefinite, which no sum of squares is
    sizes, axes = np.linalg.eigh(gram)
    gram = (axes * np.clip(sizes, 0.0, None)) @ axes.T
    j, k = upper
    pairs = np.ix_(j, j), np.ix_(k, k), np.ix_(j, k), np.ix_(k, j)
    s = mean * spread
    mixed = s[pairs[0]] * gram[pairs[1]] + s[pairs[2]] * gram[pairs[3]]
    mixed += s[pairs[3]] * gram[pairs[2]] + s[pairs[1]] * gram[pairs[0]]
    twice = s[pairs[0]] * s[pairs[1]] + s[pairs[2]] * s[pairs[3]]
    covariance[n:, n:] = (mixed + twice) / n_neurons
    # with many terms rounding makes the inverse uneven
    return values, (covariance + covariance.T) / 2
