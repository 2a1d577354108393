"""Readers of files and objects: arrays, tables, MATLAB, NWB, pynapple."""
