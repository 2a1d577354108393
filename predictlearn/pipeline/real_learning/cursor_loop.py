"""The loop of a brain-computer interface: the output moves a cursor, and the input reports it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from predictlearn.tasks.reaching import ReachingReadout
from predictlearn.theory.trials import Trials
from predictlearn.theory.world import LinearWorld

__all__ = ["DISTANCE", "HELD", "closed_loop", "cursor_world"]

# From the start of the cursor to every target of the session, mm.
DISTANCE = 125.0
# Bins by which what is seen comes later, for the cursor is held in the first six; see `closed_loop`
HELD = 2.0


def cursor_world(
    smoothing: np.ndarray,
    offset: np.ndarray,
    *,
    dt: float,
    distance: float,
    delay: float,
    n_in: int = 3,
    gain: float = 1.0,
) -> LinearWorld:
    """Return the cursor as a world: velocity, way, and what is seen of the way after a delay.

    The cursor's velocity is ``v_t = smoothing v_{t-1} + y_t + offset``, which the loss reads. Its
    way, in units of the way to the target, is ``p_t = p_{t-1} + dt c_t / distance``, with
    ``c_t = smoothing c_{t-1} + y_t`` what the network adds to the velocity; what the offset adds
    does not depend on it and belongs to the inputs. The first two inputs, the direction of the
    target from where the cursor starts, become that from where it is seen: ``x_t - gain p``.

    Parameters
    ----------
    smoothing : array_like, (2, 2)
        How much of the previous bin's velocity persists.
    offset : array_like, (2,)
        Added to the velocity in every bin.
    dt : float
        Bin width, seconds.
    distance : float
        From the start to the target, in the units of velocity times seconds.
    delay : float
        Of what is seen, seconds; between two bins by linear interpolation.
    n_in : int, default 3
        Inputs of the network; those after the second report nothing.
    gain : float, default 1.0
        How much of the way is seen.

    Returns
    -------
    LinearWorld
        Of 6 state variables, and n_in more for each bin of delay.

    Raises
    ------
    InputError
        If the shapes do not fit.

    Examples
    --------
    >>> world = cursor_world(np.zeros((2, 2)), np.zeros(2), dt=0.1, distance=2.0, delay=0.05)
    >>> path = world.response(np.ones((1, 3, 2)))[0]
    >>> (path @ world.seen.T)[:, 0].round(3).tolist()  # seen in the bin after each
    [-0.025, -0.075, -0.125]
    """
    moved, push = np.asarray(smoothing, dtype=float), dt / distance
    none, one = np.zeros((2, 2)), np.eye(2)
    seen = np.zeros((n_in, 6))
    seen[:2, 4:] = -gain * one
    world = LinearWorld(
        step=np.block([[moved, none, none], [none, moved, none], [none, push * moved, one]]),
        push=np.vstack([one, one, push * one]),
        seen=seen,
        read=np.hstack([one, none, none]),
        offset=np.concatenate([offset, np.zeros(4)]),
    )
    late = delay / dt
    whole = int(np.floor(late))
    later = world.delayed(whole + 1)
    # what is seen `whole` bins late stands in the state before that seen a bin later
    early = np.zeros_like(later.seen)
    if whole == 0:
        early[:, :6] = seen
    else:
        at = 6 + (whole - 1) * n_in
        early[:, at : at + n_in] = np.eye(n_in)
    share = late - whole
    return replace(later, seen=(1 - share) * early + share * later.seen)


def closed_loop(
    task: ReachingReadout,
    *,
    distance: float = DISTANCE,
    gain: float = 1.0,
    held: float = HELD,
    latency: float | None = None,
) -> Trials:
    """Return the trials of a reaching task whose cursor the network sees.

    The real cursor is held until `first_bin` of the task, which no linear world of constant
    matrices does: the cursor of this one moves from the first bin on, and what is seen of it comes
    `held` bins later. With 2 bins the way seen along block 1 of the session is nearest to that
    of the cursor that is held (root of the mean squared error 26% of it).

    Parameters
    ----------
    task : ReachingReadout
        The task in an open loop.
    distance : float
        From the start to the target, mm.
    gain : float
        How much of the cursor's way is seen, 1 for all of it.
    held : float
        Bins by which what is seen comes later.
    latency : float, optional
        Until the cursor is seen, seconds; by default that of the task's inputs.

    Returns
    -------
    Trials
        The same targets and weights, with the cursor as a world.
    """
    shown = task.sample()
    late = task.latency if latency is None else latency
    world = cursor_world(
        np.asarray(task.smoothing),
        np.asarray(task.offset),
        dt=task.dt,
        distance=distance,
        delay=late + held * task.dt,
        n_in=task.n_in,
        gain=gain,
    )
    inputs = shown.inputs.copy()
    inputs[:, :, :2] -= gain * _way_at_rest(task, late) / distance
    return Trials(inputs, shown.targets, shown.weights, shown.dt, world=world)


def _way_at_rest(task: ReachingReadout, latency: float) -> np.ndarray:
    """Return the way, (time, 2), on which the offset alone takes the cursor, as it is seen."""
    bins = task.sample().n_steps
    smoothing, offset = np.asarray(task.smoothing), np.asarray(task.offset)
    velocity, way = np.zeros(2), np.zeros((bins, 2))
    for t in range(bins):
        velocity = smoothing @ velocity + offset
        way[t] = (way[t - 1] if t else 0.0) + (t >= task.first_bin) * task.dt * velocity
    # the way at the end of bin t is first seen in the next
    when = np.arange(bins) - 1.0 - latency / task.dt
    return np.stack([np.interp(when, np.arange(bins), x, left=0.0) for x in way.T], axis=1)
