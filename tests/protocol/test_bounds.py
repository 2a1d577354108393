"""What a run keeps is bounded, whatever its cohort."""

from __future__ import annotations

import subprocess
import sys

import pytest

import predictlearn as pl
from predictlearn.errors import InputError
from predictlearn.protocol import bounds
from predictlearn.theory.sizes import Sizes


def protocol(networks=3, epochs=60, **changes):
    content = {
        "name": "bounded",
        "cohort": {"networks": networks, "overlaps": {"zm": 0.1}, "spread": 0.05},
        "tasks": {"A": {"type": "filter", "decay": 0.2}},
        "rule": {"rate": 0.005},
        "arms": {
            "one": {"phases": [{"task": "A", "epochs": epochs}, {"task": "A", "epochs": 7}]},
            "two": {"phases": [{"readout": {"zm": 0.2}}, {"task": "A", "epochs": epochs}]},
        },
        "evaluate": ["A"],
    }
    return pl.Protocol.from_dict({**content, **changes})


@pytest.mark.parametrize("every", [1, 7, 100])
def test_rows_are_counted_before_the_run(every):
    made = protocol(record_every=every)
    counted = bounds.rows_of(made.spec, 3, Sizes(), every)
    assert 0.85 * counted < len(made.run().table) <= counted


@pytest.mark.quick
def test_neurons_count_as_the_rows_that_take_as_much():
    theory = protocol().spec
    neurons = protocol(engine="network", n_neurons=1000).spec
    more = bounds.rows_of(neurons, 2, Sizes(), 1) - bounds.rows_of(theory, 2, Sizes(), 1)
    assert more == 2 * 4 * 128  # 1000 neurons, four loadings of 8 bytes, in rows of 250


@pytest.mark.quick
def test_the_default_keeps_as_many_epochs_as_fit(monkeypatch, tmp_path):
    whole = protocol().run().table
    monkeypatch.setattr(bounds, "KEPT_ROWS", 1000)
    with pytest.warns(UserWarning, match=r"one epoch in \d+ is kept, .*about 4,.* rows"):
        result = protocol().run(output=tmp_path)
    every = result.settings["record_every"]
    assert every > 2
    assert len(result.table) <= 1000 < bounds.rows_of(protocol().spec, 3, Sizes(), every - 1)
    # those that are kept are as they are in the whole
    keys = ["arm", "network", "phase", "epoch", "quantity"]
    both = result.table.merge(whole, on=keys, suffixes=("", "_whole"), validate="one_to_one")
    assert len(both) == len(result.table)
    assert (both["value"] == both["value_whole"]).all()
    with pytest.warns(UserWarning, match="is kept"):
        again = protocol().run(output=tmp_path)
    assert again.table.equals(result.table)


@pytest.mark.quick
def test_what_was_asked_for_is_kept_or_refused_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr(bounds, "KEPT_ROWS", 1000)
    assert protocol(record_every=1).run().settings["record_every"] == 1
    monkeypatch.setattr(bounds, "MOST_ROWS", 1000)
    with pytest.raises(InputError, match=r"record_every 1, more than .*record_every: (\d+), or"):
        protocol(record_every=1).run(output=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="run fewer networks"):
        protocol(networks=30).run()


LARGE = """
import resource, sys, warnings
import predictlearn as pl
warnings.simplefilter("ignore")
networks, epochs = int(sys.argv[1]), int(sys.argv[2])
result = pl.Protocol.from_dict({
    "name": "large",
    "cohort": {"networks": networks, "overlaps": {"zm": 0.1}, "spread": 0.05},
    "tasks": {"A": {"type": "filter", "decay": 0.2}},
    "rule": {"rate": 0.005},
    "arms": {"one": {"phases": [{"task": "A", "epochs": epochs}]}},
}).run(output=sys.argv[3])
print(len(result.table), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("networks", "epochs"), [(500, 3000), (2000, 3000)])
def test_large_runs_stay_within_the_stated_memory(tmp_path, networks, epochs):
    for _ in range(2):  # and when the run is read again
        done = subprocess.run(
            [sys.executable, "-c", LARGE, str(networks), str(epochs), str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        )
        rows, peak = map(int, done.stdout.split())
        assert 2_000_000 < rows <= bounds.KEPT_ROWS
        assert peak * 1024 < 1.5e9  # 1 GB of table, and what the package itself takes
