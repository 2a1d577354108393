"""Linear mixed models by restricted likelihood, with degrees of freedom for few animals.

The model is y = X beta + sum_k Z_k b_k + e, b_k ~ N(0, tau_k I), e ~ N(0, sigma^2 W^-1). The
profiled restricted likelihood is that of Bates et al. (2015, J Stat Softw 67(1)); degrees of
freedom are Satterthwaite's, from the expected information (Giesbrecht & Burns 1985, as in
Kuznetsova et al. 2017). statsmodels' MixedLM has the same estimates (a test compares) but normal
p values only, which with few animals are too small, and takes some five times as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from predictlearn.arrays import Array

__all__ = [
    "Block",
    "ProductMoments",
    "VarianceFit",
    "fit_variances",
    "moments_of",
    "search_ratios",
    "solve_at",
]

# Logarithm of tau / sigma^2: the search goes no further.
_LOWEST, _HIGHEST, _FLAT = -14.0, 14.0, -6.0


@dataclass(frozen=True)
class Block:
    """One random effect: a level for each row, and a number that it multiplies.

    Parameters
    ----------
    name : str
        Its name.
    codes : numpy.ndarray of int, (rows,)
        Level of each row.
    n : int
        Number of levels.
    slope : numpy.ndarray, (rows,), or None
        What the effect multiplies; None for an intercept.
    """

    name: str
    codes: np.ndarray
    n: int
    slope: Array | None = None


@dataclass(frozen=True)
class ProductMoments:
    """Weighted products of a design, all that the restricted likelihood needs.

    Parameters
    ----------
    zz, zx, zy, xx, xy, yy : numpy.ndarray
        Z'WZ, Z'WX, Z'Wy, X'WX, X'Wy and y'Wy.
    column : numpy.ndarray of int, (columns of Z,)
        Which block each column belongs to.
    n_rows, n_blocks : int
        Rows, and blocks.
    """

    zz: Array
    zx: Array
    zy: Array
    xx: Array
    xy: Array
    yy: float
    column: np.ndarray
    n_rows: int
    n_blocks: int


@dataclass(frozen=True)
class VarianceFit:
    """A fitted mixed model.

    Parameters
    ----------
    beta : numpy.ndarray, (terms,)
        Fixed effects.
    covariance : numpy.ndarray, (terms, terms)
        Their covariance.
    df : numpy.ndarray, (terms,)
        Satterthwaite's degrees of freedom of each.
    tau : numpy.ndarray, (blocks,)
        Variance of each random effect; exactly zero on the boundary.
    sigma2 : float
        Residual variance (1 where it is fixed by the weights).
    effects : numpy.ndarray, (columns of Z,)
        Predicted random effects.
    deviance : float
        -2 log restricted likelihood.
    converged : bool
        Whether the search ended at a minimum.
    """

    beta: Array
    covariance: Array
    df: Array
    tau: Array
    sigma2: float
    effects: Array
    deviance: float
    converged: bool


def moments_of(
    x: Array, y: Array, blocks: Sequence[Block], weights: Array | None = None
) -> ProductMoments:
    """Return the weighted products of a design.

    Parameters
    ----------
    x : numpy.ndarray, (rows, terms)
        Fixed part.
    y : numpy.ndarray, (rows,)
        Outcome.
    blocks : sequence of Block
        Random part, at least one.
    weights : numpy.ndarray, (rows,), optional
        Inverse residual variances, up to a factor.

    Returns
    -------
    ProductMoments
        The products.
    """
    w = np.ones(y.size) if weights is None else weights
    wx, wy = x * w[:, None], y * w
    scaled = [w if block.slope is None else w * block.slope for block in blocks]
    zx = [
        np.column_stack(
            [np.bincount(block.codes, each * column, minlength=block.n) for column in x.T]
        )
        for block, each in zip(blocks, scaled, strict=True)
    ]
    zy = [
        np.bincount(block.codes, each * y, minlength=block.n)
        for block, each in zip(blocks, scaled, strict=True)
    ]
    edges = np.cumsum([0, *(block.n for block in blocks)])
    zz = np.zeros((edges[-1], edges[-1]))
    for k, (one, each) in enumerate(zip(blocks, scaled, strict=True)):
        for j, other in enumerate(blocks[: k + 1]):
            values = each if other.slope is None else each * other.slope
            cell = np.bincount(one.codes * other.n + other.codes, values, one.n * other.n)
            part = cell.reshape(one.n, other.n)
            zz[edges[k] : edges[k + 1], edges[j] : edges[j + 1]] = part
            zz[edges[j] : edges[j + 1], edges[k] : edges[k + 1]] = part.T
    return ProductMoments(
        zz,
        np.concatenate(zx),
        np.concatenate(zy),
        x.T @ wx,
        x.T @ wy,
        float(y @ wy),
        np.repeat(np.arange(len(blocks)), [block.n for block in blocks]),
        y.size,
        len(blocks),
    )


@dataclass(frozen=True)
class _Solved:
    """The model solved at given ratios of variances."""

    deviance: float
    beta: Array
    squares: float
    factor: Array
    reduced: Array
    root: Array


def _solve(m: ProductMoments, ratio: Array, fixed: float | None) -> _Solved:
    """Solve the penalised least squares at ratios tau / sigma^2."""
    scale = np.sqrt(ratio)[m.column]
    a = scale[:, None] * m.zz * scale
    a[np.diag_indices_from(a)] += 1.0
    # LAPACK itself: of matrices this small scipy's checks take most of the time
    factor, side = np.linalg.cholesky(a), np.column_stack([m.zx, m.zy]) * scale[:, None]
    side = linalg.lapack.dtrtrs(factor, side, lower=1)[0]
    rzx, cu = side[:, :-1], side[:, -1]
    reduced = m.xx - rzx.T @ rzx
    root = np.linalg.cholesky(reduced)
    half = linalg.lapack.dtrtrs(root, m.xy - rzx.T @ cu, lower=1)[0]
    beta = linalg.lapack.dtrtrs(root, half, lower=1, trans=1)[0]
    squares = max(m.yy - float(cu @ cu) - float(half @ half), 1e-300)
    logs = 2 * float(np.log(np.diag(factor)).sum() + np.log(np.diag(root)).sum())
    left = m.n_rows - beta.size
    if fixed is None:
        deviance = logs + left * (1 + math.log(2 * math.pi * squares / left))
    else:
        deviance = logs + left * math.log(2 * math.pi * fixed) + squares / fixed
    return _Solved(deviance, beta, squares, factor, reduced, root)


class _Deviance:
    """The deviance and its slopes as functions of ratios of variances.

    Products within one random effect are diagonal, so that the effect with most levels is taken out
    without a matrix of its size; what is left of the others, of X and of y, bordered, has a factor
    that holds the logarithms and the squares.
    """

    def __init__(self, m: ProductMoments, fixed: float | None) -> None:
        self.fixed, self.n, self.p = fixed, np.bincount(m.column), m.xx.shape[0]
        self.big = int(np.argmax(self.n))
        inner = m.column == self.big
        self.column = m.column[~inner]
        self.q = self.column.size
        self.left = m.n_rows - self.p
        self.weight = np.diagonal(m.zz)[inner].copy()
        self.side = np.column_stack([m.zz[np.ix_(inner, ~inner)], m.zx[inner], m.zy[inner]])
        zx, zy = m.zx[~inner], m.zy[~inner, None]
        self.whole = np.block(
            [
                [m.zz[np.ix_(~inner, ~inner)], zx, zy],
                [zx.T, m.xx, m.xy[:, None]],
                [zy.T, m.xy[None], np.array([[m.yy]])],
            ]
        )
        self.whole[-1, -1] *= 1 + 1e-13  # rounding of data without residuals

    def _factor(self, ratio: Array) -> tuple[Array, Array, Array]:
        """Return the factor, its scale, and 1 + ratio * weight of the effect taken out."""
        a = 1.0 + ratio[self.big] * self.weight
        part = self.whole - self.side.T @ (self.side * (ratio[self.big] / a)[:, None])
        scale = np.ones(len(part))
        if self.q:
            scale[: self.q] = np.sqrt(ratio[self.column])
            part *= scale[:, None] * scale
            part[range(self.q), range(self.q)] += 1.0
        return np.linalg.cholesky(part), scale, a

    def _value(self, root: Array, a: Array) -> tuple[float, float]:
        """Return the deviance, and by how much it changes with the squares."""
        diagonal = np.diagonal(root)
        squares = float(diagonal[-1]) ** 2
        logs = float(np.log(a).sum() + 2 * np.log(diagonal[:-1]).sum())
        if self.fixed is None:
            value = logs + self.left * (1 + math.log(2 * math.pi * squares / self.left))
            return value, self.left / squares
        value = logs + self.left * math.log(2 * math.pi * self.fixed) + squares / self.fixed
        return value, 1 / self.fixed

    def __call__(self, ratio: Array) -> float:
        """Return the deviance."""
        root, _, a = self._factor(ratio)
        return self._value(root, a)[0]

    def with_slopes(self, logs: Array) -> tuple[float, Array]:
        """Return the deviance and its derivatives by logarithms of the ratios.

        With J the penalised products of Z and X, and u the effects in units of their sd, that of
        effect k is n_k - sum_k diag(J^-1) - u_k'u_k d deviance / d squares.
        """
        ratio = np.exp(logs)
        root, scale, a = self._factor(ratio)
        value, by_squares = self._value(root, a)
        inverse = linalg.lapack.dtrtri(root[:-1, :-1], lower=1)[0]
        solved = inverse.T @ root[-1, :-1]
        side = self.side * scale
        r = ratio[self.big]
        within = 1 / a + r / a**2 * ((side[:, :-1] @ inverse.T) ** 2).sum(1)
        own = math.sqrt(r) / a * (side[:, -1] - side[:, :-1] @ solved)
        slopes = np.empty(self.n.size)
        slopes[self.big] = within.sum() + by_squares * float(own @ own)
        if self.q:
            pulled = (inverse[:, : self.q] ** 2).sum(0) + by_squares * solved[: self.q] ** 2
            others = np.bincount(self.column, pulled, minlength=self.n.size)
            slopes = np.where(np.arange(self.n.size) == self.big, slopes, others)
        return value, self.n - slopes


def search_ratios(
    m: ProductMoments, fixed: float | None, near: Array | None = None
) -> tuple[Array, bool]:
    """Return the ratios tau / sigma^2 at which the restricted likelihood is highest.

    Parameters
    ----------
    m : ProductMoments
        Products of the design.
    fixed : float or None
        Residual variance, where it is known.
    near : numpy.ndarray, (blocks,), optional
        Ratios to begin from.

    Returns
    -------
    ratios : numpy.ndarray, (blocks,)
        Exactly zero on the boundary.
    converged : bool
        Whether the search ended at a minimum.
    """
    deviance = _Deviance(m, fixed)

    def at(logs: Array) -> float:
        return deviance(np.exp(logs))

    begin = None if near is None else np.log(np.clip(near, 1e-4, 1e4))
    if m.n_blocks == 1:
        if begin is not None:
            low, high = float(begin[0]) - 1.0, float(begin[0]) + 1.0
        else:
            # a coarse look first: the bracket may hold a flat end
            grid = np.linspace(-9.0, 9.0, 7)
            best = float(grid[int(np.argmin([at(np.array([g])) for g in grid]))])
            low, high = max(best - 3.0, _LOWEST), min(best + 3.0, _HIGHEST)
        one = optimize.minimize_scalar(
            lambda g: at(np.array([g])),
            bounds=(low, high),
            method="bounded",
            options={"xatol": 1e-5},
        )
        ratio, converged = np.array([math.exp(one.x)]), bool(one.success)
    else:
        start = np.zeros(m.n_blocks) if begin is None else begin
        found = [
            optimize.minimize(
                deviance.with_slopes,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=[(_LOWEST, _HIGHEST)] * m.n_blocks,
                options={"ftol": 1e-12, "gtol": 1e-5},
            )
        ]
        if found[0].x.min() < _FLAT:
            # far out the likelihood is flat: from nearer by, too
            found += [
                optimize.minimize(
                    deviance.with_slopes,
                    np.maximum(found[0].x, -3.0),
                    jac=True,
                    method="L-BFGS-B",
                    bounds=[(_LOWEST, _HIGHEST)] * m.n_blocks,
                )
            ]
        best_of = min(found, key=lambda one: float(one.fun))
        ratio, converged = np.exp(best_of.x), bool(np.isfinite(best_of.fun))
    # on the boundary: no worse without an effect than with the variance that was found
    for k in np.argsort(ratio):
        without = np.where(np.arange(ratio.size) == k, 0.0, ratio)
        if deviance(without) <= deviance(ratio) + 1e-7:
            ratio = without
    return ratio, converged


def _information(
    m: ProductMoments, solved: _Solved, ratio: Array, sigma2: float, fixed: bool
) -> tuple[Array, list[Array]]:
    """Return the expected information on the variances, and how X'V^-1X changes with each.

    With P = V^-1 - V^-1 X C X'V^-1 and V_k = Z_k Z_k', elements are tr(P V_k P V_l) / 2; those with
    sigma^2 follow from P V P = P.
    """
    scale = np.sqrt(ratio)[m.column]
    left = linalg.cho_solve((solved.factor, True), scale[:, None] * m.zz, check_finite=False)
    zvz = (m.zz - (m.zz * scale) @ left) / sigma2
    side = linalg.cho_solve((solved.factor, True), scale[:, None] * m.zx, check_finite=False)
    zvx = (m.zx - (m.zz * scale) @ side) / sigma2
    covariance = sigma2 * linalg.cho_solve((solved.root, True), np.eye(m.xx.shape[0]))
    t = zvz - zvx @ covariance @ zvx.T
    blocks = [np.flatnonzero(m.column == k) for k in np.flatnonzero(ratio > 0)]
    taus = sigma2 * ratio[ratio > 0]
    trace = np.array([np.trace(t[np.ix_(b, b)]) for b in blocks])
    squares = np.array([[float((t[np.ix_(b, c)] ** 2).sum()) for c in blocks] for b in blocks])
    squares = squares.reshape(len(blocks), len(blocks))
    changes = [zvx[b].T @ zvx[b] for b in blocks]
    if fixed:
        return squares / 2, changes
    n = len(blocks) + 1
    info = np.empty((n, n))
    info[1:, 1:] = squares
    info[0, 1:] = info[1:, 0] = (trace - squares @ taus) / sigma2
    df = m.n_rows - m.xx.shape[0]
    info[0, 0] = (df - 2 * taus @ trace + taus @ squares @ taus) / sigma2**2
    rest = solved.reduced / sigma2 - sum(
        (tau * change for tau, change in zip(taus, changes, strict=True)),
        np.zeros_like(solved.reduced),
    )
    return info / 2, [rest / sigma2, *changes]


def _effects(m: ProductMoments, solved: _Solved, ratio: Array) -> Array:
    """Return the predicted random effects."""
    scale = np.sqrt(ratio)[m.column]
    pulled = scale * (m.zy - m.zx @ solved.beta)
    return np.asarray(scale * linalg.cho_solve((solved.factor, True), pulled, check_finite=False))


def solve_at(m: ProductMoments, ratio: Array, fixed: float) -> tuple[Array, Array]:
    """Return fixed and random effects at given ratios of variances.

    Parameters
    ----------
    m : ProductMoments
        Products of the design.
    ratio : numpy.ndarray, (blocks,)
        Ratios tau / sigma^2.
    fixed : float
        Residual variance.

    Returns
    -------
    beta, effects : numpy.ndarray
        Fixed and random effects.
    """
    solved = _solve(m, ratio, fixed)
    return solved.beta, _effects(m, solved, ratio)


def fit_variances(
    m: ProductMoments, *, sigma2: float | None = None, ratio: Array | None = None
) -> VarianceFit:
    """Fit a mixed model by restricted maximum likelihood.

    Parameters
    ----------
    m : ProductMoments
        Products of the design, of full rank in X.
    sigma2 : float, optional
        Residual variance, where it is known.
    ratio : numpy.ndarray, (blocks,), optional
        Ratios tau / sigma^2, where they were found already.

    Returns
    -------
    VarianceFit
        Estimates, their covariance, and degrees of freedom.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the fixed part is not of full rank.
    """
    converged = True
    if ratio is None:
        ratio, converged = search_ratios(m, sigma2)
    solved = _solve(m, ratio, sigma2)
    p = solved.beta.size
    residual = solved.squares / (m.n_rows - p) if sigma2 is None else sigma2
    covariance = residual * linalg.cho_solve((solved.root, True), np.eye(p))
    info, changes = _information(m, solved, ratio, residual, sigma2 is not None)
    df = np.full(p, math.inf)
    if len(changes):
        spread = linalg.pinvh(info)
        for j in range(p):
            row = covariance[:, j]
            slope = np.array([row @ change @ row for change in changes])
            uncertain = float(slope @ spread @ slope)
            if uncertain > 0:
                df[j] = 2 * covariance[j, j] ** 2 / uncertain
    effects = _effects(m, solved, ratio)
    return VarianceFit(
        solved.beta,
        covariance,
        df,
        residual * ratio,
        residual,
        effects,
        solved.deviance,
        converged,
    )
