"""Linear baselines of baselines.md: principal components with an autoregression, and an LDS.

Every model here has the same three methods. ``fit(y, x)`` takes activity (trials, time, neurons)
and inputs, ``open_loop(x)`` predicts activity from inputs alone, ``one_step(y, x)`` predicts each
bin from inputs and the recorded bins before it. ``seconds`` is the CPU time of the fit (compilation
left out), ``n_parameters`` what was estimated.
"""

from __future__ import annotations

import time
import warnings
from functools import partial

import numpy as np
from sklearn.decomposition import FactorAnalysis

Array = np.ndarray
LEAST = 1e-3  # added to the variances of the state, which factor analysis starts near one


def lagged(x: Array, lags: int) -> Array:
    """Return inputs with ``lags`` past bins beside the current one, zero before the trial.

    Columns that never change are left out, since every model has an offset of its own.
    """
    columns = [np.roll(x, j, axis=1) for j in range(lags + 1)]
    for j, column in enumerate(columns):
        column[:, :j] = 0.0
    wide = np.concatenate(columns, axis=2)
    return wide[:, :, np.ptp(wide, axis=(0, 1)) > 0]


class PCARegression:
    """Principal components with a linear autoregression driven by the inputs.

    z(t) = A_1 z(t-1) + ... + A_p z(t-p) + B_0 x(t) + ... + B_q x(t-q) + c by least squares, z the
    first ``dim`` components about the mean; before the trial z is its training mean in the first
    bin. ``order`` 0 leaves the autoregression out: a filter of the inputs by itself.
    """

    def __init__(self, dim: int, order: int, lags: int) -> None:
        self.dim, self.order, self.lags = dim, order, lags

    def fit(self, y: Array, x: Array) -> PCARegression:
        """Fit components, then the regression."""
        began = time.process_time()
        self.mean = y.mean(axis=(0, 1))
        _, _, rows = np.linalg.svd((y - self.mean).reshape(-1, y.shape[2]), full_matrices=False)
        self.axes = rows[: self.dim]
        z = (y - self.mean) @ self.axes.T
        self.start = z[:, 0].mean(axis=0)
        design = self._design(z, x)
        flat = design.reshape(-1, design.shape[2])
        self.weights = np.linalg.lstsq(flat, z.reshape(-1, self.dim), rcond=1e-10)[0]
        self.seconds = time.process_time() - began
        self.n_parameters = self.weights.size + self.axes.size + self.mean.size
        return self

    def _design(self, z: Array, x: Array) -> Array:
        """Return the regressors: past components, inputs, and one."""
        past = np.concatenate([np.tile(self.start, (len(z), self.order + 1, 1)), z], axis=1)
        n = z.shape[1]
        parts = [past[:, self.order + 1 - j :][:, :n] for j in range(1, self.order + 1)]
        return np.concatenate([*parts, lagged(x, self.lags), np.ones((*z.shape[:2], 1))], axis=2)

    def one_step(self, y: Array, x: Array) -> Array:
        """Predict each bin from the bins before it."""
        design = self._design((y - self.mean) @ self.axes.T, x)
        return self.mean + design @ self.weights @ self.axes

    def open_loop(self, x: Array) -> Array:
        """Roll out from the inputs alone."""
        drive = np.concatenate([lagged(x, self.lags), np.ones((*x.shape[:2], 1))], axis=2)
        n_past = self.order * self.dim
        drive = drive @ self.weights[n_past:]
        past = [np.tile(self.start, (len(x), 1)) for _ in range(self.order)]
        out = np.empty_like(drive)
        for t in range(x.shape[1]):
            z = drive[:, t].copy()
            for j, old in enumerate(past):
                z += old @ self.weights[j * self.dim : (j + 1) * self.dim]
            past = [z, *past[:-1]] if self.order else []
            out[:, t] = z
        return self.mean + out @ self.axes


