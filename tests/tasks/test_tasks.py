"""Every task against a plain construction of what it is said to be."""

from __future__ import annotations

import itertools
from dataclasses import fields

import numpy as np
import pytest

from predictlearn.errors import InputError
from predictlearn.tasks import (
    TASKS,
    ArrayTask,
    DampedOscillation,
    DecisionMaking,
    Filter,
    FlipFlop,
    ReachingReadout,
    Teacher,
    complete_overlaps,
    get_task,
    task_settings,
)
from predictlearn.theory.activity import Batch, simulate
from predictlearn.theory.overlaps import Overlaps
from predictlearn.theory.trials import Task, Trials

pytestmark = pytest.mark.quick


def rng(seed=0):
    return np.random.default_rng(seed)


RANDOM = [FlipFlop(), DecisionMaking(trials=7), Teacher(trials=4), ReachingReadout(trials=6)]
FIXED = [Filter(), DampedOscillation(), ReachingReadout()]


@pytest.mark.parametrize("task", RANDOM + FIXED, ids=lambda task: type(task).__name__)
def test_every_task_keeps_the_contract(task):
    assert isinstance(task, Task)
    trials = task.sample(rng(5))
    assert (trials.n_in, trials.n_out, trials.dt) == (task.n_in, task.n_out, task.dt)
    again = task.sample(rng(5))
    np.testing.assert_array_equal(trials.inputs, again.inputs)
    np.testing.assert_array_equal(trials.targets, again.targets)
    other = task.sample(rng(6))
    assert np.array_equal(trials.inputs, other.inputs) == task.fixed
    frozen = task.freeze(5)
    assert frozen.fixed
    assert isinstance(frozen, ArrayTask)
    np.testing.assert_array_equal(frozen.sample().weights, trials.weights)
    np.testing.assert_array_equal(frozen.sample().inputs, trials.inputs)
    np.testing.assert_array_equal(frozen.sample().offset, trials.offset)
    np.testing.assert_array_equal(frozen.sample().smoothing, trials.smoothing)
    assert frozen.freeze(1) is frozen


@pytest.mark.parametrize("task", RANDOM[:3], ids=lambda task: type(task).__name__)
def test_trials_made_without_checks_pass_them_and_need_no_copy(task):
    trials = task.sample(rng(3))
    checked = Trials(trials.inputs, trials.targets, trials.weights, trials.dt)
    for item in fields(Trials):
        np.testing.assert_array_equal(getattr(trials, item.name), getattr(checked, item.name))
    ready = Batch(trials, "erf", 1.0)
    for name in ("inputs", "targets", "weights"):
        assert np.shares_memory(getattr(trials, name), getattr(ready, name))
        assert getattr(trials, name).dtype == np.float64
    later = task.sample(rng(4))
    for name in ("inputs", "targets", "weights"):
        assert not np.shares_memory(getattr(trials, name), getattr(later, name))


# -- impulse tasks ----------------------------------------------------------------------------


def test_filter_bin_by_bin():
    trials = Filter(decay=0.4, amplitude=1.5, duration=3.0, dt=0.1).sample()
    for i in range(30):
        assert trials.inputs[0, i, 0] == (10.0 if i == 0 else 0.0)
        assert trials.targets[0, i, 0] == pytest.approx(1.5 * np.exp(-0.4 * i * 0.1), rel=1e-14)
        assert trials.weights[0, i, 0] == 0.1
    assert trials.inputs.shape == (1, 30, 1)


def test_filter_is_solved_by_the_published_overlaps():
    # zm = a, vu = 1 - c, zu vm = a (1 - c), up to the error of the Euler step
    table = np.eye(4) * 3
    o = Overlaps(table).replace(zm=1.0, zu=0.8, vm=1.0, vu=0.8)
    for dt, bound in ((0.05, 0.02), (0.0125, 0.005)):
        task = Filter(decay=0.2, dt=dt)
        y = simulate(o, task.sample()).outputs
        assert np.max(np.abs(y - task.sample().targets)) < bound
        assert task.sample().loss(y) < bound**2 * 20


