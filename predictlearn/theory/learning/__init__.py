"""Learning from overlaps alone: rules, descent, gradient flow, slopes, what is conserved."""

from __future__ import annotations

from predictlearn.deprecated import moved_names

__getattr__ = moved_names(
    __name__, dict.fromkeys(("learn",), "predictlearn.theory.learning.descent")
)
