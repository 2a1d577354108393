"""Reports: figures, tables, and the page that holds them.

`Report` is made of `Section`s with `Figure`s and `Table`s; `write` makes one self-contained page of
it; the drawings are in :mod:`predictlearn.reporting.figures`.
"""

from __future__ import annotations

from predictlearn.reporting.content import Figure, Report, Section, Table
from predictlearn.reporting.folder import check_folder
from predictlearn.reporting.page import html, write

__all__ = ["Figure", "Report", "Section", "Table", "check_folder", "html", "write"]
