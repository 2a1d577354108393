"""Sensitivities of learning: how overlaps and loss depend on where learning began and how fast.

Learning moves the overlaps by S' = B' S B. Its exact derivatives along learning::

    dS' = dB' S B + B' dS B + B' S dB,      dB = -eta dA R - d(eta R) A

with dA the Hessian of the loss, over the entries that the loss sees, times dS. The loadings of
every neuron, Theta -> Theta B, are those of the start times the product P of all B so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictlearn.checks import positive_int
from predictlearn.errors import DivergenceError, InputError
from predictlearn.theory.activity import Batch, _evaluate, check_fit
from predictlearn.theory.kernels.arguments import Tangents
from predictlearn.theory.kernels.hessian import hessian_kernel, hessian_work
from predictlearn.theory.kernels.impulse_rank_one import single_hessian
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.epochs import run_epochs
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.learning.rules import GradientDescent, Rule
from predictlearn.theory.learning.trial_stream import TrialStream
from predictlearn.theory.names import PATHWAYS
from predictlearn.theory.nonlinearity import Nonlinearity
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.sizes import Sizes
from predictlearn.theory.trials import Trials

__all__ = ["SensitiveRun", "learn_with_sensitivities", "loss_derivative_hessian"]


@dataclass(frozen=True)
class SensitiveRun:
    """Overlaps and loss at some epochs of learning, and their derivatives.

    Parameters
    ----------
    epochs : numpy.ndarray, (K,)
        Epochs recorded, counted over all legs; 0 is the start.
    matrices : numpy.ndarray, (K, D, D)
        Overlaps before the update of that epoch.
    losses : numpy.ndarray, (K,)
        Loss there, on the trials of that epoch; where two legs meet, of the leg that begins.
    slopes : numpy.ndarray, (K, D, D, P)
        Derivatives of the overlaps; P is 0 without slopes.
    loss_slopes : numpy.ndarray, (K, P)
        Derivatives of the loss.
    parameters : tuple of str
        By what: every overlap of the start, a pair (i, j) counted as one variable, then the
        logarithm of the rate of each pathway, ``rate:m``, ``rate:u``, ``rate:v``, ``rate:z``, the
        same in all legs. The derivative by the logarithm of a common rate is the sum of these four.
    carried : numpy.ndarray, (K, D, D, 1 + P)
        P of Theta(epoch) = Theta(start) P, for loadings Theta of one neuron a row, and its
        derivatives; the last axis is empty unless asked for.
    """

    epochs: np.ndarray
    matrices: np.ndarray
    losses: np.ndarray
    slopes: np.ndarray
    loss_slopes: np.ndarray
    parameters: tuple[str, ...]
    carried: np.ndarray


def loss_derivative_hessian(
    overlaps: Overlaps,
    trials: Trials,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the loss, its derivative matrix A and its Hessian over the overlaps.

    Parameters
    ----------
    overlaps : Overlaps
        The network.
    trials : Trials
        The batch.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.

    Returns
    -------
    loss : float
        Weighted squared error.
    a : numpy.ndarray, (D, D)
        As of `loss_and_derivative`.
    hessian : numpy.ndarray, (n, n)
        Second derivatives of the loss by the n = D (D + 1) / 2 overlaps in the order of
        `overlap_names`, a pair (i, j) counted as one variable; exact, and zero for the
        loss-invisible ones.

    Raises
    ------
    InputError
        If sizes disagree or an argument is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> _, _, h = loss_derivative_hessian(pl.Overlaps(np.eye(4)), pl.Filter().sample())
    >>> h.shape, bool(h[0, 0] > 0), int(np.count_nonzero(h[4:]))
    ((10, 10), True, 0)
    """
    check_fit(overlaps, trials.n_in, trials.n_out, "the batch of trials")
    sizes = overlaps.sizes
    ready = Batch(trials, nonlinearity, tau)
    value, a = _evaluate(overlaps.matrix, sizes, ready)
    names, seen = sizes.names, sizes.visible(nonlinearity)
    rows, cols = sizes.where(seen)
    visible = np.empty((len(seen), len(seen)))
    # a copy, since numba would compile another version for what cannot be written to
    matrix = overlaps.matrix.copy()
    # a plain tuple, for which alone numba has compiled
    plain = tuple(sizes)
    if not single_hessian(matrix, plain, ready.impulse(overlaps.rank), visible):
        work = hessian_work(ready.k_m, plain, len(seen))
        hessian_kernel(matrix, plain, ready.shown(), rows, cols, work, visible)
    hessian = np.zeros((len(names), len(names)))
    at = [names.index(name) for name in seen]
    hessian[np.ix_(at, at)] = visible
    return value, a, hessian


