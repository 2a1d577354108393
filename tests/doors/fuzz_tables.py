"""Inputs for the door of tables in files of text."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from fuzzing import Case, pick, spoiled

from predictlearn.cli.reading import read_file

CSV_WORDS = [
    "",
    "x",
    "nan",
    "inf",
    "-1",
    "1e308",
    "1e-320",
    "1e6",
    "1000000",
    "0",
    "=cmd()",
    '"',
    "\x00",
    "\xff",
    ",",
    "\n",
    "9" * 400,
    "0x10",
    "True",
    "2020-01-01",
    "1;2",
    "é",
    "1,000",
]


def table(rng: np.random.Generator) -> list[list[str]]:
    rows = [["trial", "time", "neuron", "value", "stim"]]
    for trial in range(4):
        for bin_ in range(5):
            rows += [
                [str(trial), f"{0.1 * bin_:g}", str(n), f"{rng.normal():.3f}", str(int(bin_ == 1))]
                for n in range(3)
            ]
    return rows


def _text(rows: list[list[str]], sign: str = ",") -> str:
    return "\n".join(sign.join(row) for row in rows) + "\n"


def _replaced(column: int, row: int, word: str):
    def change(rows):
        rows[row][column] = word
        return rows

    return change


CSV = [
    ("bins a million seconds apart", lambda r: [*r, ["9", "1e6", "0", "1.0", "0"]]),
    ("bins 1e12 seconds apart", _replaced(1, 30, "1e12")),
    ("bins 1e300 seconds apart", _replaced(1, 30, "1e300")),
    ("a time of 1e-300", _replaced(1, 30, "1e-300")),
    ("a huge value", _replaced(3, 30, "1e308")),
    ("text as time", _replaced(1, 30, "later")),
    ("dates as time", lambda r: [r[0], *([a, "2020-01-01", *b] for a, _, *b in r[1:])]),
    ("booleans as time", lambda r: [r[0], *([a, "True", *b] for a, _, *b in r[1:])]),
    ("columns that repeat", lambda r: [["trial", "time", "time", "value", "stim"], *r[1:]]),
    ("only a head", lambda r: r[:1]),
    ("nothing", lambda r: [[""]]),
    ("one row", lambda r: r[:2]),
    (
        "a million columns",
        lambda r: [["trial", "time", "neuron", "value", *(["c"] * 100_000)], *r[1:3]],
    ),
    ("a long number", _replaced(0, 30, "9" * 5000)),
    ("rows of other lengths", lambda r: [*r, ["1", "2", "3", "4", "5", "6", "7"]]),
    ("an open quote", _replaced(0, 30, '"')),
    ("far trials", lambda r: [*r, *([str(10**15 + k), "0", str(k), "1", "0"] for k in range(50))]),
    (
        "every row another neuron and trial and time",
        lambda r: [r[0], *([str(k), f"{0.1 * k:g}", str(k), "1.5", "0"] for k in range(3000))],
    ),
]
CSV_OPTIONS = [
    {},
    {},
    {},
    {"inputs": "stim"},
    {"inputs": ["stim"]},
    {"dt": 0.1},
    {"dt": 1e-9},
    {"dt": 1e308},
    {"dt": "x"},
    {"trial": ["trial", "time"]},
    {"trial": 5},
    {"time": ["time"]},
    {"neuron": "*"},
    {"neuron": ["value"]},
    {"neuron": 5},
    {"fill": 0},
    {"fill": "x"},
    {"fill": [0]},
    {"lengths": ["a"]},
    {"align": [0.1, 0.2], "window": [0, 0.2]},
    {"align": "stim", "window": [0, 0.1]},
    {"align": ["x"], "window": [0, 1]},
    {"align": 5, "window": [0, 1]},
    {"observed": "counts"},
    {"unit": "ms"},
    {"inputs": {"from": "stim", "to": "time"}},
    {"inputs": 5},
    {"value": None},
    {"name": ["x"]},
    {"outputs": "stim"},
    {"outputs": ["onset", {"column": "stim"}]},
    {"window": [0, 1]},
]


def csv(number: int, rng: np.random.Generator, folder: Path) -> Case:
    file = folder / "table.csv"
    rows, options = table(rng), {}
    if number < len(CSV):
        what, change = CSV[number]
        raw = _text(change(rows)).encode()
    elif number == len(CSV):
        what = "a pipe"
        os.mkfifo(file)
        return Case(what, lambda: read_file(file, {}), "table.csv")
    elif number - len(CSV) - 1 < len(CSV_OPTIONS):
        options = CSV_OPTIONS[number - len(CSV) - 1]
        what, raw = f"options {options}", _text(rows).encode()
    elif rng.random() < 0.4:
        what, raw = spoiled(_text(rows).encode(), rng)
    else:
        changes = []
        for _ in range(int(rng.integers(1, 5))):
            row, column, word = (
                int(rng.integers(len(rows))),
                int(rng.integers(5)),
                str(pick(rng, CSV_WORDS)),
            )
            rows[row][column] = word
            changes.append(f"row {row} column {column} is {word[:20]!r}")
        what, raw = ", ".join(changes), _text(rows).encode("latin1", "replace")
    if number > 60 and rng.random() < 0.3:
        options = dict(pick(rng, CSV_OPTIONS))
        what += f" {options}"
    file.write_bytes(raw)
    return Case(what, lambda: read_file(file, options), "table.csv")
