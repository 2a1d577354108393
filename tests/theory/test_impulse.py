"""The closed form for linear networks after an impulse, against the loop over bins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import predictlearn as pl
from predictlearn.theory.kernels.arguments import Impulse, Judging, Shown
from predictlearn.theory.kernels.hessian import hessian_kernel, hessian_work
from predictlearn.theory.kernels.impulse import (
    TargetLaw,
    impulse_by_doubling,
    impulse_loss_and_derivative,
    impulse_state,
    impulse_work,
)
from predictlearn.theory.kernels.impulse_rank_one import single_hessian, single_impulse
from predictlearn.theory.names import table_pairs, visible_names


def case(n_steps, n_in, rank, n_out, q, n_trials, seed=0):
    rng = np.random.default_rng(seed)
    dt = 0.05
    x = rng.normal(size=(60, n_in + 2 * rank + n_out))
    overlaps = pl.Overlaps(x.T @ x / 60, n_in, rank, n_out)
    step = np.linalg.qr(rng.normal(size=(q, q)))[0] * 0.97
    law = TargetLaw(step, rng.normal(size=(n_out, q)), rng.normal(size=(n_trials, q)))
    inputs = np.zeros((n_trials, n_steps, n_in))
    inputs[:, 0] = rng.normal(size=(n_trials, n_in)) / dt
    weights = np.broadcast_to(dt * rng.random(n_out), (n_trials, n_steps, n_out))
    return overlaps, pl.Trials(inputs, law.targets(n_steps), weights, dt, law=law)


def single_case(a, vu, d, n_out=1, n_trials=2, seed=0):
    """Return overlaps, impulses and a law for one input, rank one, one target state."""
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(3 + n_out, 3 + n_out))
    s += s.T
    s[2, 1] = s[1, 2] = vu
    law = TargetLaw([[d]], rng.normal(size=(n_out, 1)), rng.normal(size=(n_trials, 1)))
    return s, rng.normal(size=(n_trials, 1)) / a, law, 0.1 + rng.random(n_out)


def impulse_of(size, law, a, weights, n_steps):
    """What the closed form takes of impulses of a size, (trials, 1)."""
    first = impulse_state(size[:, None], law, a, 1)
    return Impulse(a, first, law.step, law.read, weights, n_steps)


def kernel(function, s, size, law, a, weights, n_steps):
    """Call a kernel on impulses of a size, (trials, 1)."""
    impulse = impulse_of(size, law, a, weights, n_steps)
    grad = np.full(s.shape, np.nan)
    n_out = len(weights)
    if function is single_impulse:
        value, done = function(s, n_out, impulse, grad)
        return value, grad, done
    return function(s, (1, 1, n_out), impulse, impulse_work(impulse), grad), grad


def by_bins(s, size, law, a, weights, n_steps, dtype=np.longdouble):
    """Loss and derivative by a loop over bins that carries the slopes of k_u along."""
    s, a = s.astype(dtype), dtype(a)
    vm, vu, zm, zu = s[2, 0], s[2, 1], s[3:, 0], s[3:, 1]
    read, weights, d = law.read[:, 0].astype(dtype), weights.astype(dtype), dtype(law.step[0, 0])
    k_m, y = a * size[:, 0].astype(dtype), law.start[:, 0].astype(dtype)
    k_u, by_vm, by_vu = (np.zeros_like(k_m) for _ in range(3))
    loss, grad = dtype(0), np.zeros(s.shape, dtype)
    for _ in range(n_steps):
        error = np.outer(zm, k_m) + np.outer(zu, k_u) - np.outer(read, y)
        pull = 2 * weights[:, None] * error
        loss += np.sum(weights[:, None] * error**2)
        grad[3:, 0] += pull @ k_m
        grad[3:, 1] += pull @ k_u
        grad[2, 0] += zu @ pull @ by_vm
        grad[2, 1] += zu @ pull @ by_vu
        by_vm += a * (-by_vm + k_m + vu * by_vm)
        by_vu += a * (-by_vu + k_u + vu * by_vu)
        k_m, k_u = k_m - a * k_m, k_u + a * (-k_u + vm * k_m + vu * k_u)
        y = d * y
    return float(loss), (grad + grad.T).astype(float)


def agrees(one, other, rel):
    """Assert the same loss, and the same derivative relative to its largest entry."""
    assert one[0] == pytest.approx(other[0], rel=rel)
    np.testing.assert_allclose(one[1], other[1], rtol=0, atol=rel * np.abs(other[1]).max())


class SomeTask:
    """A task that shows given trials."""

    n_in = n_out = 1
    fixed = True

    def __init__(self, trials):
        self.trials, self.dt = trials, trials.dt

    def sample(self, rng=None):
        return self.trials


@settings(max_examples=40, deadline=None)
@given(
    n_steps=st.integers(1, 130),
    n_in=st.integers(1, 2),
    rank=st.integers(1, 3),
    n_out=st.integers(1, 2),
    q=st.integers(1, 3),
    n_trials=st.integers(1, 4),
    seed=st.integers(0, 10),
)
def test_closed_form_is_the_loop_to_rounding(n_steps, n_in, rank, n_out, q, n_trials, seed):
    overlaps, trials = case(n_steps, n_in, rank, n_out, q, n_trials, seed)
    loss, a = pl.loss_and_derivative(overlaps, trials)
    plain, b = pl.loss_and_derivative(overlaps, replace(trials, law=None))
    assert loss == pytest.approx(plain, rel=1e-11)
    np.testing.assert_allclose(a, b, atol=1e-11 * np.abs(b).max())


@pytest.mark.parametrize(
    ("task", "rank"),
    [(pl.Filter(decay=0.4, amplitude=0.7), 1), (pl.DampedOscillation(amplitude=1.3), 2)],
)
def test_tasks_state_their_law(task, rank):
    trials = task.sample()
    assert trials.law is not None
    start = pl.Overlaps(0.6 * np.eye(2 + 2 * rank) + 0.1, 1, rank, 1)
    rule = pl.GradientDescent(5e-3, momentum=0.5)
    closed = pl.learn(start, task, rule, 400)
    looped = pl.learn(start, pl.ArrayTask.from_trials(replace(trials, law=None)), rule, 400)
    np.testing.assert_allclose(closed.array, looped.array, atol=1e-12)
    np.testing.assert_allclose(closed.losses, looped.losses, atol=1e-13)


NEAR = [0.0, *(sign * 10.0**-k for k in range(1, 17) for sign in (1, -1))]


def distances(n_steps):
    """Return distances from confluence; for long trials every third power, for the loop is slow."""
    return NEAR if n_steps < 100 else [x for k, x in enumerate(NEAR) if (k + 1) // 2 % 3 == 0]


# where the sums in closed form are 0/0: q = p, q = 1, q d = 1, p q = 1 (a = 0.05, d = 0.98)
SPECIAL = {"q=p": 0.0, "q=1": 1.0, "qd=1": 1 + (1 / 0.98 - 1) / 0.05, "pq=1": 1 + 1 / 0.95}


@pytest.mark.parametrize("where", SPECIAL)
@pytest.mark.parametrize(("n_steps", "a"), [(2, 0.3), (39, 0.05), (40, 0.05), (300, 0.05)])
def test_one_latent_is_the_loop_over_bins_at_any_distance_from_confluence(where, n_steps, a):
    for near in distances(n_steps):
        s, size, law, weights = single_case(a, SPECIAL[where] + near, 0.98, n_out=2)
        arguments = (s, size, law, a, weights, n_steps)
        agrees(kernel(impulse_loss_and_derivative, *arguments), by_bins(*arguments), 2e-13)


@pytest.mark.parametrize("d", [0.9, 0.95, 0.999, 1.0, 1.002])
@pytest.mark.parametrize("vu", [-2.0, -0.3, 0.0, 1e-7, 0.7, 0.96, 1.0, 1.04])
def test_one_latent_in_closed_form_for_long_trials(d, vu):
    """Among them equal decay of network and target, and targets that grow."""
    s, size, law, weights = single_case(0.05, vu, d)
    arguments = (s, size, law, 0.05, weights, 3000)
    value, grad, done = kernel(single_impulse, *arguments)
    assert done
    agrees((value, grad), by_bins(*arguments), 1e-12)


DRAWN = {
    "a": st.floats(0.01, 0.6),
    "vu": st.one_of(
        st.floats(-2, 1.3),
        # next to two equal poles, and next to a perfect integrator
        st.builds(
            lambda x, k, sign: x + sign * 10.0**-k,
            st.sampled_from([0.0, 1.0]),
            st.floats(1, 16),
            st.sampled_from([-1, 1]),
        ),
    ),
    "d": st.one_of(st.floats(0.4, 1.001), st.just(1.0)),
    "n_out": st.integers(1, 2),
    "seed": st.integers(0, 10),
}


@settings(max_examples=300, deadline=None)
@given(
    **DRAWN,
    n_steps=st.one_of(st.integers(1, 300), st.integers(2, 20_000)),
)
def test_one_latent_is_what_doubling_gives(a, vu, d, n_steps, n_out, seed):
    s, size, law, weights = single_case(a, vu, d, n_out, seed=seed)
    arguments = (s, size, law, a, weights, n_steps)
    if n_steps * np.log(max(1 - a + a * vu, 1e-9)) > 300:
        return  # numbers near the largest: see the test of unstable networks
    one, two = (kernel(f, *arguments) for f in (impulse_loss_and_derivative, impulse_by_doubling))
    # doubling squares a rounded 1 - a + a vu again and again
    agrees(one, two, 1e-12 + 4e-15 * n_steps)


@pytest.mark.parametrize(("vu", "n_steps"), [(0.3, 400), (0.0, 400), (1.0, 400), (1.0, 20)])
def test_derivative_of_one_latent_is_the_slope_of_the_loss(vu, n_steps):
    s, size, law, weights = single_case(0.05, vu, 0.99)
    _, grad = kernel(impulse_loss_and_derivative, s, size, law, 0.05, weights, n_steps)
    for i, j in [(2, 0), (2, 1), (3, 0), (3, 1)]:
        values = []
        for h in (1e-5, -1e-5):
            moved = s.copy()
            moved[i, j] += h
            moved[j, i] += h
            moved = kernel(impulse_loss_and_derivative, moved, size, law, 0.05, weights, n_steps)
            values.append(moved[0])
        assert grad[i, j] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)
        assert grad[j, i] == grad[i, j]
    assert not grad[:2, :2].any()
    assert not grad[2:, 2:].any()


@pytest.mark.parametrize(("a", "vu", "d"), [(0.05, -25.0, 0.9), (0.05, 0.5, -0.9), (1.0, 0.5, 0.9)])
def test_where_the_closed_form_does_not_hold_doubling_takes_over(a, vu, d):
    """Powers of numbers that are not above zero; up to 256 bins they are taken one by one."""
    s, size, law, weights = single_case(a, vu, d)
    arguments = (s, size, law, a, weights)
    assert kernel(single_impulse, *arguments, 256)[2]
    _, grad, done = kernel(single_impulse, *arguments, 257)
    assert not done
    assert np.isnan(grad).all()
    for n_steps in (256, 257):
        agrees(
            kernel(impulse_loss_and_derivative, *arguments, n_steps),
            by_bins(*arguments, n_steps),
            1e-12,
        )


def test_an_unstable_latent_is_followed_until_numbers_end():
    for vu in (1.5, 4.0, 12.0):
        s, size, law, weights = single_case(0.05, vu, 0.99)
        arguments = (s, size, law, 0.05, weights, 600)
        agrees(kernel(impulse_loss_and_derivative, *arguments), by_bins(*arguments), 1e-12)
    for vu in (40.0, 1e5, 1e200, np.inf, np.nan):
        s, size, law, weights = single_case(0.05, vu, 0.99)
        for n_steps in (20, 600, 20_000):
            arguments = (s, size, law, 0.05, weights, n_steps)
            value, _ = kernel(impulse_loss_and_derivative, *arguments)
            # as `learn` notices that a rate was too large
            assert not value <= 1e40 or (vu == 40.0 and n_steps == 20)


def visible(n_out):
    """Return rows and columns of the overlaps that the loss sees."""
    pairs = np.array([table_pairs(1, 1, n_out)[name] for name in visible_names(1, 1, n_out)])
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def hessian(s, size, law, a, weights, n_steps, sizes=None):
    """Hessian in closed form, and whether it applied."""
    n_out, impulse = len(weights), impulse_of(size, law, a, weights, n_steps)
    hess = np.full((2 * n_out + 2,) * 2, np.nan)
    return hess, single_hessian(s, sizes or (1, 1, n_out), impulse, hess)


def hessian_by_bins(s, size, law, a, weights, n_steps):
    """Hessian by a loop over bins in extended precision, with slopes of k_u and slopes of these."""
    dtype = np.longdouble
    s, a, n_out = s.astype(dtype), dtype(a), len(weights)
    vm, vu, zm, zu = s[2, 0], s[2, 1], s[3:, 0], s[3:, 1]
    read, weights, d = law.read[:, 0].astype(dtype), weights.astype(dtype), dtype(law.step[0, 0])
    k_m, y = a * size[:, 0].astype(dtype), law.start[:, 0].astype(dtype)
    k_u, m, u, mu, uu = (np.zeros_like(k_m) for _ in range(5))
    at_vm, at_vu, q = 2 * n_out, 2 * n_out + 1, 1 - a + a * vu
    hess = np.zeros((2 * n_out + 2,) * 2, dtype)
    for _ in range(n_steps):
        pull = 2 * weights[:, None] * (np.outer(zm, k_m) + np.outer(zu, k_u) - np.outer(read, y))
        for o in range(n_out):
            slopes = np.zeros((2 * n_out + 2, len(k_m)), dtype)
            slopes[[o, n_out + o, at_vm, at_vu]] = k_m, k_u, zu[o] * m, zu[o] * u
            hess += 2 * weights[o] * slopes @ slopes.T
            curved = np.zeros_like(hess)
            curved[n_out + o, at_vm], curved[n_out + o, at_vu] = pull[o] @ m, pull[o] @ u
            curved[at_vm, at_vu] = zu[o] * pull[o] @ mu
            curved[at_vu, at_vu] = 0.5 * zu[o] * pull[o] @ uu
            hess += curved + curved.T
        uu, mu = q * uu + 2 * a * u, q * mu + a * m
        u, m = q * u + a * k_u, q * m + a * k_m
        k_m, k_u, y = k_m - a * k_m, q * k_u + a * vm * k_m, d * y
    return hess.astype(float)


def hessian_agrees(found, expected, rel):
    np.testing.assert_allclose(found, expected, rtol=0, atol=rel * np.abs(expected).max())


@pytest.mark.parametrize("where", SPECIAL)
@pytest.mark.parametrize(
    ("n_steps", "a"), [(1, 0.3), (2, 0.3), (39, 0.05), (40, 0.05), (300, 0.05)]
)
def test_hessian_is_the_loop_over_bins_at_any_distance_from_confluence(where, n_steps, a):
    for near in distances(n_steps):
        s, size, law, weights = single_case(a, SPECIAL[where] + near, 0.98, n_out=2)
        arguments = (s, size, law, a, weights, n_steps)
        hess, done = hessian(*arguments)
        assert done
        hessian_agrees(hess, hessian_by_bins(*arguments), 5e-13)


@pytest.mark.parametrize("d", [0.9, 0.95, 0.999, 1.0, 1.002])
@pytest.mark.parametrize("vu", [-2.0, -0.3, 0.0, 1e-7, 0.7, 0.96, 1.0, 1.04])
def test_hessian_in_closed_form_for_long_trials(d, vu):
    s, size, law, weights = single_case(0.05, vu, d)
    arguments = (s, size, law, 0.05, weights, 3000)
    hess, done = hessian(*arguments)
    assert done
    hessian_agrees(hess, hessian_by_bins(*arguments), 1e-12)


@settings(max_examples=200, deadline=None)
@given(
    **DRAWN,
    n_steps=st.one_of(st.integers(1, 300), st.integers(2, 3000)),
)
def test_hessian_is_that_of_tangents_rolled_over_bins(a, vu, d, n_steps, n_out, seed):
    s, size, law, weights = single_case(a, vu, d, n_out, seed=seed)
    hess, done = hessian(s, size, law, a, weights, n_steps)
    if not done or n_steps * np.log(max(1 - a + a * vu, 1e-9)) > 300:
        return  # falls back, or numbers near the largest
    k_m = np.empty((n_steps, 1, len(size)))
    k_m[:, 0] = a * size[:, 0] * ((1 - a) ** np.arange(n_steps))[:, None]
    targets = np.moveaxis(law.targets(n_steps), 0, 2).copy()
    spread = np.broadcast_to(weights[:, None], targets.shape).copy()
    rows, cols = visible(n_out)
    rolled = np.empty_like(hess)
    none, flat = np.zeros((n_out, n_out)), np.zeros(n_out)
    judging = Judging(targets, spread, np.empty((0, 0, 0)), flat, none, True)
    sizes = (1, 1, n_out)
    work = hessian_work(k_m, sizes, rows.size)
    hessian_kernel(s, sizes, Shown(a, np.empty(0), k_m, judging), rows, cols, work, rolled)
    hessian_agrees(hess, rolled, 1e-11)


@pytest.mark.parametrize(("vu", "n_steps"), [(0.3, 400), (0.0, 400), (1.0, 400), (1.0, 20)])
def test_hessian_is_the_slope_of_the_derivative(vu, n_steps):
    s, size, law, weights = single_case(0.05, vu, 0.99, n_out=2)
    hess, _ = hessian(s, size, law, 0.05, weights, n_steps)
    rows, cols = visible(2)
    assert np.array_equal(hess, hess.T)
    for v, (i, j) in enumerate(zip(rows, cols, strict=True)):
        ends = []
        for h in (1e-5, -1e-5):
            moved = s.copy()
            moved[i, j] += h
            moved[j, i] += h
            grad = kernel(impulse_loss_and_derivative, moved, size, law, 0.05, weights, n_steps)[1]
            ends.append(grad[rows, cols])
        hessian_agrees(hess[v], (ends[0] - ends[1]) / 2e-5, 1e-6)


def test_hessian_tells_where_the_closed_form_does_not_hold():
    for a, vu, d in [(0.05, -25.0, 0.9), (0.05, 0.5, -0.9), (1.0, 0.5, 0.9), (1e-3, 0.1, 0.999)]:
        arguments = (*single_case(a, vu, d)[:3], a, np.ones(1))
        hess, done = hessian(*arguments, 256)
        assert done
        hessian_agrees(hess, hessian_by_bins(*arguments, 256), 1e-12)
        hess, done = hessian(*arguments, 257)
        assert not done
        assert np.isnan(hess).all()
    s, size, law, weights = single_case(0.05, 0.3, 0.9)
    for sizes in ((1, 2, 1), (2, 1, 1)):
        hess, done = hessian(s, size, law, 0.05, weights, 300, sizes)
        assert not done
        assert np.isnan(hess).all()


def test_work_grows_with_the_logarithm_of_the_bins():
    long, short = (
        Impulse(0.05, np.zeros((3, 3)), np.eye(1), np.eye(1), np.ones(1), n) for n in (4000, 500)
    )
    assert len(impulse_work(long)) - len(impulse_work(short)) == 4 * 3


def test_target_noise_and_erf_use_the_loop():
    start = pl.Overlaps(np.eye(4)).replace(zm=0.1, vm=0.1)
    task = pl.Filter(duration=5.0)
    plain = pl.ArrayTask.from_trials(replace(task.sample(), law=None))
    for rule, phi in (
        (pl.GradientDescent(5e-3, target_noise=0.1), "linear"),
        (pl.GradientDescent(5e-3), "erf"),
    ):
        one, two = (pl.learn(start, t, rule, 50, phi, seed=3) for t in (task, plain))
        np.testing.assert_array_equal(one.array, two.array)


def test_a_minibatch_is_not_taken_for_all_trials():
    overlaps, trials = case(40, 1, 1, 1, 1, 4)
    with_law = SomeTask(trials)
    without = SomeTask(replace(trials, law=None))
    rule = pl.GradientDescent(1e-3, minibatch=2)
    one, two = (pl.learn(overlaps, t, rule, 30, seed=1) for t in (with_law, without))
    np.testing.assert_array_equal(one.array, two.array)
    assert not np.allclose(
        one.array, pl.learn(overlaps, with_law, pl.GradientDescent(1e-3), 30).array
    )


def test_other_targets_drop_the_law():
    trials = pl.Filter().sample()
    assert trials.with_targets(np.zeros_like(trials.targets)).law is None


@pytest.mark.parametrize(
    "change",
    [
        {"targets": np.ones((1, 20, 1))},
        {"inputs": np.ones((1, 20, 1))},
        {"weights": np.linspace(0, 1, 20)[None, :, None]},
        {"law": TargetLaw([[0.9]], [[1.0]], [[1.0], [2.0]])},
        {"law": TargetLaw([[0.9]], [[1.0]], [[1.0]])},
    ],
)
def test_a_law_that_does_not_hold_changes_no_result(change):
    trials = pl.Filter(duration=1.0).sample()
    changed = replace(trials, **change)
    assert trials.law is not None
    assert changed.law is None
    start = pl.Overlaps(np.eye(4)).replace(zm=0.2)
    plain = pl.Trials(changed.inputs, changed.targets, changed.weights, changed.dt)
    assert pl.loss(start, changed) == pl.loss(start, plain)
    with pytest.raises(pl.InputError, match="law must be a TargetLaw; got float"):
        replace(trials, law=0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.9, 0.1]], [[1.0]], [[1.0]]), "step must be square"),
        (([[0.9]], [[1.0, 2.0]], [[1.0]]), "read"),
        (([[0.9]], [[1.0]], [[1.0, 1.0]]), "start"),
    ],
)
def test_shapes_of_a_law_are_checked(arguments, message):
    with pytest.raises(pl.InputError, match=message):
        TargetLaw(*arguments)
