"""All figures of a report, from tidy tables to matplotlib figures."""

from __future__ import annotations

from predictlearn.reporting.figures.comparison import effect_sizes, real_learning
from predictlearn.reporting.figures.courses import courses
from predictlearn.reporting.figures.curves import learning_curves
from predictlearn.reporting.figures.diagnostics import fit_diagnostics
from predictlearn.reporting.figures.differences import animals_and_differences
from predictlearn.reporting.figures.fit import fitted_activity, rank_curve, variance_explained
from predictlearn.reporting.figures.outcomes import animals_by_arm, animals_scattered
from predictlearn.reporting.figures.overlaps import exposure, overlap_changes, overlap_intervals
from predictlearn.reporting.figures.power import power_curves

__all__ = [
    "animals_and_differences",
    "animals_by_arm",
    "animals_scattered",
    "courses",
    "effect_sizes",
    "exposure",
    "fit_diagnostics",
    "fitted_activity",
    "learning_curves",
    "overlap_changes",
    "overlap_intervals",
    "power_curves",
    "rank_curve",
    "real_learning",
    "variance_explained",
]
