"""Mixed models from a tidy table: animals, litters, cohorts and sessions as random effects."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import special, stats

from predictlearn.arrays import Array
from predictlearn.checks import names_of
from predictlearn.errors import InputError, choice
from predictlearn.statistics.comparisons import check_level, number, p_text, span
from predictlearn.statistics.design import ModelDesign, Term, design_of
from predictlearn.statistics.groups import normality
from predictlearn.statistics.logistic_mixed import Binomial, fit_binomial
from predictlearn.statistics.results import (
    AssumptionCheck,
    TestResult,
    bare,
    failed_result,
    tests_table,
)
from predictlearn.statistics.tables import ColumnLabels, Limits, as_table, labels, numbers, within
from predictlearn.statistics.variance_components import (
    Block,
    VarianceFit,
    fit_variances,
    moments_of,
)

__all__ = ["mixed_model"]

_FEW, _MOST = 5, 5000
# Where a test rejected more or less than 4 to 6% of 2,000 true nulls, see the page
# studies/statistics/test_sizes.md.
_MISSES = {
    "gaussian": "measured: rejects 2% of true nulls of 6 + 6 animals that hardly differ from one "
    "another; 13% of an arm of litters where litter= is left out, 21% of a slope that animals "
    "differ in where slopes= is left out",
    "binomial": "measured: rejects 32% of true nulls of a slope over sessions where sessions of "
    "one animal differ and session= is left out, 4.8% with it",
}


@dataclasses.dataclass(frozen=True)
class _Random:
    """The random part: blocks, and the labels of each."""

    blocks: list[Block]
    animals: ColumnLabels


def _random_part(
    data: pd.DataFrame,
    subject: str,
    litter: str | None,
    cohort: str | None,
    session: str | None,
    slopes: Sequence[str],
    counts: bool,
) -> _Random:
    """Return the random effects of the animals and of what lies around and within them."""
    animals = labels(data, "subject", subject)
    blocks = [Block(subject, animals.codes, len(animals.names))]
    around = [("litter", litter), ("cohort", cohort)]
    for role, name in around:
        if name is None:
            continue
        outer = labels(data, role, name)
        if len(outer.names) < 2:
            raise InputError(f"{role} {name!r} has the same value in every row; leave it out.")
        why = f"an animal has one {role}; give different animals different names."
        within(data, animals, outer, "subject", role, why)
        blocks.append(Block(name, outer.codes, len(outer.names)))
    if session is not None:
        inner = labels(data, "session", session)
        codes, found = pd.factorize(animals.codes * len(inner.names) + inner.codes)
        # counts of several trials say how much they vary by themselves
        if len(found) == len(data) and not counts:
            raise InputError(
                f"session {session!r} differs in every row of an animal, so that its variance "
                "cannot be told from that of rows; leave it out."
            )
        if len(found) > len(animals.names):
            blocks.append(Block(f"{subject}:{session}", np.asarray(codes), len(found)))
    for name in slopes:
        values = numbers(data, "slopes", name)
        values = values - values.mean()
        blocks.append(Block(f"{name} by {subject}", animals.codes, len(animals.names), values))
    for block in blocks:
        if block.n >= len(data) and block.slope is None and not counts:
            raise InputError(
                f"{block.name} has a level for each of {len(data)} rows: a random effect needs "
                "several rows a level; with one row an animal use compare_groups or regression."
            )
    levels = sum(block.n for block in blocks)
    if levels > _MOST:
        raise InputError(
            f"random effects have {levels} levels together, more than {_MOST}; leave session= out, "
            "or average the rows of a session first."
        )
    return _Random(blocks, animals)


def _most_df(column: Array, design: Array, blocks: Sequence[Block]) -> float:
    """Return the degrees of freedom that a term has at most.

    A term that is constant within the levels of a random effect is compared between them: it has no
    more than levels minus the columns, the intercept among them, that are constant so.
    """
    most = math.inf
    for block in blocks:
        if block.slope is not None:
            continue
        first = np.zeros((block.n, design.shape[1]))
        first[block.codes[::-1]] = design[::-1]
        constant = np.all(first[block.codes] == design, axis=0)
        held = np.zeros(block.n)
        held[block.codes[::-1]] = column[::-1]
        if np.array_equal(held[block.codes], column):
            most = min(most, max(block.n - int(constant.sum()), 1))
    return most


def _boundary(fit: VarianceFit, blocks: Sequence[Block]) -> str:
    """Return which variances are zero, in words; empty if none."""
    zero = [block.name for block, tau in zip(blocks, fit.tau, strict=True) if tau == 0]
    if not zero:
        return ""
    return (
        f"boundary fit: the variance of {' and of '.join(zero)} is estimated as zero; degrees of "
        "freedom of terms between animals stay those of animals"
    )


def _checks(
    fit: VarianceFit, random: _Random, residual: Array | None, dispersion: float | None
) -> tuple[AssumptionCheck, ...]:
    """Return what the data say of the assumptions."""
    if bare():
        return ()
    found: list[AssumptionCheck] = []
    start = 0
    for block, tau in zip(random.blocks, fit.tau, strict=True):
        effects = fit.effects[start : start + block.n]
        start += block.n
        if block.slope is None and ":" not in block.name:
            words = f"{block.n} levels"
            instead = "its variance is hardly determined; few levels belong into terms="
            found.append(
                AssumptionCheck(f"levels of {block.name}", words, block.n >= _FEW, instead)
            )
        found.append(
            AssumptionCheck(
                f"variance of {block.name} above zero",
                f"{number(float(tau))}",
                tau > 0,
                "said as a boundary fit; without other reason keep it in the model",
            )
        )
        if tau > 0:
            found += normality(
                effects, f"normal effects of {block.name}", "compare with compare_groups"
            )
    if residual is not None:
        skew = float(stats.skew(residual))
        found.append(
            AssumptionCheck(
                "residuals without strong skew",
                f"skewness {skew:.2g}",
                abs(skew) < 1,
                "transform the outcome, or use compare_groups(method='permutation')",
            )
        )
    if dispersion is not None:
        found.append(
            AssumptionCheck(
                "counts as variable as binomial ones within cells",
                f"Pearson chi2 / df = {dispersion:.2g}",
                dispersion < 1.5,
                "add session= as a random effect",
            )
        )
    return tuple(found)


def mixed_model(
    data: pd.DataFrame,
    *,
    outcome: str,
    terms: str | Sequence[str] = "arm",
    subject: str = "subject",
    litter: str | None = None,
    cohort: str | None = None,
    session: str | None = None,
    slopes: str | Sequence[str] = (),
    family: str = "gaussian",
    trials: str | None = None,
    reference: Mapping[str, object] | None = None,
    limits: Limits = (None, None),
    unit: str = "",
    level: float = 0.95,
) -> pd.DataFrame:
    """Ask what an outcome depends on, where rows of one animal, litter or cohort belong together.

    Linear: y = X beta + sum of random effects + noise, by restricted maximum likelihood with
    Satterthwaite's degrees of freedom, and never more than there are animals (litters, cohorts) to
    compare. Binomial: logit of the probability in place of y, by penalised quasi-likelihood with
    the same (Breslow & Clayton 1993; Wolfinger & O'Connell 1993), which is accurate for many trials
    an animal and pulls effects towards zero for few.

    Parameters
    ----------
    data : pandas.DataFrame
        One row an observation; animals may lack sessions.
    outcome : str
        Column of the outcome; for ``"binomial"`` 0 or 1, or a count if `trials` is given.
    terms : str or sequence of str
        Fixed effects: columns, and interactions as ``"arm:session"``. Columns of numbers are
        slopes, all others factors.
    subject : str
        Column of the animal.
    litter, cohort : str, optional
        Columns of what animals share.
    session : str, optional
        Column of sessions: adds a random effect of each session of an animal.
    slopes : str or sequence of str
        Columns of numbers whose slope varies between animals, independently of their level.
        Needed wherever such a slope is among the terms and animals differ in it.
    family : {"gaussian", "binomial"}
        Linear or logistic.
    trials : str, optional
        Column of the number of trials behind a binomial count.
    reference : mapping, optional
        Reference level by column, ``{"arm": "saline"}``; a column of numbers named here is a
        factor.
    limits : (low, high), optional
        Range of the outcome.
    unit : str
        Its unit.
    level : float
        Level of the intervals; "different" is concluded where p < 1 - level.

    Returns
    -------
    pandas.DataFrame
        A row a term, as in :func:`compare_groups`. Linear: ``estimate`` in units of the outcome,
        for a number per unit of it; ``effect`` is the estimate (of numbers: of one sd) over the
        total sd of a row. Binomial: ``estimate`` in percentage points, averaged over animals, of
        interactions in log odds; ``effect`` is the odds ratio within animals. A variance at zero is
        said in ``degenerate``. A fit that does not converge has verdict ``"failed"``, no p, and the
        reason in ``failed``. Further columns hold the variances.

    Raises
    ------
    InputError
        With the row, as in :func:`compare_groups`; for an animal in two litters; for terms that
        cannot be told apart; for random effects with a level a row.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> mouse = np.repeat(np.arange(12), 8)
    >>> table = pd.DataFrame({"mouse": mouse, "session": np.tile(np.arange(8), 12),
    ...                       "arm": np.where(mouse < 6, "drug", "saline")})
    >>> own = rng.normal(0, 5, 12)[mouse]
    >>> table["correct"] = 70 + table.session + own + rng.normal(0, 3, 96)
    >>> found = mixed_model(table, outcome="correct", subject="mouse", terms=["arm", "session"])
    >>> [round(float(df)) for df in found["df"]]
    [10, 83]
    """
    table = as_table(data)
    choice("family", family, ("gaussian", "binomial"))
    level = check_level("level", level)
    binomial = family == "binomial"
    if trials is not None and not binomial:
        raise InputError("trials is for family='binomial'; leave it out.")
    if binomial:
        response = _counts(table, outcome, trials)
    else:
        values = numbers(table, "outcome", outcome, limits)
    design = design_of(table, terms, reference)
    wanted = names_of("slopes", slopes) if slopes else []
    several = binomial and bool((response.n > 1).any())
    random = _random_part(table, subject, litter, cohort, session, wanted, several)
    label = f"{'linear' if family == 'gaussian' else 'binomial'} mixed model, t test"
    n_animals = len(random.animals.names)
    why, fit, residual, dispersion = "", None, None, None
    try:
        if binomial:
            fit, dispersion, why = fit_binomial(response, design.x, random.blocks)
        else:
            fit = fit_variances(moments_of(design.x, values, random.blocks))
            why = "" if fit.converged else "the search for variances did not converge"
            residual = values - design.x @ fit.beta - _predicted(fit, random.blocks)
    except np.linalg.LinAlgError:
        why = "the fixed part is not of full rank, or a variance is unbounded"
    if fit is None or why:
        return tests_table(
            [
                failed_result(
                    term.name,
                    method=label,
                    why=why,
                    n=(len(table),),
                    n_animals=n_animals,
                    level=level,
                )
                for term in design.terms
            ]
        )
    checked = _checks(fit, random, residual, dispersion)
    boundary = _boundary(fit, random.blocks)
    results = []
    for term in design.terms:
        df = min(
            float(fit.df[term.column]),
            _most_df(design.x[:, term.column], design.x, random.blocks),
        )
        results.append(
            _row(term, design, fit, random, df, label, binomial, boundary, checked, unit, level)
        )
    return tests_table(results)


def _counts(table: pd.DataFrame, outcome: str, trials: str | None) -> Binomial:
    """Return counts and numbers of trials, or raise InputError with the row."""
    if trials is None:
        k = numbers(table, "outcome", outcome, (0, 1))
        n = np.ones_like(k)
    else:
        k = numbers(table, "outcome", outcome, (0, None))
        n = numbers(table, "trials", trials, (1, None))
    wrong = np.flatnonzero((k > n) | (k != np.round(k)) | (n != np.round(n)))
    if wrong.size:
        at = int(wrong[0])
        what = "0 or 1" if trials is None else "a whole number up to that of trials"
        raise InputError(
            f"outcome {outcome!r} must be {what} for family='binomial'; row {table.index[at]} "
            f"holds {k[at]:g}{'' if trials is None else f' of {n[at]:g}'}."
        )
    if k.sum() in (0, n.sum()):
        raise InputError(
            f"outcome {outcome!r} is the same in every row, from row {table.index[0]} on: there is "
            "nothing to compare."
        )
    return Binomial(k, n)


def _predicted(fit: VarianceFit, blocks: Sequence[Block]) -> Array:
    """Return the random effects of each row."""
    total, start = np.zeros(blocks[0].codes.size), 0
    for block in blocks:
        part = fit.effects[start : start + block.n][block.codes]
        total += part if block.slope is None else part * block.slope
        start += block.n
    return total


@lru_cache(maxsize=1)
def _normal_nodes() -> tuple[Array, Array]:
    """Return nodes and weights of Gauss and Hermite's rule for a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    return nodes, weights / weights.sum()


def _marginal(middle: float, apart: float, variance: float) -> float:
    """Return a difference of probabilities, averaged over normal effects of a variance."""
    nodes, weights = _normal_nodes()
    at = math.sqrt(variance) * nodes + middle
    gap = special.expit(at + apart / 2) - special.expit(at - apart / 2)
    return float(weights @ gap)


def _row(
    term: Term,
    design: ModelDesign,
    fit: VarianceFit,
    random: _Random,
    df: float,
    label: str,
    binomial: bool,
    boundary: str,
    checked: tuple[AssumptionCheck, ...],
    unit: str,
    level: float,
) -> TestResult:
    """Return the result of one term."""
    j = term.column
    estimate, error = float(fit.beta[j]), math.sqrt(float(fit.covariance[j, j]))
    t = estimate / error
    df = min(df, 1e9)
    p = float(2 * special.stdtr(df, -abs(t)))
    half = float(special.stdtrit(df, (1 + level) / 2)) * error
    ends = (estimate - half, estimate + half)
    levels = [tau for tau, block in zip(fit.tau, random.blocks, strict=True) if block.slope is None]
    spread = float(np.sum(levels))
    if binomial:
        effect, effect_ends, name = math.exp(estimate), tuple(map(math.exp, ends)), "odds ratio"
        shown = "log odds"
        if term.kind != "interaction":
            middle = float(fit.beta[0])
            if term.kind == "factor":
                middle -= float(fit.beta[list(term.siblings)].sum()) / (len(term.siblings) + 1)
                middle += estimate / 2
            estimate, *ends_of = (100 * _marginal(middle, gap, spread) for gap in (estimate, *ends))
            ends, shown = (ends_of[0], ends_of[1]), "percentage points"
    else:
        size = (term.sd if term.kind == "number" else 1.0) / math.sqrt(spread + fit.sigma2)
        effect, effect_ends = size * estimate, (size * ends[0], size * ends[1])
        name = {
            "number": "change by one sd of it / total sd",
            "factor": "difference / total sd",
            "interaction": "coefficient / total sd",
        }[term.kind]
        shown = unit
    n_animals = len(random.animals.names)
    note = f" Note: {boundary}." if boundary else ""
    words = f" {shown}" if shown else ""
    variances = {
        f"variance of {b.name}": float(v) for b, v in zip(random.blocks, fit.tau, strict=True)
    }
    if not binomial:
        variances["variance of rows"] = float(fit.sigma2)
    return TestResult(
        name=term.name,
        statement=(
            f"{term.name}: {number(estimate)}{words}, {100 * level:.3g}% interval {span(*ends)}, "
            f"{label} with {df:.3g} degrees of freedom, {p_text(p)}, {len(design.x)} rows of "
            f"{n_animals} animals.{note}"
        ),
        verdict="different" if p < 1 - level else "not shown to differ",
        method=label,
        statistic=t,
        p=p,
        estimate=estimate,
        interval=ends,
        level=level,
        effect_name=name,
        effect=effect,
        effect_interval=(effect_ends[0], effect_ends[1]),
        n=(len(design.x),),
        assumptions=(
            "animals, litters and cohorts are drawn independently from normal populations",
            "within them rows are independent, but for slopes= and session=",
            *(
                ("many trials an animal (penalised quasi-likelihood)",)
                if binomial
                else ("residuals are normal, of one variance",)
            ),
            _MISSES["binomial" if binomial else "gaussian"],
        ),
        degenerate=boundary,
        extra=(("df", df), *variances.items()),
        unit=shown,
        n_animals=n_animals,
        checked=checked,
    )
