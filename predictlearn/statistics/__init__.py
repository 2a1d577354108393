"""Statistical comparisons: effects with intervals, tests, corrections, equivalence, power."""
