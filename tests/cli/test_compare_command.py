"""``predictlearn compare``: tables of animals, several protocols, power, and what is refused."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from test_cli import SMALL, invoke

from predictlearn.comparing import resampled
from predictlearn.comparing.question import asked, compare_table
from predictlearn.comparing.resampled import animal_rows, resample, resampled_power

pytestmark = pytest.mark.quick


def compare(line: str, *more: object):
    return invoke("compare", *shlex.split(line), *more)


@pytest.fixture
def mice(tmp_path, monkeypatch) -> pd.DataFrame:
    """Ten mice an arm with six days each, in mice.csv of the folder that tests run in."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    mouse = np.repeat(np.arange(20), 6)
    day = np.tile(np.arange(6), 20)
    drug = mouse < 10
    own = rng.normal(0, 4, 20)[mouse]
    table = pd.DataFrame(
        {
            "mouse": [f"m{k}" for k in mouse],
            "arm": np.where(drug, "drug", "saline"),
            "day": day,
            "percent": 65 + day + 4 * drug + own + rng.normal(0, 3, 120),
        }
    )
    table.to_csv("mice.csv", index=False)
    return table


def means(table: pd.DataFrame, arm: str) -> np.ndarray:
    rows = table[table["arm"] == arm]
    return rows.groupby("mouse")["percent"].mean().to_numpy()


MICE = "mice.csv --outcome percent --subject mouse --arms drug saline"


def test_groups_of_a_table_are_compared_by_animal(mice):
    result = compare(f"{MICE} --unit %correct --output page")
    assert result.exit_code == 0, result.output
    drug, saline = means(mice, "drug"), means(mice, "saline")
    row = pd.read_csv("page/tables/comparison.csv").iloc[0]
    found = stats.ttest_ind(drug, saline, equal_var=False)
    assert row["estimate"] == pytest.approx(drug.mean() - saline.mean())
    assert row["p"] == pytest.approx(found.pvalue)
    low, high = found.confidence_interval()
    assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))
    assert f"difference {row['estimate']:.3g} %correct" in result.output
    assert "120 rows, averaged by animal" in result.output
    assert "…" not in result.output  # no number is cut off
    assert "Checked: normal within arms" in result.output
    page = Path("page/index.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 1
    command = re.sub("</?span[^>]*>", "", page)
    assert "predictlearn compare mice.csv --outcome percent --arms drug saline" in command
    assert "What you can do next" in page
    assert "drug minus saline" in page
    assert len(pd.read_csv("page/tables/animals.csv")) == 20


def test_sessions_are_modelled(mice):
    result = compare(f"{MICE} --session day --output page")
    assert result.exit_code == 0, result.output
    row = pd.read_csv("page/tables/comparison.csv").iloc[0]
    # in balanced data the model's difference is that of the means, with the animals' df
    gap = means(mice, "drug").mean() - means(mice, "saline").mean()
    assert row["estimate"] == pytest.approx(gap)
    assert row["df"] == pytest.approx(18)
    assert "120 rows of 20 animals" in result.output


def test_pairs_waits_margins_and_bayes_factors(mice):
    wide = mice.pivot_table(index="mouse", columns="day", values="percent")
    pairs = mice[mice["day"].isin([0, 5])]
    pairs.to_csv("pairs.csv", index=False)
    paired = compare("pairs.csv --outcome percent --subject mouse --arm day --paired --arms 5 0")
    assert paired.exit_code == 0, paired.output
    gap = (wide[5] - wide[0]).mean()
    assert f"5 - 0: difference {gap:.3g} in percent" in paired.output
    assert "paired t test" in paired.output
    same = compare(f"{MICE} --margin 50")
    assert "equivalent within the stated bounds [-50, 50]" in same.output
    assert "BF10 = " in compare(f"{MICE} --test bayes").output
    waits = mice[mice["day"] == 0].assign(trials=np.arange(20) + 50, never=[0] * 19 + [1])
    waits.to_csv("waits.csv", index=False)
    found = compare("waits.csv --outcome trials --subject mouse --censored never --output page")
    assert found.exit_code == 0, found.output
    names = pd.read_csv("page/tables/comparison.csv")["name"]
    assert list(names.str.rpartition(", ")[2]) == ["restricted mean", "log-rank", "hazard ratio"]
    assert "reached by 9 of 10 in saline" in found.output


def test_several_arms_are_corrected(mice):
    mice.assign(arm=np.repeat(["a", "b", "c", "d"], 30)).to_csv("four.csv", index=False)
    result = compare("four.csv --outcome percent --subject mouse --reference b --output page")
    assert result.exit_code == 0, result.output
    table = pd.read_csv("page/tables/comparison.csv")
    assert list(table["name"]) == ["a - b", "c - b", "d - b"]
    assert table["p_corrected"].min() == pytest.approx(min(3 * table["p"].min(), 1))
    refused = compare("four.csv --outcome percent --subject mouse --animals 5")
    assert refused.exit_code == 2
    assert "Choose two with --arms" in refused.output


# test_compare_waits.py holds the same formula with groups of unequal size
@pytest.mark.slow
def test_power_of_resampled_animals_is_that_of_the_formula(monkeypatch):
    """Of many normal animals: power by the noncentral t, computed apart."""
    monkeypatch.setattr(resampled, "_SIZES", 0)  # at the number asked about only
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {"subject": range(800), "arm": np.repeat(["a", "b"], 400), "y": rng.normal(0, 2, 800)}
    )
    comparison = compare_table(table, asked("y"))
    seen, stated = resampled_power(comparison, 16, [2.0], n_simulations=400)
    assert seen.seen
    assert not stated.seen
    spread = np.sqrt(table.groupby("arm")["y"].var(ddof=1).mean())
    nc = 2.0 / spread * np.sqrt(16 / 2)
    cut = stats.t.isf(0.025, 30)
    power = stats.nct.sf(cut, 30, nc) + stats.nct.cdf(-cut, 30, nc)
    assert stated.power == pytest.approx(power, abs=0.06)
    assert stated.low < stated.power < stated.high


