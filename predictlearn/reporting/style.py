"""One style for all figures: colours, sizes, and figures that never touch global state."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from predictlearn.errors import InputError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "PALETTE", "SOFT", "arm_colours", "new_figure", "png", "styled"]

COLOURS: Mapping[str, str] = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
"""The palette of Okabe & Ito, which people with any common colour blindness can tell apart."""

# black is left for what was measured, and yellow is too pale for lines on white
PALETTE: tuple[str, ...] = tuple(
    COLOURS[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky")
)
INK = "#1b2430"
SOFT = "#5a6675"
FAINT = "#c9d0d8"

WIDTH = 7.6
"""Width of a figure in inches; the page shows 100 pixels to the inch."""

_STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.6,
    "axes.formatter.useoffset": False,
    # a name with dollar signs is a name
    "text.parse_math": False,
}

# what powers look like in the formulas that logarithmic axes are labelled with, and without one
_POWER = re.compile(r"\^\{([-0-9]+)\}")
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def _style() -> Iterator[None]:
    """Set the style, whatever the user's own configuration, for as long as the block lasts."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Return a drawing function that draws in the style of the report.

    Parameters
    ----------
    function : callable
        A function that returns a figure.

    Returns
    -------
    callable
        The same, with the style set while it runs.
    """

    @functools.wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> R:
        with _style():
            made = function(*args, **kwargs)
            _without_formulas(made)
        return made

    return draw


def _without_formulas(figure: Any) -> None:
    """Label logarithmic axes with text, 10⁻³, since no text of a figure is read as a formula."""
    from matplotlib.ticker import Formatter, LogFormatter

    class Plain(Formatter):
        """What another formatter says, as text."""

        def __init__(self, inner: LogFormatter) -> None:
            self.inner = inner

        def set_axis(self, axis: Any) -> None:
            super().set_axis(axis)
            self.inner.set_axis(axis)

        def set_locs(self, locs: Any) -> None:
            super().set_locs(locs)
            self.inner.set_locs(locs)

        def __call__(self, x: float, pos: int | None = None) -> str:
            text = self.inner(x, pos).removeprefix(r"$\mathdefault{").removesuffix("}$")
            text = _POWER.sub(lambda power: power[1].translate(_RAISED), text)
            return self.fix_minus(text.replace(r"\times", "×"))

    for axes in getattr(figure, "axes", ()):
        for axis in (axes.xaxis, axes.yaxis):
            major, minor = axis.get_major_formatter(), axis.get_minor_formatter()
            if isinstance(major, LogFormatter):
                axis.set_major_formatter(Plain(major))
            if isinstance(minor, LogFormatter):
                axis.set_minor_formatter(Plain(minor))


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure with its own canvas, unknown to pyplot.

    Parameters
    ----------
    height, width : float
        Size in inches.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with constrained layout.

    Examples
    --------
    >>> float(new_figure(3.0).get_figwidth())
    7.6
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    engine: Any = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.08, h_pad=0.06)
    return figure


def png(figure: Figure, dpi: float = 200) -> bytes:
    """Return a figure as a PNG file, at twice the resolution of the page unless told.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    dpi : float, default 200
        Dots per inch.

    Returns
    -------
    bytes
        The file; the same figure gives the same bytes.

    Examples
    --------
    >>> png(new_figure(1.0))[1:4]
    b'PNG'
    """
    stream = io.BytesIO()
    # ticks are made when drawn, so the style has to hold here too
    with _style():
        _without_formulas(figure)
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """Return a colour for every arm, in the order of the palette.

    Parameters
    ----------
    arms : sequence of str
        Names, in order.

    Returns
    -------
    dict of str to str
        Colours; with more arms than colours they start again.

    Examples
    --------
    >>> arm_colours(["A-B", "B-A"])
    {'A-B': '#0072B2', 'B-A': '#D55E00'}
    """
    return {arm: PALETTE[k % len(PALETTE)] for k, arm in enumerate(arms)}


def columns(frame: pd.DataFrame, *needed: str) -> pd.DataFrame:
    """Return a frame that has the needed columns and at least one row, or raise.

    An index that bears the name of a needed column becomes that column.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"frame must be a pandas DataFrame; got {type(frame).__name__}.")
    if frame.index.name in needed and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    known = [str(column) for column in frame.columns]
    for name in needed:
        if name not in known:
            close = nearest(name, known)
            hint = f" Did you mean {close!r}?" if close else ""
            raise InputError(
                f"frame must have the columns {', '.join(needed)}; {name!r} is missing among "
                f"{', '.join(known) or 'none'}.{hint}"
            )
    if frame.empty:
        raise InputError("frame must have at least one row; it is empty.")
    return frame


def unique(values: pd.Series) -> list[str]:
    """Return the different values of a column as text, in order of appearance."""
    return [str(value) for value in pd.unique(values)]


def zero_line(axes: Axes, vertical: bool = True) -> None:
    """Draw the line of no effect behind everything."""
    draw = axes.axvline if vertical else axes.axhline
    draw(0.0, color=FAINT, linewidth=1.0, zorder=0)


def row_axis(
    axes: Axes,
    labels: Sequence[str],
    place: Sequence[float] | None = None,
    height: float | None = None,
) -> None:
    """Make the vertical axis a list of rows, the first on top, with faint guides."""
    if place is None or height is None:
        axes.set_ylim(len(labels) - 0.5, -0.5)
        place = np.arange(len(labels), dtype=float).tolist()
    else:
        axes.set_ylim(height, 0.0)
    axes.set_yticks(list(place), labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#eceff2", linewidth=0.8)
    axes.set_axisbelow(True)
