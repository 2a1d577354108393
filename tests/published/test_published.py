"""The published results, rebuilt: small runs decide what they should, and the command writes it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import predictlearn as pl
from predictlearn.cli import app
from predictlearn.errors import InputError
from predictlearn.protocol import shipped_protocols
from predictlearn.published import (
    Published,
    Reproduced,
    numbers_table,
    published,
    published_names,
    reproduce,
)
from predictlearn.published import (
    protocols as runs,
)
from predictlearn.published import (
    result as base,
)
from predictlearn.published.aba.result import invariant_matrix
from predictlearn.published.damped_oscillation import oscillation_limit, oscillation_solution
from predictlearn.published.equivalent_networks import (
    output_under_private_noise,
    with_new_vector,
)
from predictlearn.published.metric import structure
from predictlearn.published.registry import _MODULES
from predictlearn.published.theory_and_network import filter_solution

RUNNER = CliRunner()
GALLERY = Path(__file__).resolve().parents[2] / "studies"
OURS = ("theory-and-network", "equivalent-networks", "aba", "metric", "damped-oscillation")


def invoke(*words: object):
    return RUNNER.invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def small(
    monkeypatch,
    name: str,
    networks: int,
    n_neurons: int = 60,
    record_every: int | None = None,
    **constants: object,
) -> None:
    """Let a result run few networks of few neurons: where theory is exact, it is so at any N."""
    module = importlib.import_module(f"predictlearn.published.{_MODULES[name]}")
    whole = module.load

    def load(protocol: str, scale: float = 1.0, arms=None, **new):
        loaded = whole(protocol, scale, arms, **new)
        cohort = {**loaded.to_dict()["cohort"], "networks": networks}
        neurons = {} if loaded.spec.n_neurons is None else {"n_neurons": n_neurons}
        kept = {} if record_every is None else {"record_every": record_every}
        return loaded.replace(cohort=cohort, **neurons, **kept)

    monkeypatch.setattr(module, "load", load)
    for constant, value in constants.items():
        monkeypatch.setattr(module, constant, value)


def verdicts(made: Reproduced, pattern: str) -> set[str]:
    """Return the verdicts of the rows whose quantity matches."""
    rows = [row for row in made.numbers.to_dict("records") if re.search(pattern, row["quantity"])]
    assert rows, pattern
    return {row["verdict"] for row in rows}


def ours(made: Reproduced, quantity: str) -> float:
    """Return the first number of a row."""
    text = made.numbers.set_index("quantity").loc[quantity, "ours"]
    return float(re.match(r"[-\d.e+]+", text).group())


# -- the frame --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", published_names())
def test_every_result_says_what_it_claims_and_has_its_protocols(name):
    result = published(name)
    assert isinstance(result, Published)
    assert result.name == name
    assert len(result.claim) > 80
    assert result.takes
    assert set(result.protocols) <= set(shipped_protocols())


def test_an_unknown_result_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'damped-oscillation'"):
        published("damped-oscilation")


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"seed": -1}, "seed"), ({"n_jobs": 0}, "n_jobs"), ({"scale": 0.0}, "scale")],
)
def test_settings_are_checked_before_anything_runs(settings, message):
    with pytest.raises(InputError, match=message):
        reproduce("aba", **settings)


def test_numbers_have_known_verdicts_and_no_quantity_twice():
    with pytest.raises(InputError, match="Did you mean 'agrees'"):
        numbers_table([("a", 1, 1, "agree")])
    with pytest.raises(InputError, match="'a' comes twice"):
        numbers_table([("a", 1, 1, "agrees"), ("a", 1, 2, "differs")])
    with pytest.raises(InputError, match="columns"):
        Reproduced({}, pd.DataFrame({"quantity": []}))
    table = numbers_table([("a", "", 1.23456, "ours only"), ("b", True, np.float64(2), "agrees")])
    assert table["ours"].tolist() == ["1.235", "2"]
    assert Reproduced({}, table).verdict("b") == "agrees"
    with pytest.raises(InputError, match="quantity must be one of"):
        Reproduced({}, table).verdict("c")


def test_a_claim_that_fails_in_a_shortened_run_is_undecided():
    assert base.verdict(False, 0.5) == "undecided"
    assert base.verdict(False) == "differs"
    assert base.verdict(True, 0.5) == "agrees"


def test_scale_multiplies_the_epochs_of_every_phase():
    whole, part = runs.load("published-aba"), runs.load("published-aba", 0.01)
    for arm in whole.arms:
        for long, short in zip(
            whole.spec.arms[arm].phases, part.spec.arms[arm].phases, strict=True
        ):
            assert short.epochs == max(1, round(long.epochs * 0.01))


def test_start_loadings_are_those_that_the_network_learned_from():
    protocol = runs.load("published-theory-and-network", 0.001, ["network"], record_every=1)
    protocol = protocol.replace(cohort={**protocol.to_dict()["cohort"], "networks": 2})
    result = protocol.run(seed=3)
    for network in range(2):
        start = runs.start_loadings(protocol, result, "network", network)
        rule, task = pl.GradientDescent(5e-3), protocol.tasks["filter"]
        again = pl.train_network(start, task, rule, 2)
        end = result.loadings("network", network)
        np.testing.assert_allclose(again.loadings.stacked, end.stacked, rtol=1e-12)


@pytest.mark.parametrize("name", OURS)
def test_the_gallery_shows_every_result_with_small_pictures(name):
    page = (GALLERY / "gallery.md").read_text(encoding="utf-8")
    shown = page.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    pictures = re.findall(r"\]\((gallery/[\w-]+\.png)\)", shown)
    assert pictures
    for picture in pictures:
        assert 10_000 < (GALLERY / picture).stat().st_size < 200_000
    assert "| quantity | published | ours | verdict |" in shown
    assert f"`predictlearn reproduce {name}`" in shown
    assert published(name).takes in shown


# -- what the results rest on -----------------------------------------------------------------


@pytest.mark.parametrize("task", [pl.Filter(decay=0.2), pl.Filter(0.5, 2.0, 30.0, 0.1)])
def test_the_exact_filter_solution_has_no_loss(task):
    exact = filter_solution(task)
    zu = np.sqrt(abs(exact["zu*vm"]))
    start = pl.Overlaps(9.0 * np.eye(4))
    solved = start.replace(zm=exact["zm"], zu=zu, vm=exact["zu*vm"] / zu, vu=exact["vu"])
    assert pl.loss(solved, task.sample()) < 1e-20
    # the limit of small bins is close, and is not the solution of the task as it is run
    limit = start.replace(
        zm=task.amplitude, zu=1.0, vm=task.amplitude * (1 - task.decay), vu=1 - task.decay
    )
    assert pl.loss(limit, task.sample()) > 1e-7


def test_the_exact_oscillation_solution_has_no_loss_and_tends_to_the_limit():
    task = pl.DampedOscillation()
    exact = oscillation_solution(task)
    s = complex(exact["vu"] / 2, exact["imaginary part of the poles"])
    block = np.array([[s.real, s.imag], [-s.imag, s.real]])
    vm = np.array([1.0, 0.0])
    # zu solves zu vm and zu vu vm
    zu = np.linalg.solve(np.stack([vm, block @ vm]), [exact["zu*vm"], exact["zu*vu*vm"]])
    matrix = 20.0 * np.eye(6)
    matrix[5, 0] = exact["zm"]
    matrix[5, 1:3] = zu
    matrix[3:5, 0] = vm
    matrix[3:5, 1:3] = block
    matrix = np.tril(matrix) + np.tril(matrix, -1).T
    assert pl.loss(pl.Overlaps(matrix, rank=2), task.sample()) < 1e-20
    fine = oscillation_solution(pl.DampedOscillation(dt=1e-5))
    for name, value in oscillation_limit(task).items():
        assert fine[name] == pytest.approx(value, abs=1e-3)
        if name != "zm":
            assert abs(exact[name] - value) > 5e-3


def test_a_new_vector_leaves_the_others_and_has_the_overlaps():
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(40, 4))
    start = pl.Overlaps(theta.T @ theta / 40)
    loadings = start.loadings(80, seed=1)
    target = pl.functionally_equivalent(start, vv=start["vv"] + 1.0, zv=start["zv"] + 0.3)
    twin = with_new_vector(loadings, "v", target)
    np.testing.assert_allclose(pl.Overlaps.from_loadings(twin).matrix, target.matrix, atol=1e-12)
    for name in ("m", "u", "z"):
        np.testing.assert_array_equal(getattr(twin, name), getattr(loadings, name))


def test_private_noise_without_noise_is_the_network():
    loadings = pl.Overlaps(np.eye(4)).replace(zm=0.4, vu=0.5, zu=0.3, vm=0.3).loadings(50)
    trials = pl.Filter(duration=5.0).sample()
    silent = output_under_private_noise(loadings, trials, 0.0, 2, 0)
    expected = pl.run_network(loadings, trials).outputs[:, :, 0]
    np.testing.assert_allclose(silent, np.repeat(expected, 2, axis=0), atol=1e-13)


def test_private_noise_reaches_the_output_through_zz():
    # without recurrence the output is z'h/N: an average of N independent first-order processes
    n, sd, a = 200, 0.3, 0.05
    loadings = pl.Overlaps(np.diag([1.0, 1.0, 1.0, 2.0])).loadings(n)
    trials = pl.Filter(duration=20.0, dt=a).sample()
    noise = output_under_private_noise(loadings, trials, sd, 300, 0)[:, 200:]
    expected = 2.0 / n * sd**2 / (1 - (1 - a) ** 2)
    assert noise.var() == pytest.approx(expected, rel=0.1)


def test_the_structure_is_that_of_random_overlaps():
    theta = np.random.default_rng(2).normal(size=(30, 4))
    overlaps = pl.Overlaps(theta.T @ theta / 30)
    for kind in ("linear", "erf"):
        g, entries = pl.metric(overlaps, kind), structure(kind)
        for row in g.index:
            for column in g.columns:
                terms = entries.get((row, column), {})
                value = sum(factor * overlaps[name] for name, factor in terms.items())
                assert g.loc[row, column] == pytest.approx(value, abs=1e-12)


def test_k_is_kept_by_small_steps_and_not_by_adam():
    start = pl.Overlaps(np.eye(4)).replace(zu=0.2, vm=0.2).loadings(40)
    task = pl.Filter(duration=8.0)
    before = invariant_matrix(start)
    changes = []
    for rule in (pl.GradientDescent(2e-3), pl.GradientDescent(1e-3), pl.Adam(1e-3)):
        epochs = round(1.0 / rule.rate) if isinstance(rule, pl.GradientDescent) else 1000
        end = pl.train_network(start, task, rule, epochs).loadings
        changes.append(np.linalg.norm(invariant_matrix(end) - before) / np.linalg.norm(before))
    assert changes[1] == pytest.approx(changes[0] / 2, rel=0.1)  # of first order in the step
    assert changes[2] > 10 * changes[0]


# -- small runs -------------------------------------------------------------------------------


@pytest.mark.quick
def test_theory_follows_the_network_and_direct_descent_does_not(monkeypatch):
    small(monkeypatch, "theory-and-network", networks=2)
    made = reproduce("theory-and-network", scale=0.75)
    assert verdicts(made, "^theory: largest error") == {"agrees"}
    assert verdicts(made, "^descent in overlap space: (largest|movement)") == {"agrees"}
    assert made.verdict("epochs to a loss of 0.01, descent in overlap space") == "agrees"
    assert verdicts(made, "^final (zm|zu.vm|vu)$") == {"agrees"}
    assert ours(made, "theory: largest error of ten overlaps") < 1e-10
    first = ours(made, "first-order update: largest error of ten overlaps")
    assert 1e-3 < first < 0.03
    assert made.findings == ()  # of a shortened run
    assert set(made.figures) == {"learning"}


def test_a_run_too_short_to_say_is_undecided(monkeypatch):
    small(monkeypatch, "theory-and-network", networks=2)
    made = reproduce("theory-and-network", scale=0.02)
    assert verdicts(made, "^theory: largest error") == {"agrees"}
    assert verdicts(made, "^final (zu.vm|vu)$") == {"undecided"}
    assert made.verdict("epochs to a loss of 0.01, descent in overlap space") == "undecided"


def test_equivalent_networks_do_the_same_and_learn_apart(monkeypatch):
    small(monkeypatch, "equivalent-networks", networks=3)
    made = reproduce("equivalent-networks", scale=0.5)
    assert verdicts(made, "^same (output|response|reduced)") == {"agrees"}
    assert verdicts(made, "the published pair: rms") == {"agrees"}
    assert verdicts(made, "the same change after learning") <= {"differs", "undecided"}
    assert verdicts(made, "^loss (before|in) learning") == {"agrees"}
    hidden = ours(made, "the pair in vv and zv, activity of the neurons: rms difference over rms")
    assert hidden < 1e-12
    same = ours(made, "private noise of neurons: variance of output, published pair, ratio")
    other = ours(made, "private noise of neurons: variance of output, pair in vv and zv, ratio")
    assert same == pytest.approx(1.0, abs=1e-3)
    assert other > 1.2


def test_aba_returns_and_remembers_as_reported(monkeypatch):
    small(monkeypatch, "aba", networks=1, n_neurons=40, record_every=100, _POINTS=2)
    made = reproduce("aba", scale=0.5)
    assert verdicts(made, "^theory and network") == {"agrees"}
    assert verdicts(made, "^descent, A again") == {"agrees"}
    assert verdicts(made, "^descent, A noisy, invisible") == {"agrees"}
    assert verdicts(made, "^Adam, A third, (invisible|visible, up)") == {"agrees"}
    assert verdicts(made, "^K, relative change") == {"agrees"}
    # what noise leaves is no trace of B; what Adam leaves is
    trace = "invisible overlaps at the end, with B from never B, part of what B moved"
    assert ours(made, f"descent with noise: {trace}") < 0.1
    assert made.verdict(f"Adam: {trace}") == "agrees"
    # gradient flow comes back closely, not exactly, and less so after a task far away
    part = "A again, invisible: distance from the first A, part of what B moved"
    near, far = (ours(made, f"{arm}, {part}") for arm in ("flow, to the end", "flow, far"))
    assert 1e-4 < near < 0.01
    assert far > 10 * near
    assert made.tables["entries-of-K-network"].shape == (13, 4)


def test_the_metric_is_that_of_the_network(monkeypatch):
    small(monkeypatch, "metric", networks=1, _SIZES=(200, 1600), _DRAWS=2)
    made = reproduce("metric", scale=0.25)
    assert set(made.numbers["verdict"]) == {"agrees", "ours only"}
    speeds = made.tables["erf-speeds"].groupby("neurons")["error"].median()
    assert speeds[1600] < 0.6 * speeds[200] < 0.1
    assert made.tables["structure-linear"].loc["zm", "zm"] == "mm+zz"
    assert made.tables["structure-erf"].loc["zz", "mm"] == "0"


def test_the_oscillation_is_learned_and_its_poles_are_exact(monkeypatch):
    small(monkeypatch, "damped-oscillation", networks=1)
    made = reproduce("damped-oscillation")
    assert verdicts(made, "^theory: largest error") == {"agrees"}
    assert verdicts(made, "^networks with a loss below") == {"agrees"}
    assert verdicts(made, "^change of") == {"agrees"}
    assert made.verdict("final real part of the poles") == "differs"
    rows = made.numbers["quantity"].str.contains("exact for dt")
    assert (made.numbers.loc[rows, "ours"].astype(float) < 5e-3).all()


# -- the command ------------------------------------------------------------------------------


def test_without_a_name_the_results_are_listed():
    result = invoke("reproduce")
    assert result.exit_code == 0, result.output
    for name in published_names():
        assert name in result.output
        assert published(name).takes.split()[0] in result.output


def test_the_command_writes_figures_numbers_and_tables(tmp_path, monkeypatch):
    small(monkeypatch, "theory-and-network", networks=2)
    words = ("reproduce", "theory-and-network", "-o", tmp_path, "--scale", 0.02, "--jobs", 1)
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    place = tmp_path / "theory-and-network"
    assert (place / "theory-and-network-learning.png").read_bytes()[1:4] == b"PNG"
    numbers = pd.read_csv(place / "numbers.csv", keep_default_na=False)
    assert list(numbers.columns) == ["quantity", "published", "ours", "verdict"]
    assert len(pd.read_csv(place / "tables" / "final-overlaps.csv")) == 8
    page = (place / "README.md").read_text(encoding="utf-8")
    assert "seed 0, scale 0.02" in page
    assert "protocols/published-theory-and-network.yaml" in page
    for quantity in numbers["quantity"]:
        assert quantity in page
    kept = sorted((place / "runs").rglob("*.npz"))
    assert len(kept) == 2
    # drawn once, the picture is as it should be
    monkeypatch.setattr("predictlearn.published.files.png", lambda figure, dpi: b"\x89PNG")
    # again, from what is kept, over its own files
    times = [file.stat().st_mtime_ns for file in kept]
    again = invoke(*words)
    assert again.exit_code == 0, again.output
    assert [file.stat().st_mtime_ns for file in kept] == times
    assert pd.read_csv(place / "numbers.csv", keep_default_na=False).equals(numbers)
    # another seed has runs of its own
    assert invoke(*words, "--seed", 1).exit_code == 0
    assert len(sorted((place / "runs").rglob("*.npz"))) == 4


def test_without_a_folder_nothing_is_kept_and_that_is_said(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    small(monkeypatch, "theory-and-network", networks=2)
    result = invoke("reproduce", "theory-and-network", "--scale", 0.01, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert "nothing was kept" in result.output
    assert "undecided" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("abba", "Did you mean 'aba'?"),
        ("aba --all", "either a figure or --all"),
        ("aba --scale 0", "--scale must be"),
        ("aba --jobs 0", "--jobs must be"),
        ("aba --seed -1", "--seed must be"),
        ("aba -o file", "must be a folder"),
        ("aba -o strange", "not made by predictlearn"),
    ],
)
def test_wrong_words_are_one_message_and_run_nothing(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "strange" / "aba").mkdir(parents=True)
    (tmp_path / "strange" / "aba" / "numbers.csv").write_text("mine")

    def never(*_args, **_settings):
        raise AssertionError("it ran")

    monkeypatch.setattr(pl.Protocol, "run", never)
    result = invoke("reproduce", *words.split())
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert (tmp_path / "strange" / "aba" / "numbers.csv").read_text() == "mine"


def test_an_interrupted_run_says_what_is_kept(tmp_path, monkeypatch):
    def interrupted(*_args, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.Protocol, "run", interrupted)
    result = invoke("reproduce", "aba", "-o", tmp_path, "--jobs", 1)
    assert result.exit_code == 130
    kept = tmp_path / "aba" / "runs" / "seed-0-scale-1"
    assert f"finished networks are kept in {kept}" in result.output
    assert not (tmp_path / "aba" / "numbers.csv").exists()
