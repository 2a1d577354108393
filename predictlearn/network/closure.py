"""How far the closed equations of an erf network are from the network they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from predictlearn.checks import positive_int, seed_sequence
from predictlearn.errors import InputError
from predictlearn.network.mean_field import fitting_points, learn_mean_field
from predictlearn.network.training import train_network
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.fourth_order import learn_fourth_order
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.learning.trajectory import Trajectory
from predictlearn.theory.loadings import particles_of
from predictlearn.theory.nonlinearity import Nonlinearity, resolve
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task

__all__ = ["ClosureError", "closure_error", "distance_to_course"]

# Sobol particles where a product rule does not serve.
_SOBOL = 1024
# Directions up to which a product rule serves.
_FEW_DIRECTIONS = 5
# A stretch between two rows is searched for its nearest point in so many rounds of so many parts.
_ROUNDS, _PARTS = 6, 8
# Shares of what learning moves: below the first the equations can be trusted, below the second
# their shape and timing.
_SMALL, _FAIR = 0.02, 0.1


@dataclass(frozen=True)
class ClosureError:
    """Distances between the levels of the theory along one course of learning.

    The levels are the Gaussian closure (`learn`, here ``"closure"``), the closure with fourth
    cumulants (`learn_fourth_order`, ``"fourth order"``), the mean field, which stands for
    infinitely many neurons and from which all distances are taken, and finite networks.

    Parameters
    ----------
    table : pandas.DataFrame
        ``level`` (``"closure"``, ``"N = 250"``, ``"N = 250, draw 2"``), ``epoch``; ``overlaps``:
        the largest difference of any overlap from the mean field at the same epoch; ``loss``: that
        of the loss; ``path``: the same as ``overlaps`` for the nearest moment of the mean field,
        whichever epoch that is, and ``nearest``: its epoch.
    summary : pandas.DataFrame
        By level: the largest difference of any overlap over learning (``largest``), that at the end
        (``at the end``), the largest difference of the loss as a share of the first loss, the
        largest distance from the nearest moment (``path``), and by how many epochs the loss is
        later to get half-way down (``later``; NaN where it does not). The row ``particles`` is the
        mean field by another set of particles, one point an axis fewer or another scramble: how
        well it is known.
    closure, field : Trajectory
        What the equations and the mean field predict.
    settings : dict
        What was set.
    fourth_order : Trajectory or None
        What the equations with fourth cumulants predict, where they apply.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    closure: Trajectory
    field: Trajectory
    settings: dict[str, Any]
    fourth_order: Trajectory | None = None

    @property
    def moved(self) -> float:
        """The largest change of any overlap by learning, in the mean field."""
        return float(np.abs(self.field.array - self.field.array[0]).max())

    @property
    def verdict(self) -> str:
        """How far to trust the equations here, in words."""
        row = self.summary.loc["closure"]
        largest, share = row["largest"], row["largest"] / max(self.moved, 1e-300)
        if largest < 1e-9:
            return "The equations are exact here: they and the mean field agree to 1e-9."
        said = [
            f"The Gaussian equations come within {largest:.2g} of the mean field in every overlap "
            f"at every epoch, {share:.1%} of the largest change that learning makes "
            f"({self.moved:.2g})."
        ]
        if "particles" in self.summary.index:
            known = self.summary.loc["particles", "largest"]
            if largest < 3 * known:
                said.append(
                    f"The mean field itself is only known to {known:.2g}, so the closure error may "
                    "be smaller; take more particles to know."
                )
            else:
                said.append(f"The mean field itself is known to {known:.2g}.")
        if row["path"] < 0.5 * largest:
            late = row["later"]
            when = ""
            if abs(late) >= 0.5:
                when = f" ({abs(late):.0f} epochs too {'late' if late > 0 else 'early'})"
            said.append(
                f"Most of that is timing{when}: moment for moment along the course of learning the "
                f"difference is at most {row['path']:.2g}."
            )
        else:
            said.append(
                f"It is not a matter of timing: from the nearest moment of the mean field it is "
                f"{row['path']:.2g}."
            )
        if share < _SMALL:
            said.append("The equations can be trusted for this course of learning.")
        elif share < _FAIR:
            said.append("Trust the shape and the order of events, not the second digit.")
        else:
            said.append("Do not trust single overlaps; learn_mean_field gives them.")
        if self.fourth_order is not None:
            better = self.summary.loc["fourth order", "largest"]
            said.append(
                f"With fourth cumulants (learn_fourth_order) the difference is {better:.2g}."
            )
        return " ".join(said)


