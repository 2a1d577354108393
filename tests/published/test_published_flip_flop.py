"""Flip-flop of the gallery: measures of Gaussianity, courses of learning, and the whole result."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import predictlearn as pl
from predictlearn.published.flip_flop import result as flip_flop
from predictlearn.published.flip_flop.runs import (
    BEFORE,
    COURSES,
    Runs,
    closeness_table,
    direct_course,
    gaussianity_table,
)
from predictlearn.published.protocols import load, run
from predictlearn.theory.populations.gaussianity import (
    gaussian_bands,
    kurtosis_change,
    measures,
    two_sided_p,
    upper_p,
)

# -- Gaussianity --------------------------------------------------------------------------------


def brute_distance(x):
    """Henze & Zirkler (1990), by its definition, pair by pair."""
    n, d = x.shape
    centred = x - x.mean(axis=0)
    inverse = np.linalg.inv(np.cov(x.T, bias=True))
    b = ((2 * d + 1) * n / 4) ** (1 / (d + 4)) / np.sqrt(2)
    total = sum(np.exp(-(b**2) / 2 * (p - q) @ inverse @ (p - q)) for p in x for q in x) / n**2
    single = np.mean([np.exp(-(b**2) / (2 * (1 + b**2)) * p @ inverse @ p) for p in centred])
    return n * (total - 2 * (1 + b**2) ** (-d / 2) * single + (1 + 2 * b**2) ** (-d / 2))


def test_measures_are_those_of_their_definitions():
    x = np.random.default_rng(0).gamma(2.0, size=(80, 3))
    found = measures(x)
    np.testing.assert_allclose(found.kurtosis, stats.kurtosis(x, axis=0), rtol=1e-12)
    for k in range(3):
        standard = (x[:, k] - x[:, k].mean()) / x[:, k].std()
        expected = stats.kstest(standard, "norm").statistic
        assert found.distance[k] == pytest.approx(expected, rel=1e-12)
    inverse = np.linalg.inv(np.cov(x.T, bias=True))
    far = np.einsum("ni,ij,nj->n", x - x.mean(axis=0), inverse, x - x.mean(axis=0))
    assert found.joint_kurtosis == pytest.approx(np.mean(far**2) - 15, rel=1e-10)
    assert found.joint_distance == pytest.approx(brute_distance(x), rel=1e-9)


def test_joint_measures_do_not_depend_on_the_basis():
    rng = np.random.default_rng(1)
    x, turn = rng.normal(size=(200, 4)) ** 3, rng.normal(size=(4, 4))
    one, other = measures(x), measures(x @ turn + 5.0)
    assert one.joint_kurtosis == pytest.approx(other.joint_kurtosis, rel=1e-9)
    assert one.joint_distance == pytest.approx(other.joint_distance, rel=1e-9)
    np.testing.assert_allclose(measures(-3 * x + 1).kurtosis, one.kurtosis, rtol=1e-9)


def test_bands_are_those_of_gaussian_samples():
    bands = gaussian_bands(300, 4, draws=600)
    assert np.std(bands.kurtosis) == pytest.approx(np.sqrt(24 / 300), rel=0.12)
    # Lilliefors' table: 5% above 0.886 / sqrt(N), within its own approximation
    assert np.quantile(bands.distance, 0.95) == pytest.approx(0.886 / np.sqrt(300), rel=0.06)
    assert np.std(bands.joint_kurtosis) == pytest.approx(np.sqrt(8 * 4 * 6 / 300), rel=0.12)
    low, high = bands.quantiles
    assert np.all(low < high)
    fresh = np.sort(np.random.default_rng(7).standard_normal((300, 200)), axis=0)
    fresh = (fresh - fresh.mean(axis=0)) / fresh.std(axis=0)
    inside = (fresh >= low[:, None]) & (fresh <= high[:, None])
    assert inside.mean() == pytest.approx(0.95, abs=0.01)


def test_p_values_have_the_stated_size_and_see_light_tails():
    bands = gaussian_bands(300, 4, draws=600)
    rng = np.random.default_rng(3)
    p = []
    for _ in range(200):
        found = measures(rng.standard_normal((300, 4)))
        p.append(
            [
                upper_p(bands.joint_distance, found.joint_distance),
                two_sided_p(bands.kurtosis, found.kurtosis[0]),
                upper_p(bands.distance, found.distance[0]),
            ]
        )
    # 200 samples: 5% within 0.05 +- 0.046 (three standard errors)
    np.testing.assert_allclose(np.mean(np.array(p) <= 0.05, axis=0), 0.05, atol=0.046)
    light = rng.standard_normal((300, 4))
    light[:, 0] = rng.uniform(-1.7, 1.7, size=300)
    seen = measures(light)
    assert upper_p(bands.joint_distance, seen.joint_distance) < 0.01
    assert two_sided_p(bands.kurtosis, seen.kurtosis[0]) < 0.01


def test_change_of_kurtosis_of_the_same_neurons():
    rng = np.random.default_rng(4)
    before = rng.standard_normal((500, 3))
    after = before.copy()
    after[:, 1] = np.arctan(before[:, 1])
    change = kurtosis_change(before, after)
    assert change["change"].iloc[[0, 2]].abs().max() < 1e-12
    expected = stats.kurtosis(after[:, 1]) - stats.kurtosis(before[:, 1])
    assert change["change"].iloc[1] == pytest.approx(expected, rel=1e-10)
    assert change.loc["joint", "change"] == pytest.approx(
        measures(after).joint_kurtosis - measures(before).joint_kurtosis, rel=1e-9
    )


def test_standard_error_of_the_change_is_its_spread_over_samples():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        x = rng.standard_normal((500, 2))
        found.append(kurtosis_change(x, np.arctan(x), draws=60).iloc[0].to_list())
    changes, errors = np.array(found).T
    assert np.mean(errors) == pytest.approx(np.std(changes), rel=0.3)


def test_measures_refuse_what_they_cannot_measure():
    with pytest.raises(pl.InputError, match="at least 8 neurons for 4 columns; got 5"):
        measures(np.ones((5, 4)))
    with pytest.raises(pl.InputError, match="shape of before"):
        kurtosis_change(np.ones((20, 2)), np.ones((21, 2)))


# -- courses of learning ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs():
    """The protocols of the result with fewer neurons, coarser bins and a few epochs."""
    made = []
    for name in flip_flop.RESULT.protocols:
        data = load(name, 0.006).to_dict()
        cohort = {**data["cohort"], "networks": 2}
        task = {**data["tasks"]["flip-flop"], "dt": 0.1, "trials": 2}
        protocol = load(
            name, 0.006, cohort=cohort, tasks={"flip-flop": task}, n_neurons=80, record_every=3
        )
        made += [protocol, run(protocol)]
    return Runs(*made)


def test_direct_course_is_the_arm_of_the_protocol(runs):
    frame, left = direct_course(runs, 1)
    curves = runs.result.curves("direct", "zu")[1]
    np.testing.assert_array_equal(frame["zu"], curves)
    np.testing.assert_array_equal(frame["loss"], runs.result.curves("direct", "loss")[1])
    assert np.isnan(left)


def test_direct_course_goes_on_where_no_network_is(runs):
    steep = load(
        "published-flip-flop",
        0.006,
        rule={"type": "gradient-descent", "rate": 40.0},
        tasks=runs.protocol.to_dict()["tasks"],
        record_every=1,
    )
    frame, left = direct_course(Runs(steep, runs.result, steep, runs.result), 0)
    assert np.isfinite(left)
    row = frame[frame["epoch"] == left].iloc[0]
    with pytest.raises(pl.InputError, match="positive semidefinite"):
        pl.Overlaps.from_series(row[list(runs.result.overlap_names)])


def test_tables_have_every_course_and_network(runs):
    table, closeness = gaussianity_table(runs), closeness_table(runs)
    assert list(dict.fromkeys(table["course"])) == [BEFORE, *COURSES]
    assert set(closeness["course"]) == set(COURSES)
    p = table[[column for column in table if column.endswith(" p")]]
    assert ((p > 0) & (p <= 1)).all(axis=None)
    before = table[table["course"] == BEFORE]
    assert (before[["change m", "change z"]] == 0).all(axis=None)
    theory = closeness[~closeness["course"].str.startswith("Adam")]
    # twelve epochs from the same start: small against what moved, and not zero
    assert (theory["largest"] < 0.1 * theory["moved"]).all()
    assert (theory["largest"] > 0).all()
    assert closeness.loc[closeness["course"].str.startswith("Adam"), "largest"].isna().all()
    # 80 neurons are few: their output is not quite what their overlaps give
    assert (closeness["output"] > 0).all()
    assert closeness["output"].median() < 0.3


def test_courses_end_where_their_phase_ends(runs):
    same, longer = (runs.seen(f"rate 0.5, same {what}", 0) for what in ("time", "epochs"))
    assert same["epoch"].max() == 1
    assert longer["epoch"].max() == 12
    end = pl.Overlaps.from_loadings(runs.end("rate 0.5, same epochs", 0))
    assert longer["zm"].iloc[-1] == pytest.approx(end["zm"], rel=1e-10)
    assert runs.told("Adam, same epochs", 0).empty


def test_flip_flop_is_rebuilt(tmp_path, monkeypatch, runs):
    shortened = {runs.protocol.name: runs.protocol, runs.small_protocol.name: runs.small_protocol}
    monkeypatch.setattr(flip_flop, "load", lambda name, scale: shortened[name])
    stages: list[str] = []
    made = flip_flop.RESULT.run(folder=tmp_path, scale=0.006, progress=stages.append)
    assert set(made.figures) == {"learning", "loadings", "steps"}
    assert set(made.tables) == {"gaussianity", "closeness", "direct"}
    assert "differs" not in set(made.numbers["verdict"])  # too short a run decides nothing
    assert made.verdict("networks that learned, in all courses") == "undecided"
    assert len(stages) == 4
    assert len(list(tmp_path.glob("*/networks/*.npz"))) == 4
    assert made.findings == ()  # they are about full runs
    # an interrupted run goes on from what is there: nothing is computed again
    monkeypatch.setattr("predictlearn.protocol.work.run_arms", None)
    for protocol, result in (
        (runs.protocol, runs.result),
        (runs.small_protocol, runs.small_result),
    ):
        assert run(protocol, folder=tmp_path).table.equals(result.table)


@pytest.mark.slow
def test_adam_leaves_lighter_tails_than_descent():
    task = pl.FlipFlop(dt=0.1, trials=10)
    start = pl.Overlaps(np.eye(4)).replace(zm=0.05, zu=0.1, vm=0.1, vu=0.1)
    loadings = start.loadings(600, seed=0)
    bands = gaussian_bands(600, 4, draws=400)
    found = {}
    for name, rule, epochs in (
        ("descent", pl.GradientDescent(0.05), 1500),
        ("adam", pl.Adam(0.005), 1500),
    ):
        trained = pl.train_network(loadings, task, rule, epochs, "erf", every=100)
        assert trained.losses[-20:].mean() < 0.01
        theta = trained.loadings.stacked
        change = kurtosis_change(loadings.stacked, theta)
        p = upper_p(bands.joint_distance, measures(theta).joint_distance)
        found[name] = change.iloc[0], p
    moved, p = found["adam"]
    assert moved["change"] < -4 * moved["standard_error"]
    assert p < 0.01
    moved, p = found["descent"]
    assert abs(moved["change"]) < 0.3
    assert p > 0.01
