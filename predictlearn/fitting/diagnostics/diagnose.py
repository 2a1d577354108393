"""Diagnostics of a fit: what is left in the residuals, the loadings, the trajectories."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.checks import as_float_array, positive_int
from predictlearn.errors import InputError
from predictlearn.fitting.diagnostics.findings import LEVEL, LIMIT, checks_of, meaning
from predictlearn.fitting.diagnostics.fixed_points import fitted_fixed_points
from predictlearn.fitting.diagnostics.lack_of_fit import (
    Score,
    in_gain,
    in_latency,
    in_tau,
    lagged_inputs,
    open_test,
    products,
    score_tests,
)
from predictlearn.fitting.diagnostics.latent_plane import latent_trajectories
from predictlearn.fitting.diagnostics.loading_shape import (
    LoadingShape,
    fewest_neurons,
    loading_shape,
)
from predictlearn.fitting.diagnostics.residuals import (
    FEWEST_COINCIDENCES,
    Found,
    Residuals,
    autocorrelation,
    drift,
    holm,
    largest_of,
    noise_with_level,
    residual_means,
    shared_directions,
)
from predictlearn.fitting.diagnostics.slopes import Part, Slopes
from predictlearn.fitting.session.observation import (
    Observation,
    loading_errors,
    neuron_coefficients,
)
from predictlearn.fitting.session.pieces import pieces
from predictlearn.fitting.session.rollout import paired_trials, predictor, reduced_activity
from predictlearn.recordings.validation import check_leading_axes

__all__ = ["Diagnostics", "diagnose"]


# Weight of the test of tau in the correction: of all faults it is the hardest to see, and the one
# that leaves no overlap right.
_WEIGHT = 4.0
# Draws of the two null distributions that are slow to draw; `tail_p` goes on from there.
_SLOW = 199


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """What is wrong with a fit, if anything.

    Parameters
    ----------
    tests : DataFrame
        Index test; columns statistic, p, p_holm (Holm over the tests, that of tau weighing four
        times), effect, measure (what the effect is), says (what is wrong and which numbers are then
        not to be trusted, or that nothing was found).
    checks : DataFrame
        Index check; columns value, limit, fails, says. Not tests of a null hypothesis, but sizes:
        units stored twice, error of the loadings, single neurons that carry the moments, and
        whether another tau would do as well.
    neurons : DataFrame
        One row a neuron: lag1, ljung_box, p and p_holm of it, coincidences (how many are expected
        between successive bins; under ten, only bursts can be told), noise_with_level
        (correlation), p_level and p_level_holm. NaN for neurons that were not fitted.
    lags : DataFrame
        By lag (bins) the mean residual correlation, low, high.
    eigenvalues : DataFrame
        Of the residual correlation between neurons, the largest first: eigenvalue, null_median,
        null_high (NaN beyond the tenth, for more than 200 neurons).
    edge : float
        Upper edge of Marchenko & Pastur's law for them.
    means : DataFrame
        Root mean square over neurons of the residual mean, by condition and bin, in standard
        deviations of a bin: condition, bin, rms, expected (from noise alone).
    loadings : LoadingShape
        Tests and Q-Q data of the loadings; no rows of either where neurons are too few.
    trajectories : DataFrame
        Predicted and recorded k_u, see `latent_trajectories`.
    explained : Series
        By coordinate, the share of variance of the recorded means that the prediction explains.
    fixed_points : DataFrame
        See `fitted_fixed_points`.
    outputs : Series
        By output the share of variance explained (R2 about the mean); empty where none were given.
    settings : dict
        lags, draws, seed, whether conditions were given or found, and dt.
    """

    tests: pd.DataFrame
    checks: pd.DataFrame
    neurons: pd.DataFrame
    lags: pd.DataFrame
    eigenvalues: pd.DataFrame
    edge: float
    means: pd.DataFrame
    loadings: LoadingShape
    trajectories: pd.DataFrame
    explained: pd.Series
    fixed_points: pd.DataFrame
    outputs: pd.Series
    settings: dict[str, Any]

    def statements(self, limits: bool = False) -> list[str]:
        """Return what fails and what it means for which number, one sentence or two a finding.

        Parameters
        ----------
        limits : bool
            Also say what such a recording cannot tell however well the model fits it.

        Returns
        -------
        list of str
            Empty where nothing was found.
        """
        wrong = [
            f"{name} (p {row['p_holm']:.1g}, corrected for {len(self.tests)} tests): {row['says']}."
            for name, row in self.tests.iterrows()
            if row["p_holm"] < LEVEL
        ]
        sizes = [
            f"{name}: {row['says']}."
            for name, row in self.checks.iterrows()
            if row["fails"] or (limits and name == LIMIT)
        ]
        return wrong + sizes

    def report(self) -> str:
        """Return the tests and checks as text, one paragraph each."""
        lines = []
        for name, row in self.tests.iterrows():
            text = (
                f"{name}: p {row['p']:.2g} (Holm {row['p_holm']:.2g}), {row['measure']} "
                f"{row['effect']:.3g}. {row['says'][0].upper()}{row['says'][1:]}."
            )
            lines.append(textwrap.fill(text, 100, subsequent_indent="    "))
        for name, row in self.checks.iterrows():
            lines.append(textwrap.fill(f"{name}: {row['says']}.", 100, subsequent_indent="    "))
        return "\n".join(lines)


def diagnose(
    fit: Any,
    activity: Any,
    inputs: Any,
    outputs: npt.ArrayLike | None = None,
    *,
    conditions: npt.ArrayLike | None = None,
    constant_inputs: npt.ArrayLike | None = None,
    lags: int | None = None,
    draws: int = 999,
    seed: int = 0,
) -> Diagnostics:
    """Diagnose a fit on the trials it was fitted to.

    Parameters
    ----------
    fit : LowRankRNN
        Fitted; Gaussian or counts (residuals are Pearson's).
    activity : array_like, shape (trials, time, neurons), or list of (time, neurons)
        The activity it was fitted to; NaN where missing.
    inputs : array_like, shape (trials, time, n_in), or list of (time, n_in)
        Its inputs.
    outputs : array_like, shape (trials, time, n_out), optional
        Outputs, as given to `fit`.
    conditions : array_like, shape (trials,), optional
        Condition of each trial. Default: trials with the same inputs, if at most half as many
        kinds as trials; otherwise one condition for the tests, and trials one by one in the plane.
    constant_inputs : array_like, shape (points, n_in), optional
        Inputs for the fixed points. Default: none, and the mean input of the last bin by condition
        (up to eight).
    lags : int, optional
        Lags of the autocorrelation, bins. Default: 5, or fewer in shorter trials.
    draws : int
        Draws of the null distributions (at most 199 of the two slow ones, "shared directions" and
        "Gaussian loadings"; of the first 99 for more than 200 neurons). Beyond the largest draws p
        goes on by a gamma tail.
    seed : int
        Seed of the draws.

    Returns
    -------
    Diagnostics
        Tests with effect sizes, and the tables behind them.

    Raises
    ------
    InputError
        Data that do not fit the model, or too few trials.

    Examples
    --------
    >>> from predictlearn.fitting import LowRankRNN
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 20, 1)).cumsum(axis=1)
    >>> y = x * rng.normal(size=30) + rng.normal(size=(20, 20, 30))
    >>> fit = LowRankRNN(dt=0.05, tau=0.06, n_bootstrap=0).fit(y, x)
    >>> found = diagnose(fit, y, x, draws=39)
    >>> found.tests.index.tolist()[:3]
    ['autocorrelation', 'single neurons', 'shared directions']
    """
    y, x = paired_trials(activity, inputs)
    k = reduced_activity(fit, x)
    y = as_float_array("activity", y, shape=(None, None, len(fit.m_)), finite=False)
    if len(y) < 4:
        raise InputError(f"activity must have at least 4 trials to diagnose a fit; got {len(y)}")
    lags = min(5, y.shape[1] - 1) if lags is None else positive_int("lags", lags)
    if not lags < y.shape[1]:
        raise InputError(f"lags must be below the number of bins ({y.shape[1]}); got {lags}")
    positive_int("draws", draws, minimum=19)
    labels, known = _conditions(x, conditions)
    kept = np.isfinite(fit.m_).all(axis=1)
    residuals = _residuals(fit, y, x, k, kept)
    rng = np.random.default_rng(seed)

    pooled, table, curve = autocorrelation(residuals, lags)
    level, level_table = noise_with_level(residuals)
    shared, eigenvalues, edge = shared_directions(residuals, min(draws, _SLOW), rng)
    whole = np.zeros(len(y), dtype=np.intp)
    found = {
        "autocorrelation": pooled,
        "single neurons": _single(table),
        "shared directions": shared,
        "means by bin": residual_means(residuals, whole, draws, rng)[0],
    }
    test, means = residual_means(residuals, labels if known else whole, draws, rng)
    if known:
        found["means by condition"] = test
    found["noise with level"] = level
    shape = _shape(fit, y, k, min(draws, _SLOW), seed)
    if len(shape.tests):
        found["Gaussian loadings"] = _joint(shape)
    found |= _lack_of_fit(fit, x, k, residuals, kept, draws, rng)
    found["drift over trials"] = drift(residuals, labels if known else whole, draws, rng)

    level_table = level_table.set_axis(["noise_with_level", "p_level", "p_level_holm"], axis=1)
    neurons = pd.concat([table, level_table], axis=1)
    neurons.index = pd.Index(np.flatnonzero(kept), name="neuron")
    trajectories, explained = latent_trajectories(
        fit, y, k, labels if known else np.arange(len(y), dtype=np.intp)
    )
    if constant_inputs is None:
        ends = [x[labels == c, -1].mean(axis=0) for c in np.unique(labels)[:8]] if known else []
        constant_inputs = np.unique(np.array([np.zeros(x.shape[2]), *ends]), axis=0)
    return Diagnostics(
        tests=_table(found, fit.n_in_ > fit.rank),
        checks=checks_of(fit, y, residuals, kept, shape),
        neurons=neurons.reindex(pd.RangeIndex(len(kept), name="neuron")),
        lags=curve,
        eigenvalues=eigenvalues,
        edge=edge,
        means=_mean_sizes(means, labels if known else whole),
        loadings=shape,
        trajectories=trajectories,
        explained=explained,
        fixed_points=fitted_fixed_points(fit, constant_inputs),
        outputs=_outputs(fit, outputs, y, k),
        settings={
            "lags": lags,
            "draws": draws,
            "seed": seed,
            "conditions": known,
            "dt": float(fit.dt),
        },
    )


def _conditions(x: Array, conditions: npt.ArrayLike | None) -> tuple[npt.NDArray[np.intp], bool]:
    """Return the condition of each trial as a number, and whether there are conditions."""
    if conditions is not None:
        labels = np.asarray(conditions)
        if labels.shape != (len(x),):
            raise InputError(
                f"conditions must have one label a trial ({len(x)}); got {labels.shape}"
            )
        return np.unique(labels, return_inverse=True)[1].ravel(), True
    kinds = np.unique(x.reshape(len(x), -1), axis=0, return_inverse=True)[1].ravel()
    return kinds, int(kinds.max()) + 1 <= len(x) / 2


def _residuals(fit: Any, y: Array, x: Array, k: Array, kept: npt.NDArray[np.bool_]) -> Residuals:
    """Return Pearson residuals of the fitted neurons."""
    observation = Observation.of(fit)
    spread = neuron_coefficients(fit)[1][kept]
    mean_of = predictor(fit, x)

    def expected(some: slice) -> tuple[Array, Array]:
        mean = np.ascontiguousarray(mean_of(some).T).reshape(*y.shape[:2], -1)
        each = [observation.variance(mean[:, :, j], sd) for j, sd in enumerate(spread[some])]
        return mean, np.stack(each, axis=2)

    values = np.empty((*y.shape[:2], int(kept.sum())))
    seen = np.empty(values.shape, dtype=bool)
    columns = np.flatnonzero(kept)
    # an array of the size of the recording is as much as is made here
    for some in pieces(len(columns), y.shape[0] * y.shape[1]):
        part = y[:, :, some] if kept.all() else y[:, :, columns[some]]
        mean, variance = expected(some)
        seen[:, :, some] = ~np.isnan(part)
        part = (part - mean) / np.sqrt(np.maximum(variance, 1e-300))
        values[:, :, some] = np.where(seen[:, :, some], part, 0.0)
    lead = [np.ones((*k.shape[:2], 1))] if observation.offset else []
    # bins in which nothing was recorded, such as the end of a short trial, take no part
    base = np.concatenate([*lead, k], axis=2) * seen.any(axis=2, keepdims=True)
    return Residuals(values, seen, base, expected)


def _lack_of_fit(
    fit: Any,
    x: Array,
    k: Array,
    residuals: Residuals,
    kept: npt.NDArray[np.bool_],
    draws: int,
    rng: np.random.Generator,
) -> dict[str, Found]:
    """Return the tests of the mean: given tau and latency, response to inputs, nonlinearity."""
    slopes = Slopes.of(fit, x, k, residuals, kept)
    found: dict[str, Found] = {}
    named = []
    if not fit._layout.fit_tau:
        named.append(("time constant", in_tau, "log of the tau that fits over the tau given"))
    if not fit._layout.fit_latency:
        named.append(("latency", in_latency, "latency that is missing, bins"))
    moved = [change(fit, x, k) for _, change, _ in named]
    bends = [_bend(k, 2), _bend(k, 3)]
    if not fit._layout.erf:
        bends.append(_turn(in_gain(fit, x, k)))
    scores = score_tests(slopes, [_projected(dk) for dk in moved] + bends)
    for (name, _, measure), score in zip(named, scores, strict=False):
        if score is not None:
            found[name] = Found(score.t, score.p, score.step, measure)
    signs = np.concatenate([np.ones((1, len(x))), rng.choice([-1.0, 1.0], (draws, len(x)))])
    total = float(np.vdot(residuals.values, residuals.values))

    def share(table: Array) -> float:
        return max(float(table[0, 0] - table[1:, 0].mean()), 0.0) / total

    measure = "share of residual variance explained beyond chance"
    table = open_test(slopes, lagged_inputs(x), signs)
    if table is not None:
        found["response to inputs"] = largest_of(table, share(table), measure)
    bent = [_drawn(signs, score) for score in scores[len(named) :] if score is not None]
    table = open_test(slopes, products(k), signs)
    effect = 0.0 if table is None else share(table)
    if table is not None:
        bent.append(table)
    if bent:
        found["nonlinearity"] = largest_of(np.concatenate(bent, axis=1), effect, measure)
    return found


def _projected(dk: Array) -> Callable[[Part], Array]:
    """Return the direction of a change of k, less what the neurons' own numbers take up."""
    return lambda part: part.along(dk)