def distance_to_course(array: np.ndarray, course: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Return how far overlaps are from the nearest moment of a course of learning.

    Parameters
    ----------
    array : numpy.ndarray, (n, D, D)
        Overlap matrices.
    course : Trajectory
        The course, taken as straight between the rows kept.

    Returns
    -------
    distance : numpy.ndarray, (n,)
        The largest difference of any overlap from the nearest moment.
    epoch : numpy.ndarray, (n,)
        When that moment is.

    Examples
    --------
    >>> import predictlearn as pl
    >>> t = pl.learn(Overlaps(np.eye(4)), pl.Filter(), pl.GradientDescent(5e-3), 10)
    >>> distance, epoch = distance_to_course(t.array[3:5], t)
    >>> distance.tolist(), epoch.tolist()
    ([0.0, 0.0], [3.0, 4.0])
    """
    points = course.array.reshape(len(course.array), -1)
    given = array.reshape(len(array), -1)
    distance, nearest = cKDTree(points).query(given, p=np.inf)
    distance, when = np.array(distance), course.epochs[nearest].astype(float)
    for i, (row, j) in enumerate(zip(given, nearest, strict=True)):
        for k in (j - 1, j):
            if distance[i] == 0 or not 0 <= k < len(points) - 1:
                continue
            gap, part = _nearest_on(points[k], points[k + 1], row)
            if gap < distance[i]:
                distance[i] = gap
                when[i] = course.epochs[k] + part * (course.epochs[k + 1] - course.epochs[k])
    return distance, when


def _nearest_on(one: np.ndarray, two: np.ndarray, point: np.ndarray) -> tuple[float, float]:
    """Return the least largest difference from a straight stretch, and where, from 0 to 1."""
    low, high = 0.0, 1.0
    for _ in range(_ROUNDS):
        # the difference is a convex function of the place
        parts = np.linspace(low, high, _PARTS + 1)
        gaps = np.abs(one + parts[:, None] * (two - one) - point).max(axis=1)
        n = int(gaps.argmin())
        low, high = parts[max(n - 1, 0)], parts[min(n + 1, _PARTS)]
    return float(gaps[n]), float(parts[n])


def _half_way(losses: np.ndarray, level: float) -> float:
    """Return the epoch, with its fraction, at which the loss is first at or below a level."""
    below = np.flatnonzero(losses <= level)
    if len(below) == 0 or below[0] == 0:
        return np.nan
    e = int(below[0])
    return e - (level - losses[e]) / (losses[e - 1] - losses[e])


def _compared(level: Trajectory, field: Trajectory) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the rows of the table and of the summary for one level."""
    gap = np.abs(level.array - field.array).max(axis=(1, 2))
    losses = level.losses - field.losses
    path, when = distance_to_course(level.array, field)
    half = (field.losses[0] + field.losses.min()) / 2
    rows = pd.DataFrame(
        {
            "epoch": level.epochs,
            "overlaps": gap,
            "loss": losses[level.epochs],
            "path": path,
            "nearest": when,
        }
    )
    return rows, {
        "largest": float(gap.max()),
        "at the end": float(gap[-1]),
        "loss, share of the first": float(np.abs(losses).max() / field.losses[0]),
        "path": float(path.max()),
        "later": float(_half_way(level.losses, half) - _half_way(field.losses, half)),
    }


def _fields(
    overlaps: Overlaps,
    task: Task,
    rule: GradientDescent,
    epochs: int,
    n_particles: int | None,
    seed: np.random.SeedSequence,
    common: dict[str, Any],
    twice: bool,
) -> tuple[list[Trajectory], str]:
    """Return the mean field, if asked the same by other particles, and what the particles are."""
    few = overlaps.dim <= _FEW_DIRECTIONS and rule.synaptic_noise == 0
    if n_particles is None and few:
        points = fitting_points(overlaps.sizes)
        fields: list[Trajectory] = [
            learn_mean_field(overlaps, task, rule, epochs, **common, points=p)
            for p in (points + 1, points)[: 1 + twice]
        ]
        return fields, f"product rule, {points + 1} points an axis"
    n = n_particles or _SOBOL
    networks: list[Trajectory] = [
        train_network(
            particles_of(overlaps.matrix, overlaps.sizes, n, child), task, rule, epochs, **common
        )
        for child in (seed, seed.spawn(1)[0])[: 1 + twice]
    ]
    return networks, f"{n} Sobol points"


def closure_error(
    overlaps: Overlaps,
    task: Task,
    rule: GradientDescent,
    epochs: int,
    *,
    nonlinearity: str | Nonlinearity = "erf",
    tau: float = 1.0,
    n_particles: int | None = None,
    n_neurons: Sequence[int] = (),
    seed: int = 0,
    every: int = 1,
    in_full: bool = True,
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
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi; linear networks have no closure error, which this function then shows.
    tau : float, default 1.0
        Time constant in seconds.
    n_particles : int, optional
        Sobol particles of the mean field; a power of two. If not given the mean field is that of
        `learn_mean_field`, which is nearer for fewer particles; for networks of more than five
        directions or with noise on synapses it is 1024 Sobol particles.
    n_neurons : sequence of int, optional
        Sizes of finite networks to compare as well; a size given twice gets two draws.
    seed : int, default 0
        Seed of particles, loadings, trials and noise; all levels see the same trials.
    every : int, default 1
        Compare every so many epochs.
    in_full : bool, default True
        Whether to follow the mean field a second time, by other particles, and the equations with
        fourth cumulants as well. Without them the verdict says nothing of how well the mean field
        itself is known, in less than half the time.

    Returns
    -------
    ClosureError
        Differences from the mean field, and a verdict in words.

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
    field by its draw of loadings, of order 1 / sqrt(N). The mean field is followed twice, with two
    sets of particles (two scrambles of Sobol points, or two product rules); where the loss falls
    fast a small difference in timing is a large one at equal epochs, so the distance from the
    nearest moment is given as well.

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = Overlaps(np.eye(4)).replace(zm=0.1, zu=0.3, vm=0.4, vu=0.5)
    >>> task = pl.FlipFlop(wait=(1.0, 2.0), duration=8.0, dt=0.1, trials=4).freeze(0)
    >>> result = closure_error(start, task, pl.GradientDescent(0.02), 40)
    >>> bool(result.summary.loc["closure", "largest"] < 0.01)
    True
    >>> print(result.verdict.split(". ")[3])
    The equations can be trusted for this course of learning
    """
    phi = resolve(nonlinearity)
    if n_particles is not None:
        n_particles = positive_int("n_particles", n_particles, minimum=overlaps.dim)
        if n_particles & (n_particles - 1):
            raise InputError(
                f"n_particles must be a power of two, or the points are not even; got "
                f"{n_particles}, the nearest is {2 ** round(np.log2(n_particles))}."
            )
    sizes = [positive_int("n_neurons", n, minimum=overlaps.dim) for n in n_neurons]
    children = seed_sequence(seed).spawn(1 + len(sizes))
    common: dict[str, Any] = {
        "nonlinearity": nonlinearity,
        "tau": tau,
        "seed": seed,
        "every": every,
    }
    fields, particles = _fields(
        overlaps, task, rule, epochs, n_particles, children[0], common, in_full
    )
    levels: dict[str, Trajectory] = {"closure": learn(overlaps, task, rule, epochs, **common)}
    fourth = None
    if in_full and phi.name in ("erf", "linear") and rule.momentum == 0:
        fourth = learn_fourth_order(overlaps, task, rule, epochs, **common)
        levels["fourth order"] = fourth
    field = fields[0]
    if in_full:
        levels["particles"] = fields[1]
    for index, (n, child) in enumerate(zip(sizes, children[1:], strict=True)):
        loadings = overlaps.loadings(n, seed=int(child.generate_state(1)[0]))
        draw = f", draw {sizes[:index].count(n) + 1}" if sizes.count(n) > 1 else ""
        levels[f"N = {n}{draw}"] = train_network(loadings, task, rule, epochs, **common)
    parts, rows = [], {}
    for name, level in levels.items():
        part, rows[name] = _compared(level, field)
        part.insert(0, "level", name)
        parts.append(part)
    return ClosureError(
        pd.concat(parts, ignore_index=True),
        pd.DataFrame(rows).T.rename_axis("level"),
        levels["closure"],
        field,
        {
            "particles": particles,
            "n_particles": n_particles,
            "n_neurons": tuple(sizes),
            **common,
            "nonlinearity": phi.name,
            "epochs": epochs,
        },
        fourth,
    )
