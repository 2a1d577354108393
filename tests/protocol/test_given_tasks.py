"""Tasks from arrays, from Python objects and functions, and by the name of a function."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from test_mixtures import BASE, protocol, shown
from typer.testing import CliRunner

import predictlearn as pl
from predictlearn.cli import app
from predictlearn.errors import InputError
from predictlearn.protocol import Protocol

CODE = """
import dataclasses
import numpy as np
import predictlearn as pl
from predictlearn.theory.trials import Trials


def decay(rate, n_steps=60, dt=0.05):
    inputs = np.zeros((1, n_steps, 1))
    inputs[0, 0, 0] = 1 / dt
    targets = np.exp(-rate * dt * np.arange(n_steps))[None, :, None]
    return pl.ArrayTask(inputs, targets, np.full(targets.shape, dt), dt)


@dataclasses.dataclass
class Noisy:
    sd: float
    n_in = n_out = 1
    dt = 0.05
    fixed = False

    def sample(self, rng):
        inputs = self.sd * rng.normal(size=(3, 20, 1))
        return Trials(inputs, inputs, np.ones_like(inputs), self.dt)


def hidden(sd):
    class Inner(Noisy):
        pass

    return Inner(sd)


def broken():
    return 1 / 0


def nothing():
    return None
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / f"own_{tmp_path.name.replace('-', '_')}.py").write_text(CODE)
    return tmp_path


def module(folder):
    return f"own_{folder.name.replace('-', '_')}"


class Own:
    """A task of the user, with what `learn` asks for and nothing else."""

    n_in, n_out, dt, fixed = 1, 1, 0.05, True

    def sample(self, rng):
        return pl.Trials(*shown(0.2), 0.05)


def test_objects_functions_and_arrays_are_the_same_tasks(tmp_path):
    inputs, targets, weights = shown(0.2)
    np.savez(tmp_path / "task.npz", inputs=inputs, targets=targets, weights=weights, dt=0.05)
    arrays = pl.ArrayTask(inputs, targets, weights, 0.05)
    expected = protocol().run(seed=0).table
    ways = [Own(), Own, lambda: arrays, arrays, {"type": "arrays", "file": "task.npz"}]
    for way in ways:
        one = Protocol.from_dict({**BASE, "tasks": {**BASE["tasks"], "A": way}}, tmp_path)
        run = one.run(seed=0)
        values = run.table["value"]
        np.testing.assert_allclose(values, expected["value"], rtol=1e-10, atol=1e-12)
        assert one.replace(seed=3).to_dict()["tasks"].keys() == BASE["tasks"].keys()
        again = Protocol.from_dict(one.to_dict(), tmp_path)
        assert again.run(seed=0).table.equals(run.table)


def test_a_task_given_in_python_is_evaluated_and_kept_as_its_own(tmp_path):
    def one(decay):
        def task():
            return pl.Filter(decay=decay, duration=3.0)

        return protocol(tasks={**BASE["tasks"], "A": task})

    run = one(0.2).run(seed=0, output=tmp_path / "kept", n_jobs=2)
    assert run.table.equals(one(0.2).run(seed=0, output=tmp_path / "kept").table)
    with pytest.raises(InputError, match="Choose another folder"):
        one(0.3).run(seed=0, output=tmp_path / "kept")
    assert run.settings["tasks"]["A"] == {"type": "given in Python"}


WRONG = [
    (lambda: None, "the task 'A' must return a task, with n_in, .*got NoneType"),
    (lambda: 1 / 0, "the task 'A' raised ZeroDivisionError: division by zero"),
    (lambda x: x, "the task 'A' raised TypeError"),
    (type("Odd", (Own,), {"n_out": 2}), r"says n_out = 2, and its trials have 1"),
    (type("Odd", (Own,), {"sample": lambda self, rng: 1}), "must return Trials; got int"),
    (type("Odd", (Own,), {"sample": lambda self: 1}), "sample of the task 'A' raised TypeError"),
    ({"type": "given in Python"}, "type must be one of"),
    (3, "tasks.A: must be a mapping of keys to values; got 3"),
]


@pytest.mark.parametrize(("task", "message"), WRONG)
def test_what_is_no_task(task, message):
    with pytest.raises(InputError, match=message):
        protocol(tasks={**BASE["tasks"], "A": task})


