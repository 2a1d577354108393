"""The compiled Kalman filter and smoother of the recurrent state, in information form.

What the neurons of one bin say of the state is a matrix J = U^T R^-1 U and a vector
b = U^T R^-1 (y - offset - M k_m), so that no step costs more than (rank)^3. The smoother goes back
with the derivative of the likelihood (Bryson and Frazier), which inverts neither the process noise
nor a predicted covariance: both may be singular.
"""

from __future__ import annotations

import numpy as np

from predictlearn.compiled import FAST, compiled

__all__ = ["covariances", "means"]


@compiled(fastmath=FAST, error_model="numpy")
def _root(matrix, root):  # type: ignore[no-untyped-def]
    """Write the Cholesky factor of a semidefinite matrix; columns without variance are zero."""
    size = matrix.shape[0]
    for j in range(size):
        for i in range(size):
            root[i, j] = 0.0
        pivot = matrix[j, j]
        for k in range(j):
            pivot -= root[j, k] * root[j, k]
        if pivot <= 1e-15 * matrix[j, j] or pivot <= 0.0:
            continue
        root[j, j] = np.sqrt(pivot)
        for i in range(j + 1, size):
            total = matrix[i, j]
            for k in range(j):
                total -= root[i, k] * root[j, k]
            root[i, j] = total / root[j, j]


@compiled(fastmath=FAST, error_model="numpy")
def _times(left, right, out):  # type: ignore[no-untyped-def]
    """Write left right."""
    size = left.shape[0]
    for i in range(size):
        for j in range(size):
            total = 0.0
            for k in range(size):
                total += left[i, k] * right[k, j]
            out[i, j] = total


@compiled(fastmath=FAST, error_model="numpy")
def _update(prior, information, root, inner, inner_root, half, posterior):  # type: ignore[no-untyped-def]
    """Write (prior^-1 + J)^-1 without inverting the prior; return log det(1 + prior J)."""
    size = prior.shape[0]
    _root(prior, root)
    _times(information, root, half)
    for i in range(size):
        for j in range(size):
            total = 1.0 if i == j else 0.0
            for k in range(size):
                total += root[k, i] * half[k, j]
            inner[i, j] = total
    _root(inner, inner_root)
    log_det = 0.0
    for j in range(size):
        log_det += 2.0 * np.log(inner_root[j, j])
    for column in range(size):  # half = inner_root^-1 root^T
        for i in range(size):
            total = root[column, i]
            for k in range(i):
                total -= inner_root[i, k] * half[k, column]
            half[i, column] = total / inner_root[i, i]
    for i in range(size):
        for j in range(size):
            total = 0.0
            for k in range(size):
                total += half[k, i] * half[k, j]
            posterior[i, j] = total
    return log_det


@compiled(fastmath=FAST, error_model="numpy")
def covariances(  # type: ignore[no-untyped-def]
    step, noise, start, information, lengths, predicted, filtered, smoothed, cross, log_det
):
    """Write the covariances of the state in every bin, for each pattern of missing bins.

    Parameters
    ----------
    step, noise, start : ndarray, shape (rank, rank)
        Transition, process noise, covariance of the first bin.
    information : ndarray, shape (patterns, time, rank, rank)
        J.
    lengths : ndarray of int, shape (patterns,)
        Bins of a trial.
    predicted, filtered, smoothed, cross : ndarray, shape (patterns, time, rank, rank)
        Written. cross is Cov(s(t+1), s(t)) after smoothing.
    log_det : ndarray, shape (patterns, time)
        Written: log det(1 + predicted J).
    """
    size = step.shape[0]
    root = np.zeros((size, size))
    inner = np.zeros((size, size))
    inner_root = np.zeros((size, size))
    half = np.zeros((size, size))
    carried = np.zeros((size, size))
    ahead = np.zeros((size, size))
    moved = np.zeros((size, size))
    for g in range(lengths.shape[0]):
        last = lengths[g] - 1
        for i in range(size):
            for j in range(size):
                predicted[g, 0, i, j] = start[i, j]
        for t in range(last + 1):
            log_det[g, t] = _update(
                predicted[g, t], information[g, t], root, inner, inner_root, half, filtered[g, t]
            )
            if t < last:
                _times(step, filtered[g, t], half)
                for i in range(size):
                    for j in range(size):
                        total = noise[i, j]
                        for k in range(size):
                            total += half[i, k] * step[j, k]
                        predicted[g, t + 1, i, j] = total
        for i in range(size):
            for j in range(size):
                carried[i, j] = 0.0
        for t in range(last, -1, -1):
            # moved = step filtered; ahead = step (1 - filtered J), what a prediction turns into
            _times(step, filtered[g, t], moved)
            _times(moved, information[g, t], ahead)
            for i in range(size):
                for j in range(size):
                    ahead[i, j] = step[i, j] - ahead[i, j]
            if t < last:
                _times(carried, moved, half)
                _times(predicted[g, t + 1], half, inner)
                for i in range(size):
                    for j in range(size):
                        cross[g, t, i, j] = moved[i, j] - inner[i, j]
            _times(carried, ahead, half)
            _times(filtered[g, t], information[g, t], inner)
            for i in range(size):
                for j in range(size):
                    total = information[g, t, i, j]
                    for k in range(size):
                        total += ahead[k, i] * half[k, j] - information[g, t, i, k] * inner[k, j]
                    root[i, j] = total
            for i in range(size):
                for j in range(size):
                    carried[i, j] = 0.5 * (root[i, j] + root[j, i])
            _times(carried, predicted[g, t], half)
            _times(predicted[g, t], half, inner)
            for i in range(size):
                for j in range(size):
                    smoothed[g, t, i, j] = predicted[g, t, i, j] - 0.5 * (inner[i, j] + inner[j, i])


