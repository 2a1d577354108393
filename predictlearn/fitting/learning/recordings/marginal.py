"""The likelihood of raw recordings along learning, with every neuron's loadings integrated out.

Learning multiplies the loadings of all neurons by the same matrices, so neuron i, with loadings x_i
before learning, is in session k the current

    h_ik(t) = x_i A_k kappa_k(t) + noise,     A_k = P_k[:, (m, u)],  x_i ~ Normal(0, S),

with kappa_k = (k_m, k_u) rolled out with the overlaps of that session. S and the rate give every
P_k and kappa_k; given these, h is linear in x_i and both are Gaussian, so x_i = L xi_i, S = L L',
is integrated out in closed form. With C_k = L' A_k, G_k the sum over bins of kappa kappa' and g_ik
that of h_i kappa::

    M_i = 1 + sum_k C_k G_k C_k' / sigma_ik^2,     b_i = sum_k C_k g_ik / sigma_ik^2,
    log likelihood = sum_i b_i' M_i^-1 b_i / 2 - log det M_i / 2 + constant.

Spike counts, expanded about a course of each neuron, are Gaussian measurements of h with a weight
in every bin in place of 1 / sigma^2 (`observations`): sums over bins are then a neuron's own.

No session needs a gauge of its own, any neurons may recur in any sessions, and that a sample of the
neurons is not the network needs no further allowance, but for one: where n of N neurons were
recorded, the second moments of their xi scatter by 1/n - 1/N, not 1/n (`finite_network`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array
from predictlearn.fitting.learning.recordings.finite_network import finite
from predictlearn.fitting.learning.recordings.observations import Counts, Observed
from predictlearn.fitting.session.dynamics import Dynamics

__all__ = [
    "Gradient",
    "LoadingPosterior",
    "RawSession",
    "Recorded",
    "basis",
    "information",
    "marginal",
    "rolled_out",
]


@dataclass(frozen=True, eq=False)
class RawSession:
    """One session, laid out for the likelihood.

    Parameters
    ----------
    seen : Currents or Counts
        Of the neurons, in the bins that all of them were seen in.
    kept : numpy.ndarray of bool, (trials, time)
        Which bins these are.
    outputs : numpy.ndarray, (n_out, bins)
        Outputs in the bins in which all of them were seen.
    judged : numpy.ndarray of bool, (trials, time)
        Which bins these are.
    output_noise : numpy.ndarray, (n_out,)
        Variance of the noise of every output.
    neurons : numpy.ndarray of int, (n,)
        Which neurons these are, counted over all sessions.
    dynamics : Dynamics
        Rolls out kappa: its means over bins, or its values after one Euler step a bin.
    """

    seen: Observed
    kept: npt.NDArray[np.bool_]
    outputs: Array
    judged: npt.NDArray[np.bool_]
    output_noise: Array
    neurons: npt.NDArray[np.intp]
    dynamics: Dynamics


@dataclass(frozen=True, eq=False)
class Recorded:
    """All sessions.

    Parameters
    ----------
    sessions : sequence of RawSession
        In the order of learning.
    n_neurons : int
        Distinct neurons.
    population : float
        Neurons of the network; infinite if very many.
    """

    sessions: Sequence[RawSession]
    n_neurons: int
    population: float

    @property
    def expanded(self) -> bool:
        """Whether any session holds counts, which are expanded about the fit."""
        return any(isinstance(s.seen, Counts) for s in self.sessions)


@dataclass(frozen=True, eq=False)
class LoadingPosterior:
    """What the recordings say of every neuron's xi.

    Parameters
    ----------
    mean : numpy.ndarray, (n, D)
        Mean.
    covariance : numpy.ndarray, (n, D, D)
        Covariance.
    """

    mean: Array
    covariance: Array


@dataclass(frozen=True, eq=False)
class Gradient:
    """Slopes of the log likelihood, session by session.

    Parameters
    ----------
    value : float
        The log likelihood, less its part that depends on the noise alone.
    maps : numpy.ndarray, (sessions, D, n_in + rank)
        By C_k.
    drives : numpy.ndarray, (sessions, q)
        By (vm, vu) of the session, in the order of its dynamics.
    readouts : numpy.ndarray, (sessions, n_out, n_in + rank)
        By (zm, zu).
    posterior : LoadingPosterior
        Of the neurons.
    weight : numpy.ndarray or None
        How firmly N holds their second moments, `finite_network`; None for very many neurons.
    """

    value: float
    maps: Array
    drives: Array
    readouts: Array
    posterior: LoadingPosterior
    weight: Array | None


def marginal(recorded: Recorded, maps: Array, matrices: Array) -> Gradient | None:
    """Return the log likelihood and its slopes; None where activity runs away.

    Parameters
    ----------
    recorded : Recorded
        The sessions.
    maps : numpy.ndarray, (sessions, D, n_in + rank)
        C_k.
    matrices : numpy.ndarray, (sessions, D, D)
        Overlaps of the network at the sessions, of which vm, vu, zm and zu enter here.

    Returns
    -------
    Gradient or None
        Value and slopes.
    """
    sessions = recorded.sessions
    dim, base = maps.shape[1:]
    rank = sessions[0].dynamics.layout.rank
    readouts = matrices[:, base + rank :, :base]
    parts = []
    precision = np.tile(np.eye(dim), (recorded.n_neurons, 1, 1))
    pull = np.zeros((recorded.n_neurons, dim))
    value = 0.0
    for session, c, s, zb in zip(sessions, maps, matrices, readouts, strict=True):
        part = _Sums.of(session, s, zb)
        if part is None:
            return None
        precision[session.neurons] += c @ part.gram[:, :, :base] @ c.T
        pull[session.neurons] += part.cross[:, :base] @ c.T
        value += session.seen.value - 0.5 * part.misfit
        parts.append(part)
    covariance = np.asarray(np.linalg.inv(precision), dtype=float)
    mean = np.einsum("nij,nj->ni", covariance, pull)
    value += 0.5 * float(np.sum(mean * pull)) - 0.5 * float(np.linalg.slogdet(precision)[1].sum())
    second = covariance + mean[:, :, None] * mean[:, None, :]
    first, more = mean, finite(mean, covariance, recorded.population)
    if more is not None:
        # slopes by V and m m' as slopes by M and b, of which V = M^-1 and m = V b
        value += more.value
        moved = np.einsum("nij,njk,nk->ni", covariance, more.by_mean, mean)
        outer = moved[:, :, None] * mean[:, None, :]
        first = mean + 2 * moved
        second = second + 2 * (outer + np.swapaxes(outer, 1, 2))
        second = second + 2 * covariance @ more.by_covariance @ covariance
    d_maps, d_drives, d_readouts = np.zeros_like(maps), [], np.zeros_like(readouts)
    for at, (session, c, part) in enumerate(zip(sessions, maps, parts, strict=True)):
        missed = first[session.neurons].T @ part.cross
        missed -= np.tensordot(second[session.neurons] @ c, part.gram, axes=((0, 2), (0, 1)))
        d_maps[at] = missed[:, :base]
        # by kappa, summed with its slopes: only k_u has any
        pulled = c.T @ missed[:, base:]
        drives = pulled[base - rank :].reshape(rank, rank, -1)
        d_drives.append(np.einsum("aaq->q", drives) + part.drives)
        d_readouts[at] = part.readouts
    weight = None if more is None else more.weight
    posterior = LoadingPosterior(mean, covariance)
    return Gradient(value, d_maps, np.array(d_drives), d_readouts, posterior, weight)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the bins of a session, for given dynamics.

    Parameters
    ----------
    cross : numpy.ndarray, (n, base + rank q)
        Of activity times kappa, and times the slopes of k_u by the q parameters, weighted.
    gram : numpy.ndarray, (n, base, base + rank q)
        Of kappa times these, about their means, weighted.
    misfit : float
        Of the squared errors of the outputs, in units of their noise.
    drives, readouts : numpy.ndarray
        Slopes of minus half of that, as of `Gradient`.
    """

    cross: Array
    gram: Array
    misfit: float
    drives: Array
    readouts: Array

    @classmethod
    def of(cls, session: RawSession, s: Array, zb: Array) -> _Sums | None:
        """Return the sums; None where activity runs away."""
        found = basis(session, s)
        if found is None:
            return None
        seen, judged = found
        base, rank = zb.shape[1], session.dynamics.layout.rank
        cross, gram = session.seen.sums(seen, base)
        left = session.outputs - zb @ judged[:base]
        white = left / session.output_noise[:, None]
        slopes = judged[base:].reshape(rank, -1, judged.shape[1])
        return cls(
            cross=cross,
            gram=gram,
            misfit=float(np.sum(left * white)),
            drives=np.einsum("at,aqt->q", zb[:, base - rank :].T @ white, slopes),
            readouts=white @ judged[:base].T,
        )


