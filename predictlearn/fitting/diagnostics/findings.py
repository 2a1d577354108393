"""What a finding of the diagnostics means: which numbers of a fit are then not to be trusted.

The directions of the errors were measured on simulations with one thing wrong each
(studies/fitting/fitting.md holds the numbers); where they depend on the case, the sentence says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from predictlearn.arrays import Array
from predictlearn.fitting.diagnostics.copies import copied_units, told
from predictlearn.fitting.diagnostics.loading_shape import LoadingShape
from predictlearn.fitting.diagnostics.residuals import Found, Residuals

__all__ = ["LEVEL", "LIMIT", "checks_of", "meaning"]


LEVEL = 0.05
# The check that tells a limit of such recordings, no fault of this one.
LIMIT = "tau cannot be checked"

# Residual correlation of two units beyond which they are one; share of a second moment of loadings
# that may be estimation error, and that the three largest neurons may carry; share of neurons that
# may have fewer spikes than this many a coefficient.
_TWIN, _ERROR, _THREE, _FEW, _SPIKES = 0.8, 0.3, 0.5, 0.2, 10

_SAYS = {
    "autocorrelation": "residuals of successive bins of a trial are correlated: slow noise, or,"
    " if neurons share it, a noisy network (try StochasticLowRankRNN) or an input that "
    "differs between trials and is missing. Intervals over trials allow for it; likelihoods, "
    "and what chooses between optima or ranks by them, are too sure of themselves",
    "single neurons": "some neurons have residuals correlated in time (see the table of "
    "neurons): their loadings are known less well than their noise variance says. Overlaps "
    "are hardly concerned unless these neurons carry mm or mu",
    "shared directions": "residuals of different neurons vary together: process noise (try "
    "StochasticLowRankRNN), a missing input, too low a rank, or a mean that does not fit. "
    "Intervals that take neurons as independent (mm, mu, uu, zm, zu) are too narrow; if the "
    "noise is in the network itself, vu is estimated wrongly too, either way",
    "means by bin": "something locked to the time in the trial is not explained: an input is "
    "missing (a go cue is cheap), the rank is too low, or the nonlinearity is wrong. vu and "
    "vm then stand in for what is missing: their intervals do not hold, in no known direction",
    "means by condition": "something that depends on the condition is not explained: an input "
    "is missing, the rank is too low, or the nonlinearity is wrong. Intervals of vm and vu do"
    " not hold, in no known direction",
    "noise with level": "noise grows or shrinks with the predicted level: one variance a neuron"
    " is wrong. Estimates stay nearly right; likelihoods and intervals of single loadings do "
    "not. For counts try noise='poisson' or 'negative-binomial'",
    "Gaussian loadings": "the loadings are not jointly Gaussian with mean zero (sparse, "
    "clustered or several populations). Overlaps of a linear network stand, with wider "
    "sampling errors of mm and mu; the equations of an erf network, and what is predicted of "
    "its learning, are approximate; populations may fit",
    "response to inputs": "activity follows past inputs in a way that these dynamics do not "
    "give: a wrong tau or latency, too low a rank, or further recurrent dimensions (such as "
    "random connectivity beside the low-rank part). vm and vu are averages over what is mixed"
    " up, and their intervals do not hold",
    "nonlinearity": "the residuals follow products of the reduced activity: a nonlinearity that"
    " the model lacks. Where activity saturates (tanh, erf, ReLU taken for linear) mm, vm and"
    " vu come out too small and their intervals do not hold; try nonlinearity='erf', another "
    "link or gain=True",
    "drift over trials": "rates or gains of neurons change slowly over the trials. Overlaps are"
    " those of the mean gain (mm, mu, zm); intervals that resample trials as exchangeable are"
    " too narrow, and learning within the session is not told from drift: fit blocks of "
    "trials apart",
}


def meaning(name: str, found: Found, directed: bool) -> str:
    """Return what is wrong and which numbers are not to be trusted, where a test has found it.

    ``directed`` tells whether the inputs are more than the rank. If they are not, tau can change
    places with a recurrent time constant, and a score says nothing of which way tau is wrong.
    """
    if name == "time constant":
        way, moves = "wrong", "come out too large (tau too long) or too small (too short)"
        if directed:
            way = "too short" if found.effect > 0 else "too long"
            moves = "come out too small" if found.effect > 0 else "come out too large"
        return (
            f"the tau given is {way} for these data, or the latency is. Where it is tau, mm and vm "
            f"{moves}, and vu the other way round; no interval of vm, vu, mm or mu holds. Fit it "
            "(tau='fit') or check the bin width and the unit of dt"
        )
    if name == "latency":
        way = "later" if found.effect > 0 else "earlier"
        return (
            f"activity follows the inputs {way} than the latency given (one step of scoring: "
            f"{found.effect:+.2g} bins; a step, no estimate), or tau is wrong. mm "
            + (
                "is too small and vm too large"
                if found.effect > 0
                else "is too large and vm too small"
            )
            + "; intervals of vm, vu, mm and mu do not hold. Fit it (latency='fit') or check how "
            "inputs are aligned to bins"
        )
    return _SAYS[name]


def checks_of(
    fit: Any, y: Array, residuals: Residuals, kept: npt.NDArray[np.bool_], shape: LoadingShape
) -> pd.DataFrame:
    """Measure what is wrong with a recording in ways that need no null hypothesis.

    Parameters
    ----------
    fit : LowRankRNN
        The fit.
    y : ndarray, shape (trials, time, neurons)
        Activity, NaN where missing.
    residuals : Residuals
        Of the neurons kept.
    kept : ndarray of bool, shape (neurons,)
        Which these are.
    shape : LoadingShape
        Of the loadings.

    Returns
    -------
    DataFrame
        Index check; columns value, limit, fails, says.
    """
    rows = {
        "units stored twice": _twins(fit, y, residuals, kept),
        "error of the loadings": _error(shape),
        "few neurons carry it": _carried(fit, kept),
    }
    if getattr(fit, "noise", "gaussian") != "gaussian":
        rows["few spikes"] = _spikes(fit, y, kept)
    other = _other_tau(fit)
    if other:
        rows[LIMIT] = other
    table = pd.DataFrame(rows.values(), index=pd.Index(list(rows), name="check"))
    table.columns = pd.Index(["value", "limit", "fails", "says"])
    return table


def _twins(
    fit: Any, y: Array, residuals: Residuals, kept: npt.NDArray[np.bool_]
) -> tuple[float, float, bool, str]:
    """Look for units that are copies of others, or whose noise is nearly the same."""
    ids = np.flatnonzero(kept)
    flat = residuals.values.reshape(-1, len(ids))
    scale = np.sqrt(np.maximum(np.einsum("rn,rn->n", flat, flat), 1e-300))
    alike = np.abs(np.tril((flat.T @ flat) / np.outer(scale, scale), -1))
    largest = float(alike.max(initial=0.0))
    copies = copied_units(y if kept.all() else y[:, :, kept], few=fit.rank + fit.n_in_ + 1)
    copies = [
        replace(c, unit=int(ids[c.unit]), of=tuple(int(ids[i]) for i in c.of)) for c in copies
    ]
    said = [told(copies)] if copies else []
    known = {copy.unit for copy in copies}
    pairs = [(ids[j], ids[i]) for j, i in np.argwhere(alike > _TWIN) if ids[j] not in known]
    said += [f"units {i} and {j} share their noise" for j, i in pairs[:5]]
    if not said:
        return largest, _TWIN, False, "no two units have the same noise"
    return (
        largest,
        _TWIN,
        True,
        f"{'; '.join(said)}. A neuron counted twice weighs double in mm, mu, uu, zm and zu, whose "
        "intervals, which take neurons as independent, are too narrow: drop or merge these units",
    )


def _error(shape: LoadingShape) -> tuple[float, float, bool, str]:
    """Look at how much of the loadings is estimation error."""
    share = shape.error_share
    worst = float(share.max())
    columns = [str(name) for name in share.index[share > _ERROR]]
    if not columns:
        return worst, _ERROR, False, "loadings are known well beside their spread over neurons"
    return (
        worst,
        _ERROR,
        True,
        f"{min(worst, 1.0):.0%} of the second moment of {', '.join(columns)} is estimation error "
        "(too few spikes or too much noise). It is taken off, by its own estimate: second moments "
        "of these columns (mm, mu, and through uu = 1 the scale of vm and zu) are uncertain by as "
        "much, beyond their intervals where neurons are separated by a few spikes",
    )


def _carried(fit: Any, kept: npt.NDArray[np.bool_]) -> tuple[float, float, bool, str]:
    """Look at the share of second moments that three neurons carry."""
    loadings = np.concatenate([fit.m_, fit.u_], axis=1)[kept]
    squares = np.sort(loadings**2, axis=0)
    share = squares[-3:].sum(axis=0) / np.maximum(squares.sum(axis=0), 1e-300)
    worst = float(share.max())
    # of Gaussian loadings three neurons carry about 3 (2 log n) / n
    n = len(loadings)
    limit = float(min(max(_THREE, 1.3 * 3 * 2 * np.log(max(n, 3)) / n), 0.95))
    if worst <= limit:
        return worst, limit, False, "no few neurons carry the second moments"
    names = np.flatnonzero(kept)[np.argsort(loadings[:, int(share.argmax())] ** 2)[::-1][:3]]
    return (
        worst,
        limit,
        True,
        f"three neurons ({', '.join(map(str, names))}) carry {worst:.0%} of a second moment of the "
        "loadings: mm, mu, uu and with uu the scale of vm are theirs rather than the population's, "
        "and their intervals do not hold. Look at these neurons' spikes and units",
    )


def _spikes(fit: Any, y: Array, kept: npt.NDArray[np.bool_]) -> tuple[float, float, bool, str]:
    """Look for neurons with hardly any spikes."""
    total = sum(np.nansum(trial, axis=0) for trial in y)[kept]
    needed = _SPIKES * (1 + fit.n_in_ + fit.rank)
    few = int(np.sum(total < needed))
    share = few / max(len(total), 1)
    if share <= _FEW:
        return share, _FEW, False, f"{few} of {len(total)} neurons have fewer than {needed} spikes"
    return (
        share,
        _FEW,
        True,
        f"{few} of {len(total)} neurons have fewer than {needed} spikes (ten a coefficient): their "
        "loadings may lie far out, and mm, mu and uu with them; intervals of these do not hold. "
        "Record longer, use wider bins, or drop these neurons",
    )


def _other_tau(fit: Any) -> tuple[float, float, bool, str] | None:
    """Return which other tau explains a linear recording of one input at least as well.

    Of one input every neuron shows a sum of exponentials, of rates 1/tau and (1 - lambda)/tau by
    eigenvalue lambda of vu. Which of them is that of the membrane nobody can see.
    """
    if fit.n_in_ != 1 or fit._layout.erf or fit._layout.fit_tau:
        return None
    values = np.linalg.eigvals(fit.vu_)
    real = [float(v.real) for v in values if abs(v.imag) < 1e-9 and 0.02 < 1 - v.real < 50]
    others = [fit.tau_ / (1 - v) for v in real if abs(v) > 0.02]
    if not others:
        return None
    each = ", ".join(f"{tau:.3g} s" for tau in others)
    also = f" (vu {-real[0] / (1 - real[0]):.2f})" if fit.rank == 1 else ""
    return (
        others[0],
        float(fit.tau_),
        False,
        f"with one input, a linear network with tau {each}{also} gives this activity at least as "
        f"well as with tau {fit.tau_:.3g} s. vm, vu, mm and mu rest on the tau that was given; "
        "a second, independent input would decide",
    )
