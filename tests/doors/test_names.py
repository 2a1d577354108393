"""Names are text: on a terminal, in tables, on pages, and as paths."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import predictlearn as pl
from predictlearn.cli import app
from predictlearn.cli.console import output, stages
from predictlearn.errors import InputError
from predictlearn.files import csv_bytes, defused, output_folder, printable
from predictlearn.reporting.folder import write_files
from predictlearn.reporting.style import new_figure, png, styled

pytestmark = pytest.mark.quick

BRACKETS, COLOUR, FORMULA = "[/bold][red]x", "a\x1b[31mred\x1b]0;title\x07", "=cmd|' /C calc'!A0"
CONTENT = {
    "name": BRACKETS,
    "cohort": {"networks": 3, "overlaps": {"zm": 0.1}, "spread": 0.05},
    "tasks": {"@task": {"type": "filter", "decay": 0.2}},
    "rule": {"rate": 0.005},
    "arms": {
        FORMULA: {"phases": [{"task": "@task", "epochs": 5, "name": BRACKETS}]},
        COLOUR: {"phases": [{"task": "@task", "epochs": 5}]},
    },
}


@pytest.fixture
def protocol(tmp_path):
    import yaml

    path = tmp_path / "names.yaml"
    path.write_text(yaml.safe_dump(CONTENT))
    return str(path)


def call(*words):
    done = CliRunner().invoke(app, [*words, "--jobs", "1"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.stderr
    return done


@pytest.mark.parametrize("command", ["run", "compare"])
def test_names_in_brackets_and_escape_codes_are_shown_as_text(protocol, tmp_path, command):
    done = call(command, protocol, "-o", str(tmp_path / "out"))
    for shown in (BRACKETS, FORMULA, "a\ufffd[31mred\ufffd]0;title"):
        assert shown in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x07" not in done.stdout + done.stderr


def test_no_cell_of_a_table_on_disk_is_a_formula(protocol, tmp_path):
    call("run", protocol, "-o", str(tmp_path / "out"))
    table = pd.read_csv(tmp_path / "out" / "table.csv", dtype=str, keep_default_na=False)
    text = pd.unique(table[["arm", "phase", "task", "quantity"]].to_numpy().ravel())
    assert f"'{FORMULA}" in text
    assert "'@task" in text
    assert [cell for cell in text if cell[:1] in ("=", "+", "-", "@", "\t", "\r")] == []


def test_stages_are_text(capsys):
    with stages() as tell:
        tell(BRACKETS + COLOUR)
    assert BRACKETS in capsys.readouterr().err


def test_a_terminal_gets_no_code_but_our_own(monkeypatch):
    from rich.table import Table

    console = output()
    console.file = stream = io.StringIO()
    console._force_terminal = True
    table = Table()
    table.add_column(COLOUR)
    table.add_row(BRACKETS)
    console.print(table, COLOUR, ":smile:")
    shown = stream.getvalue()
    assert "\x1b[31m" not in shown
    assert "\x1b]0" not in shown
    assert BRACKETS in shown
    assert ":smile:" in shown


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-cmd", "'-cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("＝1", "'＝1"),
        ("-0.5", "-0.5"),
        ("+1e3", "+1e3"),
        ("-inf", "-inf"),
        ("zm", "zm"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_formulas_are_defused_and_numbers_are_not(text, safe):
    assert defused(text) == safe


def test_a_table_is_defused_everywhere_and_not_changed():
    frame = pd.DataFrame(
        {
            "=a": ["@x", "y", None],
            "n": [-1.5, np.nan, np.inf],
            "c": pd.Categorical(["-c", "k", "k"]),
        },
        index=pd.Index(["+r", "s", "t"], name="=i"),
    )
    frame["c"] = frame["c"].astype("category")
    before = frame.copy()
    assert csv_bytes(frame, index=True).decode().splitlines() == [
        "'=i,'=a,n,c",
        "'+r,'@x,-1.5,'-c",
        "s,y,,k",
        "t,,inf,k",
    ]
    pd.testing.assert_frame_equal(frame, before)
    several = frame.set_index("n", append=True)
    assert csv_bytes(several, index=True).decode().splitlines()[:2] == [
        "'=i,n,'=a,c",
        "'+r,-1.5,'@x,'-c",
    ]
    plain = pd.DataFrame({"a": ["x"], "b": [1]})
    assert csv_bytes(plain) == plain.to_csv(index=False, lineterminator="\n").encode()


def test_dollar_signs_in_a_figure_are_dollar_signs():
    def drawn(name):
        figure = new_figure(2.0)
        figure.subplots().set_title(name)
        return png(figure)

    draw = styled(drawn)
    assert draw(r"$\frac{")[1:4] == b"PNG"
    assert draw("$x$") != draw("x")


def test_control_characters_are_marked():
    assert printable("a\tb\nc\x1b[2J\x9b1m\x00\u202eé") == "a\tb\nc\ufffd[2J\ufffd1m\ufffd\ufffdé"


@pytest.mark.parametrize("command", ["run", "fit", "predict", "compare"])
@pytest.mark.parametrize("folder", ["", "  "])
def test_an_empty_output_is_refused(command, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [command] + ([] if command in ("predict", "fit") else ["aba"])
    done = CliRunner().invoke(app, [*words, "-o", folder])
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: --output must name a folder; got")
    assert list(tmp_path.iterdir()) == []


def test_home_is_meant_alike_everywhere(tmp_path, monkeypatch, protocol):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    call("run", protocol, "-o", "~/run")
    write_files("~/report", {"index.html": b""})
    pl.Protocol.from_dict(CONTENT).run(output="~/python")
    assert sorted(p.name for p in (tmp_path / "home").iterdir()) == ["python", "report", "run"]
    assert output_folder("~") == tmp_path / "home"
    with pytest.raises(InputError, match="starts with a home that is not known"):
        output_folder("~nobody-of-this-name/x")
    with pytest.raises(InputError, match="no path has"):
        output_folder("a\0b")


def test_a_link_inside_the_output_does_not_lead_outside(tmp_path):
    outside, target = tmp_path / "outside", tmp_path / "report"
    outside.mkdir()
    target.mkdir()
    (target / "tables").symlink_to(outside)
    with pytest.raises(InputError, match=r"tables is a link, which leads out of"):
        write_files(target, {"tables/a.csv": b"x"}, overwrite=True)
    run = tmp_path / "run"
    pl.Protocol.from_dict(CONTENT).run(output=run)
    for path in (run / "networks").iterdir():
        path.unlink()
    (run / "networks").rmdir()
    (run / "networks").symlink_to(outside)
    with pytest.raises(InputError, match=r"networks is a link, which leads out of"):
        pl.Protocol.from_dict(CONTENT).run(output=run)
    results = tmp_path / "results"
    results.mkdir()
    (results / "aba").symlink_to(outside)
    done = CliRunner().invoke(app, ["reproduce", "aba", "-o", str(results)])
    assert done.exit_code == 2
    assert "aba is a link, which leads out of" in done.stderr
    assert list(outside.iterdir()) == []
    # the output itself may be a link
    (tmp_path / "elsewhere").symlink_to(outside)
    write_files(tmp_path / "elsewhere", {"tables/a.csv": b"x"})
    assert (outside / "tables" / "a.csv").read_bytes() == b"x"


@pytest.mark.parametrize(("scale", "label"), [("log", "10⁻³"), ("symlog", "−10⁻²")])
def test_powers_on_logarithmic_axes_are_text(scale, label):
    from predictlearn.reporting.style import new_figure, png, styled

    @styled
    def drawn():
        figure = new_figure(3.0)
        axes = figure.add_subplot()
        more = {"linthresh": 1e-3} if scale == "symlog" else {}
        axes.set_yscale(scale, **more)
        axes.set_ylim(1e-3 if scale == "log" else -0.1, 1.0)
        return figure

    figure = drawn()
    png(figure)
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels(which="both")]
    assert label in shown
    assert not any("$" in text or "math" in text for text in shown), shown
