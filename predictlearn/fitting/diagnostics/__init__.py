"""What is wrong with a fit: residuals, loadings, dynamics."""

from __future__ import annotations

from predictlearn.deprecated import moved_names

__getattr__ = moved_names(
    __name__, dict.fromkeys(("Diagnostics",), "predictlearn.fitting.diagnostics.diagnose")
)
