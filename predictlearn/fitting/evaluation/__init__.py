"""How good a fit is: rank, ceiling, held-out neurons, coverage of intervals."""
