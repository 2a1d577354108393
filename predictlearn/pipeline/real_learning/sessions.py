"""Learning predicted from a first session, beside the sessions that followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.fitting.session.estimator import LowRankRNN
from predictlearn.pipeline.fitted import FittedNetwork
from predictlearn.recordings.recording import Recording
from predictlearn.statistics.resampling import block_bootstrap
from predictlearn.tasks.registry import get_task
from predictlearn.theory.hidden_prior import HiddenPrior
from predictlearn.theory.learning.descent import learn
from predictlearn.theory.learning.rules import GradientDescent
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task
from predictlearn.workers import Parallel, delayed

__all__ = ["SessionsComparison", "compare_with_sessions"]

# Combinations that every session shows and no gauge changes.
_WATCHED = ("zm", "zu*vm", "vu")


@dataclass(frozen=True)
class SessionsComparison:
    """What the first session predicts of the later ones, without a free parameter.

    Parameters
    ----------
    loss : pandas.DataFrame
        By session: epoch, measured loss with its interval, and the predicted one with its band.
    overlaps : pandas.DataFrame
        By session and gauge-invariant combination: fitted from that session with its interval,
        predicted with its band, and the truth.
    curves : pandas.DataFrame
        Predicted loss along learning: arm, epoch, mean, low, high, kind.
    inside : pandas.DataFrame
        Later sessions whose true value lies in the predicted 95% band, by quantity.
    settings : dict
        What was set.
    """

    loss: pd.DataFrame
    overlaps: pd.DataFrame
    curves: pd.DataFrame
    inside: pd.DataFrame
    settings: dict[str, Any]


def _session_loss(session: Recording, seed: int) -> tuple[float, float, float]:
    """Return the loss measured from outputs, less the known reading noise, with its interval."""
    outputs, about = session.outputs, session.metadata
    if outputs is None:
        raise InputError("the later sessions need outputs to compare losses with.")
    errors = about["weights"] * (outputs - about["targets"]) ** 2
    by_trial = np.stack([errors.sum(axis=(1, 2)), about["weights"].sum(axis=(1, 2))], axis=1)
    value, low, high = block_bootstrap(
        by_trial, lambda x: x[..., 0].sum(axis=1) / x[..., 1].sum(axis=1), block=1, seed=seed
    )
    # the reading error adds its variance to every squared error
    noise = float(about.get("output_noise", 0.0)) ** 2
    return float(value) - noise, float(low) - noise, float(high) - noise


def _fitted_invariants(session: Recording, fit: FittedNetwork, seed: int) -> pd.DataFrame:
    """Fit one session as the first was fitted; return its gauge-invariant combinations."""
    model = LowRankRNN(rank=fit.model.rank, seed=seed, **fit.settings)
    model.fit(session.activity, session.inputs, outputs=session.outputs)
    return model.gauge_invariants_.loc[list(_WATCHED)]


def _predicted(
    starts: Sequence[Overlaps],
    task: Task,
    rule: GradientDescent,
    epochs: np.ndarray,
    tau: float,
    seeds: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return losses, (starts, epochs), and the watched combinations at the sessions' epochs."""
    losses, watched = [], []
    for start, seed in zip(starts, seeds, strict=True):
        t = learn(start, task, rule, int(epochs[-1]), "erf", tau, seed=seed)
        losses.append(t.losses)
        matrices = [Overlaps(t.array[e], *start.sizes) for e in epochs]
        watched.append([s.gauge_invariants()[list(_WATCHED)].to_numpy() for s in matrices])
    return np.array(losses), np.array(watched)


