"""Simulated animals against networks that learn alone, trial by trial, and plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import predictlearn as pl
from predictlearn.behaviour import (
    Animals,
    Choices,
    Criterion,
    CursorProgress,
    Errors,
    OutputCurves,
    TrainingSessions,
    response_means,
    simulate_animals,
)
from predictlearn.errors import DivergenceError, InputError

START = pl.Overlaps(np.eye(4)).replace(zu=0.1, vm=0.1)
TASK = pl.Filter(duration=5.0)
RULE = pl.GradientDescent(4e-3)
LOGNORMAL = {"distribution": "lognormal", "median": 2e-3, "sd_log": 0.4}


def simulate(behaviour=None, sessions=None, animals=None, cohort=START, task=TASK, **settings):
    return simulate_animals(
        cohort,
        task,
        RULE if task is not None else None,
        behaviour or Choices(0.1, 0.02),
        sessions or TrainingSessions(4, 50),
        animals or Animals(LOGNORMAL, number=5),
        **settings,
    )


def mean_output(matrix, task=TASK):
    """Output of a linear network in the task's trial, Euler by hand, averaged by its weights."""
    trials = task.sample(np.random.default_rng(0))
    k_m = k_u = total = 0.0
    for t in range(trials.n_steps):
        # both are driven by what was there before
        k_m, k_u = (
            k_m + trials.dt * (trials.inputs[0, t, 0] - k_m),
            k_u + trials.dt * (matrix[2, 0] * k_m + matrix[2, 1] * k_u - k_u),
        )
        total += trials.weights[0, t, 0] * (matrix[3, 0] * k_m + matrix[3, 1] * k_u)
    return total / trials.weights[0, :, 0].sum()


def test_percent_correct_is_that_of_the_network_at_the_same_trial():
    """One trial an update: 800 animals of one start, against a network that learns alone."""
    sessions, rate = TrainingSessions(4, 40), RULE.rate
    found = simulate(sessions=sessions, animals=Animals(rate, number=800), points=160)
    learned = pl.learn(START, TASK, RULE, 160)
    target = response_means(TASK.sample(np.random.default_rng(0)), learned_outputs(learned.final))[
        1
    ]
    assert target > 0
    for session in range(4):
        outputs = [mean_output(learned.array[40 * session + j]) for j in range(40)]
        p = 0.02 + 0.96 * stats.norm.cdf(np.array(outputs) / 0.1)
        rows = found.table[found.table.session == session + 1].percent_correct
        error = 100 * np.sqrt(np.mean(p * (1 - p)) / 40 / 800)
        assert abs(rows.mean() - 100 * p.mean()) < 4.5 * error
        spread = 100 * np.sqrt(np.sum(p * (1 - p))) / 40
        assert rows.std() == pytest.approx(spread, rel=0.12)


def learned_outputs(overlaps):
    return pl.simulate(overlaps, TASK.sample(np.random.default_rng(0))).outputs