def learn_with_sensitivities(
    start: Overlaps | np.ndarray,
    legs: Sequence[Leg],
    record: Sequence[int] | np.ndarray,
    *,
    nonlinearity: str | Nonlinearity = "linear",
    tau: float = 1.0,
    seed: int = 0,
    slopes: bool = True,
    carry: bool = False,
    sizes: tuple[int, int, int] | None = None,
) -> SensitiveRun:
    """Learn, and differentiate overlaps and loss by the start and by the learning rates.

    Parameters
    ----------
    start : Overlaps or array_like, (D, D)
        The network before learning.
    legs : sequence of Leg
        What is learned, one leg after the other, each by a `GradientDescent` without target noise
        and minibatches. Velocity and schedule begin anew with every leg.
    record : sequence of int
        Epochs to record, counted over all legs, in order; 0 is the start. Repeats are allowed.
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        Which phi.
    tau : float, default 1.0
        Time constant in seconds.
    seed : int, default 0
        Seed of the trials; every leg draws them as `learn` does with it.
    slopes : bool, default True
        Whether to carry derivatives along; overlaps and losses are the same without.
    carry : bool, default False
        Whether to carry along what learning does to the loadings of a neuron, apart from synaptic
        noise; for rules without momentum.
    sizes : tuple of int, optional
        n_in, rank and n_out of a start that is an array; (1, 1, 1) if not given.

    Returns
    -------
    SensitiveRun
        Overlaps, losses and their derivatives at the epochs recorded.

    Raises
    ------
    InputError
        If an argument is out of range or does not fit the others.
    DivergenceError
        If the loss runs away or is not finite; it carries the epoch, counted over all legs.

    Notes
    -----
    The derivatives are those of the computed recursion, exact at any rate, for momentum, weight
    decay, schedules and pathway rates; the synaptic noise is its large-N mean, which depends on
    neither start nor rate. With a `RateDrop` they hold as long as the epoch of the drop stays. A
    pathway whose rate is zero has zero derivatives by the logarithm of it. The trials drawn do not
    depend on the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> start = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
    >>> leg = pl.Leg(pl.Filter(), 200, pl.GradientDescent(5e-3))
    >>> run = learn_with_sensitivities(start, [leg], [0, 100, 200])
    >>> run.slopes.shape, len(run.parameters)
    ((3, 4, 4, 14), 14)
    >>> bool(run.loss_slopes[1, -4:].sum() < 0)  # faster learning, a lower loss
    True
    """
    if not isinstance(start, Overlaps):
        start = Overlaps(start, *((1, 1, 1) if sizes is None else sizes))
    elif sizes is not None and tuple(sizes) != start.sizes:
        raise InputError(f"sizes must be those of start, {start.sizes}; got {tuple(sizes)}.")
    legs = list(legs)
    if not legs or not all(isinstance(leg, Leg) for leg in legs):
        raise InputError(f"legs must be one or more Leg(task, epochs, rule); got {legs!r}.")
    for leg in legs:
        rule = _checked_rule(leg.rule)
        check_fit(start, leg.task.n_in, leg.task.n_out, "the task of a leg")
        if carry and rule.momentum > 0:
            raise InputError(
                "carry needs rules without momentum: only then are the loadings of all neurons "
                f"multiplied by one matrix; got {rule!r}."
            )
    total = sum(int(leg.epochs) for leg in legs)
    asked = [positive_int("an epoch of record", e, minimum=0) for e in record]
    if not asked or asked != sorted(asked) or asked[-1] > total:
        raise InputError(
            f"record must hold epochs from 0 to {total}, in increasing order; got {asked}."
        )
    unique, back = np.unique(np.array(asked), return_inverse=True)
    names = start.sizes.names
    parameters = names + tuple(f"rate:{p}" for p in PATHWAYS) if slopes else ()
    dim, n = start.dim, len(unique)
    run = SensitiveRun(
        unique,
        np.empty((n, dim, dim)),
        np.empty(n),
        np.zeros((n, dim, dim, len(parameters))),
        np.zeros((n, len(parameters))),
        parameters,
        np.zeros((n, dim, dim, 1 + len(parameters) if carry else 0)),
    )
    carried = np.zeros(run.carried.shape[1:])
    carried[..., :1] = np.eye(dim)[..., None]
    moving = np.zeros((3, dim, dim, len(parameters)))
    if slopes:
        for p, (i, j) in enumerate(zip(*start.sizes.where(names), strict=True)):
            moving[0, i, j, p] = moving[0, j, i, p] = 1.0
    matrix, first = start.matrix, 0
    for k, leg in enumerate(legs):
        last = first + int(leg.epochs)
        # where two legs meet, the one that begins
        end = n if k == len(legs) - 1 else np.searchsorted(unique, last)
        here = slice(np.searchsorted(unique, first), end)
        how = (matrix, start.sizes, leg, run, here, unique[here] - first, nonlinearity, tau, seed)
        try:
            matrix = _leg(moving, carried, *how) if slopes or carry else _plain(*how)
        except DivergenceError as error:
            # counted within the leg
            raise DivergenceError(
                f"in leg {k}, which begins at epoch {first}: {error.message}", first + error.epoch
            ) from error
        first = last
    return SensitiveRun(
        np.array(asked),
        run.matrices[back],
        run.losses[back],
        run.slopes[back],
        run.loss_slopes[back],
        parameters,
        run.carried[back],
    )


