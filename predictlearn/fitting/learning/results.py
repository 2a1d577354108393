"""What a fit of learning keeps, and what it can be asked: intervals, tests, draws, forecasts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from predictlearn.arrays import Array
from predictlearn.checks import positive_int
from predictlearn.errors import InputError, choice
from predictlearn.fitting.learning.forecast import Forecast, forecast
from predictlearn.fitting.learning.goodness import GoodnessOfFit, tested
from predictlearn.fitting.learning.identifiability import Identified
from predictlearn.fitting.learning.likelihood import Fitted, SessionsProblem
from predictlearn.fitting.learning.point_estimate import corrected
from predictlearn.fitting.learning.posterior.delta_method import ByCurvature
from predictlearn.fitting.learning.posterior.interface import Density
from predictlearn.fitting.learning.posterior.mcmc import Posterior, checked_counts, sample_posterior
from predictlearn.fitting.learning.posterior.profile import profile_ends
from predictlearn.fitting.learning.posterior.randomised import OnRidge, Randomised
from predictlearn.fitting.learning.posterior.ridge_line import AlongRidgeLine, RidgeLine
from predictlearn.fitting.learning.recordings.likelihood import RawProblem
from predictlearn.kept import keeping
from predictlearn.progress import bar
from predictlearn.theory.learning.phases import LOSS
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.overlaps import Overlaps

__all__ = ["Learned", "lasting"]

P = ParamSpec("P")
R = TypeVar("R")
# A maximum lower by less log likelihood than this could be the true one.
_NEARLY = 3.0
# Parameters that differ by less have the same ridge line: a convention turned them by as little.
_TURNED = 1e-5


def lasting(method: Callable[P, R]) -> Callable[P, R]:
    """Return a method of a fit that keeps finished steps and shows how far it is.

    Parameters
    ----------
    method : callable
        A method of `Learned`.

    Returns
    -------
    callable
        The same, with one more frame below the caller's.
    """

    @functools.wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        fit: Any = args[0]
        name = f"{type(fit).__name__}.{method.__name__}".removesuffix("._draws")
        with bar(name, fit.progress), keeping():
            return method(*args, **kwargs)

    return run


class Learned(BaseEstimator):
    """The part of `LearningFit` that does not depend on what was fitted to."""

    nonlinearity: Any
    tau: float
    max_iter: int
    seed: int
    level: float
    n_jobs: int
    progress: bool

    def _keep(
        self, problem: SessionsProblem, best: Fitted, ridge_line: RidgeLine | None = None
    ) -> None:
        """Store the results; the ridge line may be traced already, if it is that of the fit."""
        if isinstance(problem, RawProblem) and (
            ridge_line is None or not np.allclose(ridge_line.x, best.x, rtol=0, atol=_TURNED)
        ):
            ridge_line = RidgeLine(problem, best.x)
        data, layout = problem.model.data, problem.model.layout
        group_sd, found = corrected(best, problem)
        natural = layout.natural(best.x)
        run = problem.run(best.x)
        if run is None:
            raise FloatingPointError("the best fit diverges")
        n_known = len(natural) - found.free.shape[1]
        self._problem, self._best, self._found = problem, best, found
        self._natural, self._group_sd = natural, group_sd
        self.n_residual_ = data.n - n_known + len(problem.conventions())
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
        self._density = self._density_about(best, found, ridge_line)
        self.__dict__.pop("intervals_", None)
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
        self.residuals_ = data.table(problem.white(best.x, group_sd))
        self.converged_ = best.converged

    @cached_property
    @lasting
    def intervals_(self) -> pd.DataFrame:
        """Low, high, estimate and sd of every overlap and rate."""
        check_is_fitted(self, "start_")
        # only when asked for: draws along a ridge take longer than the search for it
        return self._density.intervals(self.level)

    def _density_about(
        self, best: Fitted, found: Identified, ridge_line: RidgeLine | None
    ) -> Density:
        """Return the posterior about a maximum, by the method that its kind allows."""
        if isinstance(best, OnRidge):
            return Randomised(self._problem, best, self.seed, self.n_jobs)
        layout, data = self._problem.model.layout, self._problem.model.data
        degrees = np.inf if data.noise.known else max(self.n_residual_, 1)
        curvature = ByCurvature(layout.natural(best.x), found, layout, degrees, self.seed)
        if ridge_line is None:
            return curvature
        profiled = functools.partial(self._profiled, best, found)
        return AlongRidgeLine(ridge_line, curvature, profiled)

    def _keep_maxima(self, others: list[Fitted]) -> None:
        """Store the other maxima of the likelihood, and widen intervals over those nearly as high.

        An interval about one maximum says nothing of another that the data hardly tell from it.
        """
        problem, best, layout = self._problem, self._best, self._problem.model.layout
        assert isinstance(problem, RawProblem)
        rows = []
        for f in [best, *others]:
            natural = layout.natural(f.x)
            rates = layout.rates(natural[layout.n_overlaps :])
            rows.append([*natural[: layout.n_overlaps], *rates, best.cost - f.cost])
        self.maxima_ = pd.DataFrame(rows, columns=[*layout.names, "log_likelihood"])
        for f in others:
            if f.cost - best.cost > _NEARLY:
                continue
            about = self._density_about(f, corrected(f, problem)[1], RidgeLine(problem, f.x))
            table = about.intervals(self.level)
            for side, wider in (("low", np.minimum), ("high", np.maximum)):
                self.intervals_[side] = wider(self.intervals_[side], table[side])

    @lasting
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
        if not self._density.has_maximum:
            raise InputError(
                "profile needs a likelihood with a maximum, and the sessions leave "
                f"{self._found.free.shape[1]} directions open; use intervals_."
            )
        k = layout.names.index(name)
        if not self._found.identifiable[k]:
            raise InputError(f"{name} is unidentified; its realisable range is in intervals_.")
        return self._profiled(best, self._found, k, self.level if level is None else level)

    def _profiled(
        self, best: Fitted, found: Identified, k: int, level: float
    ) -> tuple[float, float]:
        """Return the profile interval of natural parameter k about a maximum."""
        layout, sd = self._problem.model.layout, float(np.sqrt(found.covariance[k, k]))
        drop = float(stats.chi2.ppf(level, 1)) / 2
        ends = profile_ends(self._problem, best, k, sd, drop, self.max_iter)
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

    @lasting
    def _draws(self, n: int, seed: int | None) -> Array:
        """Return draws of the natural parameters."""
        return self._density.draws(n, self.seed if seed is None else seed)

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
