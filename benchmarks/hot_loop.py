"""How far the hot loop is from what this processor can do: operations and memory traffic counted.

    python benchmarks/hot_loop.py

The loop is one loss and derivative of 128 trials x 400 bins, rank one, erf, on one core. Its
operations per trial and bin are counted from predictlearn/theory/kernels/rank_one.py and the loop
that judges outputs; what the processor can do of each kind is measured by small loops compiled in
the same way. Each bound is the time that one kind of work alone would take.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numba import njit

import predictlearn as pl
from predictlearn.theory.activity import Batch
from predictlearn.theory.kernels import rollout as kernels

# Per trial and bin: multiplications and additions (a fused pair is one instruction), square roots
# with their division, and numbers read and written: forward, judging, adjoint.
ARITHMETIC = 14 + 4 + 27
ROOTS = 1
READ = 2 + 3 + 5
WRITTEN = 4 + 1 + 1
TRIALS, BINS = 128, 400

_OPTIONS = {"fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}


@njit(**_OPTIONS)
def _fused(x: np.ndarray, rounds: int) -> float:
    """Ten independent chains of fused multiply-adds on a vector in registers, 10 an element."""
    total = 0.0
    for _ in range(rounds):
        for p in range(x.size):
            v = x[p]
            a = v * 0.1 + 0.2
            b = v * 0.3 + 0.4
            c = v * 0.5 + 0.6
            d = v * 0.7 + 0.8
            e = a * b + c
            f = b * c + d
            g = c * d + a
            h = d * a + b
            i = e * f + g
            total += g * h + i
    return total


@njit(**_OPTIONS)
def _roots(x: np.ndarray, out: np.ndarray, rounds: int) -> None:
    """One reciprocal square root an element."""
    for _ in range(rounds):
        for p in range(x.size):
            out[p] = 1.0 / math.sqrt(1.0 + x[p] * out[p])


@njit(**_OPTIONS)
def _stream(source: np.ndarray, out: np.ndarray, rounds: int) -> None:
    """One number read and one written an element."""
    for _ in range(rounds):
        for p in range(source.size):
            out[p] = source[p] * 1.0000001


def best(call: Callable[[], object], repeats: int = 50) -> float:
    """Return the shortest time of a call, in seconds."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure and print."""
    small, out = np.random.default_rng(0).random(512), np.ones(512)
    fused = best(lambda: _fused(small, 200)) / (200 * 512 * 11)
    root = best(lambda: _roots(small, out, 200)) / (200 * 512)
    # what one call keeps in hand: k_m, targets, weights, k_u, g and y of all trials
    size = TRIALS * BINS * 3
    large, copy = np.ones(size), np.empty(size)
    moved = best(lambda: _stream(large, copy, 1)) / (2 * size)

    task = pl.FlipFlop(wait=(1.0, 2.0), duration=20.0, dt=0.05, trials=TRIALS)
    ready = Batch(task.sample(np.random.default_rng(0)), "erf", 1.0)
    overlaps = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.1, vm=0.1, vu=0.3)
    scratch, a = ready.scratch(1), np.empty((4, 4))
    taken = best(
        lambda: kernels.loss_and_derivative_kernel(
            overlaps.matrix, overlaps.sizes, ready.shown(), scratch, a
        ),
        300,
    )

    elements = TRIALS * BINS
    bounds = {
        f"{ARITHMETIC} multiply-adds": ARITHMETIC * fused,
        f"{ROOTS} reciprocal root": ROOTS * root,
        f"{READ + WRITTEN} numbers moved": (READ + WRITTEN) * moved,
    }
    print(f"{'the loop':24s} {1e3 * taken:7.4f} ms  {1e9 * taken / elements:5.2f} ns an element")  # noqa: T201
    for name, each in bounds.items():
        share = each * elements / taken
        print(f"{name:24s} {1e3 * each * elements:7.4f} ms  {share:6.0%} of the loop's time")  # noqa: T201
    at_once = bounds[f"{ARITHMETIC} multiply-adds"] + bounds[f"{ROOTS} reciprocal root"]
    print(f"arithmetic alone, in turn: {taken / (at_once * elements):.2f} times that is taken")  # noqa: T201


if __name__ == "__main__":
    main()