def _checked_rule(rule: Rule | LocalRule) -> GradientDescent:
    """Return a rule by which the derivatives of learning are followed, or raise InputError."""
    if not isinstance(rule, GradientDescent):
        raise InputError(
            "rule of a leg must be a GradientDescent, which at a small rate is gradient flow; "
            f"got {type(rule).__name__}."
        )
    if rule.target_noise > 0 or rule.minibatch is not None:
        name = "target_noise" if rule.target_noise > 0 else "minibatch"
        raise InputError(
            "rule of a leg must be without target_noise and minibatch, since derivatives of "
            f"learning belong to a learner without chance; got {name}="
            f"{getattr(rule, name)!r}. The nearest is the same GradientDescent without it."
        )
    return rule


def _plain(
    matrix: np.ndarray,
    sizes: Sizes,
    leg: Leg,
    run: SensitiveRun,
    here: slice,
    epochs: np.ndarray,
    nonlinearity: str | Nonlinearity,
    tau: float,
    seed: int,
) -> np.ndarray:
    """Run one leg without slopes, fill its rows, `here`, and return the overlaps at its end.

    `epochs` are those of the rows, counted within the leg.
    """
    start = Overlaps(matrix, *sizes)
    learned: Any = learn(start, leg.task, leg.rule, leg.epochs, nonlinearity, tau, seed)
    run.matrices[here], run.losses[here] = learned.array[epochs], learned.losses[epochs]
    return learned.array[-1]


def _leg(
    moving: np.ndarray,
    carried: np.ndarray,
    matrix: np.ndarray,
    sizes: Sizes,
    leg: Leg,
    run: SensitiveRun,
    here: slice,
    epochs: np.ndarray,
    nonlinearity: str | Nonlinearity,
    tau: float,
    seed: int,
) -> np.ndarray:
    """Run one leg as `_plain` does; the slopes, `moving`, and `carried` move in place."""
    rows, cols = sizes.where(sizes.visible(nonlinearity))
    joints = np.zeros((1, 3, *matrix.shape))
    joints[0, 0] = matrix
    # every leg begins without velocity
    moving[1:] = 0.0
    kept = (run.slopes[here], run.carried[here], run.loss_slopes[here])
    slopes = Tangents(moving, carried, sizes.pathways, rows, cols, *kept)
    stream = TrialStream(leg.task, nonlinearity, tau, seed)
    ran = run_epochs(joints, sizes, stream, leg.rule, int(leg.epochs), epochs, slopes=slopes)
    run.matrices[here], run.losses[here] = ran.kept[:, 0], ran.losses[epochs]
    if epochs.size and epochs[-1] == leg.epochs:
        run.slopes[here][-1], run.carried[here][-1] = moving[0], carried
        # A_ii is twice the derivative by S_ii
        weights = np.where(rows == cols, 0.5, 1.0) * ran.derivative[rows, cols]
        run.loss_slopes[here][-1] = weights @ moving[0, rows, cols]
    return joints[0, 0].copy()
