"""Posteriors of a fit to learning, one file a kind."""