def basis(session: RawSession, s: Array) -> tuple[Array, Array] | None:
    """Return kappa and below it the slopes of k_u by (vm, vu), which alone of kappa has any.

    Parameters
    ----------
    session : RawSession
        The session.
    s : numpy.ndarray, (D, D)
        Overlaps of the network.

    Returns
    -------
    tuple of numpy.ndarray, (base + rank q, bins), or None
        In the bins of the activity, and in those of the outputs; None where activity runs away.
    """
    found = rolled_out(session, s)
    if found is None:
        return None
    k, dk = found
    rank = session.dynamics.layout.rank
    rows = np.concatenate([k, dk[len(k) - rank :].reshape(-1, *k.shape[1:])])
    seen, judged = (
        rows.reshape(len(rows), -1) if kept.all() else rows[:, kept]
        for kept in (session.kept, session.judged)
    )
    return seen, judged


def information(recorded: Recorded, transports: Array, matrices: Array, second: Array) -> Array:
    """Return what each session by itself says of its vm, vu, zm, zu and A, loadings given.

    Parameters
    ----------
    recorded, matrices
        As for `marginal`.
    transports : numpy.ndarray, (sessions, D, n_in + rank)
        A.
    second : numpy.ndarray, (n, D, D)
        Second moments of the neurons' loadings before learning.

    Returns
    -------
    numpy.ndarray, (sessions, q, q)
        Fisher information, in the order of `Gradient.drives`, `Gradient.readouts`, and the entries
        of A. A change of gauge moves nothing: rank^2 combinations have none.
    """
    dim, base = transports.shape[1:]
    out = []
    for session, a, s in zip(recorded.sessions, transports, matrices, strict=True):
        rows = basis(session, s)
        if rows is None:
            raise FloatingPointError("activity runs away at the fit")
        seen, judged = rows
        zb = s[-len(session.outputs) :, :base]
        n_out, rank = len(zb), session.dynamics.layout.rank
        q = (len(seen) - base) // rank
        _, gram = session.seen.sums(seen, len(seen))
        # of loadings with loadings, of rows with rows; and of the rows that move
        known = np.tensordot(second[session.neurons], gram, axes=(0, 0))
        u = a[:, base - rank :]
        moved = known[:, :, base:].reshape(dim, dim, rank, q, len(seen))
        at_map = q + n_out * base
        found = np.zeros((at_map + dim * base,) * 2)
        found[:q, :q] = np.einsum(
            "ia,jb,ijaqbr->qr", u, u, moved[..., base:].reshape(*moved.shape[:4], rank, q)
        )
        found[at_map:, at_map:] = np.einsum("ijbc->ibjc", known[:, :, :base, :base]).reshape(
            dim * base, dim * base
        )
        crossed = np.einsum("ja,ijaqb->ibq", u, moved[..., :base])
        found[at_map:, :q] = crossed.reshape(-1, q)
        found[:q, at_map:] = found[at_map:, :q].T
        followed = judged[base:].reshape(rank, q, -1)
        for o in range(n_out):
            # an output moves with kappa by zb, and with its own readout
            slopes = np.zeros((at_map, judged.shape[1]))
            slopes[:q] = np.einsum("a,aqt->qt", zb[o, base - rank :], followed)
            slopes[q + o * base : q + (o + 1) * base] = judged[:base]
            found[:at_map, :at_map] += slopes @ slopes.T / session.output_noise[o]
        out.append(found)
    return np.array(out)


def rolled_out(session: RawSession, s: Array) -> tuple[Array, Array] | None:
    """Return kappa and its slopes by (vm, vu) for overlaps s; None where it runs away."""
    layout = session.dynamics.layout
    base, n_in = layout.n_base, layout.n_in
    drive = s[base : base + layout.rank]
    return session.dynamics.roll(layout.pack(drive[:, :n_in], drive[:, n_in:base], s))
