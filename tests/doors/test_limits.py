"""The boundary at which reading ends, limits before work, and what a bug looks like."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import predictlearn as pl
from predictlearn.cli.console import guarded
from predictlearn.doors import inside, one_line, readable, reading, room
from predictlearn.errors import InputError
from predictlearn.fitting import LowRankRNN, select_rank


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (zlib.error("Error -3"), "Error -3"),
        (MemoryError(), "more than the memory that is free"),
        (RecursionError(), "nested too deeply"),
        (EOFError("no data\nleft"), "no data left"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (np.linalg.LinAlgError("SVD did not converge"), "SVD did not converge"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "codec can't decode"),
    ],
)
def test_what_a_file_causes_becomes_one_message(error, said):
    with (
        pytest.raises(InputError, match=said) as caught,
        reading("a/b.npz", "an .npz file"),
        inside("array 'x'"),
    ):
        raise error
    assert str(caught.value).startswith("a/b.npz is not a readable .npz file")
    assert "array 'x': " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [TypeError("ours"), KeyError("ours"), ZeroDivisionError("ours")])
def test_a_bug_passes_through_the_boundary(error):
    with pytest.raises(type(error), match="ours"), reading("b.npz", "an .npz file"):
        raise error


def test_errors_of_parsers_are_those_of_files_wherever_they_are_raised():
    import json

    with pytest.raises(InputError, match=r"b\.npz is not a readable"), reading("b.npz", "a file"):
        json.loads("{", object_hook=1)
    with pytest.raises(InputError, match=r"^b\.npz: no such array"), reading("b.npz", "a file"):
        raise InputError("no such array")


def test_what_is_no_file_is_not_opened(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        (tmp_path / "pipe", "a pipe"),
        (tmp_path, "a folder"),
        ("/dev/null", "a device"),
        (tmp_path / "none", "no such file"),
        ("a\0b", "no such file"),
        ("x" * 300, "File name too long"),
    ):
        with pytest.raises(InputError, match=said):
            readable(path, "an .npz file")
    with pytest.raises(InputError, match="a path was expected"):
        readable(5, "an .npz file")


def test_room_is_what_is_allowed_and_what_is_free(monkeypatch):
    room("this", 1e6)
    with pytest.raises(InputError, match=r"this would take 3 TB .*PREDICTLEARN_MEMORY"):
        room("this", 3e12)
    with pytest.raises(InputError, match="one value all over"):
        room("this", 1e9, stored=1e6)
    room("this", 1e8, stored=10)
    monkeypatch.setenv("PREDICTLEARN_MEMORY", "0.001")
    with pytest.raises(InputError, match="1 MB are allowed"):
        room("this", 2e6)
    for wrong in ("much", "-1", "inf", "nan"):
        monkeypatch.setenv("PREDICTLEARN_MEMORY", wrong)
        with pytest.raises(InputError, match="must be a positive number of GB"):
            room("this", 1)


def test_messages_are_one_line_of_what_can_be_shown():
    assert one_line("a\tb\n\x1b[31mc\u202e") == "a b \\x1b[31mc\\u202e"
    assert len(one_line("x" * 10_000)) == 1500


def test_numbers_and_counts_beyond_all_bounds_are_refused():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 12, 1))
    y = x * rng.normal(size=5) + 0.1 * rng.normal(size=(8, 12, 5))
    for settings, said in (
        ({"tau": 1e308}, r"tau must be at most 1e\+100 in size"),
        ({"tau": 10**400}, "tau must be a positive number"),
        ({"n_bootstrap": 10**12}, "n_bootstrap must be a whole number from 0 to 100000"),
        ({"n_starts": 10**12}, "n_starts must be a whole number from 1 to 10000"),
    ):
        with pytest.raises(InputError, match=said):
            LowRankRNN(**{"rank": 1, "dt": 0.1, "n_bootstrap": 0, **settings}).fit(y, x)
    with pytest.raises(InputError, match="cv must be a whole number from 2 to 1000"):
        select_rank(y, x, ranks=(1,), cv=10**12, dt=0.1)
    for make in (
        lambda: pl.Overlaps(1e150 * np.eye(4)),
        lambda: pl.Filter(amplitude=1e308),
        lambda: pl.GradientDescent(1e308),
        lambda: pl.Recording(1e150 * y, x, dt=0.1),
        lambda: pl.ArrayTask(x, np.full_like(x, 1e308), np.ones_like(x), 0.1),
    ):
        with pytest.raises(InputError, match=r"at most 1e\+100 in size"):
            make()


def test_a_bug_is_a_traceback_that_says_so(capsys):
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @guarded
    def buggy(kind: str) -> None:
        if kind == "ours":
            raise ZeroDivisionError("division by zero")
        if kind == "leave":
            raise typer.Exit(3)
        raise MemoryError("Unable to allocate 5 GiB")

    result = CliRunner().invoke(app, ["ours"])
    assert isinstance(result.exception, ZeroDivisionError)
    (note,) = result.exception.__notes__
    assert f"a bug in predictlearn {pl.__version__}" in note
    assert "report it" in note
    assert CliRunner().invoke(app, ["leave"]).exit_code == 3
    full = CliRunner().invoke(app, ["memory"])
    assert full.exit_code == 2
    assert "Error: there is not enough memory (Unable to allocate 5 GiB)" in full.output
