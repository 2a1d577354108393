"""The catalogue: entries are whole, animals learn as the theory says, and tests keep their size."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import predictlearn as pl
from predictlearn import statistics
from predictlearn.behaviour import behaviour_defaults
from predictlearn.errors import InputError
from predictlearn.predictions.laboratory import (
    ENTRIES,
    LEARNERS,
    Learner,
    cohort_table,
    evaluate,
    find_entry,
    learners_of,
    measure,
    rejection_rate,
    simulate_cohort,
)
from predictlearn.predictions.laboratory.animals import Animal, naive_networks
from predictlearn.predictions.laboratory.evaluation import effect_words
from predictlearn.predictions.laboratory.measure import PercentCorrect, ReachAngle
from predictlearn.predictions.laboratory.pictures import picture_frame
from predictlearn.predictions.laboratory.rates import discrimination, typical_rate
from predictlearn.predictions.laboratory.table import pictured
from predictlearn.predictions.laboratory.tasks import TAU, cue_task, unlike


@pytest.fixture(autouse=True, scope="module")
def _looked_up_once():
    """Look typical values up once: thousands of experiments ask for the same ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "typical_value", functools.cache(measure.typical_value))
        yield


PROTOCOLS = Path(__file__).resolve().parents[2] / "protocols"
ASKED = {
    "perturbation-exposure",
    "learning-speed",
    "a-b-a",
    "history-decoding",
    "training-order",
    "blocked-or-interleaved",
    "savings",
    "serial-reversal",
    "drift",
    "closed-loop-readout",
    "site-of-plasticity",
    "rules-told-apart",
    "conserved-dose",
}


def test_every_prediction_asked_for_is_there():
    assert set(ENTRIES) >= ASKED


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_an_entry_is_whole(entry):
    # one sentence: no stop but at the end
    assert re.fullmatch(r"[^.?!]+\.", entry.statement)
    assert entry.kind in ("behaviour", "activity", "connectivity")
    for text in (entry.intervention, entry.measure, entry.falsifier, entry.alternatives):
        assert text.endswith(".")
        assert len(text.split()) >= 6
    assert entry.test.func in {getattr(statistics, name) for name in statistics.__all__}
    names = [name.strip() for name in entry.protocol.split(",") if name.strip()]
    shipped = {path.stem for path in PROTOCOLS.glob("*.yaml")}
    assert set(names) <= shipped
    assert (entry.design == "columns") == bool(entry.correlation)


def test_the_table_has_what_a_laboratory_needs():
    table = pl.predictions.catalogue().set_index("name")
    assert list(table.index) == list(ENTRIES)
    assert np.isfinite(table[["effect", "effect_low", "effect_high", "standardised"]]).all(
        axis=None
    )
    assert (table["effect_low"] <= table["effect"]).all()
    assert (table["animals_95"] >= table["animals_80"]).all()
    assert (table["size_simulations"] >= 500).all()
    holds = [name for name in table.columns if name.startswith("holds: ")]
    assert len(holds) == len(LEARNERS) == 6
    assert table[holds].map(lambda word: word.startswith(("yes", "not", "reversed"))).all(axis=None)
    with pytest.raises(InputError, match="Did you mean 'a-b-a'"):
        find_entry("a-b-b")
    with pytest.raises(InputError, match="a-b-a"):
        learners_of("aba")


def euler(network, task, weights):
    """Mean output in the answer of every trial, by the definition."""
    m, u, v, z = weights
    found = []
    for x, w in zip(task.inputs, task.weights, strict=True):
        h, total = np.zeros(len(m)), 0.0
        for t in range(len(x)):
            h = h + task.dt / TAU * (-h + u @ (v.T @ h) / len(m) + m @ x[t])
            total += w[t, 0] / w[:, 0].sum() * (z[:, 0] @ h) / len(m)
        found.append(total)
    return np.array(found)


