"""The whole path in one call: recording, fit, experiments, comparison with real learning."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from predictlearn.checks import MOST_FOLDS, non_negative, positive_int
from predictlearn.errors import InputError
from predictlearn.fitting.session.euler_twin import euler_twin
from predictlearn.kept import keeping, once
from predictlearn.pipeline.cases import Case, case_of
from predictlearn.pipeline.cohort import cohort_of
from predictlearn.pipeline.experiments import (
    Design,
    Experiments,
    attempt,
    design_experiments,
    run_experiments,
)
from predictlearn.pipeline.fitted import FittedNetwork, fit_recording, ranks_of
from predictlearn.pipeline.learner import LearnerChoice
from predictlearn.pipeline.protocol_run import ProtocolPrediction, predict_protocol
from predictlearn.pipeline.real_learning.bci import BCIComparison, compare_with_block_two
from predictlearn.pipeline.real_learning.sessions import SessionsComparison, compare_with_sessions
from predictlearn.pipeline.result import PredictionRun
from predictlearn.pipeline.task_choice import TaskChoice, choose_task
from predictlearn.pipeline.units import Units
from predictlearn.progress import bar
from predictlearn.recordings.datasets.bci_learning import BCISession
from predictlearn.recordings.recording import Recording
from predictlearn.theory.hidden_prior import HiddenPrior
from predictlearn.theory.overlaps import Overlaps

__all__ = ["predict"]


@keeping()
def predict(
    recording: str | Path | Recording | None = None,
    dataset: str | None = None,
    *,
    task: Any = None,
    rank: int | str = "auto",
    learns: str = "factors",
    rule: Any = None,
    rate: float | None = None,
    cv: int = 5,
    seed: int = 0,
    n_jobs: int = 1,
    n_draws: int = 16,
    n_animals: int = 12,
    spread: float = 0.1,
    prior: HiddenPrior | None = None,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> PredictionRun:
    """Fit a recording, predict learning experiments from it, and compare with real learning.

    Parameters
    ----------
    recording : path or Recording, optional
        A recording of one session, (trials, time, neurons), as `Recording` or its .npz file.
    dataset : str, optional
        Instead, a data set known by name: ``"simulated-learning"`` (the default) or
        ``"bci-learning"``.
    task : str, path, Task or Protocol, optional
        What is learned. ``"recorded"``, the default where there are outputs: the recording's own
        inputs and outputs, with a changed desired output (``"recorded:change=scaled,factor=0.5"``;
        `change` is reversed, scaled, rotated or none, `target` an .npy file of desired outputs).
        Or a task of ours with settings, ``"filter:decay=0.3"``; or a protocol file (.yaml), run in
        place of the two experiments; or a task or protocol as an object.
    rank : int or "auto", default "auto"
        Rank of the network; by cross-validation of 1, 2 and 3 as in `select_rank` (1 for
        ``"bci-learning"``).
    learns : {"factors", "synapses"}, default "factors"
        What learns: the factors U and V of the connectivity, as published, or the synapses W. The
        statements say whether what is predicted holds for the other too.
    rule : str or Rule, optional
        ``"gradient-flow"``, the default without a rate; ``"gradient-descent"``, that with one;
        ``"feedback-alignment"`` or ``"rflo"``, by random feedback; or a GradientDescent,
        FeedbackAlignment or RFLO with its settings.
    rate : float, optional
        Rate of the rule, in units in which every m and z has length one. By default learning is in
        units of each draw's own learning time.
    cv : int, default 5
        Folds of the cross-validation.
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
        Called with a line of text at the start of each stage. Not given: a bar shows the stage and
        the time left, on a terminal or below the cell of a notebook.
    **settings : object
        Settings of `LowRankRNN` that replace the case's own, such as ``nonlinearity``, ``noise``,
        ``ridge`` and ``n_starts``.

    Returns
    -------
    PredictionRun
        Fit, predictions, comparison; `make_report` makes the report of it.

    Raises
    ------
    InputError
        If the data cannot be found or used, a number is out of range, or what learns, rule,
        nonlinearity and task do not go together: synapses, feedback of a rule's own and closed
        loops are predicted for linear networks, and a protocol says itself who learns. What
        learning or the recording leads to after the fit (networks that diverge, an overlap that was
        not seen) raises nothing: it is a line of ``problems`` or a row of ``excluded``.

    Notes
    -----
    Every prediction is made for several completions of the recording: the overlaps that it shows,
    with the hidden ones drawn from the prior. The spread over draws is what the recording could
    not tell; the spread over animals is what is assumed of animals.

    Finished steps are kept on disk while it runs (`predictlearn.kept`): after the process was
    killed, interrupted or ended by an error, the same call in another goes on from there, to the
    same numbers.
    """
    positive_int("seed", seed, minimum=0)
    if n_jobs != -1:
        positive_int("n_jobs", n_jobs)
    positive_int("n_draws", n_draws, maximum=10_000)
    positive_int("n_animals", n_animals, minimum=3, maximum=10_000)
    positive_int("cv", cv, minimum=2, maximum=MOST_FOLDS)
    ranks_of(rank)
    learner = LearnerChoice.of(learns, rule, rate)
    non_negative("spread", spread)
    prior = prior or HiddenPrior()
    if not isinstance(prior, HiddenPrior):
        raise InputError(f"prior must be a HiddenPrior; got {type(prior).__name__}.")
    how = {"n_draws": n_draws, "n_animals": n_animals, "spread": spread, "seed": seed}
    source = {"recording": recording, "dataset": dataset, "task": task, "rank": rank}
    with bar("predict", shown=progress is None) as label:
        return _predicted(source, learner, cv, n_jobs, how, prior, progress or label, settings)


def _predicted(
    source: Mapping[str, Any],
    learner: LearnerChoice,
    cv: int,
    n_jobs: int,
    how: Mapping[str, Any],
    prior: HiddenPrior,
    tell: Callable[[str], None],
    settings: Mapping[str, Any],
) -> PredictionRun:
    """Make what `predict` promises, from settings that were checked."""
    seed = how["seed"]
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[stage], clock = now - clock, now

    tell("reading the recording")
    case = case_of(source["recording"], source["dataset"], **settings)
    choice = _choice(case, source["task"])
    learner.check(
        str(case.settings.get("nonlinearity", "linear")),
        None if choice is None else choice.task,
        protocol=choice is not None and choice.protocol is not None,
        design_of=case.name if case.designer is not None else "",
    )
    lap("read")
    tell("fitting the low-rank network and choosing its rank")
    fitted = fit_recording(
        case.recording,
        dict(case.settings),
        readout=case.readout,
        conditions=case.conditions,
        ranks=ranks_of(source["rank"], case.rank),
        cv=cv,
        seed=seed,
        n_jobs=n_jobs,
    )
    lap("fit")
    problems: list[str] = list(fitted.problems)
    tell("diagnosing the fit")
    diagnostics = attempt("the diagnosis of the fit", fitted.diagnose, problems)
    lap("diagnosis")
    begin = attempt(
        "the networks that the experiments start from",
        lambda: _cohort(case, fitted, choice, prior, how),
        problems,
    )
    experiments: Experiments | None = None
    protocol: ProtocolPrediction | None = None
    if begin is not None:
        common: dict[str, Any] = {
            "nonlinearity": fitted.model.nonlinearity,
            "tau": float(fitted.model.tau_),
            "seed": seed,
            "n_jobs": n_jobs,
        }
        plan = None if choice is None else choice.protocol
        if plan is not None:
            tell("running the protocol")
            protocol = attempt(
                f"the prediction of protocol {plan.name}",
                lambda: once(predict_protocol, plan, *begin, **common),
                problems,
            )
            problems += [] if protocol is None else protocol.problems
        else:
            design = attempt(
                "the design of the experiments",
                lambda: _design(case, fitted, choice, begin, learner),
                problems,
            )
            if design is not None:
                experiments = run_experiments(begin[0], design, tell=tell, **common)
                problems += experiments.problems
    lap("experiments")
    real = _real(case, fitted, prior, seed, n_jobs, tell, problems)
    if case.later is not None:
        lap("real learning")
    return PredictionRun(
        case,
        fitted,
        prior,
        experiments,
        protocol,
        real,
        diagnostics,
        choice,
        tuple(problems),
        {
            "dataset": case.name,
            "task": None if choice is None else choice.name,
            "seed": seed,
            "draws of the hidden overlaps": how["n_draws"],
            "animals": how["n_animals"],
            "spread between animals": how["spread"],
            "hidden prior": prior.statement(),
            "learns": learner.learns,
            "rule": learner.rule if isinstance(learner.rule, str) else repr(learner.rule),
            "rate": learner.rate_said,
            "folds": cv,
            "fit": dict(fitted.settings),
        },
        seconds,
    )


def _choice(case: Case, task: Any) -> TaskChoice | None:
    """Return what is learned; None where the data set has a design of its own."""
    if case.designer is not None:
        if task is not None:
            raise InputError(f"task is not for {case.name}, which has experiments of its own.")
        return None
    n_out = case.recording.n_out
    return choose_task(case.task if task is None else task, case.recording, n_out)


def _cohort(
    case: Case,
    fitted: FittedNetwork,
    choice: TaskChoice | None,
    prior: HiddenPrior,
    how: Mapping[str, Any],
) -> tuple[list[list[Overlaps]], Units]:
    """Return the networks that the recording leaves possible, and the units they are in."""
    seen, (n_in, rank, n_out) = fitted.model.overlaps_, fitted.sizes
    if choice is None:
        # a task that lives in bins is learned in bins
        seen = euler_twin(fitted.model).overlaps
    if n_out == 0 and choice is not None and not choice.unknown:
        raise InputError("the fit has no outputs, so what is put out cannot be predicted.")
    sizes = n_in, rank, max(n_out, 1)
    units = Units.unchanged(sizes)
    if choice is not None:
        units = Units.of(seen, sizes)
        seen = units.overlaps(seen, sizes)
        if choice.unknown:
            # a new readout that nothing has trained: of length one, unrelated to m and u
            seen = pd.Series({**seen, **_new_readout(sizes)})
    return cohort_of(seen, sizes, prior, fixed=case.fixed, **how), units


def _design(
    case: Case,
    fitted: FittedNetwork,
    choice: TaskChoice | None,
    begin: tuple[list[list[Overlaps]], Units],
    learner: LearnerChoice,
) -> Design:
    """Return the design of the experiments: of the data set, or for the chosen task."""
    if case.designer is not None:
        return case.designer(fitted, begin[0], learner.learns)
    if choice is None:
        raise InputError("no task was chosen.")
    return design_experiments(choice, fitted, *begin, learner)


def _new_readout(sizes: tuple[int, int, int]) -> dict[str, float]:
    """Return the overlaps of a readout that has none with m and u, and length one."""
    from predictlearn.theory.names import recordable_names

    with_z = [name for name in recordable_names(*sizes) if name.startswith("z")]
    return {**dict.fromkeys(with_z, 0.0), "zz": 1.0}


def _real(
    case: Case,
    fitted: FittedNetwork,
    prior: HiddenPrior,
    seed: int,
    n_jobs: int,
    tell: Callable[[str], None],
    problems: list[str],
) -> BCIComparison | SessionsComparison | None:
    """Return the prediction beside the learning that followed, where there is some."""
    if case.later is None:
        return None
    tell("comparing with the learning that followed")
    how: dict[str, Any] = {"prior": prior, "seed": seed, "n_jobs": n_jobs}

    def compare() -> BCIComparison | SessionsComparison:
        if isinstance(case.later, BCISession):
            return once(compare_with_block_two, case.later, fitted, **how)
        return once(compare_with_sessions, case.later, fitted, **how)

    return attempt("the comparison with the learning that followed", compare, problems)