def _turn(dk: Array) -> Callable[[Part], Array]:
    """Return the direction of a change of k."""
    return lambda part: part.slope * (dk @ part.loadings.T)


def _bend(k: Array, power: int) -> Callable[[Part], Array]:
    """Return the direction of a power of the current h."""
    return lambda part: part.slope * (k @ part.loadings.T) ** power


def _drawn(signs: Array, score: Score) -> Array:
    """Return the size of a score, and with random signs of the trials, (draws + 1, 1)."""
    sums = np.concatenate([[score.by_trial.sum()], signs[1:] @ score.spread])
    return np.abs(sums)[:, None]


def _single(table: pd.DataFrame) -> Found:
    """Return the test that no neuron's residuals are correlated in time."""
    share = float((table["p_holm"] < LEVEL).mean())
    measure = "share of neurons with p_holm < 0.05"
    sparse = int((table["coincidences"] < FEWEST_COINCIDENCES).sum())
    if sparse:
        measure += f" ({sparse} of {len(table)} spike too rarely to show anything but bursts)"
    return Found(float(table["ljung_box"].max()), float(table["p_holm"].min()), share, measure)


def _shape(fit: Any, y: Array, k: Array, draws: int, seed: int) -> LoadingShape:
    """Return the shape of the loadings."""
    errors = loading_errors(fit, k.reshape(-1, k.shape[2]), ~np.isnan(y).reshape(-1, y.shape[2]))
    names = tuple(
        f"{letter}{c + 1}" if width > 1 else letter
        for letter, width in (("m", fit.n_in_), ("u", fit.rank))
        for c in range(width)
    )
    loadings = np.concatenate([fit.m_, fit.u_], axis=1)
    if fit._data.population is not None:
        # means of posteriors: each neuron's own estimate has the error that the tests take off
        loadings = loadings + np.einsum("iab,ib->ia", errors, loadings @ np.linalg.inv(fit.bb_))
    kept = np.isfinite(loadings).all(axis=1) & np.isfinite(errors).all(axis=(1, 2))
    if kept.sum() >= fewest_neurons(len(names)):
        return loading_shape(loadings, errors, names, draws, seed)
    # too few neurons to test a shape: what of their loadings is error is still known
    spread = np.einsum("iaa->ia", errors[kept]).mean(axis=0)
    share = spread / np.maximum(np.mean(loadings[kept] ** 2, axis=0), 1e-300)
    columns = ["column", "expected", "seen", "low", "high"]
    return LoadingShape(
        pd.DataFrame(columns=["statistic", "p", "p_family", "effect"], dtype=float),
        pd.DataFrame(columns=columns),
        pd.Series(share, index=list(names), name="error"),
    )


