"""The page of a report: formatting of tables, figures as data, and the template."""

from __future__ import annotations

import base64
import json
import math
import numbers
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from predictlearn.files import csv_bytes
from predictlearn.reporting.content import Report, Table
from predictlearn.reporting.folder import check_folder, write_files
from predictlearn.reporting.style import png

__all__ = ["format_value", "html", "render", "rendered_figures", "report_files", "write"]

PIXELS_PER_INCH = 100
# Characters of a cell: above the first words without numbers may break, above the next all text.
_WORD, _PHRASE = 12, 28
_DIGIT = re.compile(r"\d")
_SENTENCE = 70
# Words of code up to so many characters stay whole: `--margin` is not broken after its hyphens.
_TERM = 24
# Where longer ones may break.
_LONG = re.compile(r"([(./=])")
_SIMULATED = "What this page shows was made by a computer model, not measured in an animal."


class Picture(NamedTuple):
    """A drawn figure: its PNG file and its width on the page."""

    content: bytes
    width: int

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.content).decode("ascii")


class Cell(NamedTuple):
    """A table cell: its text and how to set it."""

    text: str
    kind: str


class ShownTable(NamedTuple):
    """What the page shows of a table: headings, rows, text below each row, rows left out."""

    heads: list[Cell]
    rows: list[list[Cell]]
    details: list[list[str]]
    more: int


def format_value(value: object, decimals: int = 3, probability: bool = False) -> str:
    """Return a value as text for a table of the page.

    Parameters
    ----------
    value : object
        A number, a truth value, text, or something missing.
    decimals : int, default 3
        Digits after the point; numbers too small or too large for it are set in powers of ten.
    probability : bool, default False
        Set as a p value: what is below 0.0001 as "< 0.0001".

    Returns
    -------
    str
        Text; a dash where the value is missing.

    Examples
    --------
    >>> [format_value(v) for v in (0.12345, -2.0, 7, 3e-5, float("nan"), True)]
    ['0.123', '−2.000', '7', '3.0e−05', '–', 'yes']
    >>> format_value(2e-9, probability=True)
    '< 0.0001'
    """
    if value is None or value is pd.NaT or value is pd.NA:
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return str(int(value)).replace("-", "−")
    if isinstance(value, numbers.Real):
        number = float(value)
        if math.isnan(number):
            return "–"
        if math.isinf(number):
            return "∞" if number > 0 else "−∞"
        if probability and number < 1e-4:
            return "< 0.0001"
        small = number != 0 and abs(number) < 0.5 * 10.0**-decimals
        if small and probability:
            text = f"{number:.4f}"
        elif small or abs(number) >= 1e6:
            text = f"{number:.1e}"
        else:
            text = f"{number:.{decimals}f}"
            # a rounded zero carries no sign
            text = text.lstrip("-") if float(text) == 0 else text
        return text.replace("-", "−")
    if isinstance(value, list | tuple):
        return ", ".join(format_value(item, decimals) for item in value)
    return str(value)


def _is_probability(column: str) -> bool:
    """Return whether a column holds p values, from its name."""
    return column == "p" or column.startswith("p_") or column.endswith("_p")


def shown_table(table: Table) -> ShownTable:
    """Return what the page shows of a table.

    Columns of long text, such as statements, do not widen it: each is set below its row.
    """
    content = table.displayed
    content = content.set_axis([str(column) for column in content.columns], axis=1)
    names = list(table.columns) if table.columns is not None else list(content.columns)
    rows = content.iloc[: table.max_rows]
    heads: list[Cell] = []
    columns: list[list[Cell]] = []
    details: list[list[str]] = [[] for _ in range(len(rows))]
    for name in names:
        decimals = table.decimals
        if isinstance(decimals, Mapping):
            decimals = decimals.get(name, 3)
        texts = [format_value(value, int(decimals), _is_probability(name)) for value in rows[name]]
        longest = max(map(len, texts), default=0)
        if longest > _SENTENCE and len(names) > 1:
            for detail, text in zip(details, texts, strict=True):
                if text and text != "–":
                    detail.append(text)
            continue
        kind = "number" if pd.api.types.is_numeric_dtype(rows[name]) else "text"
        if kind == "text" and longest > _PHRASE:
            kind = "text long"
        elif kind == "text" and longest > _WORD and not any(_DIGIT.search(t) for t in texts):
            kind = "text words"
        heads.append(Cell(table.labels.get(name, name.replace("_", " ")), kind))
        columns.append([Cell(text, kind) for text in texts])
    body = [list(row) for row in zip(*columns, strict=True)] if columns else []
    return ShownTable(heads, body, details, len(content) - len(rows))


