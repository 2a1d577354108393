"""What is known of a recording before it is fitted: settings, tasks, what it is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from predictlearn.errors import InputError, choice
from predictlearn.fitting.session.euler_twin import euler_twin
from predictlearn.pipeline.experiments import Design, flow_design
from predictlearn.pipeline.fitted import FittedNetwork
from predictlearn.recordings.datasets.bci_learning import BCISession, load_bci_learning
from predictlearn.recordings.datasets.registry import datasets, find_dataset, is_registered
from predictlearn.recordings.load import load_recording
from predictlearn.recordings.recording import Recording
from predictlearn.tasks.reaching import ReachingReadout
from predictlearn.tasks.registry import get_task
from predictlearn.theory.overlaps import Overlaps

__all__ = ["Case", "bci_task", "case_of"]

# The bins that every trial is cut to, and from which on progress is averaged (0-based).
BCI_BINS, BCI_FIRST = 12, 6

Designer = Callable[[FittedNetwork, list[list[Overlaps]], str], Design]


@dataclass(frozen=True)
class Case:
    """A recording with what the pipeline needs to know about it.

    Parameters
    ----------
    name, title : str
        Short name, and heading of the report.
    recording : Recording
        What is fitted.
    settings : mapping
        Settings of the fit.
    designer : callable or None
        From the fit, the cohort and what learns to the design of the experiments, where the data
        set has one of its own; None where the task is chosen.
    readout : numpy.ndarray, optional
        The readout (neurons, n_out) under which the experiments are predicted, where it is known.
    conditions : numpy.ndarray, optional
        Condition of each trial.
    fixed : str
        Pathways that do not differ between animals.
    task : object
        What is learned where nothing else is asked for, see `choose_task`; None: the recorded task.
    later : object
        What shows the learning that followed: a `BCISession`, all sessions in order, or None.
    named : bool
        Whether it is a data set that predictlearn knows by name.
    columns : str
        What the columns of the activity are, in words.
    rank : int, optional
        The rank that is fitted where none is asked for; by cross-validation where not given.
    """

    name: str
    title: str
    recording: Recording
    settings: Mapping[str, Any]
    designer: Designer | None = None
    readout: np.ndarray | None = None
    conditions: np.ndarray | None = None
    fixed: str = ""
    task: Any = None
    later: Any = None
    named: bool = True
    columns: str = "neurons"
    rank: int | None = None

    @property
    def simulated(self) -> bool:
        """Whether the recording says that it was simulated."""
        return bool(self.recording.metadata.get("simulated", False))


def case_of(recording: str | Path | Recording | None, dataset: str | None, **settings: Any) -> Case:
    """Return the case of a recording of the user's own, or of a data set known by name.

    Parameters
    ----------
    recording : path or Recording, optional
        A recording of the user's own.
    dataset : str, optional
        Name of a data set; ``"simulated-learning"`` if neither is given. With the path of a file as
        ``recording``: the data set in whose format that file is, another session for example.
    **settings : object
        Settings of the fit that replace the case's own.

    Returns
    -------
    Case
        The case.

    Raises
    ------
    InputError
        If a `Recording` and a data set are given, or the data cannot be found or read.
    """
    if isinstance(recording, Recording) and dataset is not None:
        raise InputError(
            f"give a recording or a data set, not both; got a Recording and {dataset!r}."
        )
    if recording is not None and dataset is None:
        return _own(recording, settings)
    name = dataset or "simulated-learning"
    choice("dataset", name, [item.name for item in datasets() if item.has_case])
    path = find_dataset(name) if recording is None else Path(str(recording))
    if not path.is_file():
        raise InputError(f"no such file: {path}; expected one in the format of {name}.")
    case = _bci(path, settings) if name == "bci-learning" else _simulated(path, settings)
    if is_registered(name, path):
        return case
    # never reported as the data set whose format it has
    return replace(
        case, name=path.stem, title=f"{case.title.split(':')[0]}: {path.name}", named=False
    )


def _own(source: str | Path | Recording, settings: dict[str, Any]) -> Case:
    """Return the case of a recording of the user's own."""
    recording = source if isinstance(source, Recording) else load_recording(source)
    name = str(recording.metadata.get("name", "recording"))
    # of counts fitted as counts the logarithm of the rate is linear in k
    current = recording.observed == "current" or settings.get("noise", "gaussian") != "gaussian"
    common = {
        "observed": "current" if current else "rate",
        "offset": True,
        "tau": "fit",
        "latency": "fit",
    }
    return Case(
        name=name,
        title=f"What {name} predicts about learning",
        recording=recording,
        settings=common | settings,
        named=False,
    )


