"""How far the closed equations of an erf network are from the network they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.checks import positive_int, seed_sequence
from predictlearn.errors import InputError, choice
from predictlearn.network.train import train_network
from predictlearn.theory.learning import learn
from predictlearn.theory.loadings import particles_of
from predictlearn.theory.names import NONLINEARITIES
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.rules import GradientDescent
from predictlearn.theory.trajectory import Trajectory
from predictlearn.theory.trials import Task

__all__ = ["ClosureError", "closure_error"]


@dataclass(frozen=True)
class ClosureError:
    """Distances between the levels of the theory along one course of learning.

    The levels are the Gaussian closure (`learn`), the mean field (a network whose loadings start
    from Sobol points and stand for infinitely many neurons), and finite networks.

    Parameters
    ----------
    table : pandas.DataFrame
        ``level`` (``"closure"``, ``"N = 250"``, ``"N = 250, draw 2"``), ``epoch``, ``overlaps``:
        the largest difference of any overlap from the mean field, ``loss``: that of the loss.
    summary : pandas.DataFrame
        By level: the largest difference of any overlap over learning, that at the end, and the
        largest difference of the loss as a share of the first loss.
    closure, field : Trajectory
        What the equations and the mean field predict.
    settings : dict
        What was set.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    closure: Trajectory
    field: Trajectory
    settings: dict[str, Any]


def closure_error(
    overlaps: Overlaps,
    task: Task,
    rule: GradientDescent,
    epochs: int,
    *,
    nonlinearity: str = "erf",
    tau: float = 1.0,
    n_particles: int = 1024,
    n_neurons: Sequence[int] = (),
    seed: int = 0,
    every: int = 1,
) -> ClosureError:
    """Measure how far to trust the theory for a network that learns.

    Parameters
    ----------
    overlaps : Overlaps
        The network before learning.
    task : Task
        What is learned.
    rule : GradientDescent
        How.
    epochs : int
        How long.
    nonlinearity : {"linear", "erf"}
        Which phi; linear networks have no closure error, which this function then shows.
    tau : float, default 1.0
        Time constant in seconds.
    n_particles : int, default 1024
        Particles of the mean field; a power of two.
    n_neurons : sequence of int, optional
        Sizes of finite networks to compare as well; a size given twice gets two draws.
    seed : int, default 0
        Seed of particles, loadings, trials and noise; all levels see the same trials.
    every : int, default 1
        Compare every so many epochs.

    Returns
    -------
    ClosureError
        Differences from the mean field.

    Raises
    ------
    InputError
        If an argument is out of range.
    DivergenceError
        If learning diverges.

    Notes
    -----
    The mean field is exact as N grows: every neuron moves in the common fields k(t). The closure is
    not, since learning makes the loadings non-Gaussian. A finite network differs from the mean
    field by its draw of loadings, of order 1 / sqrt(N).

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = Overlaps(np.eye(4)).replace(zm=0.1, zu=0.3, vm=0.4, vu=0.5)
    >>> task = pl.FlipFlop(wait=(1.0, 2.0), duration=8.0, dt=0.1, trials=4).freeze(0)
    >>> result = closure_error(start, task, pl.GradientDescent(0.02), 40, n_particles=512)
    >>> bool(result.summary.loc["closure", "largest"] < 0.01)
    True
    """
    choice("nonlinearity", nonlinearity, NONLINEARITIES)
    n_particles = positive_int("n_particles", n_particles, minimum=overlaps.dim)
    if n_particles & (n_particles - 1):
        raise InputError(
            f"n_particles must be a power of two, or the points are not even; got {n_particles}, "
            f"the nearest is {2 ** round(np.log2(n_particles))}."
        )
    sizes = [positive_int("n_neurons", n, minimum=overlaps.dim) for n in n_neurons]
    children = seed_sequence(seed).spawn(1 + len(sizes))
    common: dict[str, Any] = {
        "nonlinearity": nonlinearity,
        "tau": tau,
        "seed": seed,
        "every": every,
    }
    particles = particles_of(overlaps.matrix, overlaps.sizes, n_particles, children[0])
    field = train_network(particles, task, rule, epochs, **common)
    levels: dict[str, Trajectory] = {"closure": learn(overlaps, task, rule, epochs, **common)}
    for index, (n, child) in enumerate(zip(sizes, children[1:], strict=True)):
        loadings = overlaps.loadings(n, seed=int(child.generate_state(1)[0]))
        draw = f", draw {sizes[:index].count(n) + 1}" if sizes.count(n) > 1 else ""
        levels[f"N = {n}{draw}"] = train_network(loadings, task, rule, epochs, **common)
    parts = []
    rows = {}
    for name, level in levels.items():
        gap = np.abs(level.array - field.array).max(axis=(1, 2))
        losses = level.losses - field.losses
        parts.append(
            pd.DataFrame(
                {
                    "level": name,
                    "epoch": level.epochs,
                    "overlaps": gap,
                    "loss": losses[level.epochs],
                }
            )
        )
        rows[name] = {
            "largest": float(gap.max()),
            "at the end": float(gap[-1]),
            "loss, share of the first": float(np.abs(losses).max() / field.losses[0]),
        }
    return ClosureError(
        pd.concat(parts, ignore_index=True),
        pd.DataFrame(rows).T.rename_axis("level"),
        levels["closure"],
        field,
        {"n_particles": n_particles, "n_neurons": tuple(sizes), **common, "epochs": epochs},
    )
