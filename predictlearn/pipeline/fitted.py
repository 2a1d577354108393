"""The first stage: the low-rank structure of a recording, and how well it describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.fitting.evaluation.ceiling import Ceiling, condition_mean_ceiling
from predictlearn.fitting.evaluation.rank_selection import RankSelection, select_rank
from predictlearn.fitting.session.estimator import LowRankRNN
from predictlearn.fitting.session.validation import check_settings
from predictlearn.kept import once
from predictlearn.recordings.recording import Recording

if TYPE_CHECKING:
    from predictlearn.fitting.diagnostics.diagnose import Diagnostics

__all__ = ["FittedNetwork", "fit_recording", "ranks_of"]

_RANKS = (1, 2, 3)


def ranks_of(rank: int | str, known: int | None = None) -> tuple[int, ...]:
    """Return the ranks to compare: the one given, or those that "auto" tries.

    Parameters
    ----------
    rank : int or "auto"
        As typed or given.
    known : int, optional
        What "auto" is where a data set has a rank of its own.

    Returns
    -------
    tuple of int
        Ranks.

    Raises
    ------
    InputError
        If it is neither.

    Examples
    --------
    >>> ranks_of("auto"), ranks_of(2), ranks_of("auto", known=1)
    ((1, 2, 3), (2,), (1,))
    """
    if rank == "auto":
        return _RANKS if known is None else (known,)
    text = str(rank)
    if isinstance(rank, bool) or not text.isdecimal() or int(text) < 1:
        raise InputError(f"rank must be a whole number of at least 1, or 'auto'; got {rank!r}.")
    return (int(text),)


@dataclass(frozen=True)
class FittedNetwork:
    """A recording with the network fitted to it.

    Parameters
    ----------
    recording : Recording
        What was fitted.
    model : LowRankRNN
        The fit, with overlaps and intervals.
    ranks : RankSelection
        Held-out R2 by rank, bits per spike for counts.
    ceiling : Ceiling or None
        Held-out R2 of the condition means, where trials repeat conditions.
    settings : dict
        Settings of the fit.
    problems : tuple of str
        What of the recording could not be used, a line each.
    """

    recording: Recording
    model: LowRankRNN
    ranks: RankSelection
    ceiling: Ceiling | None
    settings: dict[str, Any]
    problems: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(n_in, rank, n_out) of the fitted network."""
        n_out = 0 if self.model.z_ is None else self.model.z_.shape[1]
        return self.recording.n_in, int(self.model.rank), n_out

    @property
    def held_out(self) -> tuple[float, float]:
        """Held-out score of the chosen rank: mean over folds and its standard error.

        R2, or bits per spike for counts, on held-out trials (on held-out neurons where only those
        were held out).
        """
        summary = self.ranks.summary
        if "hold_out" in summary:
            summary = summary[summary["hold_out"] == "trials"]
        row = summary.set_index("rank").loc[self.model.rank]
        return float(row["mean"]), float(row["standard_error"])

    @property
    def score_name(self) -> str:
        """What the held-out score is called."""
        return "R²" if self.ranks.settings["metric"] == "r2" else "bits per spike"

    @property
    def share_of_ceiling(self) -> float | None:
        """Held-out R2 as a share of that of the condition means."""
        if self.ceiling is None or self.ranks.settings["metric"] != "r2":
            return None
        return self.held_out[0] / self.ceiling.mean

    def diagnose(self) -> Diagnostics:
        """Return what is left in the residuals of the fit, see `predictlearn.fitting.diagnose`."""
        from predictlearn.fitting.diagnostics.diagnose import diagnose

        r = self.recording
        seed = self.model.seed
        return once(diagnose, self.model, r.activity, r.inputs, r.outputs, seed=seed)

    @property
    def overlaps(self) -> pd.DataFrame:
        """Overlaps with intervals and the tier that each belongs to, canonical gauge."""
        from predictlearn.theory.names import hidden_names, recordable_names, visible_names

        visible = visible_names(*self.sizes, self.model.nonlinearity)
        hidden = hidden_names(*self.sizes)
        table = self.model.intervals_.copy()
        table["visibility"] = [
            "loss-visible" if name in visible else "recording" for name in table.index
        ]
        table.loc[[n for n in table.index if n in hidden], "visibility"] = "hidden"
        known = [n for n in table.index if n in hidden and np.isfinite(table.loc[n, "estimate"])]
        table.loc[known, "visibility"] = "known readout"
        order = [*recordable_names(*self.sizes), *hidden]
        return table.loc[[name for name in order if name in table.index]].rename_axis("name")


def fit_recording(
    recording: Recording,
    settings: dict[str, Any],
    *,
    readout: np.ndarray | None = None,
    conditions: np.ndarray | None = None,
    ranks: tuple[int, ...] = _RANKS,
    cv: int = 5,
    seed: int = 0,
    n_jobs: int = 1,
    hold_out: str = "trials",
    rule: str = "paired",
) -> FittedNetwork:
    """Choose the rank, fit, and compare with the ceiling.

    Parameters
    ----------
    recording : Recording
        The session.
    settings : dict
        Settings of `LowRankRNN` other than rank, dt and seed.
    readout : array_like, (neurons, n_out), optional
        The readout where it is known.
    conditions : array_like, (trials,), optional
        Condition of each trial, for the ceiling.
    ranks : tuple of int
        Ranks to compare; those that are not below the number of neurons are left out.
    cv : int
        Folds over trials.
    seed : int
        Seed of folds, starts and bootstrap.
    n_jobs : int
        Processes.
    hold_out : {"trials", "neurons", "both"}
        What is held out to choose the rank.
    rule : {"paired", "one-se"}
        The rule that chooses it, see `select_rank`.

    Returns
    -------
    FittedNetwork
        The fit.

    Raises
    ------
    InputError
        If the recording or a setting cannot be used, or no rank is below the number of neurons.
    """
    activity, inputs = recording.activity, recording.inputs
    n_neurons = activity.shape[2]
    usable = tuple(rank for rank in ranks if rank < n_neurons)
    if not usable:
        raise InputError(
            "ranks must hold at least one below the number of neurons, "
            f"{n_neurons}; got {', '.join(map(str, ranks)) or 'none'}."
        )
    common = {**settings, "dt": recording.dt}
    # all settings are looked at before the first of many fits
    check_settings(LowRankRNN(rank=usable[0], seed=seed, **common))
    searching = {k: v for k, v in common.items() if k != "n_bootstrap"}
    # a noise model that does not exist is refused by the fit itself
    counted = searching.get("noise") in ("poisson", "negative-binomial")
    selection = select_rank(
        activity,
        inputs,
        ranks=usable,
        cv=cv,
        seed=seed,
        n_jobs=n_jobs,
        rule=rule,
        hold_out=hold_out,
        metric="bits-per-spike" if counted else "r2",
        **searching,
    )
    model = LowRankRNN(rank=selection.rank, seed=seed, n_jobs=n_jobs, **common)
    problems: tuple[str, ...] = ()
    try:
        model = once(model.fit, activity, inputs, outputs=recording.outputs, readout=readout)
    except InputError as error:
        if recording.outputs is None or readout is not None:
            raise
        # activity may be described where outputs are not
        model = once(model.fit, activity, inputs)
        problems = (f"outputs were left out of the fit: {error}",)
    ceiling = None
    if conditions is not None:
        ceiling = condition_mean_ceiling(activity, conditions, cv=cv, seed=seed)
    return FittedNetwork(recording, model, selection, ceiling, common, problems)
