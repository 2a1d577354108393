"""A bar with the time left, on a terminal or in a notebook; nothing where nobody watches."""

from __future__ import annotations

import contextlib
import html
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from predictlearn.files import printable
from predictlearn.workers import listened, told

__all__ = ["Bar", "bar"]

# Work that is done sooner needs no bar, seconds.
_SOON = 3.0
# How often a bar in a notebook is drawn anew, seconds.
_EVERY = 1.0


def _kernel() -> Any:
    """Return what shows things in the notebook that this process serves, or None."""
    # not imported for this: a notebook has it already
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return ipython if hasattr(shell, "kernel") else None


def _clock(seconds: float) -> str:
    """Return a time as hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


class Bar:
    """How far some work is, from when it is entered until it is left.

    On a terminal it is drawn on standard error, by rich; in a notebook below the cell, as plain
    HTML, which needs no widgets. It is gone when the work is done.

    Parameters
    ----------
    label : str
        What is done.
    shown : bool, default True
        Whether to show it.
    soon : float
        Seconds after which it appears.

    Examples
    --------
    >>> with Bar("networks") as bar:
    ...     bar.count(1, 2)
    """

    def __init__(self, label: str, shown: bool = True, soon: float = _SOON) -> None:
        self._label, self._shown, self._soon = printable(label), shown, soon
        self._done, self._total = 0, 0
        self._since = self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def label(self, text: str) -> None:
        """Say what is done now."""
        self._label, self._done, self._total = printable(text), 0, 0

    def count(self, done: int, total: int) -> None:
        """Say how many of how many tasks are done."""
        if total != self._total or done < self._done:
            self._since = time.monotonic()
        self._done, self._total = done, total

    def __enter__(self) -> Bar:
        self._since = self._began = time.monotonic()
        draw = self._drawn_with() if self._shown else None
        if draw is not None:
            self._thread = threading.Thread(target=self._follow, args=(draw,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _drawn_with(self) -> Callable[[], contextlib.AbstractContextManager[Any]] | None:
        """Return what draws the bar, or None where nobody would see it."""
        if _kernel() is not None:
            return self._in_notebook
        from rich.console import Console

        # results go to standard output, which may be a file while a person watches
        console = Console(stderr=True)
        return (lambda: self._on_terminal(console)) if console.is_terminal else None

    def _follow(self, draw: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
        """Draw the bar every now and then, until the work is done."""
        if self._ended.wait(self._soon):
            return
        with draw() as update:
            update()
            while not self._ended.wait(_EVERY):
                update()

    @contextlib.contextmanager
    def _on_terminal(self, console: Any) -> Iterator[Callable[[], None]]:
        """Draw by rich."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        # a name in brackets is a name
        columns = (
            *(TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()),
            TextColumn("{task.fields[left]}", markup=False),
        )
        with Progress(*columns, console=console, transient=True) as drawn:
            task = drawn.add_task(self._label, total=None, left="")

            def update() -> None:
                total, label = self._total or None, f"{self._label}{self._counted()}"
                drawn.update(
                    task, description=label, total=total, completed=self._done, left=self._left()
                )

            yield update

    @contextlib.contextmanager
    def _in_notebook(self) -> Iterator[Callable[[], None]]:
        """Draw below the cell."""
        show = sys.modules["IPython"].display
        place = show.display(show.HTML(""), display_id=True)

        def update() -> None:
            there = f' max="{self._total}" value="{self._done}"' if self._total else ""
            took = _clock(time.monotonic() - self._began)
            text = f"{html.escape(self._label)}{self._counted()} {took} {self._left()}"
            place.update(show.HTML(f"<progress{there}></progress> {text}"))

        try:
            yield update
        finally:
            place.update(show.HTML(""))

    def _counted(self) -> str:
        """Return how many of how many tasks are done."""
        return f", {self._done} of {self._total}" if self._total else ""

    def _left(self) -> str:
        """Return the time left in words, empty while it is not known."""
        if not 0 < self._done < self._total:
            return ""
        pace = (time.monotonic() - self._since) / self._done
        return f"{_clock(pace * (self._total - self._done))} left"


@contextlib.contextmanager
def bar(label: str, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Show how far the tasks of `predictlearn.workers` inside are, unless that is shown already.

    Parameters
    ----------
    label : str
        What is done.
    shown : bool, default True
        Whether to show it.

    Yields
    ------
    callable
        Takes another label.

    Examples
    --------
    >>> with bar("fit"):
    ...     pass
    """
    if not shown or listened():
        yield lambda text: None
        return
    with Bar(label, soon=_SOON) as drawn, told(drawn.count):
        yield drawn.label
