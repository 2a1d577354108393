"""Intervals by a linearised bootstrap over trials and neurons.

Every replicate draws trials with replacement and moves the fit by one Newton step of the
reweighted estimating equations, whose scores by trial and neuron are at hand after the fit; it
then draws neurons with replacement for the moments of the loadings. The noise of one bin belongs
to one trial and one neuron, so drawing both for the dynamics would count it twice: the part of
the dynamics' score that is a neuron's own, beyond what its trials explain, is all that drawing
neurons adds (two-way clustering). Moments of noisy loadings are inflated; that is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from predictlearn.arrays import Array
from predictlearn.errors import InputError
from predictlearn.fitting.session.loading_moments import (
    invert,
    moment_slopes,
    noise_variance,
    positive_part,
    sampling_precision,
)
from predictlearn.fitting.session.overlap_table import Raw
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.levenberg_marquardt import (
    Problem,
    Solution,
    free_directions,
    reduced_system,
)
from predictlearn.fitting.session.search.loading_prior import (
    Evidence,
    MomentSteps,
    evidence,
    moment_steps,
    second_moment,
)
from predictlearn.fitting.session.search.marginal import bend
from predictlearn.fitting.session.search.normal_equations import Blocks
from predictlearn.fitting.session.search.regression import trial_scores

__all__ = ["Linearised", "linearise", "loading_error", "replicates"]


_RUN_AWAY = (
    "the fitted dynamics run away on these inputs, so outputs cannot be regressed on them; "
    "check dt, tau and the units of inputs, or fit shorter trials"
)


@dataclass(frozen=True, eq=False)
class Linearised:
    """How the fit answers to a change of weights.

    Parameters
    ----------
    theta, phi : ndarray
        The fit.
    trial_theta : ndarray, shape (trials, q)
        Step of theta for one more copy of a trial.
    neuron_theta : ndarray, shape (neurons, q)
        Step of theta for one more copy of a neuron, noise of its trials taken off.
    trial_phi : ndarray, shape (trials, neurons, p)
        Step of the coefficients at fixed theta.
    follow : ndarray, shape (neurons, p, q)
        How the coefficients follow theta: phi moves by -follow dtheta.
    error : ndarray, shape (n_base, n_base)
        From `loading_error`.
    covariance : ndarray, shape (q, q)
        Inverse information of theta, as if bins were independent.
    moments : MomentSteps or None
        Moments of the population from posteriors of the loadings, for counts.
    """

    theta: Array
    phi: Array
    trial_theta: Array
    neuron_theta: Array
    trial_phi: Array
    follow: Array
    error: Array
    covariance: Array
    moments: MomentSteps | None = None


def loading_error(problem: Problem, solution: Solution) -> Array:
    """Return the mean over neurons of the estimation covariance of their loadings.

    Parameters
    ----------
    problem : Problem
        What was fitted.
    solution : Solution
        The fit.

    Returns
    -------
    ndarray, shape (n_base, n_base)
        From the scores of whole trials.
    """
    data, at = problem.data, solution.at
    k = data.flatten(_rolled(problem, solution.theta))
    scores = trial_scores(data, problem.layout, k, np.zeros((len(k), 0, k.shape[1])), at.phi)
    return _mean_outer(_steps(problem, at, scores)[:, :, data.n_lead :])


def _rolled(problem: Problem, theta: Array) -> Array:
    """Return k, or say why there is none."""
    k = problem.dynamics.activity(theta)
    if k is None:
        raise InputError(_RUN_AWAY)
    return k


def _steps(problem: Problem, at: Blocks, scores: Array) -> Array:
    """Return the step of the coefficients for one more copy of a trial, theta held."""
    n = problem.data.n_trials
    inverse = invert(at.distinct) * np.sqrt(n / (n - 1))
    p = inverse.shape[1]
    if at.shared:
        return np.asarray(scores[:, :, :p] @ inverse[0])
    return np.einsum("iab,pib->pia", inverse, scores[:, :, :p], optimize=True)


def linearise(problem: Problem, solution: Solution, readout: Array | None = None) -> Linearised:
    """Linearise the fit in the weights of trials and neurons.

    Parameters
    ----------
    problem : Problem
        What was fitted.
    solution : Solution
        The fit.
    readout : ndarray, shape (neurons, n_out), optional
        The readout, if known.

    Returns
    -------
    Linearised
        Steps by trial and by neuron.
    """
    data, layout = problem.data, problem.layout
    at, theta = solution.at, solution.theta
    rolled = problem.dynamics.roll(theta)
    if rolled is None:
        raise InputError(_RUN_AWAY)
    k, dk = (data.flatten(x) for x in rolled)
    bent = None if data.population is None else bend(problem, theta, at.phi)
    if bent is not None:
        at, dk = bent.at, bent.rest
    scores = trial_scores(data, layout, k, dk, at.phi)
    p, lead = at.phi.shape[1], data.n_lead
    variance = np.maximum(noise_variance(data, at), 1e-300)
    weights = 1 / variance
    h, _, back, _ = reduced_system(at, weights, 0.0)
    trial_phi = _steps(problem, at, scores)
    small = np.sqrt(problem.data.n_trials / (problem.data.n_trials - 1))
    error = _mean_outer(trial_phi[:, :, lead:])

    # Scores of theta with every neuron solved for, by trial and neuron.
    own = weights[:, None] * (
        scores[:, :, p:] - np.einsum("iaj,pia->pij", back, scores[:, :, :p], optimize=True)
    )
    steps = None
    if bent is not None:
        # the population draws a neuron the same way in every trial
        trial_phi = trial_phi - trial_phi.mean(axis=0)
        own = own - own.mean(axis=0)
        steps = moment_steps(
            *_known(problem, at, readout),
            trial_phi[:, :, lead:],
            back[:, lead:],
            bent.of_spread,
            bent.turn,
            problem.sampled,
        )
    by_trial = own.sum(axis=1)
    by_neuron = own.sum(axis=0) if bent is None else at.slope_theta - bent.of_cost
    anchor_trial = np.zeros_like(by_trial)
    anchor_neuron = np.zeros_like(by_neuron)
    if layout.erf:
        loadings = at.phi[:, lead:]
        of_c, of_load = moment_slopes(layout, loadings, back[:, lead:], error, at.tilt)
        if steps is not None:
            base = slice(0, layout.n_base)
            of_c = np.zeros_like(of_c)
            of_c[:, layout.n_drive : layout.at_time] = np.eye(layout.n_bb)
            of_load = steps.follow[base, base][layout.triangle]
        slope = of_c - of_load
        rows, columns = layout.triangle
        precision = sampling_precision(layout, loadings, problem.sampled)
        h = h + slope.T @ precision @ slope
        pull = slope.T @ precision
        half = np.einsum("ia,pib->pab", loadings, trial_phi[:, :, lead:], optimize=True) / small
        moved = (half[:, rows, columns] + half[:, columns, rows]) / data.n_neurons
        anchor_trial = moved @ pull.T
        if problem.sampled:
            moved = loadings[:, rows] * loadings[:, columns] / data.n_neurons
            anchor_neuron = (moved - moved.mean(axis=0)) @ pull.T
    free = free_directions(layout, theta)
    free = np.where(problem.dynamics.held(theta)[:, None], 0.0, free)
    inverse = free @ np.linalg.pinv(free.T @ h @ free, rcond=1e-11, hermitian=True) @ free.T

    by_neuron = by_neuron - by_neuron.mean(axis=0)
    shrink = 0.0
    if problem.sampled:
        noise = np.einsum("pij,jk,pik->", own, inverse, own, optimize=True)
        total = np.einsum("ij,jk,ik->", by_neuron, inverse, by_neuron)
        shrink = float(np.sqrt(max(0.0, 1 - noise / total))) if total > 0 else 0.0
    if data.count is not None:
        # the information of a mean bin, in the place of the inverse noise variance
        weights = at.inner[:, 0, 0] / data.counts
    by_trial = _unshrunk(data, k, dk, at.phi[:, lead:], weights, free, by_trial)
    return Linearised(
        theta=theta,
        phi=at.phi,
        trial_theta=(by_trial + small * anchor_trial) @ inverse,
        neuron_theta=(shrink * by_neuron + anchor_neuron) @ inverse,
        trial_phi=trial_phi,
        follow=back,
        error=error,
        covariance=inverse,
        moments=steps,
    )


def _known(problem: Problem, at: Blocks, readout: Array | None) -> tuple[Evidence, Array]:
    """Return what is known of loadings and readout, and a guess of their moments."""
    population = problem.data.population
    if population is None:
        raise ValueError("a fit without a population")
    found = evidence(problem.data, at)
    if readout is None:
        return found, population
    return (
        found.with_known(readout),
        block_diag(population, readout.T @ readout / len(readout)),
    )


def _unshrunk(
    data: Data, k: Array, dk: Array, loadings: Array, weights: Array, free: Array, scores: Array
) -> Array:
    """Undo what the fit took from the residuals of each trial.

    A trial pulls theta towards itself, so that its residuals are too small, the more the more it
    weighs: score -> (1 - H_p H^-1)^-1 score, as when every trial is left out in turn. H_p, the
    trial's share of the curvature H, is that of the linear regression.
    """
    n_base, _, n_rows = dk.shape
    base = np.concatenate([np.ones((int(data.offset), n_rows)), k])
    moved = np.einsum("bqr,qf->bfr", dk, free, optimize=True)
    flat = moved.reshape(-1, n_rows)
    flat = flat - (flat @ base.T) @ np.linalg.pinv(base @ base.T, rcond=1e-12) @ base
    second = positive_part((loadings * weights[:, None]).T @ loadings)
    root = np.linalg.cholesky(second).T
    moved = np.einsum("ab,bfr->afr", root, flat.reshape(n_base, -1, n_rows), optimize=True)
    shares = np.stack(
        [
            np.einsum("afr,agr->fg", moved[:, :, a:b], moved[:, :, a:b], optimize=True)
            for a, b in zip(data.trial_start[:-1], data.trial_start[1:], strict=True)
        ]
    )
    values, vectors = np.linalg.eigh(shares.sum(axis=0))
    keep = values > 1e-11 * values[-1]
    half = vectors[:, keep] / np.sqrt(values[keep])
    whole = vectors[:, keep] * np.sqrt(values[keep])
    out = np.empty((len(shares), free.shape[1]))
    for trial, share in enumerate(shares):
        v, w = np.linalg.eigh(half.T @ share @ half)
        lifted = (w / (1 - np.clip(v, 0.0, 0.8))) @ w.T
        out[trial] = whole @ lifted @ half.T @ (scores[trial] @ free)
    return np.asarray(out @ free.T)


def moments(
    problem: Problem, at: Blocks, error: Array, readout: Array | None
) -> tuple[Array, Array, Array]:
    """Return the (m, u) block of S at the fit, and the overlaps of a known readout.

    Parameters
    ----------
    problem : Problem
        What was fitted.
    at : Blocks
        The fit.
    error : ndarray, shape (n_base, n_base)
        From `loading_error`.
    readout : ndarray, shape (neurons, n_out), or None
        The readout, if known.

    Returns
    -------
    tuple of ndarray, shapes (n_base, n_base), (n_out, n_base), (n_out, n_out)
        Moments of the loadings less their estimation error, or of their population (counts); those
        of the readout are NaN where it is not known. For erf the dynamics also say something of S,
        but through the Gaussian closure, which a finite network does not quite obey.
    """
    base = problem.layout.n_base
    loadings = at.phi[:, problem.data.n_lead :]
    if problem.data.population is None:
        bb = positive_part(loadings.T @ loadings / len(loadings) - error)
        if readout is not None:
            return bb, readout.T @ loadings / len(loadings), readout.T @ readout / len(loadings)
    else:
        second = second_moment(*_known(problem, at, readout))
        bb = second[:base, :base]
        if readout is not None:
            return bb, second[base:, :base], second[base:, base:]
    return bb, np.full((1, base), np.nan), np.full((1, 1), np.nan)


@dataclass(frozen=True, eq=False)
class OutputFit:
    """The regression of the outputs on g k, and how it answers to weights and to theta.

    Parameters
    ----------
    zb : ndarray, shape (n_out, n_base)
        Coefficients.
    trial : ndarray, shape (trials, n_out, n_base)
        Step for one more copy of a trial.
    follow : ndarray, shape (n_out, n_base, q)
        Derivative in theta.
    """

    zb: Array
    trial: Array
    follow: Array


def fit_outputs(problem: Problem, theta: Array, outputs: Array) -> OutputFit:
    """Regress the outputs on g k.

    Parameters
    ----------
    problem : Problem
        What was fitted.
    theta : ndarray, shape (q,)
        Dynamics.
    outputs : ndarray, shape (trials, time, n_out)
        Outputs, NaN where missing.

    Returns
    -------
    OutputFit
        Overlaps of the readout with m and u.
    """
    zb, trial = _regress_outputs(problem, theta, outputs)
    follow = np.zeros((*zb.shape, problem.layout.size))
    free = free_directions(problem.layout, theta)
    for direction in free.T:
        step = 1e-5 * max(1.0, float(np.abs(theta).max()))
        up = _regress_outputs(problem, theta + step * direction, outputs)[0]
        down = _regress_outputs(problem, theta - step * direction, outputs)[0]
        follow += ((up - down) / (2 * step))[:, :, None] * direction
    n = problem.data.n_trials
    return OutputFit(zb, trial * np.sqrt(n / (n - 1)), follow)


def _regress_outputs(problem: Problem, theta: Array, outputs: Array) -> tuple[Array, Array]:
    """Return coefficients of the outputs on g k, and the step of each trial."""
    k = _rolled(problem, problem.dynamics.clip(theta))
    rates = k * problem.dynamics.gain(theta, k)
    regressors = rates.reshape(*k.shape[:2], -1, problem.dynamics.nodes).mean(axis=3)
    n_out, n_base = outputs.shape[2], len(k)
    zb = np.zeros((n_out, n_base))
    trial = np.zeros((outputs.shape[0], n_out, n_base))
    for o in range(n_out):
        seen = ~np.isnan(outputs[:, :, o])
        y = np.where(seen, outputs[:, :, o], 0.0)
        x = regressors * seen
        inverse = np.linalg.pinv(np.einsum("cpt,dpt->cd", x, x), rcond=1e-12, hermitian=True)
        zb[o] = inverse @ np.einsum("cpt,pt->c", x, y)
        residual = y - np.einsum("c,cpt->pt", zb[o], x)
        trial[:, o] = np.einsum("cpt,pt->pc", x, residual) @ inverse
    return zb, trial


def replicates(
    problem: Problem,
    linear: Linearised,
    output_fit: OutputFit | None,
    readout: Array | None,
    n_bootstrap: int,
    seed: int,
) -> list[Raw]:
    """Draw bootstrap replicates of the blocks of S.

    Parameters
    ----------
    problem : Problem
        What was fitted.
    linear : Linearised
        The fit and its steps.
    output_fit : OutputFit or None
        The regression of the outputs.
    readout : ndarray, shape (neurons, n_out), or None
        The readout, if known.
    n_bootstrap : int
        Number of replicates.
    seed : int
        Seed.

    Returns
    -------
    list of Raw
        One a replicate.
    """
    rng = np.random.default_rng(seed)
    layout, lead = problem.layout, problem.data.n_lead
    n_trials, n_neurons = problem.data.n_trials, problem.data.n_neurons
    small = np.sqrt(n_neurons / (n_neurons - 1))
    out = []
    for _ in range(n_bootstrap):
        w = rng.multinomial(n_trials, np.full(n_trials, 1 / n_trials)) - 1.0
        v = rng.multinomial(n_neurons, np.full(n_neurons, 1 / n_neurons)) - 1.0
        v *= small if problem.sampled else 0.0
        step = w @ linear.trial_theta + v @ linear.neuron_theta
        theta = problem.dynamics.clip(linear.theta + step)
        phi = linear.phi + np.tensordot(w, linear.trial_phi, axes=1) - linear.follow @ step
        loadings = phi[:, lead:]
        vm, vu, _ = layout.unpack(theta)
        weights = (1.0 + v) / n_neurons
        # Estimation error enters twice: in the fit, and again in the replicate.
        bb = (loadings * weights[:, None]).T @ loadings - 2 * linear.error
        zb, zz = np.full((1, layout.n_base), np.nan), np.full((1, 1), np.nan)
        if linear.moments is not None:
            second = positive_part(linear.moments.moved(np.asarray(v), np.asarray(w), step))
            bb = second[: layout.n_base, : layout.n_base]
        if readout is not None and linear.moments is not None:
            zb = second[layout.n_base :, : layout.n_base]
            zz = second[layout.n_base :, layout.n_base :]
        elif readout is not None:
            zb = (readout * weights[:, None]).T @ loadings
            zz = (readout * weights[:, None]).T @ readout
        elif output_fit is not None:
            zb = output_fit.zb + np.tensordot(w, output_fit.trial, axes=1)
            zb = zb + output_fit.follow @ step
            zz = np.full((len(zb), len(zb)), np.nan)
        times = problem.dynamics.times(theta)
        out.append(Raw(vm, vu, positive_part(bb), zb, zz, times))
    return out


def _mean_outer(steps: Array) -> Array:
    """Return the mean over neurons of the sum over trials of step step^T."""
    flat = steps.reshape(-1, steps.shape[2])
    return np.asarray(flat.T @ flat / steps.shape[1])
