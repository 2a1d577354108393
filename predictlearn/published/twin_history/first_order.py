"""The twins under the published first-order update: how far it ends from the exact step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from predictlearn.errors import InputError
from predictlearn.files import write_atomically
from predictlearn.protocol import Protocol
from predictlearn.protocol.store import run_key
from predictlearn.published.diverging import follow, phase_seed
from predictlearn.theory.learning.rules import FirstOrderDescent, GradientDescent
from predictlearn.theory.overlaps import Overlaps
from predictlearn.workers import Parallel, delayed

__all__ = ["first_order_courses"]

_FATE = ("lowest", "left", "diverged")


def first_order_courses(
    protocol: Protocol,
    starts: Sequence[Overlaps],
    seed: int,
    n_jobs: int = 1,
    folder: Path | None = None,
) -> pd.DataFrame:
    """Return where networks end under S <- S - eta (S A + A S), on the trials of the protocol.

    Parameters
    ----------
    protocol : Protocol
        Arms of gradient descent, with engine theory.
    starts : sequence of Overlaps
        The first networks of the cohort.
    seed : int
        Seed of the run that this stands beside.
    n_jobs : int, default 1
        Processes.
    folder : pathlib.Path, optional
        Where finished courses are kept.

    Returns
    -------
    pandas.DataFrame
        By ``history`` and ``pair``: the final overlaps, NaN if learning diverged; ``lowest``, the
        smallest eigenvalue of the overlap matrix at any recorded epoch; ``left``, the first
        recorded epoch at which it is negative, so that no network has the overlaps, NaN if it never
        is; and ``diverged``, the epoch at which the loss was no longer finite, NaN if it always
        was.
    """
    cases = [(arm, pair) for arm in protocol.arms for pair in range(len(starts))]
    rows = Parallel(n_jobs=n_jobs)(
        delayed(_kept)(protocol, starts[pair], arm, pair, seed, folder) for arm, pair in cases
    )
    index = pd.MultiIndex.from_tuples(cases, names=["history", "pair"])
    return pd.DataFrame(rows, index=index, columns=[*starts[0].names, *_FATE])


def _kept(
    protocol: Protocol, start: Overlaps, arm: str, pair: int, seed: int, folder: Path | None
) -> np.ndarray:
    """Return one course, read from the folder if it is there."""
    from predictlearn import __version__

    if folder is None:
        return _course(protocol, start, arm, pair, seed)
    key = run_key(protocol.to_dict(), seed, [start], __version__, b"first-order")
    place = folder / f"{protocol.name}-first-order"
    # the key is part of the name, so another run is never read for this one
    path = place / f"{protocol.arms.index(arm)}-{pair}-{key[:16]}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False))
    found = _course(protocol, start, arm, pair, seed)
    place.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: np.save(file, found))
    return found


def _course(protocol: Protocol, start: Overlaps, arm: str, pair: int, seed: int) -> np.ndarray:
    """Return final overlaps and what became of them, in the order of the table."""
    spec, now = protocol.spec, start
    lowest, left, before = np.inf, np.nan, 0
    visits = dict.fromkeys(protocol.tasks, 0)
    for phase in spec.arms[arm].phases:
        task, epochs = str(phase.task), int(phase.epochs or 0)
        exact = spec.rule_of(arm, phase).build()
        if not isinstance(exact, GradientDescent):
            raise InputError(f"arm {arm!r} must learn by gradient-descent; got {exact!r}.")
        rule = FirstOrderDescent(exact.rate, schedule=exact.schedule)
        trials = phase_seed(seed, pair, list(protocol.tasks).index(task), visits[task])
        visits[task] += 1
        course = follow(spec, now, protocol.tasks[task], rule, epochs, trials)
        lowest = min(lowest, course.lowest)
        left = before + course.left if np.isnan(left) else left
        if np.isfinite(course.diverged):
            nowhere = np.full(len(start.names), np.nan)
            return np.array([*nowhere, lowest, left, before + course.diverged])
        before += epochs
        # the update does not care whether a network has the overlaps
        now = Overlaps(course.array[-1], *start.sizes, tolerance=1.0)
    return np.array([*now.to_series(), lowest, left, np.nan])
