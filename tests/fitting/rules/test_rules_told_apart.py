"""Rules of learning fitted to sessions and compared; predictions against N plain neurons."""

from __future__ import annotations

import neuron_network
import numpy as np
import pandas as pd
import pytest

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.fitting.learning.sessions import checked_sessions
from predictlearn.fitting.rules.columns import check_columns, column_names, columns_of
from predictlearn.fitting.rules.comparison import _left_out
from predictlearn.fitting.rules.search import rule_problem
from predictlearn.theory.learning.sensitivity import Leg, learn_with_sensitivities
from predictlearn.theory.learning.span_many import SpanSchedule

TASK, MIXED = pl.Filter(duration=3.0, dt=0.1), pl.Feedback(0.5, 0.7)
RATE, GAPS = 0.02, 4
RULES = {
    "through": pl.GradientDescent(RATE),
    "fa": pl.FeedbackAlignment(RATE, MIXED),
    "rflo": pl.RFLO(RATE, MIXED),
}


def start(seed=0, sizes=(1, 1, 1)):
    dim = sizes[0] + 2 * sizes[1] + sizes[2]
    g = np.random.default_rng(seed).normal(size=(dim, dim))
    return pl.Overlaps(np.eye(dim) + 0.1 * g @ g.T / dim, *sizes)


def seen():
    """A network of which a session shows all that it can: nothing is near zero."""
    return start().replace(zm=0.2, zu=0.3, vm=0.4, vu=0.3)


def recorded(rule, learns, n=20, noise=1.0, seed=3, gaps=GAPS):
    recordings, _ = pl.simulate_learning(
        seen(), TASK, gaps, rule, n_sessions=n, n_neurons=300, recorded=300, noise=noise,
        output_noise=noise / 10, n_bins=40, learns=learns, seed=seed,
    )  # fmt: skip
    return pl.measured_rule_columns(recordings)


def problem_of(table, hypothesis, errors=0.1, tasks=TASK, epochs=GAPS, **more):
    settings = {"rank": 1, "tau": 1.0, "n_starts": 2, "max_iter": 30, "seed": 0} | more
    return rule_problem(table, tasks, epochs, hypothesis, errors, **settings)


def blank(n, columns):
    return pd.DataFrame(np.zeros((n, len(columns))), columns=list(columns))


def parameters(problem, overlaps, strengths):
    return np.concatenate([problem.model.layout.pack(overlaps.matrix), strengths])


@pytest.mark.quick
@pytest.mark.parametrize("rule", list(RULES))
def test_predicted_columns_of_synapses_are_those_of_n_neurons(rule):
    n, epochs = 60, 3 * GAPS
    columns = (*column_names(1, 1), "loss")
    hypothesis = pl.Hypothesis(RULES[rule], "synapses")
    problem = problem_of(blank(4, columns), hypothesis)
    strengths = {"rate": 0.0, "decoder": 0.5, "private": 0.7**2}
    x = parameters(problem, start(), [strengths[s] for s in problem.model.strengths])
    found = problem.model.predictions(x[None])[0].reshape(4, -1)
    feedback = None if rule == "through" else MIXED
    network = pl.Synapses.from_overlaps(start(), feedback).on_neurons(n, 1)
    trials = TASK.sample(np.random.default_rng(0))
    losses, *after = neuron_network.learn_synapses(
        network, neuron_network.open_world(1, 1), trials.inputs, trials.targets, trials.weights,
        0.1, RATE, epochs, rule,
    )  # fmt: skip
    for row, (m, w, z) in ((0, (network.m, network.w, network.z)), (-1, after)):
        vectors = np.hstack([m, w @ m, w @ w @ m])
        products = (vectors.T @ vectors / n)[np.triu_indices(3)]
        expected = np.concatenate([(z.T @ vectors / n).ravel(), products])
        assert np.abs(found[row, :-1] - expected).max() < 1e-12
    assert np.abs(found[:, -1] - losses[::GAPS]).max() < 1e-12 * losses[0]
    assert np.abs(found[-1] - found[0]).max() > 0.1  # it did learn


@pytest.mark.parametrize("rule", ["fa", "rflo"])
def test_predicted_columns_of_factors_are_those_of_n_neurons(rule):
    columns = (*column_names(1, 1, 2), "loss")
    problem = problem_of(blank(4, columns), pl.Hypothesis(RULES[rule]))
    x = parameters(problem, start(), [0.0, 0.5, 0.49])
    found = problem.model.predictions(x[None])[0].reshape(4, -1)
    loadings, b = pl.Factors.from_overlaps(start(), MIXED).on_neurons(50, 1)
    trials = TASK.sample(np.random.default_rng(0))
    losses, s = neuron_network.learn_factors(
        loadings, b, neuron_network.open_world(1, 1), trials.inputs, trials.targets,
        trials.weights, 0.1, RATE, 3 * GAPS, rule,
    )  # fmt: skip
    m, u, v, z = range(4)
    vm = s[v, m]
    expected = [s[z, m], s[z, u] * vm, s[m, m], s[m, u] * vm, s[u, u] * vm**2, losses[-1]]
    assert np.abs(found[-1] - expected).max() < 1e-12


