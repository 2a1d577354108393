"""Networks of one function: which they are, how a task exposes them, how fast each learns."""

from __future__ import annotations

from predictlearn.deprecated import moved_names

__getattr__ = moved_names(
    __name__,
    dict.fromkeys(
        ("functionally_equivalent", "metric"), "predictlearn.theory.equivalence.equivalent"
    ),
)
