"""Predicted learning beside what was measured: a later block, later sessions."""
