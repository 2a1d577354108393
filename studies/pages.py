"""What scripts of several rooms share: a line at a time, and a table into its page."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["BEGIN", "END", "into_page", "say"]

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def say(*words: object) -> None:
    """Write one line."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def into_page(page: Path, text: str) -> None:
    """Put the table between its marks in the page."""
    old = page.read_text(encoding="utf-8")
    before, rest = old.split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")
