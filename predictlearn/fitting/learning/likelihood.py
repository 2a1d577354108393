"""Maximum likelihood of a start and its rates, from several starts, by least squares."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import least_squares

from predictlearn.arrays import Array
from predictlearn.fitting.learning.model import LearnedRun, Model
from predictlearn.fitting.learning.parameters import ParameterLayout, draw_factor
from predictlearn.fitting.learning.sessions import Sessions, start_values
from predictlearn.kept import once
from predictlearn.theory.names import pathway_slices
from predictlearn.workers import Parallel, counted, delayed

__all__ = ["PIN", "Fitted", "SessionsProblem", "convention", "search", "size_of"]

# Evaluations of a start before it is judged, and how many starts go on.
_SCREENING, _KEPT = 12, 2
# How often the best is searched on from where it stopped for want of evaluations.
_AGAIN = 3
# How closely a convention (a pin) is held, relative to the size of the overlaps.
PIN = 1e-4
# Rounds in which noise and parameters are estimated in turn.
_ROUNDS = 8
# Squared norms, relative to the size of the overlaps, beyond which no start is sought.
_LARGEST = 1e3
# Relative change of cost or parameters that ends a search: far below what noise can tell.
_TOLERANCE = 1e-7
# Gain of log likelihood in a whole search that counts as none: at most a seventh of an error.
_NOTHING = 1e-2


@dataclass(frozen=True, eq=False)
class Fitted:
    """A maximum of the likelihood.

    Parameters
    ----------
    x : numpy.ndarray
        Parameters.
    group_sd : numpy.ndarray, (2,)
        Noise of overlaps and of losses, of most likelihood.
    cost : float
        Minus the log likelihood.
    converged : bool
        Whether the search ended by its tolerances.
    """

    x: Array
    group_sd: Array
    cost: float
    converged: bool


@dataclass(eq=False)
class SessionsProblem:
    """Whitened residuals of a model, and their slopes.

    Parameters
    ----------
    model : Model
        Predictions.
    pins : bool
        Whether rotations of u and v change nothing that was measured: v_k m_j = 0 for k > j is then
        the convention.
    scale : float
        Size of the overlaps.
    fixed : (numpy.ndarray, float), optional
        A combination of the natural parameters, (P,), held at a value: for profiles.
    """

    model: Model
    pins: bool
    scale: float
    fixed: tuple[Array, float] | None = None
    _last: tuple[bytes, LearnedRun | None] = field(default=(b"", None), repr=False)

    def run(self, x: Array) -> LearnedRun | None:
        """Return the model's run at x; the last one is kept."""
        key = np.asarray(x).tobytes()
        if self._last[0] != key:
            # far outside there is nothing to find, only directions that nothing holds
            norms = np.sum(self.model.layout.factor(np.asarray(x)) ** 2, axis=1)
            inside = np.all(norms < _LARGEST * self.scale)
            self._last = (key, self.model.run(np.asarray(x)) if inside else None)
        return self._last[1]

    def residuals(self, x: Array, group_sd: Array) -> Array:
        """Return the residuals in units of noise, conventions last; infinite on divergence."""
        run = self.run(x)
        data = self.model.data
        conventions = self.conventions()
        extra = len(conventions) + (self.fixed is not None)
        if run is None:
            return np.full(data.n + extra, np.inf)
        white = data.noise.whiten(data.values - run.values, group_sd)
        natural = self.model.layout.natural(x)
        more = [-natural[p] / (PIN * self.scale) for p in conventions]
        if self.fixed is not None:
            along, value = self.fixed
            more.append((value - along @ natural) / PIN)
        return np.concatenate([white, more])

    def natural_slopes(self, x: Array, group_sd: Array) -> Array:
        """Return minus the slopes of the residuals in the natural parameters."""
        run = self.run(x)
        if run is None:
            raise FloatingPointError("slopes asked for where learning diverges")
        white = self.model.data.noise.whiten(run.slopes, group_sd)
        more = np.zeros((len(self.conventions()), white.shape[1]))
        more[np.arange(len(more)), self.conventions()] = 1 / (PIN * self.scale)
        if self.fixed is not None:
            more = np.concatenate([more, self.fixed[0][None] / PIN])
        return np.concatenate([white, more])

    def white(self, x: Array, group_sd: Array) -> Array:
        """Return what the fit leaves of every measurement, in units of its noise."""
        data, run = self.model.data, self.run(x)
        if run is None:
            raise FloatingPointError("the fit diverges")
        return data.noise.whiten(data.values - run.values, group_sd)

    def parts(self, x: Array, group_sd: Array) -> tuple[Array, Array]:
        """Return residuals for a test of drifts, and the directions that parameters can absorb."""
        data, layout, run = self.model.data, self.model.layout, self.run(x)
        if run is None:
            raise FloatingPointError("the fit diverges")
        moves = run.slopes * layout.scales(layout.matrix(x))
        if data.noise.shared is not None:
            # what the neurons recorded have in common is no drift
            moves = np.concatenate([moves, data.noise.shared], axis=1)
        left = data.noise.own(data.values - run.values, group_sd)
        return left, data.noise.own(moves, group_sd)

    def squares(self, x: Array, group_sd: Array, n_residual: int) -> tuple[Array, int]:
        """Return residuals for a chi-square test, and how many of them the parameters take."""
        return self.white(x, group_sd), self.model.data.n - n_residual

    def held(self, along: Array, value: float) -> SessionsProblem:
        """Return the problem with a combination of the natural parameters held at a value."""
        return SessionsProblem(self.model, self.pins, self.scale, (along, value))

    def slopes(self, x: Array, group_sd: Array) -> Array:
        """Return the slopes of the residuals in x."""
        return -self.natural_slopes(x, group_sd) @ self.model.layout.slopes(x)

    def conventions(self) -> list[int]:
        """Return which overlaps are zero by convention."""
        if not self.pins:
            return []
        layout = self.model.layout
        where = pathway_slices(*layout.sizes)
        rows, columns = layout.pairs
        v, m = where["v"], where["m"]
        return [
            p
            for p, (i, j) in enumerate(zip(rows, columns, strict=True))
            if v.start <= i < v.stop and j < m.stop and i - v.start > j
        ]

    # -- likelihood ---------------------------------------------------------------------------

    def first_noise(self) -> Array:
        """Return a first guess of the noise: from differences of neighbouring sessions."""
        data = self.model.data
        out = np.ones(2)
        for g in (0, 1):
            parts = [
                np.diff(data.values[(data.column == c) & (data.noise.group == g)])
                for c in range(len(data.columns))
            ]
            steps = np.concatenate(parts)
            if steps.size:
                out[g] = max(float(np.median(np.abs(steps))), self.floor(g))
        return out

    def floor(self, g: int) -> float:
        """Return the least noise of a group that is distinguished from none."""
        values = self.model.data.values[self.model.data.noise.group == g]
        return 1e-9 * max(float(np.abs(values).max(initial=0.0)), 1e-12)

    def noise_at(self, x: Array, group_sd: Array) -> Array:
        """Return the noise of most likelihood for the residuals at x."""
        data, run = self.model.data, self.run(x)
        if data.noise.known or run is None:
            return group_sd
        out = group_sd.copy()
        left = data.values - run.values
        squares = left**2
        if data.noise.shared is not None:
            # one step of EM: what is left beside the most likely shared error, and its variance
            part = data.noise.own(data.noise.shared, group_sd)
            inverse = np.linalg.inv(np.eye(part.shape[1]) + part.T @ part)
            shared = data.noise.shared
            most_likely = shared @ (inverse @ (part.T @ data.noise.own(left, group_sd)))
            squares = (left - most_likely) ** 2 + np.einsum("ij,jk,ik->i", shared, inverse, shared)
        for g in (0, 1):
            rows = data.noise.group == g
            if rows.any():
                out[g] = max(float(np.sqrt(np.mean(squares[rows]))), self.floor(g))
        return out

    def log_likelihood(self, x: Array, group_sd: Array) -> float:
        """Return the Gaussian log likelihood of the measurements."""
        data = self.model.data
        white = self.residuals(x, group_sd)[: data.n]
        normal = data.n * np.log(2 * np.pi) + data.noise.log_determinant(group_sd)
        return float(-0.5 * (np.sum(white**2) + normal))

    def value(self, x: Array, group_sd: Array) -> float:
        """Return the log likelihood without slopes, but for a constant; infinite on divergence."""
        data, run = self.model.data, self.model.run(x, slopes=False)
        if run is None:
            return -np.inf
        white = data.noise.whiten(data.values - run.values, group_sd)
        return float(-0.5 * (white @ white) - 0.5 * data.noise.log_determinant(group_sd))

    def improve(self, x: Array, group_sd: Array, most: int) -> Fitted | None:
        """Search from x; None where learning diverges at once."""
        if self.run(x) is None:
            return None
        noise = self.model.data.noise
        in_turn = not noise.known and (len(set(noise.group)) > 1 or noise.shared is not None)
        converged = False
        for _ in range(_ROUNDS if in_turn and most > _SCREENING else 1):
            before = 0.5 * float(np.sum(self.residuals(x, group_sd) ** 2))
            # its trust region may divide by zero or overflow on the way to a step
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                result = least_squares(
                    self.residuals,
                    x,
                    jac=self.slopes,
                    method="trf",
                    x_scale=1.0,
                    ftol=_TOLERANCE,
                    xtol=_TOLERANCE,
                    gtol=_TOLERANCE,
                    max_nfev=most,
                    args=(group_sd,),
                )
            # along an open direction steps need not end by themselves, though nothing is gained
            gained = before - float(result.cost)
            x, converged = result.x, bool(result.status > 0 or gained < _NOTHING)
            new = self.noise_at(x, group_sd)
            settled = np.all(np.abs(np.log(new / group_sd)) < 1e-3)
            group_sd = new
            if settled:
                break
        return Fitted(x, group_sd, -self.log_likelihood(x, group_sd), converged)


