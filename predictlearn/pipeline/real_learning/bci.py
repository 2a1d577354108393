"""A predicted learning of a new mapping, beside the block in which an animal learned it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.fitting.session.estimator import LowRankRNN
from predictlearn.fitting.session.euler_twin import euler_twin
from predictlearn.pipeline.cases import BCI_FIRST, bci_task
from predictlearn.pipeline.fitted import FittedNetwork
from predictlearn.pipeline.real_learning.cursor_loop import closed_loop
from predictlearn.pipeline.real_learning.hypotheses import (
    MOST_LOSS,
    LearningHypothesis,
    learn_by,
    with_feedback,
)
from predictlearn.predictions.readout_learning import ReadoutLearning, readout_learning
from predictlearn.real_learning.scores import LearningScore, score_prediction
from predictlearn.recordings.datasets.bci_learning import BCISession, command_progress, progress
from predictlearn.statistics.resampling import block_bootstrap
from predictlearn.tasks.reaching import ReachingReadout
from predictlearn.theory.hidden_prior import HiddenPrior
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.synapses.network import Factors
from predictlearn.theory.trials import Trials
from predictlearn.workers import Parallel, delayed

__all__ = [
    "BCIComparison",
    "DrawnNetwork",
    "compare_with_block_two",
    "drawn_network",
    "learning_of",
    "target_forecasts",
    "together",
]

_EARLY = 30
_BLOCK = 20
_HORIZON = 20.0


@dataclass(frozen=True)
class BCIComparison:
    """The prediction of how the perturbed mapping is learned, beside block 2.

    Parameters
    ----------
    drop : pandas.DataFrame
        Progress in mm/s, predicted without a free parameter or measured, with 95% intervals:
        columns quantity, source, estimate, low, high, n.
    by_target : pandas.DataFrame
        Progress by target direction: predicted at once, and measured early and late in block 2.
    learning : ReadoutLearning
        Predicted curves, one for each bootstrap fit with a draw of what the recording hides.
    score : LearningScore
        Scores on the last two thirds of block 2 against the baselines.
    target_scores : pandas.DataFrame
        The same forecast for each target by itself, and baselines that know the target: RMSE on the
        last two thirds, and MSE minus that of the means of the targets in the first third.
    settings : dict
        What was set.
    """

    drop: pd.DataFrame
    by_target: pd.DataFrame
    learning: ReadoutLearning
    score: LearningScore
    target_scores: pd.DataFrame
    settings: dict[str, Any]


def _mean_interval(values: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Return the mean of a series of trials with its block-bootstrap interval."""
    value, low, high = block_bootstrap(
        values, lambda x: x.mean(axis=1), block=min(_BLOCK, max(1, len(values) // 5)), seed=seed
    )
    return float(np.squeeze(value)), float(np.squeeze(low)), float(np.squeeze(high))


def _refit(fit: FittedNetwork, readout: np.ndarray, chosen: np.ndarray, seed: int) -> LowRankRNN:
    """Fit the chosen trials again, from the settings of the first fit."""
    settings = fit.settings | {"n_bootstrap": 0, "n_starts": 4}
    model = LowRankRNN(rank=fit.model.rank, seed=seed, **settings)
    recording = fit.recording
    return model.fit(recording.activity[chosen], recording.inputs[chosen], readout=readout)


class DrawnNetwork(NamedTuple):
    """One bootstrap fit with a draw of what the recording hides.

    Parameters
    ----------
    model : LowRankRNN
        The fit.
    start : Overlaps
        The network, read out by the perturbed mapping, one Euler step a bin.
    tau : float
        Its time constant, seconds.
    task : ReachingReadout
        Reaching through the perturbed mapping.
    seed : numpy.random.SeedSequence
        What a hypothesis needs to draw beyond that.
    """

    model: LowRankRNN
    start: Overlaps
    tau: float
    task: ReachingReadout
    seed: np.random.SeedSequence


def drawn_network(
    session: BCISession, fit: FittedNetwork, prior: HiddenPrior, child: np.random.SeedSequence
) -> DrawnNetwork:
    """Fit block 1 to trials drawn with replacement, and draw what that hides.

    Parameters
    ----------
    session : BCISession
        Both blocks, cut to the bins that are analysed.
    fit : FittedNetwork
        Network fitted to block 1.
    prior : HiddenPrior
        Prior over the overlaps that block 1 does not show.
    child : numpy.random.SeedSequence
        Seed of the draw.

    Returns
    -------
    DrawnNetwork
        The network before it learns.
    """
    import warnings

    from predictlearn.errors import ConvergenceWarning, UndeterminedWarning

    rng = np.random.default_rng(child)
    n = fit.recording.n_trials
    chosen = rng.integers(n, size=n)
    with warnings.catch_warnings():
        # a replicate that stopped early is one more draw of what the fit is not sure of
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UndeterminedWarning)
        model = _refit(fit, session.perturbed_readout.loading(), chosen, int(rng.integers(2**31)))
    refitted = FittedNetwork(fit.recording, model, fit.ranks, fit.ceiling, fit.settings)
    # the cursor moves once a bin, and so does the network that learns to move it
    twin = euler_twin(model)
    start = prior.draw(twin.overlaps, *refitted.sizes, n=1, seed=int(rng.integers(2**31)))[0]
    return DrawnNetwork(model, start, twin.tau, bci_task(session, refitted), child)


def learning_of(
    session: BCISession,
    drawn: DrawnNetwork,
    hypothesis: LearningHypothesis | None = None,
    trials: Trials | None = None,
    most_loss: float = MOST_LOSS,
) -> ReadoutLearning:
    """Predict how one network learns the perturbed mapping.

    Parameters
    ----------
    session : BCISession
        Both blocks.
    drawn : DrawnNetwork
        The network.
    hypothesis : LearningHypothesis, optional
        How it learns; gradient flow of its factors in an open loop if not given.
    trials : Trials, optional
        What a hypothesis learns; by default `closed_loop` of the task where it closes the loop.
    most_loss : float, default 25.0
        How far learning that runs away is followed, see `learn_by`.

    Returns
    -------
    ReadoutLearning
        Progress of the cursor along learning, by target.
    """
    task = drawn.task

    def measure(trials: Trials, outputs: np.ndarray) -> np.ndarray:
        # by the code that measures it in the recording
        commands = outputs + task.offset
        return command_progress(commands, np.asarray(task.smoothing), task.angles, BCI_FIRST)

    if hypothesis is None:
        return readout_learning(
            [drawn.start],
            task,
            measure,
            nonlinearity=drawn.model.nonlinearity,
            tau=drawn.tau,
            horizon=_HORIZON,
        )
    if drawn.model.nonlinearity != "linear":
        raise InputError(f"a hypothesis needs a linear fit; got {drawn.model.nonlinearity!r}.")
    start = _start(session, drawn, hypothesis)
    if trials is None:
        trials = task.sample() if hypothesis.loop == "open" else closed_loop(task)
    return learn_by(
        hypothesis,
        start,
        trials,
        measure,
        tau=drawn.tau,
        horizon=_HORIZON,
        most_loss=most_loss,
    )


def _start(session: BCISession, drawn: DrawnNetwork, hypothesis: LearningHypothesis) -> Factors:
    """Return the network in its span, with the feedback of a hypothesis."""
    kind, model = hypothesis.feedback, drawn.model
    if kind == "new":
        network = Factors.from_overlaps(drawn.start)
        return replace(network, feedback=network.z)
    if kind == "random":
        return with_feedback(drawn.start, None)
    z, b = session.perturbed_readout.loading(), session.intuitive_readout.loading()
    if kind == "random neurons":
        rng = np.random.default_rng((*drawn.seed.spawn_key, 1))
        b = rng.standard_normal(z.shape) * np.sqrt((z**2).mean())
    # u in the gauge of the draw
    uu = np.trace(drawn.start.block("u", "u")) / np.trace(model.u_.T @ model.u_ / len(model.u_))
    known = np.hstack([model.m_, np.sqrt(uu) * model.u_, z])
    inside = np.linalg.lstsq(known, b, rcond=None)[0]
    outside = b - known @ inside
    return with_feedback(
        drawn.start, inside, outside.T @ outside / len(b), (*drawn.seed.spawn_key, 2)
    )


def together(parts: Sequence[ReadoutLearning]) -> ReadoutLearning:
    """Return predictions of single draws, on one grid of learning time, as one."""
    return ReadoutLearning(
        np.concatenate([part.immediate for part in parts]),
        parts[0].time,
        np.concatenate([part.by_trial for part in parts]),
        np.concatenate([part.loss for part in parts]),
        np.concatenate([part.constants for part in parts]),
        parts[0].settings | {"draws": len(parts)},
    )


def _one_draw(
    session: BCISession,
    fit: FittedNetwork,
    prior: HiddenPrior,
    child: np.random.SeedSequence,
    hypothesis: LearningHypothesis | None,
) -> tuple[np.ndarray, ReadoutLearning]:
    """Return old progress and learning of one bootstrap fit and draw."""
    drawn = drawn_network(session, fit, prior, child)
    before = _old_progress(session, drawn.model, drawn.task.angles)
    return before, learning_of(session, drawn, hypothesis)


def _old_progress(session: BCISession, model: LowRankRNN, angles: np.ndarray) -> np.ndarray:
    """Return the fitted activity's progress under the intuitive mapping, by target."""
    n_bins = session.intuitive.n_bins
    held = np.column_stack(
        [np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles)), np.ones_like(angles)]
    )
    latents = model.predict(np.repeat(held[:, None, :], n_bins, axis=1))
    return progress(latents, session.intuitive_readout, angles, BCI_FIRST)


