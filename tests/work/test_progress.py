"""A bar with the time left: on a terminal, in a notebook, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types

import pytest

from predictlearn import progress
from predictlearn.progress import Bar, bar
from predictlearn.workers import Parallel, delayed, listened

pytestmark = pytest.mark.quick


@pytest.fixture
def notebook(monkeypatch):
    """A notebook that remembers what it was shown."""
    shown = []

    class Place:
        def update(self, content):
            shown.append(content)

    def display(content, display_id):
        assert display_id is True
        shown.append(content)
        return Place()

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=None)
    ipython.display = types.SimpleNamespace(display=display, HTML=str)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(progress, "_EVERY", 0.01)
    monkeypatch.setattr(progress, "_SOON", 0.0)
    return shown


def slow(x):
    time.sleep(0.05)
    return x


def test_a_notebook_shows_counts_and_time_left_and_then_nothing(notebook):
    with Bar("a <b>", soon=0.0) as shown:
        for done in range(4):
            shown.count(done, 4)
            time.sleep(0.05)
        shown.label("then")
        time.sleep(0.05)
    text = "\n".join(notebook)
    assert (
        '<progress max="4" value="2"></progress> a &lt;b&gt;, 2 of 4 0:00:00 0:00:00 left' in text
    )
    assert "<progress></progress> then 0:00:00" in text
    assert notebook[-1] == ""


def test_tasks_inside_are_counted(notebook):
    with bar("tasks"):
        assert listened()
        assert Parallel(n_jobs=1)(delayed(slow)(x) for x in range(4)) == [0, 1, 2, 3]
        with bar("another"):  # one bar at a time
            pass
    assert not listened()
    text = "\n".join(notebook)
    assert "tasks, 2 of 4" in text
    assert "another" not in text


def test_quick_work_and_bars_that_are_not_wanted_show_nothing(notebook):
    with Bar("quick", soon=5.0) as shown:
        shown.count(1, 2)
    with bar("unwanted", shown=False) as label:
        label("still")
        time.sleep(0.05)
    assert notebook == []


def test_nothing_is_shown_where_nobody_watches(capfd):
    with Bar("files", soon=0.0) as shown:
        shown.count(1, 2)
        time.sleep(0.05)
    assert capfd.readouterr() == ("", "")


SHOWN = """
import time
from predictlearn.progress import Bar
with Bar("[networks]", soon=0.0) as bar:
    for done in range(1, 4):
        bar.count(done, 4)
        time.sleep(0.5)
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_terminal_shows_a_bar_and_standard_output_stays_clean():
    ours, theirs = os.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", SHOWN], stdout=subprocess.PIPE, stderr=theirs, env=environment
    )
    os.close(theirs)
    said = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.stdout == b"done\n"
    assert "[networks], " in said
    assert " of 4" in said
    assert " left" in said