def test_outputs_are_those_of_neurons():
    network, task = naive_networks(1, 3)[0], discrimination()
    loadings = network.loadings(60, seed=0)
    expected = euler(network, task, (loadings.m, loadings.u, loadings.v, loadings.z))
    assert np.allclose(Animal(network, 1e-3).outputs(task)[:, 0], expected, atol=1e-10)
    # a network given by its synapses does the same
    for learner in LEARNERS:
        animal = Animal(network, 1e-9, learner)
        animal.train(task, 1.0)
        assert np.allclose(animal.outputs(task)[:, 0], expected, atol=1e-6)


def test_training_descends_the_loss_at_the_animals_own_rate():
    """One session is gradient descent on neurons, by finite differences of the loss."""
    network, task = naive_networks(1, 5)[0], cue_task(unlike(0.6), -1.0)
    loadings = network.loadings(40, seed=0)
    parts = [np.array(x) for x in (loadings.m, loadings.u, loadings.v, loadings.z)]

    def loss(weights):
        m, u, v, z = weights
        total, h = 0.0, np.zeros(len(m))
        for t in range(task.inputs.shape[1]):
            h = h + task.dt / TAU * (-h + u @ (v.T @ h) / len(m) + m @ task.inputs[0, t])
            y = z[:, 0] @ h / len(m)
            total += task.weights[0, t, 0] * (y - task.targets[0, t, 0]) ** 2
        return total

    # rate 4e-3 a trial and 4 trials: four updates of 4e-3
    animal = Animal(network, 4e-3)
    animal.train(task, 4.0)
    for _ in range(4):
        slopes = [np.zeros_like(x) for x in parts]
        for x, slope in zip(parts, slopes, strict=True):
            for at in np.ndindex(*x.shape):
                kept = x[at]
                x[at] = kept + 1e-5
                up = loss(parts)
                x[at] = kept - 1e-5
                slope[at] = (up - loss(parts)) / 2e-5
                x[at] = kept
        for x, slope in zip(parts, slopes, strict=True):
            x -= 4e-3 * len(parts[0]) * slope
    theta = np.hstack(parts)
    assert np.allclose(animal.network.matrix, theta.T @ theta / len(theta), atol=1e-7)


def test_power_and_strengths_are_those_of_neurons():
    network, task = naive_networks(1, 7)[0], cue_task((1.0, 0.0), 1.0)
    loadings, animal = network.loadings(50, seed=1), Animal(network, 1e-3)
    h, total = np.zeros(50), 0.0
    for x in task.inputs[0]:
        w = loadings.u @ loadings.v.T / 50
        h = h + task.dt / TAU * (-h + w @ h + loadings.m @ x)
        total += np.mean(h**2) / task.inputs.shape[1]
    assert animal.power(task) == pytest.approx(total, rel=1e-9)
    assert animal.strengths()["out"] == pytest.approx(np.mean(loadings.z**2), rel=1e-9)
    assert animal.strengths()["in"] == pytest.approx(2 * np.mean(loadings.m**2), rel=1e-9)


def test_a_typical_mouse_takes_as_many_trials_as_measured():
    table = behaviour_defaults().set_index("name")
    wanted = table.loc["mouse_trials_to_criterion", "value"]
    rate, sides = typical_rate("mice"), np.array([1.0, -1.0])
    reached = []
    for network in naive_networks(40, 987):
        margins = Animal(network, rate).train(discrimination(), 25, 100)[..., 0] * sides
        course = margins.mean(axis=(1, 2))
        reached.append(25 * (np.argmax(course > 0.33724) + 0.5))
    assert np.median(reached) == pytest.approx(wanted, rel=0.25)


