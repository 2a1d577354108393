"""Learning from overlaps alone: rules, descent, gradient flow, slopes, what is conserved."""
