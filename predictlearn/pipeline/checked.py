"""What is wrong with a fit, in words: residuals, silent neurons, noise model against data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from predictlearn.pipeline.experiments import attempt
from predictlearn.pipeline.fitted import FittedNetwork

if TYPE_CHECKING:
    from predictlearn.fitting.diagnostics.diagnose import Diagnostics

__all__ = ["Checks", "checked_fit", "checks_of"]

# What each failed test means for which number.
_MEANS = {
    "autocorrelation": "`tau` and `vu` may have taken up part of the slowness",
    "single neurons": "Overlaps stand; the loadings of these neurons are less sure than others",
    "shared directions": "Intervals of all overlaps are too narrow, those of mm, mu and vu most",
    "means by bin": "`vm`, `vu`, `tau` and the latency may be biased by more than their intervals",
    "means by condition": "`vm`, `vu`, `zm` and `zu` may be biased by more than their intervals",
    "noise with level": "Estimates stand; intervals and the held-out score weigh bins wrongly",
    "Gaussian loadings": "What is predicted of learning in an erf network is approximate",
}


@dataclass(frozen=True)
class Checks:
    """The checks of a fit.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a test: test, holds, p (corrected), measure, effect, says, means.
    sentences : tuple of str
        What is wrong, a sentence or two each; that nothing was found, where that is so.
    n_failed : int
        Tests that failed.
    n_tests : int
        Tests made.
    """

    table: pd.DataFrame
    sentences: tuple[str, ...]
    n_failed: int
    n_tests: int


def checked_fit(fitted: FittedNetwork) -> Checks:
    """Diagnose a fit and say what was found.

    Parameters
    ----------
    fitted : FittedNetwork
        The fit.

    Returns
    -------
    Checks
        Table and sentences; where the diagnosis cannot be made, a sentence says why.
    """
    problems: list[str] = []
    found = attempt("the diagnosis of the fit", fitted.diagnose, problems)
    return checks_of(fitted, found, tuple(problems))


def checks_of(
    fitted: FittedNetwork, found: Diagnostics | None, problems: tuple[str, ...] = ()
) -> Checks:
    """Say what a diagnosis found.

    Parameters
    ----------
    fitted : FittedNetwork
        The fit.
    found : Diagnostics or None
        Its diagnosis.
    problems : tuple of str
        Why there is none.

    Returns
    -------
    Checks
        Table and sentences.
    """
    columns = ["test", "holds", "p_corrected", "measure", "effect", "says", "means"]
    rows = []
    for name, row in [] if found is None else found.tests.iterrows():
        holds = not row["p_holm"] < 0.05
        means = "" if holds else _MEANS.get(str(name), "")
        rows.append(
            [str(name), holds, row["p_holm"], row["measure"], row["effect"], row["says"], means]
        )
    table = pd.DataFrame(rows, columns=columns)
    failed = table[~table["holds"].astype(bool)]
    sentences = [
        # what it means for which number stands in what it says, and shorter in the table
        f"**{row['test'][0].upper()}{row['test'][1:]}** fails: {row['says']}."
        for row in failed.to_dict("records")
    ]
    if found is not None and failed.empty:
        sentences.append(f"None of {len(table)} tests of the residuals and loadings failed.")
    sentences += [f"{text[0].upper()}{text[1:]}" for text in problems]
    sentences += [text for text in (silent_said(fitted), noise_said(fitted)) if text]
    return Checks(table, tuple(sentences), len(failed), len(table))


def silent_said(fitted: FittedNetwork) -> str:
    """Say how many neurons were set aside, empty where none were."""
    model, about = fitted.model, fitted.recording.metadata
    before = len(about.get("silent", ()))
    at_fit = int(np.count_nonzero(model.silent_))
    if not before + at_fit:
        return ""
    total = fitted.recording.n_neurons + before
    return (
        f"{before + at_fit} of {total} neurons are silent or never change and were left out "
        f"({before} on reading, {at_fit} by the fit). The others are no random sample of the "
        "population, so overlaps of the population are biased, the more the more are silent."
    )


def is_counts(fitted: FittedNetwork) -> bool:
    """Return whether the activity is made of whole numbers of at least zero, as counts are."""
    largest = 0.0
    for trial in fitted.recording.activity:
        values = trial[np.isfinite(trial)]
        if np.any(values < 0) or np.any(values != np.round(values)):
            return False
        largest = max(largest, float(values.max(initial=0.0)))
    return largest > 0


def noise_said(fitted: FittedNetwork) -> str:
    """Say where the noise model does not suit the kind of data, empty where it does."""
    if not is_counts(fitted) or fitted.model.noise != "gaussian":
        return ""
    return (
        "The activity is made of whole numbers, as counts are, and was fitted with Gaussian noise: "
        "overlaps are those of the counts themselves, and intervals and scores weigh all bins "
        "alike. `--noise poisson` (in Python `noise=`) fits counts as counts."
    )