def compare_with_block_two(
    session: BCISession,
    fit: FittedNetwork,
    *,
    prior: HiddenPrior | None = None,
    hypothesis: LearningHypothesis | None = None,
    n_draws: int = 60,
    seed: int = 0,
    n_jobs: int = 1,
) -> BCIComparison:
    """Predict how the perturbed mapping is learned, and compare with block 2.

    Parameters
    ----------
    session : BCISession
        Both blocks, cut to the bins that are analysed.
    fit : FittedNetwork
        Network fitted to block 1.
    prior : HiddenPrior, optional
        Prior over the overlaps that block 1 does not show.
    hypothesis : LearningHypothesis, optional
        How the animal learns; gradient flow of factors in an open loop if not given.
    n_draws : int
        Draws; each is a fit to resampled trials with hidden overlaps drawn anew.
    seed : int
        Seed of draws and bootstrap.
    n_jobs : int
        Processes.

    Returns
    -------
    BCIComparison
        Immediate drop, learning curve and scores.

    Raises
    ------
    InputError
        If the fit has other sizes than the task.
    """
    prior = prior or HiddenPrior()
    children = np.random.SeedSequence(seed).spawn(n_draws)
    rows = Parallel(n_jobs=n_jobs)(
        delayed(_one_draw)(session, fit, prior, child, hypothesis) for child in children
    )
    before = np.array([row[0] for row in rows])
    learning = together([row[1] for row in rows])
    immediate = learning.immediate
    targets = session.perturbed.trials["target"].to_numpy()
    measured = progress(session.perturbed.activity, session.perturbed_readout, targets, BCI_FIRST)
    score = score_prediction(measured, learning.curves, time=learning.time, block=_BLOCK, seed=seed)
    return BCIComparison(
        drop=_drop_table(session, before, immediate, measured, seed),
        by_target=_target_table(session, immediate, measured, targets),
        learning=learning,
        score=score,
        target_scores=_target_scores(learning, score, measured, targets, seed),
        settings={
            "first_bin": BCI_FIRST,
            "bins": session.intuitive.n_bins,
            "block": _BLOCK,
            "draws": n_draws,
            "prior": prior.statement(),
            "hypothesis": (hypothesis or LearningHypothesis()).name,
            "seed": seed,
        },
    )