class ResidualRegression:
    """A model of the mean with an autoregression of order one of its residuals on top.

    Open loop it is the model itself. One step ahead it adds what the last residual says about the
    next one, in the residuals' first ``dim`` principal components.
    """

    def __init__(self, model, dim: int) -> None:
        self.model, self.dim = model, dim

    def fit(self, y: Array, x: Array) -> ResidualRegression:
        """Fit the model, then the autoregression of its residuals."""
        self.model.fit(y, x)
        began = time.process_time()
        left = y - self.model.open_loop(x)
        _, _, rows = np.linalg.svd(left.reshape(-1, y.shape[2]), full_matrices=False)
        self.axes = rows[: self.dim]
        z = left @ self.axes.T
        old, new = z[:, :-1].reshape(-1, self.dim), z[:, 1:].reshape(-1, self.dim)
        self.weights = np.linalg.lstsq(old, new, rcond=1e-10)[0]
        self.seconds = self.model.seconds + time.process_time() - began
        self.n_parameters = self.model.n_parameters + self.weights.size + self.axes.size
        return self

    def open_loop(self, x: Array) -> Array:
        """Return the model's own prediction."""
        return self.model.open_loop(x)

    def one_step(self, y: Array, x: Array) -> Array:
        """Add what the last residual says."""
        out = self.model.open_loop(x)
        left = (y - out) @ self.axes.T
        out[:, 1:] += left[:, :-1] @ self.weights @ self.axes
        return out


