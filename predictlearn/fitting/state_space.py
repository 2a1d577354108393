"""Fit a linear low-rank network with process noise: a Kalman smoother inside EM."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from predictlearn.checks import as_float_array, positive, positive_int
from predictlearn.errors import ConvergenceWarning, InputError, choice
from predictlearn.fitting.bootstrap import interval_table
from predictlearn.fitting.moments import positive_part
from predictlearn.fitting.state_space_em import climb, loading_error, start_parameters
from predictlearn.fitting.state_space_model import (
    Activity,
    Parameters,
    Posterior,
    Sums,
    filtered_inputs,
    posterior,
)
from predictlearn.fitting.summary import Raw, canonical, invariants, named, unseen_reasons
from predictlearn.recordings.entry import check_activity, check_leading_axes

__all__ = ["Smoothed", "StochasticLowRankRNN"]

Array = npt.NDArray[np.float64]


class Smoothed(NamedTuple):
    """Posterior of k_u: mean (trials, time, rank), covariance (trials, time, rank, rank)."""

    mean: Array
    covariance: Array
    log_likelihood: float


class StochasticLowRankRNN(BaseEstimator):
    """Linear low-rank network with noise in its recurrent dynamics, fitted to one session.

    With a = dt/tau, activity of bin t read after the update that input bin t drives::

        k_m(t+1) = (1-a) k_m(t) + a x(t+1)
        k_u(t+1) = (1-a) k_u(t) + a [S_vm k_m(t) + S_vu k_u(t)] + w(t),   w ~ N(0, Q)
        y_i(t)   = offset_i + m_i . k_m(t) + u_i . k_u(t) + e_i(t),       e_i ~ N(0, r_i)

    and k_u of the first bin N(mean, P0). Fitted by expectation maximisation, every step in closed
    form.

    Parameters
    ----------
    rank : int
        Rank of the recurrent connectivity.
    dt, tau : float
        Bin and time constant, seconds. tau has to be given.
    offset : bool
        Whether every neuron has an offset.
    neurons : {"sample", "all"}
        As in `LowRankRNN`.
    max_iter : int
        Steps of expectation maximisation.
    tol : float
        Stop when a step raises the log likelihood by less.
    n_bootstrap : int
        Bootstrap replicates (trials, and for the moments of loadings neurons); 0 for none.
    bootstrap_iter : int
        Most steps of a replicate, which starts from the fit.
    seed : int
        Seed of the bootstrap.

    Attributes
    ----------
    overlaps_, unseen_, intervals_, gauge_invariants_
        As in `LowRankRNN`, in the same canonical gauge.
    m_, u_, offset_, noise_variance_, vm_, vu_, bb_, tau_, z_
        As in `LowRankRNN`.
    process_noise_ : ndarray, shape (rank, rank)
        Q, per bin, canonical gauge.
    initial_ : tuple of ndarray
        Mean (rank,) and covariance (rank, rank) of k_u in the first bin.
    log_likelihood_ : float
        At the end; ``log_likelihoods_`` after every step.
    converged_, n_iter_
        Whether and after how many steps EM stopped by itself.

    Notes
    -----
    zm, zu and zz need the readout itself.

    References
    ----------
    Shumway & Stoffer (1982), J. Time Series Analysis 3, 253; Ghahramani & Hinton (1996).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(30, 40, 1))
    >>> k, h = np.zeros((30, 2)), np.zeros((30, 40, 20))
    >>> loadings = rng.normal(size=(20, 2))
    >>> for t in range(40):
    ...     k = 0.8 * k + 0.2 * np.stack([x[:, t, 0], 0.9 * k[:, 0] + 0.5 * k[:, 1]], axis=1)
    ...     k[:, 1] += 0.2 * rng.normal(size=30)
    ...     h[:, t] = k @ loadings.T + 0.5 * rng.normal(size=(30, 20))
    >>> fit = StochasticLowRankRNN(rank=1, dt=0.2, tau=1.0, n_bootstrap=0).fit(h, x)
    >>> bool(abs(fit.overlaps_["vu"] - 0.5) < 0.2)
    True
    """

    def __init__(
        self,
        rank: int = 1,
        dt: float = 0.05,
        tau: float = 1.0,
        *,
        offset: bool = True,
        neurons: str = "sample",
        max_iter: int = 500,
        tol: float = 1e-2,
        n_bootstrap: int = 100,
        bootstrap_iter: int = 20,
        seed: int = 0,
    ) -> None:
        self.rank = rank
        self.dt = dt
        self.tau = tau
        self.offset = offset
        self.neurons = neurons
        self.max_iter = max_iter
        self.tol = tol
        self.n_bootstrap = n_bootstrap
        self.bootstrap_iter = bootstrap_iter
        self.seed = seed

    def _settings(self) -> None:
        """Check the settings."""
        positive_int("rank", self.rank)
        choice("neurons", self.neurons, ("sample", "all"))
        positive("dt", self.dt)
        if isinstance(self.tau, str):
            raise InputError(
                f"tau must be a number of seconds; got {self.tau!r}. With process noise it is not "
                "fitted: it can trade places with a recurrent time constant"
            )
        if positive("tau", self.tau) <= self.dt / 2:
            raise InputError(f"tau must exceed half a bin; got tau {self.tau}, dt {self.dt}")
        positive("tol", self.tol)
        for name in ("max_iter", "bootstrap_iter"):
            positive_int(name, getattr(self, name))
        positive_int("n_bootstrap", self.n_bootstrap, minimum=0)

    def _read(self, activity: npt.ArrayLike, inputs: npt.ArrayLike) -> tuple[Array, Array]:
        """Return activity and known regressors, checked."""
        y = as_float_array("activity", activity, ndim=3, finite=False)
        x = as_float_array("inputs", inputs, ndim=3, finite=False)
        check_leading_axes("inputs", x, y, "n_in")
        if np.isnan(y).all(axis=(1, 2)).any():
            raise InputError("activity: some trials have no value at all; drop them")
        used = np.arange(y.shape[1]) < Activity.from_array(y).lengths[:, None]
        if not np.isfinite(x[used]).all():
            raise InputError("inputs must be finite up to the last bin of each trial with activity")
        return y, self._regressors(np.where(used[:, :, None], x, 0.0))

    def _regressors(self, x: Array) -> Array:
        """Return (1, k_m)."""
        k_m = filtered_inputs(x, self.dt / self.tau)
        return np.concatenate([np.ones((*x.shape[:2], int(self.offset))), k_m], axis=2)

    def fit(
        self, activity: npt.ArrayLike, inputs: npt.ArrayLike, readout: npt.ArrayLike | None = None
    ) -> StochasticLowRankRNN:
        """Fit the network.

        Parameters
        ----------
        activity : array_like, shape (trials, time, neurons)
            Activity; NaN where missing, and after the end of a short trial.
        inputs : array_like, shape (trials, time, n_in)
            Inputs; NaN allowed after the end of a trial.
        readout : array_like, shape (neurons, n_out), optional
            The readout Z, y = Z^T activity / N; gives zm, zu and zz.

        Returns
        -------
        StochasticLowRankRNN
            Self.

        Raises
        ------
        InputError
            Settings, shapes or data that cannot be used.
        """
        self._settings()
        y, f = self._read(activity, inputs)
        check_activity(y)
        if self.rank >= y.shape[2]:
            raise InputError(f"rank must be below the number of neurons; got {self.rank}")
        z = None
        if readout is not None:
            z = as_float_array("readout", readout, shape=(y.shape[2], None))
        self.n_in_ = f.shape[2] - int(self.offset)
        self.activity_mean_ = np.nanmean(y, axis=(0, 1))
        # Centred, so that sums of squares lose no digits to large means.
        centre = self.activity_mean_ if self.offset else np.zeros(y.shape[2])
        data = Activity.from_array(y - centre)
        condition = np.zeros(len(y), dtype=np.int64)
        sums = Sums.of(data, f, np.ones(len(y)))
        p = start_parameters(data, f, self.n_in_, condition, self.rank, self.dt / self.tau, sums)
        p, at, course, self.converged_ = climb(p, data, f, condition, sums, self.max_iter, self.tol)
        if not self.converged_:
            warnings.warn(
                f"EM did not converge in {self.max_iter} steps (the last raised the log "
                f"likelihood by {course[-1] - course[-2]:.2g}); try a larger max_iter or a lower "
                "rank",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.log_likelihoods_ = np.array(course)
        self.log_likelihood_, self.n_iter_ = course[-1], len(course) - 1
        error = loading_error(p, data, f, at, sums)
        best, q = canonical(self._raw(p, error, z, None))
        draws = self._bootstrap(p, error, data, f, condition, z)
        self._keep(best, draws, p.in_gauge(q), centre, z, len(y))
        return self

    def _raw(
        self, p: Parameters, error: Array, z: Array | None, pick: npt.NDArray[np.int64] | None
    ) -> Raw:
        """Return the overlaps of parameters; pick: the neurons that the moments are taken of."""
        loadings = np.concatenate([p.base[:, int(self.offset) :], p.u], axis=1)
        chosen = loadings if pick is None else loadings[pick]
        bb = positive_part(chosen.T @ chosen / len(chosen) - error)
        a = self.dt / self.tau
        zb, zz = np.full((1, len(bb)), np.nan), np.full((1, 1), np.nan)
        if z is not None:
            zb, zz = z.T @ loadings / len(z), z.T @ z / len(z)
        vu = (p.step - (1 - a) * np.eye(self.rank)) / a
        return Raw(p.drive / a, vu, bb, zb, zz, (float(self.tau), 0.0))

    def _bootstrap(
        self,
        p: Parameters,
        error: Array,
        data: Activity,
        f: Array,
        condition: npt.NDArray[np.int64],
        z: Array | None,
    ) -> list[Raw]:
        """Refit resampled trials from the fit, and resample neurons for their moments."""
        rng = np.random.default_rng(self.seed)
        trials, neurons = data.y.shape[0], data.y.shape[2]
        draws = []
        for _ in range(self.n_bootstrap):
            weights = rng.multinomial(trials, np.full(trials, 1 / trials)).astype(float)
            pick = None
            if self.neurons == "sample":
                pick = np.asarray(rng.integers(neurons, size=neurons))
            sums = Sums.of(data, f, weights)
            if sums.counts.min() <= f.shape[2] + self.rank:
                continue  # a neuron hardly recorded in these trials
            again, at, _, _ = climb(
                p, data, f, condition, sums, self.bootstrap_iter, max(self.tol, 1e-2)
            )
            # The loadings now hold the error of the fit and that of the replicate.
            twice = error + loading_error(again, data, f, at, sums)
            draws.append(canonical(self._raw(again, twice, z, pick))[0])
        return draws

    def _keep(
        self,
        best: Raw,
        draws: list[Raw],
        p: Parameters,
        centre: Array,
        z: Array | None,
        trials: int,
    ) -> None:
        """Set the fitted attributes."""
        overlaps = named(best)
        self.overlaps_ = pd.Series(overlaps, name="overlap")
        self.unseen_ = pd.Series(
            unseen_reasons(self.n_in_, self.rank, len(best.zb), False, z is not None),
            name="reason",
            dtype=object,
        )
        degrees = trials - 1
        if self.neurons == "sample":
            degrees = min(degrees, len(centre) - 1)
        self.intervals_ = interval_table(overlaps, [named(r) for r in draws], 0.95, degrees)
        self.gauge_invariants_ = interval_table(
            invariants(best), [invariants(r) for r in draws], 0.95, degrees
        )
        lead = int(self.offset)
        self._parameters, self._centre = p, centre
        self.m_, self.u_, self.z_ = p.base[:, lead:], p.u, z
        self.offset_ = centre + p.base[:, 0] if lead else np.zeros(len(p.u))
        self.noise_variance_, self.process_noise_ = p.variance, p.noise
        self.initial_ = (p.start[0], p.start_noise)
        self.vm_, self.vu_, self.bb_ = best.vm, best.vu, best.bb
        self.tau_ = float(self.tau)

    def _posterior(self, y: Array, f: Array, p: Parameters, centre: Array) -> Posterior:
        """Smooth activity with some parameters."""
        data = Activity.from_array(y - centre)
        condition = np.zeros(len(y), dtype=np.int64)
        return posterior(p, data, f, condition, Sums.of(data, f, np.ones(len(y))))

    def _new(self, activity: npt.ArrayLike, inputs: npt.ArrayLike) -> tuple[Array, Array]:
        """Check new data against those of the fit."""
        check_is_fitted(self, "overlaps_")
        y, f = self._read(activity, inputs)
        if y.shape[2] != len(self.offset_) or f.shape[2] != self._parameters.base.shape[1]:
            raise InputError(
                f"activity and inputs must have the {len(self.offset_)} neurons and {self.n_in_} "
                f"inputs of fit; got {y.shape} and {f.shape[2] - int(self.offset)} inputs"
            )
        return y, f

    def smooth(self, activity: npt.ArrayLike, inputs: npt.ArrayLike) -> Smoothed:
        """Return the posterior of k_u given all activity of a trial.

        Parameters
        ----------
        activity, inputs : array_like
            As in `fit`.

        Returns
        -------
        Smoothed
            Mean, covariance (zero after the end of a trial) and log likelihood.
        """
        y, f = self._new(activity, inputs)
        at = self._posterior(y, f, self._parameters, self._centre)
        covariance = at.covariance[Activity.from_array(y).pattern]
        return Smoothed(at.mean, covariance, at.log_likelihood)

    def predict(self, inputs: npt.ArrayLike) -> Array:
        """Predict mean activity from inputs alone, shape (trials, time, neurons)."""
        check_is_fitted(self, "overlaps_")
        x = as_float_array("inputs", inputs, shape=(None, None, self.n_in_))
        f, p = self._regressors(x), self._parameters
        state = np.broadcast_to(p.start[0], (len(x), self.rank))
        k = np.zeros((*x.shape[:2], self.rank))
        for t in range(x.shape[1]):
            k[:, t] = state
            state = state @ p.step.T + f[:, t, int(self.offset) :] @ p.drive.T
        return np.asarray(f @ p.base.T + k @ p.u.T + self._centre)

    def score(
        self,
        activity: npt.ArrayLike,
        inputs: npt.ArrayLike,
        metric: str = "r2",
        held_out: npt.ArrayLike | None = None,
    ) -> float:
        """Score held-out trials.

        Parameters
        ----------
        activity, inputs : array_like
            As in `fit`.
        metric : {"r2", "co-smoothing", "log-likelihood"}
            R2 about the training means, predicted from inputs alone or, for ``held_out`` neurons,
            from the other neurons through the smoother; or nats per observed value.
        held_out : array_like of int, optional
            Neurons to predict, for co-smoothing.

        Returns
        -------
        float
            Score.
        """
        choice("metric", metric, ("r2", "co-smoothing", "log-likelihood"))
        y, f = self._new(activity, inputs)
        p, out = self._parameters, np.arange(y.shape[2])
        if metric == "log-likelihood":
            at = self._posterior(y, f, p, self._centre)
            return at.log_likelihood / float((~np.isnan(y)).sum())
        if metric == "co-smoothing":
            if held_out is None:
                raise InputError("metric='co-smoothing' needs held_out, indices of neurons")
            given = np.asarray(held_out)
            if given.dtype.kind not in "iu" or not np.isin(given, out).all() or not given.size:
                raise InputError(f"held_out must be indices below {len(out)}; got {held_out!r}")
            out = np.unique(given)
            if len(out) == y.shape[2]:
                raise InputError("held_out must leave some neurons to predict from")
            hidden = y.copy()
            hidden[:, :, out] = np.nan
            at = self._posterior(hidden, f, p, self._centre)
            guess = f @ p.base.T + at.mean @ p.u.T + self._centre
        else:
            used = np.arange(y.shape[1]) < Activity.from_array(y).lengths[:, None]
            x = np.asarray(inputs, dtype=float)
            guess = self.predict(np.where(used[:, :, None], x, 0.0))
        error = np.nansum((y - guess)[:, :, out] ** 2)
        return float(1 - error / np.nansum((y - self.activity_mean_)[:, :, out] ** 2))
