"""The whole path in one call: recording, fit, experiments, comparison with real learning."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictlearn.checks import non_negative, positive_int
from predictlearn.errors import InputError
from predictlearn.pipeline.animals import cohort_of
from predictlearn.pipeline.bci import BCIComparison, compare_with_block_two
from predictlearn.pipeline.cases import Case, case_of
from predictlearn.pipeline.experiments import Experiments, run_experiments
from predictlearn.pipeline.fitted import FittedNetwork, fit_recording
from predictlearn.pipeline.sessions import SessionsComparison, compare_with_sessions
from predictlearn.recordings.bci import BCISession
from predictlearn.recordings.recording import Recording
from predictlearn.theory.prior import HiddenPrior

if TYPE_CHECKING:
    from predictlearn.reporting.report import Report

__all__ = ["PredictionRun", "predict"]


@dataclass(frozen=True)
class PredictionRun:
    """Everything that `predict` found.

    Parameters
    ----------
    case : Case
        The recording and what is known of it.
    fitted : FittedNetwork
        Rank, overlaps with intervals, held-out R2.
    prior : HiddenPrior
        Prior over what the recording hides.
    experiments : Experiments
        Perturbation exposure and training order.
    real : BCIComparison, SessionsComparison or None
        The prediction beside the learning that followed, where there is some.
    settings : dict
        Draws, animals, spread and seed.
    seconds : dict
        Time of each stage.
    """

    case: Case
    fitted: FittedNetwork
    prior: HiddenPrior
    experiments: Experiments
    real: BCIComparison | SessionsComparison | None
    settings: dict[str, Any]
    seconds: dict[str, float]

    def report(self) -> Report:
        """Return the report to look at."""
        from predictlearn.pipeline.report import make_report

        return make_report(self)


def predict(
    recording: str | Path | Recording | None = None,
    dataset: str | None = None,
    *,
    seed: int = 0,
    n_jobs: int = 1,
    n_draws: int = 16,
    n_animals: int = 12,
    spread: float = 0.1,
    prior: HiddenPrior | None = None,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> PredictionRun:
    """Fit a recording, predict two learning experiments from it, and compare with real learning.

    Parameters
    ----------
    recording : path or Recording, optional
        A recording of one session, (trials, time, neurons), as `Recording` or its .npz file.
    dataset : str, optional
        Instead, a data set known by name: ``"simulated-learning"`` (the default) or
        ``"bci-learning"``.
    seed : int, default 0
        Seed of everything random.
    n_jobs : int, default 1
        Processes; the result does not depend on it.
    n_draws : int, default 16
        Draws of the overlaps that the recording hides.
    n_animals : int, default 12
        Simulated animals in each arm.
    spread : float, default 0.1
        How much animals differ, relative to the recorded one: an assumption.
    prior : HiddenPrior, optional
        Prior over the hidden overlaps.
    progress : callable, optional
        Called with a line of text at the start of each stage.
    **settings : object
        Settings of `LowRankRNN` that replace the case's own, such as ``nonlinearity``.

    Returns
    -------
    PredictionRun
        Fit, predictions, comparison; ``.report()`` makes the page.

    Raises
    ------
    InputError
        If the data cannot be found or used, or a number is out of range.

    Notes
    -----
    Every prediction is made for several completions of the recording: the overlaps that it shows,
    with the hidden ones drawn from the prior. The spread over draws is what the recording could
    not tell; the spread over animals is what is assumed of animals.
    """
    positive_int("seed", seed, minimum=0)
    if n_jobs != -1:
        positive_int("n_jobs", n_jobs)
    positive_int("n_draws", n_draws)
    positive_int("n_animals", n_animals, minimum=3)
    non_negative("spread", spread)
    prior = prior or HiddenPrior()
    if not isinstance(prior, HiddenPrior):
        raise InputError(f"prior must be a HiddenPrior; got {type(prior).__name__}.")
    tell = progress or (lambda text: None)
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[stage], clock = now - clock, now

    tell("reading the recording")
    case = case_of(recording, dataset, **settings)
    lap("read")
    tell("fitting the low-rank network and choosing its rank")
    fitted = fit_recording(
        case.recording,
        dict(case.settings),
        readout=case.readout,
        conditions=case.conditions,
        seed=seed,
        n_jobs=n_jobs,
    )
    lap("fit")
    if fitted.sizes[2] == 0:
        raise InputError(
            "the recording has neither outputs nor a readout, so nothing says what the network is "
            "to learn; add outputs (trials, time, n_out) to it. `predictlearn fit` works without."
        )
    cohort = cohort_of(
        fitted.model.overlaps_,
        fitted.sizes,
        prior,
        n_draws=n_draws,
        n_animals=n_animals,
        spread=spread,
        seed=seed,
        fixed=case.fixed,
    )
    experiments = run_experiments(
        cohort,
        case.designer(fitted, cohort),
        nonlinearity=fitted.model.nonlinearity,
        tau=fitted.model.tau_,
        seed=seed,
        n_jobs=n_jobs,
        tell=tell,
    )
    lap("experiments")
    real: BCIComparison | SessionsComparison | None = None
    if case.later is not None:
        tell("comparing with the learning that followed")
        if isinstance(case.later, BCISession):
            real = compare_with_block_two(case.later, fitted, prior=prior, seed=seed, n_jobs=n_jobs)
        else:
            real = compare_with_sessions(case.later, fitted, prior=prior, seed=seed, n_jobs=n_jobs)
        lap("real learning")
    return PredictionRun(
        case,
        fitted,
        prior,
        experiments,
        real,
        {
            "dataset": case.name,
            "seed": seed,
            "draws of the hidden overlaps": n_draws,
            "animals": n_animals,
            "spread between animals": spread,
            "hidden prior": prior.statement(),
            "fit": dict(fitted.settings),
        },
        seconds,
    )
