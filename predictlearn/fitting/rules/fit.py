"""Fit of a hypothesis about learning to sessions, by maximum likelihood from several starts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.errors import MisfitWarning
from predictlearn.fitting.learning.goodness import GoodnessOfFit, chi_square
from predictlearn.fitting.learning.identifiability import Identified, identify
from predictlearn.fitting.rules.hypothesis import Hypothesis
from predictlearn.fitting.rules.profile import profiled
from predictlearn.fitting.rules.search import STEP, Maxima, RuleProblem, rule_problem
from predictlearn.fitting.rules.tables import LearnedTables
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.overlaps import Overlaps

__all__ = ["RuleFit", "described", "fit_rule"]

# Probability of what a fit leaves below which it warns that no interval of it can be relied on.
_REJECTED = 0.01
# How closely conventions are held in units of an overlap, where parameters are told from open ones.
_PIN = 1e-3
# A parameter is open where more than this share of it, in natural units, is, or where its own
# standard deviation is larger than its size.
_SHARE = 0.03


@dataclass(frozen=True, eq=False)
class RuleFit(LearnedTables):
    """A hypothesis fitted to sessions; its tables have the names of `LearningFit` too.

    Parameters
    ----------
    hypothesis : Hypothesis
        What was fitted.
    rule : GradientDescent, FeedbackAlignment or RFLO
        With the rate and the feedback found.
    start : Overlaps
        Overlaps before learning. Where synapses learn those of u and v mean nothing beyond
        U V': they are given with U'U = V'V.
    log_likelihood : float
        At the maximum.
    n_determined : int
        Directions of the parameters that the sessions determine.
    predicted, residuals : DataFrame
        What the fit predicts for the sessions, and what it leaves, in units of the errors and
        uncorrelated within a session.
    goodness : GoodnessOfFit
        The chi-square test of the hypothesis, its degrees of freedom less what is determined.
    converged : bool
        Whether the search ended by itself.
    problem : RuleProblem
        What was fitted.
    maxima : Maxima
        Where its likelihood is highest: several places, where the start is not well seen.
    level : float
        Level of the intervals.
    ends : numpy.ndarray, (strengths, 2), optional
        Ends of the intervals of rate and feedback, if they were found already.
    """

    hypothesis: Hypothesis
    rule: GradientDescent | LocalRule
    start: Overlaps
    log_likelihood: float
    n_determined: int
    predicted: pd.DataFrame
    residuals: pd.DataFrame
    goodness: GoodnessOfFit
    converged: bool
    problem: RuleProblem = field(repr=False)
    maxima: Maxima = field(repr=False)
    level: float
    ends: Array | None = field(default=None, repr=False)

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """estimate, sd, low, high by parameter: overlaps, and rate, decoder, private as fitted.

        And whether it is open: that the sessions leave it so, with no interval then. Intervals of
        rate and feedback are those of the profile of the likelihood, over all maxima found, and
        need not lie evenly about the estimate; sd is half their length in standard deviations.
        Those of the overlaps are made of the curvature at the maximum, and of one maximum alone.
        """
        ends = self.ends
        if ends is None:
            ends, _ = profiled(self.problem, self.maxima, self.level)
        return _parameters(self.problem, self.maxima.xs[0], ends, self.level)

    @property
    def strengths(self) -> dict[str, float]:
        """Rate, decoder and private as found; NaN for what was not fitted."""
        fitted = self.hypothesis.fitted or ()
        feedback = self.rule.feedback if isinstance(self.rule, LocalRule) else None
        found = {"rate": self.rule.rate}
        for name in ("decoder", "private"):
            found[name] = getattr(feedback, name, np.nan)
        return {name: v if name in fitted else np.nan for name, v in found.items()}

    @property
    def open(self) -> tuple[str, ...]:
        """Names of the parameters that the sessions leave open."""
        return tuple(self.parameters.index[self.parameters["open"]])


class _AtMaximum(NamedTuple):
    """A maximum in the gauge of the report: parameters, their scales, residuals, what is known."""

    x: Array
    scale: Array
    left: Array
    found: Identified
    n_pins: int


def _local(problem: RuleProblem, x: Array) -> _AtMaximum:
    """Return what the slopes at a maximum determine."""
    model, layout = problem.model, problem.model.layout
    x = model.conventional(x)
    scale = problem.scales(x)
    left, slopes = problem.slopes(problem.residuals, x[None], scale[None])[0]
    held = np.array([model.held(row) for row in np.vstack([x, x + STEP * np.diag(scale)])])
    size = float(np.mean(np.diag(layout.matrix(x))))
    pins = (held[1:] - held[0]).T / STEP / (_PIN * size)
    found = identify(np.vstack([slopes, pins]), np.ones(len(x)))
    return _AtMaximum(x, scale, left, found, len(pins))


def described(
    problem: RuleProblem, maxima: Maxima, level: float, ends: Array | None = None
) -> RuleFit:
    """Return a maximum with its intervals and its test."""
    model, data, layout = problem.model, problem.data, problem.model.layout
    x, _, left, found, n_pins = _local(problem, maxima.xs[0])
    n_determined = int(np.sum(found.sds < 1.0)) - n_pins
    values = model.predictions(x[None])[0]
    log_likelihood = -0.5 * float(
        left @ left + data.n * np.log(2 * np.pi) + data.noise.log_determinant(np.ones(2))
    )
    by_column = [np.sqrt(np.mean(left[data.column == c] ** 2)) for c in range(len(data.columns))]
    strengths = x[layout.n_overlaps :]
    return RuleFit(
        hypothesis=model.hypothesis,
        rule=model.rule_at(strengths),
        start=Overlaps(layout.matrix(x), *data.sizes),
        log_likelihood=log_likelihood,
        n_determined=n_determined,
        predicted=data.table(values),
        residuals=data.table(left),
        goodness=chi_square(
            left, n_determined, pd.Series(by_column, index=list(data.columns), name="rms")
        ),
        converged=maxima.converged,
        problem=problem,
        maxima=maxima,
        level=level,
        ends=ends,
    )


def _parameters(problem: RuleProblem, x: Array, ends: Array, level: float) -> pd.DataFrame:
    """Return estimates with intervals, in the units in which they are reported."""
    model, layout = problem.model, problem.model.layout
    x, scale, _, found, _ = _local(problem, x)
    n, natural = layout.n_overlaps, layout.natural(x)
    turn = layout.slopes(x) * scale
    sizes = np.concatenate([layout.scales(layout.matrix(x))[:n], np.ones(len(x) - n)])
    share = np.linalg.norm(turn @ found.free / sizes[:, None], axis=1)
    sd = np.sqrt(np.diag(turn @ found.covariance @ turn.T))
    is_open = (share > _SHARE) | (sd > sizes)
    deviations = stats.norm.ppf(0.5 + level / 2)
    low_ends, high_ends = natural - deviations * sd, natural + deviations * sd
    low_ends[n:], high_ends[n:] = ends.T
    is_open[n:] = ~np.all(np.isfinite(ends), axis=1)
    rows = {}
    for k, name in enumerate(model.names):
        low, value, high = (float(v[k]) for v in (low_ends, natural, high_ends))
        if name == "rate":
            rate = model.hypothesis.rule.rate
            low, high, value = (rate * np.exp(v) for v in (low, high, value))
        elif name == "private":
            # what is estimated is its square
            low, high, value = (np.sqrt(max(v, 0.0)) for v in (low, high, value))
        own = (high - low) / (2 * deviations)
        if is_open[k]:
            low = high = own = np.nan
        rows[name] = (value, own, low, high, bool(is_open[k]))
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.set_axis(["estimate", "sd", "low", "high", "open"], axis=1)


def fit_rule(
    sessions: pd.DataFrame,
    tasks: Any,
    epochs: Any,
    hypothesis: Hypothesis,
    errors: Any,
    *,
    rank: int = 1,
    tau: float = 1.0,
    n_starts: int = 4,
    max_iter: int = 40,
    level: float = 0.95,
    seed: int = 0,
) -> RuleFit:
    """Fit a hypothesis about learning to sessions along it, with its rate and feedback.

    Parameters
    ----------
    sessions : DataFrame
        One row a session; columns as `pl.measured_rule_columns` returns them, any subset, and
        "loss"; NaN where unseen.
    tasks : Task, or one an interval between sessions
        What was learned; fixed trials.
    epochs : int or sequence of int
        Updates between any two sessions, between each two, or cumulative from 0.
    hypothesis : Hypothesis
        What learns, by which rule.
    errors : float, Series, DataFrame or list of arrays
        Standard deviations of the measurements, or a covariance matrix a session.
    rank : int, default 1
        Rank of the network before learning.
    tau : float, default 1.0
        Time constant, seconds.
    n_starts : int, default 4
        Starts of the search.
    max_iter : int, default 40
        Steps from the best.
    level : float, default 0.95
        Level of the intervals.
    seed : int, default 0
        Seed of the starts.

    Returns
    -------
    RuleFit
        The fit, its intervals and its test.

    Raises
    ------
    InputError
        Arguments that cannot be used.

    Warns
    -----
    MisfitWarning
        If the chi-square test rejects the fit at 0.01: its intervals then say nothing.

    Notes
    -----
    Linear networks, in which learning closes exactly in the span of the start. Slopes are
    differences between networks that learn side by side. A direction of the parameters is
    determined where its standard deviation is below 1, in units of the norms of the loadings, of
    a factor e of the rate, and of the feedback itself; the rest is open.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> true = pl.Overlaps(np.eye(4)).replace(zu=0.2, vm=0.3, zv=0.2, vv=1.3)
    >>> task, rule = pl.Filter(duration=5.0, dt=0.1), pl.GradientDescent(5e-3)
    >>> recordings, _ = pl.simulate_learning(
    ...     true, task, 20, rule, n_sessions=8, recorded=300, learns="synapses")
    >>> table, errors = pl.measured_rule_columns(recordings)
    >>> fit = fit_rule(table, task, 20, pl.Hypothesis(pl.GradientDescent(0.01), "synapses"), errors)
    >>> bool(fit.goodness.p_value > 0.01), bool(abs(fit.rule.rate / 5e-3 - 1) < 0.3)
    (True, True)
    """
    problem = rule_problem(
        sessions, tasks, epochs, hypothesis, errors,
        rank=rank, tau=tau, n_starts=n_starts, max_iter=max_iter, seed=seed,
    )  # fmt: skip
    maxima = problem.widened(problem.search())
    # a higher maximum may be met on the way of a profile
    ends, maxima = profiled(problem, maxima, level)
    fit = described(problem, maxima, level, ends)
    if fit.goodness.p_value < _REJECTED:
        warnings.warn(_misfit(fit), MisfitWarning, stacklevel=2)
    return fit


def _misfit(fit: RuleFit) -> str:
    """Return what is wrong with a fit that the test rejects."""
    hypothesis, goodness = fit.hypothesis, fit.goodness
    worst = goodness.by_column.idxmax()
    return (
        f"{type(hypothesis.rule).__name__} of {hypothesis.learns} does not fit the sessions: it "
        f"leaves {goodness.effect:.3g} times the errors (chi-square, p = {goodness.p_value:.2g}), "
        f"most in {worst!r}. Do not rely on its intervals. Compare other rules by "
        "pl.compare_rules, check errors, tasks, tau and rank, or give more n_starts."
    )
