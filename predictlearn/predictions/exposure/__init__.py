"""Perturbation exposure: equivalent networks told apart by how they learn."""
