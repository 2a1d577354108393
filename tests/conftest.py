"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import predictlearn as pl

# the package looks nowhere but where it is told to
os.environ.setdefault(
    "PREDICTLEARN_DATA", str(Path(__file__).resolve().parents[2] / "shared" / "data")
)

# A program begun in the background ignores Ctrl-C, and so would the programs that tests send it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# With --doctest-modules every module here is imported; a test runs this one.
collect_ignore = ["docs/user_script.py"]

# The order in which workers take the files, the rest after these: what compiles most, so that two
# workers compile different loops (fits and synapses; learning, the fourth order, populations) and
# find those of the other compiled; then what takes longest.
FIRST = (
    "pipeline/test_pipeline.py",
    "theory/test_impulse.py",
    "theory/test_fourth_order.py",
    "docs/test_docs.py",
    "theory/test_activity.py",
    "theory/test_populations.py",
    "doors/test_fuzz_doors.py",
    "recordings/test_events.py",
    "recordings/test_readers.py",
    "work/test_killed.py",
    "work/test_memory.py",
    "work/test_kept.py",
    "published/test_published.py",
    "fitting/state_space/test_fit_state_space.py",
    "pipeline/test_prediction_robust.py",
    "fitting/learning/test_randomised.py",
    "fitting/diagnostics/test_fit_diagnostics.py",
    "statistics/test_statistics_size.py",
    "fitting/learning/test_learning_recordings.py",
    "published/test_published_twins.py",
    "fitting/learning/test_learning_counts.py",
    "fitting/session/test_bin_means.py",
    "fitting/evaluation/test_fit_selection.py",
    "cli/test_cli.py",
)


def pytest_configure(config):
    """Let xdist keep that order; it would take files with many tests first, however short."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Put the files into that order."""
    here = Path(__file__).parent
    place = {here / name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(FIRST)))


def pytest_collection_finish():
    """Look for garbage less often, and not among what stays: compiling makes millions of objects.

    With a cold cache that is 6 % of the time of test_fourth_order.py.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public recordings; the test is skipped where it is absent."""
    folder = Path(os.environ["PREDICTLEARN_DATA"])
    if not folder.is_dir():
        pytest.skip(f"no public recordings at {folder}; set PREDICTLEARN_DATA")
    return folder


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave the figures of a page undrawn, where its words are asked: drawing takes longest.

    `test_the_shipped_recording_gives_a_report` and test_report.py draw them.
    """
    monkeypatch.setattr("predictlearn.reporting.page.png", lambda figure: b"\x89PNG\r\n\x1a\n")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    """Keep the user's cache of downloads out of the tests."""
    monkeypatch.setenv("PREDICTLEARN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _no_global_random_state():
    """Fail a test that draws from numpy's global random state."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    after = np.random.get_state()[1]  # noqa: NPY002
    assert np.array_equal(before, after), (
        "a test or the code under test used np.random's global state"
    )


def random_overlaps(
    seed: int, n_in: int = 1, rank: int = 1, n_out: int = 1, cross: float = 0.3
) -> pl.Overlaps:
    """Return realisable overlaps with norms near one and moderate cross overlaps."""
    rng = np.random.default_rng(seed)
    dim = n_in + 2 * rank + n_out
    x = rng.normal(size=(dim, dim))
    x /= np.linalg.norm(x, axis=0)
    matrix = cross * x.T @ x + (1 - cross) * np.eye(dim)
    scale = np.sqrt(rng.uniform(0.7, 1.3, size=dim))
    return pl.Overlaps(matrix * scale * scale[:, None], n_in, rank, n_out)