def compare_with_sessions(
    sessions: Sequence[Recording],
    fit: FittedNetwork,
    *,
    prior: HiddenPrior | None = None,
    n_draws: int = 40,
    seed: int = 0,
    n_jobs: int = 1,
) -> SessionsComparison:
    """Predict the later sessions from the first, and compare.

    The task and its learning rate are those that the sessions carry, so nothing is fitted to the
    later ones. Each draw takes the overlaps of the first session from their bootstrap distribution
    and completes them from the prior.

    Parameters
    ----------
    sessions : sequence of Recording
        In the order of learning; their metadata hold epoch, task, rule, truth, targets, weights.
    fit : FittedNetwork
        Network fitted to the first.
    prior : HiddenPrior, optional
        Prior over what it hides.
    n_draws : int
        Draws.
    seed : int
        Seed of draws and bootstrap.
    n_jobs : int
        Threads.

    Returns
    -------
    SessionsComparison
        Losses and overlaps, predicted and measured.

    Raises
    ------
    InputError
        If a session lacks outputs.
    """
    prior = prior or HiddenPrior()
    about = sessions[0].metadata
    epochs = np.array([int(s.metadata["epoch"]) for s in sessions])
    settings = {k: v for k, v in about["task"].items() if k != "kind"}
    task = get_task("flip-flop", **settings)
    rule = GradientDescent(about["rule"]["rate"])
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    starts = _starts(fit, prior, n_draws, rng)
    seeds = [int(s) for s in rng.integers(2**31, size=n_draws)]
    # learning draws trials every epoch, which is Python: one thread for all of it, beside the fits
    (losses, watched), *later = Parallel(n_jobs=n_jobs, prefer="threads")(
        [
            delayed(_predicted)(starts, task, rule, epochs, fit.model.tau_, seeds),
            *(delayed(_fitted_invariants)(session, fit, seed) for session in sessions[1:]),
        ]
    )
    fits = [fit.model.gauge_invariants_.loc[list(_WATCHED)], *later]
    loss = _loss_table(sessions, epochs, losses, seed)
    overlaps = _overlap_table(sessions, epochs, watched, fits)
    low, high = np.quantile(losses, [0.025, 0.975], axis=0)
    curves = pd.DataFrame(
        {
            "arm": "predicted from the first session",
            "epoch": np.arange(losses.shape[1]),
            "mean": losses.mean(axis=0),
            "low": low,
            "high": high,
            "kind": "draws",
        }
    )
    held_out = overlaps[overlaps["epoch"] > 0].assign(
        inside=lambda x: (x["truth"] >= x["predicted_low"]) & (x["truth"] <= x["predicted_high"])
    )
    inside = held_out.groupby("name", sort=False)["inside"].agg(["sum", "size"])
    after = loss[loss["epoch"] > 0]
    held = (after["true_loss"] >= after["predicted_low"]) & (
        after["true_loss"] <= after["predicted_high"]
    )
    inside.loc["loss"] = [int(held.sum()), len(after)]
    inside.columns = ["inside", "sessions"]
    return SessionsComparison(
        loss,
        overlaps,
        curves,
        inside.rename_axis("quantity").reset_index(),
        {
            "draws": n_draws,
            "rate": rule.rate,
            "task": repr(task),
            "prior": prior.statement(),
            "seed": seed,
        },
    )


def _starts(
    fit: FittedNetwork, prior: HiddenPrior, n: int, rng: np.random.Generator
) -> list[Overlaps]:
    """Draw recordable overlaps from their bootstrap distribution, and complete each."""
    replicates = fit.model.replicates_
    chosen = rng.integers(len(replicates), size=n)
    starts = []
    for row in chosen:
        seen = replicates.iloc[int(row)]
        starts += prior.draw(seen, *fit.sizes, n=1, seed=int(rng.integers(2**31)))
    return starts


def _loss_table(
    sessions: Sequence[Recording], epochs: np.ndarray, losses: np.ndarray, seed: int
) -> pd.DataFrame:
    """Return measured and predicted losses by session."""
    rows = []
    for session, epoch in zip(sessions, epochs, strict=True):
        measured, low, high = _session_loss(session, seed)
        # single epochs scatter with their trials; the mean over neighbours is the prediction
        near = losses[:, max(0, epoch - 3) : epoch + 4].mean(axis=1)
        rows.append(
            {
                "session": int(session.metadata["session"]),
                "epoch": int(epoch),
                "measured": measured,
                "low": low,
                "high": high,
                "predicted": float(near.mean()),
                "predicted_low": float(np.quantile(near, 0.025)),
                "predicted_high": float(np.quantile(near, 0.975)),
                "true_loss": float(session.metadata["loss"]),
            }
        )
    return pd.DataFrame(rows)


def _overlap_table(
    sessions: Sequence[Recording],
    epochs: np.ndarray,
    watched: np.ndarray,
    fits: Sequence[pd.DataFrame],
) -> pd.DataFrame:
    """Return fitted, predicted and true combinations by session."""
    rows = []
    for s, (session, epoch, fitted) in enumerate(zip(sessions, epochs, fits, strict=True)):
        truth = session.metadata["truth"].gauge_invariants()
        for k, name in enumerate(_WATCHED):
            values = watched[:, s, k]
            rows.append(
                {
                    "session": s,
                    "epoch": int(epoch),
                    "name": name,
                    "fitted": float(fitted.loc[name, "estimate"]),
                    "low": float(fitted.loc[name, "low"]),
                    "high": float(fitted.loc[name, "high"]),
                    "predicted": float(values.mean()),
                    "predicted_low": float(np.quantile(values, 0.025)),
                    "predicted_high": float(np.quantile(values, 0.975)),
                    "truth": float(truth[name]),
                }
            )
    return pd.DataFrame(rows)