def _drop_table(
    session: BCISession,
    before: np.ndarray,
    immediate: np.ndarray,
    measured: np.ndarray,
    seed: int,
) -> pd.DataFrame:
    """Return predicted and measured progress before and at the change of mapping."""
    old = session.intuitive.trials["target"].to_numpy()
    activity = session.intuitive.activity
    third = len(measured) // 3
    rows: list[dict[str, Any]] = []

    def predicted(quantity: str, values: np.ndarray) -> None:
        means = values.mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        rows.append(
            {
                "quantity": quantity,
                "source": "predicted from block 1, no free parameter",
                "estimate": float(means.mean()),
                "low": float(low),
                "high": float(high),
                "n": f"{len(means)} bootstrap fits",
            }
        )

    def recorded(quantity: str, values: np.ndarray) -> None:
        mean, low, high = _mean_interval(values, seed)
        rows.append(
            {
                "quantity": quantity,
                "source": "recorded",
                "estimate": mean,
                "low": low,
                "high": high,
                "n": f"{len(values)} trials",
            }
        )

    predicted("intuitive mapping, block 1", before)
    recorded(
        "intuitive mapping, block 1", progress(activity, session.intuitive_readout, old, BCI_FIRST)
    )
    predicted("perturbed mapping, at once", immediate)
    recorded(
        "block 1 activity through the perturbed mapping",
        progress(activity, session.perturbed_readout, old, BCI_FIRST),
    )
    recorded(f"perturbed mapping, first {_EARLY} trials of block 2", measured[:_EARLY])
    recorded("perturbed mapping, first third of block 2", measured[:third])
    recorded("perturbed mapping, last third of block 2", measured[-third:])
    return pd.DataFrame(rows)


