"""A cursor that the output moves: its world, what is seen of it, and noise on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from predictlearn.checks import non_negative
from predictlearn.errors import InputError, choice
from predictlearn.tasks.trial_windows import check_number
from predictlearn.theory.trials import Trials
from predictlearn.theory.world import LinearWorld

__all__ = ["FEEDBACK", "check_cursor", "command_noise", "cursor_world", "disturbed", "n_channels"]

# What the input reports of the cursor: `error` in the channels of the target, others beside them.
FEEDBACK = ("error", "position", "velocity", "position-velocity", "none")
_MOST_DELAY = 100


def check_cursor(task: Any, feedback: tuple[str, ...] = FEEDBACK) -> None:
    """Check the settings that tasks with a cursor share, and put them in their final form."""
    for name in ("gain", "rotation"):
        object.__setattr__(task, name, check_number(name, getattr(task, name)))
    for name in ("smoothing", "delay", "noise"):
        object.__setattr__(task, name, non_negative(name, getattr(task, name)))
    choice("feedback", task.feedback, feedback)
    if task.gain == 0:
        raise InputError("gain must not be 0, or the output moves nothing.")
    if task.delay > _MOST_DELAY * task.dt:
        raise InputError(
            f"delay must be at most {_MOST_DELAY} bins of dt = {task.dt:g} s; got {task.delay:g} s."
        )


def n_channels(feedback: str, axes: int) -> int:
    """Return how many inputs report the cursor beside those of the target."""
    return axes * {"error": 0, "none": 0, "position-velocity": 2}.get(feedback, 1)


def _entry(task: Any, axes: int) -> np.ndarray:
    """Return what a velocity command of one bin adds to position and velocity, (2 axes, axes)."""
    kept = _kept(task)
    return (1 - kept) * np.vstack([task.dt / 2 * np.eye(axes), np.eye(axes)])


def _kept(task: Any) -> float:
    """Return how much of the velocity is left after a bin."""
    return float(np.exp(-task.dt / task.smoothing)) if task.smoothing > 0 else 0.0


def cursor_world(task: Any, axes: int, n_shown: int, read: np.ndarray) -> LinearWorld:
    """Return the world of a cursor, of state (position, velocity) and what is on its way.

    ``smoothing dv/dt = -v + gain R y``, exact for an output that is constant in a bin, and
    ``p_t = p_{t-1} + dt (v_{t-1} + v_t) / 2``; the input sees both `delay` later, between two bins
    by linear interpolation.

    Parameters
    ----------
    task : CursorReaching or CursorTracking
        Has dt, gain, rotation, smoothing, feedback and delay.
    axes : int
        1 or 2.
    n_shown : int
        Inputs that the task itself gives, the target's first.
    read : numpy.ndarray, (n_read, 2 axes)
        What the loss reads of position and velocity.
    """
    kept, one, none = _kept(task), np.eye(axes), np.zeros((axes, axes))
    angle = np.deg2rad(task.rotation)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])[:axes, :axes]
    step = np.block([[one, (1 + kept) * task.dt / 2 * one], [none, kept * one]])
    push = _entry(task, axes) @ (task.gain * (turn if axes == 2 else one))
    if task.feedback == "none":
        return LinearWorld(step, push, read=read)
    report = {"error": [-one, none], "position": [one, none], "velocity": [none, one]}
    seen = np.eye(2 * axes)
    if task.feedback in report:
        seen = np.hstack(report[task.feedback])
    channels = np.zeros((n_shown + n_channels(task.feedback, axes), len(seen)))
    first = 0 if task.feedback == "error" else n_shown
    channels[first : first + len(seen)] = np.eye(len(seen))
    return _later(LinearWorld(step, push, seen, read), task.delay / task.dt, channels)


def _later(world: LinearWorld, bins: float, channels: np.ndarray) -> LinearWorld:
    """Return the world seen so many bins later, each variable in its channel of the input."""
    whole = int(np.floor(bins + 1e-9))
    part = max(bins - whole, 0.0)
    if part < 1e-9:
        late = world.delayed(whole)
        return replace(late, seen=channels @ late.seen)
    n = len(world.seen)
    late = world.delayed(whole + 1)
    sooner = np.zeros_like(late.seen)
    if whole == 0:
        sooner[:, : world.n_state] = world.seen
    else:
        sooner[:, late.n_state - 2 * n : late.n_state - n] = np.eye(n)
    return replace(late, seen=channels @ ((1 - part) * sooner + part * late.seen))


def command_noise(
    task: Any, axes: int, world: LinearWorld, trials: int, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw what noise on the velocity command adds to the world's state, (trials, time, state).

    White noise: the cursor alone is spread by ``noise sqrt(t)``, whatever the bin width.
    """
    draw = rng.standard_normal((trials, steps, axes)) * (task.noise / np.sqrt(task.dt))
    pushes = np.zeros((trials, steps, world.n_state))
    pushes[..., : 2 * axes] = draw @ _entry(task, axes).T
    return pushes


def disturbed(trials: Trials, pushes: np.ndarray) -> Trials:
    """Return the trials in whose world every bin's state is pushed as well.

    The world is linear, so what the pushes e_t = step e_{t-1} + push_t make of its state adds up
    with what the network does. The network sees ``seen e`` on top of its input, and what the loss
    reads is off by ``read e``: input and targets that say so stand for the pushes exactly,
    whatever the network and its rule.

    Parameters
    ----------
    trials : Trials
        Trials with a world.
    pushes : array_like, (trials, time, state)
        What is added to the state in each bin.
    """
    world = trials.world
    if world is None:
        raise InputError("trials must have a world for noise to push.")
    q = world.n_state
    alone = replace(world, push=np.eye(q), offset=np.zeros(q), start=np.zeros(q))
    moved = alone.response(pushes)
    inputs = np.array(trials.inputs)
    if world.is_closed:
        inputs[:, 1:] += moved[:, :-1] @ world.seen.T
    return replace(trials, inputs=inputs, targets=trials.targets - moved @ world.read.T)
