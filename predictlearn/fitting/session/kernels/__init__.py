"""Compiled loops of the fit to one session."""
