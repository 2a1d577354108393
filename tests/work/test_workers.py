"""Workers tell how far they are; a folder in use is refused by every command."""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import typer
from threadpoolctl import threadpool_info, threadpool_limits
from typer.testing import CliRunner

from predictlearn.cli import app
from predictlearn.cli.console import interruptible, stages
from predictlearn.reporting.folder import held_folder
from predictlearn.workers import Parallel, delayed, told


# a worker imports where a function is from: what is of Python itself costs nothing
@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_are_counted_and_results_in_order(jobs):
    heard = []
    with told(lambda *numbers: heard.append(numbers)):
        found = Parallel(n_jobs=jobs)(delayed(math.sqrt)(x) for x in range(20))
    assert found == [math.sqrt(x) for x in range(20)]
    assert heard[-1] == (20, 20)
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    Parallel(n_jobs=1)(delayed(math.sqrt)(x) for x in range(3))
    assert heard[-1] == (20, 20)  # nobody listens any more


def algebra_threads(_=None):
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_linear_algebra_in_threads_has_one_thread_a_task(jobs):
    """More wait for each other, and sum in another order for another number of tasks."""
    with threadpool_limits(2, "blas"):
        before = algebra_threads()
        found = Parallel(n_jobs=jobs, prefer="threads")(delayed(algebra_threads)(x) for x in "ab")
        assert found == [{1}, {1}]
        assert algebra_threads() == before == {2}


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
import contextlib, sys, time
from predictlearn.reporting.folder import held_folder
with contextlib.ExitStack() as held:
    for folder in sys.argv[1:]:
        held.enter_context(held_folder(folder))
    print("held", flush=True)
    time.sleep(120)
"""


def test_a_folder_in_use_is_refused_before_any_work(tmp_path):
    folder = tmp_path / "out"
    places = {("predict",): folder, ("fit", "made.npz"): folder}
    places[("reproduce", "aba")] = tmp_path / "all" / "aba"
    folders = [str(place) for place in dict.fromkeys(places.values())]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, *folders], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        for words, held in places.items():
            asked = held.parent if "aba" in words else held
            done = CliRunner().invoke(app, [*words, "-o", str(asked)])
            assert done.exit_code == 2
            assert done.stderr == (
                f"Error: {held} is in use by another process of predictlearn; wait until that has "
                "ended, or choose another folder.\n"
            )
    finally:
        process.kill()
        process.communicate()
    # a killed process holds nothing, and what it left is no hindrance
    with contextlib.ExitStack() as again:
        for place in folders:
            again.enter_context(held_folder(place))
    for held in places.values():
        assert [path.name for path in held.parent.iterdir() if path.name.startswith(".")] == []


def test_threads_stay_in_the_process():
    places = Parallel(n_jobs=2, prefer="threads")(delayed(os.getpid)() for _ in range(4))
    assert places == [os.getpid()] * 4


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_worker_is_one_line_and_no_thread_lets_go_of_a_lock_while_the_program_ends(
    monkeypatch, capfd
):
    """Joblib's tracker would speak of a leak, now and then: here the thread that feeds is slow."""
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.backend.queues import Queue

    feed, fed = Queue._feed, []

    def slowly_fed(*arguments):
        feed(*arguments)
        time.sleep(0.2)
        fed.append(threading.current_thread())

    get_reusable_executor().shutdown(wait=True)
    monkeypatch.setattr(Queue, "_feed", staticmethod(slowly_fed))
    with pytest.raises(typer.Exit) as raised, interruptible("it goes on."):
        list(
            Parallel(n_jobs=2, return_as="generator")(
                delayed(signal.raise_signal)(signal.SIGKILL) for _ in range(4)
            )
        )
    assert raised.value.exit_code == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith("Error: a worker process was killed from outside")
    assert said.endswith("; it goes on.")
    assert len(fed) == 1
    assert not fed[0].is_alive()