def closed_loop():
    world = pl.LinearWorld(step=[[0.9]], push=[[0.1]], seen=[[-0.3]])
    rng = np.random.default_rng(0)
    targets = 0.1 * rng.normal(size=(5, 20, 1)).cumsum(axis=1)
    return pl.ArrayTask(
        rng.normal(size=(5, 20, 1)), targets, np.full((5, 20, 1), 0.01), dt=0.1, world=world
    )


@pytest.mark.parametrize("learns", ["factors", "synapses"])
@pytest.mark.parametrize("kind", ["descent", "decay", "loop", "alignment"])
def test_networks_side_by_side_learn_as_each_does_alone(learns, kind):
    """Two tasks in turn, several inputs and outputs, rates of pathways; loops and decay too."""
    sizes = (1, 1, 1) if kind == "loop" else (2, 2, 1)
    pathways = {"z": 0.5, "w" if learns == "synapses" else "u": 0.7}
    settings = {"pathway_rates": pathways, "weight_decay": 0.1 if kind == "decay" else 0.0}
    rule = (
        pl.FeedbackAlignment(0.05, MIXED, **settings)
        if kind == "alignment"
        else pl.GradientDescent(0.05, **settings)
    )
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(4, 20, sizes[0])) for _ in range(2)]
    tasks = [pl.ArrayTask(x, 0.3 * x[:, :, :1], np.full((4, 20, 1), 0.02), dt=0.1) for x in inputs]
    if kind == "loop":
        tasks[1] = closed_loop()
    network = {"factors": pl.Factors, "synapses": pl.Synapses}[learns]
    starts = [
        network.from_overlaps(start(k, sizes), MIXED if kind == "alignment" else None)
        for k in range(3)
    ]
    names = "muvz" if learns == "factors" else "mwz"
    parts = {name: np.array([getattr(x, name) for x in starts]) for name in names}
    b = np.array([x.feedback for x in starts]) if kind == "alignment" else None
    when = np.array([0, 5, 12, 20])
    found = SpanSchedule(rule, [tasks[0], tasks[0], tasks[1]], when).courses(
        parts, b, np.array([0.05, 0.03, 0.02])
    )
    for c, (first, rate) in enumerate(zip(starts, (0.05, 0.03, 0.02), strict=True)):
        own = type(rule)(rate, *([MIXED] if kind == "alignment" else []), **settings)
        one = pl.learn(first, tasks[0], own, 12, learns=learns)
        two = pl.learn(one.final if learns == "synapses" else getattr(one, "end", one.final)
                       , tasks[1], own, 8, learns=learns)  # fmt: skip
        assert found.losses[c, [0, 1]] == pytest.approx(one.losses[[0, 5]], rel=1e-11)
        assert found.losses[c, [2, 3]] == pytest.approx(two.losses[[0, 8]], rel=1e-11)
        assert np.all(np.isfinite(found.w[c]))


def test_slopes_are_exact_ones_but_for_a_millionth():
    columns = ("zm", "m.m", "loss")
    problem = problem_of(blank(5, columns), pl.Hypothesis(RULES["through"]), errors=1.0)
    x = parameters(problem, start(), [0.0])
    scale = problem.scales(x)
    _, slopes = problem.slopes(problem.residuals, x[None], scale[None])[0]
    exact = learn_with_sensitivities(
        start(), [Leg(TASK, 4 * GAPS, RULES["through"])], [k * GAPS for k in range(5)]
    )
    rows = np.stack(
        [exact.slopes[:, 3, 0], exact.slopes[:, 0, 0], exact.loss_slopes], axis=1
    ).reshape(15, -1)
    layout = problem.model.layout
    natural = np.hstack([rows[:, :10], rows[:, 10:].sum(axis=1, keepdims=True)])
    expected = -natural @ layout.slopes(x) * scale
    assert np.abs(slopes - expected).max() < 1e-5 * np.abs(expected).max()


def test_errors_of_measured_columns_are_as_large_as_they_are_said_to_be():
    rule = RULES["through"]
    problem = problem_of(blank(20, column_names(1, 1)), pl.Hypothesis(rule, "synapses"))
    true = problem.model.predictions(parameters(problem, seen(), [0.0])[None])[0].reshape(20, -1)
    white = []
    for seed in range(4):
        table, errors = recorded(rule, "synapses", noise=2.0, seed=seed)
        for row, expected, covariance in zip(table.to_numpy(), true, errors, strict=True):
            white.append(np.linalg.solve(np.linalg.cholesky(covariance), row - expected))
    squares = np.square(white)
    # 80 sessions of 9 columns: the standard error of the mean is 0.05, of one column's 0.16
    assert abs(squares.mean() - 1) < 0.2
    assert np.all(np.abs(squares.mean(axis=0) - 1) < 0.6)


