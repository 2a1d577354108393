"""The command line: experiments are run, continued and compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from test_cli import SMALL, invoke

import predictlearn as pl

pytestmark = pytest.mark.quick


@pytest.fixture
def protocol(tmp_path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(SMALL))
    return file


def test_run_keeps_tables_and_goes_on_from_them(tmp_path, protocol):
    folder = tmp_path / "out"
    result = invoke("run", protocol, "--output", folder, "--jobs", 1, "--seed", 1)
    assert result.exit_code == 0, result.output
    assert "small: 3 networks, seed 1" in result.output
    table = pd.read_csv(folder / "table.csv")
    assert sorted(table["network"].unique()) == [0, 1, 2]
    (folder / "networks" / "00001.npz").unlink()
    times = {p.name: p.stat().st_mtime_ns for p in (folder / "networks").iterdir()}
    again = invoke("run", protocol, "--output", folder, "--jobs", 1, "--seed", 1)
    assert again.output == result.output
    after = {p.name: p.stat().st_mtime_ns for p in (folder / "networks").iterdir()}
    assert set(after) - set(times) == {"00001.npz"}
    assert {name: after[name] for name in times} == times
    other = invoke("run", protocol, "--output", folder, "--jobs", 1, "--seed", 2)
    assert other.exit_code == 2
    assert "seed 1" in other.output


def test_run_scales_cohort_and_epochs(protocol):
    result = invoke("run", protocol, "--networks", 2, "--epochs-scale", 0.5, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert "2 networks" in result.output
    assert "nothing was kept" in result.output


def test_an_interrupted_run_says_what_is_kept(tmp_path, protocol, monkeypatch):
    def interrupted(*_args, **_settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.Protocol, "run", interrupted)
    result = invoke("run", protocol, "--output", tmp_path / "out")
    assert result.exit_code == 130
    assert f"finished networks are kept in {tmp_path / 'out'}" in result.output


def test_compare_tests_arms_within_networks(tmp_path, protocol):
    folder = tmp_path / "out"
    result = invoke("compare", protocol, "--networks", 6, "--jobs", 1, "--output", folder)
    assert result.exit_code == 0, result.output
    assert "A-B minus B-A, 6 networks, at epoch 80 of A-B and epoch 80 of B-A" in result.output
    assert "the arms do not train the same task there" in result.output
    table = pd.read_csv(folder / "comparison.csv", index_col="quantity")
    assert list(table.index[:2]) == ["loss:A", "loss:B"]
    assert (folder / "table.csv").is_file(), "the run is kept beside it"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 1
    assert "The networks of this page are those of a protocol" in page
    assert "recording" not in page
    # the numbers are those of the run, paired by network
    rows = pd.read_csv(folder / "table.csv")
    last = rows[(rows["epoch"] == 80) & (rows["quantity"] == "loss:A")]
    wide = last.pivot_table(index="network", columns="arm", values="value", aggfunc="last")
    gap = wide["A-B"] - wide["B-A"]
    assert table.loc["loss:A", "estimate"] == pytest.approx(gap.mean())
    assert table.loc["loss:A", "n"] == 6
    again = invoke("compare", protocol, "--networks", 6, "--jobs", 1, "--output", folder)
    assert again.output == result.output


def test_compare_at_an_epoch_in_training(protocol):
    swapped = invoke("compare", protocol, "--arms", "B-A", "A-B", "--epoch", 22, "--jobs", 1)
    assert swapped.exit_code == 0, swapped.output
    assert "B-A minus A-B" in swapped.output
    assert "at epoch 20 of B-A and epoch 20 of A-B" in swapped.output, "the nearest recorded one"


def test_compare_leaves_out_networks_that_diverged(protocol, monkeypatch):
    whole = pl.Protocol.run

    def losing(self, **settings):
        result = whole(self, **settings)
        part = (result.table["arm"] == "B-A") & (result.table["network"] == 1)
        row = result.table[part & (result.table["quantity"] == "loss")].iloc[[3]]
        kept = result.table[~(part & (result.table["epoch"] > 30))]
        table = pd.concat([kept, row.assign(value=np.inf)], ignore_index=True)
        return dataclasses.replace(result, table=table)

    monkeypatch.setattr(pl.Protocol, "run", losing)
    result = invoke("compare", protocol, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert "A-B minus B-A, 2 networks" in result.output
    assert "1 of 3 networks did not get through both arms" in result.output
    few = invoke("compare", protocol, "--networks", 2, "--jobs", 1)
    assert few.exit_code == 2
    assert "at least 2 networks must have finished in both arms; got 1 and 1" in few.output


def test_arms_that_do_not_differ_need_no_number_of_animals(tmp_path):
    file, folder = tmp_path / "same.yaml", tmp_path / "out"
    arms = {"one": SMALL["arms"]["A-B"], "two": SMALL["arms"]["A-B"]}
    file.write_text(yaml.safe_dump({**SMALL, "arms": arms}))
    result = invoke("compare", file, "--jobs", 1, "--output", folder)
    assert result.exit_code == 0, result.output
    assert "is left out" not in result.output
    table = pd.read_csv(folder / "comparison.csv", index_col="quantity")
    assert {"loss", "loss:A", "zm", "vv"} < set(table.index)
    assert (table["estimate"] == 0).all()
    assert not table["significant"].any()
    assert np.isinf(table["animals_needed"]).all()
