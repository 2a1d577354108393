"""Fit of a hypothesis about learning to sessions, by maximum likelihood from several starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.fitting.learning.goodness import GoodnessOfFit, chi_square
from predictlearn.fitting.learning.identifiability import Identified, identify
from predictlearn.fitting.rules.hypothesis import Hypothesis, RuleModel
from predictlearn.fitting.rules.search import STEP, RuleProblem, rule_problem
from predictlearn.theory.learning.local_rules import LocalRule
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.overlaps import Overlaps

__all__ = ["RuleFit", "described", "fit_rule"]

# How closely conventions are held in units of an overlap, where parameters are told from open ones.
_PIN = 1e-3
# A parameter is open where more than this share of it, in natural units, is, or where its own
# standard deviation is larger than its size.
_SHARE = 0.03


@dataclass(frozen=True, eq=False)
class RuleFit:
    """A hypothesis fitted to sessions.

    Parameters
    ----------
    hypothesis : Hypothesis
        What was fitted.
    rule : GradientDescent, FeedbackAlignment or RFLO
        With the rate and the feedback found.
    start : Overlaps
        Overlaps before learning. Where synapses learn those of u and v mean nothing beyond
        U V': they are given with U'U = V'V.
    parameters : DataFrame
        estimate, sd, low, high by parameter: overlaps, rate, decoder and private as far as fitted;
        and whether it is open: that the sessions leave it so, with no interval then.
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
    """

    hypothesis: Hypothesis
    rule: GradientDescent | LocalRule
    start: Overlaps
    parameters: pd.DataFrame
    log_likelihood: float
    n_determined: int
    predicted: pd.DataFrame
    residuals: pd.DataFrame
    goodness: GoodnessOfFit
    converged: bool

    @property
    def open(self) -> tuple[str, ...]:
        """Names of the parameters that the sessions leave open."""
        return tuple(self.parameters.index[self.parameters["open"]])


def described(problem: RuleProblem, x: Array, converged: bool, level: float) -> RuleFit:
    """Return a maximum with its intervals and its test."""
    model, data, layout = problem.model, problem.data, problem.model.layout
    x = model.conventional(x)
    scale = problem.scales(x)
    left, slopes = problem.slopes(problem.residuals, x[None], scale[None])[0]
    held = np.array([model.held(row) for row in np.vstack([x, x + STEP * np.diag(scale)])])
    size = float(np.mean(np.diag(layout.matrix(x))))
    pins = (held[1:] - held[0]).T / STEP / (_PIN * size)
    found = identify(np.vstack([slopes, pins]), np.ones(len(x)))
    n_determined = int(np.sum(found.sds < 1.0)) - len(pins)
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
        parameters=_parameters(model, x, scale, found, level),
        log_likelihood=log_likelihood,
        n_determined=n_determined,
        predicted=data.table(values),
        residuals=data.table(left),
        goodness=chi_square(
            left, n_determined, pd.Series(by_column, index=list(data.columns), name="rms")
        ),
        converged=converged,
    )


def _parameters(
    model: RuleModel, x: Array, scale: Array, found: Identified, level: float
) -> pd.DataFrame:
    """Return estimates with intervals, in the units in which they are reported."""
    layout = model.layout
    n, natural = layout.n_overlaps, layout.natural(x)
    turn = layout.slopes(x) * scale
    sizes = np.concatenate([layout.scales(layout.matrix(x))[:n], np.ones(len(x) - n)])
    share = np.linalg.norm(turn @ found.free / sizes[:, None], axis=1)
    sd = np.sqrt(np.diag(turn @ found.covariance @ turn.T))
    is_open = (share > _SHARE) | (sd > sizes)
    reach = stats.norm.ppf(0.5 + level / 2) * sd
    rows = {}
    for k, name in enumerate(model.names):
        low, high, value, own = natural[k] - reach[k], natural[k] + reach[k], natural[k], sd[k]
        if name == "rate":
            rate = model.hypothesis.rule.rate
            low, high, value = (rate * np.exp(v) for v in (low, high, value))
            own = own * value
        elif name == "private":
            # the square is what is estimated; its error says little of the root near zero
            low, high, value = (np.sqrt(max(v, 0.0)) for v in (low, high, value))
            own = (high - low) / (2 * stats.norm.ppf(0.5 + level / 2))
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
    x, _, converged = problem.search()
    return described(problem, x, converged, level)
