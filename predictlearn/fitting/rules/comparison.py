"""Rules of learning compared on the same sessions: held-out likelihood and tests of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from predictlearn.arrays import Array
from predictlearn.checks import positive_int
from predictlearn.errors import InputError
from predictlearn.fitting.learning.sessions import Sessions
from predictlearn.fitting.rules.fit import RuleFit, described
from predictlearn.fitting.rules.hypothesis import Hypothesis
from predictlearn.fitting.rules.search import Maxima, RuleProblem, rule_problem

__all__ = ["RuleComparison", "compare_rules"]

# Log likelihood below that of the best from which no search around a maximum brings a rule back:
# what that gains is about 5 at most.
_HOPELESS = 20.0


@dataclass(frozen=True, eq=False)
class RuleComparison:
    """Hypotheses compared on the same sessions.

    Parameters
    ----------
    table : DataFrame
        By hypothesis, the best first: held_out, the log likelihood of sessions that were left out
        of the fit; difference to the best, with low and high; p_value of the chi-square test, rms
        of the residuals in units of the errors; determined, the directions of its parameters that
        sessions determine; log_likelihood of the fit to all; rate, decoder and private; their low
        and high, NaN where they are open, there are none, or the hypothesis is ruled out (its own
        fit gives them all the same); open, names of what is open.
    held_out : DataFrame
        Log likelihood of every session when left out, by hypothesis.
    fits : dict of RuleFit
        The fits to all sessions.
    """

    table: pd.DataFrame
    held_out: pd.DataFrame
    fits: dict[str, RuleFit]

    @property
    def best(self) -> str:
        """The hypothesis that best predicts the sessions left out."""
        return str(self.table.index[0])

    @property
    def left(self) -> tuple[str, ...]:
        """What is not ruled out: the best, and those whose interval of the difference holds 0."""
        return tuple(self.table.index[~(self.table["high"] < 0)])


def compare_rules(
    sessions: pd.DataFrame,
    tasks: Any,
    epochs: Any,
    hypotheses: Mapping[str, Hypothesis],
    errors: Any,
    *,
    rank: int = 1,
    tau: float = 1.0,
    folds: int = 5,
    n_starts: int = 4,
    max_iter: int = 40,
    level: float = 0.95,
    seed: int = 0,
) -> RuleComparison:
    """Compare hypotheses about learning by what they predict of sessions left out, and by a test.

    Parameters
    ----------
    sessions, tasks, epochs, errors, rank, tau, n_starts, max_iter, level, seed
        As for `fit_rule`.
    hypotheses : mapping of str to Hypothesis
        At least two, by name.
    folds : int, default 5
        Every `folds`-th session is left out at a time.

    Returns
    -------
    RuleComparison
        Tables of the comparison, and the fits.

    Raises
    ------
    InputError
        Arguments that cannot be used.

    Notes
    -----
    The held-out likelihood takes the parameters as fitted to the other sessions, and the errors as
    given. Fits to other sessions begin from the maxima of all sessions and from around them, and
    the likeliest by those sessions alone is kept. The interval of a difference is what measuring
    the same sessions anew would give, to first order: every measurement moves what is left of it
    when left out, and the fits that predict other sessions. Errors are independent, so that the
    variance is the sum of squares of ``d(difference) / d(measurement)``, in units of the errors
    (times the mean square that the best hypothesis leaves, where that is above 1). The fits' part
    matters: the first session, left out, is a forecast backwards, and often the least certain. A
    direction that the other sessions leave open counts as known to about its size. A bootstrap over
    sessions is of no use here: where a rule is wrong a few sessions hold nearly all of the
    difference, and of these the resamples have none or many. The interval says how sure
    the preference is for this course of learning, not for another animal's. Where one hypothesis is
    a special case of another, no difference is expected if the special case is true.

    Examples
    --------
    >>> import numpy as np
    >>> import predictlearn as pl
    >>> true = pl.Overlaps(np.eye(4)).replace(zu=0.2, vm=0.3, zv=0.2, vv=1.3)
    >>> task, rule = pl.Filter(duration=5.0, dt=0.1), pl.GradientDescent(0.01)
    >>> recordings, _ = pl.simulate_learning(
    ...     true, task, 10, rule, n_sessions=10, recorded=300, noise=0.1, output_noise=0.005)
    >>> table, errors = pl.measured_rule_columns(recordings)
    >>> found = compare_rules(
    ...     table, task, 10,
    ...     {learns: pl.Hypothesis(rule, learns) for learns in ("factors", "synapses")}, errors,
    ...     n_starts=1)
    >>> found.best, list(found.table.columns[:4])
    ('factors', ['held_out', 'difference', 'low', 'high'])
    """
    if not isinstance(hypotheses, Mapping) or len(hypotheses) < 2:
        raise InputError("hypotheses must map names to at least two pl.Hypothesis.")
    problems = {
        str(name): rule_problem(
            sessions, tasks, epochs, hypothesis, errors,
            rank=rank, tau=tau, n_starts=n_starts, max_iter=max_iter, seed=seed,
        )
        for name, hypothesis in hypotheses.items()
    }  # fmt: skip
    n = len(next(iter(problems.values())).data.epochs)
    folds = positive_int("folds", folds, minimum=2)
    if n < 2 * folds:
        raise InputError(f"folds must be at most half the number of sessions, {n}; got {folds}.")
    found = {name: problem.search() for name, problem in problems.items()}
    best = min(found, key=lambda name: found[name].costs[0])
    for name, problem in problems.items():
        if name != best:
            # from where the best fit started, by its own rule
            start = _borrowed(problems[best], found[best].xs[0], problem)
            again = problem.polished(start[None])
            if again.costs[0] < found[name].costs[0]:
                found[name] = again
    least = found[best].costs[0] + _HOPELESS
    hopeful = {name for name, maxima in found.items() if maxima.costs[0] < least}
    for name in sorted(hopeful):
        found[name] = problems[name].widened(found[name])
    left = {
        name: _left_out(problem, found[name], folds, name in hopeful)
        for name, problem in problems.items()
    }
    fits = {name: described(problems[name], maxima, level) for name, maxima in found.items()}
    return _compared(problems, left, fits, level)


def _borrowed(best: RuleProblem, x: Array, problem: RuleProblem) -> Array:
    """Return parameters with the start of another fit, and with those strengths that both have."""
    n = best.model.layout.n_overlaps
    strengths = dict(zip(best.model.strengths, x[n:], strict=True))
    rates = best.model.hypothesis.rule.rate, problem.model.hypothesis.rule.rate
    if "rate" in strengths:
        strengths["rate"] += np.log(rates[0] / rates[1])
    first = problem.model.first(1.0, np.zeros(3))
    own = [strengths.get(s, v) for s, v in zip(problem.model.strengths, first, strict=True)]
    return np.concatenate([x[:n], own])


class _LeftOut(NamedTuple):
    """What is left of every measurement when left out, (n,), and how the score goes with it, (n,).

    All in units of the errors; the score is the held-out log likelihood.
    """

    residuals: Array
    slopes: Array


def _left_out(problem: RuleProblem, maxima: Maxima, folds: int, widely: bool) -> _LeftOut:
    """Return what fits to other folds leave of every measurement."""
    session = problem.data.session % folds
    mine = session == np.arange(folds)[:, None]
    ends = problem.refitted(maxima, ~mine, widely)
    left = np.asarray(problem.residuals(ends)[session, np.arange(problem.data.n)])
    by = -left
    scales = np.array([problem.scales(x) for x in ends])
    for held, (_, slopes) in zip(
        mine, problem.slopes(problem.residuals, ends, scales), strict=True
    ):
        if not (np.all(np.isfinite(slopes)) and np.all(np.isfinite(left))):
            return _LeftOut(left, np.zeros(len(left)))
        # a measurement moves the fit, and that what is predicted of the fold; what is open as if
        # it were known to about its size
        seen = slopes[~held]
        normal = seen.T @ seen + np.eye(seen.shape[1])
        by[~held] += seen @ np.linalg.solve(normal, slopes[held].T @ left[held])
    return _LeftOut(left, by)


def _log_sizes(data: Sessions) -> Array:
    """Return the log determinant of every session's errors, times 2 pi."""
    count = np.bincount(data.session, minlength=len(data.epochs))
    sd, roots = data.noise.sd, data.noise.roots or []
    # with covariances given, sd is 1
    logs = np.bincount(data.session, 2 * np.log(sd), len(data.epochs))
    for k, (_, root) in enumerate(roots):
        logs[k] += 2 * np.log(np.diag(root)).sum()
    return np.asarray(logs + count * np.log(2 * np.pi))


