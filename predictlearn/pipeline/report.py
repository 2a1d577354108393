"""The report of a prediction run: what was fitted, what it predicts, and how that compares."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pandas as pd

from predictlearn.pipeline.report_experiments import exposure_section, order_section
from predictlearn.pipeline.report_fit import fit_section, overlap_section
from predictlearn.pipeline.report_real import bci_section, sessions_section
from predictlearn.pipeline.sessions import SessionsComparison
from predictlearn.reporting import Report, Section

if TYPE_CHECKING:
    from predictlearn.pipeline.run import PredictionRun

__all__ = ["make_report"]


def make_report(run: PredictionRun) -> Report:
    """Return the report of a run.

    Parameters
    ----------
    run : PredictionRun
        What `predict` found.

    Returns
    -------
    Report
        One page, with its figures and tables.
    """
    from predictlearn import __version__

    real: tuple[Section, ...] = ()
    lead = [_fit_lead(run), *_experiment_lead(run)]
    if run.real is not None:
        if isinstance(run.real, SessionsComparison):
            section, sentence = sessions_section(run.real)
        else:
            section, sentence = bci_section(run.real)
        real, lead = (section,), [*lead, sentence]
    return Report(
        title=run.case.title,
        subtitle=_subtitle(run),
        lead=tuple(lead),
        highlights=_highlights(run),
        sections=(
            fit_section(run),
            overlap_section(run),
            exposure_section(run),
            order_section(run),
            *real,
        ),
        simulated=run.case.simulated,
        reproduce={
            **_command(run),
            "version": __version__,
            "seed": run.settings["seed"],
            "date": datetime.date.today().isoformat(),
            "data source": str(
                run.case.recording.metadata.get("source", "a recording of your own")
            ),
            "settings": run.settings,
            "seconds by stage": {k: round(v, 1) for k, v in run.seconds.items()},
        },
    )


def _command(run: PredictionRun) -> dict[str, str]:
    """Return the command that makes the same report again, where the data have a name."""
    if not run.case.named:
        return {}
    draws, seed = run.settings["draws of the hidden overlaps"], run.settings["seed"]
    return {
        "command": f"predictlearn predict --dataset {run.case.name} --seed {seed} --draws {draws}"
    }


def _subtitle(run: PredictionRun) -> str:
    """Return one line about the recording."""
    r = run.case.recording
    return (
        f"{r.n_trials} trials of {r.n_bins} bins of {1000 * r.dt:g} ms, {r.n_neurons} "
        f"{run.case.columns}; "
        f"{run.fitted.model.nonlinearity} network of rank {run.fitted.model.rank}"
    )


def _highlights(run: PredictionRun) -> tuple[tuple[str, str], ...]:
    """Return a few numbers to show large."""
    mean, error = run.fitted.held_out
    tiles = [(f"{mean:.3f}", f"held-out R² of rank {run.fitted.model.rank} (± {error:.3f})")]
    share = run.fitted.share_of_ceiling
    if share is not None:
        tiles.append((f"{share:.0%}", "of what the condition means explain"))
    band = run.experiments.exposure.band.iloc[0]
    tiles.append(
        (
            f"{100 * band['mean']:+.1f}%",
            "mean loss over learning, changed minus original network, in % of the first loss",
        )
    )
    if isinstance(run.real, SessionsComparison):
        row = run.real.inside.set_index("quantity").loc["loss"]
        tiles.append(
            (f"{row['inside']} of {row['sessions']}", "later losses inside the predicted band")
        )
    elif run.real is not None:
        drop = run.real.drop.set_index(["quantity", "source"])["estimate"]
        predicted = drop.loc["perturbed mapping, at once"].iloc[0]
        tiles.append((f"{predicted:.0f} mm/s", "predicted progress right after the change"))
    return tuple(tiles)


def _fit_lead(run: PredictionRun) -> str:
    """Return the finding about the fit."""
    mean, error = run.fitted.held_out
    text = (
        f"{_article(run.fitted.model.nonlinearity)} network of rank {run.fitted.model.rank} "
        f"explains {mean:.3f} ± {error:.3f} (standard error over folds) of the variance of "
        "held-out trials"
    )
    if run.fitted.ceiling is not None:
        text += (
            f", {run.fitted.share_of_ceiling:.0%} of the {run.fitted.ceiling.mean:.3f} that the "
            "training trials' mean of the same condition and bin explains"
        )
    return text + "."


def _experiment_lead(run: PredictionRun) -> list[str]:
    """Return the findings of both experiments, each in a sentence with its band."""
    design = run.experiments.design
    band = run.experiments.exposure.band.iloc[0]
    faster = "less" if band["mean"] < 0 else "more"
    clear = max(band["share_positive"], 1 - band["share_positive"])
    first = (
        "Perturbation exposure: two networks that this recording cannot tell apart, one with every "
        f"|v|² doubled, learn to {design.labels['exposing']} with {faster} loss for the second "
        f"({100 * band['mean']:+.2f}% of the first loss on average over learning; "
        f"{100 * band['low']:+.2f} to {100 * band['high']:+.2f}% over what the recording cannot "
        f"tell, the same sign in {clear:.0%} of {int(band['n_draws'])} draws)."
    )
    rows = run.experiments.order.band.set_index("name")
    forget = rows.loc["forgetting of A, loss after B minus before"]
    if isinstance(forget, pd.DataFrame):
        forget = forget.iloc[0]
    second = (
        f"Training order: learning B ({design.labels['B']}) after A ({design.labels['A']}) changes "
        f"the loss on A by {forget['mean']:+.3g} of its loss before learning "
        f"({forget['low']:+.3g} to {forget['high']:+.3g} over what the recording cannot tell)."
    )
    return [first, second]


def _article(nonlinearity: str) -> str:
    """Return the nonlinearity with its indefinite article, to begin a sentence."""
    return f"{'An' if nonlinearity[0] in 'aeiou' else 'A'} {nonlinearity}"