def inline(text: str) -> Markup:
    """Return text escaped for the page, with `code` and **bold** set as such."""
    safe = str(escape(text))
    safe = re.sub(r"`([^`]+)`", _code, safe)
    safe = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)
    return Markup(safe)


def _code(found: re.Match[str]) -> str:
    """Return escaped text between backticks as code."""
    return f"<code>{_whole_words(found[1])}</code>"


def _whole_words(text: str) -> Markup:
    """Return escaped code whose lines break between words."""
    words = re.split(r"( +)", text)
    return Markup(
        "".join(
            _LONG.sub(r"\1<wbr>", word)
            if len(word) > _TERM
            else f'<span class="term">{word}</span>'
            if "-" in word
            else word
            for word in words
        )
    )


def _setting(value: Any) -> str:
    """Return a setting as text: nested ones as indented JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(_plain(value), indent=2, ensure_ascii=False)
    return format_value(value, decimals=6) if isinstance(value, numbers.Real) else str(value)


def _plain(value: Any) -> Any:
    """Return nested data made of what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | bool | int | float | None) else str(value)


def rendered_figures(report: Report) -> dict[str, Picture]:
    """Draw every figure of a report.

    Parameters
    ----------
    report : Report
        The report.

    Returns
    -------
    dict of str to Picture
        By name: the PNG file at twice the resolution of the page, and the width in pixels.
    """
    return {
        item.name: Picture(png(item.figure), round(item.figure.get_figwidth() * PIXELS_PER_INCH))
        for item in report.figures
    }


def render(report: Report, pictures: Mapping[str, Picture]) -> str:
    """Return the page of a report.

    Parameters
    ----------
    report : Report
        The report.
    pictures : mapping of str to Picture
        Its figures, drawn.

    Returns
    -------
    str
        A complete HTML document.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = inline
    settings = {key: _setting(value) for key, value in report.reproduce.items()}
    return environment.get_template("report.html").render(
        report=report,
        simulated=_SIMULATED if report.simulated is True else report.simulated,
        pictures=pictures,
        tables={table.name: shown_table(table) for table in report.tables},
        figure_number={figure.name: k + 1 for k, figure in enumerate(report.figures)},
        table_number={table.name: k + 1 for k, table in enumerate(report.tables)},
        command=_whole_words(str(escape(settings.pop("command", "")))),
        reproduce=settings,
    )


def report_files(report: Report) -> dict[str, bytes]:
    """Return the files of a report: the page, its figures and its tables.

    Parameters
    ----------
    report : Report
        The report.

    Returns
    -------
    dict of str to bytes
        Content by path within the folder.
    """
    pictures = rendered_figures(report)
    files = {"index.html": render(report, pictures).encode("utf-8")}
    for name, picture in pictures.items():
        files[f"figures/{name}.png"] = picture.content
    for table in report.tables:
        files[f"tables/{table.name}.csv"] = csv_bytes(table.content)
    return files


def html(report: Report) -> str:
    """Return the page of a report as text, with its figures inside.

    Parameters
    ----------
    report : Report
        The report.

    Returns
    -------
    str
        A complete HTML document that refers to nothing outside it.
    """
    return render(report, rendered_figures(report))


def write(
    report: Report, folder: str | os.PathLike[str], overwrite: bool = False, *, command: str = ""
) -> Path:
    """Write a report into a folder, whole or not at all.

    Parameters
    ----------
    report : Report
        The report.
    folder : path
        Made if it does not exist. It receives ``index.html``, ``tables/NAME.csv``,
        ``figures/NAME.png`` and ``predictlearn-manifest.json``, which lists them with their
        hashes. Files of an earlier report are replaced, or removed where the new report has none of
        that name; all other files stay.
    overwrite : bool, default False
        Replace files that predictlearn did not make, or that were changed since.
    command : str, default ""
        What makes the report; a folder that holds what another command made is refused.

    Returns
    -------
    pathlib.Path
        The page, ``index.html``.

    Raises
    ------
    InputError
        If the folder is a file, or holds files that predictlearn did not make or that were changed
        since, and that the report would replace; nothing is written then.
    """
    check_folder(folder, overwrite, command=command)
    return write_files(folder, report_files(report), overwrite, command=command) / "index.html"
