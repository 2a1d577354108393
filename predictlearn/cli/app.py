"""The application: its commands, and what they take."""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from predictlearn import __version__
from predictlearn.cli import comparing, data, experiments, fitting, prediction, predictions
from predictlearn.cli import reproduce as published

__all__ = ["app", "main"]

app = typer.Typer(
    name="predictlearn",
    help="Predict how neural circuits learn, from what a recording shows and what it hides.",
    epilog="Start with: predictlearn predict   (a small recording ships with the package)",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("predict")(prediction.predict)
app.command("fit")(fitting.fit)
app.command("run")(experiments.run)
app.command("compare")(comparing.compare)
app.command("predictions")(predictions.predictions)
app.command("reproduce")(published.reproduce)
app.add_typer(data.protocols, name="protocols")
app.add_typer(data.datasets, name="datasets")


def _version(asked: bool) -> None:
    """Print the version and leave."""
    if asked:
        typer.echo(f"predictlearn {__version__}")
        raise typer.Exit


@app.callback()
def _all_commands(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Predict how neural circuits learn, from what a recording shows and what it hides."""


def main() -> None:
    """Run the command line; the entry point of the installed command."""
    # tables and figures are many small objects, few of them in circles: looking for circles every
    # 700 of them takes a twentieth of the time
    gc.set_threshold(10_000)
    app(prog_name="predictlearn")
