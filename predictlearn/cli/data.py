"""``predictlearn protocols`` and ``predictlearn datasets``: what there is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from predictlearn.cli.console import guarded, output
from predictlearn.files import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["datasets", "protocols"]

protocols = typer.Typer(help="List the experiments that ship, or show one.")


@protocols.callback(invoke_without_command=True)
@guarded
def _list(context: typer.Context) -> None:
    """List the experiments that ship, or show one."""
    if context.invoked_subcommand is not None:
        return
    import yaml
    from rich.table import Table

    from predictlearn.resources import resource_folder

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("what it asks")
    for path in sorted(resource_folder("protocols").glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        table.add_row(path.stem, " ".join(str(content.get("description", "")).split()))
    console = output()
    console.print(table)
    console.print(
        "\nShow one:  predictlearn protocols show NAME      Run one:  predictlearn run NAME"
    )


@protocols.command("show")
@guarded
def _show(
    name: Annotated[str, typer.Argument(help="Name of a protocol, or a file.")],
) -> None:
    """Print a protocol file, to read or to start one's own from."""
    from predictlearn.protocol.source import find_protocol

    typer.echo(printable(find_protocol(name).read_text(encoding="utf-8")), nl=False)


datasets = typer.Typer(help="List the data sets known by name, download one, or say where it is.")


@datasets.callback(invoke_without_command=True)
@guarded
def _data(context: typer.Context) -> None:
    """List the data sets known by name, download one, or say where it is."""
    if context.invoked_subcommand is None:
        _print_datasets()


@datasets.command("list")
@guarded
def _list_datasets() -> None:
    """List the data sets known by name, and where they are or are to be put."""
    _print_datasets()


@datasets.command("where")
@guarded
def _where(name: Annotated[str, typer.Argument(help="Name of a data set.")]) -> None:
    """Print the path of a data set that is here."""
    from predictlearn.recordings.datasets.registry import find_dataset

    typer.echo(find_dataset(name))


@datasets.command("get")
@guarded
def _get(
    name: Annotated[str, typer.Argument(help="Name of a data set.")],
    again: Annotated[
        bool, typer.Option("--again", help="Download it even where a copy is found.")
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(help="Another place of the same file; its checksum must be right."),
    ] = None,
) -> None:
    """Download a data set into the user's cache, and print where it is."""
    from predictlearn.recordings.datasets.download import download_dataset

    with _bytes_bar(name) as bar:
        path = download_dataset(name, again=again, url=url, bar=bar)
    typer.echo(path)


class _BytesBar:
    """Passes the bytes of a download on to a bar on the terminal."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label
        self._task: TaskID | None = None
        self.total = 0

    def update(self, n: int) -> None:
        """Add bytes that came."""
        if self._task is None:
            self._task = self._progress.add_task(self._label, total=self.total or None)
        self._progress.advance(self._task, n)

    def reset(self) -> None:
        """Start again from nothing."""
        if self._task is not None:
            self._progress.reset(self._task, total=self.total or None)

    def close(self) -> None:
        """End; the context of the bar takes it away."""


@contextlib.contextmanager
def _bytes_bar(label: str) -> Iterator[_BytesBar]:
    """Give a bar of bytes on standard error; on something other than a terminal it is not drawn."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        yield _BytesBar(progress, label)


def _print_datasets() -> None:
    """Print the data sets known by name."""
    from rich.text import Text

    from predictlearn.recordings.datasets.registry import datasets as known
    from predictlearn.recordings.datasets.registry import is_registered, located

    console = output()
    for item in known():
        file = located(item.name)
        if file is not None:
            where = Text.assemble(("found      ", "green"), str(file))
            if not is_registered(item.name, file):
                where.append("   not the registered file: its checksum differs", style="yellow")
        else:
            where = Text.assemble(
                ("not here   ", "yellow"),
                f"predictlearn datasets get {item.name}   or put it at {item.place}",
            )
        head = Text(item.name, style="bold")
        head.append("  simulated" if item.simulated else f"  measured, {item.kind}", style="dim")
        console.print(head)
        console.print(Text(f"  {item.description}"), soft_wrap=True)
        console.print(Text(f"  source     {item.source}"), soft_wrap=True)
        console.print(Text(f"  licence    {item.licence}; cite {item.citation}"), soft_wrap=True)
        if item.size:
            console.print(Text(f"  size       {item.size / 1e6:.1f} MB"), soft_wrap=True)
        console.print(Text("  ") + where, soft_wrap=True)
        console.print()
    cases = ", ".join(item.name for item in known() if item.has_case)
    console.print(f"Use one:  predictlearn predict --dataset NAME   ({cases})")
