"""Which rule a network learns by: hypotheses fitted to sessions, and compared."""
