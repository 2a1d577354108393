"""Functions called by address: the same numbers, exceptions and types as when they are called."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import predictlearn as pl
from predictlearn.by_address import ByAddress
from predictlearn.compiled import compiled
from predictlearn.theory.kernels import epochs
from predictlearn.theory.learning import epochs as learning


@compiled()
def root(x, rows, pair):
    if x < 0:
        raise ValueError("no root of a negative number")
    made = np.zeros(3)
    made[:] = x**0.5 + pair[1]
    rows[0] += pair[0]
    return made[2] + rows[0]


ROOT = ByAddress(root, 0.0, 0.0, np.empty(0), (1, 1.0))
call = ROOT.call


@compiled()
def caller(address, x, rows, pair):
    return call(address, x, rows, pair)


@pytest.mark.quick
def test_a_caller_gets_what_the_function_returns_and_fills():
    rows = np.array([2.0, 7.0])
    assert caller(ROOT.address, 9.0, rows, (5, 0.25)) == 10.25
    assert rows.tolist() == [7.0, 7.0]


def test_exceptions_reach_the_caller():
    with pytest.raises(ValueError, match="no root of a negative number"):
        caller(ROOT.address, -1.0, np.zeros(1), (0, 0.0))


def test_with_other_types_the_caller_holds_the_code():
    """No address is called with what it was not compiled for: here it would end the process."""
    rows = np.array([2.0], dtype=np.float32)
    assert caller(0, 9.0, rows, (5, 0.25)) == 10.25
    assert caller(0, 9.0, np.ones(4)[::2], (5, 0.25)) == 9.25
    fixed = np.ones(1)
    fixed.setflags(write=False)
    with pytest.raises(Exception, match=r"(?i)cannot modify readonly array"):
        caller(0, 9.0, fixed, (5, 0.25))


def test_arguments_are_not_kept_alive():
    rows = np.zeros(3)
    before = sys.getrefcount(rows)
    for _ in range(100):
        caller(ROOT.address, 4.0, rows, (1, 0.0))
    assert sys.getrefcount(rows) == before


@compiled()
def closed(s, sizes, impulse, work, grad):
    grad[:] = 0.0
    return 0.25


@compiled()
def single(s, shown, buffer, grad):
    grad[:] = 0.0
    return 0.25


@compiled()
def several(s, sizes, shown, buffer, grad):
    grad[:] = 0.0
    return 0.25


@compiled()
def populations(s, fractions, sizes, shown, buffer, grad):
    grad[:] = 0.0
    return 0.25


@compiled()
def curvature(s, sizes, shown, rows, cols, work, hess):
    hess[:] = np.nan


class Other:
    """Another function of the same types, at an address of its own."""

    def __init__(self, apart, function):
        made = function.get_compile_result(apart._signature)
        self.address = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)


ONE, TWO = pl.Overlaps(0.5 * np.eye(4)), pl.Overlaps(0.5 * np.eye(6), 1, 2, 1)
TASK, RULE = pl.Filter(duration=1.0), pl.GradientDescent(0.01)
FLIP = pl.FlipFlop(duration=8.0, dt=0.1, trials=4).freeze(0)


@pytest.mark.parametrize(("way", "function", "start", "task", "nonlinearity"), [
    (epochs.CLOSED, closed, TWO, TASK, "linear"),
    (epochs.SINGLE, single, ONE, FLIP, "erf"),
    (epochs.SINGLE, single, ONE, FLIP, "linear"),
    (epochs.ANY, several, TWO, FLIP, "tanh"),
])  # fmt: skip
def test_loops_over_epochs_and_of_flow_call_what_is_at_the_address(
    monkeypatch, way, function, start, task, nonlinearity
):
    """What they are given has the types that the loss is compiled for, or they would hold it."""
    other = Other(epochs.LOSSES[way], function)
    monkeypatch.setitem(epochs.LOSSES, way, other)
    learned = pl.learn(start, task, RULE, 3, nonlinearity, seed=0)
    assert learned.losses[:3].tolist() == [0.25] * 3
    assert np.array_equal(learned.final.matrix, start.matrix)
    flow = pl.learn(start, task, pl.GradientFlow(), 1.0, nonlinearity)
    assert np.array_equal(flow.final.matrix, start.matrix)


def test_populations_and_slopes_call_what_is_at_the_address(monkeypatch):
    starts = pl.Populations([0.5, 0.5], [ONE, ONE])
    other = Other(epochs.LOSSES[epochs.POPULATIONS], populations)
    monkeypatch.setitem(epochs.LOSSES, epochs.POPULATIONS, other)
    learned = pl.learn_populations(starts, TASK, RULE, 3, "erf")
    assert learned.losses[:3].tolist() == [0.25] * 3
    monkeypatch.setattr(learning, "CURVATURE", Other(epochs.CURVATURE, curvature))
    legs = [pl.Leg(TASK, 2, RULE)]
    run = pl.learn_with_sensitivities(ONE, legs, [0, 2], nonlinearity="erf")
    assert np.isnan(run.slopes[-1]).any()


def test_without_the_compiler_the_function_itself_is_called():
    code = """
import numpy as np
import predictlearn as pl
start, task = pl.Overlaps(np.eye(4)), pl.Filter(duration=1.0)
print(repr(float(pl.learn(start, task, pl.GradientDescent(0.01), 3).losses[-1])))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    start, task = pl.Overlaps(np.eye(4)), pl.Filter(duration=1.0)
    expected = pl.learn(start, task, pl.GradientDescent(0.01), 3).losses[-1]
    assert float(done.stdout) == pytest.approx(expected, rel=1e-12)
