"""Exposure in closed form: against the metric, against learning, and what it ranks rightly."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import random_overlaps
from scipy import stats

import predictlearn as pl
from predictlearn.predictions.learning_speed import learning_speed
from predictlearn.theory.equivalence.speed import mean_derivative, probe_trials
from predictlearn.theory.names import visible_names

FILTER = pl.Filter(decay=0.3, duration=10.0)
SHORT = pl.FlipFlop(wait=(1.0, 2.0), duration=5.0, dt=0.05, trials=4)


def array_task(n_in, n_out, seed=0, observed=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 40, n_in))
    mixing = rng.normal(size=(n_in, n_out))
    y = 0.05 * np.cumsum(x @ mixing, axis=1)
    extra = {}
    if observed:
        extra = {"offset": [0.1, -0.2][:n_out], "smoothing": 0.5 * np.eye(n_out)}
    return pl.ArrayTask(x, y, np.full(y.shape, 0.02), 0.05, **extra)


def twin_of(first, nonlinearity, seed=0, size=0.15):
    """A network that differs from the first in every loss-invisible overlap."""
    rng = np.random.default_rng(seed)
    hidden = first.invisible_names(nonlinearity)
    signs = dict(zip(hidden, rng.choice([-1.0, 1.0], len(hidden)), strict=True))
    diagonal = {name for name in hidden if first.index(name)[0] == first.index(name)[1]}
    while True:
        new = {
            name: first[name] + (1.5 * size if name in diagonal else size / 3 * signs[name])
            for name in hidden
        }
        try:
            return pl.functionally_equivalent(first, nonlinearity, **new)
        except pl.InputError:
            size /= 2


PAIRS = {
    "linear rank 1": ((1, 1, 1), "linear", FILTER),
    "erf rank 1": ((1, 1, 1), "erf", SHORT.freeze(0)),
    "tanh rank 1": ((1, 1, 1), "tanh", SHORT.freeze(0)),
    "linear rank 2": ((1, 2, 1), "linear", pl.DampedOscillation(duration=10.0)),
    "linear rank 2, 2 inputs, observed": ((2, 2, 2), "linear", array_task(2, 2, observed=True)),
    "erf rank 2, 2 inputs, observed": ((2, 2, 2), "erf", array_task(2, 2, observed=True)),
}


def pair(case, seed=1):
    sizes, nonlinearity, task = PAIRS[case]
    first = random_overlaps(seed, *sizes)
    return first, twin_of(first, nonlinearity), nonlinearity, task


def slope_along(first, task, nonlinearity):
    """The loss's gradient in the visible overlaps, by differences of the loss alone."""
    trials = task.sample(np.random.default_rng(0))
    gradient = []
    for name in first.visible_names(nonlinearity):
        h = 1e-5
        ends = [
            pl.loss(first.replace(**{name: first[name] + sign * h}), trials, nonlinearity)
            for sign in (1, -1)
        ]
        gradient.append((ends[0] - ends[1]) / (2 * h))
    return np.array(gradient)


# -- closed form --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in PAIRS if not c.startswith("tanh")])
def test_is_the_metric_of_the_difference(case):
    """Velocity -G(dS) grad L and slope -grad L' G(dS) grad L, with the gradient from the loss."""
    first, second, nonlinearity, task = pair(case)
    found = pl.exposure(task, first, second, nonlinearity=nonlinearity)
    gradient = slope_along(first, task, nonlinearity)
    names = list(first.visible_names(nonlinearity))
    g = pl.metric(second, nonlinearity) - pl.metric(first, nonlinearity)
    expected = -g.loc[names].to_numpy() @ gradient
    scale = np.abs(found.velocities["first"]).max()
    assert found.velocities["difference"].to_numpy() == pytest.approx(expected, abs=1e-7 * scale)
    assert found.slope == pytest.approx(gradient @ expected, rel=1e-6)
    assert found.velocity == pytest.approx(np.linalg.norm(expected), rel=1e-6)
    own = gradient @ -pl.metric(first, nonlinearity).loc[names].to_numpy() @ gradient
    assert found.slopes[0] == pytest.approx(own, rel=1e-6)
    assert found.relative_slope == pytest.approx(
        2 * found.slope / (abs(found.slopes[0]) + abs(found.slopes[1]))
    )
    assert (found.measures["error"] == 0).all()
    assert found.batches == 1


