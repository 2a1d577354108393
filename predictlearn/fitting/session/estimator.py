"""Fit a low-rank recurrent network to the recording of one session."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array
from predictlearn.errors import ConvergenceWarning, InputError, MisfitWarning
from predictlearn.fitting.session import scoring
from predictlearn.fitting.session.attributes import set_fitted
from predictlearn.fitting.session.count_noise import CountNoise
from predictlearn.fitting.session.dynamics import Dynamics, Layout
from predictlearn.fitting.session.offsets import warn_of_offsets
from predictlearn.fitting.session.optima import disagreement, settle_timing
from predictlearn.fitting.session.pieces import pieces
from predictlearn.fitting.session.rollout import predictor
from predictlearn.fitting.session.search.components import part
from predictlearn.fitting.session.search.data import Data
from predictlearn.fitting.session.search.levenberg_marquardt import Problem
from predictlearn.fitting.session.search.starts import as_fitted, find_best, settle_dispersion
from predictlearn.fitting.session.unequal_trials import lengths, padded, trimmed
from predictlearn.fitting.session.validation import (
    check_data,
    check_outputs,
    counts,
    fits_gain,
    known_gain,
)
from predictlearn.recordings.validation import check_leading_axes

__all__ = ["LowRankRNN"]


class LowRankRNN(BaseEstimator):
    """Low-rank recurrent network fitted to one session, with its overlaps and their intervals.

    The model::

        h_i(t)       = m_i . k_m(t) + u_i . k_u(t)
        tau dk_m/dt  = -k_m + x(t - latency)
        tau dk_u/dt  = -k_u + g(Delta) [S_vm k_m + S_vu k_u],    Delta = k^T S_bb k

    in continuous time, with inputs constant in a bin (or in every step of a bin, where they are
    given more finely), and activity the mean over a bin, as counts and fluorescence are. Linear
    dynamics are exact for every width of bin, and a rate that saturates, or a count expected, is
    averaged over two points of a bin wider than 0.3 tau. Simulated networks often make one forward
    Euler step a bin instead, input bin t driving the update that activity of bin t is read after:
    `bin`.

    Given S_vm, S_vu, tau, the latency and (erf) S_bb, the reduced activity k is known and every
    neuron is a regression on it: least squares for Gaussian noise, and for counts a Poisson or
    negative binomial regression with rate per bin ``link(offset_i + gain x_i(t))``, x = h or
    phi(h). The outer parameters are found by Levenberg-Marquardt with all
    neurons solved inside (variable projection), from several starts.

    Parameters
    ----------
    rank : int
        Rank of the recurrent connectivity.
    nonlinearity : {"linear", "erf"}
        phi.
    dt : float
        Bin, seconds.
    tau : float or "fit"
        Time constant, seconds. With ``"fit"``, a linear network and no more inputs than the rank,
        tau can trade places with a recurrent time constant: give it where it is known.
    observed : {"rate", "current"}
        Whether activity is phi(h) or h. For counts "current" is the usual generalised linear model.
    latency : float or "fit"
        Delay of the inputs, seconds.
    bin : {"auto", "mean", "euler"}
        What activity of a bin is: the mean over it of continuous dynamics, or the end of one Euler
        step. "auto" takes the mean, unless a first search finds Euler's step clearly more likely,
        as it is for networks simulated that way; see `bin_`.
    noise : {"gaussian", "poisson", "negative-binomial"}
        Gaussian: one variance a neuron. Counts: whole numbers; variance lam, or lam + alpha lam^2
        with one alpha a neuron, fitted.
    link : {"exp", "softplus"}
        From the argument to spikes per bin, for counts. Loadings, and so overlaps with m and u,
        are in units of that argument: log spikes per bin for "exp".
    decay : float, optional
        Decay time of fluorescence, seconds: activity is offset + gain c(t), c(t) = d c(t-1) +
        rate(t), d = exp(-dt/decay), c = 0 before the trial; Gaussian noise.
    offset : bool
        Whether every neuron has an offset of its own. For counts it always has.
    gain : bool or float
        False: 1. A number: the known gain of all neurons (activity = offset + gain phi(h)), such
        as spikes per bin. True: one gain a neuron, fitted; for erf rates only, since only
        saturation tells a gain from a loading.
    ridge : "auto" or float
        Ridge on the loadings, relative to the power of the regressors. "auto": none, unless the
        regressors are nearly collinear; loadings of counts are drawn from a population instead.
        A number above 0 biases vu, which intervals do not know; 0 is maximum likelihood.
    neurons : {"sample", "all"}
        "sample": the neurons are a random sample, and overlaps are those of the population, so
        that intervals hold the sampling of neurons. "all": the neurons are the whole network (or
        latents, which are not a sample of anything), and overlaps are theirs.
    n_starts : int
        Largest number of random starts; fewer where three have met in the best place.
    max_iter : int
        Levenberg-Marquardt steps from each of the best starts.
    tol : float
        Stop when the log likelihood would rise by less than this.
    n_bootstrap : int
        Bootstrap replicates; 0 for no intervals.
    seed : int
        Seed of starts and bootstrap.
    n_jobs : int
        Threads for the erf regression; the result does not depend on it.

    Attributes
    ----------
    overlaps_ : Series
        Overlaps by name in the canonical gauge (U^T U / N = I; for rank one uu = 1 and vm
        positive for the first input). NaN where one session cannot see them.
    unseen_ : Series
        Reason by name for those.
    intervals_ : DataFrame
        95% intervals: index the names; columns low, high, estimate, sd. Overlaps that the gauge
        fixes have width 0.
    replicates_ : DataFrame
        Overlaps of every bootstrap replicate, one row each.
    gauge_invariants_ : DataFrame
        The same for combinations that no gauge changes, and for tau and latency where fitted.
    m_, u_ : ndarray, shapes (neurons, n_in), (neurons, rank)
        Loadings, canonical gauge. For counts means of posteriors, drawn to 0 where spikes are few;
        overlaps are moments of the population, not theirs.
    z_ : ndarray, shape (neurons, n_out), or None
        The readout: as given, or from outputs the shortest one in the span of m and u.
    offset_, gain_, noise_variance_ : ndarray, shape (neurons,)
        Per neuron, in units of the activity; for counts in those of the link's argument, and the
        noise variance is NaN, since it follows the rate.
    dispersion_ : ndarray, shape (neurons,)
        alpha of a negative binomial; 0 for Poisson, NaN for Gaussian noise.
    silent_ : ndarray of bool, shape (neurons,)
        Neurons set aside since they never change (or, for counts, have hardly more spikes than
        coefficients). Their rows of all the above are NaN. The others are no random sample of the
        population, so that overlaps of the population are biased, the more the more are silent.
    log_likelihood_ : float
        Of the training data, at the loadings. Gaussian: without constants; erf: less the term that
        ties S_bb to the loadings.
    tau_, latency_ : float
        Seconds.
    bin_ : str
        "mean" or "euler", as fitted.
    per_bin_ : int
        Steps of the inputs in a bin.
    optima_ : DataFrame
        Where tau or the latency are fitted: tau, latency, vu (trace), log_likelihood of each
        optimum found, and whether the data cannot tell it from the best (within). Intervals span
        those within. Of equally likely ones the first has the shortest tau.
    vm_, vu_, bb_ : ndarray
        Blocks S_vm (rank, n_in), S_vu (rank, rank) and the (m, u) block of S, canonical gauge.
    k_ : tuple of ndarray
        k_m (trials, time, n_in) and k_u (trials, time, rank) of the training inputs.
    converged_ : bool
        Whether the search converged.
    n_iter_ : int
        Steps of the last search.

    Raises
    ------
    InputError
        On `fit`, for data or settings that cannot be used.

    Notes
    -----
    The gauge U -> U Q, V -> V Q^-T changes no activity, so single overlaps of u and v mean
    something in a stated gauge only; `gauge_invariants_` do without.

    For erf the reduced equations are those of an infinite network with Gaussian loadings. A
    network of N neurons departs from them by about 1/sqrt(N), which the intervals do not hold: see
    `interval_coverage`. It matters where the intervals are narrower than that, as for zm read from
    noise-free outputs, or where all of a small network is recorded.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 30, 1)).cumsum(axis=1)
    >>> k = np.zeros((20, 2))
    >>> h = np.zeros((20, 30, 40))
    >>> loadings = rng.normal(size=(40, 2))
    >>> for t in range(30):
    ...     k = 0.95 * k + 0.05 * np.stack([x[:, t, 0], 0.9 * k[:, 0] + 0.8 * k[:, 1]], axis=1)
    ...     h[:, t] = k @ loadings.T
    >>> fit = LowRankRNN(rank=1, dt=0.05, tau=1.0, n_bootstrap=20).fit(h, x)
    >>> round(float(fit.overlaps_["vu"]), 4)
    0.8
    """

    def __init__(
        self,
        rank: int = 1,
        nonlinearity: str = "linear",
        dt: float = 0.05,
        tau: float | str = 1.0,
        observed: str = "rate",
        latency: float | str = 0.0,
        *,
        bin: str = "auto",
        noise: str = "gaussian",
        link: str = "exp",
        decay: float | None = None,
        offset: bool = False,
        gain: bool | float = False,
        ridge: str | float = "auto",
        neurons: str = "sample",
        n_starts: int = 8,
        max_iter: int = 100,
        tol: float = 1e-2,
        n_bootstrap: int = 200,
        seed: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.rank = rank
        self.nonlinearity = nonlinearity
        self.dt = dt
        self.tau = tau
        self.observed = observed
        self.latency = latency
        self.bin = bin
        self.noise = noise
        self.link = link
        self.decay = decay
        self.offset = offset
        self.gain = gain
        self.ridge = ridge
        self.neurons = neurons
        self.n_starts = n_starts
        self.max_iter = max_iter
        self.tol = tol
        self.n_bootstrap = n_bootstrap
        self.seed = seed
        self.n_jobs = n_jobs

    def fit(
        self,
        activity: npt.ArrayLike,
        inputs: npt.ArrayLike,
        outputs: npt.ArrayLike | None = None,
        readout: npt.ArrayLike | None = None,
    ) -> LowRankRNN:
        """Fit the network.

        Parameters
        ----------
        activity : array_like, shape (trials, time, neurons), or list of (time, neurons)
            Recorded activity; NaN where a bin is missing. A list holds trials of unequal length;
            inputs and outputs are then lists too.
        inputs : array_like, shape (trials, time, n_in)
            Inputs; or (trials, s time, n_in) where they are known at s steps a bin.
        outputs : array_like, shape (trials, time, n_out), optional
            Outputs of the network, which give zm and zu; NaN where missing.
        readout : array_like, shape (neurons, n_out), optional
            The readout Z itself where it is known, y = Z^T activity / N (as in a brain-computer
            interface); gives zm, zu and zz.

        Returns
        -------
        LowRankRNN
            Self.

        Raises
        ------
        InputError
            Settings, shapes or data that cannot be used.
        """
        bins = lengths(activity)
        y, x, kept = check_data(self, activity, inputs)
        z, out = check_outputs(outputs, readout, len(kept), y, bins)
        self.per_bin_ = x.shape[1] // y.shape[1]
        ways = self._problems(y, x, _ways(self, self.per_bin_))

        def part_of(mean: bool) -> Problem:
            trials, neurons = part(y, counts(self))
            return self._problems(y[trials][:, :, neurons], x[trials], (mean,))[0]

        # the fit without dispersion is where that with one starts, and need not be exact
        tol = max(self.tol, 0.5) if self.noise == "negative-binomial" else self.tol
        problem, starts, solution = find_best(
            ways, part_of, self.n_starts, self.max_iter, tol, self.seed
        )
        self.bin_ = "mean" if problem.dynamics.mean else "euler"
        if solution is not None and self.noise == "negative-binomial":
            solution = settle_dispersion(problem, solution, self.max_iter, self.tol)
        if solution is None:
            raise InputError(
                "no start gave a finite fit; check dt and tau (dt/tau well below 2), the size of "
                f"the inputs (largest {np.abs(x).max():.3g}) and, for erf rates, whether they need "
                "an offset or a gain"
            )
        if not solution.converged:
            warnings.warn(
                f"the fit did not converge in {solution.iterations} steps (log likelihood still "
                f"rises by {solution.decrement:.2g}); try a larger max_iter, more n_starts, "
                "or a lower rank",
                ConvergenceWarning,
                stacklevel=2,
            )
        problem = as_fitted(problem, solution)
        warn_of_offsets(problem, solution)
        self.silent_ = ~kept
        timing = None
        if problem.layout.fit_tau or problem.layout.fit_latency:
            shown = None if z is None else z[kept]
            timing = settle_timing(
                problem, starts, solution, self.max_iter, self.tol, self.n_bootstrap > 0, shown
            )
            solution = timing.optima[0]
            problem = as_fitted(problem, solution)
        said = disagreement(problem, starts, solution, self.max_iter, self.tol)
        if said:
            warnings.warn(said, MisfitWarning, stacklevel=2)
        set_fitted(self, problem, solution, out, z, timing)
        return self

    def predict(self, inputs: npt.ArrayLike) -> Any:
        """Predict activity for inputs.

        Parameters
        ----------
        inputs : array_like, shape (trials, time, n_in), or list of (time, n_in)
            Inputs, in as many steps a bin as in `fit`.

        Returns
        -------
        ndarray, shape (trials, time, neurons), or list of (time, neurons)
            Expected activity, in units of the training activity (for counts, spikes per bin). NaN
            for neurons that were set aside.
        """
        check_is_fitted(self, "overlaps_")
        x = as_float_array("inputs", padded("inputs", inputs), ndim=3)
        n_bins = x.shape[1] // self.per_bin_
        some_of = predictor(self, x)
        kept = np.flatnonzero(~self.silent_)
        whole = len(kept) == len(self.silent_)
        flat = np.full((len(x) * n_bins, len(self.silent_)), np.nan)
        for some in pieces(len(kept), len(flat)):
            flat[:, some if whole else kept[some]] = some_of(some).T
        bins = lengths(inputs)
        bins = None if bins is None else [n // self.per_bin_ for n in bins]
        return trimmed(flat.reshape(len(x), n_bins, -1), bins)

    def score(self, activity: npt.ArrayLike, inputs: npt.ArrayLike, metric: str = "r2") -> float:
        """Score predictions on held-out trials.

        Parameters
        ----------
        activity : array_like, shape (trials, time, neurons), or list of (time, neurons)
            Activity; NaN where missing.
        inputs : array_like, shape (trials, time, n_in), or list of (time, n_in)
            Inputs.
        metric : {"r2", "bits-per-spike", "log-likelihood"}
            "r2": share of variance explained, 1 - SSE/SST, pooled over neurons, SST about the
            training mean of each neuron. "bits-per-spike" (counts): Poisson log likelihood
            gained over constant rates, those of the training data, over spikes times log 2,
            whatever the noise that was fitted. "log-likelihood": mean over bins and neurons, nats.

        Returns
        -------
        float
            The score, over the neurons that were not set aside.

        Raises
        ------
        InputError
            Shapes, counts or metric that cannot be used.
        """
        check_is_fitted(self, "overlaps_")
        bins = lengths(activity)
        fine = None if bins is None else [n * self.per_bin_ for n in bins]
        y = as_float_array("activity", padded("activity", activity), ndim=3, finite=False)
        if y.shape[2] != len(self.offset_):
            raise InputError(
                f"activity must have the {len(self.offset_)} neurons of fit on its last axis "
                f"(trials, time, neurons); got {y.shape}"
            )
        x = as_float_array("inputs", padded("inputs", inputs, fine), ndim=3)
        check_leading_axes("inputs", x[:, :: self.per_bin_], y, "n_in")
        return scoring.score(self, y, self.predict(x), metric)

    def _problems(self, y: Array, x: Array, means: tuple[bool, ...]) -> list[Problem]:
        """Lay out the fit for each of what a bin may be; they share the activity."""
        layout = Layout(
            x.shape[2],
            self.rank,
            self.nonlinearity == "erf",
            isinstance(self.tau, str),
            isinstance(self.latency, str),
        )
        inputs = np.ascontiguousarray(x)
        every = [
            Dynamics(
                inputs,
                float(self.dt),
                layout,
                3 * float(self.dt) if isinstance(self.tau, str) else float(self.tau),
                0.0 if isinstance(self.latency, str) else float(self.latency),
                mean,
                self.per_bin_,
            )
            for mean in means
        ]
        count = None
        if counts(self):
            gain = known_gain(self)
            count = CountNoise(self.link == "softplus", np.zeros(y.shape[2]), gain)
        data = Data.from_activity(
            y,
            offset=bool(self.offset) or counts(self),
            gain=fits_gain(self),
            saturating=self.nonlinearity == "erf" and self.observed == "rate",
            ridge=None if isinstance(self.ridge, str) else float(self.ridge),
            threads=self.n_jobs,
            count=count,
            fading=0.0 if self.decay is None else float(np.exp(-self.dt / self.decay)),
            unit=1.0 if counts(self) else known_gain(self),
        )
        return [Problem(data, dynamics, self.neurons == "sample") for dynamics in every]


def _ways(model: LowRankRNN, per_bin: int) -> tuple[bool, ...]:
    """Return what activity of a bin may be (its mean: True), what is preferred first."""
    if model.bin == "euler":
        return (False,)
    stable = isinstance(model.tau, str) or model.tau > model.dt / 2
    return (True, False) if model.bin == "auto" and per_bin == 1 and stable else (True,)