def test_own_rates_advance_learning_time():
    """Half the rate and twice the trials is the same learning."""
    slow = simulate(sessions=TrainingSessions(1, 400), animals=Animals(1e-3, 400), per_trial=True)
    fast = simulate(sessions=TrainingSessions(1, 200), animals=Animals(2e-3, 400), per_trial=True)
    means = [
        run.table[run.table.trial > n - n // 10].correct.mean()
        for run, n in ((slow, 400), (fast, 200))
    ]
    assert means[0] == pytest.approx(means[1], abs=0.02)
    assert means[0] > 0.6


def test_results_do_not_depend_on_threads_or_neighbours_and_are_those_of_the_seed():
    animals = Animals(
        LOGNORMAL, 150, start={"zu": {"distribution": "uniform", "low": 0, "high": 0.2}}
    )
    one = simulate(animals=animals, n_jobs=1, seed=3)
    two = simulate(animals=animals, n_jobs=2, seed=3)
    assert one.table.equals(two.table)
    assert one.animals.equals(two.animals)
    assert not simulate(animals=animals, seed=4).table.equals(one.table)


def test_curves_of_trajectories_are_the_outputs_of_their_networks():
    rule, probe = pl.GradientDescent(4e-3), pl.DecisionMaking(trials=5, duration=4.0, stimulus=1.0)
    trials = probe.sample(np.random.default_rng(0))
    starts = [START, START.replace(zm=0.4)]
    learned = [pl.learn(start, TASK, rule, 60, "erf", every=20) for start in starts]
    found = OutputCurves.from_trajectories(learned, trials, "erf")
    assert found.times.tolist() == [0, 20, 40, 60]
    for animal, each in enumerate(learned):
        for row, matrix in enumerate(each.array):
            rolled = pl.simulate(pl.Overlaps(matrix), trials, "erf").outputs
            outputs, targets = response_means(trials, rolled)
            np.testing.assert_allclose(found.outputs[animal, row], outputs, atol=1e-13)
    np.testing.assert_allclose(found.targets, targets)
    # ten trials an epoch: session 3 begins at epoch 40
    run = simulate(Choices(0.05), TrainingSessions(3, 200), Animals(0.1), found, None)
    assert run.table.session.max() == 3
    with pytest.raises(InputError, match="entry 1 has others than"):
        OutputCurves.from_trajectories([learned[0], pl.learn(START, TASK, rule, 30, "erf")], trials)
    with pytest.raises(InputError, match="entry 0 is a Overlaps"):
        OutputCurves.from_trajectories(starts, trials)


def test_rows_a_trial_are_those_of_the_sessions():
    args = {"sessions": TrainingSessions(3, {"distribution": "poisson", "mu": 30}), "seed": 1}
    trials, sessions = simulate(per_trial=True, **args).table, simulate(**args).table
    means = trials.groupby(["subject", "session"], observed=True).correct.agg(["mean", "size"])
    np.testing.assert_allclose(100 * means["mean"].to_numpy(), sessions.percent_correct)
    np.testing.assert_array_equal(means["size"], sessions.trials)
    np.testing.assert_array_equal(
        trials.groupby(["subject", "session"], observed=True).trial.max(), sessions.trial
    )


def curves(level, n=2000, points=3):
    """Outputs that do not change, the same for all."""
    times = np.linspace(0.0, 10.0, points)
    return OutputCurves(times, np.full((n, points, 1, 1), level), [[1.0]])


def test_performance_noise_is_in_log_odds():
    n = 1500
    sessions = TrainingSessions(2, n, performance_noise=0.4)
    found = simulate(Choices(1.0), sessions, Animals(1e-3), curves(0.5), None)
    share = found.table.percent_correct.to_numpy() / 100
    log_odds = np.log(share / (1 - share)).reshape(-1, 2)
    p = stats.norm.cdf(0.5)
    of_trials = 1 / np.sqrt(n * p * (1 - p))  # what chance in n trials adds
    assert log_odds.std() == pytest.approx(np.hypot(0.4, of_trials), rel=0.03)
    assert abs(np.corrcoef(log_odds.T)[0, 1]) < 0.08
    assert log_odds.mean() == pytest.approx(stats.logistic.ppf(stats.norm.cdf(0.5)), abs=0.02)


def test_noise_between_animals_and_motor_noise_of_errors():
    own = Animals(1e-3, noise={"distribution": "lognormal", "median": 5.0, "sd_log": 0.3})
    outputs = np.tile([[np.cos(0.2), np.sin(0.2)]], (400, 3, 1, 1))
    cohort = OutputCurves([0, 1, 2], outputs, [[1.0, 0.0]])
    sessions = TrainingSessions(1, 400)
    found = simulate(Errors(99.0), sessions, own, cohort, None, per_trial=True)
    each = found.table.groupby("subject", observed=True).error_deg
    assert each.mean().mean() == pytest.approx(np.degrees(0.2), abs=0.1)
    kappa_spread = np.log(each.std().to_numpy()) - np.log(found.animals.noise.to_numpy())
    assert np.abs(kappa_spread).max() < 0.2
    assert np.log(found.animals.noise).std() == pytest.approx(0.3, rel=0.12)


def test_progress_of_a_cursor():
    outputs = np.tile([[0.5, 0.5]], (300, 2, 1, 1))
    cohort = OutputCurves([0, 1], outputs, [[2.0, 0.0]])
    cursor = CursorProgress(30.0, gain=100.0)
    found = simulate(cursor, TrainingSessions(1, 100), Animals(1e-4), cohort, None)
    rows = found.table.progress_mm_s
    assert rows.mean() == pytest.approx(50.0, abs=4.5 * 3 / np.sqrt(300))
    assert rows.std() == pytest.approx(3.0, rel=0.15)


def test_warm_up_lacks_a_part_of_what_was_learned():
    times = np.array([0.0, 1e-9, 100.0])
    outputs = np.broadcast_to(np.array([0.2, 1.0, 1.0])[None, :, None, None], (4000, 3, 1, 1))
    cohort = OutputCurves(times, outputs, [[0.0]])
    sessions = TrainingSessions(2, 40, warm_up=0.5, warm_up_trials=8)
    found = simulate(Errors(0.3, "signed"), sessions, Animals(1e-3), cohort, None, per_trial=True)
    second = found.table[found.table.session == 2]
    means = second.groupby(second.trial - 41).error.mean().to_numpy()
    expected = 0.2 + (1 - 0.5 * np.exp(-np.arange(40) / 8)) * 0.8
    np.testing.assert_allclose(means, expected, atol=4.5 * 0.3 / np.sqrt(4000))


def test_forgetting_mixes_learned_overlaps_with_those_of_the_start():
    """Against sessions learned one by one, the overlaps mixed by hand in between."""
    sessions = TrainingSessions(3, 50, retention=0.6)
    found = simulate(
        Errors(1e-6, "signed"), sessions, Animals(RULE.rate, number=2), points=150, per_trial=True
    )
    target = TASK.sample(np.random.default_rng(0))
    asked = np.sum(target.targets * target.weights) / np.sum(target.weights)
    now, expected = START, []
    for _ in range(3):
        learned = pl.learn(now, TASK, RULE, 50)
        expected += [mean_output(learned.array[j]) - asked for j in range(50)]
        mixed = START.matrix + 0.6 * (learned.final.matrix - START.matrix)
        now = pl.Overlaps(mixed)
    own = found.table[found.table.subject == "A01"].error
    np.testing.assert_allclose(own, expected, atol=2e-5)
    assert expected[50] < expected[49]


def test_drop_out_and_numbers_of_sessions():
    found = simulate(sessions=TrainingSessions(6, 5, drop_out=0.3), animals=Animals(1e-3, 1000))
    sizes = found.table.groupby("session").size().to_numpy()
    np.testing.assert_allclose(sizes / 1000, 0.7 ** np.arange(6), atol=0.06)
    assert found.animals.dropped_out.mean() == pytest.approx(1 - 0.7**5, abs=0.06)
    own = {"distribution": "randint", "low": 2, "high": 4}
    found = simulate(sessions=TrainingSessions(6, 5), animals=Animals(1e-3, 200, sessions=own))
    assert set(found.animals.sessions) == {2, 3}
    assert not found.animals.dropped_out.any()


def test_trials_to_criterion_of_animals_that_do_not_learn_follow_the_exact_law():
    found = simulate(
        Choices(1.0), TrainingSessions(3, 10), Animals(1e-3), curves(0.5), None, per_trial=True
    )
    criterion = Criterion(1.0, 4)
    table = found.trials_to_criterion(criterion)
    law = criterion.distribution(np.full(30, stats.norm.cdf(0.5)))
    shares = np.array([np.mean(table.reached & (table.trials == t)) for t in range(1, 31)])
    np.testing.assert_allclose(shares, law, atol=4.5 * np.sqrt(0.2 / 2000))
    assert table[~table.reached].trials.eq(30).all()


@pytest.mark.parametrize(
    "rule", [pl.GradientFlow(), pl.GradientDescent(4e-3, momentum=0.5), pl.FirstOrderDescent(4e-3)]
)
def test_other_rules_and_tasks_of_several_outputs(rule):
    found = simulate_animals(
        [START, START.replace(zu=0.3)], TASK, rule, Choices(0.1), TrainingSessions(2, 100), 2e-3
    )
    assert found.table.percent_correct.between(0, 100).all()
    first, last = (found.table[found.table.session == s].percent_correct.mean() for s in (1, 2))
    assert last > first


def test_stimuli_of_a_task_that_draws_them():
    task = pl.DecisionMaking(trials=8, duration=4.0, stimulus=1.0, fixation=0.5, delay=0.5)
    start = pl.Overlaps(np.eye(4)).replace(zm=0.5)
    found = simulate(
        Choices(0.02), cohort=start, task=task, per_trial=True, animals=Animals(1e-3, 3)
    )
    assert set(found.table.stimulus) <= set(range(8))
    assert found.table.correct.isin([0.0, 1.0]).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"animals": Animals(1e-3)}, "needs the number of animals"),
        ({"cohort": [START, 3]}, "entry 1 is a int"),
        ({"cohort": [START], "animals": Animals(1e-3, 2)}, "one table an animal"),
        ({"behaviour": "choices"}, "behaviour must be Choices, Errors or CursorProgress"),
        ({"behaviour": CursorProgress(1.0)}, r"of 2 output\(s\); got 1"),
        ({"animals": Animals({"distribution": "norm"}, 50)}, "rate_per_trial must be at least 0"),
        ({"animals": Animals(1e-3, 2, start={"zy": 0.1})}, "start names the overlap 'zy'"),
        ({"animals": Animals(1e-3, 2, start={"zu": 3.0})}, "of 200 draws no network has these"),
        ({"animals": Animals(1e-3, 2, lapse=0.7)}, r"lapse must be at least 0 and below 0\.5"),
        (
            {"behaviour": Errors(1.0, "signed"), "animals": Animals(1e-3, 2, lapse=0.1)},
            "lapse is not of Errors",
        ),
        ({"window": (9.0, 10.0)}, "window must hold a bin of the trial, which lasts 5 s"),
        ({"cohort": curves(0.5), "task": None, "animals": Animals(1.0)}, "times must go on to"),
        ({"task": "filter"}, "task must have n_in"),
    ],
)
def test_bad_input_of_simulations(settings, words):
    with pytest.raises(InputError, match=words):
        simulate(**settings)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TrainingSessions(0, 10), "number must be a whole number"),
        (lambda: TrainingSessions(2, 10, retention=1.2), "retention must be from 0 to 1"),
        (lambda: TrainingSessions(2, 10, drop_out=1.0), "drop_out must be from 0 to 1"),
        (lambda: TrainingSessions(2, 10, warm_up=0.2), "warm_up needs warm_up_trials"),
        (lambda: TrainingSessions(2, 10, performance_noise=-1), "performance_noise must be zero"),
        (lambda: OutputCurves([1, 2], np.zeros((1, 2, 1, 1)), [[1.0]]), "times must start at 0"),
    ],
)
def test_bad_sessions_and_curves(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_an_animal_that_diverges_is_named():
    with pytest.raises(DivergenceError, match="animal 1"):
        simulate_animals(
            [START, START.replace(mm=400.0, uu=400.0, zu=9.0, zz=400.0)],
            TASK,
            RULE,
            Choices(0.1),
            TrainingSessions(2, 200),
            4e-3,
        )


def test_sources_of_spread_are_those_that_were_put_in():
    """One source at a time, each against a variance worked out by hand."""
    n = 3000
    rng = np.random.default_rng(0)
    times = np.linspace(0.0, 4.0, 201)
    level = rng.normal(1.0, 0.2, n)
    outputs = level[:, None, None, None] * (1 - np.exp(-times))[None, :, None, None]
    cohort = OutputCurves(times, outputs, [[0.0]])
    rate = {"distribution": "lognormal", "median": 0.01, "sd_log": 0.3}
    sessions = TrainingSessions(2, 50, performance_noise=0.1)
    found = simulate(Errors(0.5, "signed"), sessions, Animals(rate), cohort, None)
    table = found.sources_of_spread(2).set_index("source")
    # session 2 is of trials 50 to 99, learning time 0.5 to 1
    trial = np.arange(50, 100)
    shape = np.mean(1 - np.exp(-0.01 * trial))
    assert table.variance["start"] == pytest.approx(0.04 * shape**2, rel=0.1)
    rates = 0.01 * np.exp(0.3 * rng.standard_normal(20_000))
    by_rate = np.var(np.mean(1 - np.exp(-rates[:, None] * trial), axis=1))
    assert table.variance["rate"] == pytest.approx(by_rate, rel=0.1)
    assert table.variance["performance noise"] == pytest.approx(0.01, rel=0.1)
    assert table.variance["finite trials"] == pytest.approx(0.25 / 50, rel=1e-6)
    assert table.variance["total"] == pytest.approx(table.variance["simulated"], rel=0.1)
    parts = table.variance.drop(["total", "simulated"]).sum()
    assert parts == pytest.approx(table.variance["total"], rel=1e-9)


# that parts are those put in, and add up, is tested above for given courses
@pytest.mark.slow
def test_spread_of_learned_cohorts_adds_up_to_what_was_simulated():
    start = {"zu": {"distribution": "normal", "mean": 0.1, "sd": 0.05}}
    animals = Animals(
        LOGNORMAL,
        300,
        start=start,
        lapse={"distribution": "beta", "a": 2, "b": 30},
        noise={"distribution": "lognormal", "median": 0.2, "sd_log": 0.5},
    )
    sessions = TrainingSessions(3, {"distribution": "poisson", "mu": 60}, performance_noise=0.3)
    for retention in (1.0, 0.8):
        found = simulate(
            sessions=TrainingSessions(3, sessions.trials, 0.3, retention=retention), animals=animals
        )
        table = found.sources_of_spread().set_index("source")
        assert list(table.index) == [
            "rate",
            "start",
            "number of trials",
            "noise",
            "lapse",
            "performance noise",
            "together",
            "finite trials",
            "total",
            "simulated",
        ]
        total = table.loc["total"]
        error = 4.5 * np.hypot(total.standard_error, table.standard_error["simulated"])
        assert abs(total.variance - table.variance["simulated"]) < error
        assert table.sd["total"] == pytest.approx(np.sqrt(total.variance))
