"""Simulated recordings and sessions, with overlaps that are known."""