class StaticFactors:
    """Factor analysis, its factors regressed on the inputs: what is left of an LDS without time."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def fit(self, y: Array, x: Array) -> StaticFactors:
        """Fit factors, then the regression."""
        began = time.process_time()
        self.model = FactorAnalysis(self.dim).fit(y[:, 0])
        z = self.model.transform(y[:, 0])
        design = np.concatenate([x[:, 0], np.ones((len(x), 1))], axis=1)
        self.weights = np.linalg.lstsq(design, z, rcond=None)[0]
        self.seconds = time.process_time() - began
        self.n_parameters = self.weights.size + self.model.components_.size + 2 * y.shape[2]
        return self

    def open_loop(self, x: Array) -> Array:
        """Predict from inputs."""
        design = np.concatenate([x[:, 0], np.ones((len(x), 1))], axis=1)
        return (self.model.mean_ + design @ self.weights @ self.model.components_)[:, None, :]


class FactorLDS:
    """A linear dynamical system with inputs by EM (dynamax), started from factor analysis.

    State ``dim``; inputs, with ``lags`` past bins, drive both state and emissions. Parameters start
    from factor analysis of the activity and a regression of its factors on the factors one bin
    before. EM stops when the log likelihood per trial rises by less than ``tol``.
    """

    def __init__(self, dim: int, lags: int, max_iter: int = 100, tol: float = 0.02) -> None:
        self.dim, self.lags, self.max_iter, self.tol = dim, lags, max_iter, tol

    def fit(self, y: Array, x: Array) -> FactorLDS:
        """Run factor analysis, then EM."""
        import jax.numpy as jnp

        wide = lagged(x, self.lags)
        model, step = _em(self.dim, y.shape[2], wide.shape[2])
        # trials filled up to a multiple of 8, of no weight, so that folds share compiled code
        more = -len(y) % 8
        emissions = jnp.asarray(np.concatenate([y, y[:more]]))
        inputs = jnp.asarray(np.concatenate([wide, wide[:more]]))
        weights = jnp.asarray(np.arange(len(emissions)) < len(y), dtype=float)
        params = self._start(model, y, wide)
        with warnings.catch_warnings():
            # n bins of n neurons: dynamax says which way it takes the covariance, the right one
            warnings.simplefilter("ignore", UserWarning)
            step(params, emissions, inputs, weights)[
                1
            ].block_until_ready()  # compile before the clock starts
        began = time.process_time()
        params = self._start(model, y, wide)
        self.trace: list[float] = []
        for _ in range(self.max_iter):
            params, value = step(params, emissions, inputs, weights)
            self.trace.append(float(value) / len(y))
            if len(self.trace) > 1 and self.trace[-1] - self.trace[-2] < self.tol:
                break
        params.initial.mean.block_until_ready()
        self.seconds = time.process_time() - began
        self.params = params
        n, d, k = y.shape[2], self.dim, wide.shape[2]
        self.n_parameters = n * (d + k + 1) + n * (n + 1) // 2 + d * (d + k + 1) + d * (d + 1) + d
        return self

    def _start(self, model, y: Array, x: Array):
        """Return parameters from factor analysis."""
        n, d = y.shape[2], self.dim
        flat = y.reshape(-1, n)
        factors = FactorAnalysis(d).fit(flat)
        z = factors.transform(flat).reshape(*y.shape[:2], d)
        ones = np.ones((len(y), y.shape[1] - 1, 1))
        design = np.concatenate([z[:, :-1], x[:, 1:], ones], axis=2)
        design, target = design.reshape(-1, design.shape[2]), z[:, 1:].reshape(-1, d)
        w = np.linalg.lstsq(design, target, rcond=1e-10)[0]
        cov = np.cov((target - design @ w).T).reshape(d, d) + 0.01 * np.eye(d)
        params, _ = model.initialize(
            initial_mean=z[:, 0].mean(axis=0),
            initial_covariance=np.cov(z[:, 0].T).reshape(d, d) + 0.01 * np.eye(d),
            dynamics_weights=w[:d].T,
            dynamics_input_weights=w[d:-1].T,
            dynamics_bias=w[-1],
            dynamics_covariance=cov,
            emission_weights=factors.components_.T,
            emission_bias=factors.mean_,
            emission_input_weights=np.zeros((n, x.shape[2])),
            emission_covariance=np.diag(np.maximum(factors.noise_variance_, 1e-3)),
        )
        return params

    def open_loop(self, x: Array) -> Array:
        """Roll the mean out from the inputs alone."""
        p, wide = self.params, lagged(x, self.lags)
        get = partial(np.asarray, dtype=float)
        state = np.tile(get(p.initial.mean), (len(x), 1))
        out = np.empty((*x.shape[:2], len(p.emissions.bias)))
        for t in range(x.shape[1]):
            if t:
                state = state @ get(p.dynamics.weights).T + get(p.dynamics.bias)
                state += wide[:, t] @ get(p.dynamics.input_weights).T
            out[:, t] = state @ get(p.emissions.weights).T + get(p.emissions.bias)
            out[:, t] += wide[:, t] @ get(p.emissions.input_weights).T
        return out

    def one_step(self, y: Array, x: Array) -> Array:
        """Predict by the Kalman filter; the gain is the same for every trial."""
        p, wide = self.params, lagged(x, self.lags)
        get = partial(np.asarray, dtype=float)
        a, b, q = get(p.dynamics.weights), get(p.dynamics.input_weights), get(p.dynamics.cov)
        c, d, r = get(p.emissions.weights), get(p.emissions.input_weights), get(p.emissions.cov)
        state, cov = np.tile(get(p.initial.mean), (len(y), 1)), get(p.initial.cov)
        out = np.empty_like(y)
        for t in range(y.shape[1]):
            if t:
                state = state @ a.T + wide[:, t] @ b.T + get(p.dynamics.bias)
                cov = a @ cov @ a.T + q
            out[:, t] = state @ c.T + wide[:, t] @ d.T + get(p.emissions.bias)
            gain = np.linalg.solve(c @ cov @ c.T + r, c @ cov).T
            state = state + (y[:, t] - out[:, t]) @ gain.T
            cov = cov - gain @ c @ cov
        return out


_COMPILED: dict[tuple[int, int, int], tuple] = {}


def _em(dim: int, n: int, n_in: int) -> tuple:
    """Return dynamax's model and one compiled EM step, kept by size."""
    import jax
    import jax.numpy as jnp
    from dynamax.linear_gaussian_ssm import LinearGaussianSSM

    if (dim, n, n_in) not in _COMPILED:
        model = LinearGaussianSSM(dim, n, n_in)

        @jax.jit
        def step(params, emissions, inputs, weights):
            stats, values = jax.vmap(partial(model.e_step, params))(emissions, inputs)
            stats = jax.tree.map(lambda s: (s.T * weights).T, stats)
            _, props = model.initialize()
            new, _ = model.m_step(params, props, stats, None)
            # dynamax 1.0.3 takes (sum x x^T - sum x sum x^T) / n for the covariance of the first
            # state, which is right for one trial only; with more it is not positive definite
            first, second, n_trials = (part.sum(axis=0) for part in stats[0])
            mean = first / n_trials
            cov = second / n_trials - jnp.outer(mean, mean)
            # where the data show no noise in the state, both covariances would end at zero
            least = LEAST * jnp.eye(dim)
            initial = new.initial._replace(mean=mean, cov=(cov + cov.T) / 2 + least)
            dynamics = new.dynamics._replace(
                cov=(new.dynamics.cov + new.dynamics.cov.T) / 2 + least
            )
            return new._replace(initial=initial, dynamics=dynamics), values @ weights

        _COMPILED[dim, n, n_in] = model, step
    return _COMPILED[dim, n, n_in]