def _target_table(
    session: BCISession, immediate: np.ndarray, measured: np.ndarray, targets: np.ndarray
) -> pd.DataFrame:
    """Return progress by target: predicted at once, and recorded early and late."""
    third = len(measured) // 3
    angles = np.unique(session.intuitive.trials["target"].to_numpy())
    low, high = np.quantile(immediate, [0.025, 0.975], axis=0)
    early, late = slice(0, third), slice(len(measured) - third, None)

    def mean_of(part: slice, angle: float) -> float:
        return float(measured[part][targets[part] == angle].mean())

    return pd.DataFrame(
        {
            "target": angles,
            "predicted at once": immediate.mean(axis=0),
            "low": low,
            "high": high,
            "first third": [mean_of(early, angle) for angle in angles],
            "last third": [mean_of(late, angle) for angle in angles],
        }
    )


def target_forecasts(
    learning: ReadoutLearning, score: LearningScore, measured: np.ndarray, targets: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what is forecast of every trial, with a curve or a mean for each target.

    Parameters
    ----------
    learning : ReadoutLearning
        The prediction, by target.
    score : LearningScore
        Of its mean over targets: the time scale, and which trials may be fitted.
    measured, targets : numpy.ndarray, (trials,)
        Progress and direction of every trial of block 2.

    Returns
    -------
    dict
        By name, (trials,) each: the means of the first third, the predicted curve, and those means
        with the predicted change since then.
    """
    n = len(measured)
    train = (score.predictions["part"] == "train").to_numpy()
    when = np.minimum(float(score.fit["rate"]) * np.arange(n), learning.time[-1])
    curves = learning.by_trial.mean(axis=0)
    predicted = np.empty(n)
    before = np.empty(n)
    change = np.empty(n)
    for k, angle in enumerate(np.unique(targets)):
        own = targets == angle
        predicted[own] = np.interp(when[own], learning.time, curves[:, k])
        before[own] = measured[own & train].mean()
        change[own] = predicted[own] - predicted[own & train].mean()
    return {
        "mean of the target in the first third": before,
        "predicted curve of the target": predicted,
        "that mean plus the predicted change since then": before + change,
    }


def _target_scores(
    learning: ReadoutLearning,
    score: LearningScore,
    measured: np.ndarray,
    targets: np.ndarray,
    seed: int,
) -> pd.DataFrame:
    """Return how well each target's own curve forecasts it, beside what the first third showed."""
    train = (score.predictions["part"] == "train").to_numpy()
    forecasts = target_forecasts(learning, score, measured, targets)
    errors = np.stack([(measured - f)[~train] ** 2 for f in forecasts.values()], axis=1)

    def summarise(series: np.ndarray) -> np.ndarray:
        mse = series.mean(axis=1)
        return np.concatenate([np.sqrt(mse), mse - mse[:, :1]], axis=1)

    value, low, high = block_bootstrap(errors, summarise, block=_BLOCK, seed=seed)
    k = len(forecasts)
    return pd.DataFrame(
        {
            "forecast": list(forecasts),
            "RMSE": value[:k],
            "RMSE_low": low[:k],
            "RMSE_high": high[:k],
            "MSE minus the first": value[k:],
            "low": low[k:],
            "high": high[k:],
        }
    )
