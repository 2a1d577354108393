"""Forgetting: what was learned decays towards the start, in a rest, a probe, between sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from predictlearn.theory.loadings import Loadings
from predictlearn.theory.synapses.network import Factors, Synapses, SynapticNetwork

__all__ = ["Forgotten", "fade", "parts_of"]

Forgotten = float | Mapping[str, float]
"""Which part of what was learned is forgotten, of all or by pathway."""


def parts_of(
    network: Loadings | Factors | Synapses | SynapticNetwork,
) -> dict[str, np.ndarray]:
    """Return M, U, V and Z, or M, W and Z, of a network to which forgetting leads back."""
    synaptic = isinstance(network, Synapses | SynapticNetwork)
    return {name: np.array(getattr(network, name)) for name in ("mwz" if synaptic else "muvz")}


def fade(
    network: Loadings | Factors | Synapses | SynapticNetwork,
    start: Mapping[str, np.ndarray],
    forgotten: Forgotten,
    times: float = 1.0,
) -> Any:
    """Return a network after forgetting.

    Parameters
    ----------
    network : Loadings, Factors, Synapses or SynapticNetwork
        The network before.
    start : mapping of str to numpy.ndarray
        The parts of the start, as of `parts_of`, in the same basis.
    forgotten : float or mapping of str to float
        f, the part that is forgotten, from 0 to 1; by pathway (m, u, v, z, or m, w, z of synapses)
        those that are not named forget nothing.
    times : float, default 1
        n, how often.

    Returns
    -------
    Loadings, Factors, Synapses or SynapticNetwork
        The network after, its feedback as it was.

    Notes
    -----
    Every loading, or synapse, moves back along the straight line to where it started::

        theta <- theta_0 + (1 - f)^n (theta - theta_0)

    Examples
    --------
    >>> import predictlearn as pl
    >>> start = pl.Factors.from_overlaps(pl.Overlaps(np.eye(4)))
    >>> learned = replace(start, z=start.z + 0.4 * start.m)
    >>> [round(fade(learned, parts_of(start), f).overlaps["zm"], 12) for f in (0.0, 0.25, 1.0)]
    [0.4, 0.3, 0.0]
    """
    synaptic = isinstance(network, Synapses | SynapticNetwork)
    parts: dict[str, Any] = {}
    for name in "mwz" if synaptic else "muvz":
        part = forgotten.get(name, 0.0) if isinstance(forgotten, Mapping) else forgotten
        if not part:
            continue
        now = getattr(network, name)
        before = _start(start, name, now.shape, isinstance(network, SynapticNetwork))
        parts[name] = before + (1.0 - part) ** times * (now - before)
    if isinstance(network, Loadings):
        whole = {name: getattr(network, name) for name in "muvz"}
        return Loadings(**{**whole, **parts})
    return replace(network, **parts)


def _start(
    start: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], on_neurons: bool
) -> np.ndarray:
    """Return one part of the start, with the dimensions that the span has got since."""
    if name == "w" and "w" not in start:
        before = start["u"] @ start["v"].T / (len(start["u"]) if on_neurons else 1)
    else:
        before = start[name]
    return np.pad(before, [(0, now - was) for now, was in zip(shape, before.shape, strict=True)])
