"""``predictlearn compare`` of waits: power by resampling, groups of unequal size."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_cli import invoke

from predictlearn import statistics as st
from predictlearn.comparing import resampled
from predictlearn.comparing.question import asked, compare_table
from predictlearn.comparing.resampled import resampled_power
from predictlearn.comparing.waits import resample_waits, wait_rows, wait_sizes

pytestmark = pytest.mark.quick


def compare(line: str, *more: object):
    return invoke("compare", *shlex.split(line), *more)


def waits(n, ratio=1.0, until=80.0, seed=0, lost=None):
    """Exponential waits, mean 50 in the reference; lost to follow-up at mean `lost`."""
    rng = np.random.default_rng(seed)
    first, other = n if isinstance(n, tuple) else (n, n)
    t = np.concatenate([rng.exponential(50, first), rng.exponential(50 / ratio, other)])
    seen = np.full(t.size, until)
    if lost is not None:
        seen = np.minimum(rng.exponential(lost, t.size), until)
    return pd.DataFrame(
        {
            "subject": range(t.size),
            "arm": np.repeat(["slow", "fast"], [first, other]),
            "trials": np.minimum(t, seen),
            "never": (t > seen).astype(int),
        }
    )


def asked_of(table, **more):
    return compare_table(table, asked("trials", censored="never", reference="slow", **more))


def at_the_number_asked_about(monkeypatch, seen=20):
    """Simulate no other numbers, the difference seen a few times only, and with less relabelling.

    The level of a test does not depend on how often it relabels.
    """
    monkeypatch.setattr(resampled, "_SIZES", 0)
    monkeypatch.setattr(resampled, "_RELABELLINGS", 399)
    # the experiment by which other numbers would be chosen
    monkeypatch.setattr("predictlearn.comparing.waits._LARGE", 100)
    simulated, calls = resampled.power_by_simulation, []

    def power_by_simulation(*given, **more):
        calls.append(given)  # the difference seen comes first
        return simulated(*given, **more | ({"n_simulations": seen} if len(calls) == 1 else {}))

    monkeypatch.setattr(resampled, "power_by_simulation", power_by_simulation)


def z_by_hand(t, event, mine):
    """The log-rank statistic, by a loop over times."""
    gap = variance = 0.0
    for at in np.unique(t[event]):
        risk, now = t >= at, (t == at) & event
        n, n1, d = risk.sum(), (risk & mine).sum(), now.sum()
        gap += (now & mine).sum() - d * n1 / n
        if n > 1:
            variance += d * n1 * (n - n1) * (n - d) / (n**2 * (n - 1))
    return gap / np.sqrt(variance) if variance > 0 else 0.0


def kaplan_meier(t, event, when):
    """Share still waiting after each time, by the product."""
    share = 1.0
    for at in np.unique(t[event & (t <= when)]):
        share *= 1 - ((t == at) & event).sum() / (t >= at).sum()
    return share


def split(table, question):
    """Times and events of the reference and of the other arm."""
    other = (table[question.arm] == "other").to_numpy()
    t, event = table["trials"].to_numpy(), table["criterion reached"].to_numpy() > 0
    return (t[~other], event[~other]), (t[other], event[other])


def test_as_seen_every_animal_is_one_of_its_arm_and_who_was_censored_stays_so():
    table = waits((9, 7), 3.0, lost=60.0)
    source = wait_rows(asked_of(table))
    drawn = resample_waits(40, np.random.default_rng(1), source=source, ratio=None, share=0.5)
    (t0, e0), (t1, e1) = split(drawn, source.question)
    assert (len(t0), len(t1)) == (40, 20)
    for arm, t, event in (("slow", t0, e0), ("fast", t1, e1)):
        mine = table[table["arm"] == arm]
        known = set(zip(mine["trials"], mine["never"] == 0, strict=True))
        assert set(zip(t, event, strict=True)) <= known
        assert not event.all()
    assert drawn["subject"].is_unique


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("lost", [None, 60.0])
def test_a_hazard_ratio_is_put_into_the_curve_of_the_reference(ratio, lost):
    source = wait_rows(asked_of(waits((40, 10), 3.0, lost=lost)))
    drawn = resample_waits(20_000, np.random.default_rng(2), source=source, ratio=ratio)
    reference, other = split(drawn, source.question)
    for when in (5.0, 20.0, 45.0, 79.0):
        base = kaplan_meier(source.time[0], source.reached[0], when)
        assert kaplan_meier(*reference, when) == pytest.approx(base, abs=0.02)
        assert kaplan_meier(*other, when) == pytest.approx(base**ratio, abs=0.02)
        # who is lost is lost alike in both arms
        gone = [kaplan_meier(t, ~event, when) for t, event in (reference, other)]
        assert gone[0] == pytest.approx(gone[1], abs=0.03)


def test_pairs_stay_as_alike_as_they_are():
    rng = np.random.default_rng(3)
    own = rng.gamma(2.0, 0.5, 200)
    t = np.concatenate([rng.exponential(40 / own), rng.exponential(10 / own)])
    table = pd.DataFrame(
        {"subject": np.tile(np.arange(200), 2), "arm": np.repeat(["slow", "fast"], 200),
         "trials": t, "never": 0}
    )  # fmt: skip
    source = wait_rows(asked_of(table, paired=True))
    assert source.question.test == "survival"
    drawn = resample_waits(5000, np.random.default_rng(4), source=source, ratio=1.0)
    assert drawn["subject"].tolist() == [*range(5000)] * 2
    (t0, _), (t1, _) = split(drawn, source.question)
    before = stats.spearmanr(t[:200], t[200:]).statistic
    assert stats.spearmanr(t0, t1).statistic == pytest.approx(before, abs=0.05)
    assert before > 0.15
    # and wait as the reference does
    assert np.quantile(t1, [0.25, 0.5, 0.75]) == pytest.approx(
        np.quantile(t[:200], [0.25, 0.5, 0.75]), rel=0.15
    )


@pytest.mark.parametrize(("ratio", "n"), [pytest.param(2.0, 20, marks=pytest.mark.slow), (0.4, 24)])
def test_power_of_waits_is_that_of_new_experiments(monkeypatch, ratio, n):
    """Of many animals: power of the log-rank test by hand, in new exponential waits."""
    at_the_number_asked_about(monkeypatch)
    comparison = asked_of(waits(600))
    seen, _, stated, mean = resampled_power(comparison, n, [ratio], n_simulations=400)
    assert [seen.test, stated.test, mean.test] == ["log-rank", "log-rank", "restricted mean"]
    assert (seen.seen, stated.seen, stated.effect) == (True, False, ratio)
    found = 0
    for k in range(400):
        new = waits(n, ratio, seed=1000 + k)
        event, mine = new["never"].to_numpy() == 0, (new["arm"] == "fast").to_numpy()
        found += abs(z_by_hand(new["trials"].to_numpy(), event, mine)) > stats.norm.isf(0.025)
    assert stated.power == pytest.approx(found / 400, abs=0.11)
    # Schoenfeld: events of both arms by the end of training
    events = n * (2 - np.exp(-80 / 50) - np.exp(-80 * ratio / 50))
    formula = stats.norm.cdf(abs(np.log(ratio)) * np.sqrt(events / 4) - stats.norm.isf(0.025))
    assert stated.power == pytest.approx(formula, abs=0.1)
    assert stated.low < stated.power < stated.high


@pytest.mark.parametrize("paired", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_ratio_of_one_is_found_in_five_percent(monkeypatch, paired):
    at_the_number_asked_about(monkeypatch)
    table = waits(12, 2.0, seed=5)
    if paired:
        table = table.assign(subject=[*range(12)] * 2)
    comparison = asked_of(table, paired=paired)
    for one in resampled_power(comparison, 10, [1.0], n_simulations=600)[2:]:
        assert one.effect == 1.0
        # 600 experiments: 5% with four standard errors
        assert one.power < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 600)
        assert one.power > 0.005
        assert one.table["n"].tolist() == [10]
        assert one.needed(0.8) == "> 10"


# power by number is that of new experiments: see above
@pytest.mark.slow
def test_numbers_needed_are_about_those_of_schoenfeld(monkeypatch):
    monkeypatch.setattr(resampled, "_SIZES", 3)
    comparison = asked_of(waits(200))
    one = resampled_power(comparison, 37, [2.0], n_simulations=200)[2]
    z = stats.norm.isf(0.025) + stats.norm.ppf(0.8)
    share = 1 - np.exp(-80 / 50), 1 - np.exp(-80 * 2 / 50)
    formula = 4 * (z / np.log(2.0)) ** 2 / sum(share)
    needed = one.numbers_needed.set_index("target")["n"]
    assert needed[0.8] == pytest.approx(formula, rel=0.25)
    low, high = wait_sizes(wait_rows(comparison), 2.0, 1.0)
    assert low == pytest.approx(formula, rel=0.4)
    assert high > 1.3 * low


def test_groups_of_unequal_size_have_the_power_of_the_formula(monkeypatch):
    at_the_number_asked_about(monkeypatch)
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {"subject": range(800), "arm": np.repeat(["a", "b"], 400), "y": rng.normal(0, 2, 800)}
    )
    _, stated = resampled_power(
        compare_table(table, asked("y")), 10, [2.0], share=2.5, n_simulations=400
    )
    spread = np.sqrt(table.groupby("arm")["y"].var(ddof=1).mean())
    nc = 2.0 / spread / np.sqrt(1 / 10 + 1 / 25)
    cut = stats.t.isf(0.025, 33)
    power = stats.nct.sf(cut, 33, nc) + stats.nct.cdf(-cut, 33, nc)
    assert stated.animals == "25 + 10"
    assert stated.found.table["animals"].iloc[0] == pytest.approx(3.5 * stated.found.table["n"][0])
    assert stated.power == pytest.approx(power, abs=0.07)


def test_experiments_in_which_nobody_gets_there_count_as_not_shown(monkeypatch):
    at_the_number_asked_about(monkeypatch, seen=200)
    table = waits(10, until=4.0, seed=8)
    assert 0 < (table["never"] == 0).sum() < 5
    log_rank = resampled_power(asked_of(table), 3, n_simulations=200)[0]
    row = log_rank.table[log_rank.table["n"] == 3].iloc[0]
    assert row["failed"] > 20
    assert row["simulations"] == 200
    assert row["power"] <= 1 - row["failed"] / 200
    assert "no animal reached the criterion" in row["why_failed"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # pages say where numbers come from; how many there are costs time only
    monkeypatch.setattr(resampled, "_SIZES", 3)
    monkeypatch.setattr("predictlearn.comparing.waits._LARGE", 500)
    waits((8, 12), 2.0, seed=1).to_csv("waits.csv", index=False)
    return tmp_path


WAITS = "waits.csv --outcome trials --censored never --reference slow"


def test_power_of_waits_from_the_command_line(folder):
    line = f"{WAITS} --animals 8 --ratio 1.5 --effect 2 --simulations 20 --jobs 1 --output page"
    result = compare(line)
    assert result.exit_code == 0, result.output
    assert "power with 12 + 8 animals" in result.output
    assert "2, stated" in result.output
    assert "log-rank" in result.output
    assert "…" not in result.output  # no number is cut off
    text = " ".join(result.output.split())
    assert "How many animals reach the criterion is known from 20 of them" in text
    assert "2 where fast reaches the criterion at twice the rate of slow" in text
    power = pd.read_csv("page/tables/power.csv")
    assert power["test"].tolist() == ["log-rank", "restricted mean"] * 2
    assert power["hazard ratio"].tolist()[2:] == [2.0, 2.0]
    assert set(power["animals"]) == {"12 + 8"}
    page = Path("page/index.html").read_text(encoding="utf-8")
    assert "stays so" in page
    assert "--margin" not in page
    assert "--ratio 1.5" in re.sub("</?span[^>]*>", "", page)
    # a figure of curves, and what the next experiment takes by either test
    assert page.count("<img ") == 2
    shown = html.unescape(re.sub("<[^>]*>", " ", page))
    stated = power.iloc[2:].to_dict("records")
    takes = [str(row["for_80"]).replace("> ", "more than ") for row in stated]
    assert (
        f"hazard ratio of 2 with 80% power is {takes[0]} by the log-rank test, {takes[1]} by that "
        "of the restricted mean"
    ) in " ".join(shown.split())
    for row in stated:
        cells = f"2, as stated  {row['test']}  {100 * row['power']:.0f}% ["
        assert cells in shown
        assert f"]  {row['for_80']}  {row['for_95']}" in shown


def test_a_ratio_without_end_and_corrected_p_are_on_the_page(folder):
    # nobody of z is seen when the first of x gets there
    table = pd.DataFrame(
        {
            "subject": range(18),
            "arm": np.repeat(["x", "y", "z"], 6),
            "trials": [31, 32, 34, 35, 37, 40, 11, 25, 29, 33, 36, 40, 2, 3, 5, 7, 8, 9],
            "never": [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        }
    )
    table.to_csv("apart.csv", index=False)
    result = compare("apart.csv --outcome trials --censored never --output page")
    assert result.exit_code == 0, result.output
    assert "…" not in result.output
    found = pd.read_csv("page/tables/comparison.csv").set_index("name")
    row = found.loc["z - x, hazard ratio"]
    assert np.isinf(row["estimate"])
    page = Path("page/index.html").read_text("utf-8")
    assert f"inf [{row['low']:.3g}, inf]" in page
    mean = found.loc["y - x, restricted mean"]
    assert mean["p_corrected"] == pytest.approx(mean["p"], rel=1e-9)  # the larger, by Holm
    assert f"Corrected by holm: p = {mean['p_corrected']:.2g}." in page
    first = found.loc["z - x, restricted mean"]
    assert first["p_corrected"] == pytest.approx(2 * first["p"], rel=1e-9)


def test_the_same_animals_may_wait_in_both_arms(folder):
    table = waits(9, 2.0, seed=2).assign(subject=[*range(9)] * 2)
    table.to_csv("pairs.csv", index=False)
    line = "pairs.csv --outcome trials --censored never --paired --reference slow --animals 9"
    result = compare(f"{line} --simulations 20 --jobs 1 --output page")
    assert result.exit_code == 0, result.output
    assert "power with 9 pairs" in result.output
    assert "…" not in result.output
    found = pd.read_csv("page/tables/comparison.csv")
    reference = st.compare_survival(
        table.assign(reached=1 - table["never"]), reference="slow", paired=True
    )
    assert found["p"].tolist() == pytest.approx(reference["p"].tolist())


REFUSED = {
    "negative": (f"{WAITS} --animals 8 --effect -3", "is a hazard ratio, above 0", "got -3"),
    "nothing": (f"{WAITS} --animals 8 --effect 0", "is a hazard ratio, above 0", "twice the rate"),
    "alone": (f"{WAITS} --ratio 2", "--ratio is of power", "--animals"),
    "ratio": (f"{WAITS} --animals 8 --ratio -1", "--ratio must be", "got -1"),
    "small": (f"{WAITS} --animals 4 --ratio 0.1", "fewer than 2 animals in the first arm",
              "0.5 or more"),
    "pairs": ("pairs.csv --outcome trials --censored never --paired --animals 8 --ratio 2",
              "--ratio is of different animals", "both arms"),
    "reference": ("none.csv --outcome trials --censored never --reference slow --animals 8 "
                  "--effect 2", "none of its 8 animals did", "exchange the arms"),
    "three": ("three.csv --outcome trials --censored never --animals 8", "Choose two with --arms",
              "x, y, z"),
    "twice": ("twice.csv --outcome trials --censored never", "has a second row, row 22", "one row"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_power_of_waits_is_one_message(folder, name):
    line, said, more = REFUSED[name]
    table = pd.read_csv("waits.csv")
    wrong = {
        "pairs.csv": table.iloc[:16].assign(subject=[*range(8)] * 2),
        "none.csv": table.assign(never=np.where(table["arm"] == "slow", 1, table["never"])),
        "three.csv": table.assign(arm=np.resize(["x", "y", "z"], 20)),
        "twice.csv": pd.concat([table, table.iloc[[-1]]]),
    }
    wrong["pairs.csv"]["arm"] = ["slow"] * 8 + ["fast"] * 8
    if (file := line.split()[0]) in wrong:
        wrong[file].to_csv(file, index=False)
    result = compare(line, "--jobs", 1)
    assert result.exit_code == 2, result.output
    text = " ".join(result.output.split())
    assert said in text
    assert more in text
    assert result.output.count("Error:") == 1
