"""The simulator and the counting of wrong_models.py (studies), against values found by hand."""

import re
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "studies" / "fitting"))

import bin_width
import wrong_models
import wrong_models_conditions as conditions
import wrong_models_simulator as simulator
from wrong_models_simulator import OVERLAPS, M, U, V, World, Z

from predictlearn.errors import MisfitWarning

LAWS = ("gaussian", "sparse", "clustered", "two populations")
PHIS = ("linear", "erf", "tanh", "relu")


def bin_means(rate, bin_width, bins):
    """Mean of exp(-rate t) over each bin."""
    edges = np.exp(-rate * bin_width * np.arange(bins + 1))
    return -np.diff(edges) / (rate * bin_width)


@pytest.mark.parametrize("width", [0.01, 0.1, 0.2])
def test_linear_response_to_a_step_is_that_of_the_equations(width):
    # k_m = 1 - e(1), k_u = vm / (1 - vu) (1 - e(1 - vu)) - vm / vu (e(1 - vu) - e(1)),
    # e(c) = exp(-c t / tau): put into tau k' = -k + ... to check
    world = World(bin=width, trials=1, bins=12)
    law = simulator.population("gaussian")
    rng = np.random.default_rng(0)
    found = list(simulator.infinite(world, np.ones((1, 12, 1)), law, rng))
    k = np.array([k.mean(axis=(0, 1)) for k, _ in found])
    y = np.array([y.mean() for _, y in found])
    vm, vu = OVERLAPS[V, M], OVERLAPS[V, U]
    one = bin_means(1 / world.tau, width, 12)
    slow = bin_means((1 - vu) / world.tau, width, 12)
    np.testing.assert_allclose(k[:, 0], 1 - one, atol=3e-4)
    exact = vm / (1 - vu) * (1 - slow) - vm / vu * (slow - one)
    np.testing.assert_allclose(k[:, 1], exact, atol=3e-4)
    np.testing.assert_allclose(y, k @ OVERLAPS[Z, [M, U]], atol=1e-12)


def test_half_the_step_hardly_changes_the_trajectory():
    # Heun's error is quadratic in the step
    def final(steps):
        rng = np.random.default_rng(0)
        law = simulator.population("clustered")

        def change(k, x):
            drive = law.mean_of(V, [M, U], k, "erf")
            return (np.concatenate([x, drive[:, None]], axis=1) - k) / 0.1

        x = rng.normal(size=(5, 8, 1))
        *_, last = simulator.integrate(change, np.zeros((5, 2)), x, 0.1, steps)
        return last.mean(axis=0)

    exact = final(160)
    coarse, fine = (np.abs(final(n) - exact).max() for n in (20, 40))
    assert coarse < 1e-3
    assert 0.15 < fine / coarse < 0.35


@pytest.mark.parametrize("loadings", LAWS)
def test_every_law_of_loadings_has_the_overlaps(loadings):
    law = simulator.population(loadings)
    np.testing.assert_allclose(law.moments(), OVERLAPS, atol=1e-12)
    np.testing.assert_allclose(law.weights @ law.means, 0, atol=1e-12)
    drawn = law.draw(400_000, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), OVERLAPS, atol=0.04)


@pytest.mark.parametrize("loadings", LAWS)
@pytest.mark.parametrize("phi", PHIS)
def test_means_over_neurons_are_those_of_drawn_neurons(loadings, phi):
    law = simulator.population(loadings)
    neurons = law.draw(400_000, np.random.default_rng(2))
    k = np.array([1.0, -1.3])
    rates = simulator.apply(phi, neurons[:, [M, U]] @ k)
    for row in (V, Z):
        product = neurons[:, row] * rates
        error = product.std() / np.sqrt(len(product))
        assert abs(law.mean_of(row, [M, U], k[None], phi)[0] - product.mean()) < 4.5 * error


@pytest.mark.parametrize("phi", PHIS)
def test_expected_rate_and_slope_are_integrals(phi):
    level, sd = 0.4, 1.3

    def weighted(f):
        return quad(lambda t: f(level + sd * t) * np.exp(-(t**2) / 2), -9, 9, points=[-level / sd])[
            0
        ] / np.sqrt(2 * np.pi)

    value, slope = simulator.expected(phi, np.array(level), np.array(sd**2))
    assert value == pytest.approx(weighted(lambda h: simulator.apply(phi, h)), abs=1e-6)
    # Stein: E[phi'] = E[t phi] / sd
    stein = weighted(lambda h: simulator.apply(phi, h) * (h - level)) / sd**2
    assert slope == pytest.approx(stein, abs=1e-6)


def test_a_finite_network_approaches_the_infinite_one():
    world = World(phi="erf", trials=3, bins=10)
    x = simulator.held(world, 3, np.random.default_rng(0))
    loadings = simulator.exact_loadings(4000, OVERLAPS, np.random.default_rng(1))
    np.testing.assert_allclose(loadings.T @ loadings / len(loadings), OVERLAPS, atol=1e-9)
    rng = np.random.default_rng(2)
    finite = [y.mean(axis=0) for _, y in simulator.finite(world, x, loadings, rng)]
    law = simulator.population("gaussian")
    infinite = [y.mean(axis=0) for _, y in simulator.infinite(world, x, law, rng)]
    np.testing.assert_allclose(finite, infinite, atol=0.02)


def test_counts_scatter_as_they_should():
    signal = np.full((50, 50, 40), 2.0)
    rng = np.random.default_rng(0)
    rest = np.ones(40)
    plain = simulator.observed(World(noise="poisson"), signal, rest, rng)
    wide = simulator.observed(World(noise="poisson", dispersion=2.0), signal, rest, rng)
    assert plain.mean() == pytest.approx(2.0, abs=0.02)
    assert plain.var() == pytest.approx(2.0, abs=0.05)
    assert wide.mean() == pytest.approx(2.0, abs=0.05)
    assert wide.var() == pytest.approx(2 + 2 * 2**2, rel=0.05)