def _start(problem: SessionsProblem, rng: np.random.Generator, plain: bool) -> Array:
    """Draw a realisable start that agrees with what the first session saw."""
    layout = problem.model.layout
    seen = start_values(problem.model.data)
    lower = draw_factor(layout.dim, np.sqrt(problem.scale), rng)
    if plain:
        lower = np.sqrt(problem.scale) * np.eye(layout.dim)
    x = np.concatenate([lower[np.tril_indices(layout.dim)], np.zeros(len(layout.rate_names))])
    if seen:
        rows, columns = np.array(list(seen)).T
        values = np.array(list(seen.values()))
        wide = np.zeros(len(x))

        def left(w: Array) -> Array:
            wide[: layout.n_overlaps] = w
            s = layout.matrix(wide)
            return np.asarray(s[rows, columns] - values)

        x[: layout.n_overlaps] = least_squares(left, x[: layout.n_overlaps], max_nfev=50).x
    s = layout.matrix(x)
    # into the interior, where every direction can be tried
    s = 0.97 * s + 0.03 * np.diag(np.maximum(np.diag(s), 0.1 * problem.scale))
    return layout.pack(s, x[layout.n_overlaps :])


def search(
    problem: SessionsProblem, n_starts: int, max_iter: int, seed: int, n_jobs: int
) -> Fitted | None:
    """Return the best maximum from several starts, or None if every start diverges.

    The first start fills unseen overlaps with the identity, the others from the prior. All are
    improved for a few steps; the best two go on.
    """
    noise = problem.first_noise()
    children = np.random.SeedSequence(seed).spawn(n_starts)
    starts = [
        _start(problem, np.random.default_rng(child), plain=k == 0)
        for k, child in enumerate(children)
    ]
    tried = Parallel(n_jobs=n_jobs)(delayed(problem.improve)(x, noise, _SCREENING) for x in starts)
    found = sorted((f for f in tried if f is not None), key=lambda f: f.cost)
    if not found:
        return None
    ended = [once(problem.improve, f.x, f.group_sd, max_iter) for f in counted(found[:_KEPT])]
    best = min((f for f in ended if f is not None), key=lambda f: f.cost)
    for _ in range(_AGAIN):
        if best.converged:
            break
        # a search that is begun anew and gains nothing has ended
        best = once(problem.improve, best.x, best.group_sd, max_iter) or best
    return best


def convention(layout: ParameterLayout, matrix: Array) -> Array:
    """Return the signs, (D,), of u and v that make the first vm positive."""
    where, (n_in, rank, _) = pathway_slices(*layout.sizes), layout.sizes
    signs = np.ones(layout.dim)
    for k in range(rank):
        u, v = where["u"].start + k, where["v"].start + k
        if matrix[v, min(k, n_in - 1)] < 0:
            signs[[u, v]] = -1.0
    return signs


def size_of(data: Sessions) -> float:
    """Return the size of the overlaps: the mean squared norm seen in the first session, or 1."""
    norms = [value for (i, j), value in start_values(data).items() if i == j and value > 0]
    return float(np.exp(np.mean(np.log(norms)))) if norms else 1.0
