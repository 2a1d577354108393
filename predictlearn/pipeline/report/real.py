"""The part of the report that holds predictions beside the learning that followed."""

from __future__ import annotations

import pandas as pd

from predictlearn.pipeline.real_learning.bci import BCIComparison
from predictlearn.pipeline.real_learning.sessions import SessionsComparison
from predictlearn.reporting import Figure, Section, Table, figures

__all__ = ["bci_section", "sessions_section"]


def bci_section(real: BCIComparison) -> tuple[Section, str]:
    """Return the section on the perturbed mapping, and its finding in a sentence.

    Parameters
    ----------
    real : BCIComparison
        Prediction and block 2.

    Returns
    -------
    Section, str
        The section and the sentence.
    """
    drop, score = real.drop, real.score
    at = drop.set_index("quantity")
    predicted = at.loc["perturbed mapping, at once"]
    early = at.loc[[q for q in at.index if q.startswith("perturbed mapping, first 30")]].iloc[0]
    before = drop[drop["source"] == "recorded"].iloc[0]
    late = drop.iloc[-1]
    train = int((score.predictions["part"] == "train").sum())
    sentence = (
        "Beside real learning: with no free parameter, block 1 predicts that progress falls from "
        f"{before['estimate']:.0f} to {predicted['estimate']:.0f} mm/s "
        f"[{predicted['low']:.0f}, {predicted['high']:.0f}] when the mapping changes; the first "
        f"30 trials show {early['estimate']:.0f} [{early['low']:.0f}, {early['high']:.0f}]. "
        f"{_verdicts(real)} {_by_target(real)}"
    )
    forest = pd.DataFrame(
        {
            "label": [
                f"{quantity} ({source.split()[0]})"
                for quantity, source in zip(drop["quantity"], drop["source"], strict=True)
            ],
            "estimate": drop["estimate"],
            "low": drop["low"],
            "high": drop["high"],
            "kind": [
                "predicted" if s.startswith("predicted") else "measured" for s in drop["source"]
            ],
        }
    )
    levels = {
        "block 1, intuitive mapping": float(before["estimate"]),
        "predicted at once": float(predicted["estimate"]),
    }
    frame = score.predictions.rename(columns={"prediction": "predicted"})
    gaps = score.differences
    crps = gaps[gaps["score"] == "CRPS"]
    comparison = pd.DataFrame(
        {
            "label": [f"prediction minus {name}" for name in crps["baseline"]],
            "estimate": crps["difference"],
            "low": crps["low"],
            "high": crps["high"],
            "p": score.tests["p_corrected"].to_numpy(),
        }
    )
    section = Section(
        "Beside real learning: the perturbed mapping is learned",
        (
            "The network was fitted to block 1, under the intuitive mapping. The perturbed mapping "
            "is known exactly, so the first prediction, the drop, has no free parameter. Learning "
            "is gradient flow on m, u and v with the readout frozen, towards the speed of block 1; "
            "each curve belongs to a fit of resampled trials with hidden overlaps drawn anew "
            f"({real.settings['draws']} draws). Progress is the cursor's velocity along the target "
            "direction from the seventh bin on, computed by the same code from recorded latents "
            "and from the model.",
            f"One number is free: the learning time that passes in a trial. It is fitted on the "
            f"first {train} trials only, as are the baselines; all are scored on the rest.",
            *score.paragraphs,
            _by_target(real),
        ),
        (
            Figure(
                "drop",
                "Progress before and after the change of mapping: predicted from block 1 and "
                "recorded, with 95% intervals (bootstrap of fits; block bootstrap of trials).",
                figures.effect_sizes(forest, xlabel="Progress, mm/s (95% interval)", zero=False),
                "Forest plot of predicted and recorded progress.",
            ),
            Figure(
                "block-two",
                "Progress in block 2, trial by trial and in block means, with the prediction "
                "(band: what block 1 could not tell) and the baselines fitted on the same first "
                "third.",
                figures.real_learning(
                    frame,
                    split=train,
                    baselines=("mean", "line", "exponential"),
                    levels=levels,
                ),
                "Trial by trial progress with predicted curve, band and baselines.",
            ),
            Figure(
                "scores",
                "CRPS on the last two thirds, prediction minus each baseline; left of zero the "
                "prediction is better. Intervals by block bootstrap.",
                figures.effect_sizes(comparison, xlabel="Difference in CRPS, mm/s (95% interval)"),
                "Forest plot of score differences.",
            ),
        ),
        (
            Table("drop", "Progress, mm/s, predicted and recorded.", drop, decimals=1),
            Table("by-target", "Progress by target (degrees), mm/s.", real.by_target, decimals=1),
            Table(
                "target-scores",
                "The same forecast target by target, on the last two thirds: RMSE, mm/s, and MSE "
                "minus that of the targets' means in the first third, which hold no learning.",
                real.target_scores,
                decimals=1,
            ),
            Table("scores", "Scores on the last two thirds, 95% intervals.", score.scores),
            Table(
                "score-differences",
                "Prediction minus baseline; negative: the prediction is better.",
                score.differences,
            ),
        ),
        caveats=(
            f"The trial-to-trial spread (sd about {frame['observed'].std():.0f} mm/s) is larger "
            f"than all of the learning (from {early['estimate']:.0f} to {late['estimate']:.0f} "
            "mm/s), so the forecasts differ little in any score of single trials.",
            "One session of one animal: nothing follows for others. Curves that rise and level off "
            "look alike on this scale; that a forecast does as well as an exponential does not "
            "show that the animal learns by this rule.",
        ),
    )
    return section, sentence


