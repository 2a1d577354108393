"""Inputs for the door of protocols: YAML files, spoiled in text and in what they say."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import yaml
from fuzzing import Case, pick, spoiled

import predictlearn as pl

GOOD = {
    "name": "one",
    "seed": 3,
    "cohort": {"networks": 2, "rank": 1, "overlaps": {"zm": 0.1}, "spread": 0.05},
    "tasks": {
        "A": {"type": "filter", "decay": 0.2, "duration": 5.0},
        "B": {"type": "teacher", "duration": 4.0, "trials": 4},
    },
    "rule": {
        "type": "gradient-descent",
        "rate": 0.01,
        "schedule": {"type": "decay", "epochs": 100},
    },
    "arms": {
        "first": {"phases": [{"task": "A", "epochs": 5}]},
        "second": {
            "phases": [{"task": "B", "epochs": 5}, {"readout": {"zm": 0.2}}],
            "start": {"uu": 2.0},
        },
    },
    "evaluate": ["A"],
}
TASKS = [
    "filter",
    "damped-oscillation",
    "flip-flop",
    "decision-making",
    "context-decision",
    "teacher",
    "reaching",
    "arrays",
]


def _deep(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


WRONG = [
    None,
    True,
    -1,
    0,
    1,
    2,
    0.5,
    10**6,
    10**9,
    10**30,
    1e7,
    1e308,
    1e-308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "network",
    "../../etc/passwd",
    "/dev/zero",
    [],
    {},
    [1, 2],
    [[1]],
    {"a": 1},
    {"type": "filter"},
    _deep(60),
    "\x1b[31m",
    "a" * 5000,
    ["x"] * 300,
]


def _with(**changes: object) -> dict:
    return {**copy.deepcopy(GOOD), **changes}


def _laughs(levels: int, width: int = 10) -> str:
    rows = [f"a{k}: &a{k} [" + ", ".join([f"*a{k - 1}"] * width) + "]" for k in range(1, levels)]
    lines = ["a0: &a0 [x, x]", *rows]
    return "\n".join(lines) + "\n"


def _merges(levels: int) -> str:
    rows = [f"m{k}: &m{k}\n  <<: [*m{k - 1}, *m{k - 1}]\n  k{k}: 1" for k in range(1, levels)]
    lines = ["m0: &m0 {k0: 1}", *rows]
    return "\n".join(lines) + "\n"


def _task(**settings: object) -> dict:
    return _with(tasks={"A": settings, "B": GOOD["tasks"]["B"]})


def _arms(count: int) -> str:
    head = yaml.safe_dump({k: v for k, v in GOOD.items() if k != "arms"})
    rows = [f"  a{k}: {{phases: [{{task: A, epochs: 5}}]}}" for k in range(count)]
    return head + "arms:\n" + "\n".join(rows) + "\n"


TEXT = [
    ("a billion laughs", lambda: _laughs(12)),
    ("a billion laughs beside a protocol", lambda: yaml.safe_dump(GOOD) + _laughs(10)),
    ("merges that double", lambda: _merges(40)),
    ("lists nested deep", lambda: "name: " + "[" * 3000 + "]" * 3000),
    ("mappings nested deep", lambda: "name: " + "{a: " * 3000 + "1" + "}" * 3000),
    ("blocks nested deep", lambda: "\n".join(" " * k + "a:" for k in range(1200))),
    ("a time stamp", lambda: yaml.safe_dump(GOOD) + "description: 2020-01-01\n"),
    ("a tagged time stamp", lambda: yaml.safe_dump(GOOD) + "description: !!timestamp 2020-01-01\n"),
    ("a broken time stamp", lambda: yaml.safe_dump(GOOD) + "description: !!timestamp 2020-99-99\n"),
    ("binary", lambda: yaml.safe_dump(GOOD) + "description: !!binary aGVsbG8=\n"),
    ("a set", lambda: yaml.safe_dump(GOOD) + "description: !!set {a, b}\n"),
    ("an ordered map", lambda: yaml.safe_dump(GOOD) + "description: !!omap [a: 1]\n"),
    ("pairs", lambda: yaml.safe_dump(GOOD) + "description: !!pairs [a: 1]\n"),
    ("Python", lambda: yaml.safe_dump(GOOD) + "description: !!python/object/apply:os.abort []\n"),
    ("a number tagged text", lambda: yaml.safe_dump(GOOD) + "description: !!int abc\n"),
    ("a float tagged text", lambda: yaml.safe_dump(GOOD) + "description: !!float abc\n"),
    ("a bool tagged text", lambda: yaml.safe_dump(GOOD) + "description: !!bool abc\n"),
    ("a long number", lambda: yaml.safe_dump(GOOD).replace("seed: 3", "seed: " + "9" * 5000)),
    (
        "a number of 4000 digits",
        lambda: yaml.safe_dump(GOOD).replace("seed: 3", "seed: " + "9" * 4000),
    ),
    ("an alias of itself", lambda: "name: &a [*a]\n"),
    ("a mapping of itself", lambda: "name: &a {b: *a}\n"),
    ("a key that is a list", lambda: yaml.safe_dump(GOOD) + "? [a, b]\n: 1\n"),
    ("a key that is a mapping", lambda: yaml.safe_dump(GOOD) + "? {a: b}\n: 1\n"),
    ("keys that are numbers", lambda: yaml.safe_dump(GOOD) + "1: 2\n1.0: 3\ntrue: 4\nnull: 5\n"),
    ("two documents", lambda: yaml.safe_dump(GOOD) + "---\nname: two\n"),
    ("100 thousand arms", lambda: _arms(100_000)),
    ("3 thousand arms", lambda: _arms(3000)),
    ("a long line", lambda: "name: " + "x" * 5_000_000 + "\n"),
    ("many anchors", lambda: "".join(f"a{k}: &b{k} 1\n" for k in range(100_000))),
    ("a byte-order mark of UTF-16", lambda: yaml.safe_dump(GOOD)),
    ("a directive", lambda: "%YAML 9.9\n---\n" + yaml.safe_dump(GOOD)),
]
SAID = [
    ("a duration of 1e7 s", _task(type="filter", duration=1e7)),
    ("a duration of 1e300 s", _task(type="filter", duration=1e300)),
    ("dt of 1e-300 s", _task(type="filter", dt=1e-300)),
    ("dt of 1e-12 s", _task(type="filter", dt=1e-12)),
    *((f"{kind} of 1e7 s", _task(type=kind, duration=1e7)) for kind in TASKS[:-1]),
    *((f"{kind} with a billion trials", _task(type=kind, trials=10**9)) for kind in TASKS[:-1]),
    ("targets of 1e308", _task(type="filter", amplitude=1e308)),
    ("rank a million", _with(cohort={"rank": 10**6, "overlaps": {"zm": 0.1}})),
    ("rank a thousand", _with(cohort={"rank": 1000, "overlaps": {"zm": 0.1}})),
    (
        "rank a million, random",
        _with(cohort={"rank": 10**6, "distribution": {"type": "absolute-normal"}}),
    ),
    ("networks without end", _with(cohort={"networks": 10**12, "overlaps": {"zm": 0.1}})),
    (
        "draws without end",
        _with(cohort={"max_draws": 10**12, "overlaps": {"zm": 0.99}, "spread": 50.0}),
    ),
    (
        "neurons without end",
        _with(cohort={"distribution": {"type": "random-loadings", "n_neurons": 10**12}}),
    ),
    ("overlaps of 1e150", _with(cohort={"overlaps": {"zm": 1e150, "zz": 1e200, "mm": 1e200}})),
    ("overlaps of 1e308", _with(cohort={"overlaps": {"zm": 1e308, "zz": 1e308, "mm": 1e308}})),
    ("spread of 1e308", _with(cohort={"overlaps": {"zm": 0.1}, "spread": 1e308})),
    ("epochs without end", _with(arms={"a": {"phases": [{"task": "A", "epochs": 10**15}]}})),
    ("a task from a device", _task(type="arrays", file="/dev/zero")),
    ("a task from a folder", _task(type="arrays", file=".")),
    ("a task from a number", _task(type="arrays", file=5)),
    (
        "a task of lists",
        _task(type="arrays", inputs=[[1]], targets=[[["x"]]], weights=None, dt=0.1),
    ),
    ("a teacher of rank a million", _task(type="teacher", rank=10**6)),
    ("tasks that are no mapping", _with(tasks={"A": None})),
    ("a rate of 1e308", _with(rule={"rate": 1e308})),
]


def places(node: object, at: tuple = ()) -> list[tuple]:
    found = [at] if at else []
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in items:
        found += places(value, (*at, key))
    return found


def _changed(rng: np.random.Generator) -> tuple[str, dict]:
    """Return a protocol with a few values replaced, keys renamed or parts moved."""
    data, said = copy.deepcopy(GOOD), []
    if rng.random() < 0.3:
        data["tasks"]["A"] = {"type": str(pick(rng, TASKS))}
    if rng.random() < 0.3:
        data["tasks"]["A"][
            str(
                pick(
                    rng,
                    [
                        "duration",
                        "dt",
                        "trials",
                        "amplitude",
                        "decay",
                        "bits",
                        "rank",
                        "wait",
                        "delay",
                        "radius",
                        "file",
                        "inputs",
                    ],
                )
            )
        ] = pick(rng, WRONG)
    for _ in range(int(rng.integers(1, 4))):
        known = places(data)
        place = pick(rng, known)
        node = data
        for key in place[:-1]:
            node = node[key]
        kind = str(rng.choice(["value", "gone", "moved"]))
        if kind == "value":
            node[place[-1]] = pick(rng, WRONG)
        elif kind == "gone":
            del node[place[-1]]
        else:
            other = data
            source = pick(rng, known)
            for key in source:
                try:
                    other = other[key]
                except (KeyError, IndexError, TypeError):
                    break
            node[place[-1]] = copy.deepcopy(other)
        said.append(f"{kind} {'.'.join(map(str, place))}")
    return f"{said} {data}"[:600], data


def protocol(number: int, rng: np.random.Generator, folder: Path) -> Case:
    file = folder / "experiment.yaml"
    if number == 0:
        os.mkfifo(file)
        return Case("a pipe", lambda: pl.Protocol.load(file), "experiment.yaml")
    number -= 1
    if number < len(TEXT):
        what, made = TEXT[number]
        file.write_text(made(), encoding="utf-16" if "UTF-16" in what else "utf-8")
    elif number - len(TEXT) < len(SAID):
        what, data = SAID[number - len(TEXT)]
        file.write_text(yaml.safe_dump(data))
    elif rng.random() < 0.5:
        what, data = _changed(rng)
        file.write_text(yaml.safe_dump(data))
    else:
        what, raw = spoiled(yaml.safe_dump(GOOD).encode(), rng)
        file.write_bytes(raw)

    def read() -> None:
        loaded = pl.Protocol.load(file)
        # what a run begins with
        if loaded.spec.cohort.networks <= 10:
            loaded.draw_starts()
        for task in loaded.tasks.values():
            task.sample(np.random.default_rng(0))

    return Case(what, read, "experiment.yaml")
