"""Simulated sessions along learning, from the theory or from a network of N neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import non_negative, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.network.training import follow
from predictlearn.theory.gauge import canonical_matrices
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.phases import LOSS, cumulative_epochs, interval_tasks
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.names import recordable_names, unknown_name
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = ["network_course", "simulate_sessions"]


def simulate_sessions(
    start: Overlaps,
    tasks: Task | Sequence[Task],
    epochs: int | Sequence[int],
    rule: Any,
    noise: float | Mapping[str, float] = 0.02,
    *,
    n_sessions: int | None = None,
    columns: Sequence[str] | None = None,
    n_neurons: int | None = None,
    recorded: int | None = None,
    gauge: str = "given",
    nonlinearity: str = "linear",
    tau: float = 1.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Simulate what sessions along learning measure.

    Parameters
    ----------
    start : Overlaps
        The network before learning.
    tasks : Task, or one an interval between sessions
        What is learned.
    epochs : int or sequence of int
        Updates between any two sessions (with `n_sessions`), or between each two.
    rule : learning rule
        As for `learn`, or with `n_neurons` any rule that `train_network` takes.
    noise : float or mapping, default 0.02
        Standard deviation of the error of every measurement, or by column.
    n_sessions : int, optional
        Number of sessions where `epochs` is one number.
    columns : sequence of str, optional
        What is measured: overlaps, and "loss". Default: all that a recording can see.
    n_neurons : int, optional
        Train a network of so many neurons, whose overlaps at the start are exactly `start`; without
        it the theory is used.
    recorded : int, optional
        Neurons recorded, the same in all sessions: mm, mu and uu are then those of this sample, the
        others of the whole network, since dynamics and outputs show them.
    gauge : {"given", "canonical"}
        Gauge of the overlaps returned.
    nonlinearity, tau, seed
        As for `learn`; the seed also draws loadings and errors.

    Returns
    -------
    pandas.DataFrame
        One row a session, indexed by the updates made before it ("epoch").

    Raises
    ------
    InputError
        If an argument cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> o = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> rule = pl.GradientDescent(5e-3)
    >>> simulate_sessions(o, pl.Filter(), 100, rule, n_sessions=3, columns=["zm", "loss"]).shape
    (3, 2)
    """
    choice("gauge", gauge, ("given", "canonical"))
    if n_sessions is None:
        if np.ndim(epochs) == 0:
            raise InputError("n_sessions must be given where epochs is one number.")
        n_sessions = len(np.asarray(epochs)) + 1
    n_sessions = positive_int("n_sessions", n_sessions, minimum=2)
    when = cumulative_epochs(epochs, n_sessions)
    given = interval_tasks(tasks, n_sessions - 1)
    pairs = start.sizes.pairs
    names = tuple(recordable_names(*start.sizes) if columns is None else columns)
    for name in names:
        if name != LOSS and name not in pairs:
            raise InputError(unknown_name(name, start.names))
    if not isinstance(noise, Mapping):
        noise = dict.fromkeys(names, non_negative("noise", noise))
    missing = [name for name in names if name not in noise]
    if missing:
        raise InputError(f"noise must name every column; missing: {', '.join(missing)}.")
    sds = np.array([non_negative(f"noise[{name!r}]", noise[name]) for name in names])
    if recorded is not None and (n_neurons is None or recorded > n_neurons):
        raise InputError(f"recorded must be at most n_neurons ({n_neurons}); got {recorded}.")
    matrices, losses = _course(
        start, given, when, rule, n_neurons, recorded, nonlinearity, tau, seed
    )
    if gauge == "canonical":
        matrices, _ = canonical_matrices(matrices, np.zeros((*matrices.shape, 0)), start.sizes)
    table = np.stack(
        [losses if name == LOSS else matrices[:, *pairs[name]] for name in names], axis=1
    )
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(6)[5])
    table = table + sds * rng.standard_normal(table.shape)
    return pd.DataFrame(table, index=pd.Index(when, name="epoch"), columns=list(names))


def _course(
    start: Overlaps,
    tasks: Sequence[Task],
    when: npt.NDArray[np.intp],
    rule: Any,
    n_neurons: int | None,
    recorded: int | None,
    nonlinearity: str,
    tau: float,
    seed: int,
) -> tuple[Array, Array]:
    """Return the overlaps (sessions, D, D) and losses at the sessions."""
    where = start.sizes.slices
    span = slice(0, where["u"].stop)

    def measured(theta: Array) -> Array:
        s = theta @ theta.T / theta.shape[1]
        if recorded is not None:
            part = theta[span, :recorded]
            s[span, span] = part @ part.T / recorded
        return s

    if n_neurons is not None:
        loadings = start.loadings(positive_int("n_neurons", n_neurons), seed=seed)
        kept, losses = network_course(
            loadings, tasks, when, rule, nonlinearity, tau, seed, measured
        )
        return np.array(kept), losses
    matrices = np.empty((len(when), start.dim, start.dim))
    losses = np.empty(len(when))
    for task, rows, inside in phases(tasks, when):
        every = int(np.gcd.reduce(inside))
        t = learn(start, task, rule, int(inside[-1]), nonlinearity, tau, seed, every)
        matrices[rows], losses[rows], start = t.array[inside // every], t.losses[inside], t.final
    return matrices, losses


def phases(
    tasks: Sequence[Task], when: npt.NDArray[np.intp]
) -> Iterator[tuple[Task, slice, npt.NDArray[np.intp]]]:
    """Yield each run of one task: the task, its sessions, and their epochs within the run.

    The session between two tasks belongs to both; the later run overwrites what it shows.
    """
    k = 0
    while k < len(tasks):
        last = k
        while last + 1 < len(tasks) and tasks[last + 1] == tasks[k]:
            last += 1
        rows = slice(k, last + 2)
        yield tasks[k], rows, when[rows] - when[k]
        k = last + 1


def network_course(
    state: Loadings,
    tasks: Sequence[Task],
    when: npt.NDArray[np.intp],
    rule: Any,
    nonlinearity: str,
    tau: float,
    seed: int,
    measured: Callable[[Array], Array],
) -> tuple[list[Array], Array]:
    """Train a network of N neurons through all sessions.

    Parameters
    ----------
    state : Loadings
        The network before learning.
    tasks, when
        What is learned, and the epochs of the sessions.
    rule, nonlinearity, tau, seed
        As for `train_network`.
    measured : callable
        What a session keeps of the loadings, (D, N).

    Returns
    -------
    kept : list of numpy.ndarray
        What was measured, a session each.
    losses : numpy.ndarray, (sessions,)
        Losses.
    """
    kept: list[Array] = [np.empty(0)] * len(when)
    losses = np.empty(len(when))
    for task, rows, inside in phases(tasks, when):
        every = int(np.gcd.reduce(inside))
        course = follow(
            state, task, rule, int(inside[-1]), nonlinearity, tau, seed, every, None, measured
        )
        kept[rows], losses[rows] = list(course.kept[inside // every]), course.losses[inside]
        state = course.loadings
    return kept, losses