@pytest.mark.parametrize("rule", ["fa", "rflo"])
def test_rate_and_feedback_are_recovered_within_their_intervals(rule):
    table, errors = recorded(RULES[rule], "synapses", noise=0.5)
    guess = type(RULES[rule])(RATE / 2)
    fit = pl.fit_rule(table, TASK, GAPS, pl.Hypothesis(guess, "synapses"), errors)
    assert fit.converged
    assert fit.goodness.p_value > 1e-3
    for name, true in (("rate", RATE), ("decoder", 0.5), ("private", 0.7)):
        row = fit.parameters.loc[name]
        assert not row["open"]
        # 3.5 standard errors of a level of 95%
        assert abs(row["estimate"] - true) < 3.5 / 1.96 * (row["high"] - row["low"]) / 2, name
        assert row["high"] - row["low"] < 0.5 * true  # and that says something


# the doctest of compare_rules prefers factors
@pytest.mark.parametrize(
    "learns", [pytest.param("factors", marks=pytest.mark.slow), "synapses"], ids=str
)
def test_the_true_rule_is_preferred_and_wrong_ones_are_rejected(learns):
    table, errors = recorded(RULES["through"], learns, noise=0.3)
    old = pl.FeedbackAlignment(RATE, pl.Feedback(1.0, 0.0))
    hypotheses = {
        "factors": pl.Hypothesis(pl.GradientDescent(RATE / 2)),
        "synapses": pl.Hypothesis(pl.GradientDescent(RATE / 2), "synapses"),
        "old": pl.Hypothesis(old, "synapses", fitted=["rate"]),
    }
    found = pl.compare_rules(table, TASK, GAPS, hypotheses, errors, n_starts=2)
    assert found.best == learns
    assert found.left == (learns,)
    assert found.table.loc[learns, "p_value"] > 1e-3
    assert (found.table["p_value"].drop(learns) < 1e-6).all()
    assert (found.table["difference"] <= 0).all()
    assert found.held_out.sum()[learns] == pytest.approx(found.table.loc[learns, "held_out"])
    assert found.fits[learns].rule.rate == pytest.approx(RATE, rel=0.1)


def test_a_rule_with_more_freedom_fits_no_worse_than_its_special_case(monkeypatch):
    old = pl.FeedbackAlignment(RATE, pl.Feedback(1.0, 0.0))
    table, errors = recorded(old, "synapses", n=12)
    widely = []

    def spied(problem, maxima, folds, wide):
        widely.append(wide)
        return _left_out(problem, maxima, folds, wide)

    monkeypatch.setattr("predictlearn.fitting.rules.comparison._left_out", spied)
    hypotheses = {
        "old": pl.Hypothesis(old, "synapses", fitted=["rate"]),
        "any": pl.Hypothesis(pl.FeedbackAlignment(RATE), "synapses"),
    }
    found = pl.compare_rules(table, TASK, GAPS, hypotheses, errors, n_starts=2)
    gained = found.table.loc["any", "log_likelihood"] - found.table.loc["old", "log_likelihood"]
    assert -0.05 < gained < 8.0
    # sessions are left out of fits that begin from more than what all of them led to
    assert widely == [True, True]
    assert "old" in found.left
    assert (found.table["p_value"] > 1e-3).all()


def test_what_the_function_cannot_tell_is_said_to_be_open():
    """The function along descent of factors leaves S + c J open, which is mm, uu, vv and zz."""
    rule = pl.GradientDescent(RATE)
    names = list(column_names(1, 1)[:3])
    table = pl.simulate_sessions(
        seen(), TASK, GAPS, rule, noise=0.0, n_sessions=20, columns=["zm", "zu", "vm", "vu"]
    )
    function = pd.DataFrame(
        {
            "zm": table["zm"],
            "zwm": table["zu"] * table["vm"],
            "zwwm": table["zu"] * table["vu"] * table["vm"],
        }
    )[names]
    noisy = function + 1e-4 * np.random.default_rng(0).standard_normal(function.shape)
    fit = pl.fit_rule(noisy, TASK, GAPS, pl.Hypothesis(rule), 1e-4)
    assert set(fit.open) == {"mm", "uu", "vv", "zz"}
    assert fit.parameters.loc[list(fit.open), ["sd", "low", "high"]].isna().all().all()
    assert fit.n_determined == 10
    known = fit.parameters.loc[["zm", "vu", "rate"]]
    assert np.all(np.abs(known["estimate"] - [0.2, 0.3, RATE]) < 4 * known["sd"])


