"""LearningFit: all overlaps of a network, measured from how it learns."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from predictlearn.checks import positive, positive_int
from predictlearn.errors import ConvergenceWarning, InputError, choice
from predictlearn.fitting.learning_bayes import Posterior, checked_counts, sample_posterior
from predictlearn.fitting.learning_forecast import Forecast, forecast
from predictlearn.fitting.learning_goodness import GoodnessOfFit, tested
from predictlearn.fitting.learning_identifiability import draws
from predictlearn.fitting.learning_intervals import interval_table
from predictlearn.fitting.learning_likelihood import Fitted, Problem, search
from predictlearn.fitting.learning_middle import centred, corrected, signed
from predictlearn.fitting.learning_model import Model
from predictlearn.fitting.learning_parameters import Layout
from predictlearn.fitting.learning_profile import profile_ends
from predictlearn.fitting.learning_sampling import checked_sample, sampled
from predictlearn.fitting.learning_sessions import LOSS, Sessions, checked_sessions, start_values
from predictlearn.theory.names import nonlinearity_name
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.rules import GradientDescent

__all__ = ["LearningFit"]

Array = npt.NDArray[np.float64]


class LearningFit(BaseEstimator):
    """All overlaps at the start of learning, and the rates, from sessions along it.

    One session shows the overlaps that decide what a network does; how it learns depends on the
    others too. The fit finds the start S = L L' and the rates whose learning,
    S <- (1 - eta A)' S (1 - eta A) for descent, best agrees with all sessions, by maximum
    likelihood with exact slopes.

    Parameters
    ----------
    nonlinearity : {"linear", "erf", "tanh"} or Nonlinearity
        phi. Other than linear the theory carries a closure error, which the intervals do not hold.
    tau : float, default 1.0
        Time constant, seconds.
    rate : {"fit", "known", "pathways"}
        Fit one factor of the rule's rate, hold it, or fit one rate a pathway m, u, v, z.
    gauge : {"given", "canonical"}
        "given": the overlaps of all sessions are in the one gauge in which the network learns, up
        to rotations. "canonical": those of every session are in its own canonical gauge (uu the
        identity), as `LowRankRNN` returns them. `start_` is always in the gauge in which plain
        descent learns: the plasticity identifies it.
    rank : int, optional
        Needed where only the loss was measured.
    n_starts : int, default 8
        Starts of the search.
    max_iter : int, default 100
        Evaluations from each of the two best.
    seed : int, default 0
        Seed of the starts, and of trials and noise where the task or the rule draws any.
    level : float, default 0.95
        Level of the intervals.
    n_jobs : int, default 1
        Processes for the starts.

    Attributes
    ----------
    start_ : Overlaps
        Overlaps before learning, realisable by construction.
    intervals_ : DataFrame
        low, high, estimate, sd by overlap and rate. sd is that of the identified part (delta
        method, t quantile). Where a direction is unidentified the interval also spans the range
        over which a network exists, and the estimate is its middle.
    covariance_ : DataFrame
        Covariance along identified directions, of overlaps and log rates.
    rates_ : Series
        Rate of every fitted pathway (``rate`` alone for ``rate="fit"``); rate_ the common rate.
    noise_ : Series
        Standard deviation of the noise of ``overlaps`` and of ``loss``: corrected for the fitted
        parameters; NaN where the errors were given.
    log_likelihood_ : float
        At the maximum.
    identifiable_ : Series of bool
        By overlap: less than a tenth of it lies in unidentified directions.
    directions_ : DataFrame
        Unidentified directions, one a row: unit combinations of the natural parameters (overlaps,
        then log rates).
    direction_sds_ : ndarray
        Standard deviation of every direction in natural units, largest first.
    trajectory_ : DataFrame
        Fitted overlaps and loss at the sessions.
    residuals_ : DataFrame
        In units of the noise.
    converged_ : bool
        Whether the search ended by its tolerances.

    Raises
    ------
    InputError
        On `fit`, for settings or data that cannot be used.

    Notes
    -----
    A direction is unidentified when its standard deviation exceeds 1, overlaps being measured by
    the norms of their two vectors and rates by factors e. With loss-visible overlaps alone, linear
    units and small steps, exactly one is: S + c J, J = diag(+1 on m, u; -1 on v, z).

    The sign of u and v together is a convention where nothing measured tells it: the first vm is
    then positive. For rank above one, rotations of u and v likewise: v_k m_j = 0 for k > j.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> from predictlearn.fitting import simulate_sessions
    >>> true = pl.Overlaps(np.eye(4)).replace(zu=0.2, vm=0.3, zv=0.2, vv=1.3)
    >>> rule, task = pl.GradientDescent(5e-3), pl.Filter(duration=10.0)
    >>> sessions = simulate_sessions(true, task, 50, rule, noise=1e-3, n_sessions=9)
    >>> fit = LearningFit(n_starts=2).fit(sessions, task, 50, rule)
    >>> bool(fit.identifiable_.all()), round(fit.start_["vv"], 1)
    (True, 1.3)
    """

    def __init__(
        self,
        nonlinearity: str = "linear",
        tau: float = 1.0,
        *,
        rate: str = "fit",
        gauge: str = "given",
        rank: int | None = None,
        n_starts: int = 8,
        max_iter: int = 100,
        seed: int = 0,
        level: float = 0.95,
        n_jobs: int = 1,
    ) -> None:
        self.nonlinearity = nonlinearity
        self.tau = tau
        self.rate = rate
        self.gauge = gauge
        self.rank = rank
        self.n_starts = n_starts
        self.max_iter = max_iter
        self.seed = seed
        self.level = level
        self.n_jobs = n_jobs

    def fit(
        self,
        sessions: pd.DataFrame,
        tasks: Any,
        epochs: Any,
        rule: Any,
        errors: Any = None,
        *,
        recorded: int | None = None,
        network: int | None = None,
    ) -> LearningFit:
        """Fit the start and the rates.

        Parameters
        ----------
        sessions : DataFrame
            One row a session; overlaps by name as columns, and "loss"; NaN where unseen. Any subset
            will do, "loss" alone too.
        tasks : Task, or one an interval between sessions
            What was learned.
        epochs : int or sequence of int
            Updates between any two sessions, between each two, or cumulative from 0.
        rule : GradientDescent
            The rule, with a first guess of its rates (or the known ones).
        errors : float, Series, DataFrame or list of arrays, optional
            Standard deviations of the measurements: of all, by column, of each; or a covariance
            matrix a session over its columns. Not given: one is estimated for the overlaps and one
            for the losses.
        recorded : int, optional
            Number of recorded neurons, the same in all sessions, where mm, mu and uu are those of a
            sample: their error is common to all sessions, carried along by learning, and enters
            the likelihood as such (plain descent only). Not given: the overlaps of the sample
            are taken for those of the network.
        network : int, optional
            Neurons of the network that they are a sample of. Not given: very many.

        Returns
        -------
        LearningFit
            Self.

        Raises
        ------
        InputError
            Arguments that cannot be used.
        """
        self._check(rule)
        n_sample, size = checked_sample(recorded, network, rule)
        data = checked_sessions(sessions, tasks, epochs, errors, self.rank)
        layout = Layout(data.sizes, rule, self.rate)
        model = Model(
            data, layout, self.nonlinearity, self.tau, self.seed, self.gauge == "canonical"
        )
        problem = Problem(model, self._rotates(data), _scale(data))
        best = search(problem, self.n_starts, self.max_iter, self.seed, self.n_jobs)
        if best is None:
            raise InputError(
                "no start gave finite learning; check that rule has a rate that the task allows "
                f"(got {rule.rate:g}) and that epochs counts updates."
            )
        if n_sample is not None:
            problem, best = sampled(problem, best, n_sample, size, self.max_iter)
        best = centred(problem, signed(problem, best), self.max_iter)
        if not best.converged:
            warnings.warn(
                f"the fit did not converge in {self.max_iter} evaluations; try a larger max_iter, "
                "more n_starts, or a better first rate in rule",
                ConvergenceWarning,
                stacklevel=2,
            )
        self._keep(problem, best)
        return self

    # -- behind fit ---------------------------------------------------------------------------

    def _check(self, rule: Any) -> None:
        """Check settings and rule; InputError if one cannot be used."""
        nonlinearity_name(self.nonlinearity)
        positive("tau", self.tau)
        choice("rate", self.rate, ("fit", "known", "pathways"))
        choice("gauge", self.gauge, ("given", "canonical"))
        for name in ("n_starts", "max_iter", "n_jobs"):
            positive_int(name, getattr(self, name))
        positive_int("seed", self.seed, minimum=0)
        if not 0 < positive("level", self.level) < 1:
            raise InputError(f"level must lie between 0 and 1; got {self.level!r}.")
        if not isinstance(rule, GradientDescent):
            raise InputError(
                "rule must be a GradientDescent: only rules that act on overlaps can be fitted; "
                f"got {type(rule).__name__}."
            )
        if rule.target_noise > 0 or rule.minibatch is not None:
            raise InputError(
                "rule must be without target_noise and minibatch: no session tells which noise "
                "the learner drew. Fit the rule without it; goodness_of_fit() says if that fails."
            )

    def _rotates(self, data: Sessions) -> bool:
        """Whether a rotation of u and v (for rank one their sign) changes nothing measured."""
        seen = "".join(name for name in data.columns if name != LOSS)
        return self.gauge == "canonical" or not ("u" in seen or "v" in seen)

    def _keep(self, problem: Problem, best: Fitted) -> None:
        """Store the results."""
        data, layout = problem.model.data, problem.model.layout
        group_sd, found = corrected(problem, best)
        natural = layout.natural(best.x)
        run = problem.run(best.x)
        if run is None:
            raise FloatingPointError("the best fit diverges")
        n_known = len(natural) - found.free.shape[1]
        self._problem, self._best, self._found = problem, best, found
        self._natural, self._group_sd = natural, group_sd
        self.n_residual_ = data.n - n_known + len(problem._pins())
        self.start_ = Overlaps(layout.full(natural), *layout.sizes)
        names = list(layout.names)
        self.covariance_ = pd.DataFrame(found.covariance, index=names, columns=names)
        self.directions_ = pd.DataFrame(
            (found.free / np.linalg.norm(found.free, axis=0)).T,
            columns=names,
            index=[f"direction {k + 1}" for k in range(found.free.shape[1])],
        )
        self.direction_sds_ = found.sds
        self.identifiable_ = pd.Series(
            found.identifiable[: layout.n_overlaps], index=list(layout.overlap_names)
        )
        degrees = np.inf if data.noise.known else max(self.n_residual_, 1)
        self.intervals_ = interval_table(natural, found, layout, self.level, degrees, self.seed)
        log_rates = natural[layout.n_overlaps :]
        self.rates_ = pd.Series(layout.rates(log_rates), index=list(layout.rate_names), dtype=float)
        self.rate_ = float(layout.rule_at(log_rates).rate)
        groups = set(data.noise.group)
        self.noise_ = pd.Series(
            [group_sd[g] if g in groups and not data.noise.known else np.nan for g in (0, 1)],
            index=["overlaps", LOSS],
        )
        self.log_likelihood_ = problem.log_likelihood(best.x, best.group_sd)
        rows, columns = layout.pairs
        fitted = pd.DataFrame(
            run.matrices[:, rows, columns], index=data.index, columns=list(layout.overlap_names)
        )
        self.trajectory_ = fitted.assign(loss=run.losses)
        white = data.noise.whiten(data.values - run.values, group_sd)
        self.residuals_ = data.table(white)
        self.converged_ = best.converged

    # -- after fit ----------------------------------------------------------------------------

    def profile(self, name: str, level: float | None = None) -> tuple[float, float]:
        """Return the profile-likelihood interval of one overlap or rate.

        Slower than `intervals_` and better where the likelihood is far from quadratic.

        Parameters
        ----------
        name : str
            A row of `intervals_`.
        level : float, optional
            That of the fit if not given.

        Returns
        -------
        low, high : float
            Where twice the log likelihood falls by the chi-square quantile; an end that is not
            found within eight standard deviations is infinite (0 for a rate).

        Raises
        ------
        InputError
            If there is no such row, or it is unidentified.
        """
        check_is_fitted(self, "start_")
        layout, best = self._problem.model.layout, self._best
        choice("name", name, layout.names)
        k = layout.names.index(name)
        if not self._found.identifiable[k]:
            raise InputError(f"{name} is unidentified; its realisable range is in intervals_.")
        drop = float(stats.chi2.ppf(self.level if level is None else level, 1)) / 2
        ends = profile_ends(
            self._problem,
            best,
            k,
            float(np.sqrt(self._found.covariance[k, k])),
            drop,
            self.max_iter,
        )
        if k >= layout.n_overlaps:
            place = k - layout.n_overlaps
            both = np.zeros((2, len(layout.rate_names)))
            both[:, place] = ends
            return float(layout.rates(both[0])[place]), float(layout.rates(both[1])[place])
        return ends[0], ends[1]

    def goodness_of_fit(self, test: str = "auto") -> GoodnessOfFit:
        """Test the fitted model, its rule of learning above all, against the sessions.

        Parameters
        ----------
        test : {"auto", "chi-square", "smooth misfit"}
            "chi-square" asks whether residuals are as large as the errors given say. "smooth
            misfit" asks whether they drift over sessions in a way that no parameter could absorb:
            it needs no errors, and notices a wrong rule with more power. "auto": the first where
            errors were given, the second where not.

        Returns
        -------
        GoodnessOfFit
            Statistic, p value, effect size.

        Raises
        ------
        InputError
            For chi-square without given errors, or where too few measurements are left.
        """
        check_is_fitted(self, "start_")
        choice("test", test, ("auto", "chi-square", "smooth misfit"))
        return tested(self._problem, self._best.x, self._group_sd, self.n_residual_, test)

    def draw(self, n: int = 200, seed: int | None = None) -> pd.DataFrame:
        """Draw starts and rates: normal where identified, else uniform over what is realisable.

        Parameters
        ----------
        n : int, default 200
            Number of draws.
        seed : int, optional
            That of the fit if not given.

        Returns
        -------
        pandas.DataFrame
            One row a draw: overlaps, realisable, and rates.
        """
        check_is_fitted(self, "start_")
        rows = self._draws(positive_int("n", n), seed)
        layout = self._problem.model.layout
        k = layout.n_overlaps
        rates = np.array([layout.rates(r[k:]) for r in rows]).reshape(len(rows), -1)
        return pd.DataFrame(
            np.concatenate([rows[:, :k], rates], axis=1), columns=list(layout.names)
        )

    def _draws(self, n: int, seed: int | None) -> Array:
        """Return draws of the natural parameters."""
        rng = np.random.default_rng(self.seed if seed is None else seed)
        return draws(self._natural, self._found, self._problem.model.layout, n, rng)

    def sample(
        self, n_samples: int = 2000, burn_in: int = 200, seed: int | None = None
    ) -> Posterior:
        """Sample the posterior of start, rates and noise (package emcee, extra "bayes").

        The prior is weak: correlations of the loading vectors uniform over all correlation
        matrices, norms log-normal (log-sd 0.7) about the size seen in the first session (1 if none
        was), log rates normal (sd 2) about the rule's, log noise normal (sd 1) about the fitted.

        Parameters
        ----------
        n_samples : int, default 2000
            Draws to keep, at least.
        burn_in : int, default 200
            Steps of every walker that are dropped first.
        seed : int, optional
            That of the fit if not given.

        Returns
        -------
        Posterior
            Draws, acceptance and autocorrelation time.

        Raises
        ------
        InputError
            If emcee is not installed, or a number is out of range.
        """
        check_is_fitted(self, "start_")
        n_samples, burn_in = checked_counts(n_samples, burn_in)
        seed = self.seed if seed is None else positive_int("seed", seed, minimum=0)
        walkers = 2 * (len(self._natural) + 3)
        begin = self._draws(walkers, seed)
        return sample_posterior(self._problem, begin, self._group_sd, n_samples, burn_in, seed)

    def predict(
        self,
        tasks: Any,
        epochs: Any,
        rule: GradientDescent | None = None,
        n_draws: int = 200,
        seed: int | None = None,
    ) -> Forecast:
        """Predict the next phase of learning, with a band.

        Parameters
        ----------
        tasks : Task, or one an interval between the epochs of the forecast
            What will be learned.
        epochs : int or sequence of int
            Updates since the last session at which to predict, or their number: a grid then.
        rule : GradientDescent, optional
            The rule of the new phase; the fitted one if not given.
        n_draws : int, default 200
            Draws of start and rates behind the band.
        seed : int, optional
            That of the fit if not given.

        Returns
        -------
        Forecast
            Median and band of the loss and of all overlaps, without the error of a measurement.

        Raises
        ------
        InputError
            Arguments that cannot be used.
        DivergenceError
            If half of the draws diverge.
        """
        check_is_fitted(self, "start_")
        model = self._problem.model
        return forecast(
            self._draws(positive_int("n_draws", n_draws, minimum=2), seed),
            model.layout,
            model.data,
            tasks,
            epochs,
            rule,
            nonlinearity=self.nonlinearity,
            tau=self.tau,
            seed=self.seed,
            level=self.level,
            canonical=model.canonical,
        )


def _scale(data: Sessions) -> float:
    """Return the size of the overlaps: the mean squared norm seen in the first session, or 1."""
    norms = [value for (i, j), value in start_values(data).items() if i == j and value > 0]
    return float(np.exp(np.mean(np.log(norms)))) if norms else 1.0