@pytest.mark.parametrize("case", PAIRS)
def test_contributions_add_up_and_single_swaps_give_them(case):
    first, second, nonlinearity, task = pair(case)
    found = pl.exposure(task, first, second, nonlinearity=nonlinearity)
    account = found.contributions
    assert set(account["overlap"]) == set(first.invisible_names(nonlinearity))
    assert account["contribution"].sum() == pytest.approx(found.slope, rel=1e-12)
    assert account["share"].sum() == pytest.approx(1.0)
    swapped = 0
    for row in account.itertuples():
        low, high = first.reachable(row.overlap)
        if low <= second[row.overlap] <= high:
            swapped += 1
            alone = first.replace(**{row.overlap: second[row.overlap]})
            slope = pl.exposure(task, first, alone, nonlinearity=nonlinearity).slope
            assert slope == pytest.approx(row.contribution, rel=1e-9, abs=1e-12)
    assert swapped >= 2


def test_agrees_with_the_account_of_the_predictions():
    first, second, _, task = pair("linear rank 1")
    rule = pl.GradientDescent(0.1, pathway_rates={"z": 0.3, "m": 2.0})
    speeds = [learning_speed(o, probe_trials(task, 0), rule)[0] for o in (first, second)]
    found = pl.exposure(task, first, second, rule)
    assert found.slope == pytest.approx(speeds[0] - speeds[1], rel=1e-10)
    assert found.slopes == pytest.approx((-speeds[0], -speeds[1]), rel=1e-12)


def test_the_same_network_twice_differs_in_nothing():
    first = random_overlaps(0)
    found = pl.exposure(FILTER, first, first)
    assert found.slope == found.velocity == found.relative_slope == 0.0
    assert found.contributions.empty
    assert not found.after([0.0, 1.0]).to_numpy().any()


# -- against learning ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", PAIRS)
@pytest.mark.parametrize("rates", [None, {"z": 0.2, "m": 2.0}], ids=["even", "uneven"])
def test_order_of_the_prediction(case, rates):
    """The error of order k after learning time t goes as t^(k+1), in the loss and all overlaps."""
    first, second, nonlinearity, task = pair(case)
    rule = pl.GradientFlow(rtol=1e-12, atol=1e-14, pathway_rates=rates)
    found = pl.exposure(task, first, second, rule, nonlinearity)
    times = 0.02 * found.horizon / 2.0 ** np.arange(3)
    times = np.minimum(times, 0.1 / 2.0 ** np.arange(3))
    errors = np.empty((2, len(times), 2))
    for i, time in enumerate(times):
        one, other = (pl.learn(o, task, rule, time, nonlinearity) for o in (first, second))
        moved = (other.overlaps - one.overlaps).iloc[-1]
        for order in (1, 2):
            predicted = found.after(time, order).iloc[0]
            errors[order - 1, i, 0] = predicted["loss"] - (other.losses[-1] - one.losses[-1])
            errors[order - 1, i, 1] = np.linalg.norm(predicted[moved.index] - moved)
    for order, error in zip((1, 2), np.abs(errors), strict=True):
        slopes = np.log2(error[:-1] / error[1:])
        assert slopes == pytest.approx(np.full((2, 2), order + 1.0), abs=0.12)


def test_curvature_and_horizon_are_those_of_the_flow():
    first, second, nonlinearity, task = pair("erf rank 1")
    found = pl.exposure(task, first, second, nonlinearity=nonlinearity)
    h = 1e-4 * found.horizon
    rule = pl.GradientFlow(rtol=1e-13, atol=1e-15)
    bends = []
    for overlaps in (first, second):
        t = pl.learn(overlaps, task, rule, 4 * h, nonlinearity)
        losses = np.array([t.loss_at(k * h) for k in range(5)])
        # one-sided second difference of third order
        bends.append(losses @ [35 / 12, -26 / 3, 19 / 2, -14 / 3, 11 / 12] / h**2)
    assert found.bends == pytest.approx(bends, rel=1e-2)
    expected = min(abs(s / b) for s, b in zip(found.slopes, found.bends, strict=True))
    assert found.horizon == pytest.approx(expected)


def test_weight_decay_counts():
    first, second, _, task = pair("linear rank 1")
    rate, epochs = 1e-6, 200
    decayed = pl.GradientDescent(rate, weight_decay=0.7, pathway_rates={"u": 0.5})
    found = pl.exposure(task, first, second, decayed)
    one, other = (pl.learn(o, task, decayed, epochs) for o in (first, second))
    moved = (other.overlaps - one.overlaps).iloc[-1]
    predicted = found.after(rate * epochs).iloc[0]
    before = second.to_series() - first.to_series()
    assert (predicted[moved.index] - before).to_numpy() == pytest.approx(
        (moved - before).to_numpy(), rel=1e-3, abs=1e-9
    )
    assert found.slopes[0] == pytest.approx((one.losses[1] - one.losses[0]) / rate, rel=1e-4)
    assert predicted["loss"] == pytest.approx(other.losses[-1] - one.losses[-1], rel=1e-3)
    # what decay adds to the slope is the same in both
    plain = pl.exposure(task, first, second, pl.GradientFlow(pathway_rates={"u": 0.5}))
    assert found.slope == pytest.approx(plain.slope, rel=1e-9)
    assert found.slopes[0] != pytest.approx(plain.slopes[0], rel=1e-3)


