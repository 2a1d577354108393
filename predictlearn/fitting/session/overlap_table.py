"""From fitted dynamics and loadings to overlaps, in the canonical gauge and free of gauge."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from predictlearn.arrays import Array
from predictlearn.theory.gauge import SYMMETRIC, canonical_transform, invariant_entries
from predictlearn.theory.names import overlap_names, table_pairs

__all__ = [
    "Raw",
    "canonical",
    "interval_table",
    "invariants",
    "named",
    "never_negative",
    "unseen_reasons",
]


@dataclass(frozen=True, eq=False)
class Raw:
    """The blocks of S that a recording gives, in some gauge; NaN where it cannot see them.

    Parameters
    ----------
    vm, vu : ndarray, shapes (rank, n_in), (rank, rank)
        Dynamics.
    bb : ndarray, shape (n_in + rank, n_in + rank)
        The (m, u) block.
    zb : ndarray, shape (n_out, n_in + rank)
        Overlaps of the readout with m and u.
    zz : ndarray, shape (n_out, n_out)
        Overlaps of the readout with itself.
    times : tuple of float
        tau and latency, seconds.
    """

    vm: Array
    vu: Array
    bb: Array
    zb: Array
    zz: Array
    times: tuple[float, float]

    def in_gauge(self, q: Array) -> Raw:
        """Return the blocks after U -> U Q, V -> V Q^-T."""
        inverse = np.linalg.inv(q)
        n_in = self.vm.shape[1]
        base = np.eye(len(self.bb))
        base[n_in:, n_in:] = q
        return Raw(
            inverse @ self.vm,
            inverse @ self.vu @ q,
            base.T @ self.bb @ base,
            self.zb @ base,
            self.zz,
            self.times,
        )

    def matrix(self) -> Array:
        """Return S in the order m, u, v, z, NaN where unseen."""
        n_in, rank, n_out = self.vm.shape[1], len(self.vm), len(self.zb)
        base = n_in + rank
        s = np.full((base + rank + n_out, base + rank + n_out), np.nan)
        s[:base, :base] = self.bb
        drive = np.concatenate([self.vm, self.vu], axis=1)
        v, z = slice(base, base + rank), slice(base + rank, None)
        s[v, :base], s[:base, v] = drive, drive.T
        s[z, :base], s[:base, z] = self.zb, self.zb.T
        s[z, z] = self.zz
        return s


def canonical(raw: Raw) -> tuple[Raw, Array]:
    """Bring to the canonical gauge: U^T U / N = I, axes by the Krylov sequence of the inputs.

    Parameters
    ----------
    raw : Raw
        In any gauge.

    Returns
    -------
    tuple of Raw and ndarray
        In the canonical gauge, and the Q (rank, rank) that leads there.
    """
    n_in = raw.vm.shape[1]
    q = canonical_transform(raw.bb[n_in:, n_in:], raw.vm, raw.vu)
    return raw.in_gauge(q), q


def named(raw: Raw) -> dict[str, float]:
    """Return every overlap by name, in table order, NaN where unseen."""
    s = raw.matrix()
    pairs = table_pairs(raw.vm.shape[1], len(raw.vm), len(raw.zb))
    return {name: float(s[i, j]) for name, (i, j) in pairs.items()}


def invariants(raw: Raw) -> dict[str, float]:
    """Return the combinations that do not depend on the gauge and that the recording sees."""
    n_in, rank, n_out = raw.vm.shape[1], len(raw.vm), len(raw.zb)
    blocks = {
        "zm": raw.zb[:, :n_in],
        "zu": raw.zb[:, n_in:],
        "vm": raw.vm,
        "vu": raw.vu,
        "mu": raw.bb[:n_in, n_in:],
        "mm": raw.bb[:n_in, :n_in],
        "uu": raw.bb[n_in:, n_in:],
        "zz": raw.zz,
        "zv": np.full((n_out, rank), np.nan),
        "vv": np.full((rank, rank), np.nan),
    }
    return {name: value for name, value in invariant_entries(blocks).items() if np.isfinite(value)}


def never_negative(names: Collection[str]) -> set[str]:
    """Return the names, of overlaps or invariants, of what is never negative.

    Squared norms, and the overlap of the first v with the first input, whose sign the gauge fixes.

    Examples
    --------
    >>> sorted(never_negative(["zm", "vm", "m1m2", "m2m2", "mm[1,2]", "vm*uu*vm[2,2]"]))
    ['m2m2', 'vm', 'vm*uu*vm[2,2]']
    """
    out = {name for name in names if name in ("vm", "vm1", "v1m", "v1m1")}
    for name in names:
        product, _, indices = name.partition("[")
        if product in SYMMETRIC:
            row, _, column = indices.rstrip("]").partition(",")
            out |= {name} if row == column or not indices else set()
        elif "*" not in name and name[: len(name) // 2] == name[len(name) // 2 :]:
            out.add(name)
    return out


def interval_table(
    estimate: dict[str, float],
    draws: list[dict[str, float]],
    level: float,
    degrees: int,
    positive: Collection[str] = (),
) -> pd.DataFrame:
    """Turn replicates into intervals.

    Parameters
    ----------
    estimate : dict of str to float
        Estimates; NaN where unseen.
    draws : list of dict
        The same from every replicate.
    level : float
        Coverage, such as 0.95.
    degrees : int
        Degrees of freedom of the t quantile.
    positive : collection of str
        Names of what is never negative, such as squares; nor are the ends of their intervals.

    Returns
    -------
    DataFrame
        Index the names; columns low, high, estimate, sd.
    """
    quantile = float(stdtrit(max(degrees, 1), 0.5 + level / 2))
    centre = np.array(list(estimate.values()), dtype=float)
    sd = np.full(len(centre), np.nan)
    if len(draws) > 1:
        sd = np.array([[draw[name] for name in estimate] for draw in draws]).std(axis=0, ddof=1)
    low, high = centre - quantile * sd, centre + quantile * sd
    for i, name in enumerate(estimate):
        if name in positive:
            low[i], high[i] = _around_positive(centre[i], quantile * sd[i])
    return pd.DataFrame({"low": low, "high": high, "estimate": centre, "sd": sd}, list(estimate))


def _around_positive(estimate: float, reach: float) -> tuple[float, float]:
    """Return the ends about what is never negative; NaN where there are none.

    The upper end is that of the logarithm, the lower one of the square root
    (docs/reference/fitting.md says why). Where plain ends would hold zero these do too, the upper
    one going on as a line.
    """
    if reach < estimate:
        return estimate * (1 - reach / (2 * estimate)) ** 2, estimate * np.exp(reach / estimate)
    return 0.0 * reach, estimate + (np.e - 1) * reach


def unseen_reasons(
    n_in: int, rank: int, n_out: int, outputs: bool, readout: bool
) -> dict[str, str]:
    """Say why a recording cannot see an overlap.

    Parameters
    ----------
    n_in, rank, n_out : int
        Sizes.
    outputs, readout : bool
        Whether the outputs or the readout itself were given.

    Returns
    -------
    dict of str to str
        Reason by name of overlap.
    """
    reasons = {}
    for name in overlap_names(n_in, rank, n_out):
        letters = "".join(c for c in name if c.isalpha())
        if letters == "zv":
            reasons[name] = "activity does not depend on it: v acts only through vm and vu"
        elif letters == "vv":
            reasons[name] = "activity does not depend on it: only learning does"
        elif letters == "zz" and not readout:
            reasons[name] = "outputs depend on zm and zu only; give the readout itself to see it"
        elif letters in ("zm", "zu") and not (outputs or readout):
            reasons[name] = "neither outputs nor a readout were given"
    return reasons