def _simulated(path: Path, settings: dict[str, Any]) -> Case:
    """Return the case of the shipped, simulated recording: its first session."""
    from predictlearn.recordings.datasets.simulated import load_simulated_learning

    sessions = load_simulated_learning(path)
    first = sessions[0]
    known = first.metadata
    return Case(
        name="simulated-learning",
        title="What one session predicts about learning: the shipped, simulated recording",
        recording=first,
        settings={
            "nonlinearity": known["nonlinearity"],
            "tau": known["tau"],
            "observed": "rate",
            "offset": True,
            "gain": known["gain"],
        }
        | settings,
        task=get_task(
            known["task"]["kind"], **{k: v for k, v in known["task"].items() if k != "kind"}
        ),
        later=sessions,
    )


def _bci(path: Path, settings: dict[str, Any]) -> Case:
    """Return the case of the BCI session: block 1, with the readout of block 2."""
    session = load_bci_learning(path).first_bins(BCI_BINS)
    block = session.intuitive

    def designer(fit: FittedNetwork, cohort: list[list[Overlaps]], learns: str) -> Design:
        task = bci_task(session, fit)
        turned = bci_task(session, fit, rotation=45.0)
        return flow_design(
            task,
            (task, turned),
            cohort,
            {
                "exposing": "reach through the perturbed mapping",
                "A": "the perturbed mapping",
                "B": "the perturbed mapping with the cursor turned by 45 degrees",
            },
            nonlinearity=fit.model.nonlinearity,
            tau=euler_twin(fit.model).tau,
            learns=learns,
        )

    return Case(
        name="bci-learning",
        title="What the intuitive mapping predicts about learning the perturbed one",
        recording=block,
        settings={
            "nonlinearity": "linear",
            "tau": "fit",
            "latency": "fit",
            "observed": "current",
            "offset": True,
            "neurons": "all",
        }
        | settings,
        designer=designer,
        readout=session.perturbed_readout.loading(),
        conditions=block.trials["target"].to_numpy(),
        fixed="z",
        later=session,
        columns="latent factors",
        # cross-validation gains little beyond it, and predictions of the mapping are made with it
        # (studies/bci/bci.md)
        rank=1,
    )


def bci_task(
    session: BCISession, fit: FittedNetwork, rotation: float = 0.0, speed: float | None = None
) -> ReachingReadout:
    """Return reaching through the perturbed mapping, as the fitted network meets it.

    Parameters
    ----------
    session : BCISession
        Both blocks, cut to the bins that are analysed.
    fit : FittedNetwork
        Network fitted to block 1: its latency and the offsets of its neurons belong to the task.
    rotation : float
        Cursor rotation in degrees.
    speed : float, optional
        Desired speed; by default the mean progress of block 1 under the intuitive mapping, mm/s.

    Returns
    -------
    ReachingReadout
        The task, every target once.
    """
    from predictlearn.recordings.datasets.bci_learning import progress

    readout, model = session.perturbed_readout, fit.model
    targets = np.unique(session.intuitive.trials["target"].to_numpy())
    if speed is None:
        done = progress(
            session.intuitive.activity,
            session.intuitive_readout,
            session.intuitive.trials["target"].to_numpy(),
            first_bin=BCI_FIRST,
        )
        speed = float(done.mean())
    return ReachingReadout(
        targets=targets.tolist(),
        speed=speed,
        duration=BCI_BINS * session.intuitive.dt,
        dt=session.intuitive.dt,
        go=True,
        latency=euler_twin(model).latency,
        offset=tuple(readout.command(model.offset_).tolist()),
        smoothing=readout.smoothing.tolist(),
        first_bin=BCI_FIRST,
        rotation=rotation,
    )