# -- tasks that draw new trials -----------------------------------------------------------------


def noisy_pair():
    first = random_overlaps(4)
    return first, twin_of(first, "erf")


def test_slope_of_sampled_tasks_is_unbiased_and_its_error_right():
    """Six batches of one trial, often, against very many trials."""
    settings = {"dt": 0.1, "duration": 6.0, "fixation": 0.5, "stimulus": 3.0, "delay": 0.5}
    task, many = (pl.DecisionMaking(trials=n, noise=0.3, **settings) for n in (1, 8000))
    first, second = noisy_pair()
    runs = [
        pl.exposure(task, first, second, nonlinearity="erf", seed=k, batches=6) for k in range(300)
    ]
    slopes = np.array([run.slope for run in runs])
    errors = np.array([run.measures.loc["slope", "error"] for run in runs])
    truth = pl.exposure(many, first, second, nonlinearity="erf", seed=10_000, batches=10)
    standard = np.hypot(slopes.std() / np.sqrt(300), truth.measures.loc["slope", "error"])
    assert abs(slopes.mean() - truth.slope) < 3.5 * standard
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(slopes.std(), rel=0.25)
    # the square of the mean over six batches is off by a sixth of the variance of one
    naive = []
    for k in range(300):
        a = mean_derivative(first, probe_trials(task, k, 6), "erf")
        naive.append(-np.sum((a @ a) * (second.matrix - first.matrix)))
    # on the same batches
    off = np.array(naive) - slopes
    assert abs(off.mean()) > 6 * off.std() / np.sqrt(len(off))


def test_sampled_tasks_learn_apart_as_predicted():
    """Descent at a small rate, each epoch on new trials, averaged over seeds."""
    first, second = noisy_pair()
    rate, epochs = 2e-3, 10
    gaps = []
    for seed in range(150):
        one, other = (
            pl.learn(o, SHORT, pl.GradientDescent(rate), epochs, "erf", seed=seed)
            for o in (first, second)
        )
        gaps.append(other.losses[-1] - one.losses[-1])
    found = pl.exposure(SHORT, first, second, nonlinearity="erf", batches=200)
    predicted = found.after(rate * epochs)["loss"].iloc[0]
    standard = np.hypot(
        np.std(gaps) / np.sqrt(len(gaps)), rate * epochs * found.measures.loc["slope", "error"]
    )
    assert abs(predicted) > 5 * standard
    assert abs(np.mean(gaps) - predicted) < 3.5 * standard


def test_errors_shrink_with_batches():
    first, second = noisy_pair()
    few, many = (pl.exposure(SHORT, first, second, nonlinearity="erf", batches=n) for n in (8, 128))
    ratio = few.measures["error"] / many.measures["error"]
    assert ratio["slope"] == pytest.approx(4.0, rel=0.5)
    assert (few.velocities["error"] >= many.velocities["error"]).all()
    # dS is in the rows of v and z: it moves nothing of m and u against one another
    assert (few.velocities["error"] > 0).tolist() == [True] * 4 + [False] * 3


# -- ranking ------------------------------------------------------------------------------------


def smooth_family(n_tasks, seed=1):
    """Random linear filters of two smooth inputs, which differ in what they ask of each pathway."""
    rng = np.random.default_rng(seed)
    time = np.arange(100) * 0.1
    tasks = {}
    for k in range(n_tasks):
        x = 0.1 * rng.normal(size=(4, 100, 2)).cumsum(axis=1) * rng.uniform(0, 1, 2)
        y = np.zeros((4, 100, 2))
        for o in range(2):
            for i in range(2):
                kernel = rng.normal() * np.exp(-rng.uniform(0.2, 3) * time)
                kernel += (
                    rng.normal()
                    * np.exp(-rng.uniform(0.2, 2) * time)
                    * np.cos(rng.uniform(0, 4) * time)
                )
                for p in range(4):
                    y[p, :, o] += 0.1 * np.convolve(x[p, :, i], kernel)[:100]
        weights = np.broadcast_to(0.025 * rng.uniform(0, 1, 2) ** 2, y.shape)
        tasks[f"task {k}"] = pl.ArrayTask(x, y, weights, 0.1)
    return tasks