def test_a_function_by_name_runs_only_where_it_is_trusted(folder):
    named = {"type": "python", "function": f"{module(folder)}:decay", "rate": 0.2}
    data = {**BASE, "tasks": {**BASE["tasks"], "A": named}}
    with pytest.raises(InputError, match=r"tasks\.A: a task of type python runs the code.*--trust"):
        Protocol.from_dict(data, folder)
    trusted = Protocol.from_dict(data, folder, trust=True)
    run = trusted.with_epochs(1.0).run(seed=0)
    expected = protocol().run(seed=0).table["value"]
    np.testing.assert_allclose(run.table["value"], expected, rtol=1e-10, atol=1e-12)
    assert trusted.replace(seed=2).run().seed == 2


def test_classes_beside_the_protocol_reach_the_workers(folder):
    noisy = {"type": "python", "function": f"{module(folder)}:Noisy", "sd": 0.5}
    phases = [{"name": "A", "task": "A", "epochs": 4}, {"probe": "A"}]
    data = {**BASE, "tasks": {"A": noisy}, "arms": {"x": {"phases": phases}}, "evaluate": ["A"]}
    one = Protocol.from_dict(data, folder, trust=True)
    assert one.run(n_jobs=2).table.equals(one.run().table)
    hidden = {**data, "tasks": {"A": {**noisy, "function": f"{module(folder)}:hidden"}}}
    inner = Protocol.from_dict(hidden, folder, trust=True)
    assert inner.run().table.equals(one.run().table)
    with pytest.raises(InputError, match=r"cannot be sent to another process.*--jobs 1"):
        inner.run(n_jobs=2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (None, r'function must be "module:function"'),
        ("decay", r'function must be "module:function"'),
        ("no_such_module_of_mine:decay", "cannot be imported .ModuleNotFoundError"),
        ("{}:decai", "has no function 'decai'"),
        ("{}:broken", "broken' raised ZeroDivisionError"),
        ("{}:nothing", "nothing' must return a task"),
        ("{}:decay", "decay' raised TypeError"),
    ],
)
def test_wrong_functions_are_named(folder, function, message):
    named = {"type": "python"}
    if function is not None:
        named["function"] = function.format(module(folder))
    with pytest.raises(InputError, match=message):
        Protocol.from_dict({**BASE, "tasks": {"A": named}}, folder, trust=True)


def test_the_command_line_asks_for_trust(folder):
    file = folder / "experiment.yaml"
    file.write_text(f"""\
name: own
cohort: {{networks: 1, overlaps: {{zm: 0.1}}}}
tasks:
  A: {{type: python, function: "{module(folder)}:decay", rate: 0.3}}
rule: {{rate: 0.01}}
arms:
  only:
    phases:
      - {{task: A, epochs: 3}}
""")
    refused = CliRunner().invoke(app, ["run", str(file), "--jobs", "1"])
    assert refused.exit_code != 0
    assert "--trust" in refused.output
    trusted = CliRunner().invoke(app, ["run", str(file), "--jobs", "1", "--trust"])
    assert trusted.exit_code == 0, trusted.output
    assert "only" in trusted.output


def test_an_array_file_is_looked_at_before_it_is_read(tmp_path):
    (tmp_path / "task.npz").write_bytes(b"no archive")
    arrays = {"type": "arrays", "file": "task.npz"}
    with pytest.raises(InputError, match=r"tasks\.A.*task\.npz"):
        Protocol.from_dict({**BASE, "tasks": {"A": arrays}}, tmp_path)


def test_predict_asks_for_trust_too(folder, tmp_path, monkeypatch):
    file = folder / "experiment.yaml"
    own = {"type": "python", "function": f"{module(folder)}:decay", "rate": 0.3}
    tasks = dict.fromkeys("AB", own)
    file.write_text(yaml.safe_dump({**BASE, "name": "own", "tasks": tasks}))
    words = ["predict", "--task", str(file), "-o", str(tmp_path / "report"), "--jobs", "1"]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert "--trust" in refused.output
    other = CliRunner().invoke(app, ["predict", "--task", "filter", "--trust", *words[3:]])
    assert other.exit_code == 2
    assert "--trust goes with --task and a protocol file (.yaml)." in other.output

    def seen(*_, task, **__):
        raise InputError(f"given {type(task).__name__} {task.name}")

    monkeypatch.setattr("predictlearn.pipeline.predict", seen)
    trusted = CliRunner().invoke(app, [*words, "--trust"])
    assert "given Protocol own" in trusted.output
