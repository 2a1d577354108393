"""What a report consists of: figures, tables and sections, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd

from predictlearn.deprecated import moved_method
from predictlearn.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

__all__ = ["Figure", "Report", "Section", "Table", "slug"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def slug(text: str) -> str:
    """Return text as a name for files and anchors: lower case, words joined by hyphens.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        Letters a to z, digits and single hyphens; ``"section"`` if nothing is left.

    Examples
    --------
    >>> slug("What the recording shows, and hides")
    'what-the-recording-shows-and-hides'
    """
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())) or "section"


def _check_name(kind: str, name: object) -> None:
    """Refuse a name that is not fit for a file."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        close = f" Did you mean {slug(name)!r}?" if isinstance(name, str) else ""
        raise InputError(
            f"the name of a {kind} must be lower-case letters, digits, hyphens and underscores, "
            f"since it becomes a file; got {name!r}.{close}"
        )


def _items(name: str, values: Iterable[Any], kind: type) -> tuple[Any, ...]:
    """Return a sequence as a tuple of one type, or raise."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(
            f"{name} must be a sequence of {kind.__name__}; got {type(values).__name__}."
        )
    items = tuple(values)
    for item in items:
        if not isinstance(item, kind):
            raise InputError(
                f"{name} must hold only {kind.__name__}; one item is {type(item).__name__}."
            )
    return items


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure with its caption.

    Parameters
    ----------
    name : str
        Name of its file: lower-case letters, digits, hyphens, underscores.
    caption : str
        What it shows, in words. Text within backticks is set as code, within ``**`` in bold.
    figure : matplotlib.figure.Figure
        The drawing, at its size in inches; 100 pixels of the page to the inch.
    alt : str
        What a reader who cannot see it should know.

    Raises
    ------
    InputError
        If the name is not fit for a file, or a caption or alt text is missing.
    """

    name: str
    caption: str
    figure: MatplotlibFigure
    alt: str

    def __post_init__(self) -> None:
        _check_name("figure", self.name)
        for label in ("caption", "alt"):
            text = getattr(self, label)
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"figure {self.name!r} lacks its {label} in words; got {text!r}.")
        if not hasattr(self.figure, "savefig"):
            raise InputError(
                f"figure {self.name!r} must be a matplotlib Figure; "
                f"got {type(self.figure).__name__}."
            )


@dataclass(frozen=True, eq=False)
class Table:
    """A table with its caption; the page shows it rounded, the CSV file holds all of it.

    Parameters
    ----------
    name : str
        Name of its file: lower-case letters, digits, hyphens, underscores.
    caption : str
        What it shows, in words.
    frame : pandas.DataFrame
        The content. An index that has a name, or is not 0, 1, ..., becomes the first column.
    decimals : int or mapping of str to int, default 3
        Digits after the point on the page, for all columns or by column.
    columns : tuple of str, optional
        The columns that the page shows, in this order; all of them if not given.
    labels : mapping of str to str, optional
        Headings of columns on the page, where they differ from the names.
    max_rows : int, default 40
        The page shows as many rows and points to the CSV file for the rest.
    on_page : pandas.DataFrame, optional
        What the page shows where that differs from the file, such as an estimate with its interval
        in one column; `columns`, `decimals` and `labels` are then of this.

    Raises
    ------
    InputError
        If the name is not fit for a file, or `columns`, `decimals` or `labels` name no column.

    Examples
    --------
    >>> table = Table("overlaps", "Fitted overlaps.", pd.DataFrame({"name": ["zm"], "x": [0.1]}))
    >>> table.content.columns.tolist()
    ['name', 'x']
    """

    name: str
    caption: str
    frame: pd.DataFrame
    decimals: int | Mapping[str, int] = 3
    columns: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    max_rows: int = 40
    on_page: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        _check_name("table", self.name)
        if not isinstance(self.frame, pd.DataFrame):
            raise InputError(
                f"table {self.name!r} must be a pandas DataFrame; got {type(self.frame).__name__}."
            )
        if not isinstance(self.caption, str) or not self.caption.strip():
            raise InputError(f"table {self.name!r} needs a caption in words; got {self.caption!r}.")
        known = [str(column) for column in self.displayed.columns]
        decimals = self.decimals if isinstance(self.decimals, Mapping) else {}
        for what, names in (
            ("columns", self.columns or ()),
            ("decimals", decimals),
            ("labels", self.labels),
        ):
            for name in names:
                if name not in known:
                    raise InputError(
                        f"{what} of table {self.name!r} names {name!r}, which is not among its "
                        f"columns {', '.join(known)}."
                    )

    @property
    def displayed(self) -> pd.DataFrame:
        """What the page shows."""
        return self.content if self.on_page is None else self.on_page

    @property
    def content(self) -> pd.DataFrame:
        """The frame with an index that says something as first column."""
        index = self.frame.index
        plain = index.name is None and isinstance(index, pd.RangeIndex) and index.start == 0
        return self.frame if plain else self.frame.reset_index()


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the report: paragraphs, then figures, then tables.

    Parameters
    ----------
    title : str
        Heading.
    paragraphs : tuple of str
        Plain text. Text within backticks is set as code, within ``**`` in bold.
    figures : tuple of Figure
        Figures.
    tables : tuple of Table
        Tables.
    level : {2, 3}
        2 for a section, 3 for a part of the section before it.
    anchor : str
        Name for links to it; made from the title if empty.
    caveats : tuple of str
        What cannot be concluded; set apart from the rest.

    Raises
    ------
    InputError
        If the title is missing, the level is another one, or an item is of the wrong kind.

    Examples
    --------
    >>> Section("How well the fit did").anchor
    'how-well-the-fit-did'
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    level: int = 2
    anchor: str = ""
    caveats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.title, str) or not self.title.strip():
            raise InputError(f"a section needs a title in words; got {self.title!r}.")
        if self.level not in (2, 3):
            raise InputError(f"level of section {self.title!r} must be 2 or 3; got {self.level!r}.")
        for name, kind in (
            ("paragraphs", str),
            ("figures", Figure),
            ("tables", Table),
            ("caveats", str),
        ):
            object.__setattr__(self, name, _items(name, getattr(self, name), kind))
        object.__setattr__(self, "anchor", self.anchor or slug(self.title))


