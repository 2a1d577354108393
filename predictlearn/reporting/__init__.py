"""Reports: figures, tables, and the page that holds them.

`Report` is made of `Section`s with `Figure`s and `Table`s and writes one self-contained page; the
drawings are in :mod:`predictlearn.reporting.figures`.
"""

from __future__ import annotations

from predictlearn.reporting.content import Figure, Report, Section, Table
from predictlearn.reporting.folder import check_folder

__all__ = ["Figure", "Report", "Section", "Table", "check_folder"]
