"""Work that is killed at any moment leaves a folder that the next run accepts and completes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from predictlearn.cli import app
from predictlearn.errors import InputError
from predictlearn.files import is_leftover, locked

# Runs a piece of work once for each file-system call that it makes, each time killed at that call.
DRIVER = """
import os, shutil, signal, sys
from pathlib import Path

CALLS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir")
at = [None, 0]

def watch(event, args):
    if at[0] is not None and event in CALLS:
        at[1] += 1
        if at[1] > at[0]:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)

def killed(work, nth):
    child = os.fork()
    if child == 0:
        at[0], at[1] = nth, 0
        work()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

def tree(place):
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else None
        for path in sorted(Path(place).rglob("*"))
    }

def every_moment(prepare, work, check, step=1):
    prepare()
    work()
    whole, nth = check(), 0
    while True:
        prepare()
        if not killed(work, nth):
            break
        work()
        assert check() == whole, (nth, sorted(check()), sorted(whole))
        nth += step
    print("killed", nth // step)
"""

REPORT = """
from predictlearn.reporting.folder import check_folder, write_files
root = Path(sys.argv[1])
first = {"index.html": b"one", "tables/a.csv": b"1", "tables/old.csv": b"2", "gone/b.csv": b"3"}
then = {"index.html": b"two", "tables/a.csv": b"4", "figures/c.png": b"5"}

def prepare(replaced=True):
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    if replaced:
        write_files(root / "report", first, command="predict")
        (root / "report" / "notes.txt").write_text("mine")

def work():
    check_folder(root / "report", command="predict")
    write_files(root / "report", then, command="predict")

every_moment(prepare, work, lambda: tree(root))
every_moment(lambda: prepare(False), work, lambda: tree(root))
"""

RUN = """
import predictlearn as pl
root = Path(sys.argv[1])
protocol = pl.Protocol.from_dict({
    "name": "killed",
    "cohort": {"networks": 2, "overlaps": {"zm": 0.1}, "spread": 0.05},
    "tasks": {"A": {"type": "filter", "decay": 0.2}},
    "rule": {"rate": 0.005},
    "arms": {"one": {"phases": [{"task": "A", "epochs": 20}]}},
})

def prepare():
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()

every_moment(prepare, lambda: protocol.run(output=root / "run"), lambda: tree(root))
"""


def killed(script, tmp_path):
    """Return how often the work was killed, for each piece of it."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER + script, str(tmp_path / "work")],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return [int(line.split()[1]) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_report_killed_at_every_moment_is_completed():
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        replaced, new = killed(REPORT, Path(place))
    assert replaced > 40
    assert new > 15


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_at_every_moment_goes_on_to_the_same_bits(tmp_path):
    (times,) = killed(RUN, tmp_path)
    assert times > 15


def test_a_journal_does_not_replace_what_a_person_wrote(tmp_path):
    from predictlearn.reporting import folder

    target = folder.write_files(tmp_path / "report", {"index.html": b"one", "a.csv": b"1"})
    work = tmp_path / ".report.0123456789ab"
    for name in ("new", "old"):
        (work / name).mkdir(parents=True)
    content = {"index.html": b"two", "a.csv": b"2", folder.MANIFEST: b"{}"}
    for name, data in content.items():
        (work / "new" / name).write_bytes(data)
    folder._write_journal(work, target, content, [])
    (target / "a.csv").write_text("mine")
    with pytest.raises(InputError, match=r"changed since predictlearn made it|not made by"):
        folder.write_files(target, {"index.html": b"three", "a.csv": b"3"})
    assert (target / "a.csv").read_text() == "mine"
    assert not work.exists()


YAML = """
name: slow
record_every: 1000
cohort: {networks: 100, overlaps: {zm: 0.1}, spread: 0.05}
tasks:
  A: {type: filter, decay: 0.2}
rule: {rate: 0.005}
arms:
  one: {phases: [{task: A, epochs: 400000}]}
"""


@pytest.fixture
def start(tmp_path):
    """Begin commands of the command line, and end them with the test."""
    path = tmp_path / "slow.yaml"
    path.write_text(YAML)
    call = "import sys; from predictlearn.cli import main; sys.argv[0] = 'predictlearn'; main()"
    begun = []

    def command(*words, **options):
        process = subprocess.Popen(
            [sys.executable, "-c", call, "run", str(path), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        begun.append(process)
        return process

    yield command
    for process in begun:
        process.kill()
        process.communicate()


def begun(folder, process=None, count=1):
    """Wait until networks are finished."""
    for _ in range(1200):
        if len([p for p in folder.glob("networks/*.npz") if not is_leftover(p)]) >= count:
            return
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no network was finished within a minute")


def workers_of(parent):
    """Return the processes whose parent is this one and that run joblib's workers."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"popen_loky" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return found


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


# Two workers of which each says who it is and waits: commands begin theirs with the same class.
PARENT = """
import os, sys, time
from predictlearn.workers import Parallel, delayed

def wait(place):
    open(f"{place}/{os.getpid()}", "x").close()
    time.sleep(120)

Parallel(n_jobs=2)(delayed(wait)(sys.argv[1]) for _ in range(2))
"""


@linux
def test_workers_end_with_a_killed_parent(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    try:
        for _ in range(1200):
            workers = [int(path.name) for path in tmp_path.iterdir()]
            if len(workers) == 2:
                break
            assert process.poll() is None
            time.sleep(0.05)
        assert sorted(workers) == sorted(workers_of(process.pid))
    finally:
        process.kill()
        process.wait()
    for _ in range(200):
        left = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        if not left:
            break
        time.sleep(0.05)
    assert left == []


@linux
def test_an_interrupted_run_goes_on_with_workers_to_ctrl_c(tmp_path, start):
    folder = tmp_path / "out"
    words = ["run", str(tmp_path / "slow.yaml"), "-o", str(folder), "--jobs", "1"]

    def interrupt():
        begun(folder)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    first = CliRunner().invoke(app, words)
    thread.join()
    interrupted = (
        f"Interrupted: finished networks are kept in {folder}; the same command goes on from there."
    )
    assert (first.exit_code, lines(first.stderr)) == (130, [interrupted])
    kept = {p: p.stat().st_mtime_ns for p in folder.glob("networks/0*.npz")}
    again = start("-o", str(folder), "--jobs", "2")
    begun(folder, again, len(kept) + 1)
    second = CliRunner().invoke(app, words)
    assert second.exit_code == 2
    assert lines(second.stderr) == [
        f"Error: {folder} is in use by another process of predictlearn; wait until that has "
        "ended, or choose another folder."
    ]
    with (
        pytest.raises(InputError, match="in use by another process"),
        locked(folder / ".lock", folder),
    ):
        pass
    assert len(workers_of(again.pid)) == 2
    os.killpg(again.pid, signal.SIGINT)  # as a terminal does: its workers hear it, too
    said = again.communicate(timeout=60)[1]
    assert again.returncode == 130
    assert lines(said) == [interrupted]
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


# by default of Parallel in test_workers.py; how a run with workers ends is that of Ctrl-C, above
@linux
@pytest.mark.slow
def test_a_killed_worker_is_one_line(tmp_path, start):
    folder = tmp_path / "out"
    process = start("-o", str(folder), "--jobs", "2")
    begun(folder, process)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert len(lines(said)) == 1, said
    assert said.startswith("Error: a worker process was killed from outside")
    assert "the same command goes on from there" in said


@contextlib.contextmanager
def limited():
    """Let no file grow beyond 20 kB, as on a disk that is full."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@linux
# an error of a worker is one line, too: see the test of one that is killed
@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, start, capfd, jobs):
    folder = tmp_path / "out"
    with limited():
        if jobs == "1":
            words = ["run", str(tmp_path / "slow.yaml"), "-o", str(folder), "--jobs", "1"]
            done = CliRunner().invoke(app, words)
            code, said = done.exit_code, done.stderr + capfd.readouterr().err
        else:
            process = start("-o", str(folder), "--jobs", jobs)
            said = process.communicate(timeout=120)[1]
            code = process.returncode
    assert code == 2
    errors = [line for line in lines(said) if "compiled code is not kept" not in line]
    assert len(errors) == 1, said
    assert errors[0].startswith("Error: File too large: ")
    assert str(folder) in errors[0]
    assert list(folder.glob("networks/*.npz")) == []
    assert list(folder.glob("networks/.*")) == []


def test_files_have_the_permissions_that_the_user_asked_for(tmp_path):
    import predictlearn as pl
    from predictlearn.reporting.folder import write_files

    protocol = pl.Protocol.from_dict({
        "name": "modes",
        "cohort": {"overlaps": {"zm": 0.1}},
        "tasks": {"A": {"type": "filter", "decay": 0.2}},
        "rule": {"rate": 0.005},
        "arms": {"one": {"phases": [{"task": "A", "epochs": 2}]}},
    })  # fmt: skip
    before = os.umask(0o027)
    try:
        protocol.run(output=tmp_path / "run")
        write_files(tmp_path / "report", {"tables/a.csv": b""})
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o640"}
