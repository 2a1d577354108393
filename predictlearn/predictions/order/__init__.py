"""Training order: what the order of tasks leaves behind."""