@compiled(fastmath=FAST, error_model="numpy")
def means(  # type: ignore[no-untyped-def]
    step, starts, information, vectors, drive, pattern, lengths, predicted, filtered, log_det, out
):
    """Write the smoothed state of every trial; return the part of the log likelihood that has it.

    Parameters
    ----------
    step : ndarray, shape (rank, rank)
        Transition.
    starts : ndarray, shape (trials, rank)
        Mean of the first bin.
    information : ndarray, shape (patterns, time, rank, rank)
        J.
    vectors : ndarray, shape (trials, time, rank)
        b.
    drive : ndarray, shape (trials, time, rank)
        What bin t adds to the state of bin t + 1.
    pattern : ndarray of int, shape (trials,)
        Pattern of missing bins of each trial.
    lengths : ndarray of int, shape (patterns,)
        Bins of a trial.
    predicted, filtered, log_det : ndarray
        From `covariances`.
    out : ndarray, shape (trials, time, rank)
        Written: the smoothed means.

    Returns
    -------
    ndarray, shape (trials,)
        Log likelihood by trial, less that of the activity without its recurrent part.
    """
    trials, time, size = out.shape
    value = np.zeros(trials)
    state = np.zeros(size)
    error = np.zeros(size)
    after = np.zeros(size)
    back = np.zeros(size)
    left = np.zeros((time, size))
    for n in range(trials):
        g = pattern[n]
        last = lengths[g] - 1
        total = 0.0
        for i in range(size):
            state[i] = starts[n, i]
        for t in range(last + 1):
            total -= 0.5 * log_det[g, t]
            for i in range(size):
                seen = 0.0
                for j in range(size):
                    seen += information[g, t, i, j] * state[j]
                error[i] = vectors[n, t, i] - seen
                total += 0.5 * (vectors[n, t, i] + error[i]) * state[i]
                out[n, t, i] = state[i]
            for i in range(size):
                gain = 0.0
                for j in range(size):
                    gain += filtered[g, t, i, j] * error[j]
                after[i] = state[i] + gain
                total += 0.5 * error[i] * gain
            for i in range(size):
                seen = 0.0
                moved = drive[n, t, i]
                for j in range(size):
                    seen += information[g, t, i, j] * after[j]
                    moved += step[i, j] * after[j]
                left[t, i] = vectors[n, t, i] - seen
                state[i] = moved
        value[n] = total
        for i in range(size):
            back[i] = 0.0
        for t in range(last, -1, -1):
            # back <- left + (1 - J filtered) step^T back
            for i in range(size):
                moved = 0.0
                for j in range(size):
                    moved += step[j, i] * back[j]
                error[i] = moved
            for i in range(size):
                gain = 0.0
                for j in range(size):
                    gain += filtered[g, t, i, j] * error[j]
                after[i] = gain
            for i in range(size):
                seen = 0.0
                for j in range(size):
                    seen += information[g, t, i, j] * after[j]
                back[i] = left[t, i] + error[i] - seen
            for i in range(size):
                moved = 0.0
                for j in range(size):
                    moved += predicted[g, t, i, j] * back[j]
                out[n, t, i] += moved
    return value