def _compared(
    problems: Mapping[str, RuleProblem],
    left: Mapping[str, _LeftOut],
    fits: dict[str, RuleFit],
    level: float,
) -> RuleComparison:
    """Return the comparison from what is left of every measurement."""
    data = next(iter(problems.values())).data
    n = len(data.epochs)
    rows: dict[str, dict[str, Any]] = {}
    held_out = pd.DataFrame(
        {
            name: -0.5 * (np.bincount(data.session, out.residuals**2, n) + _log_sizes(data))
            for name, out in left.items()
        },
        index=data.index,
    )
    total = held_out.sum().sort_values(ascending=False)
    best = str(total.index[0])
    scale = np.sqrt(max(1.0, float(np.mean(left[best].residuals ** 2))))
    for name in map(str, total.index):
        fit = fits[name]
        difference = float(total[name] - total[best])
        finite = np.isfinite(difference)
        apart = left[name].slopes - left[best].slopes if finite else np.zeros(1)
        half = stats.norm.ppf(0.5 + level / 2) * scale * float(np.linalg.norm(apart))
        row: dict[str, Any] = {
            "held_out": total[name],
            "difference": difference,
            "low": difference - half,
            "high": difference + half,
            "p_value": fit.goodness.p_value,
            "rms": fit.goodness.effect,
            "determined": fit.n_determined,
            "log_likelihood": fit.log_likelihood,
        }
        ruled_out = row["high"] < 0
        for strength, estimate in fit.strengths.items():
            row[strength] = estimate
            ends = (np.nan, np.nan)
            if not (ruled_out or np.isnan(estimate)):
                ends = tuple(fit.parameters.loc[strength, ["low", "high"]])
            row[f"{strength}_low"], row[f"{strength}_high"] = ends
        row["open"] = "" if ruled_out else " ".join(fit.open)
        rows[name] = row
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("hypothesis")
    return RuleComparison(table, held_out, fits)
