"""Compiled code on disk: never older than its sources, never believed damaged, never needed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

from predictlearn import compiled as module

PACKAGE = Path(module.__file__).parent
KERNEL = """
from predictlearn.compiled import compiled

@compiled(error_model="numpy")
def cube(x):
    return x * x * x
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of compiled code of its own."""
    place = tmp_path / "code"
    place.mkdir(mode=0o700)
    monkeypatch.setattr(module, "_folder", lambda: place)
    monkeypatch.setattr(module, "_SAID", [])
    return place


def cube(tmp_path):
    """A compiled function, as a new process would find it."""
    path = tmp_path / "kernel.py"
    path.write_text(KERNEL)
    spec = importlib.util.spec_from_file_location("kernel", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made.cube


def hits(function):
    return sum(function.stats.cache_hits.values())


def test_code_is_kept_and_found_again(tmp_path, folder):
    first, second = cube(tmp_path), cube(tmp_path)
    assert first(2.0) == second(2.0) == 8.0
    assert (hits(first), hits(second)) == (0, 1)
    assert first(3) == 27  # other types are another file
    assert len(list(folder.iterdir())) == 2
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    second._cache.flush()
    assert list(folder.iterdir()) == []


def flipped(place):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[place if place >= 0 else len(content) + place] ^= 0x40
        path.write_bytes(content)

    return damage


def cut(size):
    def damage(path):
        content = path.read_bytes()
        path.write_bytes(content[: size if size >= 0 else len(content) + size])

    return damage


def as_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "empty": cut(0),
    "one byte": cut(1),
    "the mark alone": cut(29),
    "within the digest": cut(40),
    "no payload": cut(61),
    "half": cut(2000),
    "the last byte lost": cut(-1),
    "a bit of the mark": flipped(3),
    "a bit of the digest": flipped(35),
    "a bit of the code": flipped(1500),
    "a bit at the end": flipped(-1),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a pickle of another": lambda path: path.write_bytes(b"\x80\x05N."),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_code_is_compiled_again(tmp_path, folder, how):
    assert cube(tmp_path)(2.0) == 8.0
    (path,) = folder.iterdir()
    whole = path.stat().st_size
    DAMAGE[how](path)
    again, third = cube(tmp_path), cube(tmp_path)
    assert again(2.0) == 8.0
    assert hits(again) == 0
    assert (third(2.0), hits(third)) == (8.0, 1)  # and is whole again
    assert abs(path.stat().st_size - whole) < 100
    assert list(folder.iterdir()) == [path]


def test_a_folder_in_the_place_of_code_is_said_and_done_without(tmp_path, folder):
    assert cube(tmp_path)(2.0) == 8.0
    (path,) = folder.iterdir()
    as_folder(path)
    with pytest.warns(UserWarning, match="is not kept on disk") as caught:
        assert cube(tmp_path)(2.0) == 8.0
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cube(tmp_path)(2.0) == 8.0  # said once
    assert list(folder.iterdir()) == [path]


def test_another_processor_or_option_is_another_file(tmp_path, folder, monkeypatch):
    function = cube(tmp_path)
    codegen = function.targetctx.codegen()
    here = function._cache._path("(float64,)", codegen)

    class Other:
        def magic_tuple(self):
            triple, _, _ = codegen.magic_tuple()
            return triple, "another", ""

    assert function._cache._path("(float64,)", Other()) != here
    assert function._cache._path("(type(f at 0x7f00),)", codegen) is None
    for options in ({}, {"error_model": "python"}, {"error_model": "numpy", "fastmath": {"nsz"}}):
        assert module._Store(function.py_func, options)._path("(float64,)", codegen) != here
    same = {"error_model": "numpy"}
    assert module._Store(function.py_func, same)._path("(float64,)", codegen) == here


def small_package(root):
    """A package of the same name with two compiled functions, one of which calls the other."""
    package = root / "predictlearn"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(PACKAGE / "compiled.py", package)
    start = "from predictlearn.compiled import compiled\n"
    (package / "below.py").write_text(
        f"{start}BY = 2.0\n@compiled()\ndef f(x):\n    return BY * x\n"
    )
    body = "@compiled()\ndef g(x):\n    return f(x) + 1.0\n"
    (package / "above.py").write_text(f"{start}from predictlearn.below import f\n{body}")
    return package


def run(code, root, cwd, **env):
    """Run code in a new process; returns what it printed, and what it said."""
    # Python's own kept code goes by size and time of a source, which tests leave as they were
    own = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    env = {**os.environ, **own, **{k: v for k, v in env.items() if v is not None}}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


SMALL = "from predictlearn.above import g; print(g(3.0), sum(g.stats.cache_hits.values()))"


def test_without_a_place_for_code_one_warning(tmp_path):
    small_package(tmp_path)
    nowhere = "import tempfile; tempfile.gettempdir = lambda: '/dev/null/no'; "
    lost = {"HOME": "/dev/null/no", "XDG_CACHE_HOME": "/dev/null/no"}
    lost["NUMBA_CACHE_DIR"] = "/dev/null/no"
    shown, said = run(nowhere + SMALL, tmp_path, tmp_path, **lost)
    assert shown == "7.0 0"
    assert said.count("Warning") == 1
    assert "there is no folder that it can be kept in" in said


def test_a_temporary_folder_is_enough_and_a_changed_callee_is_compiled_again(tmp_path):
    package = small_package(tmp_path)
    below = package / "below.py"
    before = below.stat()
    lost = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), "/dev/null/no")
    lost["TMPDIR"] = str(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir()
    assert run(SMALL, tmp_path, tmp_path, **lost) == ("7.0 0", "")
    assert run(SMALL, tmp_path, tmp_path, **lost) == ("7.0 1", "")
    # the same size and time: only the content tells
    below.write_text(below.read_text().replace("BY = 2.0", "BY = 5.0"))
    os.utime(below, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(SMALL, tmp_path, tmp_path, **lost) == ("16.0 0", "")
    (made,) = (tmp_path / "tmp").rglob("predictlearn*")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_full_disk_is_one_warning(tmp_path):
    small_package(tmp_path)
    code = tmp_path / "code"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)); "
    quiet = {"NUMBA_CACHE_DIR": str(code), "PYTHONDONTWRITEBYTECODE": "1"}
    shown, said = run(limit + SMALL, tmp_path, tmp_path, **quiet)
    assert shown == "7.0 0"
    assert said.count("Warning") == 1
    assert "File too large" in said
    assert list((code / "predictlearn").iterdir()) == []  # nothing half-written


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path, monkeypatch):
    shared, link, own = tmp_path / "shared", tmp_path / "link", tmp_path / "own"
    shared.mkdir()
    shared.chmod(0o777)
    own.mkdir(mode=0o700)
    link.symlink_to(own)
    monkeypatch.setattr(module, "_places", lambda: [shared, link, own])
    module._folder.cache_clear()
    try:
        assert module._folder() == own
    finally:
        module._folder.cache_clear()


def test_what_nobody_used_for_long_is_removed(tmp_path):
    names = ("old.f-1.code", "old.f-1.code.ab12", "new.f-2.code", "mine.txt")
    for name in names:
        (tmp_path / name).touch()
        if "new" not in name:
            os.utime(tmp_path / name, (1e9, 1e9))
    module._remove_unused(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "new.f-2.code"]


def test_every_function_that_a_kernel_calls_is_among_its_sources():
    """What a compiled function can see of this package comes from the files of its digest."""
    kernels = [
        path
        for path in PACKAGE.rglob("*.py")
        if "@compiled(" in path.read_text() and path.name != "compiled.py"
    ]
    assert len(kernels) > 20
    seen = 0
    for path in kernels:
        name = ".".join(("predictlearn", *path.relative_to(PACKAGE).with_suffix("").parts))
        loaded = importlib.import_module(name)
        files = {str(source) for source in module.sources(path)}
        for value in vars(loaded).values():
            if isinstance(value, types.ModuleType):
                used = getattr(value, "__file__", None) or ""
            elif isinstance(value, Dispatcher):
                used = value.py_func.__code__.co_filename
                assert isinstance(value._cache, module._Store), value
                seen += 1
            else:
                continue
            if used.startswith(str(PACKAGE)):
                assert used in files, (path, used)
    assert seen > 100


INTERRUPTED = """
import os, signal, time
import numpy as np
from predictlearn.compiled import compiled, undisturbed