def _joint(shape: LoadingShape) -> Found:
    """Return the smallest p of the shape tests, corrected, with its effect."""
    name = str(shape.tests.sort_values(["p_family", "p"], kind="stable").index[0])
    row = shape.tests.loc[name]
    return Found(float(row["statistic"]), float(row["p_family"]), float(row["effect"]), name)


def _table(found: dict[str, Found], directed: bool) -> pd.DataFrame:
    """Return the tests in one table, with what each suggests."""
    weights = [_WEIGHT if name == "time constant" else 1.0 for name in found]
    corrected_p = holm([each.p for each in found.values()], weights)
    rows = [
        {
            "statistic": each.statistic,
            "p": each.p,
            "p_holm": float(corrected),
            "effect": each.effect,
            "measure": each.measure,
            "says": meaning(name, each, directed) if corrected < LEVEL else "nothing found",
        }
        for (name, each), corrected in zip(found.items(), corrected_p, strict=True)
    ]
    return pd.DataFrame(rows, index=pd.Index(list(found), name="test"))


def _mean_sizes(means: Array, labels: npt.NDArray[np.intp]) -> pd.DataFrame:
    """Return the size of the residual means by condition and bin."""
    groups, bins, _ = means.shape
    return pd.DataFrame(
        {
            "condition": np.repeat(np.arange(groups), bins),
            "bin": np.tile(np.arange(bins), groups),
            "rms": np.sqrt(np.mean(means**2, axis=2)).ravel(),
            "expected": np.repeat(1 / np.sqrt(np.bincount(labels)), bins),
        }
    )


def _outputs(fit: Any, outputs: npt.ArrayLike | None, y: Array, k: Array) -> pd.Series:
    """Return R2 of the outputs, regressed on g k as in the fit."""
    if outputs is None:
        return pd.Series(dtype=float, name="r2")
    target = as_float_array("outputs", outputs, ndim=3, finite=False)
    check_leading_axes("outputs", target, y, "n_out")
    gain = fit._layout.unpack(fit._theta)[2]
    g = 1 / np.sqrt(1 + np.pi / 2 * np.maximum(np.einsum("ptc,cd,ptd->pt", k, gain, k), 0.0))
    base = (g[:, :, None] * k).reshape(-1, k.shape[2])
    scores = []
    for o in range(target.shape[2]):
        column = target[:, :, o].ravel()
        seen = ~np.isnan(column)
        fitted = base[seen] @ np.linalg.lstsq(base[seen], column[seen], rcond=1e-12)[0]
        total = np.sum((column[seen] - column[seen].mean()) ** 2)
        scores.append(
            float(1 - np.sum((column[seen] - fitted) ** 2) / total) if total > 0 else np.nan
        )
    return pd.Series(scores, index=[f"y{o + 1}" for o in range(len(scores))], name="r2")
