"""Accelerated expectation maximisation: squared extrapolation, kept only where it climbs."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from predictlearn.arrays import Array
from predictlearn.fitting.state_space.em import floored, maximise
from predictlearn.fitting.state_space.inputs import (
    InputDesign,
    improve_inputs,
    improve_leak,
    roughness,
    whitened,
)
from predictlearn.fitting.state_space.kalman import (
    Observations,
    Parameters,
    StatePosterior,
    Sums,
    posterior,
)

__all__ = ["Point", "climb", "evaluate", "step"]


class Point(NamedTuple):
    """Parameters with their regressors, sums, posterior and penalised log likelihood."""

    p: Parameters
    f: Array
    sums: Sums
    at: StatePosterior
    value: float


def evaluate(
    p: Parameters,
    data: Observations,
    design: InputDesign,
    weights: Array,
    like: Point | None = None,
) -> Point:
    """Run the smoother; regressors and sums are taken from another point where they are fixed."""
    if like is not None and design.inputs is not None and not design.fit_leak:
        f, sums = like.f, like.sums
    else:
        f = design.regressors(p.inputs, p.leak)
        sums = Sums.of(data, f, weights)
    at = posterior(p, data, f, design.condition, sums)
    return Point(p, f, sums, at, at.log_likelihood - roughness(p, design))


def step(point: Point, data: Observations, design: InputDesign, weights: Array) -> Parameters:
    """Return the parameters after one maximisation: all but inputs and tau, then those."""
    p = maximise(point.p, data, point.f, design.condition, point.at, point.sums)
    if design.inputs is None:
        p = improve_inputs(p, data, design, point.at, weights)
    if design.fit_leak:
        p = improve_leak(p, data, design, point.at, weights)
    return p


def _packed(p: Parameters) -> Array:
    """Return the parameters as one vector without constraints."""
    parts = (
        p.base,
        p.u,
        np.log(p.variance),
        p.step,
        p.drive,
        np.linalg.cholesky(floored(p.noise, 0.0)),
        p.start,
        np.linalg.cholesky(floored(p.start_noise, 0.0)),
        np.log(p.leak),
        p.inputs,
    )
    return np.concatenate([np.ravel(part) for part in parts])


def _unpacked(vector: Array, like: Parameters, design: InputDesign) -> Parameters:
    """Undo `_packed`."""
    at = 0
    parts: dict[str, Array] = {}
    for name in (
        "base", "u", "variance", "step", "drive", "noise", "start", "start_noise", "leak", "inputs",
    ):  # fmt: skip
        shape = np.shape(getattr(like, name))
        size = int(np.prod(shape))
        parts[name] = vector[at : at + size].reshape(shape)
        at += size
    leak = float(np.exp(parts["leak"])) if design.fit_leak else like.leak
    new = replace(
        like,
        base=parts["base"],
        u=parts["u"],
        variance=np.exp(parts["variance"]),
        step=parts["step"],
        drive=parts["drive"],
        noise=parts["noise"] @ parts["noise"].T,
        start=parts["start"],
        start_noise=parts["start_noise"] @ parts["start_noise"].T,
        leak=min(leak, 1.98),
        inputs=parts["inputs"],
    )
    return whitened(new, design)


def _tried(
    vector: Array, like: Parameters, first: Point, data: Observations, design: InputDesign
) -> Point | None:
    """Return the point of an extrapolation, None where it is none of the model's."""
    try:
        return evaluate(_unpacked(vector, like, design), data, design, first.sums.weights, first)
    except np.linalg.LinAlgError:
        return None


def climb(
    p: Parameters,
    data: Observations,
    design: InputDesign,
    weights: Array,
    max_iter: int,
    tol: float,
) -> tuple[Point, list[float], bool]:
    """Maximise the (penalised) log likelihood, until a plain step raises it by less than tol.

    Two steps of expectation maximisation and one extrapolation of them (Varadhan and Roland,
    2008, their third step length), which is dropped where it does not climb.

    Parameters
    ----------
    p : Parameters
        Start.
    data : Observations
        Observations.
    design : InputDesign
        Inputs.
    weights : ndarray, shape (trials,)
        Weights of the trials.
    max_iter : int
        Most steps of expectation maximisation.
    tol : float
        In units of log likelihood.

    Returns
    -------
    tuple
        Point, penalised log likelihood along the way, whether it converged.

    Raises
    ------
    FloatingPointError
        A likelihood that is not finite.
    """
    point = evaluate(p, data, design, weights)
    if not np.isfinite(point.value):
        raise FloatingPointError("the likelihood of the start is not finite")
    course, limit, taken = [point.value], 4.0, 0
    while taken < max_iter:
        first = evaluate(step(point, data, design, weights), data, design, weights, point)
        if not np.isfinite(first.value):
            raise FloatingPointError("the likelihood is not finite")
        course.append(first.value)
        taken += 1
        if first.value - point.value < tol:
            return first, course, True
        if taken == max_iter:
            return first, course, False
        plain = step(first, data, design, weights)
        taken += 1
        start, middle, end = _packed(point.p), _packed(first.p), _packed(plain)
        r, v = middle - start, end - 2 * middle + start
        length = min(float(np.linalg.norm(r)) / max(float(np.linalg.norm(v)), 1e-300), limit)
        found = None
        if length > 1.01:
            with np.errstate(all="ignore"):
                found = _tried(start + 2 * length * r + length**2 * v, plain, first, data, design)
        if found is not None and np.isfinite(found.value) and found.value >= first.value:
            limit = 4 * limit if length == limit else limit
            point = found
        else:
            limit = max(limit / 4, 1.0) if found is not None else limit
            point = evaluate(plain, data, design, weights, first)
        course.append(point.value)
        limit = max(limit, 2.0)
    return point, course, False
