"""Compiled code on disk never outlives the sources that it was made from."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from predictlearn.theory.compiled import forget_stale


def test_only_code_older_than_its_sources_is_dropped(tmp_path):
    module, source = tmp_path / "steps.py", tmp_path / "kernels.py"
    stored = tmp_path / "__pycache__"
    stored.mkdir()
    names = ("steps.descend-1.py311.nbi", "steps.descend-1.py311.1.nbc", "steps.cpython-311.pyc")
    for path in (module, source, *(stored / name for name in names), stored / "other.f.nbi"):
        path.touch()
        os.utime(path, (1000, 1000))
    assert forget_stale(str(module), str(source)) == []
    os.utime(source, (2000, 2000))
    gone = forget_stale(str(module), str(source))
    assert sorted(path.name for path in gone) == sorted(names[:2])
    assert sorted(path.name for path in stored.iterdir()) == ["other.f.nbi", names[2]]


def test_a_module_without_stored_code_is_no_error(tmp_path):
    (tmp_path / "a.py").touch()
    (tmp_path / "b.py").touch()
    assert forget_stale(str(tmp_path / "a.py"), str(tmp_path / "b.py")) == []


def test_what_a_source_was_made_from_counts_too(tmp_path):
    top, middle, bottom = (str(tmp_path / f"{name}.py") for name in ("top", "middle", "bottom"))
    (tmp_path / "__pycache__").mkdir()
    stored = tmp_path / "__pycache__" / "top.f-1.py311.nbi"
    for path in (top, middle, bottom, stored):
        open(path, "w").close()
        os.utime(path, (1000, 1000))
    forget_stale(middle, bottom)
    assert forget_stale(top, middle) == []
    os.utime(bottom, (2000, 2000))
    assert forget_stale(top, middle) == [stored]


BITS = """
import numpy as np
import predictlearn as pl
from predictlearn.theory.reduced import loss_and_derivative
from predictlearn.theory.sensitivity import Leg, learn_with_sensitivities

start, rule, rng = pl.Overlaps(np.eye(4)).replace(uu=1.3), pl.GradientDescent(2e-3), None
for task, phi in ((pl.Filter(), "linear"), (pl.FlipFlop(trials=8, duration=5.0), "erf")):
    trials, rng = task.sample(np.random.default_rng(0)), np.random.default_rng(1)
    for _ in range(100):
        o = start.replace(**{n: 0.2 * rng.standard_normal() for n in ("zm", "zu", "vm", "vu")})
        loss, a = loss_and_derivative(o, trials, phi)
        print(loss.hex(), *(x.hex() for x in a.ravel()))
    learned = pl.learn(start, task, rule, 30, phi)
    print(*(x.hex() for x in learned.array.ravel()), *(x.hex() for x in learned.losses))
    run = learn_with_sensitivities(start, [Leg(task, 30, rule)], [30], nonlinearity=phi, carry=True)
    print(*(x.hex() for x in run.slopes.ravel()), *(x.hex() for x in run.carried.ravel()))
"""


@pytest.mark.slow
def test_code_just_compiled_and_code_from_disk_give_the_same_bits(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", BITS], env=env, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    )
    assert len(first.splitlines()) == 204
    assert first == second
