"""Courses of learning of the flip-flop: theory beside network, and the loadings they end with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from predictlearn.network.activity import run_network
from predictlearn.protocol import Protocol, ProtocolResult
from predictlearn.published.diverging import follow, phase_seed
from predictlearn.published.protocols import along, start_loadings
from predictlearn.theory.activity import simulate
from predictlearn.theory.learning.rules import DirectDescent
from predictlearn.theory.loadings import Loadings
from predictlearn.theory.names import PATHWAYS
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.populations.gaussianity import (
    gaussian_bands,
    kurtosis_change,
    measures,
    two_sided_p,
    upper_p,
)

__all__ = [
    "BEFORE",
    "COURSES",
    "FlipFlopCourse",
    "Runs",
    "closeness_table",
    "direct_course",
    "gaussianity_table",
]

BEFORE = "before learning"
_FLAT = 0.125


@dataclass(frozen=True)
class FlipFlopCourse:
    """A course of learning: arms of a protocol, and the phase that it ends with.

    Parameters
    ----------
    network, phase : str
        Arm with engine network, and the last phase that counts.
    theory : str or None
        Arm of the theory with the same steps; None if there is no theory.
    small : bool
        Whether the arms are of the protocol of small steps.
    """

    network: str
    phase: str
    theory: str | None
    small: bool = False


COURSES = {
    "rate 0.0125": FlipFlopCourse(
        "network, small steps", "learning", "theory, small steps", small=True
    ),
    "rate 0.05": FlipFlopCourse("network", "learning", "theory"),
    "rate 0.5, same time": FlipFlopCourse(
        "network, large steps", "same time", "theory, large steps"
    ),
    "rate 0.5, same epochs": FlipFlopCourse(
        "network, large steps", "same epochs", "theory, large steps"
    ),
    "Adam, once learned": FlipFlopCourse("network, Adam, early", "learning", None),
    "Adam, same epochs": FlipFlopCourse("network, Adam", "learning", None),
}
"""From the smallest steps on; the rate of Adam is 0.005 a synapse."""


@dataclass(frozen=True)
class Runs:
    """The runs of the two protocols.

    Parameters
    ----------
    protocol, result : Protocol, ProtocolResult
        The published settings.
    small_protocol, small_result : Protocol, ProtocolResult
        The same with smaller steps.
    """

    protocol: Protocol
    result: ProtocolResult
    small_protocol: Protocol
    small_result: ProtocolResult

    def of(self, name: str) -> tuple[Protocol, ProtocolResult, FlipFlopCourse]:
        """Return the protocol and the run of a course."""
        course = COURSES[name]
        if course.small:
            return self.small_protocol, self.small_result, course
        return self.protocol, self.result, course

    def start(self, name: str, network: int) -> Loadings:
        """Return the neurons that a course starts from."""
        protocol, result, course = self.of(name)
        return start_loadings(protocol, result, course.network, network)

    def end(self, name: str, network: int) -> Loadings:
        """Return the neurons that a course ends with."""
        _, result, course = self.of(name)
        return result.loadings(course.network, network, course.phase)

    def seen(self, name: str, network: int) -> pd.DataFrame:
        """Return a network of neurons along a course."""
        _, result, course = self.of(name)
        return _up_to(along(result, course.network, network), course.phase)

    def told(self, name: str, network: int) -> pd.DataFrame:
        """Return the theory along a course; without rows if the rule has none."""
        _, result, course = self.of(name)
        if course.theory is None:
            return along(result, course.network, network).iloc[:0]
        return _up_to(along(result, course.theory, network), course.phase)


def _up_to(frame: pd.DataFrame, last: str) -> pd.DataFrame:
    """Return a course up to the end of a phase."""
    phases = list(frame["phase"].unique())
    return frame[frame["phase"].isin(phases[: phases.index(last) + 1])]


def direct_course(runs: Runs, network: int) -> tuple[pd.DataFrame, float]:
    """Return descent in the overlaps themselves, on the trials of the other arms.

    A protocol ends an arm that leaves the tables that networks have; here the course goes on.

    Parameters
    ----------
    runs : Runs
        The runs.
    network : int
        Number of the network.

    Returns
    -------
    frame : pandas.DataFrame
        ``epoch``, ``loss`` and the overlaps, at the recorded epochs.
    left : float
        First recorded epoch at which no network has the overlaps; NaN if there is none.
    """
    spec = runs.protocol.spec
    phase = spec.arms["direct"].phases[0]
    name = str(phase.task)
    rule = DirectDescent(spec.rule_of("direct", phase).rate or 0.0)
    seed = phase_seed(runs.result.seed, network, list(runs.protocol.tasks).index(name), 0)
    start = runs.result.starts[network]
    course = follow(spec, start, runs.protocol.tasks[name], rule, int(phase.epochs or 0), seed)
    rows, columns = zip(*(start.index(overlap) for overlap in start.names), strict=True)
    frame = pd.DataFrame(course.array[:, list(rows), list(columns)], columns=list(start.names))
    frame.insert(0, "epoch", course.epochs)
    frame.insert(1, "loss", course.losses)
    return frame, course.left


def _learned(loss: np.ndarray) -> bool:
    """Return whether the loss ends below half of what a silent output has."""
    return bool(loss[-1] < _FLAT)


def closeness_table(runs: Runs, seed: int = 0) -> pd.DataFrame:
    """Return how close theory and network are, by course and network.

    Parameters
    ----------
    runs : Runs
        The runs.
    seed : int, default 0
        Seed of the trials on which outputs are compared.

    Returns
    -------
    pandas.DataFrame
        By course and network: ``learned``; ``loss``, of the network at its end, and ``theory``;
        ``largest``, the largest difference of any overlap along learning, and ``end``, at its end;
        ``moved``, the largest change of any overlap of the network; ``path``, the largest
        difference of any overlap at the end from the nearest point on the theory's courses at the
        published and the large rate; ``output``, the root mean square difference between the
        outputs of the trained neurons and of their overlaps, as a part of the output's own;
        ``drift`` of uu - vv.
    """
    rows = []
    for name in COURSES:
        protocol, result, course = runs.of(name)
        overlaps = list(result.overlap_names)
        phase = protocol.spec.arms[course.network].phases[0]
        task = protocol.tasks[str(phase.task)]
        trials = task.sample(np.random.default_rng(seed))
        for network in range(result.n_networks):
            seen, told = runs.seen(name, network), runs.told(name, network)
            values = seen[overlaps].to_numpy()
            row = {
                "course": name,
                "network": network,
                "learned": _learned(seen["loss"].to_numpy()),
                "loss": _late(seen["loss"]),
                "theory": _late(told["loss"]) if len(told) else np.nan,
                "largest": np.nan,
                "end": np.nan,
                "moved": float(np.abs(values - values[0]).max()),
            }
            if len(told):
                gap = np.abs(values - told[overlaps].to_numpy()).max(axis=1)
                row |= {"largest": float(gap.max()), "end": float(gap[-1])}
            path = pd.concat(
                [along(runs.result, arm, network) for arm in ("theory", "theory, large steps")]
            )[overlaps].to_numpy()
            row["path"] = float(np.abs(path - values[-1]).max(axis=1).min())
            neurons = runs.end(name, network)
            spec = protocol.spec
            out = run_network(neurons, trials, spec.nonlinearity, spec.tau).outputs
            reduced = simulate(
                Overlaps.from_loadings(neurons), trials, spec.nonlinearity, spec.tau
            ).outputs
            row["output"] = float(np.sqrt(np.mean((out - reduced) ** 2) / np.mean(out**2)))
            difference = seen["uu"] - seen["vv"]
            row["drift"] = float((difference - difference.iloc[0]).abs().max())
            rows.append(row)
    return pd.DataFrame(rows)


def _late(loss: pd.Series) -> float:
    """Return the mean loss over the last twentieth of the recorded epochs."""
    return float(loss.iloc[-max(1, len(loss) // 20) :].mean())


def gaussianity_table(runs: Runs) -> pd.DataFrame:
    """Return how Gaussian the loadings are, before learning and at the end of every course.

    Parameters
    ----------
    runs : Runs
        The runs.

    Returns
    -------
    pandas.DataFrame
        By course and network: for each of m, u, v, z the excess ``kurtosis`` with its two-sided p
        value, its ``change`` since the start with a bootstrap standard error (``error``), and the
        Kolmogorov-Smirnov ``distance`` with its p value; for all together Mardia's
        ``joint kurtosis`` and Henze & Zirkler's ``joint distance`` with theirs. p values are from
        Gaussian samples of as many neurons.
    """
    cases: list[tuple[str, int, Loadings, Loadings]] = []
    for network in range(runs.result.n_networks):
        start = runs.start("rate 0.05", network)
        cases.append((BEFORE, network, start, start))
    cases += [
        (name, network, runs.start(name, network), runs.end(name, network))
        for name in COURSES
        for network in range(runs.of(name)[1].n_networks)
    ]
    return pd.DataFrame(
        [{"course": name, "network": k, **_judged(start, end)} for name, k, start, end in cases]
    )


def _judged(start: Loadings, end: Loadings) -> dict[str, float]:
    """Return the measures of some loadings with p values, by name."""
    theta = end.stacked
    found = measures(theta)
    bands = gaussian_bands(*theta.shape)
    change = kurtosis_change(start.stacked, theta)
    row: dict[str, float] = {}
    for k, pathway in enumerate(PATHWAYS):
        row |= {
            f"kurtosis {pathway}": float(found.kurtosis[k]),
            f"kurtosis {pathway} p": two_sided_p(bands.kurtosis, found.kurtosis[k]),
            f"change {pathway}": float(change["change"].iloc[k]),
            f"error {pathway}": float(change["standard_error"].iloc[k]),
            f"distance {pathway}": float(found.distance[k]),
            f"distance {pathway} p": upper_p(bands.distance, found.distance[k]),
        }
    return row | {
        "joint kurtosis": found.joint_kurtosis,
        "joint kurtosis p": two_sided_p(bands.joint_kurtosis, found.joint_kurtosis),
        "joint distance": found.joint_distance,
        "joint distance p": upper_p(bands.joint_distance, found.joint_distance),
    }
