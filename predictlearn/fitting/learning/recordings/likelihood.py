"""The likelihood of a start and its rates given raw recordings: slopes, curvature, residuals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from predictlearn.arrays import Array
from predictlearn.errors import DivergenceError
from predictlearn.fitting.learning.likelihood import PIN, Fitted, SessionsProblem
from predictlearn.fitting.learning.model import legs_of
from predictlearn.fitting.learning.point_estimate import turned
from predictlearn.fitting.learning.recordings.data import expanded, with_noise
from predictlearn.fitting.learning.recordings.information import expected_information
from predictlearn.fitting.learning.recordings.marginal import (
    Gradient,
    Recorded,
    information,
    marginal,
)
from predictlearn.kept import once
from predictlearn.theory.learning.sensitivity import SensitiveRun, learn_with_sensitivities
from predictlearn.theory.names import table_pairs
from predictlearn.theory.overlaps import Overlaps

__all__ = ["RawProblem"]

# Slopes of overlaps and transports beyond which learning is chaotic: nothing can be compared there.
_CHAOS = 1e6
# Step of the differences of exact slopes that give the curvature, in units of sqrt(scale).
_STEP = 1e-5
# Slope, in units of one standard deviation, and gain of a whole step, that end a search.
_SETTLED, _GAIN = 1e-3, 1e-4
# Step, in standard deviations, of the differences that carry the error of overlaps to loadings.
_NUDGE = 0.1
# Rounds of expanding counts about the course that the expansion before makes most likely.
_ROUNDS = 25
# Lengths of a step that are tried.
_TRIES = 15


@dataclass(eq=False)
class RawProblem(SessionsProblem):
    """The likelihood of recordings, in place of that of measured overlaps.

    Parameters
    ----------
    recorded : Recorded
        The sessions, with their noise.
    gain : float
        What is recorded of a current of 1, where that is known.
    """

    recorded: Recorded = field(default_factory=lambda: Recorded([], 0, np.inf))
    gain: float = 1.0
    _at: tuple[bytes, tuple[float, Array] | None] = field(default=(b"", None), repr=False)
    _here: tuple[bytes, Any] = field(default=(b"", None), repr=False)
    _bent: tuple[bytes, Array] = field(default=(b"", np.empty(0)), repr=False)

    def altered(self, **changes: Any) -> RawProblem:
        """Return the problem with changes, and nothing remembered."""
        forgotten: dict[str, Any] = {
            "_at": (b"", None),
            "_here": (b"", None),
            "_bent": (b"", np.empty(0)),
        }
        return replace(self, **forgotten, **changes)

    def learned(self, x: Array, slopes: bool = True) -> SensitiveRun | None:
        """Return overlaps, transports and slopes at the sessions; None on divergence or chaos."""
        layout, data = self.model.layout, self.model.data
        norms = np.sum(layout.factor(x) ** 2, axis=1)
        log_rates = x[layout.n_overlaps :]
        if not np.all(norms < 1e3 * self.scale) or np.any(np.abs(log_rates) > 20):
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                run = learn_with_sensitivities(
                    Overlaps(layout.matrix(x), *layout.sizes),
                    legs_of(data.tasks, data.epochs, layout.rule_at(log_rates)),
                    data.epochs.tolist(),
                    tau=self.model.tau,
                    seed=self.model.seed,
                    slopes=slopes,
                    carry=True,
                )
            except DivergenceError:
                return None
        wild = not all(np.all(np.abs(part) < _CHAOS) for part in (run.slopes, run.carried))
        return None if wild else run

    def evaluate(self, x: Array) -> tuple[float, Array] | None:
        """Return the log likelihood and its slopes in x, conventions included."""
        key = np.asarray(x).tobytes()
        if self._at[0] != key:
            self._at = (key, self._evaluate(np.asarray(x)))
        return self._at[1]

    def at(self, x: Array, slopes: bool = True) -> tuple[SensitiveRun, Array, Gradient] | None:
        """Return learning, the transports of (m, u) with their slopes, and the likelihood."""
        if not slopes:
            return self._ran(x, slopes)
        key = np.asarray(x).tobytes()
        if self._here[0] != key:
            self._here = (key, self._ran(x, slopes))
        return self._here[1]

    def _ran(self, x: Array, slopes: bool) -> tuple[SensitiveRun, Array, Gradient] | None:
        """Return what `at` keeps."""
        run = self.learned(x, slopes)
        if run is None:
            return None
        n_in, rank, _ = self.model.layout.sizes
        transports = run.carried[:, :, : n_in + rank]
        found = marginal(self.recorded, self._maps(x, transports), run.matrices)
        if found is None or not np.isfinite(found.value):
            return None
        return run, transports, found

    def _sure(self, x: Array) -> tuple[SensitiveRun, Array, Gradient]:
        """Return `at` without slopes, where it must not diverge."""
        here = self.at(x, slopes=False)
        if here is None:
            raise FloatingPointError("learning diverges at the fit")
        return here

    def gain_at(self, x: Array) -> float:
        """Return the gain of the recordings."""
        layout = self.model.layout
        return self.gain if layout.gain is None else float(layout.gain * np.exp(x[-1]))

    def _maps(self, x: Array, transports: Array) -> Array:
        """Return C = L' A of every session, times the gain."""
        lower = self.gain_at(x) * self.model.layout.factor(x)
        return np.einsum("ji,kjb->kib", lower, transports[..., 0])

    def _evaluate(self, x: Array) -> tuple[float, Array] | None:
        """Return what `evaluate` keeps."""
        layout = self.model.layout
        n_in, rank, _ = layout.sizes
        base = n_in + rank
        here = self.at(x)
        if here is None:
            return None
        run, transports, found = here
        gain = self.gain_at(x)
        lower = gain * layout.factor(x)
        # in natural parameters: through the transports, and through dynamics and readouts
        moves = np.einsum("kib,ji,kjbp->p", found.maps, lower, transports[..., 1:])
        v = slice(base, base + rank)
        drive = np.zeros_like(run.matrices)
        drive[:, v, :n_in] = found.drives[:, : rank * n_in].reshape(-1, rank, n_in)
        drive[:, v, n_in:base] = found.drives[:, rank * n_in :].reshape(-1, rank, rank)
        drive[:, base + rank :, :base] = found.readouts
        moves = moves + np.einsum("kij,kijp->p", drive, run.slopes)
        natural = self.model._chosen(moves)
        if layout.gain is not None:
            natural[-1] += np.sum(self._maps(x, transports) * found.maps)
        value = found.value
        given = layout.natural(x)
        for p in self.conventions():
            value -= 0.5 * (given[p] / (PIN * self.scale)) ** 2
            natural[p] -= given[p] / (PIN * self.scale) ** 2
        if self.fixed is not None:
            along, held = self.fixed
            off = float(held - along @ given)
            value -= 0.5 * (off / PIN) ** 2
            natural = natural + off / PIN**2 * along
        slopes = layout.slopes(x).T @ natural
        # C = gain L' A: the loadings' own dependence on L
        by_factor: Array = gain * np.einsum("kjb,kib->ji", transports[..., 0], found.maps)
        slopes[: layout.n_overlaps] += by_factor[np.tril_indices(layout.dim)]
        return value, slopes

    def information(self, x: Array) -> Array:
        """Return minus the expected second derivatives in x, conventions included.

        Positive semidefinite, and cheaper than one evaluation of the likelihood.
        """
        here = self.at(x)
        if here is None:
            raise FloatingPointError("learning diverges at the fit")
        run, transports, found = here
        layout = self.model.layout
        gain, by_x, maps = self.gain_at(x), layout.slopes(x), self._maps(x, transports)
        lower = gain * layout.factor(x)
        # C = gain L' A: by the transports, by the gain, and by L itself
        moves = np.einsum("ji,kjbp->kibp", lower, self.model._chosen(transports[..., 1:])) @ by_x
        if layout.gain is not None:
            moves[..., -1] += maps
        rows, columns = np.tril_indices(layout.dim)
        moves[:, columns, :, np.arange(layout.n_overlaps)] += gain * transports[:, rows, :, 0]
        known = expected_information(
            self.recorded,
            maps,
            run.matrices,
            found,
            moves,
            self.model._chosen(run.slopes) @ by_x,
        )
        held = by_x[self.conventions()] / (PIN * self.scale)
        if self.fixed is not None:
            held = np.concatenate([held, self.fixed[0][None] @ by_x / PIN])
        return known + held.T @ held

    def curvature(self, x: Array) -> Array:
        """Return minus the second derivatives in x, by differences of exact slopes."""
        step = _STEP * np.sqrt(self.scale)
        out = np.empty((len(x), len(x)))
        for p, along in enumerate(step * np.eye(len(x))):
            ends = [self._evaluate(x + along), self._evaluate(x - along)]
            if ends[0] is None or ends[1] is None:
                raise FloatingPointError("learning diverges beside the fit")
            out[p] = (ends[1][1] - ends[0][1]) / (2 * step)
        return (out + out.T) / 2

    def log_likelihood(self, x: Array, group_sd: Array) -> float:
        """Return the log likelihood less the part that depends on the noise alone."""
        found = self.evaluate(x)
        return -np.inf if found is None else found[0]

    def value(self, x: Array, group_sd: Array) -> float:
        """Return the log likelihood without slopes, but for a constant; infinite on divergence."""
        here = self.at(x, slopes=False)
        return -np.inf if here is None else here[2].value

    def natural_slopes(self, x: Array, group_sd: Array) -> Array:
        """Return a root of the information in the natural parameters, (P, P)."""
        values, vectors = np.linalg.eigh(self._curvature_at(x))
        root = np.sqrt(np.clip(values, 0.0, None))[:, None] * vectors.T
        return np.asarray(root @ np.linalg.pinv(self.model.layout.slopes(x), rcond=1e-8))

    def _curvature_at(self, x: Array) -> Array:
        """Return `curvature`; the last one is kept."""
        key = np.asarray(x).tobytes()
        if self._bent[0] != key:
            self._bent = (key, once(self.curvature, np.asarray(x)))
        return self._bent[1]

    def improve(self, x: Array, group_sd: Array, most: int) -> Fitted | None:
        """Search from x, at most `most` steps; None where learning diverges at once."""
        x = turned(self, x) if self.fixed is None else x
        here = self.evaluate(x)
        if here is None:
            return None
        damping, converged = 0.0, False
        for _ in range(most):
            value, slopes = here
            values, vectors = np.linalg.eigh(self.information(x))
            # a direction that the data leave open is not followed further than its slope carries
            values = np.maximum(values, 1 / self.scale)
            along = vectors.T @ slopes
            if np.sum(along**2 / values) < _SETTLED**2:
                converged = True
                break
            step, at = vectors @ (along / (values + damping)), None
            for _ in range(_TRIES):
                at = self.evaluate(x + step)
                if at is not None and at[0] > value:
                    break
                damping = max(4 * damping, 1e-3 * float(np.median(values)))
                step = vectors @ (along / (values + damping))
            if at is None or at[0] <= value:
                # no step of any length climbs: the top, within rounding
                converged = bool(np.sum(along**2 / values) < 1.0)
                break
            x, here = x + step, at
            if at[0] - value < _GAIN and damping <= values[0]:
                converged = True
                break
            damping /= 8
        return Fitted(x, group_sd, -self.log_likelihood(x, group_sd), converged)

    def settled(self, x: Array) -> RawProblem:
        """Return the problem with noise and expansion as they are at x."""
        run, _, _ = self._sure(x)
        return self.altered(recorded=with_noise(self.recorded, run.matrices)).expanded(x)

    def expanded(self, x: Array) -> RawProblem:
        """Return the problem with counts expanded about the course that is most likely at x.

        Course and expansion are found in turn. All else is as it was, so that values of the
        likelihood, each with its own expansion, can be compared.
        """
        problem, value = self, -np.inf
        for _ in range(_ROUNDS if self.recorded.expanded else 0):
            run, transports, found = problem._sure(x)
            maps = problem._maps(x, transports)
            before, value = value, found.value
            recorded = expanded(problem.recorded, run.matrices, maps, found.posterior.mean)
            problem = problem.altered(recorded=recorded)
            if abs(value - before) < _SETTLED:
                break
        return problem

    def _scores(self, x: Array) -> tuple[Array, Array, Array]:
        """Return score, information and slopes of what a session could have of its own.

        That is its vm, vu, zm, zu and A, (K, q); the slopes, (K, q, P), are by the natural
        parameters in natural units.
        """
        here = self.at(x)
        if here is None:
            raise FloatingPointError("learning diverges at the fit")
        run, transports, found = here
        layout, data = self.model.layout, self.model.data
        lower, posterior = self.gain_at(x) * layout.factor(x), found.posterior
        second = posterior.covariance + posterior.mean[:, :, None] * posterior.mean[:, None, :]
        second = lower @ second @ lower.T
        known = information(self.recorded, transports[..., 0], run.matrices, second)
        parts = (found.drives, found.readouts, lower @ found.maps)
        scores = np.concatenate([p.reshape(len(known), -1) for p in parts], axis=1)
        pairs = table_pairs(*layout.sizes)
        rows, columns = np.array([pairs[name] for name in data.columns]).T
        moved = transports[..., 1:].reshape(len(known), -1, transports.shape[-1] - 1)
        slopes = self.model._chosen(np.concatenate([run.slopes[:, rows, columns], moved], axis=1))
        if layout.gain is not None:
            # as if A grew
            slopes[:, len(data.columns) :, -1] = transports[..., 0].reshape(len(known), -1)
        return scores, known, slopes * layout.scales(layout.matrix(x))

    def parts(self, x: Array, group_sd: Array) -> tuple[Array, Array]:
        """Return how far each session's dynamics and readout would leave the fit, and its slopes.

        The score of a session by its own vm, vu, zm and zu, in units of its standard deviation.
        """
        scores, known, slopes = self._scores(x)
        q = len(self.model.data.columns)
        roots = np.linalg.cholesky(known[:, :q, :q])
        white = np.linalg.solve(roots, scores[:, :q, None])[..., 0]
        return white.ravel(), (np.swapaxes(roots, 1, 2) @ slopes[:, :q]).reshape(white.size, -1)

    def squares(self, x: Array, group_sd: Array, n_residual: int) -> tuple[Array, int]:
        """Return residuals of dynamics, readouts and loadings in every session, for a chi-square.

        Free in a session are its vm, vu, zm, zu and its A, but for the gauge. What the parameters
        absorb is taken out, and so is what the loadings absorb: A_k -> T A_k for any T. A neuron
        that few sessions saw absorbs more, which makes the test conservative.
        """
        scores, known, slopes = self._scores(x)
        transports = self._sure(x)[1][..., 0]
        dim, base = transports.shape[1:]
        at_map = known.shape[1] - dim * base
        gauge = self.model.layout.sizes[1] ** 2
        left, moves = [], []
        for score, info, slope, a in zip(scores, known, slopes, transports, strict=True):
            units = 1 / np.sqrt(np.diag(info))
            values, vectors = np.linalg.eigh(info * units * units[:, None])
            values, vectors = values[gauge:], vectors[:, gauge:]
            turned = np.zeros((len(info), dim * dim))
            # d(T A)_ib = dT_ij A_jb
            turned[at_map:] = np.kron(np.eye(dim), a.T)
            left.append(vectors.T @ (units * score) / np.sqrt(values))
            both = np.concatenate([slope, turned], axis=1) / units[:, None]
            moves.append(np.sqrt(values)[:, None] * (vectors.T @ both))
        return _left_over(np.concatenate(left), np.concatenate(moves))

    def white(self, x: Array, group_sd: Array) -> Array:
        """Return what the parameters cannot absorb of `parts`."""
        return _left_over(*self.parts(x, group_sd))[0]

    def loadings(self, x: Array) -> tuple[Array, Array]:
        """Return the loadings of every neuron before learning, (n, D), and their sds.

        The sds hold both what the recordings leave open of a neuron and what they leave open of the
        overlaps and rates, along the directions that are identified.
        """
        mean, spread = self._loadings(x)
        values, vectors = np.linalg.eigh(self._curvature_at(x))
        for value, vector in zip(values, vectors.T, strict=True):
            # as in learning_identifiability: beyond one natural unit nothing is known
            if value * self.scale > 1.0:
                ends = [
                    self._loadings(x + side * _NUDGE / np.sqrt(value) * vector)[0]
                    for side in (1, -1)
                ]
                spread = spread + ((ends[0] - ends[1]) / (2 * _NUDGE)) ** 2
        return mean, np.sqrt(spread)

    def _loadings(self, x: Array) -> tuple[Array, Array]:
        """Return means and variances of loadings for given overlaps and rates."""
        lower, posterior = self.model.layout.factor(x), self._sure(x)[2].posterior
        spread = np.einsum("ij,njk,ik->ni", lower, posterior.covariance, lower)
        return posterior.mean @ lower.T, np.maximum(spread, 0.0)

    def held(self, along: Array, value: float) -> RawProblem:
        """Return the problem with a combination of the natural parameters held."""
        return self.altered(fixed=(along, value))


def _left_over(left: Array, moves: Array) -> tuple[Array, int]:
    """Return residuals less their part in the span of `moves`, and the dimension of that."""
    basis, values, _ = np.linalg.svd(moves, full_matrices=False)
    basis = basis[:, values > 1e-8 * values[0]]
    return np.asarray(left - basis @ (basis.T @ left)), basis.shape[1]