def apart(task, first, second, time, shares, nonlinearity):
    """How far two losses are apart when the first has fallen by shares of what it will fall."""
    rule = pl.GradientFlow(rtol=1e-6, atol=1e-8)
    one, other = (pl.learn(o, task, rule, time, nonlinearity) for o in (first, second))
    result = []
    for share in shares:
        fallen = share * (one.losses[0] - one.losses[-1])
        at = one.reached(one.losses[0] - fallen)
        result.append((other.loss_at(at) - one.loss_at(at)) / fallen)
    return result


@pytest.mark.parametrize(
    ("nonlinearity", "change"),
    [
        pytest.param("linear", "m1m1", id="linear", marks=pytest.mark.slow),
        pytest.param("erf", "z1z1", id="erf"),
    ],
)
def test_ranking_agrees_with_learning_at_first_and_less_so_later(nonlinearity, change):
    first = random_overlaps(0, 2, 2, 2, cross=0.5)
    second = pl.functionally_equivalent(first, nonlinearity, **{change: 1.8 * first[change]})
    tasks = smooth_family(14)
    ranking = pl.most_exposing(tasks, first, second, nonlinearity=nonlinearity)
    assert ranking["relative_slope"].abs().is_monotonic_decreasing
    measured = np.array(
        [
            apart(tasks[row.task], first, second, 20 * row.horizon, (0.02, 0.1, 0.9), nonlinearity)
            for row in ranking.itertuples()
        ]
    )
    agreement = [
        stats.spearmanr(ranking["relative_slope"].abs(), np.abs(column)).statistic
        for column in measured.T
    ]
    assert agreement[0] > 0.97
    assert agreement[1] > 0.95
    assert agreement[2] < agreement[0] - 0.05  # so late the first slope decides less
    assert measured[:, 0] == pytest.approx(
        ranking["relative_slope"] / (1 + ranking["relative_slope"] / 2), abs=0.02
    )


def test_relative_measures_do_not_depend_on_the_unit_of_the_loss():
    first, second, _, _ = pair("linear rank 2, 2 inputs, observed")
    task = array_task(2, 2)
    scaled = pl.ArrayTask(task.inputs, task.targets, 100 * task.weights, task.dt)
    table = pl.most_exposing({"one": task, "hundred": scaled}, first, second).set_index("task")
    one, hundred = table.loc["one"], table.loc["hundred"]
    for name in ("relative_slope", "relative_velocity"):
        assert one[name] == pytest.approx(hundred[name], rel=1e-12)
    assert hundred["slope"] == pytest.approx(1e4 * one["slope"], rel=1e-12)
    assert hundred["velocity"] == pytest.approx(100 * one["velocity"], rel=1e-12)
    for by in ("slope", "velocity"):
        absolute = pl.most_exposing({"one": task, "hundred": scaled}, first, second, by, False)
        assert absolute["task"].tolist() == ["hundred", "one"]


def test_tasks_that_use_other_outputs_expose_nothing():
    """zz of the second output does not matter to a task on the first."""
    first = random_overlaps(2, 1, 1, 2)
    second = pl.functionally_equivalent(first, z2z2=first["z2z2"] + 0.5)
    task = array_task(1, 2)
    weights = {"first": [1.0, 0.0], "second": [0.0, 1.0], "both": [1.0, 1.0]}
    tasks = {
        name: pl.ArrayTask(task.inputs, task.targets, task.weights * w, task.dt)
        for name, w in weights.items()
    }
    table = pl.most_exposing(tasks, first, second, by="velocity").set_index("task")
    assert table.loc["first", "slope"] == 0.0
    assert table.loc["first", "velocity"] == 0.0
    assert table.index[-1] == "first"
    assert table.index[0] == "second"


def test_noise_is_said_where_it_decides_the_rank():
    first, second = noisy_pair()
    tasks = {"short": SHORT, "again": SHORT, "filter": FILTER}
    table = pl.most_exposing(tasks, first, second, nonlinearity="erf").set_index("task")
    assert table["rank"].tolist() == [1, 2, 3]
    twins = table.loc[["short", "again"]]
    assert twins["relative_slope"].nunique() == 1  # the same seed draws the same trials
    assert abs(twins["rank"].iloc[0] - twins["rank"].iloc[1]) == 1
    higher = twins["rank"].idxmin()
    lower = ({"short", "again"} - {higher}).pop()
    assert table.loc[higher, "note"] == f"within noise of {lower}"
    assert "zero" not in " ".join(table["note"])
    assert table.loc["filter", "relative_slope_error"] == 0.0
    assert table.loc["filter", "batches"] == 1
    # a difference that this task hardly shows
    blind = pl.functionally_equivalent(first, "erf", zz=first["zz"] + 1e-9)
    noted = pl.most_exposing({"short": SHORT}, first, blind, "velocity", nonlinearity="erf")
    assert noted["note"].tolist() == [""]


