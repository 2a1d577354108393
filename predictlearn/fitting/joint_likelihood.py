"""The likelihood of all sessions together: shared neurons, and a free gauge in every session.

Session k measured y_k: vm, vu, S_bb of its neurons, and the outputs' zm and zu, up to a gauge
Q_k. In the gauge of learning

    y_k(Q_k) = S_k(x) + [R_k(x)^T W_k R_k(x)]_bb + noise_k,

x the start and the rate, W_k the sampling error of the neurons (joint_neurons). The noise is that
of the session's recording. Both W and the gauges are nuisances: W has a known covariance, a
gauge step a very wide one, so both are part of the covariance of one long row of measurements, and
x is found by least squares. R_k(x) also turns W_k, of which the best prediction is at hand: that
adds to the slopes in x. Expanding about the new optimum until nothing moves gives a maximum of the
likelihood over x, W and Q together.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import linalg

from predictlearn.fitting.joint_neurons import isserlis, moment_maps, roots
from predictlearn.fitting.joint_sessions import Measured, RawSession
from predictlearn.fitting.learning_fit import _scale
from predictlearn.fitting.learning_likelihood import Fitted, Problem
from predictlearn.fitting.learning_model import Model, Run
from predictlearn.fitting.learning_parameters import Layout
from predictlearn.fitting.learning_sessions import Noise, Sessions
from predictlearn.fitting.summary import Raw, named
from predictlearn.theory.gauge import canonical_transform
from predictlearn.theory.names import pathway_slices, table_pairs

__all__ = ["Stack"]

Array = npt.NDArray[np.float64]
# Most Gauss-Newton steps, and the squared step, in standard deviations, that counts as none.
_ROUNDS, _SETTLED = 30, 1e-2
# Standard deviation of a relative step of the gauge: wide, so that it is free.
_GAUGE_SD = 3.0
# Step of differences.
_STEP = 1e-5


@dataclass(frozen=True, eq=False)
class TurnedModel(Model):
    """A model whose predictions also turn the sampling errors, to first order about a point.

    Parameters
    ----------
    turn : ndarray, (n, P)
        Slopes of the turned errors in the natural parameters.
    about : ndarray, (P,)
        The natural parameters there.
    """

    turn: Array
    about: Array

    def run(self, x: Array, slopes: bool = True) -> Run | None:
        """Return predictions at x, or None where learning diverges."""
        run = super().run(x, slopes)
        if run is None:
            return None
        values = run.values + self.turn @ (self.layout.natural(x) - self.about)
        return replace(run, values=values, slopes=run.slopes + self.turn if slopes else run.slopes)


@dataclass(eq=False)
class Stack:
    """All sessions, their nuisances, and where they were last expanded.

    Parameters
    ----------
    model : Model
        In the gauge of learning.
    kernel : ndarray, (sessions, sessions)
        How sampling errors are shared.
    measured : sequence of Measured
        Sessions, each in its canonical gauge.
    gauges : list of ndarray, (rank, rank)
        Q: from the canonical gauge of a session to that of learning.
    delta : ndarray, (sessions, D (D + 1) / 2)
        Predicted sampling errors at the start of learning.
    """

    model: Model
    kernel: Array
    measured: Sequence[Measured]
    gauges: list[Array]
    delta: Array

    @classmethod
    def of(
        cls,
        data: Sessions,
        layout: Layout,
        tau: float,
        seed: int,
        kernel: Array,
        measured: Sequence[Measured],
        x: Array,
    ) -> Stack:
        """Lay out the sessions about a first fit x."""
        columns = tuple(measured[0].finite)
        n_sessions, n = len(measured), len(columns)
        blank = np.zeros(n_sessions * n)
        group = np.zeros(len(blank), dtype=np.intp)
        data = replace(
            data,
            columns=columns,
            session=np.repeat(np.arange(n_sessions), n),
            column=np.tile(np.arange(n), n_sessions),
            values=blank,
            noise=Noise(True, np.ones(len(blank)), group),
        )
        model = Model(data, layout, "linear", tau, seed, False)
        run = model.run(x, slopes=False)
        if run is None:
            raise FloatingPointError("the first fit diverges")
        delta = np.zeros((n_sessions, layout.n_overlaps))
        stack = cls(model, kernel, measured, [], delta)
        stack.gauges = [
            stack._first_gauge(s, m) for s, m in zip(run.matrices, measured, strict=True)
        ]
        return stack

    def _first_gauge(self, matrix: Array, measured: Measured) -> Array:
        """Return the gauge of the model at a session, with the signs that agree best."""
        where = pathway_slices(*self.model.layout.sizes)
        u, v, m = where["u"], where["v"], where["m"]
        back = np.linalg.inv(canonical_transform(matrix[u, u], matrix[v, m], matrix[v, u]))
        target = self._vector(self._raw(matrix))
        best, least = back, np.inf
        for signs in itertools.product((1.0, -1.0), repeat=len(back)):
            q = np.diag(signs) @ back
            there = self._vector(self._observed(measured).in_gauge(q))
            distance = float(np.sum((there - target) ** 2))
            if distance < least:
                best, least = q, distance
        return best

    # -- between rows of numbers and blocks ---------------------------------------------------

    def _raw(self, matrix: Array) -> Raw:
        """Return the blocks of S."""
        where = pathway_slices(*self.model.layout.sizes)
        m, u, v, z = (where[p] for p in "muvz")
        base = slice(0, u.stop)
        return Raw(
            matrix[v, m], matrix[v, u], matrix[base, base], matrix[z, base], matrix[z, z], (1, 0)
        )

    def _observed(self, measured: Measured) -> Raw:
        """Return the blocks of a measurement."""
        return self._blocks(measured.values[list(self.model.data.columns)].to_numpy())

    def _blocks(self, vector: Array) -> Raw:
        """Return the blocks from a row of numbers."""
        matrix = np.zeros((self.model.layout.dim,) * 2)
        pairs = table_pairs(*self.model.layout.sizes)
        for name, value in zip(self.model.data.columns, vector, strict=True):
            i, j = pairs[name]
            matrix[i, j] = matrix[j, i] = value
        return self._raw(matrix)

    def _vector(self, raw: Raw) -> Array:
        """Return the row of numbers of the blocks."""
        found = named(raw)
        return np.array([found[name] for name in self.model.data.columns])

    def _in_gauge(self, measured: Measured, q: Array) -> tuple[Array, Array, Array]:
        """Return a measurement in gauge q, its covariance, and its slopes in steps of the gauge."""
        raw = self._observed(measured)
        n, rank = len(self.model.data.columns), len(q)
        # a given change of gauge is linear in the blocks
        change = np.array([self._vector(self._blocks(e).in_gauge(q)) for e in np.eye(n)]).T
        covariance = change @ measured.block(self.model.data.columns) @ change.T
        here = raw.in_gauge(q)
        tangents = []
        for a, b in itertools.product(range(rank), repeat=2):
            step = np.zeros((rank, rank))
            step[a, b] = _STEP
            up, down = here.in_gauge(np.eye(rank) + step), here.in_gauge(np.eye(rank) - step)
            tangents.append((self._vector(up) - self._vector(down)) / (2 * _STEP))
        return self._vector(here), covariance, np.array(tangents).T

    # -- expansion ----------------------------------------------------------------------------

    def _maps(self, x: Array) -> Array:
        """Return how the measurements answer to the sampling errors, (sessions, columns, 10)."""
        layout = self.model.layout
        n_base = layout.sizes[0] + layout.sizes[1]
        moved = moment_maps(roots(self.model, x), n_base)
        pairs = table_pairs(*layout.sizes)
        rows, cols = np.triu_indices(n_base)
        place = {(int(i), int(j)): p for p, (i, j) in enumerate(zip(rows, cols, strict=True))}
        out = np.zeros((len(moved), len(self.model.data.columns), moved.shape[2]))
        for c, name in enumerate(self.model.data.columns):
            i, j = pairs[name]
            p = place.get((min(i, j), max(i, j)))
            if p is not None:
                out[:, c] = moved[:, p]
        return out

    def _turn(self, x: Array) -> Array:
        """Return the slopes of the turned sampling errors in the natural parameters, (n, P)."""
        here = self._maps(x)
        columns = []
        for p in range(len(x)):
            step = np.zeros(len(x))
            step[p] = _STEP
            moved = self._maps(x + step) - here
            columns.append(np.einsum("kcd,kd->kc", moved, self.delta).ravel() / _STEP)
        in_x = np.array(columns).T
        return np.asarray(in_x @ np.linalg.pinv(self.model.layout.slopes(x), rcond=1e-8))

    def _turned(self, model: Model, x: Array) -> TurnedModel:
        """Return the model whose predictions turn the sampling errors about x."""
        return TurnedModel(
            model.data,
            model.layout,
            model.nonlinearity,
            model.tau,
            model.seed,
            False,
            self._turn(x),
            model.layout.natural(x),
        )

    def _expand(self, x: Array) -> tuple[Problem, Array, Array]:
        """Return the problem at x, and what predicts nuisances from C^-1 residuals.

        The sampling errors are not turned yet: that is slow, and changes nothing at x itself.
        """
        layout = self.model.layout
        found = [self._in_gauge(m, q) for m, q in zip(self.measured, self.gauges, strict=True)]
        values = np.concatenate([f[0] for f in found])
        noise = linalg.block_diag(*(f[1] for f in found))
        tangents = linalg.block_diag(*(f[2] for f in found))
        maps = self._maps(x)
        spread = maps @ isserlis(np.eye(layout.dim))
        n = len(values)
        shared = np.einsum("jk,jcd,ked->jcke", self.kernel, spread, maps).reshape(n, n)
        total = noise + shared + _GAUGE_SD**2 * tangents @ tangents.T
        root = np.linalg.cholesky((total + total.T) / 2)
        data = self.model.data
        known = replace(data.noise, roots=[(slice(0, n), root)])
        model = replace(self.model, data=replace(data, values=values, noise=known))
        return Problem(model, True, _scale(model.data)), tangents, spread

    def settle(self, best: Fitted, raw: Sequence[RawSession] | None) -> tuple[Problem, Fitted, int]:
        """Run Gauss-Newton over x, sampling errors and gauges until nothing moves.

        Parameters
        ----------
        best : Fitted
            Where to begin.
        raw : sequence of RawSession or None
            Recordings to be expanded along; None to keep the sessions as they were measured.

        Returns
        -------
        tuple of Problem, Fitted and int
            The problem about the fit, the fit, and the steps taken.
        """
        x, sd = best.x, best.group_sd
        problem, tangents, spread = self._renewed(x, raw)
        steps, decrement = 0, np.inf
        while steps < _ROUNDS:
            steps += 1
            if self._samples:
                problem = Problem(self._turned(problem.model, x), True, problem.scale)
            white = problem.residuals(x, sd)
            slopes = -problem.slopes(x, sd)
            move = np.linalg.lstsq(slopes, white, rcond=1e-10)[0]
            decrement = float(np.sum((slopes @ move) ** 2))
            if decrement < _SETTLED:
                break
            # a step of the gauge is linear in this step of x: beyond it both are curved
            kept, share = (self.gauges, self.delta, self.measured), 1.0
            cost = float(white @ white)
            while True:
                left = white - share * (slopes @ move)
                self._predict(problem, left, tangents, spread)
                trial = x + share * move
                if problem.run(trial) is not None:
                    renewed = self._renewed(trial, raw)
                    again = renewed[0].residuals(trial, sd)
                    if float(again @ again) < cost + 1.0 or share < 0.1:
                        break
                elif share < 1e-3:
                    raise FloatingPointError("no step of the joint fit gives finite learning")
                self.gauges, self.delta, self.measured = kept
                share /= 2
            x, (problem, tangents, spread) = trial, renewed
        cost = -problem.log_likelihood(x, sd)
        return problem, Fitted(x, sd, cost, best.converged and decrement < 2 * _SETTLED), steps

    @property
    def _samples(self) -> bool:
        """Whether any session recorded a sample of the neurons only."""
        return bool(np.any(np.diag(self.kernel) > 1e-12))

    def _renewed(self, x: Array, raw: Sequence[RawSession] | None) -> tuple[Problem, Array, Array]:
        """Return the expansion about x, the recordings expanded first."""
        if raw is not None:
            run = self.model.run(x, slopes=False)
            if run is None:
                raise FloatingPointError("the joint fit diverges")
            blocks = [self._raw(s) for s in run.matrices]
            self.measured = [r.expand(b.vm, b.vu) for r, b in zip(raw, blocks, strict=True)]
        return self._expand(x)

    def _predict(self, problem: Problem, white: Array, tangents: Array, spread: Array) -> None:
        """Update sampling errors and gauges from whitened residuals."""
        data = problem.model.data
        if data.noise.roots is None:
            raise ValueError("the sessions were not stacked")
        root = data.noise.roots[0][1]
        pull = linalg.solve_triangular(root, white[: data.n], lower=True, trans="T")
        by_session = pull.reshape(len(self.measured), -1)
        self.delta = np.einsum("jk,kcd,kc->jd", self.kernel, spread, by_session)
        rank = self.model.layout.sizes[1]
        moves = -(_GAUGE_SD**2) * (tangents.T @ pull).reshape(-1, rank, rank)
        self.gauges = [
            q @ linalg.expm(np.clip(e, -0.5, 0.5)) for q, e in zip(self.gauges, moves, strict=True)
        ]
