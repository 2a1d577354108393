"""The published results by name, each loaded when it is asked for."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from predictlearn.checks import positive, positive_int
from predictlearn.errors import choice
from predictlearn.published.result import Published, Reproduced

__all__ = ["published", "published_names", "reproduce"]

# In the order of the paper; each module has its result as RESULT.
_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "theory-and-network": "theory_and_network",
        "equivalent-networks": "equivalent_networks",
        "aba": "aba.result",
        "flip-flop": "flip_flop.result",
        "twin-history": "twin_history.result",
        "metric": "metric",
        "damped-oscillation": "damped_oscillation",
    }
)


def published_names() -> tuple[str, ...]:
    """Return the names of the published results, in the order of the paper.

    Examples
    --------
    >>> published_names()[0]
    'theory-and-network'
    """
    return tuple(_MODULES)


def published(name: str) -> Published:
    """Return a published result by name.

    Parameters
    ----------
    name : str
        One of `published_names`.

    Returns
    -------
    Published
        The result: what is claimed, and how to rebuild it.

    Raises
    ------
    InputError
        If there is no such result; the message names the nearest.

    Examples
    --------
    >>> published("aba").protocols[0]
    'published-aba'
    """
    choice("figure", name, _MODULES)
    module = importlib.import_module(f"predictlearn.published.{_MODULES[name]}")
    result: Published = module.RESULT
    return result


def reproduce(
    name: str,
    *,
    seed: int = 0,
    n_jobs: int = 1,
    scale: float = 1.0,
    folder: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
    jobs: int | None = None,
) -> Reproduced:
    """Rebuild a published result from the protocols that ship.

    Parameters
    ----------
    name : str
        One of `published_names`.
    seed : int, default 0
        Seed of everything random.
    n_jobs : int, default 1
        Processes for what runs in parallel.
    scale : float, default 1.0
        Multiplies the epochs of every phase, for a quick look; what then cannot be decided has the
        verdict "undecided".
    folder : path, optional
        Where finished networks are kept, so that an interrupted run goes on from there.
    progress : callable, optional
        Called with the name of each stage as it begins.
    jobs : int, optional
        Deprecated: use ``n_jobs``.

    Returns
    -------
    Reproduced
        Figures, the numbers that decide the result, findings, and tables.

    Raises
    ------
    InputError
        If the name or a setting is wrong.

    Examples
    --------
    >>> reproduce("metrik")
    Traceback (most recent call last):
    ...
    predictlearn.errors.InputError: figure must be one of 'theory-and-network',
    'equivalent-networks', 'aba', 'flip-flop', 'twin-history', 'metric', 'damped-oscillation';
    got 'metrik'. Did you mean 'metric'?
    """
    result = published(name)
    if jobs is not None:
        warnings.warn(
            "jobs goes with the next version; use n_jobs", DeprecationWarning, stacklevel=2
        )
        n_jobs = jobs
    return result.run(
        seed=positive_int("seed", seed, minimum=0),
        n_jobs=positive_int("n_jobs", n_jobs),
        scale=positive("scale", scale),
        folder=None if folder is None else Path(folder),
        progress=progress,
    )
