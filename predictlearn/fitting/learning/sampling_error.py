"""What a sample of neurons gets wrong in every session alike, and how learning carries it along.

Recorded neurons are a sample of the network: their overlaps (mm, mu, uu) differ from those of the
network by an error E, of covariance (S_ik S_jl + S_il S_jk) / n for n of many neurons with
Gaussian loadings. Learning acts on the loadings of all neurons alike, Theta <- Theta B, so the
recorded ones keep overlaps P' (S + E) P, P the product of all B so far: the error of one session is
that of all others, carried along. Dynamics and outputs are those of the whole network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from predictlearn.arrays import Array
from predictlearn.checks import positive_int
from predictlearn.errors import InputError
from predictlearn.fitting.learning.likelihood import Fitted, SessionsProblem
from predictlearn.fitting.learning.model import Model, legs_of
from predictlearn.kept import once
from predictlearn.theory.activity import Batch, _evaluate
from predictlearn.theory.gauge import canonical_matrices
from predictlearn.theory.learning.rules import column_rates
from predictlearn.theory.names import pathway_slices

__all__ = ["checked_sample", "sampled", "shared_root"]

# Step of the differences through the map to a gauge, relative to the size of an error.
_STEP = 1e-4
# Rounds in which the fit and the size of the error are found in turn.
_ROUNDS = 3


def checked_sample(recorded: Any, network: Any, rule: Any) -> tuple[int | None, float]:
    """Return how many neurons were recorded, and of how many, or raise InputError."""
    if recorded is None:
        if network is not None:
            raise InputError("network needs recorded, the number of neurons that were recorded.")
        return None, np.inf
    recorded = positive_int("recorded", recorded, minimum=2)
    if rule.momentum > 0 or rule.schedule is not None:
        raise InputError(
            "recorded needs a rule without momentum and schedule: the error of a sample of "
            "neurons is carried along plain descent only. Leave recorded out, and the columns of "
            "m and u too."
        )
    if network is None:
        return recorded, np.inf
    network = positive_int("network", network)
    if network < recorded:
        raise InputError(f"network must be at least recorded ({recorded}); got {network}.")
    return (None, np.inf) if network == recorded else (recorded, float(network))


def sampled(
    problem: SessionsProblem, best: Fitted, recorded: int, network: float, max_iter: int
) -> tuple[SessionsProblem, Fitted]:
    """Return the fit that allows for the sampling of neurons, whose size depends on the fit.

    Parameters
    ----------
    problem : SessionsProblem
        The fit without.
    best : Fitted
        Its maximum.
    recorded, network
        As for `shared_root`.
    max_iter : int
        Evaluations of every round.

    Returns
    -------
    problem : SessionsProblem
        With the covariance that sampling gives.
    best : Fitted
        Its maximum.
    """
    for _ in range(_ROUNDS):
        model = problem.model
        noise = replace(model.data.noise, shared=shared_root(model, best.x, recorded, network))
        model = replace(model, data=replace(model.data, noise=noise))
        problem = SessionsProblem(model, problem.pins, problem.scale)
        again = once(problem.improve, best.x, best.group_sd, max_iter)
        if again is None:
            raise FloatingPointError("the fit diverges")
        best = again
    return problem, best


def transports(model: Model, x: Array) -> Array:
    """Return P at every session, (sessions, D, D): Theta(session) = Theta(start) P."""
    layout, data = model.layout, model.data
    rule = layout.rule_at(x[layout.n_overlaps :])
    columns = rule.rate * column_rates(rule.pathway_rates, layout.sizes)
    eye = np.eye(layout.dim)
    s, p = layout.matrix(x), eye
    extra = rule.synaptic_noise**2 * eye
    found = np.empty((len(data.epochs), layout.dim, layout.dim))
    at = 0
    for leg in legs_of(data.tasks, data.epochs, rule):
        rng = np.random.default_rng(model.seed)
        ready = Batch(leg.task.sample(rng), model.nonlinearity, model.tau)
        for _ in range(int(leg.epochs)):
            found[data.epochs == at] = p
            a = _evaluate(s, layout.sizes, ready)[1]
            b = eye - (a + rule.weight_decay * eye) * columns
            s, p, at = b.T @ s @ b + extra, p @ b, at + 1
            if not leg.task.fixed:
                ready = Batch(leg.task.sample(rng), model.nonlinearity, model.tau)
    found[data.epochs == at] = p
    return found


def shared_root(model: Model, x: Array, recorded: int, network: float) -> Array:
    """Return a root of the covariance that the sampling of neurons gives all measurements.

    Parameters
    ----------
    model : Model
        Predictions, in the gauge of the measurements.
    x : numpy.ndarray
        Parameters.
    recorded : int
        Neurons recorded, the same in all sessions.
    network : float
        Neurons of the network, among which they were drawn; infinite if many.

    Returns
    -------
    numpy.ndarray, (n, P)
        G, with G G' the covariance.
    """
    layout, data = model.layout, model.data
    run = model.run(x, slopes=False)
    if run is None:
        raise FloatingPointError("the fit diverges")
    start = layout.matrix(x)
    rows, columns = layout.pairs
    size = (1.0 - recorded / network) / recorded
    covariance = size * (
        start[np.ix_(rows, rows)] * start[np.ix_(columns, columns)]
        + start[np.ix_(rows, columns)] * start[np.ix_(columns, rows)]
    )
    values, vectors = np.linalg.eigh(covariance)
    modes = vectors * np.sqrt(np.clip(values, 0.0, None))
    p = transports(model, x)
    plain = _matrices(model, start, p)
    span = slice(0, pathway_slices(*layout.sizes)["u"].stop)
    root = np.empty((data.n, modes.shape[1]))
    for k, mode in enumerate(modes.T):
        carried = np.einsum("sai,ab,sbj->sij", p, layout.full(mode), p)
        ends = []
        for sign in (1.0, -1.0):
            moved = plain.copy()
            moved[:, span, span] += sign * _STEP * carried[:, span, span]
            ends.append(_measured(model, moved, run.losses))
        root[:, k] = (ends[0] - ends[1]) / (2 * _STEP)
    return root


def _matrices(model: Model, start: Array, p: Array) -> Array:
    """Return the overlaps at the sessions, in the gauge in which the network learns."""
    carried = np.einsum("sai,ab,sbj->sij", p, start, p)
    return np.asarray((carried + np.swapaxes(carried, 1, 2)) / 2)


def _measured(model: Model, matrices: Array, losses: Array) -> Array:
    """Return the measurements of overlaps at the sessions."""
    none = np.zeros((*matrices.shape, 0))
    if model.canonical:
        matrices, none = canonical_matrices(matrices, none, model.layout.sizes)
    return model.select(matrices, losses, none, np.zeros((len(losses), 0)))[0]