@compiled()
def noise(rng, n):
    total = 0.0
    for _ in range(n):
        total += rng.random()
    return total

rng = np.random.default_rng(0)
noise(rng, 1)
# a timer that is heard as Ctrl-C is, at any moment
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
heard, calls = 0, 0
for place in range(400):
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-4 + 1e-7 * place)
        while True:
            undisturbed(noise, rng, 10)
            calls += 1
    except KeyboardInterrupt:
        heard += 1
print(heard, calls > 400)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer")
def test_ctrl_c_in_a_call_with_a_generator_is_no_crash(tmp_path):
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, ["400", "True"]), done.stderr


BITS = """
import numpy as np
import predictlearn as pl
from predictlearn.theory.activity import loss_and_derivative
from predictlearn.theory.learning.phases import Leg
from predictlearn.theory.learning.sensitivity import learn_with_sensitivities

start, rule, rng = pl.Overlaps(np.eye(4)).replace(uu=1.3), pl.GradientDescent(2e-3), None
for task, phi in ((pl.Filter(), "linear"), (pl.FlipFlop(trials=8, duration=5.0), "erf")):
    trials, rng = task.sample(np.random.default_rng(0)), np.random.default_rng(1)
    for _ in range(100):
        o = start.replace(**{n: 0.2 * rng.standard_normal() for n in ("zm", "zu", "vm", "vu")})
        loss, a = loss_and_derivative(o, trials, phi)
        print(loss.hex(), *(x.hex() for x in a.ravel()))
    learned = pl.learn(start, task, rule, 30, phi)
    print(*(x.hex() for x in learned.array.ravel()), *(x.hex() for x in learned.losses))
    run = learn_with_sensitivities(start, [Leg(task, 30, rule)], [30], nonlinearity=phi, carry=True)
    print(*(x.hex() for x in run.slopes.ravel()), *(x.hex() for x in run.carried.ravel()))
"""


def test_what_cannot_be_written_to_compiles_no_second_version():
    """The matrices of overlaps and networks are read-only; numba takes that for another type."""
    import numpy as np

    import predictlearn as pl
    from predictlearn.theory.kernels.rollout import rollout_kernel
    from predictlearn.theory.kernels.span import maps_of

    overlaps = pl.Overlaps(np.eye(6), 1, 2, 1).replace(v1m=0.1)
    pl.simulate(overlaps, pl.Filter(duration=1.0).sample())
    pl.Teacher(overlaps, duration=5.0).sample(np.random.default_rng(0))
    assert rollout_kernel.signatures
    for signature in rollout_kernel.signatures:
        assert "readonly" not in " ".join(map(str, signature))
    given = [np.zeros((4, 1)), np.zeros((4, 4)), np.zeros((4, 1)), np.eye(4), np.zeros((4, 1))]
    for array in given:
        array.flags.writeable = False
    for through in (False, True):
        for matrix in maps_of(*given, 0.1, through):
            assert matrix.flags.writeable
            assert matrix.flags.c_contiguous


@pytest.mark.slow
def test_code_just_compiled_and_code_from_disk_give_the_same_bits(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", BITS], env=env, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    )
    assert len(first.splitlines()) == 204
    assert first == second
