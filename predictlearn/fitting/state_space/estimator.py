"""Fit a linear low-rank network with process noise: a Kalman smoother inside EM."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import InputError, choice
from predictlearn.fitting.session.overlap_table import named
from predictlearn.fitting.session.unequal_trials import lengths, padded, spread_out
from predictlearn.fitting.state_space.held_out import (
    METRICS,
    held_out_scores,
    mean_activity,
    smoothed_activity,
)
from predictlearn.fitting.state_space.inputs import InputDesign
from predictlearn.fitting.state_space.kalman import Observations
from predictlearn.fitting.state_space.results import (
    FittedOverlaps,
    Outside,
    reasons,
    replicates,
    report_of,
    tables,
)
from predictlearn.fitting.state_space.squarem import Point, evaluate
from predictlearn.fitting.state_space.starts import leaks, search, tell
from predictlearn.fitting.state_space.validation import (
    Labels,
    check_settings,
    enough_data,
    in_order,
    neurons_to_predict,
    read_activity,
    read_inputs,
    read_outside,
    usable_units,
)

__all__ = ["Smoothed", "StochasticLowRankRNN"]


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

    with k_m zero before the first bin and k_u in it N(mu_c, P0), one mu_c a condition. Inputs x
    are known, or absent, or one unknown time course a condition, which is then estimated. Fitted
    by accelerated expectation maximisation, every step but that of tau in closed form.

    Parameters
    ----------
    rank : int
        Rank of the recurrent connectivity.
    dt : float
        Bin, seconds.
    tau : float or "fit"
        Time constant, seconds. Fitted only where inputs are known: k_m is then seen to follow
        them at (1-a). Without known inputs the data do not hold tau, since any k_m is that of
        some input and (1-a) + a vu is all that k_u shows.
    offset : bool
        Whether every neuron has an offset.
    neurons : {"sample", "all"}
        As in `LowRankRNN`.
    smoothness : float
        For estimated inputs: the log likelihood is penalised by smoothness / 2 times the sum of
        squared second differences over bins and conditions, of inputs of unit mean square. The
        default 1 is weak: it expects second differences as large as the inputs.
    n_starts : int
        Most starts: one from principal components, one from slow ones, the others random. The
        highest after ten steps is followed to its end, then the next, four at least, until more
        than one and more than half of them have met in the best optimum (a warning where it was met
        once only). 1: one start, and no such check.
    max_iter : int
        Steps of expectation maximisation.
    tol : float
        Stop when a step raises the log likelihood by less.
    n_bootstrap : int
        Bootstrap replicates (trials, within conditions where there are any, and for the moments of
        loadings neurons); 0 for none.
    bootstrap_iter : int
        Most steps of a replicate, which starts from the fit.
    cv : int
        Folds of trials for ``score_``, each fitted without its trials from the fit; 0 for none.
    seed : int
        Seed of starts and bootstrap.

    Attributes
    ----------
    overlaps_, unseen_, intervals_, gauge_invariants_
        As in `LowRankRNN`, in the same canonical gauge. Without inputs, overlaps with m are NaN,
        and the axes of u are by the Krylov sequence of the mean initial states in place of vm:
        uu = I, the first axis along the mean initial state of the first condition (sorted).
    m_, u_, offset_, noise_variance_, vm_, vu_, bb_, tau_, z_
        As in `LowRankRNN` (`z_` only where the readout was given).
    process_noise_ : ndarray, shape (rank, rank)
        Q, per bin, canonical gauge.
    initial_ : tuple of ndarray
        Mean, (rank,) or with conditions (conditions, rank), and covariance (rank, rank) of k_u in
        the first bin.
    state_intervals_ : DataFrame
        95% intervals of process noise, initial means and fitted tau; columns as `intervals_`.
    conditions_ : ndarray or None
        Labels, sorted, in the order of initial means and inputs.
    inputs_, inputs_sd_ : ndarray, shape (conditions, time, n_in), or None
        Estimated inputs, NaN after the last bin of a condition, and their standard deviation over
        replicates. They are identifiable up to M -> M A, x -> A^-1 x. Convention: unit mean square
        over conditions and bins and (more than one) uncorrelated; loadings on them orthogonal,
        the strongest first; loadings of positive mean. Overlaps with m are in these units.
    log_likelihood_ : float
        At the end, without the penalty; ``log_likelihoods_`` along the way, with it.
    score_ : DataFrame
        Of held-out trials: r2 (from inputs and conditions alone), co-smoothing (a quarter of the
        neurons at a time from the others) and log-likelihood (nats per value); columns mean and se
        over folds. A likelihood that is higher by private noise of single neurons scores lower.
    optima_ : DataFrame
        The optima that were met, the best first: log_likelihood (with the penalty), below (nats
        under the best), met (searches that ended there), converged.
    silent_, copies_ : ndarray of bool, shape (neurons,)
        Neurons set aside since they never change, or since other units give them exactly (stored
        twice, scaled, a sum), for which the likelihood has no maximum. Their rows are NaN.
    converged_, n_iter_
        Whether and after how many points on the way the climb stopped by itself.

    Notes
    -----
    zm and zu need outputs or the readout itself, zz the latter.

    Estimated inputs are told from recurrent activity by trial to trial fluctuations, which lie
    along u: every condition should have several trials. Only what repeats over the trials of a
    condition is input; what differs between them is process noise.

    References
    ----------
    Shumway & Stoffer (1982), J. Time Series Analysis 3, 253; Ghahramani & Hinton (1996);
    Varadhan & Roland (2008), Scandinavian J. Statistics 35, 335.

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
        tau: float | str = 1.0,
        *,
        offset: bool = True,
        neurons: str = "sample",
        smoothness: float = 1.0,
        n_starts: int = 10,
        max_iter: int = 500,
        tol: float = 1e-2,
        n_bootstrap: int = 100,
        bootstrap_iter: int = 20,
        cv: int = 3,
        seed: int = 0,
    ) -> None:
        self.rank = rank
        self.dt = dt
        self.tau = tau
        self.offset = offset
        self.neurons = neurons
        self.smoothness = smoothness
        self.n_starts = n_starts
        self.max_iter = max_iter
        self.tol = tol
        self.n_bootstrap = n_bootstrap
        self.bootstrap_iter = bootstrap_iter
        self.cv = cv
        self.seed = seed

    def _design(
        self, y: Array, inputs: Any, labels: Labels, n_in: int | None = None
    ) -> tuple[Observations, InputDesign]:
        """Return activity and where its regressors come from, checked."""
        data = Observations.from_array(y)
        known = None if isinstance(inputs, str) else read_inputs(inputs, y, data.lengths, n_in)
        used = np.zeros(labels.count, dtype=np.int64)
        np.maximum.at(used, labels.index, data.lengths)
        return data, InputDesign(
            known,
            labels.index,
            used,
            y.shape[1],
            bool(self.offset),
            float(self.smoothness),
            self.tau == "fit",
        )

    def fit(
        self,
        activity: npt.ArrayLike,
        inputs: npt.ArrayLike | str | None = None,
        outputs: npt.ArrayLike | None = None,
        readout: npt.ArrayLike | None = None,
        *,
        conditions: npt.ArrayLike | None = None,
        n_in: int = 1,
    ) -> StochasticLowRankRNN:
        """Fit the network.

        Parameters
        ----------
        activity : array_like, shape (trials, time, neurons)
            Observations; NaN where missing, and after the end of a short trial. Or a list of arrays
            (time, neurons).
        inputs : array_like, shape (trials, time, n_in), or None or "estimate"
            Inputs, NaN allowed after the end of a trial; None for none; "estimate" for one unknown
            time course a condition.
        outputs : array_like, shape (trials, time, n_out), optional
            Recorded outputs; give zm and zu where there is no readout.
        readout : array_like, shape (neurons, n_out), optional
            The readout Z, y = Z^T activity / N; gives zm, zu and zz.
        conditions : array_like, shape (trials,), optional
            A label a trial; None for one condition.
        n_in : int
            Number of inputs to estimate.

        Returns
        -------
        StochasticLowRankRNN
            Self.

        Raises
        ------
        InputError
            Settings, shapes or data that cannot be used.
        """
        outputs, readout = in_order(outputs, readout)
        estimate = isinstance(inputs, str)
        if estimate:
            choice("inputs", inputs, ("estimate",))
        check_settings(self, known=inputs is not None and not estimate)
        bins = lengths(activity)
        y = read_activity(activity)
        self.silent_, self.copies_ = usable_units(y, bool(self.offset), self.rank)
        self._kept = ~(self.silent_ | self.copies_)
        whole, y = y, y[:, :, self._kept]
        labels = Labels.of(conditions, len(y))
        data, design = self._design(y, padded("inputs", inputs, bins), labels)
        if estimate:
            labels.enough_trials()
        n_in = positive_int("n_in", n_in) if estimate else design.n_in
        enough_data(y, data.lengths, self.rank, n_in, estimate, bool(self.offset))
        z, values = read_outside(whole, readout, padded("outputs", outputs, bins), self._kept)
        outside = Outside(float(self.dt), z, values, labels.names)
        self.n_in_, self.conditions_ = n_in, labels.known
        self._mode = "estimate" if estimate else ("known" if n_in else "none")
        self._labels, self.n_time_ = labels, y.shape[1]
        self.activity_mean_ = np.nanmean(whole, axis=(0, 1))
        # Centred, so that sums of squares lose no digits to large means.
        centre = self.activity_mean_[self._kept] if self.offset else np.zeros(y.shape[2])
        y = y - centre
        data = Observations.from_array(y)
        try:
            found = search(
                data, design, n_in, self.rank, leaks(self.tau, self.dt, y.shape[1]),
                self.n_starts, self.max_iter, self.tol, self.seed,
            )  # fmt: skip
        except FloatingPointError:
            raise InputError(
                f"no start gave a finite fit of {y.shape[2]} neurons with rank {self.rank}; try a "
                "lower rank, and look for inputs or activity in units of very different size"
            ) from None
        (point, course, self.converged_), self.optima_ = found.best, found.optima
        tell(found, self.max_iter, self.n_starts)
        self.log_likelihoods_ = np.array(course)
        self.log_likelihood_, self.n_iter_ = point.at.log_likelihood, len(course) - 1
        best = report_of(point, data, design, outside)
        draws = replicates(
            best, point, data, design, outside, self.neurons == "sample", self.n_bootstrap,
            self.bootstrap_iter, max(self.tol, 1e-2), self.seed,
        )  # fmt: skip
        self.score_ = None
        if self.cv:
            self.score_ = held_out_scores(
                point, data, design, y, self.cv, self.max_iter, self.tol, self.seed
            )
        self._keep(best, draws, design, outside, centre, len(y))
        self.z_ = None if readout is None else np.asarray(readout, dtype=float)
        return self

    def _keep(
        self,
        best: FittedOverlaps,
        draws: list[FittedOverlaps],
        design: InputDesign,
        outside: Outside,
        centre: Array,
        trials: int,
    ) -> None:
        """Set the fitted attributes."""
        p, z, raw = best.p, outside.readout, best.raw
        self.overlaps_ = pd.Series(named(raw), name="overlap")
        self.unseen_ = pd.Series(
            reasons(raw, self.n_in_, outside.outputs is not None, z is not None),
            name="reason",
            dtype=object,
        )
        degrees = trials - len(design.used)
        if self.neurons == "sample":
            degrees = min(degrees, len(centre) - 1)
        self.intervals_, self.gauge_invariants_, self.state_intervals_ = tables(
            best, draws, degrees
        )
        lead, kept = design.lead, self._kept
        self._parameters, self._centre = p, centre
        self.m_, self.u_ = spread_out(p.base[:, lead:], kept), spread_out(p.u, kept)
        self.offset_ = spread_out(centre + p.base[:, 0] if lead else np.zeros(len(p.u)), kept)
        self.noise_variance_, self.process_noise_ = spread_out(p.variance, kept), p.noise
        self.initial_ = (p.start[0] if self.conditions_ is None else p.start, p.start_noise)
        self.vm_, self.vu_, self.bb_ = raw.vm[:, : self.n_in_], raw.vu, raw.bb
        self.tau_ = float(raw.times[0])
        self.inputs_ = self.inputs_sd_ = None
        if self._mode == "estimate":
            used = (np.arange(self.n_time_) < design.used[:, None])[:, :, None]
            self.inputs_ = np.where(used, p.inputs, np.nan)
            self.inputs_sd_ = np.full(p.inputs.shape, np.nan)
            if len(draws) > 1:
                spread = np.std([d.p.inputs for d in draws], axis=0, ddof=1)
                self.inputs_sd_ = np.where(used, spread, np.nan)

    def _new(
        self, activity: npt.ArrayLike, inputs: npt.ArrayLike | None, conditions: Any
    ) -> tuple[Array, Observations, InputDesign]:
        """Check new data against those of the fit."""
        check_is_fitted(self, "overlaps_")
        bins = lengths(activity)
        y = read_activity(activity)
        if y.shape[2] != len(self.offset_):
            raise InputError(
                f"activity must have the {len(self.offset_)} neurons of fit; got {y.shape[2]}"
            )
        y = y[:, :, self._kept]
        labels = self._labels.again(conditions, len(y))
        given = "estimate" if self._mode == "estimate" else padded("inputs", inputs, bins)
        if self._mode != "known" and inputs is not None and not isinstance(inputs, str):
            raise InputError("inputs were not given to fit; leave them out")
        data, design = self._design(y - self._centre, given, labels, self.n_in_)
        if self._mode == "estimate" and data.lengths.max() > self.n_time_:
            raise InputError(
                f"inputs are known for the {self.n_time_} bins of fit; activity has "
                f"{data.lengths.max()}"
            )
        return y, data, design

    def _point(self, data: Observations, design: InputDesign) -> Point:
        """Smooth activity with the fitted parameters."""
        return evaluate(self._parameters, data, design, np.ones(len(data.y)))

    def smooth(
        self,
        activity: npt.ArrayLike,
        inputs: npt.ArrayLike | None = None,
        *,
        conditions: npt.ArrayLike | None = None,
    ) -> Smoothed:
        """Return the posterior of k_u given all activity of a trial.

        Parameters
        ----------
        activity, inputs, conditions : array_like
            As in `fit`; inputs only where they were known there.

        Returns
        -------
        Smoothed
            Mean, covariance (zero after the end of a trial) and log likelihood.
        """
        _, data, design = self._new(activity, inputs, conditions)
        at = self._point(data, design).at
        return Smoothed(at.mean, at.covariance[data.pattern], at.log_likelihood)

    def predict(
        self, inputs: npt.ArrayLike | None = None, *, conditions: npt.ArrayLike | None = None
    ) -> Array:
        """Predict mean activity from inputs and conditions, shape (trials, time, neurons).

        Parameters
        ----------
        inputs : array_like, shape (trials, time, n_in), optional
            Inputs, where they were known to fit.
        conditions : array_like, shape (trials,), optional
            Labels, where they were given to fit. Without inputs and labels one trial is predicted.

        Returns
        -------
        ndarray
            Mean over the noise. After the last bin of a condition its estimated input is zero. NaN
            for neurons that were set aside.
        """
        check_is_fitted(self, "overlaps_")
        trials, time = (1 if conditions is None else len(np.asarray(conditions))), self.n_time_
        x = None
        if self._mode == "known":
            x = as_float_array("inputs", inputs, shape=(None, None, self.n_in_))
            trials, time = x.shape[:2]
        elif inputs is not None:
            raise InputError("inputs were not given to fit; leave them out")
        elif self._mode == "none":
            x = np.zeros((trials, time, 0))
        labels = self._labels.again(conditions, trials)
        used = np.full(labels.count, time)
        mean = mean_activity(
            self._parameters, InputDesign(x, labels.index, used, time, bool(self.offset))
        )
        return np.moveaxis(spread_out(np.moveaxis(mean + self._centre, 2, 0), self._kept), 0, 2)

    def score(
        self,
        activity: npt.ArrayLike,
        inputs: npt.ArrayLike | None = None,
        metric: str = "r2",
        held_out: npt.ArrayLike | None = None,
        *,
        conditions: npt.ArrayLike | None = None,
    ) -> float:
        """Score held-out trials.

        Parameters
        ----------
        activity, inputs, conditions : array_like
            As in `smooth`.
        metric : {"r2", "co-smoothing", "log-likelihood"}
            R2 about the training means, predicted from inputs and conditions alone or, for
            ``held_out`` neurons, from the other neurons through the smoother; or nats per observed
            value.
        held_out : array_like of int, optional
            Neurons to predict, for co-smoothing.

        Returns
        -------
        float
            Score.
        """
        choice("metric", metric, METRICS)
        y, data, design = self._new(activity, inputs, conditions)
        p, out = self._parameters, np.arange(y.shape[2])
        if metric == "log-likelihood":
            return self._point(data, design).at.log_likelihood / float((~np.isnan(y)).sum())
        y = y - self._centre
        if metric == "co-smoothing":
            out = neurons_to_predict(held_out, self._kept)
            guess = smoothed_activity(p, y, design, out)
        else:
            guess = mean_activity(p, design)
        error = np.nansum((y - guess)[:, :, out] ** 2)
        about = y + self._centre - self.activity_mean_[self._kept]
        return float(1 - error / np.nansum(about[:, :, out] ** 2))
