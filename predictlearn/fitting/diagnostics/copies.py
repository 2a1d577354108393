"""Units that other units give exactly: stored twice, scaled, or summed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictlearn.arrays import Array
from predictlearn.fitting.session.pieces import pieces

__all__ = ["Copy", "copied_units", "told"]


# Share of a unit's variance that may be left over and it still counts as given by others: far below
# the noise of a neuron (a copy with a spike lost here and there); where activity has no noise, the
# rounding of single precision.
_NEARLY, _EXACT = 1e-3, 1e-6


@dataclass(frozen=True)
class Copy:
    """A unit that earlier units give exactly.

    Parameters
    ----------
    unit : int
        The unit.
    of : tuple of int
        The earlier units that it is made of.
    weights : tuple of float
        How much of each.
    """

    unit: int
    of: tuple[int, ...]
    weights: tuple[float, ...]

    def __str__(self) -> str:
        """Say it, such as "unit 3 is 2 x unit 1"."""
        if len(self.of) > 4:
            return f"unit {self.unit} is a sum of {len(self.of)} others"
        parts = [
            f"unit {i}" if abs(w - 1) < 0.01 else f"{w:.3g} x unit {i}"
            for i, w in zip(self.of, self.weights, strict=True)
        ]
        return f"unit {self.unit} is {' + '.join(parts)}"


def copied_units(activity: Array, offset: bool = True, few: int = 0) -> list[Copy]:
    """Find units that are copies, multiples or sums of earlier ones.

    Parameters
    ----------
    activity : ndarray, shape (trials, time, neurons)
        Activity, NaN where missing. Multiples are found wherever both units were seen, sums on
        bins without a gap.
    offset : bool
        Whether units may differ by a constant.
    few : int
        Where no more than this many units, or fewer than half, would be left, the recording is
        low-dimensional without noise and sums are no copies: only multiples are looked for.

    Returns
    -------
    list of Copy
        By unit; the first of several equal units is never among them.

    Examples
    --------
    >>> y = np.random.default_rng(0).normal(size=(10, 20, 4))
    >>> y[:, :, 3] = 2 * y[:, :, 1]
    >>> [str(copy) for copy in copied_units(y)]
    ['unit 3 is 2 x unit 1']
    """
    flat = activity.reshape(-1, activity.shape[2])
    rows = pieces(*flat.shape)
    n = sum((~np.isnan(flat[some])).sum(axis=0) for some in rows).astype(float)
    mean = np.zeros(flat.shape[1])
    if offset:
        mean = sum(np.nansum(flat[some], axis=0) for some in rows) / np.maximum(n, 1.0)
    scale = sum(np.nansum((flat[some] - mean) ** 2, axis=0) for some in rows)
    scale = np.sqrt(np.maximum(scale, 1e-300))
    together, cross, power, total = np.zeros((4, *mean.shape, *mean.shape))
    for some in rows:
        filled, there = _filled(flat[some], mean, scale)
        cross += filled.T @ filled
        if there is None:
            together += len(filled)
            power += (filled**2).sum(axis=0)[:, None]
            total += filled.sum(axis=0)[:, None]
        else:
            together += there.T @ there
            power += (filled**2).T @ there
            total += filled.T @ there
    if offset:  # about the means of the bins in which both were seen
        cross = cross - total * total.T / np.maximum(together, 1.0)
        power = power - total**2 / np.maximum(together, 1.0)
    agreement = cross / np.sqrt(np.maximum(power * power.T, 1e-300))
    values, vectors = np.linalg.eigh(agreement)
    own = 1 / np.maximum((vectors**2) @ (1 / np.maximum(values, 1e-12)), 1e-300)
    limit = _NEARLY if np.median(own) > 10 * _NEARLY else _EXACT
    found: dict[int, Copy] = {}
    # a pair seen together in hardly any bin says nothing
    same = (1 - agreement**2 < limit) & (together > 3) & (np.minimum(power, power.T) > 1e-3)
    for j in range(1, len(cross)):
        for i in np.flatnonzero(same[j, :j]):
            if int(i) not in found:
                weight = cross[j, i] / power[i, j] * scale[j] / scale[i]
                found[j] = Copy(j, (int(i),), (float(weight),))
                break
    sums = _sums(flat, mean, scale, found, limit)
    left = flat.shape[1] - len(found) - len(sums)
    if left > few and 2 * left >= flat.shape[1]:
        found |= sums
    return [found[j] for j in sorted(found)]


def _filled(flat: Array, mean: Array, scale: Array) -> tuple[Array, Array | None]:
    """Return standardised activity, 0 where missing, and 1 where seen; None where it all was."""
    seen = ~np.isnan(flat)
    if seen.all():
        return (flat - mean) / scale, None
    there = seen.astype(float)
    return np.where(seen, (flat - mean) / scale, 0.0), there


def _sums(
    flat: Array, mean: Array, scale: Array, found: dict[int, Copy], limit: float
) -> dict[int, Copy]:
    """Return the units that several earlier ones give, on bins where all were seen."""
    ids = np.array([j for j in range(len(scale)) if j not in found])
    gram, n = np.zeros((len(ids), len(ids))), 0
    for some in pieces(*flat.shape):
        part = flat[some] if len(ids) == flat.shape[1] else flat[some][:, ids]
        whole = ~np.isnan(part).any(axis=1)
        part = ((part if whole.all() else part[whole]) - mean[ids]) / scale[ids]
        gram += part.T @ part
        n += len(part)
    if n <= len(ids) + 10:
        return {}
    size = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    gram = gram / np.outer(size, size)
    if np.linalg.eigvalsh(gram)[0] > limit:
        return {}
    out: dict[int, Copy] = {}
    left = gram.copy()
    kept: list[int] = []
    for j in range(len(ids)):
        if left[j, j] < limit:
            solved = np.linalg.lstsq(gram[np.ix_(kept, kept)], gram[kept, j], rcond=None)[0]
            big = np.flatnonzero(np.abs(solved) > 0.05)
            weights = solved[big] * size[j] / size[np.array(kept)[big]]
            weights = weights * scale[ids[j]] / scale[ids[np.array(kept)[big]]]
            members = tuple(int(ids[kept[b]]) for b in big)
            out[int(ids[j])] = Copy(int(ids[j]), members, tuple(map(float, weights)))
        else:
            kept.append(j)
            column = left[:, j] / np.sqrt(left[j, j])
            left = left - np.outer(column, column)
    return out


def told(copies: list[Copy], most: int = 5) -> str:
    """Return them in words, the first few."""
    more = f"; and {len(copies) - most} more" if len(copies) > most else ""
    return "; ".join(str(copy) for copy in copies[:most]) + more