@pytest.mark.parametrize("paired", [False, True])
def test_resampled_animals_differ_by_what_was_put_in_and_spread_as_before(mice, paired):
    if paired:
        data = mice[mice["day"].isin([0, 5])].assign(arm=lambda t: "day" + t["day"].astype(str))
    else:
        data = mice
    comparison = compare_table(data, asked("percent", subject="mouse", paired=paired))
    source = animal_rows(comparison)
    found = resample(20_000, np.random.default_rng(0), source=source, effect=7.0)
    by = found.groupby(["mouse", "arm"], observed=True)["percent"].mean().unstack()
    gap = by["other"].mean() - by["reference"].mean()
    assert gap == pytest.approx(7.0, abs=0.15)
    if paired:
        wide = data.pivot(index="mouse", columns="arm", values="percent")
        before = (wide["day5"] - wide["day0"]).std(ddof=1)
        assert (by["other"] - by["reference"]).std() == pytest.approx(before, rel=0.03)
    else:
        assert by["reference"].std() == pytest.approx(means(mice, "drug").std(ddof=1), rel=0.03)
        assert len(found) == 6 * 40_000


def test_power_is_printed_with_what_it_does_not_say(mice):
    line = f"{MICE} --animals 12 --effect 3 --simulations 10 --jobs 1"
    result = compare(line)
    assert result.exit_code == 0, result.output
    assert "power with 12 animals in each arm" in result.output
    assert "…" not in result.output
    assert "as seen here" in result.output
    assert "as stated" in result.output
    assert "Power at the difference seen is no evidence about this experiment" in result.output
    assert compare(line).output == result.output