def test_damped_oscillation_bin_by_bin():
    trials = DampedOscillation(decay=0.3, frequency=2.0, duration=2.0, dt=0.05).sample()
    t = np.arange(40) * 0.05
    np.testing.assert_allclose(
        trials.targets[0, :, 0], np.real(np.exp((-0.3 + 2.0j) * t)), atol=1e-14
    )
    assert trials.inputs.sum() * 0.05 == pytest.approx(1.0)
    assert np.all(trials.weights == 0.05)


# -- flip-flop --------------------------------------------------------------------------------


def segments(signal):
    """Return (start, stop, value) of the stretches of constant nonzero value."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0.0], signal, [0.0]])))
    pairs = itertools.pairwise(edges)
    return [(int(a), int(b), signal[a]) for a, b in pairs if signal[a] != 0]


@pytest.mark.parametrize(
    "task",
    [
        FlipFlop(trials=200),
        FlipFlop(wait=(1, 2), input_amplitude=2, target_amplitude=1, dt=0.05, trials=100),
        FlipFlop(wait=(0.6, 0.6), pulse=0.3, delay=0.4, first_pulse=0.0, dt=0.1, trials=20),
    ],
)
def test_flip_flop_targets_and_mask_follow_from_the_pulses(task):
    trials = task.sample(rng(1))
    steps = trials.n_steps
    pulse, delay = round(task.pulse / task.dt), round(task.delay / task.dt)
    masks = np.zeros((task.trials, steps))
    waits = []
    for p in range(task.trials):
        pulses = segments(trials.inputs[p, :, 0])
        assert pulses[0][0] == round(task.first_pulse / task.dt)
        target, starts = np.zeros(steps), [start for start, _, _ in pulses]
        for k, (start, stop, height) in enumerate(pulses):
            assert stop == min(start + pulse, steps)
            assert abs(height) == task.input_amplitude
            target[start:] = np.sign(height) * task.target_amplitude
            begins = start + pulse + delay
            ends = starts[k + 1] if k + 1 < len(starts) else None
            if ends is not None:
                waits.append((ends - begins) * task.dt)
            # counted: from the end of the delay to the bin before the bin before the next pulse
            masks[p, begins : steps if ends is None else ends - 1] = 1
        np.testing.assert_array_equal(trials.targets[p, :, 0], target)
    np.testing.assert_allclose(trials.weights[..., 0], masks / masks.sum(), rtol=1e-12)
    assert min(waits) >= task.wait[0] - task.dt / 2 - 1e-9
    assert max(waits) <= task.wait[1] + task.dt / 2 + 1e-9


def test_flip_flop_loss_is_the_masked_mean_squared_error():
    trials = FlipFlop().sample(rng(2))
    y = rng(3).normal(size=trials.targets.shape)
    mask = trials.weights > 0
    expected = np.mean((y - trials.targets)[mask] ** 2)
    assert trials.loss(y) == pytest.approx(expected, rel=1e-12)


def test_flip_flop_waits_are_uniform_and_signs_even():
    task = FlipFlop(wait=(1.0, 3.0), duration=400.0, dt=0.01, trials=20)
    inputs = task.sample(rng(4)).inputs[..., 0]
    waits, signs = [], []
    for row in inputs:
        pulses = segments(row)
        waits += [b[0] - a[1] for a, b in itertools.pairwise(pulses)]
        signs += [height for _, _, height in pulses]
    waits = np.array(waits) * task.dt - task.delay
    assert len(waits) > 1500
    # uniform on [1, 3]: mean 2, sd 2/sqrt(12); five standard errors
    assert abs(waits.mean() - 2.0) < 5 * 0.577 / np.sqrt(len(waits))
    assert abs(waits.std() - 0.5774) < 0.03
    assert abs(np.mean(signs)) < 5 / np.sqrt(len(signs))


def test_flip_flop_trials_are_drawn_independently():
    inputs = FlipFlop(duration=200.0, trials=64).sample(rng(0)).inputs[..., 0]
    assert len(np.unique(inputs, axis=0)) == 64


# -- decision-making --------------------------------------------------------------------------


def test_decision_making_epochs_and_statistics():
    task = DecisionMaking(trials=3000)
    trials = task.sample(rng(0))
    x, y = trials.inputs[..., 0], trials.targets[..., 0]
    assert not x[:, :20].any()
    assert not x[:, 200:].any()
    level = y[:, -1] * 16
    assert set(np.round(level, 9)) == set(task.coherences)
    assert np.all(y[:, 220:] == y[:, -1:])
    assert not y[:, :220].any()
    residual = x[:, 20:200] - (level * 3.2 / 100)[:, None]
    n = residual.size
    assert abs(residual.mean()) < 5 * 0.05 / np.sqrt(n)
    assert residual.std() == pytest.approx(0.05, rel=5 / np.sqrt(2 * n))
    # independent from bin to bin
    lag = np.mean(residual[:, 1:] * residual[:, :-1]) / residual.var()
    assert abs(lag) < 5 / np.sqrt(n)
    counts = np.array([np.sum(np.isclose(level, c)) for c in task.coherences])
    assert np.all(np.abs(counts - 500) < 5 * np.sqrt(3000 * 5 / 36))


def test_decision_making_loss_is_the_mean_over_the_response():
    trials = DecisionMaking(trials=5).sample(rng(1))
    out = rng(2).normal(size=trials.targets.shape)
    expected = np.mean((out - trials.targets)[:, 220:] ** 2)
    assert trials.loss(out) == pytest.approx(expected, rel=1e-12)


# -- teacher ----------------------------------------------------------------------------------


def test_teacher_targets_are_those_of_a_loop_over_bins():
    task = Teacher(trials=3)
    trials = task.sample(rng(0))
    zm, zu, vm, vu, mu, mm, uu = 0.5, 2.3, 2.0, 1.5, 1.6, 1.8, 2.2
    for p in range(3):
        km = ku = 0.0
        for t in range(400):
            delta = mm * km**2 + 2 * mu * km * ku + uu * ku**2
            g = 1 / np.sqrt(1 + np.pi / 2 * delta)
            drive = g * (vm * km + vu * ku)
            km, ku = km + 0.05 * (-km + trials.inputs[p, t, 0]), ku + 0.05 * (-ku + drive)
            delta = mm * km**2 + 2 * mu * km * ku + uu * ku**2
            y = (zm * km + zu * ku) / np.sqrt(1 + np.pi / 2 * delta)
            assert trials.targets[p, t, 0] == pytest.approx(y, abs=1e-12)


def test_teacher_inputs_are_pulses_in_white_noise():
    task = Teacher(trials=400)
    trials = task.sample(rng(3))
    pulses = FlipFlop(wait=(4, 10), input_amplitude=2.0, dt=0.05, trials=400).sample(rng(3)).inputs
    noise = trials.inputs - pulses
    n = noise.size
    assert noise.std() == pytest.approx(1.5, rel=5 / np.sqrt(2 * n))
    assert abs(np.mean(noise[:, 1:] * noise[:, :-1])) < 5 * 1.5**2 / np.sqrt(n)


def test_teacher_loss_is_mean_squared_error_times_duration():
    trials = Teacher(trials=3).sample(rng(0))
    out = rng(1).normal(size=trials.targets.shape)
    expected = 20.0 * np.mean((out - trials.targets) ** 2)
    assert trials.loss(out) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("nonlinearity", ["linear", "erf", "tanh"])
def test_teacher_answers_as_the_network_with_its_overlaps(nonlinearity):
    task = Teacher(nonlinearity=nonlinearity, tau=0.7, trials=5, duration=10.0)
    trials = task.sample(rng(2))
    expected = simulate(task.overlaps, trials, nonlinearity, tau=0.7).outputs
    scale = np.abs(expected).max()
    np.testing.assert_allclose(trials.targets / scale, expected / scale, atol=1e-14)
    again = task.label(trials.inputs)
    np.testing.assert_array_equal(again.targets, trials.targets)
    # any layout will do, and a batch of other length
    again = task.label(np.ascontiguousarray(trials.inputs[:3, :50]))
    np.testing.assert_array_equal(again.targets, trials.targets[:3, :50])
    assert again.weights.sum() == pytest.approx(50 * task.dt)


def test_teacher_that_grows_beyond_all_numbers_is_refused():
    values = {"zm": 0.5, "zu": 2.0, "vm": 2.0, "vu": 40.0}
    task = Teacher({**values, "mu": 0.0, "mm": 1.0, "uu": 1.0}, nonlinearity="linear", trials=2)
    with pytest.raises(InputError, match="overlaps of the teacher make its answers grow"):
        task.label(np.ones((2, 2000, 1)))


def test_teacher_of_another_rank_and_two_outputs():
    matrix = rng(0).normal(size=(50, 7))
    o = Overlaps(matrix.T @ matrix / 50, n_in=1, rank=2, n_out=2)
    task = Teacher(overlaps=o, nonlinearity="linear", trials=2)
    trials = task.sample(rng(0))
    assert (task.n_out, trials.n_out) == (2, 2)
    np.testing.assert_allclose(trials.targets, simulate(o, trials).outputs, atol=1e-13)
    assert trials.weights.sum() == pytest.approx(20.0 * 2 / 2)


def test_completed_overlaps_have_the_smallest_hidden_part():
    o = complete_overlaps(
        {"zm": 0.5, "zu": 2.3, "vm": 2, "vu": 1.5, "mu": 1.6, "mm": 1.8, "uu": 2.2}
    )
    low, _ = o.reachable("zz")
    assert o["zz"] == pytest.approx(low, rel=1e-9)
    assert np.linalg.eigvalsh(o.matrix)[0] == pytest.approx(0.0, abs=1e-12)
    kept = complete_overlaps(
        {**dict.fromkeys(("zm", "zu", "vm", "vu", "mu"), 0.1), "mm": 1, "uu": 1, "zz": 3.0}
    )
    assert kept["zz"] == 3.0


# -- reaching ---------------------------------------------------------------------------------


def test_reaching_inputs_targets_and_weights():
    task = ReachingReadout(targets=4, speed=2.5, duration=1.0, dt=0.1, latency=0.23, first_bin=3)
    trials = task.sample()
    assert task.fixed
    assert task.n_in == 3
    assert trials.inputs.shape == (4, 10, 3)
    for k, angle in enumerate((0, 90, 180, 270)):
        direction = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
        held = np.array([*direction, 1.0])
        for t in range(10):
            # the input as a step at bin 0, moved later by 2.3 bins by linear interpolation
            low, high = float(t - 3 >= 0), float(t - 2 >= 0)
            onset = 0.3 * low + 0.7 * high
            np.testing.assert_allclose(trials.inputs[k, t], held * onset, atol=1e-12)
            np.testing.assert_allclose(trials.targets[k, t], 2.5 * direction, atol=1e-12)
            assert np.all(trials.weights[k, t] == (1 / 28 if t >= 3 else 0.0))


def test_reaching_loss_is_on_the_cursor():
    smoothing = [[0.5, 0.1], [0.0, 0.4]]
    task = ReachingReadout(
        targets=[10.0, 200.0, 300.0], smoothing=smoothing, offset=(0.2, -0.1), go=False
    )
    trials = task.sample()
    assert task.n_in == 2
    y = rng(0).normal(size=trials.targets.shape)
    total = 0.0
    for p in range(3):
        v = np.zeros(2)
        for t in range(20):
            v = np.array(smoothing) @ v + y[p, t] + np.array([0.2, -0.1])
            total += np.sum((v - trials.targets[p, t]) ** 2)
    assert trials.loss(y) == pytest.approx(total / 60, rel=1e-12)


def test_reaching_draws_targets_evenly():
    task = ReachingReadout(targets=8, trials=8000)
    assert not task.fixed
    angles = np.rad2deg(np.arctan2(*task.sample(rng(0)).targets[:, 0, ::-1].T)).round() % 360
    counts = np.unique(angles, return_counts=True)[1]
    assert len(counts) == 8
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(8000 * 7 / 64))


def test_a_scalar_smoothing_is_isotropic():
    np.testing.assert_array_equal(
        ReachingReadout(smoothing=0.3).sample().smoothing, 0.3 * np.eye(2)
    )


# -- arrays and registry ----------------------------------------------------------------------


def test_array_task_is_not_changed_from_outside():
    inputs = np.ones((2, 5, 1))
    task = ArrayTask(inputs, np.zeros((2, 5, 1)), np.ones((2, 5, 1)), dt=0.1)
    inputs[:] = 7.0
    assert np.all(task.sample().inputs == 1.0)


def test_array_task_from_a_file(tmp_path):
    task = ReachingReadout(smoothing=0.5, offset=(0.1, 0.2)).freeze()
    names = ("inputs", "targets", "weights", "dt", "offset", "smoothing")
    np.savez(tmp_path / "task.npz", **{name: getattr(task, name) for name in names})
    loaded = get_task("arrays", file=tmp_path / "task.npz")
    for name in names:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(task, name))


def test_array_task_from_trials_of_any_layout():
    trials = DecisionMaking(trials=3).sample(rng(0))
    assert not trials.inputs.flags.c_contiguous
    np.testing.assert_array_equal(ArrayTask.from_trials(trials).inputs, trials.inputs)


def test_registry_builds_every_task_from_its_defaults():
    for name, kind in TASKS.items():
        if name != "arrays":
            assert get_task(name) == kind()
            assert task_settings(name) == tuple(field.name for field in fields(kind))


WRONG = [
    (lambda: Filter(decay=-1), r"decay must be zero or a positive number; got -1"),
    (lambda: Filter(dt=0), r"dt must be a positive number; got 0"),
    (lambda: Filter(duration=0.01), r"duration must be at least 2 bins"),
    (lambda: Filter(amplitude=float("nan")), r"amplitude must be finite"),
    (lambda: Filter(amplitude="big"), r"amplitude must be a numeric"),
    (lambda: DampedOscillation(frequency=-2), r"frequency must be zero or a positive"),
    (lambda: FlipFlop(wait=(3, 1)), r"wait must be \(low, high\)"),
    (lambda: FlipFlop(wait=4.0), r"wait must be two numbers"),
    (lambda: FlipFlop(wait=(0, 1)), r"wait must be \(low, high\) with 0\.05 <= low"),
    (lambda: FlipFlop(trials=0), r"trials must be a whole number of at least 1; got 0"),
    (lambda: FlipFlop(trials=2.5), r"trials must be a whole number"),
    (lambda: FlipFlop(duration=2.9), r"duration must exceed first_pulse \+ pulse \+ delay = 3 s"),
    (lambda: FlipFlop(pulse=0.001), r"pulse must last at least one bin"),
    (lambda: DecisionMaking(duration=11.0), r"duration must exceed .* = 11 s"),
    (lambda: DecisionMaking(coherences=[]), r"coherences must hold"),
    (lambda: DecisionMaking(coherences=[0.0]), r"coherences must hold a value other than 0"),
    (lambda: DecisionMaking(noise=-0.1), r"noise must be zero or"),
    (
        lambda: Teacher(overlaps={"zm": 1.0}),
        r"overlaps must name .*missing: zu, vm, vu, mm|missing",
    ),
    (lambda: Teacher(overlaps={"zq": 1.0}), r"overlap name must be one of .*got 'zq'"),
    (lambda: Teacher(overlaps=3.0), r"overlaps must be Overlaps or a mapping"),
    (lambda: Teacher(overlaps=Overlaps(np.eye(5), n_in=2)), r"one input; got 2"),
    (lambda: Teacher(nonlinearity="ref"), r"Did you mean 'erf'"),
    (lambda: Teacher(tau=-1.0), r"tau must be a positive number"),
    (lambda: Teacher(tau=0.04), r"tau must be at least the bin width dt = 0\.05 s; got 0\.04"),
    (lambda: ReachingReadout(targets=0), r"targets must be a whole number of at least 1"),
    (lambda: ReachingReadout(targets=[]), r"targets must hold at least one direction"),
    (lambda: ReachingReadout(smoothing=1.0), r"smoothing must have eigenvalues below 1"),
    (lambda: ReachingReadout(smoothing=[0.1, 0.2]), r"smoothing must have shape \(2, 2\)"),
    (lambda: ReachingReadout(offset=(1, 2, 3)), r"offset must have shape \(2\)"),
    (lambda: ReachingReadout(latency=1.0), r"latency must be shorter than the trial"),
    (lambda: ReachingReadout(first_bin=20), r"first_bin must be below the 20 bins"),
    (lambda: ReachingReadout(go="yes"), r"go must be true or false"),
    (lambda: ReachingReadout(trials=4).sample(), r"rng must be a numpy Generator"),
    (
        lambda: ArrayTask(np.ones((2, 5, 1)), np.ones((2, 5, 1)), np.zeros((2, 5, 1)), 0.1),
        r"weights must not all be zero",
    ),
    (
        lambda: ArrayTask(np.ones((2, 5)), np.ones((2, 5, 1)), np.ones((2, 5, 1)), 0.1),
        r"inputs must have 3 axes \(trials, time, n_in\)",
    ),
    (lambda: get_task("filtre"), r"task must be one of .*Did you mean 'filter'"),
    (lambda: get_task("filter", decai=1), r"decai is not a setting .*Did you mean 'decay'"),
    (lambda: get_task("arrays"), r"'arrays' lacks a setting"),
    (lambda: get_task("arrays", file="nowhere.npz"), r"no such file: nowhere\.npz"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_settings_are_refused_with_a_reason(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_damaged_array_files_are_refused(tmp_path):
    bad = tmp_path / "bad.npz"
    bad.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match=r"not a readable \.npz file of plain arrays"):
        ArrayTask.load(bad)
    np.savez(tmp_path / "part.npz", inputs=np.ones((1, 2, 1)))
    with pytest.raises(InputError, match=r"lacks targets, weights, dt"):
        ArrayTask.load(tmp_path / "part.npz")
    np.savez(tmp_path / "pickled.npz", inputs=np.array([object()], dtype=object))
    with pytest.raises(InputError, match=r"'inputs' is not a readable array: .*Python objects"):
        ArrayTask.load(tmp_path / "pickled.npz")


def test_offset_and_smoothing_of_wrong_shape_are_refused():
    ones = np.ones((1, 4, 2))
    with pytest.raises(InputError, match="smoothing must have shape"):
        ArrayTask(ones, ones, ones, 0.1, smoothing=np.eye(3))
    assert isinstance(ArrayTask(ones, ones, ones, 0.1).sample(), Trials)


def test_a_rotation_of_the_cursor_turns_the_desired_velocity_back():
    """The seen cursor R(30) c reaches the target exactly when c is the wanted velocity."""
    task = ReachingReadout(targets=[0.0, 90.0, 210.0], speed=2.0, rotation=30.0)
    plain = ReachingReadout(targets=[0.0, 90.0, 210.0], speed=2.0)
    angle = np.deg2rad(30.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    seen = task.sample().targets @ turn.T
    np.testing.assert_allclose(seen, plain.sample().targets, atol=1e-12)
    np.testing.assert_array_equal(task.sample().inputs, plain.sample().inputs)
