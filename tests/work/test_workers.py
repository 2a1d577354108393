"""Workers tell how far they are; a folder in use is refused by every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from predictlearn.cli import app
from predictlearn.cli.console import stages
from predictlearn.workers import Parallel, delayed, told


def half(x):
    return x / 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_are_counted_and_results_in_order(jobs):
    heard = []
    with told(lambda *numbers: heard.append(numbers)):
        found = Parallel(n_jobs=jobs)(delayed(half)(x) for x in range(20))
    assert found == [x / 2 for x in range(20)]
    assert heard[-1] == (20, 20)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    Parallel(n_jobs=1)(delayed(half)(x) for x in range(3))
    assert heard[-1] == (20, 20)  # nobody listens any more


def slowly(x):
    time.sleep(0.25)
    return x


def test_a_terminal_shows_the_time_left(capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with stages() as tell:
        tell("reading")
        tell("predicting [/b]")
        Parallel(n_jobs=1)(delayed(slowly)(x) for x in range(8))
        tell("drawing")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capfd.readouterr().err)
    assert "predicting [/b]" in shown
    assert re.search(r"[4-7] of 8 .* 0:00:0\d left 0:00:0\d", shown)
    assert "of 8" not in shown.rpartition("drawing")[2]


HOLD = """
import sys, time
from predictlearn.reporting.folder import held_folder
with held_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.mark.parametrize("words", [["predict"], ["fit", "made.npz"], ["reproduce", "aba"]])
def test_a_folder_in_use_is_refused_before_any_work(tmp_path, words):
    folder = tmp_path / "out"
    held = folder / "aba" if "aba" in words else folder
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, held], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        done = CliRunner().invoke(app, [*words, "-o", str(folder)])
        assert done.exit_code == 2
        assert done.stderr == (
            f"Error: {held} is in use by another process of predictlearn; wait until that has "
            "ended, or choose another folder.\n"
        )
    finally:
        process.kill()
        process.communicate()
    # a killed process holds nothing, and what it left is no hindrance
    code = HOLD.replace("time.sleep(120)", "")
    assert subprocess.run([sys.executable, "-c", code, held], check=True).returncode == 0
    assert [path.name for path in held.parent.iterdir() if path.name.startswith(".")] == []


def test_threads_stay_in_the_process():
    places = Parallel(n_jobs=2, prefer="threads")(delayed(os.getpid)() for _ in range(4))
    assert places == [os.getpid()] * 4