def test_measurements_have_the_spread_that_they_should():
    rng = np.random.default_rng(0)
    low = PercentCorrect(50)(np.full((4000, 4, 2, 1), 0.2), rng)
    table = behaviour_defaults().set_index("name")["value"]
    # binomial and sessions, by the definition
    p = table["mouse_lapse"] + (1 - 2 * table["mouse_lapse"]) * 0.65542
    odds = np.log(p / (1 - p)) + table["mouse_session_noise"] * rng.standard_normal((4000, 4))
    right = rng.random((4000, 4, 50)) < 1 / (1 + np.exp(-odds))[..., None]
    expected = 100 * right.mean(axis=(1, 2))
    assert low.mean() == pytest.approx(expected.mean(), abs=0.5)
    assert low.std() == pytest.approx(expected.std(), rel=0.06)
    angles = ReachAngle(16)(np.full((4000, 1), 3.0), rng)
    noise = table["human_motor_noise"] * np.exp(table["human_motor_noise_sd_log"] ** 2) / 4
    assert angles.std() == pytest.approx(noise, rel=0.06)


@pytest.fixture(scope="module")
def site():
    entry = find_entry("site-of-plasticity")
    return entry, simulate_cohort(entry, 60)


def test_an_entry_is_evaluated(site):
    entry, cohort = site
    found = evaluate(entry, 12, cohort=cohort, n_simulations=100)
    table = found.table
    assert len(table) == 120
    assert set(table["arm"]) == {"drug on readout", "drug on recurrent"}
    gap = table.groupby("arm")["percent_correct"].mean()
    assert found.result["estimate"] == pytest.approx(
        gap["drug on recurrent"] - gap["drug on readout"]
    )
    assert found.in_experiments[0] < found.result["estimate"] < found.in_experiments[1]
    n80, n95 = (found.animals[target][0] for target in (0.8, 0.95))
    assert 2 <= n80 <= n95 < 60
    # the power at the number asked for is that of Welch's test of normal draws of these moments
    row = found.power.table.set_index("n").loc[12]
    rng = np.random.default_rng(0)
    arms = [part["percent_correct"].to_numpy() for _, part in table.groupby("arm")]
    drawn = [x.mean() + x.std(ddof=1) * rng.standard_normal((4000, 12)) for x in arms]
    t = (drawn[0].mean(1) - drawn[1].mean(1)) / np.sqrt(
        (drawn[0].var(1, ddof=1) + drawn[1].var(1, ddof=1)) / 12
    )
    assert row["power"] == pytest.approx(np.mean(np.abs(t) > 2.09), abs=0.13)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_level_of_an_interval_is_that_of_its_test(name):
    entry, rng = ENTRIES[name], np.random.default_rng(1)
    if entry.design == "columns":
        names = [entry.outcome, *entry.test.keywords["terms"]]
        table = pd.DataFrame(rng.normal(size=(30, len(names))), columns=names)
    else:
        arms = [0.0, 0.5] if entry.design == "doses" else [entry.reference, "other"]
        table = pd.DataFrame({"arm": np.repeat(arms, 15)})
        for column in entry.features or (entry.outcome,):
            table[column] = rng.normal(size=30)
    pairs = entry.design == "pairs"
    table["subject"] = np.tile(np.arange(15), 2) if pairs else np.arange(30)
    assert entry.result(table)["level"] == pytest.approx(entry.level)
    # an interval of another level than its neighbours says so
    assert ("; 90%]" in effect_words(entry, 1.0, 0.5, 1.5)) is (entry.level != 0.95)
    arms = [entry.reference, "other"]
    if entry.design in ("groups", "pairs") and not entry.features:
        assert entry.contrast(arms) == f"other minus {entry.reference}"


def test_experiments_find_what_is_said_where_equivalence_is_tested():
    """95% of the estimates of experiments of twelve, also where the test's own interval is 90%."""
    entry = find_entry("savings")
    cohort = simulate_cohort(entry, 40)
    found, again = (evaluate(entry, 12, cohort=cohort, n_simulations=20) for _ in range(2))
    assert again.animals_text == found.animals_text
    assert again.result["estimate"] == found.result["estimate"]
    rng = np.random.default_rng(8)
    gaps = []
    for _ in range(400):
        table = cohort_table(entry, cohort, 12, rng)
        degrees, arm = table["degrees"].to_numpy(), table["arm"].to_numpy()
        gaps.append(degrees[arm == "again"].mean() - degrees[arm == "first"].mean())
    low, high = found.in_experiments
    assert high - low == pytest.approx(2 * 1.96 * np.std(gaps), rel=0.1)