def test_what_is_done_to_a_recording():
    x = np.arange(6.0).reshape(1, 6, 1)
    assert simulator.shifted(x, 1)[0, :, 0].tolist() == [0, 0, 1, 2, 3, 4]
    assert simulator.shifted(x, -1)[0, :, 0].tolist() == [1, 2, 3, 4, 5, 0]
    noise = simulator.slow((4000, 20), 3.0, np.random.default_rng(0))
    assert noise[:, -1].var() == pytest.approx(1.0, abs=0.06)
    assert np.mean(noise[:, 10] * noise[:, 13]) == pytest.approx(np.exp(-1), abs=0.06)
    twice = simulator.simulate(World(duplicates=5, trials=4), 0).activity
    np.testing.assert_array_equal(twice[:, :, -5:], twice[:, :, :5])
    kinds = simulator.simulate(World(), 0, kinds=10).inputs
    assert len(np.unique(kinds[:, :, 0], axis=0)) == 10
    assert np.ptp(kinds[:, :10], axis=1).max() == 0  # held for two tau, ten bins


def test_a_recording_is_decided_by_its_condition_and_number():
    one, two = (conditions.recording_of("poisson", 3) for _ in range(2))
    np.testing.assert_array_equal(one.activity, two.activity)
    other = conditions.recording_of("poisson", 4)
    assert not np.array_equal(one.activity, other.activity)


def rows(holds, **columns):
    frame = pd.DataFrame({"condition": "linear", "run": range(len(holds))})
    frame = frame.reindex(columns=conditions.COLUMNS)
    frame[["status", "optima"]] = ["fitted", 1]
    frame["vu holds"], frame["vm holds"] = holds, 1.0
    return frame.assign(**columns)


def test_the_rule_needs_intervals_that_hold_or_runs_that_are_noticed():
    never = conditions.summary(rows([0.0] * 10)).loc["linear"]
    assert (never["holds"], never["vu"], never["vm"]) == (0.5, 0.0, 1.0)
    assert (never["noticed"], never["verdict"]) == (0.0, "BROKEN")
    told = {"failed": ["means by bin"] * 8 + [""] * 2}
    assert conditions.summary(rows([0.0] * 10, **told)).loc["linear", "verdict"] == "kept"
    part = conditions.summary(rows([0.0] * 3 + [1.0] * 7)).loc["linear"]
    assert (part["holds"], part["verdict"], part["lowest"]) == (0.85, "in part", "vu")


@pytest.mark.parametrize(
    ("columns", "noticed"),
    [
        ({}, False),
        ({"warned": "ConvergenceWarning"}, True),
        ({"warned": "RuntimeWarning"}, False),
        ({"unseen": "vu"}, True),
        ({"optima": 2}, True),
        ({"failed": "noise with level"}, True),
        ({"status": "refused"}, True),
        ({"status": "crashed"}, False),
    ],
)
def test_what_counts_as_noticed(columns, noticed):
    assert conditions.noticed(rows([1.0], **columns)).tolist() == [noticed]


def test_refusals_and_runs_already_there_are_kept(tmp_path, monkeypatch, capsys):
    file = tmp_path / "runs.csv"
    arguments = ["--runs", "1", "--only", "linear", "--output", str(file)]
    linear = conditions.CONDITIONS["linear"]
    few = replace(linear, world=replace(linear.world, trials=20), model={"n_bootstrap": 20})
    monkeypatch.setitem(conditions.CONDITIONS, "linear", few)
    wrong_models.main(arguments)
    first = pd.read_csv(file)
    assert first.loc[0, "status"] == "fitted"
    assert first["vu holds"].isin([0, 1]).all()
    monkeypatch.setattr(wrong_models, "measured", lambda *key: pytest.fail("run again"))
    wrong_models.main(arguments)
    pd.testing.assert_frame_equal(pd.read_csv(file), first)
    assert "linear: " in capsys.readouterr().out

    condition = conditions.Condition("no tau", tau=-1.0)
    data = conditions.recording_of("linear", 0)
    row = conditions.examined(data, condition.world, conditions.fitted_model(condition, 0))
    assert row["status"] == "refused"
    assert "tau" in row["message"]


def test_bin_widths_are_crossed_with_noise_rates_and_tau():
    assert len(bin_width.CELLS) == 32
    cell = bin_width.CELLS["poisson erf fitted tau/2"]
    assert (cell.world.bin, cell.tau, cell.model["observed"]) == (0.05, "fit", "rate")


@pytest.mark.parametrize(("given", "told"), [(2.0, True), (1.0, False)])
def test_a_tau_that_counts_speak_against_is_told_with_what_they_prefer(given, told):
    condition = conditions.CONDITIONS["tau-long-counts"]
    data = conditions.recording_of("tau-long-counts", 3)
    model = conditions.fitted_model(replace(condition, tau=given), 0).set_params(n_bootstrap=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(data.activity, data.inputs, data.outputs)
    said = [str(w.message) for w in caught if issubclass(w.category, MisfitWarning)]
    assert len(said) == told
    if told:
        # the true one, and the one that it trades places with, 0.1 / (1 - 0.6)
        found = [float(text) for text in re.findall(r"tau ([\d.]+) s", said[0])]
        assert found[0] == 0.2
        assert found[1:] == pytest.approx([0.1, 0.25], rel=0.1)
        assert re.search(r"log likelihood higher by 1\d.*about 5% of recordings", said[0])
