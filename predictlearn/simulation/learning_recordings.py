"""Simulated recordings of a network that learns, some of its neurons at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.checks import non_negative, positive, positive_int
from predictlearn.errors import DivergenceError, InputError, choice
from predictlearn.network.activity import run_network
from predictlearn.recordings.recording import Recording
from predictlearn.simulation.recordings import random_inputs
from predictlearn.simulation.sessions import network_course
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.phases import cumulative_epochs, interval_tasks
from predictlearn.theory.learning.span import LEARNERS, start_in_span
from predictlearn.theory.learning.span_many import SpanSchedule
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.names import PATHWAYS
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.network import Synapses
from predictlearn.theory.trials import Trials

__all__ = ["simulate_learning"]


def simulate_learning(
    start: Overlaps,
    tasks: Any,
    epochs: Any,
    rule: Any,
    *,
    n_sessions: int,
    n_neurons: int = 300,
    recorded: int = 100,
    recurring: int | None = None,
    noise: float = 0.3,
    output_noise: float = 0.02,
    observed: str = "current",
    firing: float = 0.5,
    dispersion: float = 0.0,
    gain: float = 1.0,
    n_trials: int = 20,
    n_bins: int = 60,
    dt: float = 0.1,
    tau: float = 1.0,
    learns: str = "factors",
    seed: int = 0,
) -> tuple[list[Recording], list[npt.NDArray[np.intp]]]:
    """Train a linear network of N neurons and record some of them in sessions along the way.

    Parameters
    ----------
    start : Overlaps
        Those of the network before learning, exactly.
    tasks, epochs, rule
        As for `simulate_sessions`; FeedbackAlignment and RFLO too, and tasks with a world. Where
        synapses learn, or by these, tasks have fixed trials, and rules neither momentum nor noise.
    n_sessions : int
        Sessions.
    n_neurons : int, default 300
        Neurons of the network.
    recorded : int, default 100
        Neurons recorded a session.
    recurring : int, optional
        How many of them are the same in all sessions; the others are drawn anew from the rest.
        Default: all.
    noise : float, default 0.3
        Standard deviation of the noise of a neuron in a bin, in units of h.
    output_noise : float, default 0.02
        That of the outputs.
    observed : {"current", "counts"}
        Whether currents with noise are recorded, or spike counts with mean
        exp(offset + gain h).
    firing : float, default 0.5
        Spikes a bin at h = 0, geometric mean over neurons, which differ by a factor of e^(1/2).
    dispersion : float, default 0
        alpha of counts, Var = lam + alpha lam^2; 0 for Poisson.
    gain : float, default 1
        What is recorded of a current of 1, in units of the activity or, for counts, of exp's
        argument.
    n_trials, n_bins : int
        Size of a session; inputs hold random values, a second each.
    dt, tau : float
        Bin and time constant, seconds.
    learns : {"factors", "synapses"}
        What learns.
    seed : int
        Seed.

    Returns
    -------
    tuple of list
        A recording a session, and the ids of its neurons.

    Raises
    ------
    InputError
        Sizes that do not fit.

    Examples
    --------
    >>> import predictlearn as pl
    >>> recordings, ids = simulate_learning(
    ...     pl.Overlaps(np.eye(4)), pl.Filter(), 20, pl.GradientDescent(5e-3), n_sessions=3,
    ...     n_neurons=50, recorded=20, recurring=10)
    >>> len(recordings), recordings[0].n_neurons, len(set(ids[0]) & set(ids[1])) >= 10
    (3, 20, True)
    """
    n_sessions = positive_int("n_sessions", n_sessions, minimum=2)
    recorded = positive_int("recorded", recorded)
    recurring = recorded if recurring is None else positive_int("recurring", recurring, minimum=0)
    if not recurring <= recorded <= n_neurons:
        raise InputError(
            "recurring must be at most recorded, and that at most n_neurons; got "
            f"{recurring}, {recorded}, {n_neurons}."
        )
    non_negative("noise", noise)
    non_negative("output_noise", output_noise)
    choice("observed", observed, ("current", "counts"))
    positive("firing", firing)
    non_negative("dispersion", dispersion)
    positive("gain", gain)
    when = cumulative_epochs(epochs, n_sessions)
    given = interval_tasks(tasks, n_sessions - 1)
    choice("learns", learns, LEARNERS)
    positive_int("n_neurons", n_neurons)
    run: Callable[[int, Array], tuple[Array, Array]]
    if learns == "synapses" or isinstance(rule, LocalRule) or any(_world_of(t) for t in given):
        run = _run_in_span(start, given, when, rule, tau, learns, n_neurons, dt / tau, seed)
    else:
        run = _run_of_neurons(start, given, when, rule, tau, n_neurons, dt, seed)
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(8)[7])
    order = rng.permutation(n_neurons)
    offsets = np.log(firing) + 0.5 * rng.spawn(1)[0].standard_normal(n_neurons)
    recordings, ids = [], []
    for s in range(n_sessions):
        rest = rng.permutation(order[recurring:])[: recorded - recurring]
        chosen = np.concatenate([order[:recurring], rest])
        inputs = random_inputs(n_trials, n_bins, start.n_in, dt, seed * n_sessions + s, 1.0)
        h, outputs = run(s, inputs)
        activity = gain * h[:, :, chosen]
        if observed == "counts":
            mean = np.exp(offsets[chosen] + activity)
            if dispersion > 0:
                mean = mean * rng.gamma(1 / dispersion, dispersion, size=mean.shape)
            activity = rng.poisson(mean).astype(float)
        else:
            activity = activity + noise * rng.standard_normal(activity.shape)
        recordings.append(
            Recording(
                activity=activity,
                inputs=inputs,
                outputs=outputs + output_noise * rng.standard_normal(outputs.shape),
                dt=dt,
                observed=observed,
                metadata={"simulated": True, "session": s, "epoch": int(when[s])},
            )
        )
        ids.append(chosen)
    return recordings, ids


def _world_of(task: Any) -> bool:
    """Return whether the output of a task moves a world."""
    return getattr(task, "world", None) is not None


def _run_of_neurons(
    start: Overlaps,
    tasks: Sequence[Any],
    when: npt.NDArray[np.intp],
    rule: Any,
    tau: float,
    n_neurons: int,
    dt: float,
    seed: int,
) -> Callable[[int, Array], tuple[Array, Array]]:
    """Train N neurons; return what gives the currents and outputs of a session for inputs."""
    state = start.loadings(n_neurons, seed=seed)
    where = start.sizes.slices
    courses, _ = network_course(state, tasks, when, rule, "linear", tau, seed, np.copy)

    def run(session: int, inputs: Array) -> tuple[Array, Array]:
        now = Loadings(*(courses[session][where[p]].T for p in PATHWAYS))
        blank = np.zeros((*inputs.shape[:2], start.n_out))
        ran = run_network(now, Trials(inputs, blank, blank, dt), tau=tau)
        return ran.h, ran.outputs

    return run


def _run_in_span(
    start: Overlaps,
    tasks: Sequence[Any],
    when: npt.NDArray[np.intp],
    rule: Any,
    tau: float,
    learns: str,
    n_neurons: int,
    a: float,
    seed: int,
) -> Callable[[int, Array], tuple[Array, Array]]:
    """Do the same in the span of the start, in random directions of N neurons: exact, at any N."""
    first = start_in_span(start, rule, learns)
    names = "mwz" if isinstance(first, Synapses) else "muvz"
    parts = {name: getattr(first, name)[None] for name in names}
    b = None if first.feedback is None else first.feedback[None]
    found = SpanSchedule(rule, tasks, when, tau).courses(parts, b, np.array([rule.rate]))
    if not np.all(np.isfinite(found.losses)):
        raise DivergenceError(f"learning diverged. Try a smaller rate than that of {rule!r}.", 0)
    eye = np.eye(len(first.m))
    directions = Synapses(eye, eye, eye).on_neurons(n_neurons, seed).m

    def run(session: int, inputs: Array) -> tuple[Array, Array]:
        m, w, z = found.m[0, session], found.w[0, session], found.z[0, session]
        n_trials, n_bins, _ = inputs.shape
        h, kept = np.zeros((n_trials, len(m))), np.empty((n_trials, n_bins, len(m)))
        for t in range(n_bins):
            kept[:, t] = h = (1 - a) * h + a * (h @ w.T + inputs[:, t] @ m.T)
        return kept @ directions.T, kept @ z

    return run
