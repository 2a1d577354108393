"""The memory of `fit` and `predict` is bounded by the size of the recording."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from predictlearn.fitting.diagnostics.diagnose import diagnose
from predictlearn.fitting.session.estimator import LowRankRNN
from predictlearn.fitting.session.pieces import pieces
from predictlearn.pipeline.checked import noise_said
from predictlearn.pipeline.fitted import fit_recording
from predictlearn.recordings.load import load_recording

# Stated in docs/reference/file-formats.md: so many times the activity in double precision,
# and beside.
TIMES, BESIDE = 4.0, 0.8e9

# What the system says of the program itself. Linux counts in ru_maxrss also what the process
# held before it became this program: the memory of the tests that started it.
PEAK = """
import pathlib, re, resource
status = pathlib.Path("/proc/self/status")
if status.exists():
    held = re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())
    peak = int(held.group(1))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print("peak", peak * 1024)
"""
COMMAND = """
import sys
from predictlearn.cli.app import main
sys.argv[0] = "predictlearn"
try:
    main()
except SystemExit as end:
    assert not end.code, end
"""
PARTS = f"""
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_memory import fit_and_diagnose
fit_and_diagnose(sys.argv[1])
"""
# Beside, for a small recording in a process that has begun.
LITTLE = 0.37e9


def fit_and_diagnose(path):
    recording = load_recording(path)
    settings = {"offset": True, "tau": 0.3, "n_bootstrap": 10, "n_starts": 1}
    if recording.observed == "counts":
        settings |= {"noise": "poisson", "observed": "current"}
    fitted = fit_recording(recording, settings, ranks=(1,), cv=2)
    noise_said(fitted)
    diagnose(fitted.model, recording.activity, recording.inputs, draws=19)


def save(path, n_trials, n_bins, n_neurons, counts=False, kind="f4"):
    """Save a simulated network of rank one; return the bytes of its activity as float64."""
    rng = np.random.default_rng(0)
    dt, tau = 0.05, 0.3
    x = 0.3 * rng.normal(size=(n_trials, n_bins, 1)).cumsum(axis=1)
    loadings = rng.normal(size=(n_neurons, 2))
    k, course = np.zeros((n_trials, 2)), np.zeros((n_trials, n_bins, 2))
    for t in range(n_bins):
        k = k + dt / tau * (np.stack([x[:, t, 0], 0.5 * k[:, 0] + 0.5 * k[:, 1]], axis=1) - k)
        course[:, t] = k
    course /= course.std(axis=(0, 1))
    activity = np.empty((n_trials, n_bins, n_neurons), "u1" if counts else kind)
    for trial, now in zip(activity, course, strict=True):
        h = now @ loadings.T
        if counts:
            trial[:] = np.minimum(rng.poisson(np.exp(0.4 * h - 0.5)), 255)
        else:
            trial[:] = h + rng.normal(size=h.shape)
    outputs = course @ np.array([[1.0], [0.3]])
    said = "counts" if counts else "rate"
    np.savez(path, activity=activity, inputs=x, outputs=outputs, dt=dt, observed=said)
    return 8 * activity.size


def _kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def peak_of(code, *words):
    """Run code in a process of its own; return the largest memory that it took."""
    done = subprocess.run(
        [sys.executable, "-c", code + PEAK, *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return float(done.stdout.split("peak")[-1])


def grown_by(work, *words):
    """Return by how much the memory of this process grew at most."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # else what others left is taken first
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _kilobytes("VmRSS")
    work(*words)
    return 1024.0 * (_kilobytes("VmHWM") - before)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc")
@pytest.mark.filterwarnings("ignore")
def test_a_fit_and_its_diagnosis_hold_no_array_for_each_replicate_or_parameter(tmp_path):
    size = save(tmp_path / "r.npz", 30, 200, 200)
    grown = grown_by(fit_and_diagnose, tmp_path / "r.npz")
    if grown >= TIMES * size + LITTLE:
        # the compiler takes memory of its own, the first time
        grown = grown_by(fit_and_diagnose, tmp_path / "r.npz")
    assert grown < TIMES * size + LITTLE, f"{grown / 1e9:.2f} GB for {size / 1e9:.3f} GB"


