"""A rebuilt result as files: figures, tables, and a page that says what they show."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from predictlearn.files import csv_bytes
from predictlearn.published.result import Published, Reproduced
from predictlearn.reporting.style import png

__all__ = ["figure_files", "files_of", "markdown_table"]


def markdown_table(frame: pd.DataFrame) -> str:
    """Return a table of text in Markdown.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its cells are written as they are; the index is left out.

    Returns
    -------
    str
        Lines, the last without a line break.

    Examples
    --------
    >>> print(markdown_table(pd.DataFrame({"quantity": ["vu"], "ours": ["0.8"]})))
    | quantity | ours |
    |---|---|
    | vu | 0.8 |
    """
    lines = [list(map(str, frame.columns)), *frame.astype(str).to_numpy().tolist()]
    rows = ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines]
    return "\n".join([rows[0], "|" + "---|" * frame.shape[1], *rows[1:]])


def figure_files(name: str, made: Reproduced, dpi: float = 200) -> dict[str, bytes]:
    """Return the figures of a result as PNG files.

    Parameters
    ----------
    name : str
        Name of the result.
    made : Reproduced
        The result, rebuilt.
    dpi : float, default 200
        Dots per inch.

    Returns
    -------
    dict of str to bytes
        Content by file name, ``NAME-FIGURE.png``.
    """
    return {f"{name}-{key}.png": png(figure, dpi) for key, figure in made.figures.items()}


def _page(result: Published, made: Reproduced, settings: Mapping[str, object]) -> str:
    """Return the text that stands beside the files."""
    said = ", ".join(f"{key} {value}" for key, value in settings.items())
    files = ", ".join(f"protocols/{name}.yaml" for name in result.protocols)
    parts = [
        f"# {result.title}",
        f"Claim: {result.claim}",
        f"Rebuilt from {files} ({said}).",
        *(f"![{key}]({result.name}-{key}.png)" for key in made.figures),
        "## The numbers that decide it",
        markdown_table(made.numbers),
        "A verdict is one of: agrees; differs; undecided (the run was too short to say); ours only "
        "(the paper has no such number).",
    ]
    if made.findings:
        parts += ["## Findings", "\n".join(f"- {finding}" for finding in made.findings)]
    if made.tables:
        names = "\n".join(f"- tables/{name}.csv" for name in made.tables)
        parts += ["## Everything behind it", names]
    return "\n\n".join(parts) + "\n"


def files_of(
    result: Published, made: Reproduced, settings: Mapping[str, object]
) -> dict[str, bytes]:
    """Return a rebuilt result as files.

    Parameters
    ----------
    result : Published
        What was rebuilt.
    made : Reproduced
        What came of it.
    settings : mapping
        What the page says about the run, such as seed and version.

    Returns
    -------
    dict of str to bytes
        Content by path: figures, ``numbers.csv``, ``tables/NAME.csv`` and ``README.md``.
    """
    tables = {
        f"tables/{name}.csv": csv_bytes(table, index=True) for name, table in made.tables.items()
    }
    return {
        **figure_files(result.name, made),
        "numbers.csv": csv_bytes(made.numbers),
        **tables,
        "README.md": _page(result, made, settings).encode(),
    }