def test_a_solved_task_has_no_slope():
    solved = pl.learn(random_overlaps(0), FILTER, pl.GradientFlow(), 1.0).final
    trials = FILTER.sample()
    outputs = pl.simulate(solved, trials).outputs
    task = pl.ArrayTask(trials.inputs, outputs, trials.weights, trials.dt)
    twin = twin_of(solved, "linear")
    silent = pl.ArrayTask(0 * trials.inputs, outputs, trials.weights, trials.dt)
    table = pl.most_exposing({"silent": silent, "filter": FILTER}, solved, twin)
    assert table["task"].tolist() == ["filter", "silent"]
    assert np.isnan(table["relative_slope"].iloc[1])
    assert table["note"].iloc[1] == "neither network learns this task at first"
    assert pl.exposure(task, solved, twin).loss < 1e-25


# -- refusals -----------------------------------------------------------------------------------

ONE = random_overlaps(0)
TWIN = twin_of(ONE, "erf")
REFUSED = [
    (
        lambda: pl.exposure(FILTER, ONE, ONE.replace(zm=ONE["zm"] + 0.01)),
        r"differ in the loss-visible zm \([-\d.]+ and [-\d.]+\)",
    ),
    (
        lambda: pl.exposure(SHORT, ONE, ONE.replace(uu=ONE["uu"] + 0.1), nonlinearity="erf"),
        r"differ in the loss-visible uu",
    ),
    (lambda: pl.exposure(FILTER, ONE, random_overlaps(0, 2)), r"second must have the inputs"),
    (lambda: pl.exposure(FILTER, ONE, np.eye(4)), r"second must be an Overlaps; got ndarray"),
    (lambda: pl.exposure(FILTER, 3, ONE), r"first must be an Overlaps; got int"),
    (
        lambda: pl.exposure(FILTER, ONE, TWIN, pl.DirectDescent(0.1)),
        r"rule must be a GradientDescent or GradientFlow; got DirectDescent",
    ),
    (
        lambda: pl.exposure(FILTER, ONE, TWIN, pl.GradientDescent(0.1, momentum=0.9)),
        r"rule must be without momentum.*got momentum 0\.9",
    ),
    (lambda: pl.exposure(FILTER, ONE, TWIN, batches=1), r"batches must be a whole number of at"),
    (lambda: pl.exposure(FILTER, ONE, TWIN, seed=-1), r"seed must be a whole number"),
    (lambda: pl.exposure(FILTER, ONE, TWIN, nonlinearity="ref"), r"Did you mean 'erf'"),
    (lambda: pl.exposure(array_task(2, 1), ONE, TWIN), r"the task has 2 input\(s\)"),
    (lambda: pl.exposure("filter", ONE, TWIN), r"task must have n_in"),
    (lambda: pl.exposure(FILTER, ONE, TWIN).after(-1.0), r"times must be zero or more"),
    (lambda: pl.exposure(FILTER, ONE, TWIN).after(1.0, order=3), r"order must be 1 or 2; got 3"),
    (lambda: pl.most_exposing({}, ONE, TWIN), r"tasks must map names to tasks"),
    (lambda: pl.most_exposing([FILTER], ONE, TWIN), r"tasks must map names to tasks"),
    (lambda: pl.most_exposing({"a": FILTER}, ONE, TWIN, by="slop"), r"Did you mean 'slope'"),
    (
        lambda: pl.most_exposing({"a": FILTER, "b": array_task(2, 1)}, ONE, TWIN),
        r"tasks\['b'\]: the task has 2 input\(s\)",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refusals_say_what_is_wrong(make, message):
    with pytest.raises(pl.InputError, match=message):
        make()


def test_names_of_the_velocities_are_the_visible_overlaps():
    found = pl.exposure(SHORT, ONE, TWIN, nonlinearity="erf", batches=2)
    assert tuple(found.velocities.index) == visible_names(nonlinearity="erf")
    assert found.settings["nonlinearity"] == "erf"
    with pytest.raises(AttributeError):
        found.loss = 0.0