def _by_target(real: BCIComparison) -> str:
    """Return how the forecast does target by target, in words."""
    first, own = real.target_scores.iloc[0], real.target_scores.iloc[1]
    if own["low"] > 0:
        said = "is worse than"
    elif own["high"] < 0:
        said = "is better than"
    else:
        said = "is not told apart from"
    return (
        f"Target by target the forecast {said} the targets' means of the first third, which hold "
        f"no learning (RMSE {own['RMSE']:.0f} against {first['RMSE']:.0f} mm/s)."
    )


def _verdicts(real: BCIComparison) -> str:
    """Return what the scores decide, in words."""
    tests = real.score.tests
    said = {
        "better": "better than",
        "worse": "worse than",
        "undecided": "not told apart from",
    }
    parts = [
        f"{said[row['verdict']]} the {row['baseline']} baseline" for _, row in tests.iterrows()
    ]
    return (
        "With the time scale fitted on the first third, the forecast of the last two thirds is "
        f"{', '.join(parts[:-1])} and {parts[-1]} (CRPS)."
    )


def sessions_section(real: SessionsComparison) -> tuple[Section, str]:
    """Return the section on the later sessions, and its finding in a sentence.

    Parameters
    ----------
    real : SessionsComparison
        Prediction and later sessions.

    Returns
    -------
    Section, str
        The section and the sentence.
    """
    counts = real.inside
    words = ", ".join(
        f"{row['inside']} of {row['sessions']} for {row['quantity']}"
        for _, row in counts.iterrows()
    )
    sentence = (
        "Beside the learning that followed (simulated, so the truth is known): the later sessions' "
        f"true values lie inside the band predicted from the first session in {words}."
    )
    loss = real.loss.rename(columns={"true_loss": "truth"}).assign(name="loss")
    invariants = real.overlaps.rename(columns={"fitted": "measured"})
    section = Section(
        "Beside the learning that followed",
        (
            "The same neurons were recorded in later sessions while the network went on learning. "
            "Task and learning rate are known, so the first session predicts the later ones "
            "without a free parameter. The band holds the error of the fit (bootstrap replicates) "
            "and what one session cannot tell (draws from the prior; "
            f"{real.settings['draws']} draws).",
            sentence,
        ),
        (
            Figure(
                "sessions-curve",
                "Predicted loss along learning, mean and 95% of the draws.",
                figures.learning_curves(real.curves, ylabel="Loss", log=True),
                "Predicted learning curve with its band.",
            ),
            Figure(
                "sessions-loss",
                "Loss by session: predicted from the first session, and measured from the outputs "
                "with the variance of the reading noise taken off.",
                figures.courses(loss, truth="without noise"),
                "Course of the loss over sessions, predicted with a band and measured.",
            ),
            Figure(
                "sessions-overlaps",
                "Gauge-invariant overlaps by session: predicted from the first, and fitted from "
                "the session itself, with the ground truth of the simulation.",
                figures.courses(invariants, measured="fitted"),
                "Courses of overlaps over sessions, predicted with bands and fitted.",
            ),
        ),
        (
            Table("sessions-loss", "Loss by session; `true_loss` is without noise.", real.loss, 4),
            Table("sessions-overlaps", "Gauge-invariant overlaps by session.", real.overlaps),
            Table("sessions-inside", "Later sessions inside the predicted band.", counts),
        ),
        caveats=(
            "These data are simulated by the kind of network and rule that the theory assumes; "
            "agreement here shows that the path works, not that brains learn this way.",
        ),
    )
    return section, sentence