def test_where_synapses_learn_the_gauge_is_a_convention_and_not_open():
    table, errors = recorded(RULES["through"], "synapses", noise=0.3)
    fit = pl.fit_rule(table, TASK, GAPS, pl.Hypothesis(RULES["through"], "synapses"), errors)
    assert fit.open == ()
    assert fit.n_determined == 10
    assert fit.start["uu"] == pytest.approx(fit.start["vv"], rel=1e-6)
    true = seen().gauge((seen()["vv"] / seen()["uu"]) ** 0.25)
    rows = fit.parameters.drop("rate")
    off = [(r["estimate"] - true[name]) / r["sd"] for name, r in rows.iterrows()]
    assert np.abs(off).max() < 4


def test_the_convention_of_gauge_changes_nothing_that_is_predicted():
    for learns, rank in (("synapses", 2), ("factors", 2), ("synapses", 1)):
        columns = column_names(2, 2, 2)
        task = pl.ArrayTask(
            np.ones((3, 10, 2)), np.ones((3, 10, 2)), np.full((3, 10, 2), 0.03), dt=0.1
        )
        problem = problem_of(
            blank(3, columns), pl.Hypothesis(RULES["fa"], learns), tasks=task, rank=rank
        )
        x = parameters(problem, start(4, (2, rank, 2)), [0.1, 0.3, 0.4])
        y = problem.model.conventional(x)
        one, two = problem.model.predictions(np.array([x, y]))
        assert np.abs(one - two).max() < 1e-9
        assert np.abs(problem.model.held(y)).max(initial=0.0) < 1e-9
        if rank == 2:
            assert np.abs(problem.model.held(x)).max() > 1e-3


def test_columns_have_names_by_input_and_output():
    assert column_names(2, 1, 1) == ("zm1", "zm2", "m1.m1", "m1.m2", "m2.m2")
    s = pl.Synapses.from_overlaps(start(1, (2, 1, 2)))
    values = columns_of(s.m, s.w, s.z, ["z2wm1", "m2.wm1"])
    assert values[0] == pytest.approx(s.z[:, 1] @ s.w @ s.m[:, 0])
    assert values[1] == pytest.approx(s.m[:, 1] @ s.w @ s.m[:, 0])


def test_bad_input_is_one_message():
    table = blank(12, column_names(1, 1))
    good = {"a": pl.Hypothesis(RULES["through"]), "b": pl.Hypothesis(RULES["through"], "synapses")}
    for settings, message in (
        ({"fitted": ["decoder"]}, "a GradientDescent here has rate to fit"),
        ({"learns": "weights"}, "learns must be"),
    ):
        with pytest.raises(InputError, match=message):
            pl.Hypothesis(RULES["through"], **settings)
    with pytest.raises(InputError, match="momentum must be left out"):
        pl.Hypothesis(pl.RFLO(0.1, momentum=0.5))
    with pytest.raises(InputError, match="rule must be a GradientDescent"):
        pl.Hypothesis(pl.Adam(0.1))
    with pytest.raises(InputError, match="errors must be given"):
        pl.fit_rule(table, TASK, 4, good["a"], None)
    with pytest.raises(InputError, match="not seen whatever learns: uu"):
        pl.fit_rule(table.assign(uu=1.0), TASK, 4, good["a"], 0.1)
    with pytest.raises(InputError, match="tasks must have fixed trials"):
        pl.fit_rule(table, pl.FlipFlop(), 4, good["a"], 0.1)
    with pytest.raises(InputError, match="must be a pl"):
        pl.fit_rule(table, TASK, 4, RULES["fa"], 0.1)
    with pytest.raises(InputError, match="at least two"):
        pl.compare_rules(table, TASK, 4, {"a": good["a"]}, 0.1)
    with pytest.raises(InputError, match="folds must be at most half"):
        pl.compare_rules(table, TASK, 4, good, 0.1, folds=7)
    wrong = pl.GradientDescent(0.1, pathway_rates={"u": 0.0})
    with pytest.raises(InputError, match="'u' is no pathway where synapses learn; these are m, w"):
        pl.Hypothesis(wrong, "synapses")
    recordings, _ = pl.simulate_learning(
        start(), TASK, 4, RULES["through"], n_sessions=2, n_neurons=50, recorded=50
    )
    with pytest.raises(InputError, match="terms must be"):
        pl.measured_rule_columns(recordings, terms=2)
    with pytest.raises(InputError, match="fewer terms, or longer trials"):
        pl.measured_rule_columns(recordings, terms=200)
    assert check_columns(("zm",), 1, None, 1) == 1
    assert checked_sessions(table, TASK, 4, 0.1, 2, check_columns).sizes == (1, 2, 1)