REFUSED = {
    "column": ("mice.csv --outcome percnt --subject mouse", "'percnt' is not a column",
               "Did you mean 'percent'?"),
    "subject": (f"{MICE} --session dy", "session 'dy' is not a column", "Did you mean 'day'?"),
    "words": ("words.csv --outcome percent --subject mouse", "row 5 holds 'high'", "numbers"),
    "missing": ("missing.csv --outcome percent --subject mouse", "row 7 is missing", "1 of 120"),
    "nobody": ("nobody.csv --outcome percent --subject mouse", "is missing in row 9", "mouse"),
    "range": (f"{MICE} --limits 0 70", "at least 0 and at most 70", "row "),
    "one arm": ("drug.csv --outcome percent --subject mouse", "at least two arms", "row 2"),
    "one animal": ("few.csv --outcome percent --subject mouse", "'saline' has 1 animal", "row 62"),
    "both": ("both.csv --outcome percent --subject mouse", "in row 62, in 'saline'", "--paired"),
    "never": ("never.csv --outcome percent --subject mouse --censored never", "no animal reached",
              "row 2"),
    "test": (f"{MICE} --test welsh", "Did you mean 'welch'?", "--test"),
    "paired": (f"{MICE} --test t", "give --paired", "welch"),
    "margin": (f"{MICE} --test equivalence", "needs --margin", "matter"),
    "outcome": ("mice.csv", "--outcome must say what is compared", "column"),
    "effect": (f"{MICE} --effect 3", "with --animals", "power"),
    "animals": (f"{MICE} --animals 1", "at least 2; got 1", "--animals"),
    "protocol": (f"{MICE} --networks 3", "--networks is of protocols", "table"),
    "two": (f"{MICE} other.csv", "compared by itself", "column for the arm"),
    "no file": ("absent.csv --outcome percent", "no such file", "absent.csv"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_a_table_is_one_message(mice, name):
    line, said, more = REFUSED[name]
    wrong = mice.copy()
    if line.startswith("words"):
        wrong["percent"] = wrong["percent"].astype(object)
        wrong.loc[3, "percent"] = "high"
    wrong.loc[5, "percent"] = None if line.startswith("missing") else wrong.loc[5, "percent"]
    wrong.loc[7, "mouse"] = None if line.startswith("nobody") else wrong.loc[7, "mouse"]
    if line.startswith("drug"):
        wrong = wrong[wrong["arm"] == "drug"]
    if line.startswith("few"):
        wrong = wrong[(wrong["arm"] == "drug") | (wrong["mouse"] == "m10")]
    if line.startswith("both"):
        wrong.loc[60:65, "mouse"] = "m0"
    if line.startswith("never"):
        wrong = wrong.drop_duplicates("mouse").assign(never=1)
    file = Path(line.split()[0])
    if file.name not in ("mice.csv", "absent.csv"):
        wrong.to_csv(file, index=False)
    result = compare(line, "--output", "page")
    assert result.exit_code == 2
    assert said in result.output
    assert more in result.output
    assert result.output.count("Error:") == 1
    assert not Path("page").exists()


@pytest.fixture
def protocols(tmp_path, monkeypatch) -> None:
    """Two protocols of the same networks, and one of groups of different ones."""
    monkeypatch.chdir(tmp_path)
    fast = {**SMALL, "rule": {"type": "gradient-descent", "rate": 0.02}}
    fast["arms"] = {"A-B": SMALL["arms"]["A-B"]}
    groups = {**SMALL, "cohort": {**SMALL["cohort"], "networks": 4, "design": "between"}}
    for name, content in (("slow", SMALL), ("fast", fast), ("groups", groups)):
        Path(f"{name}.yaml").write_text(yaml.safe_dump({**content, "name": name}))


def test_protocols_side_by_side_are_pairs_where_networks_are_the_same(protocols):
    result = compare("slow.yaml fast.yaml --outcome loss:A --jobs 1 --output out")
    assert result.exit_code == 0, result.output
    table = pd.read_csv("out/tables/comparison.csv", index_col="name")
    assert len(table) == 3
    assert set(table["design"]) == {"within networks"}
    runs = [pd.read_csv(f"out/runs/{name}/table.csv") for name in ("slow", "fast")]
    last = [
        run[(run["arm"] == "A-B") & (run["quantity"] == "loss:A") & (run["epoch"] == 80)]
        .groupby("network")["value"]
        .last()
        for run in runs
    ]
    found = stats.ttest_rel(*last)
    row = table.loc["slow: A-B - fast: A-B"]
    assert row["p"] == pytest.approx(found.pvalue)
    assert row["estimate"] == pytest.approx((last[0] - last[1]).mean())
    page = Path("out/index.html").read_text(encoding="utf-8")
    assert "Simulated data.</strong> The animals on this page are networks" in page
    assert "recording" not in page
    assert page.count("<img ") == 1


def test_groups_of_different_networks_are_compared_as_such(protocols):
    result = compare("groups.yaml --outcome loss:A --jobs 1 --output out")
    assert result.exit_code == 0, result.output
    table = pd.read_csv("out/tables/comparison.csv")
    assert list(table["design"]) == ["between different networks"]
    run = pd.read_csv("out/runs/groups/table.csv")
    last = run[(run["quantity"] == "loss:A") & (run["epoch"] == 80)].groupby(["arm", "network"])
    values = last["value"].last()
    found = stats.ttest_ind(values["A-B"], values["B-A"], equal_var=False)
    assert table.loc[0, "p"] == pytest.approx(found.pvalue)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("slow.yaml fast.yaml", "--outcome must say what is compared"),
        ("slow.yaml --outcome los:A", "Did you mean 'loss:A'?"),
        ("slow.yaml --outcome loss", "is of different tasks there"),
        ("slow.yaml fast.yaml --outcome loss:A --arms A-B B-A", "Did you mean 'slow: A-B'?"),
        ("slow.yaml fast.yaml --outcome loss:A --animals 5", "--animals is of two"),
        ("fast.yaml --outcome loss:A", "a comparison needs two"),
        ("slow.yaml --outcome loss:A --paired", "--paired is of a table"),
    ],
)
def test_what_is_wrong_with_protocols_is_one_message(protocols, line, said):
    result = compare(line, "--jobs", 1)
    assert result.exit_code == 2
    assert said in result.output
    assert result.output.count("Error:") == 1