# the test above shows arrays for each replicate or parameter; more trials show every copy
@pytest.mark.slow
@pytest.mark.parametrize("counts", [False, True])
def test_a_fit_and_its_diagnosis_stay_within_the_stated_memory(tmp_path, counts):
    size = save(tmp_path / "r.npz", 250, 200, 200, counts)
    peak = peak_of(PARTS, tmp_path / "r.npz")
    if peak >= TIMES * size + BESIDE:
        peak = peak_of(PARTS, tmp_path / "r.npz")
    assert peak < TIMES * size + BESIDE, f"{peak / 1e9:.2f} GB for {size / 1e9:.2f} GB"


LINEAR = ["--tau", "0.3"]
POISSON = ["--tau", "0.3", "--noise", "poisson"]
FULL = [
    ("fit", LINEAR, (600, 150, 1000), "f4"),
    ("predict", LINEAR, (600, 150, 1000), "f4"),
    ("fit", POISSON, (600, 150, 1000), "u1"),
    ("fit", LINEAR, (500, 150, 1000), "f4"),  # a file of 300 MB
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "options", "shape", "kind"), FULL)
def test_large_recordings_stay_within_the_stated_memory(tmp_path, command, options, shape, kind):
    size = save(tmp_path / "r.npz", *shape, kind == "u1", kind)
    save(tmp_path / "first.npz", 20, 150, 30, kind == "u1", kind)
    words = [command, tmp_path / "first.npz", "--rank", "1", "--jobs", "1", *options]
    peak_of(COMMAND, *words, "--output", tmp_path / "first")
    words = [command, tmp_path / "r.npz", "--rank", "1", "--jobs", "1", *options]
    peak = peak_of(COMMAND, *words, "--output", tmp_path / "out")
    print(command, options, f"{peak / 1e9:.2f} GB, {peak / size:.2f} times")  # noqa: T201
    assert peak < TIMES * size + BESIDE


def test_pieces_cover_all_once():
    for n, each, most in ((7, 10, 25), (1, 10, 5), (4, 0, 3), (0, 5, 5), (6, 2, 12)):
        found = [i for some in pieces(n, each, most) for i in range(n)[some]]
        assert found == list(range(n))


def test_what_is_found_does_not_depend_on_the_pieces(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 15, 1)).cumsum(axis=1)
    k, loadings = np.zeros((20, 2)), rng.normal(size=(2, 30))
    y = rng.normal(size=(20, 15, 30))
    for t in range(15):
        k = 0.5 * k + 0.5 * np.column_stack([x[:, t, 0], 0.8 * k[:, 0] + 0.6 * k[:, 1]])
        y[:, t] += k @ loadings
    y[3, 10:] = np.nan
    y[:, :, 7] = 2 * y[:, :, 4]
    fit = LowRankRNN(dt=0.05, tau=0.1, offset=True, n_bootstrap=0).fit(y, x)
    whole, expected = diagnose(fit, y, x, draws=19), fit.predict(x)
    parts = ("copies", "diagnose", "residuals", "slopes")
    for room in ("session.estimator", *(f"diagnostics.{part}" for part in parts)):
        monkeypatch.setattr(
            f"predictlearn.fitting.{room}.pieces", lambda n, each, most=0: pieces(n, each, 1000)
        )
    cut = diagnose(fit, y, x, draws=19)
    assert np.allclose(fit.predict(x), expected, rtol=1e-12)
    one, other = (d.tests[["statistic", "p", "effect"]] for d in (whole, cut))
    assert np.allclose(one, other, rtol=1e-6, atol=1e-9), one - other
    for name in ("checks", "neurons", "lags", "means"):
        one, other = (getattr(d, name).select_dtypes("number") for d in (whole, cut))
        assert np.allclose(one, other, rtol=1e-8, atol=1e-12, equal_nan=True), name
