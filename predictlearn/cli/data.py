"""``predictlearn protocols`` and ``predictlearn datasets``: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from predictlearn.cli.console import guarded, output

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

    typer.echo(find_protocol(name).read_text(encoding="utf-8"), nl=False)


@guarded
def datasets() -> None:
    """List the data sets known by name, and where they are or are to be put."""
    from rich.text import Text

    from predictlearn.errors import InputError
    from predictlearn.recordings.registry import datasets as known
    from predictlearn.recordings.registry import find_dataset

    console = output()
    for item in known():
        try:
            where = Text.assemble(("found      ", "green"), str(find_dataset(item.name)))
        except InputError:
            where = Text.assemble(("not here   ", "yellow"), f"put it at {item.place}")
        head = Text(item.name, style="bold")
        head.append("  simulated" if item.simulated else "  measured", style="dim")
        console.print(head)
        console.print(Text(f"  {item.description}"), soft_wrap=True)
        console.print(Text(f"  source     {item.source}"), soft_wrap=True)
        console.print(Text(f"  licence    {item.licence}"), soft_wrap=True)
        console.print(Text("  ") + where, soft_wrap=True)
        console.print()
    console.print("Use one:  predictlearn predict --dataset NAME")
