"""Predicted curves of learning beside measured ones: fits of curves, scores, baselines."""