@pytest.mark.parametrize("name", ["blocked-or-interleaved", "savings"])
def test_tables_that_ship_are_those_of_the_code(name):
    """If this fails a default has changed: run studies/predictions/catalogue.py again."""
    entry = find_entry(name)
    cohort = simulate_cohort(entry, 60, seed=2)
    made = picture_frame(entry, cohort_table(entry, cohort, None, np.random.default_rng(0)))
    shipped = pictured(name)
    # a trial may fall otherwise where another processor rounds
    assert np.mean(np.isclose(made["y"], shipped["y"], rtol=1e-4)) > 0.95


def test_results_do_not_depend_on_the_number_of_processes():
    entry = find_entry("a-b-a")
    one, two = (simulate_cohort(entry, 22, n_jobs=n).expected for n in (1, 2))
    assert all(np.array_equal(one[key], two[key]) for key in one)


def test_groups_are_other_animals_and_pairs_the_same(site):
    entry, cohort = site
    table = cohort_table(entry, cohort, 9, np.random.default_rng(0))
    assert table["subject"].is_unique
    assert len(table) == 18
    pairs = find_entry("a-b-a")
    table = cohort_table(pairs, simulate_cohort(pairs, 10), 9, np.random.default_rng(0))
    assert (table["subject"].value_counts() == 2).all()
    speed = find_entry("learning-speed")
    table = cohort_table(speed, simulate_cohort(speed, 10), 9, np.random.default_rng(0))
    assert len(table) == 9
    assert {"relearning", "third_cue", "activity"} <= set(table)


def test_the_null_is_kept(site):
    entry, cohort = site
    found = rejection_rate(entry, cohort, 12, 500, seed=3)
    assert 0.03 <= found["power"] <= 0.07
    assert found["failed"] == 0


def test_a_drug_takes_off_in_proportion_to_its_dose():
    """Without noise: dz/dt of the readout is the rate times that of the input (conserved)."""
    entry = find_entry("conserved-dose")
    expected = simulate_cohort(entry, 12).expected
    assert np.all(np.abs(expected["0"]) < 0.1)  # zz - mm is conserved, up to finite steps
    network = naive_networks(1, 2)[0]
    for dose in (0.0, 0.5, 0.75):
        animal = Animal(network, 2e-3)
        before = animal.strengths()
        animal.train(cue_task((1.0, 0.0), 1.0), 100, 5, drug={"out": 1.0 - dose})
        grown = {p: animal.strengths()[p] - before[p] for p in before}
        assert grown["out"] == pytest.approx((1 - dose) * grown["in"], rel=0.02)


def test_other_learners_are_simulated():
    entry = find_entry("rules-told-apart")
    descent = simulate_cohort(entry, 10, learner=Learner("synapses")).expected
    assert np.mean(descent["late"] - descent["early"]) > 5.0
    other = simulate_cohort(entry, 10, learner=Learner("synapses", "rflo")).expected
    assert np.mean(other["late"] - other["early"]) < -2.0
    with pytest.raises(InputError, match="rule"):
        Learner("synapses", "backprop")


def test_bad_arguments_are_refused(site):
    entry, cohort = site
    with pytest.raises(InputError, match="n_animals"):
        evaluate(entry, 1, cohort=cohort)
    with pytest.raises(InputError, match="learner"):
        evaluate(entry, 10, cohort=cohort, learner=Learner("synapses"))
    with pytest.raises(InputError, match="n_animals"):
        simulate_cohort(entry, 0)
    laboratory = pd.DataFrame({"subject": [0, 1], "arm": ["a", "b"]})
    with pytest.raises(InputError, match="percent_correct"):
        entry.result(laboratory)
