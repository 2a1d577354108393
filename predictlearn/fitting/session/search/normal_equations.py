"""The normal equations of a fit: an arrow, since neurons meet only in theta."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictlearn.arrays import Array

__all__ = ["Blocks", "Outer"]

# What `Blocks.outers` holds of some neurons.
Outer = Array | Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Blocks:
    """The fit at one point: coefficients, residuals and the arrow of normal equations.

    Parameters
    ----------
    phi : ndarray, shape (neurons, p)
        Coefficients.
    inner : ndarray, shape (neurons, p, p)
        J_phi^T J_phi with the ridge.
    shared : bool
        Whether it is the same for all neurons.
    cross : ndarray, shape (neurons, p, q)
        J_phi^T J_theta.
    outers : list of (ndarray of int, ndarray or callable)
        J_theta^T J_theta: neurons, and theirs (neurons, q, q) or, for a linear regression, that of
        dk (n_base, n_base, q, q), from which their loadings make it; or what returns its sum for
        given weights.
    slope_phi, slope_theta : ndarray, shapes (neurons, p), (neurons, q)
        J^T r, less the ridge.
    squares : ndarray, shape (neurons,)
        Sum of squared residuals; for counts -2 log likelihood, less what theta and phi do not move.
    penalty : ndarray, shape (neurons,)
        What the ridge adds to it.
    tilt : ndarray, shape (q, n_base, n_base)
        Regression of dk/dtheta on k: how the regressors turn with theta.
    """

    phi: Array
    inner: Array
    shared: bool
    cross: Array
    outers: list[tuple[npt.NDArray[np.intp], Outer]]
    slope_phi: Array
    slope_theta: Array
    squares: Array
    penalty: Array
    tilt: Array

    def outer(self, weights: Array) -> Array:
        """Return the weighted sum over neurons of J_theta^T J_theta, (q, q)."""
        total = np.zeros((self.slope_theta.shape[1],) * 2)
        for neurons, outer in self.outers:
            w = weights[neurons]
            if callable(outer):
                total += outer(w)
            elif outer.ndim == 4:
                loadings = self.phi[neurons, -outer.shape[0] :]
                total += np.tensordot((loadings * w[:, None]).T @ loadings, outer, axes=2)
            else:
                total += np.tensordot(w, outer, axes=1)
        return total

    @property
    def distinct(self) -> Array:
        """`inner` without its repetitions: (1, p, p) where all neurons share it."""
        return self.inner[:1] if self.shared else self.inner
