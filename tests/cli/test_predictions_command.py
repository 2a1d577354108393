"""The command line of the catalogue."""

from __future__ import annotations

import html
import re
import shlex
from functools import partial

import pandas as pd
import pytest
from test_cli import invoke

from predictlearn.predictions import laboratory
from predictlearn.predictions.laboratory import ENTRIES


@pytest.mark.quick
def test_predictions_are_listed():
    result = invoke("predictions")
    assert result.exit_code == 0, result.output
    for name in ENTRIES:
        assert name in result.output
    assert "degrees" in result.output
    assert "mm/s" in result.output


@pytest.mark.quick
def test_wrong_words_are_refused():
    result = invoke("predictions", "a-b-b")
    assert result.exit_code == 2
    assert "Did you mean 'a-b-a'" in result.output
    assert invoke("predictions", "--animals", 5).exit_code == 2
    assert invoke("predictions", "a-b-a", "--animals", 0).exit_code == 2


def test_one_is_put_to_the_test(tmp_path, monkeypatch):
    # a fifth of the experiments: what they show is in test_catalogue.py
    monkeypatch.setattr(laboratory, "evaluate", partial(laboratory.evaluate, n_simulations=40))
    folder = tmp_path / "page"
    result = invoke("predictions", "a-b-a", "--animals", 9, "--jobs", 1, "--output", folder)
    assert result.exit_code == 0, result.output
    for word in ("Refuted by", "Or else", "80%", "95%", "percentage points", "synapses", "rflo"):
        assert word in result.output
    page = (folder / "index.html").read_text(encoding="utf-8")
    page = html.unescape(re.sub("</?span[^>]*>", "", page))
    assert ENTRIES["a-b-a"].falsifier in page
    assert "recording" not in page
    assert "second minus first" in page
    power = pd.read_csv(folder / "tables" / "power.csv")
    assert 9 in set(power["n"])
    assert (folder / "figures").is_dir()
    # what the reader is told to do with a table of animals gives the effect of the page
    told = re.search("<code>(predictlearn compare TABLE.csv .*?)</code>", page)[1]
    animals = folder / "tables" / "simulated-animals.csv"
    again = invoke(*shlex.split(told.replace("TABLE.csv", str(animals)))[1:])
    assert again.exit_code == 0, again.output
    wide = pd.read_csv(animals).pivot(index="subject", columns="arm", values="percent_correct")
    gap = (wide["second"] - wide["first"]).mean()
    assert f"second - first: difference {gap:.3g} in percent_correct" in again.output
    assert f"+{gap:.0f} percentage points" in page
