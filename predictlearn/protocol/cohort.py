"""The networks that a protocol starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from predictlearn.behaviour.distributions import as_distribution
from predictlearn.doors import room
from predictlearn.errors import InputError
from predictlearn.protocol.schema import ArmSpec, CohortSpec, DistributionSpec
from predictlearn.theory.equivalence.equivalent import functionally_equivalent
from predictlearn.theory.names import PATHWAYS
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.sizes import Sizes

__all__ = ["arm_start", "base_table", "draw_start"]

# Norms of the published twin cohort.
_NORMS = (0.5, 2.0)


def base_table(values: Mapping[str, float], sizes: Sizes) -> np.ndarray:
    """Return the matrix with the named overlaps; unnamed norms are 1, other unnamed ones 0."""
    pairs = sizes.pairs
    matrix = np.eye(sizes.dim)
    for name, value in values.items():
        i, j = pairs[name]
        matrix[i, j] = matrix[j, i] = value
    return matrix


def _absolute_normal(spec: DistributionSpec, sizes: Sizes, rng: np.random.Generator) -> np.ndarray:
    """Draw cross overlaps |Normal(0, cross_sd)| and norms Uniform(low, high)."""
    dim = sizes.dim
    upper = np.triu(np.abs(rng.normal(0.0, spec.cross_sd, size=(dim, dim))), 1)
    given = spec.norms
    low, high = (given, given) if isinstance(given, float) else _NORMS
    if isinstance(given, list):
        low, high = given
    return upper + upper.T + np.diag(rng.uniform(low, high, size=dim))


def _random_loadings(spec: DistributionSpec, sizes: Sizes, rng: np.random.Generator) -> np.ndarray:
    """Draw the overlaps of independent normal loadings, scaled to the given norms if asked."""
    dim = sizes.dim
    n = spec.n_neurons or dim
    if n < dim:
        raise InputError(f"n_neurons must be at least {dim}, the number of loadings; got {n}.")
    room(f"the loadings of {n} neurons", 16.0 * n * dim)
    theta = rng.standard_normal((n, dim))
    matrix = theta.T @ theta / n
    norms = dict.fromkeys(PATHWAYS, spec.norms) if isinstance(spec.norms, float) else spec.norms
    if isinstance(norms, dict):
        # per pathway: the mean squared norm over its columns, so Frobenius norms are exact
        for pathway, part in sizes.slices.items():
            if pathway in norms:
                scale = np.sqrt(norms[pathway] / np.mean(np.diag(matrix)[part]))
                matrix[part] *= scale
                matrix[:, part] *= scale
    return matrix


def _around(spec: CohortSpec, sizes: Sizes, rng: np.random.Generator) -> np.ndarray:
    """Draw normal deviations of the given spread around the given overlaps."""
    matrix = base_table(spec.overlaps or {}, sizes)
    for name in sizes.names:
        deviation = rng.standard_normal()
        spread = spec.spread.get(name, 0.0) if isinstance(spec.spread, dict) else spec.spread
        i, j = sizes.pairs[name]
        matrix[i, j] = matrix[j, i] = matrix[i, j] + spread * deviation
    return matrix


def _sampler(spec: CohortSpec, sizes: Sizes) -> Callable[[np.random.Generator], np.ndarray]:
    """Return the function that draws one table of overlaps, realisable or not."""
    if spec.distribution is None:
        return lambda rng: _around(spec, sizes, rng)
    draw = {"absolute-normal": _absolute_normal, "random-loadings": _random_loadings}
    distribution = spec.distribution
    return lambda rng: draw[distribution.type](distribution, sizes, rng)


def _with_own(
    matrix: np.ndarray, own: Mapping[str, Any], sizes: Sizes, rng: np.random.Generator
) -> np.ndarray:
    """Return a table of overlaps with those that every animal draws for itself put in place."""
    for name, distribution in own.items():
        i, j = sizes.pairs[name]
        value = float(as_distribution(name, distribution).rvs(random_state=rng))
        matrix[i, j] = matrix[j, i] = value
    return matrix


def arm_start(start: Overlaps, arm: ArmSpec, nonlinearity: str) -> Overlaps:
    """Return where an arm starts: the network, or its functional equivalent.

    Parameters
    ----------
    start : Overlaps
        The cohort's network.
    arm : ArmSpec
        Its ``start`` sets loss-invisible overlaps, its ``start_change`` adds to them.
    nonlinearity : {"linear", "erf"}
        Decides which overlaps are loss-invisible.

    Returns
    -------
    Overlaps
        Same loss-visible overlaps.

    Raises
    ------
    InputError
        If an overlap is loss-visible, or the equivalent is not realisable.
    """
    values = dict(arm.start) | {
        name: start[name] + change for name, change in arm.start_change.items()
    }
    return functionally_equivalent(start, nonlinearity, **values) if values else start


def draw_start(
    spec: CohortSpec,
    arms: Mapping[str, ArmSpec],
    sizes: Sizes,
    nonlinearity: str,
    rng: np.random.Generator,
) -> Overlaps:
    """Draw one network of the cohort.

    A draw is kept only if it is positive semidefinite and every arm can start from it.

    Parameters
    ----------
    spec : CohortSpec
        The cohort.
    arms : mapping of str to ArmSpec
        The arms.
    sizes : (int, int, int)
        Numbers of inputs, recurrent dimensions and outputs.
    nonlinearity : {"linear", "erf"}
        Decides which overlaps are loss-invisible.
    rng : numpy.random.Generator
        The network's own source of randomness.

    Returns
    -------
    Overlaps
        The network.

    Raises
    ------
    InputError
        If none of ``max_draws`` draws is realisable.
    """
    draw = _sampler(spec, sizes)
    own = {} if spec.animals is None else spec.animals.start
    is_random = spec.distribution is not None or spec.spread not in (0.0, {})
    is_random = is_random or any(isinstance(value, dict) for value in own.values())
    refusal = ""
    for _ in range(spec.max_draws if is_random else 1):
        try:
            start = Overlaps(_with_own(draw(rng), own, sizes, rng), *sizes)
        except InputError as error:
            refusal = f"the overlaps are not realisable: {error}"
            continue
        try:
            for name, arm in arms.items():
                refusal = f"arm {name!r} cannot start from it: "
                arm_start(start, arm, nonlinearity)
        except InputError as error:
            refusal += str(error)
            continue
        return start
    if not is_random:
        raise InputError(f"no network has the cohort's overlaps; {refusal}")
    raise InputError(
        f"none of {spec.max_draws} draws gave a network from which every arm can start; "
        f"the last was refused because {refusal} Make the spread or cross_sd smaller, the norms "
        "larger, or max_draws larger."
    )
