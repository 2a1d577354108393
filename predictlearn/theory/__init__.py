"""The closed form: overlaps, reduced activity and learning, on numpy arrays."""