@dataclass(frozen=True, eq=False)
class Report:
    """A report: one self-contained page, with its tables and figures beside it.

    Parameters
    ----------
    title : str
        Heading of the page.
    lead : tuple of str
        Key findings in words, one sentence or two each.
    sections : tuple of Section
        The body.
    reproduce : mapping
        How to get the same again: ``command`` (shown as code), ``version``, ``seed``, ``date``,
        ``settings`` (a mapping), ``data source``, or whatever else belongs there.
    simulated : bool or str, default False
        Whether the data were simulated; the page then says so at the top. A sentence says what
        was: a recording, networks of a protocol, or animals.
    next_steps : tuple of str, optional
        What the reader can do next; stands first on the page.
    subtitle : str, optional
        One line under the heading.
    highlights : tuple of (str, str), optional
        A few numbers with what they are, shown large: ``("0.86", "of the ceiling explained")``.

    Raises
    ------
    InputError
        If an item is of the wrong kind, or two figures, two tables or two sections share a name.

    Examples
    --------
    >>> import tempfile
    >>> from predictlearn.reporting import write
    >>> report = Report("Nothing yet", ("No finding.",), (Section("Fit", ("Text.",)),), {"seed": 0})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sorted(path.name for path in write(report, folder + "/report").parent.iterdir())
    ['index.html', 'predictlearn-manifest.json']
    """

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]
    reproduce: Mapping[str, Any] = field(default_factory=dict)
    simulated: bool | str = False
    subtitle: str = ""
    highlights: tuple[tuple[str, str], ...] = ()
    next_steps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.title, str) or not self.title.strip():
            raise InputError(f"a report needs a title in words; got {self.title!r}.")
        object.__setattr__(self, "lead", _items("lead", self.lead, str))
        object.__setattr__(self, "next_steps", _items("next_steps", self.next_steps, str))
        object.__setattr__(self, "sections", _items("sections", self.sections, Section))
        if not isinstance(self.simulated, bool | str):
            raise InputError(
                "simulated must be True, False, or a sentence that says what was simulated; got "
                f"{self.simulated!r}."
            )
        highlights = tuple(tuple(pair) for pair in self.highlights)
        if not all(
            len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in highlights
        ):
            raise InputError("highlights must be pairs of texts, (number, what it is).")
        object.__setattr__(self, "highlights", highlights)
        if not isinstance(self.reproduce, Mapping):
            raise InputError(f"reproduce must be a mapping; got {type(self.reproduce).__name__}.")
        object.__setattr__(self, "reproduce", MappingProxyType(dict(self.reproduce)))
        for what, names in (
            ("figures", [figure.name for figure in self.figures]),
            ("tables", [table.name for table in self.tables]),
            ("sections", [section.anchor for section in self.sections]),
        ):
            double = sorted({name for name in names if names.count(name) > 1})
            if double:
                raise InputError(f"two {what} of the report share the name {double[0]!r}.")

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures, in order."""
        return tuple(figure for section in self.sections for figure in section.figures)

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables, in order."""
        return tuple(table for section in self.sections for table in section.tables)

    html = moved_method(
        "Report.html()", "predictlearn.reporting.page:html", "reporting.html(report)"
    )
    write = moved_method(
        "Report.write(folder)",
        "predictlearn.reporting.page:write",
        "reporting.write(report, folder)",
    )
