"""Work that is killed goes on from its finished steps, to the same bits."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from typer.testing import CliRunner

import predictlearn as pl
from predictlearn import kept
from predictlearn.cli import app
from predictlearn.predictions.runs import child_seeds
from predictlearn.workers import Parallel, delayed, told

linux = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# Does a piece of work once undisturbed, then killed at some of the files that it makes, each time
# followed by the same work in another process: which files come, and which steps are done.
DRIVER = """
import os, shutil, signal, sys, types
from pathlib import Path
import numpy as np
import predictlearn as pl
from predictlearn import kept
from predictlearn.files import is_leftover

root, chosen = Path(sys.argv[1]), sys.argv[2]
log, out, steps = root / "log", root / "out", Path(os.environ["PREDICTLEARN_CACHE"]) / "steps"
# every step is kept, however short
kept._WORTH = 0.0
at = [None, 0]
first_call = kept._Made.__call__

def logged(made, *args, **kwargs):
    result = first_call(made, *args, **kwargs)
    with open(log, "a") as stream:
        stream.write(made.path.name + chr(10))
    return result

kept._Made.__call__ = logged

def watch(event, args):
    # a file is whole or absent by a rename; compiled code is kept too, and only once
    if at[0] is not None and event == "os.rename" and not str(args[1]).endswith(".code"):
        if at[1] == at[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        at[1] += 1

sys.addaudithook(watch)

def begin(nth):
    # with standard output in a file; returns how many files were made
    sys.stdout.flush()
    before, said = os.dup(1), os.open(root / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    at[0], at[1] = nth, 0
    try:
        work()
    except SystemExit as error:
        assert not error.code, error
    finally:
        at[0] = None
        sys.stdout.flush()
        os.dup2(before, 1)
    # as at the end of a process
    kept._remove_ended()
    kept._ENDED.clear()
    return at[1]

def killed(nth):
    pid = os.fork()
    if pid == 0:
        begin(nth)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0, status
    return os.WIFSIGNALED(status)

def steps_done():
    return log.read_text().split() if log.exists() else []

def files():
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    return found | {"said": (root / "said").read_bytes()}

def fresh():
    for place in (out, steps):
        shutil.rmtree(place, ignore_errors=True)
    out.mkdir()
    log.unlink(missing_ok=True)

def kill_and_go_on():
    fresh()
    moments = begin(10**9)
    whole, all_steps = files(), steps_done()
    assert whole and all_steps, (sorted(whole), all_steps)
    assert [p for p in steps.iterdir() if not is_leftover(p)] == []
    points = range(moments) if chosen == "all" else [int(float(f) * moments) for f in
                                                     chosen.split(",")]
    for nth in points:
        fresh()
        assert killed(nth)
        before = steps_done()
        log.unlink(missing_ok=True)
        assert not killed(10**9)
        assert files() == whole, [n for n in whole if files().get(n) != whole[n]]
        after = steps_done()
        assert not set(before) & set(after), (nth, before, after)
        assert [p for p in steps.iterdir() if not is_leftover(p)] == []
        print("killed", nth, "of", moments, "with", len(before), "steps done,", len(after), "left")
"""

RECORDING = """
def made(n_in=1, kinds=4):
    rng = np.random.default_rng(0)
    inputs = np.tile(rng.normal(size=(kinds, 25, n_in)).cumsum(axis=1), (3, 1, 1))
    k, activity = np.zeros((3 * kinds, n_in + 1)), np.zeros((3 * kinds, 25, 15))
    loadings = rng.normal(size=(15, n_in + 1))
    for t in range(25):
        drive = 0.9 * k[:, 0] + 0.5 * k[:, -1]
        k = 0.9 * k + 0.1 * np.column_stack([inputs[:, t], drive])
        activity[:, t] = k @ loadings.T
    outputs = activity[:, :, :1] + 0.02 * rng.normal(size=(*activity.shape[:2], 1))
    activity += 0.02 * rng.normal(size=activity.shape)
    return pl.Recording(activity, inputs, dt=0.1, outputs=outputs, metadata={"name": "mine"})
"""

PREDICT = """
from predictlearn import pipeline, reporting
# the report says how long each stage took; the package has a function of the module's name
sys.modules["predictlearn.pipeline.predict"].time = types.SimpleNamespace(perf_counter=lambda: 0.0)
recording = made()

def work():
    with kept.keeping():
        run = pipeline.predict(recording, tau=1.0, latency=0.0, n_draws=1, n_animals=3, n_starts=1,
                               n_bootstrap=5, rank=1, cv=2, seed=1)
        WRITE

kill_and_go_on()
"""

FIT = """
from predictlearn.cli import main
recording = made()
path = root / "mine.npz"
np.savez(path, activity=recording.activity, inputs=recording.inputs, outputs=recording.outputs,
         dt=recording.dt)
sys.argv = ["predictlearn", "fit", str(path), "--bootstrap", "5", "--starts", "1", "--folds", "2",
            "--tau", "1.0", "--latency", "0", "-o", str(out / "fit"), "--jobs", "1"]
work = main
kill_and_go_on()
"""


WHOLE = PREDICT.replace(
    "WRITE", 'reporting.write(pipeline.make_report(run), out, True, command="predict")'
)
NUMBERS = PREDICT.replace("WRITE", "(out / 'all').write_bytes(kept.digest(run))")

LEARNING = """
from predictlearn.simulation import simulate_sessions
true = pl.Overlaps(np.eye(4)).replace(zu=0.2, vm=0.3, zv=0.2, vv=1.3)
rule, task = pl.GradientDescent(5e-3), pl.Filter(duration=5.0, dt=0.1)
sessions = simulate_sessions(true, task, 50, rule, noise=1e-3, n_sessions=6)

def work():
    fit = pl.LearningFit(n_starts=2).fit(sessions, task, 50, rule)
    numbers = (fit.start_.matrix, fit.intervals_.to_numpy(), fit.profile("vv"))
    (out / "numbers").write_bytes(b"".join(np.asarray(part).tobytes() for part in numbers))

kill_and_go_on()
"""

RECORDINGS = """
from predictlearn.simulation import simulate_learning
true = pl.Overlaps(np.eye(4)).replace(zm=0.1, zu=0.2, vm=0.3, vu=0.2)
rule, task = pl.GradientDescent(2e-3), pl.Filter(duration=10.0)
recordings, neurons = simulate_learning(
    true, task, 20, rule, n_sessions=6, n_neurons=60, recorded=25, recurring=15)

def work():
    fit = pl.LearningFit(n_starts=2).fit_recordings(
        recordings, task, 20, rule, neurons=neurons, network=60, bin="euler")
    tables = (fit.start_.matrix, fit.intervals_, fit.loadings_, fit.loading_sds_, fit.draw(20))
    (out / "numbers").write_bytes(b"".join(np.asarray(part).tobytes() for part in tables))

kill_and_go_on()
"""


def killed(script, tmp_path, chosen):
    """Return what the driver says, a line for each time that the work was killed."""
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", DRIVER + RECORDING + script, str(tmp_path / "work"), chosen],
        capture_output=True,
        text=True,
        timeout=3000,
        env=os.environ | {"PREDICTLEARN_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("killed")]


@linux
@pytest.mark.parametrize(
    ("script", "chosen"),
    [
        # the fit is a stage of predict, whose command goes on in the test of Ctrl-C
        pytest.param(FIT, "0.6", id="fit", marks=pytest.mark.slow),
        pytest.param(NUMBERS, "0.4", id="predict", marks=pytest.mark.slow),
        pytest.param(LEARNING, "0.4", id="LearningFit"),
    ],
)
def test_killed_work_goes_on(tmp_path, script, chosen):
    assert len(killed(script, tmp_path, chosen)) == chosen.count(",") + 1


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [FIT, WHOLE, LEARNING, RECORDINGS],
    ids=["fit", "predict", "LearningFit", "fit_recordings"],
)
def test_work_killed_at_every_file_goes_on(tmp_path, script):
    assert len(killed(script, tmp_path, "all")) > 5


# -- one step ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of its own, in which every step is kept."""
    monkeypatch.setenv("PREDICTLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "_WORTH", 0.0)
    monkeypatch.setattr(kept, "_ENDED", {})
    return tmp_path / "cache" / "steps"


@pytest.fixture
def made(monkeypatch):
    """Names of the functions that were called rather than read."""
    names, call = [], kept._Made.__call__

    def counted(self, *args, **kwargs):
        names.append(self.path.name.partition("-")[0])
        return call(self, *args, **kwargs)

    monkeypatch.setattr(kept._Made, "__call__", counted)
    return names


def ended(*calls):
    """Do steps, and then be interrupted."""
    results = []
    try:
        with kept.keeping():
            results += [kept.once(function, *args) for function, *args in calls]
            raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        return results, error.__notes__


def test_steps_of_interrupted_work_are_read_and_those_of_ended_work_are_not(folder, made):
    (first,), notes = ended((child_seeds, 0, 3))
    assert notes == ["finished steps are kept; the same call goes on from there."]
    assert first == child_seeds(0, 3)
    for _ in range(2):
        with kept.keeping():
            assert kept.once(child_seeds, 0, 3) == first
    # read the first time; then the work had ended
    assert made == ["child_seeds"] * 2
    kept._remove_ended()
    assert list(folder.iterdir()) == []
    _, notes = ended()
    assert notes == ["no step was finished; the same call begins anew."]


def test_another_input_or_code_finds_nothing(folder, made, monkeypatch):
    ended((child_seeds, 0, 3))
    ended((child_seeds, 1, 3))
    ended((child_seeds, 0, 2))
    assert made == ["child_seeds"] * 3
    monkeypatch.setattr(kept, "_code", lambda: b"other")
    ended((child_seeds, 0, 3))
    assert made == ["child_seeds"] * 4


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_step_is_done_anew(folder, made, damage):
    (first,), _ = ended((child_seeds, 0, 3))
    (path,) = folder.iterdir()
    content = path.read_bytes()
    changed = bytearray(content)
    changed[-3] ^= 1
    path.write_bytes({"cut": content[:-1], "flipped": bytes(changed), "empty": b"",
                      "other": pickle.dumps(([], []))}[damage])  # fmt: skip
    (second,), _ = ended((child_seeds, 0, 3))
    assert second == first
    assert made == ["child_seeds"] * 2
    assert path.read_bytes() == content


class Planted:
    """What a pickle of somebody else does when it is read."""

    def __reduce__(self):
        return os.mkdir, (os.environ["PREDICTLEARN_CACHE"] + "-planted",)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs permissions")
def test_a_folder_that_others_can_write_to_is_not_read(folder, made, tmp_path):
    ended((child_seeds, 0, 3))
    (path,) = folder.iterdir()
    payload = pickle.dumps(Planted())
    digest = hashlib.sha256(payload).digest()
    path.write_bytes(kept._MARK + digest + payload)
    folder.chmod(0o777)
    with kept.keeping():
        assert kept.once(child_seeds, 0, 3) == child_seeds(0, 3)
    # a link to a folder of somebody is none of ours either
    folder.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with kept.keeping():
        assert kept.once(child_seeds, 0, 3) == child_seeds(0, 3)
    assert not (tmp_path / "cache-planted").exists()
    assert made == ["child_seeds"]


def test_the_folder_is_private(folder):
    before = os.umask(0)
    try:
        ended((child_seeds, 0, 3))
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_written_is_done_without(folder, made, monkeypatch, tmp_path):
    def full(path, write):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "write_atomically", full)
    (first,), notes = ended((child_seeds, 0, 3))
    assert first == child_seeds(0, 3)
    assert notes == ["no step was finished; the same call begins anew."]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREDICTLEARN_CACHE", str(tmp_path / "file"))
    with kept.keeping():
        assert kept.once(child_seeds, 0, 3) == first
    assert made == ["child_seeds"]


def test_what_has_no_name_is_not_kept(folder, made):
    class Own:
        """A class of the user."""

    for thing in (lambda: 0, Own(), Own, [Own()], {"a": {Own}}, ended):
        assert kept.digest(thing) is None
    with kept.keeping():
        assert kept.once(len, [Own()]) == 1
    assert made == []


def test_a_digest_is_of_values():
    activity = np.arange(24.0).reshape(2, 3, 4)
    one = pl.Recording(activity, np.ones((2, 3, 1)), dt=0.1)
    two = pickle.loads(pickle.dumps(one))
    assert kept.digest([one, one]) == kept.digest([one, two])
    other = pl.Recording(activity, np.zeros((2, 3, 1)), dt=0.1)
    assert kept.digest(one) != kept.digest(other)
    values = [1, 1.0, True, "1", b"1", None, np.float64(1), np.float32(1), np.ones(1), [1], (1,)]
    values += [np.ones((1, 2)), np.ones((2, 1)), {"a": 1}, {"a"}, pl.FlipFlop(), pl.Filter()]
    values += [pl.Filter(decay=0.3), pl.Overlaps(np.eye(4)), child_seeds, np.mean]
    assert len({kept.digest(value) for value in values}) == len(values)
    task = pl.Filter()
    before = kept.digest(task)
    task.sample()
    assert kept.digest(task) == before


def test_tasks_are_kept_one_by_one_and_counted(folder, made):
    def work():
        return Parallel(n_jobs=1)(delayed(child_seeds)(seed, 2) for seed in range(4))

    (first,), _ = ended((child_seeds, 2, 2))
    told_of = []
    with told(lambda done, of: told_of.append((done, of))), kept.keeping():
        results = work()
    assert results == [child_seeds(seed, 2) for seed in range(4)]
    assert results[2] == first
    assert made == ["child_seeds"] * 4
    assert told_of[0] == (2, 4)
    assert told_of[-1] == (4, 4)


def test_a_warning_is_given_again(folder, made):
    for _ in range(2):
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            ended((np.nanmean, np.array([np.nan])))
        assert [str(each.message) for each in heard] == ["Mean of empty slice"]
    assert made == ["nanmean"]


def test_old_steps_and_too_many_are_removed(folder, monkeypatch):
    ended((child_seeds, 0, 3), (child_seeds, 1, 3), (child_seeds, 2, 3))
    paths = sorted(folder.iterdir())
    part = folder / ".a.step.0123456789ab.part"
    part.write_bytes(b"")
    now = time.time()
    for age, path in enumerate(paths, start=1):
        os.utime(path, (now - age, now - age))
    os.utime(part, (now - 7200, now - 7200))
    kept._tidy.cache_clear()
    ended()
    assert sorted(folder.iterdir()) == paths
    monkeypatch.setattr(kept, "_MOST", paths[0].stat().st_size)
    kept._tidy.cache_clear()
    ended()
    assert list(folder.iterdir()) == paths[:1]
    os.utime(paths[0], (now - 15 * 86400, now - 15 * 86400))
    kept._tidy.cache_clear()
    ended()
    assert list(folder.iterdir()) == []


# -- commands ---------------------------------------------------------------------------------


def test_ctrl_c_is_one_line_that_says_how_to_go_on(folder, tmp_path, monkeypatch):
    """In this process; a command with workers hears Ctrl-C in test_killed.py."""
    exec(RECORDING, names := {"np": np, "pl": pl})
    recording = names["made"]()
    path = tmp_path / "mine.npz"
    arrays = {name: getattr(recording, name) for name in ("activity", "inputs", "outputs", "dt")}
    np.savez(path, **arrays)
    write = kept._write

    def interrupted(*what):
        write(*what)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(kept, "_write", interrupted)
    words = ["fit", str(path), "--jobs", "1", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    said = done.stderr.splitlines()
    assert done.exit_code == 130
    assert said[-1] == (
        "Interrupted: the fit was not finished and nothing was written; finished steps are kept; "
        "the same command goes on from there."
    )
    # before it the stages that were begun
    assert len(said) <= 4
    assert len(list(folder.glob("*.step"))) == 1
    assert not (tmp_path / "out").exists()
